"""A search of a dozen trials that is killed in the middle, goes on, and is made longer."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nunatak.config import merge
from tests.integration.world import THREE, Tree

pytestmark = pytest.mark.slow

RUNNING = optuna.trial.TrialState.RUNNING
SPACE = {
    "train.lr": {"low": 1.0e-4, "high": 0.1, "log": True},
    "train.batch": {"choices": [2, 4]},
    "train.losses.0.weight": {"low": 0.5, "high": 2},
    "model.args.width": {"low": 2, "high": 8},
}
JOURNAL, BEST = "three/study/residual/journal.log", "three/study/residual/best.yaml"


def configure(tree: Tree, trials: int, **run: Any) -> None:
    search = {"trials": trials, "samples": 192, "space": SPACE}
    changed = {"methods": {"residual": {"search": search, "train": {"validate_every": 4}}}}
    tree.configure({"name": "three", "set": merge(THREE, changed), **run})


def trials(tree: Tree) -> list[optuna.trial.FrozenTrial]:
    """The trials of the one study that there is; none before it begins."""
    if not (tree.results / JOURNAL).exists():
        return []
    kept = JournalStorage(JournalFileBackend(str(tree.results / JOURNAL)))
    studies = kept.get_all_studies()
    assert len(studies) <= 1
    return [trial for found in studies for trial in kept.get_all_trials(found._study_id)]


def manifests(tree: Tree) -> dict[str, bytes]:
    return {k: v for k, v in tree.manifests().items() if k.startswith("three/trial/")}


def killed(tree: Tree) -> None:
    """Begin the search, and kill it when some trials are done and two more are half-way."""
    with tree.start("tune") as run:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if half_way(tree):
                os.killpg(run.pid, signal.SIGSTOP)
                if half_way(tree):
                    break
                os.killpg(run.pid, signal.SIGCONT)
            time.sleep(0.05)
        assert run.poll() is None
        os.killpg(run.pid, signal.SIGKILL)


def half_way(tree: Tree) -> bool:
    """Whether some trials are done, and two more have validated twice."""
    at_work = [t for t in trials(tree) if t.state == RUNNING and len(t.intermediate_values) > 1]
    return len(manifests(tree)) >= 3 and len(at_work) == 2


def test_a_search_that_is_killed_goes_on_and_is_made_longer(trained: Tree, tmp_path: Path) -> None:
    tree = trained.copy(tmp_path / "three")
    configure(tree, 12)
    killed(tree)
    done, broken = manifests(tree), [t for t in trials(tree) if t.state == RUNNING]
    assert 3 <= len(done) < 12
    assert len(broken) == 2, "two workers share the study"

    run = tree.run("tune", "--nolock")
    assert run.returncode == 0, run.stdout
    assert tree.computed() == {"trial": 12 - len(done), "study": 1}
    found = trials(tree)
    assert sorted(t.user_attrs["job"] for t in found) == list(range(12))
    assert all(t.state.is_finished() for t in found)
    for before in broken:
        after = found[before.number]
        assert after.params == before.params
        assert before.intermediate_values.items() <= after.intermediate_values.items()
    assert done.items() <= manifests(tree).items()
    logs = (tree.results / "logs" / "three" / "trial").rglob("*.log")
    assert sum("going on after" in log.read_text(encoding="utf-8") for log in logs) == 2
    assert not list((tree.results / "three" / "trial").rglob("*.pt"))

    twelve = manifests(tree)
    configure(tree, 14)
    assert "three/trial/residual: 2, not made yet" in "\n".join(tree.status())
    run = tree.run("tune")
    assert run.returncode == 0, run.stdout
    assert tree.computed() == {"trial": 2, "study": 1}
    assert twelve.items() <= manifests(tree).items()
    assert len(trials(tree)) == 14

    configure(tree, 14, overlay=f"results/{BEST}")
    best = yaml.safe_load((tree.results / BEST).read_text(encoding="utf-8"))
    assert len(best["methods"]["residual"]["train"]["losses"]) == 1
    run = tree.run("tune", "-n")
    assert "Nothing to be done" in run.stdout, "what is found changes no search"
    assert any(line.startswith("three/train/residual/0: ") for line in tree.status())
    verified = tree.nunatak("verify", "--results", "results")
    assert verified.returncode == 0, verified.stdout
