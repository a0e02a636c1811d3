"""The task of any scale: what it draws and makes of tiles; a resume changes nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_fabric import Fabric
from pydantic import ValidationError
from test_loop import everything
from tests import small
from torch import Tensor

from nunatak.consistency import faults
from nunatak.errors import ConfigError
from nunatak.learn.dataset import Chunks, Minibatch, Tiles
from nunatak.learn.models.fno import Fno
from nunatak.learn.models.jiif import Jiif
from nunatak.learn.models.liif import Liif
from nunatak.learn.prepare import prepare
from nunatak.learn.queried import Queried
from nunatak.learn.spec import ModelSpec, Network
from nunatak.learn.spread import Spread
from nunatak.learn.tasks import Setup, Supervised
from nunatak.method import Loss
from nunatak.ops.degrade import block_mean
from nunatak.ops.normalise import fill_gaps
from nunatak.ops.split import TRAIN
from nunatak.products import Results
from nunatak.stages.train import train

SIDE = tiny.SIZE * tiny.SCALE
SMALL: dict[str, Any] = {"width": 4, "blocks": 1, "hidden": (8,)}
EVERY = SIDE**2


class SmallLiif(Liif):
    """Few weights."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, **SMALL)


class SmallJiif(Jiif):
    """Few weights."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, **SMALL)


class SmallFno(Fno):
    """Few weights."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, width=4, modes=3, layers=2, coarse=True, residual=True)


