"""Snakemake with an environment for each rule: where jobs ran, what they made, what runs again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from nunatak.tracking.steps import STAGES
from nunatak.tracking.trace import Trace
from tests.conda.conftest import Separate
from tests.conda.test_environments import family
from tests.integration.world import ROOT, Tree

# Maps have no series, and searches are not among what a run makes unasked.
# Of the recipe that runs: the others are of scenes, of stations, or made when they are asked for.
OTHERS = {"rescale", "series", "trial", "study", "stations", "forecast", "skill"}
MADE = [stage for stage in STAGES if stage not in OTHERS]
PREFIX = re.compile(r"^the job's Python is in (\S+)$", re.MULTILINE)


def stage_of(path: Path, root: Path) -> str:
    """The stage of a log or a trace by where it lies."""
    parts = path.relative_to(root).parts
    return Path(parts[0] if parts[0] == "download" else parts[1]).stem


def traces(tree: Tree) -> dict[str, Trace]:
    """The trace of a step of every stage."""
    return {
        stage_of(path, tree.results): Trace.from_dict(json.loads(path.read_text(encoding="utf-8")))
        for path in tree.results.rglob("*.trace")
    }


def test_every_job_ran_in_its_environment(finished: Separate) -> None:
    logs = finished.results / "logs"
    ran = {}
    for path in logs.rglob("*.log"):
        (prefix,) = PREFIX.findall(path.read_text(encoding="utf-8"))
        ran.setdefault(stage_of(path, logs), set()).add(Path(prefix))
    assert ran == {stage: {finished.environment(family(stage))} for stage in MADE}


def test_a_job_does_not_see_what_its_environment_lacks(finished: Separate, plain: Tree) -> None:
    separate, shared = traces(finished)["publish"], traces(plain)["publish"]
    assert "torch" in shared.environment
    assert "torch" not in separate.environment
    assert separate.environment.items() <= shared.environment.items()
    assert not shared.identity


def test_environments_do_not_change_results(finished: Separate, plain: Tree) -> None:
    assert finished.manifests() == plain.manifests()
    for path in plain.results.rglob("publish/*.tif"):
        other = finished.results / path.relative_to(plain.results)
        assert other.read_bytes() == path.read_bytes()


def test_a_second_run_has_nothing_to_do(finished: Separate, copy: Separate) -> None:
    run = copy.run("-n")
    assert "Nothing to be done" in run.stdout, run.stdout
    assert len({trace.identity for trace in traces(finished).values()}) == 5


def test_a_changed_environment_file_starts_jobs_that_then_keep_their_results(
    copy: Separate,
) -> None:
    file = copy.project.folder / "envs" / "plot.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert copy.run().returncode == 0
    assert not copy.computed()
    assert copy.kept() == {"tile": 1, "evaluate": 1}
    assert "Nothing to be done" in copy.run("-n").stdout


def test_pins_are_what_is_installed(conda: Path, copy: Separate) -> None:
    envs = copy.project.folder / "envs"
    pin = [sys.executable, str(ROOT / "envs" / "pin.py"), "array"]
    pin += ["--channel", (conda / "channel").as_uri(), "--envs", str(envs)]
    subprocess.run(pin, check=True)
    file = envs / "array.linux-64.pin.txt"
    run = copy.run()
    assert run.returncode == 0, run.stdout
    assert f"Using pinnings from {file}" in run.stdout.replace("workflow/rules/../../", "")
    assert "Failed to install" not in run.stdout
    (made,) = copy.envs.glob("*.pin.txt")
    assert made.read_bytes() == file.read_bytes()
    pinned = {Path(line.partition("#")[0]).stem for line in made.read_text().splitlines()[2:]}
    prefix = made.with_name(made.name.removesuffix(".pin.txt"))
    assert pinned == {path.stem for path in (prefix / "conda-meta").glob("*.json")}
    assert not copy.computed()
    assert {"degrade": 1, "mosaic": 1}.items() <= copy.kept().items()
    assert "Nothing to be done" in copy.run("-n").stdout
