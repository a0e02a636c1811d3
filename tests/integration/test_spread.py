"""A training over two processes as Snakemake asks for it: the same model, and committed once."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from nunatak.tracking.steps import Step
from tests.integration.world import COMPUTED, Tree

pytestmark = pytest.mark.slow

TRAIN = Step("train", "three", {"method": "residual", "member": "0"})
SPREAD = ("--set-resources", "train:processes=2", "train:micro_batch=1")


def test_two_processes_started_by_a_job(trained: Tree, tmp_path: Path) -> None:
    tree = trained.copy(tmp_path / "three")
    folder = tree.results / "three" / "train" / "residual" / "0"
    known = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    table = pd.read_csv(folder / "loss.csv")
    tree.forget(TRAIN)
    for name in ("last.pt", "best.pt", "loss.csv", "loss.png"):
        (folder / name).unlink()
    run = tree.run(f"results/{TRAIN.path}.json", *SPREAD)
    assert run.returncode == 0, run.stdout
    log = (tree.results / "logs/three/train/residual/0.log").read_text(encoding="utf-8")
    assert COMPUTED.findall(log) == [TRAIN.path]
    assert "Starting with 2 processes" in log
    found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert found["best_rmse"] == pytest.approx(known["best_rmse"], rel=1e-5)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "loss.csv"), table, rtol=1e-4)


def test_processes_are_no_reason_to_train_again(trained: Tree, tmp_path: Path) -> None:
    tree = trained.copy(tmp_path / "three")
    run = tree.run(f"results/{TRAIN.path}.json", *SPREAD)
    assert run.returncode == 0, run.stdout
    assert not tree.computed()
