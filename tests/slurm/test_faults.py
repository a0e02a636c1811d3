"""What clusters do to jobs: afterwards the product is complete, whole, and the same to the bit."""

from __future__ import annotations

import contextlib
import re
import signal
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.integration.world import Tree
from tests.slurm import cluster as daemons
from tests.slurm.cluster import call, until
from tests.slurm.driver import BLOCKS, RUN, Driver, log, profiled, same, steps, train

SAMPLES = 240
pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def manifests(*stages: str, blocks: tuple[str, ...]) -> list[str]:
    return [f"results/{step.path}.json" for stage in stages for step in steps(stage, *blocks)]


def lose(tree: Tree, *stages: str, blocks: tuple[str, ...]) -> list[str]:
    """Forget that some steps are done; what makes them again."""
    for stage in stages:
        for step in steps(stage, *blocks):
            tree.forget(step)
            log(tree, *Path(step.path).parts[1:]).unlink(missing_ok=True)
    return manifests(*stages, blocks=blocks)


def test_a_job_over_its_memory(tree: Tree, reference: Tree) -> None:
    """The network alone takes more than the first attempt has."""
    asked = {rule: {"mem_mb": "400 * attempt"} for rule in ("infer", "mosaic")}
    name = profiled("low", {"set-resources": asked})
    driver = Driver(tree, *lose(tree, "infer", blocks=("0_1",)), profile=name)
    driver.wait()
    killed, done = driver.jobs()
    assert killed.state in ("FAILED", "OUT_OF_MEMORY"), killed
    assert done.state == "COMPLETED"
    assert "mem=400M" in killed.asked
    assert "mem=800M" in done.asked
    same(tree, reference)


def training(tree: Tree) -> psutil.Process | None:
    """The process that trains in a tree, if there is one."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        with contextlib.suppress(psutil.Error):
            if words[1:4] == ["-m", "nunatak", "train"] and process.cwd() == str(tree.folder):
                return process
    return None


@pytest.fixture
def untrained(tree: Tree) -> Tree:
    """A tree whose model is not frozen and wants a longer training."""
    tree.configure({"name": RUN, "set": train(samples=SAMPLES, validate_every=SAMPLES)})
    log(tree, "train", "residual", "0").unlink()
    return tree


def catches(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether a process does something of its own on a signal."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    caught = re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    assert caught
    return bool(int(caught[1], 16) >> number - 1 & 1)


def test_a_training_over_its_time(untrained: Tree) -> None:
    """It is held up until the limit, saves its state there, and goes on from it.

    It validates at its end only, so that nothing but the signal makes it save.
    """
    tree, folder = untrained, untrained.results / RUN / "train" / "residual" / "0"
    asked = {"runtime": "1 if attempt == 1 else 20", "slurm_extra": "''"}
    name = profiled("short", {"set-resources": {"train": asked}})
    target = f"results/{RUN}/train/residual/0/manifest.json"
    driver = Driver(tree, target, profile=name)
    driver.until(lambda: training(tree), "a training")
    process = training(tree)
    assert process
    driver.until(lambda: catches(process, signal.SIGTERM), "a training that can be stopped")
    (job,) = driver.active()
    process.suspend()
    driver.until(lambda: job not in driver.active(), "the limit", 150)
    driver.wait()
    stopped, done = [job for job in driver.jobs() if "train" in job.comment]
    assert stopped.state == "TIMEOUT", stopped
    assert done.state == "COMPLETED"
    told = log(tree, "train", "residual", "0").read_text(encoding="utf-8")
    assert re.search(r"going on after \d+ samples", told)
    seen = pd.read_csv(folder / "loss.csv")["samples"].tolist()
    assert seen == list(range(4, SAMPLES + 1, 4))


def test_a_job_that_is_cancelled(tree: Tree, reference: Tree) -> None:
    block = ("0_0",)
    driver = Driver(tree, *lose(tree, "reproject", "degrade", blocks=block))
    driver.until(driver.active, "a running job")
    (job,) = driver.active()
    call("scancel", job)
    driver.wait()
    cancelled, done = driver.jobs()
    assert cancelled.state.startswith("CANCELLED")
    assert done.state == "COMPLETED"
    same(tree, reference)


@pytest.mark.usefixtures("alone")
def test_a_node_that_is_lost(tree: Tree, reference: Tree) -> None:
    targets = lose(tree, "infer", "mosaic", blocks=("1_0",))
    driver = Driver(tree, *targets)
    (step,) = steps("infer", "1_0")
    driver.until(lambda: driver.computing(step), "a job that computes")
    (job,) = driver.active()
    node = call("squeue", "--noheader", "--job", job, "--format", "%N").strip()
    daemons.crash(node)
    driver.wait()
    lost, *_, done = driver.jobs()
    assert (lost.state, lost.node) == ("NODE_FAIL", node)
    assert done.state == "COMPLETED"
    assert done.node != node
    same(tree, reference)


def test_a_driver_that_is_killed(tree: Tree, reference: Tree) -> None:
    """Its jobs go on without it; they are cancelled, and another driver makes the rest."""
    targets = lose(tree, "reproject", "degrade", blocks=BLOCKS)
    driver = Driver(tree, *targets)
    driver.until(driver.active, "a running job")
    driver.kill()
    locked = tree.run(*targets, "--profile", "slurm", cores=8)
    assert locked.returncode != 0
    assert "--unlock" in locked.stdout
    call("scancel", "--name", driver.name)
    until(lambda: not driver.active("R,PD,CG"), "the end of the orphans")
    unlocked = tree.run("--unlock")
    assert unlocked.returncode == 0, unlocked.stdout
    Driver(tree, *targets).wait()
    same(tree, reference)
