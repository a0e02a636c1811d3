from __future__ import annotations

import io
import json
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest
import tiny
import torch
from blake3 import blake3

from nunatak.errors import StoreError
from nunatak.learn.checkpoint import Checkpoint, digest_state, load, load_network, save
from nunatak.learn.inputs import Statistics
from nunatak.products import Results
from nunatak.provenance import read_json


def checkpoint() -> Checkpoint:
    state = {"layer.weight": torch.arange(2000.0), "steps": torch.tensor(3)}
    optimiser = {"state": {0: {"step": torch.tensor(2.0)}}, "param_groups": [{"lr": 0.1}]}
    return Checkpoint(
        key="abc",
        method="net",
        member=1,
        recipe={"name": "tiny", "grid": {"scale": 4}},
        statistics={"mean": 1.5},
        tiles="0123",
        samples_seen=64,
        best=12.25,
        best_samples=32,
        weights={"network": state},
        ema=state,
        optimisers={"network": optimiser, "precision": {}},
        halo=5,
    )


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    save(tmp_path / "a" / "x.pt", checkpoint())
    found, given = load(tmp_path / "a" / "x.pt"), checkpoint()
    for name in (f.name for f in fields(Checkpoint) if f.name not in {"weights", "ema"}):
        assert getattr(found, name) == getattr(given, name)
    assert found.ema is not None
    for name, values in given.weights["network"].items():
        assert torch.equal(found.weights["network"][name], values)
        assert torch.equal(found.ema[name], values)


def test_the_file_is_one_that_torch_reads(tmp_path: Path) -> None:
    save(tmp_path / "x.pt", checkpoint())
    assert torch.load(tmp_path / "x.pt", weights_only=True)["samples_seen"] == 64


@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_bit_is_noticed(tmp_path: Path, where: float) -> None:
    path = tmp_path / "x.pt"
    save(path, checkpoint())
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"x\.pt is damaged") as error:
        load(path)
    assert str(tmp_path) in error.value.do


@pytest.mark.parametrize("length", [0, 10, 900])
def test_a_cut_file_is_noticed(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.pt"
    save(path, checkpoint())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(StoreError, match="is damaged"):
        load(path)


class Foreign:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_a_foreign_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    stream = io.BytesIO()
    torch.save({"key": Foreign(tmp_path / "ran")}, stream)
    content = stream.getvalue()
    (tmp_path / "x.pt").write_bytes(content + blake3(content).digest())
    with pytest.raises(StoreError, match="other things"):
        load(tmp_path / "x.pt")
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone\.pt cannot be read"):
        load(tmp_path / "gone.pt")


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pt"
    save(path, checkpoint())

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(path, replace(checkpoint(), samples_seen=128))
    assert load(path).samples_seen == 64


def test_the_digest_of_weights_tells_names_and_values_apart() -> None:
    a, b = torch.zeros(3), torch.ones(3)
    assert digest_state({"a": a, "b": b}) == digest_state({"b": b, "a": a})
    others = [{"a": b, "b": a}, {"a": a}, {"a": a, "c": b}]
    assert digest_state({"a": a, "b": b}) not in [digest_state(o) for o in others]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return tiny.world(tmp_path_factory.mktemp("results"))


def trained(results: Results) -> Checkpoint:
    torch.manual_seed(4)
    network = tiny.built(results)
    statistics = read_json(results.tiles / "statistics.json")
    return replace(
        checkpoint(), weights={"network": network.state_dict()}, statistics=statistics, halo=3
    )


def test_the_network_of_a_trained_member_is_its_best_in_evaluation_mode(results: Results) -> None:
    given = trained(results)
    save(results.train("net", 0) / "best.pt", given)
    network, halo, _ = load_network(results, "net", 0)
    assert digest_state(network.state_dict()) == digest_state(given.weights["network"])
    assert halo == 3
    assert not network.training


def test_a_method_without_training_is_built_and_measured(results: Results) -> None:
    network, halo, _ = load_network(results, "plain", 0)
    assert 1 <= halo <= 3
    assert not network.training


def test_an_unfinished_member_is_refused(results: Results) -> None:
    save(results.train("net", 1) / "best.pt", replace(trained(results), halo=None))
    with pytest.raises(StoreError, match="not over"):
        load_network(results, "net", 1)


def test_inputs_are_normalised_as_in_training_whatever_the_tiles_say_now(
    results: Results,
) -> None:
    given = trained(results)
    other = json.loads(json.dumps({**given.statistics, "mean": 0.0}))
    save(results.train("net", 2) / "best.pt", replace(given, statistics=other))
    assert load_network(results, "net", 2)[2] == Statistics.of(other)