KINDS = [SmallLiif, SmallJiif, SmallFno]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return tiny.world(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def batch(results: Results) -> Minibatch:
    tiles = Tiles.open(results, "net", TRAIN, Chunks())
    return Minibatch.of([tiles.read(p) for p in (0, 1, 6, 7)], tiny.SCALE)


def task(results: Results, kind: type[Network] = SmallLiif, **changes: Any) -> Queried:
    torch.manual_seed(0)
    tiles = Tiles.open(results, "net", TRAIN, Chunks()).inputs
    network: Network = kind(tiles.spec)
    known = tiles.statistics
    network.set_scale(known.mean, known.deviation, known.detail)
    args = {"scales": changes.pop("scales", [2, 6]), "points": changes.pop("points", 40)}
    fabric = Fabric(accelerator="cpu", devices=1)
    plain = Setup(fabric, network, (Loss(op="l1"),), 1e-3, None, SIDE, 4, seed=5)
    coarse = known.transforms["coarse"]
    return Queried(replace(plain, **{"coarse": coarse, **changes}), **args)


def whole_means(batch: Minibatch, cells: int, least: float = 0.5) -> np.ndarray:
    """Means of valid truth over ``cells`` x ``cells`` equal cells of tiles, by brute force.

    NaN where less than the share ``least`` is valid, or none.
    """
    target, mask = (
        f.double().numpy().repeat(cells, -1).repeat(cells, -2) for f in (batch.target, batch.mask)
    )
    shape = (-1, 1, cells, SIDE, cells, SIDE)
    total, count = ((f.reshape(shape)).sum((3, 5)) for f in (target * mask, mask))
    enough = (count > 0) & (count >= least * SIDE**2)
    return np.where(enough, total / np.maximum(count, 1), np.nan)


@pytest.mark.parametrize("kind", [SmallLiif, SmallJiif])
def test_at_the_recipes_scale_it_shows_what_the_stores_hold(
    results: Results, batch: Minibatch, kind: type[Network]
) -> None:
    found = task(results, kind, scales=[tiny.SCALE, tiny.SCALE], points=EVERY).drawn(batch)
    inner = slice(tiny.CONTEXT, -tiny.CONTEXT)
    known = batch.mask[..., :: tiny.SCALE, :: tiny.SCALE]
    assert 0.5 < known.float().mean() < 1
    for name in ("coarse", "prior"):
        expected = batch.inputs[name][..., inner, inner]
        torch.testing.assert_close(found.inputs[name][known], expected[known], rtol=1e-6, atol=1e-6)
    guide = slice(2 * tiny.CONTEXT, -2 * tiny.CONTEXT)
    assert torch.equal(found.inputs["velocity"], batch.inputs["velocity"][..., guide, guide])
    assert torch.equal(found.target, batch.target.reshape(4, 1, -1, 1))
    assert torch.equal(found.mask, batch.mask.reshape(4, 1, -1, 1))


@pytest.mark.parametrize(("scale", "cells"), [(2, 16), (3.2, 10), (6.4, 5), (16, 2), (32, 1)])
def test_the_coarse_field_is_the_mean_of_valid_truth_filled_and_normalised(
    results: Results, batch: Minibatch, scale: float, cells: int
) -> None:
    made = task(results, scales=[scale, scale])
    found = made.drawn(batch)
    means = whole_means(batch, cells)
    assert np.isnan(means).any() or scale > 16
    expected = np.stack(
        [
            fill_gaps(field[0].astype(np.float32), float(made.setup.network.mean))[None]
            for field in means
        ]
    )
    np.testing.assert_allclose(found.inputs["prior"].numpy(), expected, rtol=1e-5)
    transform = made.setup.coarse
    np.testing.assert_allclose(
        found.inputs["coarse"].numpy(), transform.apply(expected), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("least", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(("scale", "cells"), [(tiny.SCALE, 8), (6.4, 5)])
def test_a_cell_is_known_by_the_recipes_share_of_valid_cells(
    results: Results, batch: Minibatch, scale: float, cells: int, least: float
) -> None:
    mask = batch.mask & (torch.from_numpy(np.random.default_rng(0).random(batch.mask.shape)) < 0.7)
    mask[..., :9, :] &= torch.arange(SIDE) % 5 == 0
    cut = replace(batch, mask=mask)
    made = task(results, scales=[scale, scale], min_valid=least)
    found = made.drawn(cut).inputs["prior"]
    means = whole_means(cut, cells, least).astype(np.float32)
    filled = [fill_gaps(field[0], float(made.setup.network.mean))[None] for field in means]
    np.testing.assert_allclose(found.numpy(), np.stack(filled), rtol=1e-5)
    if scale == tiny.SCALE:
        fine = np.where(mask.numpy(), batch.target.numpy(), np.nan)
        stored = [block_mean(field[0], tiny.SCALE, min_valid=least) for field in fine]
        np.testing.assert_allclose(np.stack(stored)[:, None], means, rtol=1e-6)


@pytest.mark.parametrize(
    ("args", "least"), [({}, 0.5), ({"min_valid": 0.9}, 0.9), ({"min_valid": 0}, 0)]
)
def test_the_share_is_that_of_the_recipes_block_mean(
    tmp_path: Path, args: dict[str, float], least: float
) -> None:
    asked = {"op": "queried", "args": {"scales": [2, 6], "points": 50}}
    spec = tiny.recipe("test_queried:SmallJiif", 40000, task=asked, losses=[{"op": "l1"}])
    degrade = spec.coarse.degrade.model_copy(update={"args": args})
    spec = spec.model_copy(update={"coarse": spec.coarse.model_copy(update={"degrade": degrade})})
    run, _ = prepare(tiny.world(tmp_path, spec), "net", 0, "k", Spread(), tmp_path / "kept")
    assert run.task.setup.min_valid == least


@given(low=st.floats(1, SIDE), high=st.floats(1, SIDE), first=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_windows_lie_in_the_tile_and_hold_whole_cells_of_about_the_drawn_scale(
    results: Results, batch: Minibatch, low: float, high: float, first: int
) -> None:
    low, high = min(low, high), max(low, high)
    made = task(results, scales=[low, high])
    frame = made._frame(replace(batch, first=4 * first))
    assert frame.cells * low <= SIDE + 1e-6
    assert frame.side % 2 == frame.top % 2 == frame.left % 2 == 0, "whole cells of the guide"
    assert min(frame.top, frame.left) >= 0
    assert max(frame.top, frame.left) + frame.side <= SIDE
    assert low - 1 / frame.cells <= frame.side / frame.cells <= high + 1 / frame.cells
    assert (frame.cells + 1) * high > SIDE - 1e-6


def test_every_scale_is_as_likely(results: Results, batch: Minibatch) -> None:
    made = task(results, scales=[2, 6])
    frames = [made._frame(replace(batch, first=4 * n)) for n in range(400)]
    counts, _ = np.histogram([f.side / f.cells for f in frames], bins=4, range=(2, 6))
    assert counts.min() > 60
    assert {f.top for f in frames} >= {0, 2, 4}
    assert any(f.top != f.left for f in frames)


def test_what_is_drawn_follows_from_the_seed_and_the_number_of_the_sample(
    results: Results, batch: Minibatch
) -> None:
    made, batch = task(results), replace(batch, first=40)
    whole = made.drawn(batch)
    inputs = {name: values[2:] for name, values in batch.inputs.items()}
    half = replace(batch, inputs=inputs, target=batch.target[2:], mask=batch.mask[2:], first=42)
    part = task(results).drawn(half)
    for name, values in whole.inputs.items():
        torch.testing.assert_close(part.inputs[name], values[2:])
    assert torch.equal(part.target, whole.target[2:])
    asked = whole.inputs["asked"]
    assert asked.flatten(1).sum(1).tolist() == [40] * 4
    assert not torch.equal(asked[0], asked[1])
    others = (task(results, seed=6).drawn(batch), made.drawn(replace(batch, first=44)))
    for other in others:
        again = other.inputs["asked"]
        assert asked.shape != again.shape or not torch.equal(asked, again)


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_that_of_the_whole_grid_at_the_drawn_cells(
    results: Results, batch: Minibatch, kind: type[Network]
) -> None:
    made = task(results, kind, scales=[3.3, 3.3])
    asked = made.drawn(batch)
    cells = asked.inputs["asked"]
    found = made.forwards["network"](asked.inputs)
    field: Tensor = made.setup.network.at(asked.inputs, tuple(cells.shape[-2:]))  # type: ignore[operator]
    torch.testing.assert_close(found.flatten(), field[cells])
    assert found.shape == asked.target.shape == asked.mask.shape == (4, 1, 40, 1)


def test_cells_without_truth_change_neither_loss_nor_weights(
    results: Results, batch: Minibatch
) -> None:
    wild = replace(batch, target=torch.where(batch.mask, batch.target, torch.nan))
    found = []
    for each in (batch, wild):
        made = task(results)
        found.append((made.step(each), copy.deepcopy(made.modules["network"].state_dict())))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(found[0][1][name], found[1][1][name]) for name in found[0][1])


@pytest.mark.parametrize("kind", KINDS)
def test_steps_lower_the_loss(results: Results, batch: Minibatch, kind: type[Network]) -> None:
    made = task(results, kind, lr=0.01, points=200)
    losses = [made.step(replace(batch, first=4 * n))["loss"] for n in range(40)]
    assert np.mean(losses[-8:]) < 0.95 * np.mean(losses[:8])


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_of_a_batch_change_nothing(
    results: Results, batch: Minibatch, kind: type[Network]
) -> None:
    found = []
    for most in (None, 1, 3):
        made = task(results, kind, micro_batch=most)
        loss = made.step(replace(batch, first=8))["loss"]
        gradients = [p.grad for p in made.modules["network"].parameters()]
        found.append((loss, torch.cat([g.flatten() for g in gradients if g is not None])))
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-6)
        torch.testing.assert_close(gradient, found[0][1], rtol=1e-4, atol=1e-5)


def test_validation_is_of_whole_tiles_at_the_recipes_scale(
    results: Results, batch: Minibatch
) -> None:
    made = task(results)
    plain = Supervised(replace(made.setup))
    network = made.setup.network.eval()
    assert made.validate(batch, network) == plain.validate(batch, network)


def test_stopped_and_resumed_is_bit_for_bit_as_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nunatak.stages.train.curves", lambda frame, path: None)
    asked = {"op": "queried", "args": {"scales": [2, 6.5], "points": 50}}
    spec = tiny.recipe("test_queried:SmallJiif", 40000, task=asked, losses=[{"op": "l1"}])
    whole, parts = (tiny.world(tmp_path / name, spec) for name in ("whole", "parts"))
    manifest = train(whole, "net", 0, key="k")
    for step in range(1, 10):
        assert train(parts, "net", 0, key="k", stop_after=0)["samples"] == 4 * step
    assert train(parts, "net", 0, key="k", stop_after=0) == manifest
    assert everything(parts) == everything(whole)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": tiny.Tiny}, "a network that gives its field on any grid"),
        ({"scales": [6, 2]}, "the lesser first"),
        ({"scales": [0.5, 2]}, "from 1 to the 32 fine cells"),
        ({"scales": [2, 33]}, "from 1 to the 32 fine cells"),
        ({"scales": [2]}, "two scales"),
        ({"points": 0}, "at least one point"),
        ({"losses": (Loss(op="slope"),)}, "'slope' at single points"),
        ({"losses": (Loss(op="l1"), Loss(op="topographic"))}, "'topographic' at single points"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    results: Results, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        task(results, **wrong)


def test_a_coarse_field_that_is_made_in_another_way_is_refused() -> None:
    asked = {"op": "queried", "args": {"scales": [2, 4], "points": 8}}
    learns = {"task": asked, "losses": [{"op": "l1"}], "validate_every": 4}
    method = {"model": {"op": "liif"}, "train": {**learns, "samples": 8, "batch": 2, "lr": 0.01}}
    assert small.recipe(methods={"net": method})
    with pytest.raises(
        ValidationError, match=r"coarse\.degrade is 'spline': expected 'block_mean'"
    ):
        small.recipe(methods={"net": method}, coarse={"degrade": {"op": "spline"}})
    normal = small.recipe(methods={"net": method})
    tiles = normal.tiles.model_copy(update={"normals": True})
    found = faults(normal.model_copy(update={"tiles": tiles}))
    assert any("whose cells have no normals" in fault for fault in found)
