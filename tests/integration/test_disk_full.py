"""A disk that fills up in the middle of a write: said clearly, nothing wrong is left, and mended.

The disk is a small file system in memory, which only root may mount.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nunatak.tracking.steps import Step
from tests.integration.world import Tree

pytestmark = pytest.mark.slow

MIB = 1 << 20


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


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.stage)
def test_a_disk_that_fills_up(finished: Tree, disk: Path, step: Step) -> None:
    """At several points of the write: with no room at all, and with room for part of it."""
    tree = finished.copy(disk / "six")
    full = 0
    for pages in (0, 1, 2, 3, 5, 8, 40):
        (tree.results / f"{step.path}.trace").unlink(missing_ok=True)
        filler = fill(disk, 4096 * pages)
        run = tree.nunatak(*job(tree, step))
        filler.unlink()
        print(step.stage, pages, run.returncode, run.stdout[-700:])
        if run.returncode:
            full += 1
    assert 0
