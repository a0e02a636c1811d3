"""A training on several GPUs of a machine, and over two machines by ``srun``."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from nunatak import costs
from nunatak.commands.profile import Site
from nunatak.tracking.steps import Step
from tests.integration.world import Tree
from tests.slurm.cluster import GPU_NODE, GPUS
from tests.slurm.driver import FOUR, RUN, Driver, log, profiled

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

TRAIN = Step("train", RUN, {"method": "residual", "member": "0"})


def untrained(tree: Tree) -> Path:
    """The folder of the model, of which the training has left nothing."""
    folder = tree.results / RUN / "train" / "residual" / "0"
    tree.configure({"name": RUN, "set": FOUR})
    tree.forget(TRAIN)
    for name in ("last.pt", "best.pt", "loss.csv", "loss.png"):
        (folder / name).unlink()
    log(tree, "train", "residual", "0").unlink()
    return folder


def test_a_profile_with_several_gpus_trains_on_all(tree: Tree) -> None:
    untrained(tree)
    asked = Site("main", None, "gpu", f"gpu:{GPUS}").settings()
    driver = Driver(tree, f"results/{TRAIN.path}.json", profile=profiled("gpus", asked))
    driver.until(lambda: driver.computing(TRAIN), "a training")
    run, told, where, *_ = tree.status()
    assert "at work" in run
    assert told == f"{RUN}/train/residual/0: running"
    assert where.startswith(f"  on {GPU_NODE}, SLURM job ")
    driver.wait()
    text = log(tree, "train", "residual", "0").read_text(encoding="utf-8")
    assert "1 cores, 5400 MB, 480 min, GPU 0,1, process" in text
    assert "Starting with 2 processes" in text
    (job,) = driver.jobs()
    assert job.state == "COMPLETED"
    assert "gres/gpu=2" in job.asked
    (attempt,) = costs.read(costs.path(tree.results, TRAIN.name))
    assert attempt.host == job.node
    assert attempt.gpu_seconds == pytest.approx(2 * attempt.seconds, rel=0.01)


def test_a_training_over_two_machines(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    # The machines of this cluster are one, whose names are no addresses.
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    folder = tree.results / RUN / "train" / "residual" / "0"
    known = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    table = pd.read_csv(folder / "loss.csv")
    untrained(tree)
    asked = {"mpi": "srun", "nodes": 2, "tasks": 2, "slurm_partition": "main", "gres": None}
    name = profiled("several", {"set-resources": {"train": asked}})
    driver = Driver(tree, f"results/{TRAIN.path}.json", profile=name)
    driver.wait()
    text = log(tree, "train", "residual", "0").read_text(encoding="utf-8")
    assert "Starting with 2 processes" in text
    assert text.count(f"computed {TRAIN.path}") == 1
    (job,) = driver.jobs()
    assert (job.state, job.node) == ("COMPLETED", "n[1-2]")
    found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert found["best_rmse"] == pytest.approx(known["best_rmse"], rel=1e-5)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "loss.csv"), table, rtol=1e-4)
