"""The cascade of SRCNN: published size, ladders, what each stage learns from, and its windows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_fabric import Fabric
from torch import nn

from nunatak.errors import ConfigError
from nunatak.ladder import detached, rungs
from nunatak.learn.cascade import Cascade, averaged
from nunatak.learn.dataset import Chunks, Minibatch, Tiles
from nunatak.learn.models.interpolate import upsample
from nunatak.learn.models.srcnn import Srcnn
from nunatak.learn.receptive import measured
from nunatak.learn.spec import Batch, InputSpec, ModelSpec, area_mean, block_mean
from nunatak.learn.tasks import Setup, Supervised
from nunatak.method import Loss
from nunatak.ops.split import TRAIN

LOSSES = (Loss(op="l1"),)


def spec(scale: int = 4) -> ModelSpec:
    return ModelSpec(scale, {"coarse": InputSpec(1, 1), "sliding": InputSpec(1, scale)})


def inputs_of(given: ModelSpec, h: int = 9, w: int = 9, batch: int = 1) -> Batch:
    seeded = torch.Generator().manual_seed(0)
    fields = {
        name: torch.randn(batch, i.channels, h * i.ratio, w * i.ratio, generator=seeded)
        for name, i in given.inputs.items()
    }
    return {**fields, "prior": 1000 + 100 * torch.randn(batch, 1, h, w, generator=seeded)}


def network(scale: int = 4, stirred: bool = True, **args: Any) -> Srcnn:
    torch.manual_seed(0)
    made = Srcnn(spec(scale), **args)
    made.set_scale(1000, 100, 20)
    for layer in made.modules():
        if stirred and isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.03)
    return made


@pytest.mark.parametrize(("scale", "ladder", "stages"), [(16, "geometric", 4), (16, "linear", 8)])
def test_a_stage_has_the_published_number_of_parameters(
    scale: int, ladder: str, stages: int
) -> None:
    made = Srcnn(spec(scale), ladder=ladder)
    counts = [sum(p.numel() for p in stage.parameters()) for stage in made.stages]
    assert counts == [13313] * stages


def test_weights_start_with_a_deviation_of_a_thousandth_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    for name, values in Srcnn(spec()).stages.named_parameters():
        if name.endswith("bias"):
            assert not values.any()
        else:
            assert float(values.detach().std()) == pytest.approx(1e-3, rel=0.1)
            assert abs(float(values.detach().mean())) < 1e-4


def test_ladders_climb_to_the_scale() -> None:
    assert rungs(2, "geometric") == rungs(2, "linear") == (2,)
    assert rungs(16, "geometric") == (2, 4, 8, 16)
    assert rungs(8, "linear") == (2, 4, 6, 8)
    assert rungs(1, "level", 2) == (1, 1)


@pytest.mark.parametrize(
    ("scale", "ladder"), [(6, "geometric"), (3, "linear"), (1, "linear"), (4, "steep")]
)
def test_a_ladder_that_misses_the_scale_is_refused(scale: int, ladder: str) -> None:
    with pytest.raises(ConfigError, match="srcnn"):
        rungs(scale, ladder)


@pytest.mark.parametrize(("ladder", "stages"), [("level", 0), ("geometric", 2), ("linear", 1)])
def test_a_number_of_stages_is_that_of_a_level_ladder_alone(ladder: str, stages: int) -> None:
    with pytest.raises(ConfigError, match=f"srcnn: {stages} stages with a {ladder} ladder"):
        rungs(4, ladder, stages)


@pytest.mark.parametrize(
    "args", [{}, {"end_to_end": True}, {"ladder": "level", "stages": 1}, {"residual": True}]
)
def test_whether_stages_are_detached_is_told_without_the_network(args: dict[str, Any]) -> None:
    assert (
        detached(4, **args)
        == Srcnn(spec(4), **args).greedy
        == ("stages" not in args and "end_to_end" not in args)
    )


def test_level_stages_refine_the_field_where_it_is() -> None:
    made = network(1, ladder="level", stages=2)
    given = inputs_of(made.spec)
    first, second = made.climb(given)
    assert first.shape == second.shape == given["prior"].shape
    normal = (first.detach() - 1000) / 100
    expected = 1000 + 100 * made.stages[1](torch.cat([normal, given["sliding"]], dim=1))
    torch.testing.assert_close(second, expected)


@given(
    wanted=st.integers(1, 16),
    given_=st.integers(1, 16),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_area_means_keep_the_mean_of_every_coarse_cell(wanted: int, given_: int, seed: int) -> None:
    seeded = torch.Generator().manual_seed(seed)
    field = torch.randn(1, 2, 3 * given_, 2 * given_, generator=seeded, dtype=torch.float64)
    found = area_mean(field, given_, wanted)
    assert found.shape == (1, 2, 3 * wanted, 2 * wanted)
    torch.testing.assert_close(block_mean(found, wanted), block_mean(field, given_))


def test_area_means_weigh_by_what_is_covered() -> None:
    row = torch.tensor([[[[0.0, 3.0, 6.0]] * 3]])
    assert area_mean(row, 3, 2)[0, 0, 0].tolist() == pytest.approx([1.0, 5.0])


@pytest.mark.parametrize("ladder", ["geometric", "linear"])
@pytest.mark.parametrize("residual", [False, True])
def test_a_stage_is_fed_the_one_before_interpolated_and_the_averaged_condition(
    ladder: str, residual: bool
) -> None:
    made, scale = network(8, ladder=ladder, residual=residual), 8
    inputs = inputs_of(spec(scale), 5, 6)
    fields, expected = made.climb(inputs), inputs["prior"]
    assert torch.equal(made(inputs), fields[-1])
    for rung, stage, field in zip(made.rungs, made.stages, fields, strict=True):
        size = (5 * rung, 6 * rung)
        fed = nn.functional.interpolate(expected.double(), size=size, mode="bicubic")
        condition = area_mean(inputs["sliding"], scale, rung)
        added = stage(torch.cat([((fed - 1000) / 100).float(), condition], dim=1))
        expected = fed.float() + 20 * added if residual else 1000 + 100 * added
        torch.testing.assert_close(field, expected, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("ladder", ["geometric", "linear"])
def test_a_window_with_its_halo_agrees_with_the_whole(scale: int, ladder: str) -> None:
    made = network(scale, ladder=ladder, residual=True).eval()
    inputs, halo = inputs_of(spec(scale), 30, 30), made.receptive
    top, size = 13, 3
    cut = {
        name: field[..., (top - halo) * r : (top + size + halo) * r, (top - halo) * r :][
            ..., : (size + 2 * halo) * r
        ]
        for name, field in inputs.items()
        for r in (scale if name == "sliding" else 1,)
    }
    with torch.no_grad():
        whole, part = made(inputs), made(cut)
    inner = slice(halo * scale, (halo + size) * scale)
    place = slice(top * scale, (top + size) * scale)
    torch.testing.assert_close(part[..., inner, inner], whole[..., place, place], rtol=0, atol=2e-2)


def test_the_measured_receptive_field_is_within_its_bound() -> None:
    made = network(4, residual=True)
    assert 2 <= measured(made, spec(4), size=24, samples=1) <= made.receptive


# The task


def batch_of(scale: int = 4, samples: int = 2) -> Minibatch:
    inputs = inputs_of(spec(scale), 9, 9, samples)
    side = 5 * scale
    seeded = torch.Generator().manual_seed(1)
    target = upsample(inputs["prior"], scale).float()[..., : 9 * scale, : 9 * scale]
    target = target[..., 2 * scale : 7 * scale, 2 * scale : 7 * scale]
    target = target + torch.randn(samples, 1, side, side, generator=seeded)
    mask = torch.ones(samples, 1, side, side, dtype=torch.bool)
    mask[0, 0, :6, :3] = False
    return Minibatch(inputs, torch.where(mask, target, 0.0), mask, scale)


def task_of(made: Srcnn, kind: type[Supervised] = Cascade, **changes: Any) -> Supervised:
    fabric = Fabric(accelerator="cpu", devices=1)
    given = Setup(fabric, made, LOSSES, 1e-3, None, 20, 2)
    return kind(replace(given, **changes))


@pytest.mark.parametrize(("end_to_end", "reached"), [(False, [False, True]), (True, [True, True])])
def test_stages_are_detached_unless_end_to_end(end_to_end: bool, reached: list[bool]) -> None:
    made = network(4, end_to_end=end_to_end)
    made(batch_of().inputs).sum().backward()
    found = [any(p.grad is not None for p in stage.parameters()) for stage in made.stages]
    assert found == reached


def test_every_stage_learns_by_its_own_loss() -> None:
    made = network(8)
    task = task_of(made)
    before = [[p.clone() for p in stage.parameters()] for stage in made.stages]
    terms = task.step(batch_of(8))
    assert list(terms) == ["loss", "l1", "stage_1", "stage_2", "stage_3"]
    assert terms["loss"] == pytest.approx(sum(terms[f"stage_{n}"] for n in (1, 2, 3)), rel=1e-5)
    assert terms["stage_3"] == pytest.approx(terms["l1"])
    for old, stage in zip(before, made.stages, strict=True):
        assert not any(torch.equal(a, b) for a, b in zip(old, stage.parameters(), strict=True))


def test_a_detached_stage_learns_as_if_it_were_alone() -> None:
    """The first stage of a cascade to 4 is one to 2, whatever comes after it."""
    made, alone = network(4), network(2)
    alone.stages[0].load_state_dict(made.stages[0].state_dict())
    batch = batch_of(4)
    task_of(made).step(batch)
    own = averaged(batch, 2)
    inputs = {**batch.inputs, "sliding": area_mean(batch.inputs["sliding"], 4, 2)}
    task_of(alone).step(replace(own, inputs=inputs))
    for a, b in zip(made.stages[0].parameters(), alone.stages[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_the_truth_of_a_stage_is_the_mean_of_its_valid_cells() -> None:
    batch = batch_of(4)
    own = averaged(batch, 2)
    assert own.scale == 2
    cells = batch.target[0, 0, 4:6, 2:4], batch.mask[0, 0, 4:6, 2:4]
    assert 0 < float(own.mask[0, 0, 2, 1]) < 1
    assert float(own.target[0, 0, 2, 1]) == pytest.approx(
        float(cells[0][cells[1]].mean()), rel=1e-5
    )
    assert float(own.mask[0, 0, 0, 0]) == float(own.target[0, 0, 0, 0]) == 0


def test_pieces_change_nothing() -> None:
    found = []
    for most in (None, 1):
        made = network(4)
        task_of(made, micro_batch=most).step(batch_of(4, 4))
        found.append([p.detach().clone() for p in made.parameters()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_detached_stages_and_a_loss_of_the_last_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"losses of their own(.|\n)*cascade"):
        task_of(network(4), Supervised)
    task_of(network(4, end_to_end=True), Supervised)
    task_of(network(2), Supervised)


def test_a_network_without_stages_is_refused(tmp_path: Path) -> None:
    results = tiny.world(tmp_path)
    with pytest.raises(ConfigError, match="cascade"):
        task_of(tiny.built(results))  # type: ignore[arg-type]


def test_a_cascade_is_trained_on_tiles_and_its_loss_falls(tmp_path: Path) -> None:
    results = tiny.world(tmp_path, tiny.recipe("srcnn", task={"op": "cascade"}))
    tiles = Tiles.open(results, "net", TRAIN, Chunks())
    batch = Minibatch.of([tiles.read(p) for p in (0, 1, 6, 7)], tiny.SCALE)
    made = tiny.built(results)
    task = task_of(made, batch=4)  # type: ignore[arg-type]
    losses: list[float] = [task.step(batch)["loss"] for _ in range(40)]
    assert losses[-1] < 0.8 * losses[0]
