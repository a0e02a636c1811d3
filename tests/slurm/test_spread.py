"""A training over two machines, whose processes the job starts with ``srun``."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from nunatak.tracking.steps import Step
from tests.integration.world import Tree
from tests.slurm.driver import FOUR, RUN, Driver, log, profiled

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

TRAIN = Step("train", RUN, {"method": "residual", "member": "0"})


def test_a_training_over_two_machines(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    # The machines of this cluster are one, whose names are no addresses.
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    folder = tree.results / RUN / "train" / "residual" / "0"
    known = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    table = pd.read_csv(folder / "loss.csv")
    tree.configure({"name": RUN, "set": FOUR})
    tree.forget(TRAIN)
    for name in ("last.pt", "best.pt", "loss.csv", "loss.png"):
        (folder / name).unlink()
    log(tree, "train", "residual", "0").unlink()
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
