from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from nunatak.errors import ConfigError, DataError, StoreError
from nunatak.learn.checkpoint import Checkpoint, load, load_network
from nunatak.learn.dataset import Chunks, Tiles
from nunatak.learn.loop import Stop, averaged, rate, step_seed
from nunatak.learn.tasks import Supervised
from nunatak.method import Train
from nunatak.ops.split import VALIDATION
from nunatak.products import Results
from nunatak.stages.train import train


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than training; the trainings of module fixtures do draw."""
    monkeypatch.setattr("nunatak.stages.train.curves", lambda frame, path: None)


TASKS = [tiny.SUPERVISED, tiny.ADVERSARIAL]


def flat(value: Any) -> list[Any]:
    """All leaves of nested dicts, lists and tensors, in order."""
    if isinstance(value, torch.Tensor):
        return [value.dtype, value.flatten().tolist()]
    if isinstance(value, dict):
        return [leaf for k, v in value.items() for leaf in (k, *flat(v))]
    return [leaf for v in value for leaf in flat(v)] if isinstance(value, list | tuple) else [value]


def everything(results: Results, member: int = 0) -> list[Any]:
    """All that a training leaves behind."""
    folder = results.train("net", member)
    files: list[Checkpoint] = [load(folder / name) for name in ("last.pt", "best.pt")]
    return [flat(vars(c)) for c in files] + [(folder / "loss.csv").read_text()]


def after(steps: int, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do something at the end of the step of that number."""
    done, step = 0, Supervised.step

    def counted(self: Supervised, batch: Any) -> dict[str, float]:
        nonlocal done
        done += 1
        terms = step(self, batch)
        if done == steps:
            act()
        return terms

    monkeypatch.setattr(Supervised, "step", counted)


@pytest.mark.parametrize("task", TASKS, ids=["supervised", "adversarial"])
def test_stopped_and_resumed_is_bit_for_bit_as_never_stopped(
    tmp_path: Path, task: dict[str, Any]
) -> None:
    spec = tiny.recipe(task=task)
    whole, parts = (tiny.world(tmp_path / name, spec) for name in ("whole", "parts"))
    manifest = train(whole, "net", 0, key="k")
    for step in range(1, 10):
        found = train(parts, "net", 0, key="k", stop_after=0)
        unfinished = {"method": "net", "member": 0, "samples": 4 * step, "unfinished": True}
        assert found == unfinished
    assert train(parts, "net", 0, key="k", stop_after=0) == manifest
    assert everything(parts) == everything(whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    spec = tiny.recipe(samples=24)
    whole, killed = (tiny.world(tmp_path / name, spec) for name in ("whole", "killed"))
    manifest = train(whole, "net", 0, key="k")
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        after(2, lambda: os.kill(os.getpid(), number), patch)
        assert train(killed, "net", 0, key="k")["samples"] == 8
    assert signal.getsignal(number) == handler
    assert load(killed.train("net", 0) / "last.pt").samples_seen == 8
    assert train(killed, "net", 0, key="k") == manifest
    assert everything(killed) == everything(whole)


def test_a_kill_without_warning_resumes_from_the_last_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = (tiny.world(tmp_path / name) for name in ("whole", "killed"))
    manifest = train(whole, "net", 0, key="k")

    def die() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        after(5, die, patch)
        with pytest.raises(KeyboardInterrupt):
            train(killed, "net", 0, key="k")
    assert load(killed.train("net", 0) / "last.pt").samples_seen == 12
    assert train(killed, "net", 0, key="k") == manifest
    assert everything(killed) == everything(whole)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, dict[str, Any]]:
    results = tiny.world(tmp_path_factory.mktemp("results"))
    return results, train(results, "net", 0, key="k")


def test_a_finished_training_is_not_done_again(trained: tuple[Results, dict[str, Any]]) -> None:
    results, manifest = trained
    before = everything(results)
    assert train(results, "net", 0, key="k") == manifest
    assert everything(results) == before


def test_the_manifest_names_the_best_validation(trained: tuple[Results, dict[str, Any]]) -> None:
    results, manifest = trained
    table = pd.read_csv(results.train("net", 0) / "loss.csv")
    judged = table.dropna(subset="validation_rmse")
    assert list(judged["samples"]) == [12, 24, 36, 40]
    assert list(table["samples"]) == list(range(4, 44, 4))
    assert manifest["best_rmse"] == judged["validation_rmse"].min()
    best = judged.loc[judged["validation_rmse"].idxmin(), "samples"]
    assert (manifest["best_samples"], manifest["samples"]) == (best, 40)
    assert (results.train("net", 0) / "loss.png").stat().st_size > 0
    assert "seconds" not in " ".join(table.columns)


