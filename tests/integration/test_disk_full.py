"""A disk that fills up in the middle of a write: said clearly, nothing wrong is left, and mended.

The disk is a small file system in memory, which only root may mount.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nunatak.tracking.steps import Step
from tests.integration.world import Tree

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "nunatak-test", str(path)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path, free: int) -> Path:
    """Fill a disk up to some bytes."""
    path = disk / "filler"
    with path.open("wb") as stream:
        stream.write(bytes(shutil.disk_usage(disk).free - free))
    return path


def job(tree: Tree, step: Step) -> list[str]:
    """The command of a job, as its rule calls it."""
    names = [part for key, value in step.names.items() for part in (f"--{key}", value)]
    where = ["--recipe", f"results/{step.run}/recipe.json", "--results", "results"]
    data = ["--data", "data"] if step.stage in ("reproject", "evaluate") else []
    return [step.stage, *where, *data, *names]


ONE = {"method": "bicubic", "block": "2_1"}
STEPS = [
    Step("reproject", "six", {"role": "target", "block": "2_1"}),
    Step("degrade", "six", {"block": "2_1"}),
    Step("tile", "six"),
    Step("infer", "six", {**ONE, "member": "0"}),
    Step("mosaic", "six", ONE),
    Step("publish", "six", {"method": "bicubic"}),
    Step("evaluate", "six"),
]


def refused(output: str) -> None:
    assert re.search(r"^error: .*no room in \S+: .*bytes free", output, re.MULTILINE), output
    assert "free some disk" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.stage)
def test_a_disk_that_fills_up(finished: Tree, disk: Path, step: Step) -> None:
    """With no room at all, and with more and more, until there is enough."""
    tree = finished.copy(disk / "six")
    expected = (tree.results / f"{step.path}.trace").read_bytes()
    failed, pages = 0, 0
    while True:
        tree.forget(step)
        filler = fill(disk, 4096 * pages)
        run = tree.nunatak(*job(tree, step))
        filler.unlink()
        if run.returncode == 0:
            break
        failed, pages = failed + 1, 2 * pages + 1
        refused(run.stdout)
        assert not (tree.results / f"{step.path}.json").exists()
        sound(tree)
    assert failed
    assert (tree.results / f"{step.path}.trace").read_bytes() == expected
    sound(tree)


def sound(tree: Tree) -> None:
    verified = tree.nunatak("verify", "--results", "results")
    assert verified.returncode == 0, verified.stdout


def test_a_disk_that_fills_up_while_a_model_is_trained(trained: Tree, disk: Path) -> None:
    """The next run goes on where there is a checkpoint, and ends with the same model."""
    tree = trained.copy(disk / "three")
    step = Step("train", "three", {"method": "residual", "member": "0"})
    expected = (tree.results / f"{step.path}.json").read_bytes()
    shutil.rmtree((tree.results / step.path).parent)
    failed, pages = 0, 0
    while True:
        filler = fill(disk, 4096 * pages)
        run = tree.nunatak(*job(tree, step))
        filler.unlink()
        if run.returncode == 0:
            break
        failed, pages = failed + 1, 2 * pages + 4
        refused(run.stdout)
        assert not (tree.results / f"{step.path}.json").exists()
        sound(tree)
    assert failed > 1
    assert (tree.results / f"{step.path}.json").read_bytes() == expected
    sound(tree)
