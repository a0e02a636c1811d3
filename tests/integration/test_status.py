"""What `nunatak status` tells of jobs of a real run: failed, killed, and made in the end."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from nunatak.tracking.steps import Step
from tests.integration.world import Tree

pytestmark = pytest.mark.slow

STEP = Step("infer", "six", {"method": "bicubic", "member": "0", "block": "2_3"})
PRODUCT = "six/infer/bicubic/0"


def test_a_job_that_fails_is_told_until_it_succeeds(finished: Tree, tmp_path: Path) -> None:
    tree = finished.copy(tmp_path / "six")
    assert any("ended well" in line for line in tree.status())
    shard = tree.results / "six/degrade/coarse.zarr/bed/c/2/3"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    tree.forget(STEP)
    assert tree.run().returncode == 1
    lines = tree.status()
    assert "ended with failed jobs" in lines[0]
    assert lines[1] == f"{PRODUCT} block 2_3: failed"
    assert lines[3] == f"  results/logs/{PRODUCT}/2_3.log"
    assert lines[4] == (
        "    error: six/degrade/coarse/2_3: six/degrade/coarse.zarr/bed/c/2/3 differs from what"
        " was written"
    )
    shard.write_bytes(whole)
    assert tree.run().returncode == 0
    run, rest = tree.status()
    assert "ended well" in run
    assert rest.startswith("everything is done")


def test_jobs_of_a_run_that_is_killed(finished: Tree, tmp_path: Path) -> None:
    tree = finished.copy(tmp_path / "six")
    tree.forget(STEP)
    metadata = tree.results / "six/degrade/coarse.zarr/bed/zarr.json"
    metadata.unlink()
    os.mkfifo(metadata)  # who opens it waits
    with tree.start() as run:
        end = time.monotonic() + 60
        while not any(line.endswith(": running") for line in tree.status()):
            assert run.poll() is None
            assert time.monotonic() < end
        lines = tree.status()
        os.killpg(run.pid, signal.SIGKILL)
    assert "at work" in lines[0]
    assert lines[1] == f"{PRODUCT} block 2_3: running"
    assert lines[4] == f"    computing {STEP.path}: not made yet"
    lines = tree.status()
    assert "broken off" in lines[0]
    assert lines[1] == f"{PRODUCT} block 2_3: ended without a word, killed?"