def test_the_best_rmse_is_that_of_the_network_that_inference_loads(
    trained: tuple[Results, dict[str, Any]],
) -> None:
    results, manifest = trained
    network, halo, _ = load_network(results, "net", 0)
    tiles = Tiles.open(results, "net", VALIDATION, Chunks())
    crop, errors = (tiny.CONTEXT - 1) * tiny.SCALE, []
    for position in range(len(tiles)):
        sample = tiles.read(position)
        inputs = {n: torch.from_numpy(v)[None] for n, v in sample.inputs.items()}
        with torch.no_grad():
            found = network(inputs)[0, :, crop:-crop, crop:-crop].numpy()
        errors.append((found - sample.target)[sample.mask])
    rmse = math.sqrt(np.mean(np.concatenate(errors).astype(np.float64) ** 2))
    assert manifest["best_rmse"] == pytest.approx(rmse, rel=1e-5)
    assert halo == manifest["halo"] == 1


def test_members_differ_and_repeat(trained: tuple[Results, dict[str, Any]], tmp_path: Path) -> None:
    results, manifest = trained
    assert train(results, "net", 1, key="k")["model"] != manifest["model"]
    assert train(tiny.world(tmp_path), "net", 0, key="k") == manifest


def test_another_key_starts_anew(trained: tuple[Results, dict[str, Any]], tmp_path: Path) -> None:
    results = tiny.world(tmp_path)
    train(results, "net", 0, key="old", stop_after=0)
    assert train(results, "net", 0, key="k") == trained[1]
    assert everything(results)[2] == everything(trained[0])[2]


def test_a_damaged_checkpoint_is_not_resumed(tmp_path: Path) -> None:
    results = tiny.world(tmp_path)
    train(results, "net", 0, key="k", stop_after=0)
    path = results.train("net", 0) / "last.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"last\.pt is damaged"):
        train(results, "net", 0, key="k")


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tiny.world(tmp_path)
    step, steps = Supervised.step, iter(range(10))

    def failing(self: Supervised, batch: Any) -> dict[str, float]:
        terms = step(self, batch)
        return {**terms, "loss": math.nan} if next(steps) == 4 else terms

    monkeypatch.setattr(Supervised, "step", failing)
    with pytest.raises(DataError, match="after 20 samples: loss nan") as error:
        train(results, "net", 0, key="k")
    last = results.train("net", 0) / "last.pt"
    assert str(last) in error.value.do
    assert load(last).samples_seen == 12


def test_divergence_before_any_checkpoint_says_so(tmp_path: Path) -> None:
    results = tiny.world(tmp_path, tiny.recipe("tiny:Diverging", task=tiny.SUPERVISED))
    with pytest.raises(DataError, match="none yet"):
        train(results, "net", 0, key="k")


def test_a_network_that_sees_across_the_buffer_is_refused(tmp_path: Path) -> None:
    results = tiny.world(tmp_path, tiny.recipe(buffer=500))
    with pytest.raises(ConfigError, match=r"1000 m \(1 coarse cells\), but split.buffer is 500 m"):
        train(results, "net", 0, key="k")


def test_a_method_without_training_is_refused(trained: tuple[Results, dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match="'plain' needs no training"):
        train(trained[0], "plain", 0, key="k")


def test_half_precision_is_left_to_gpus(
    trained: tuple[Results, dict[str, Any]], tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    results = tiny.world(tmp_path, tiny.recipe(precision="16-mixed"))
    assert train(results, "net", 0, key="k") == trained[1]


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    spec = tiny.recipe(samples=1000, batch=10, warmup=100).methods["net"].train
    assert isinstance(spec, Train)
    rates = [rate(seen, spec) for seen in range(0, 1000, 10)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == pytest.approx(1, abs=1e-3)
    assert 0 < rates[-1] < 1e-3
    assert rates[0] == pytest.approx(0.05)


def test_steps_have_seeds_of_their_own() -> None:
    seeds = {step_seed(seed, seen) for seed in (0, 1) for seen in range(0, 400, 4)}
    assert len(seeds) == 200


def test_the_average_forgets_the_first_weights_and_then_follows() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    average, seen = averaged(network, 0.8), []
    for step in range(200):
        torch.nn.init.constant_(network.weight, float(step >= 2))
        average.update_parameters(network)
        seen.append(average.module.weight.item())
    assert seen[:2] == [0.0, 0.0]
    assert seen[2] == pytest.approx(9 / 12)
    torch.nn.init.constant_(network.weight, 0.0)
    average.update_parameters(network)
    assert average.module.weight.item() == pytest.approx(0.8)


def test_time_runs_out() -> None:
    assert Stop(0).due
    assert not Stop(60).due
    assert not Stop().due
