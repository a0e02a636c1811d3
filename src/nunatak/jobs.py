"""Running a job: kept if nothing that it follows from changed, else computed and committed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nunatak import costs
from nunatak.errors import ConfigError
from nunatak.provenance import digest_json
from nunatak.sources.disk import room
from nunatak.tracking.environment import told
from nunatak.tracking.steps import STAGES, Step
from nunatak.tracking.trace import Trace, physical, read_trace, write_trace
from nunatak.tracking.tracker import Tracker
from nunatak.usage import used

if TYPE_CHECKING:
    from nunatak.products import Results

NAMES = ("source", "role", "method", "member", "block", "scale", "trial")
Work = Callable[["Results", str], dict[str, Any]]


def kept(arguments: Sequence[str]) -> bool:
    """Keep what a job made, if its command line is of a job whose step is still done.

    It is asked before anything is imported that takes long: after a small change, most jobs end
    here.
    """
    options = dict(zip(arguments[1::2], arguments[2::2], strict=False))
    if not arguments or arguments[0] not in STAGES or not {"--recipe", "--results"} <= {*options}:
        return False
    names = {name: options[f"--{name}"] for name in NAMES if f"--{name}" in options}
    recipe, root = Path(options["--recipe"]), Path(options["--results"])
    if not recipe.is_file():
        return False
    step = Step(arguments[0], named(recipe, root), names)
    tracker = Tracker(root, Path(options.get("--data", "")))
    try:
        return not _reason(step, recipe, tracker)[0]
    except OSError:  # a full disk, say: `run` meets it again, and says so
        return False


def named(recipe: Path, root: Path) -> str:
    """The name in results of the run that a recipe.json is of."""
    folder = recipe.parent
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.name


def _reason(step: Step, recipe: Path, tracker: Tracker) -> tuple[str, dict[str, Any]]:
    """Why a step must be computed, and what it would follow from; if it need not, it is kept."""
    expected = tracker.expected(step, json.loads(recipe.read_text(encoding="utf-8")))
    trace = read_trace(tracker.root, step.path)
    reason = tracker.why(trace, expected)
    if trace is not None and not reason:
        identity = told().get(step.stage, trace.identity)
        if identity != trace.identity:
            write_trace(tracker.root, step.path, replace(trace, identity=identity))
        tracker.restore(step.path, trace)
        _say(f"kept {step.path}: nothing that it follows from changed")
    return reason, expected


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(
    step: Step,
    recipe: Path,
    root: Path,
    work: Work,
    data: Path = Path(),
    *,
    processes: int = 1,
    nodes: int = 1,
) -> bool:
    """Run a step, unless what it follows from is as it was.

    The trace and the manifest go before anything is computed, and come back, in this order, when
    all files of the step are on the disk: whenever a job dies, its step is not done.

    Parameters
    ----------
    step
        The step.
    recipe
        The checked recipe of the run (JSON).
    root
        The results root.
    work
        Computes: takes the results tree and the digest of what does not depend on other steps,
        and returns the manifest.
    data
        The folder that ``file:`` URLs are relative to.
    processes, nodes
        Over how many processes and hosts the work is spread, for its costs.

    Returns
    -------
    bool
        Whether it was computed.

    Raises
    ------
    ConfigError
        If the recipe is not there.
    DiskFullError
        If the disk fills up.
    """
    if not recipe.is_file():
        raise ConfigError(
            f"no recipe {recipe}", "the recipe.json of a run", "run snakemake: it writes it"
        )
    tracker = Tracker(root, data)
    with used(processes, nodes) as usage, room(step.path, root):
        reason, expected = _reason(step, recipe, tracker)
        if not reason:
            return False
        usage.computing(costs.path(root, step.name))
        _say(f"computing {step.path}: {reason}")
        tracker.forget(step.path, trace=True)
        if _compute(step, recipe, tracker, expected, work).get("frozen"):
            usage.keeps()
    _say(f"computed {step.path}")
    return True


def _compute(
    step: Step, recipe: Path, tracker: Tracker, expected: dict[str, Any], work: Work
) -> dict[str, Any]:
    """Compute a step, commit it, and return its manifest."""
    from nunatak.config import saved
    from nunatak.products import Results
    from nunatak.tracking.ledger import Ledger

    ledger = Ledger(tracker, recording=step.stage not in ("train", "trial"))
    manifest = work(Results(saved(recipe), tracker.root, ledger), digest_json(expected))
    files = physical(tracker.root, ledger.files)
    trace = Trace(
        **expected,
        reads=ledger.reads,
        files=files,
        links=ledger.links,
        manifest=manifest,
        identity=told().get(step.stage, ""),
    )
    write_trace(tracker.root, step.path, trace)
    tracker.restore(step.path, trace)
    return manifest
