"""RESAC and its sub-pixel kin: published size, levels, their guide, windows, and training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from guided import count, cut, inputs_of, noise, scaled, spec, stirred
from lightning_fabric import Fabric
from odc.geo.geobox import GeoBox
from torch import Tensor, nn

from nunatak.errors import ConfigError
from nunatak.ladder import climbed, factors, joined
from nunatak.learn.cascade import Cascade, balanced_flow
from nunatak.learn.dataset import Minibatch
from nunatak.learn.models.interpolate import upsample
from nunatak.learn.models.resac import Climber, Resac, stack
from nunatak.learn.models.resac_subpixel import ResacSubpixel
from nunatak.learn.receptive import measured
from nunatak.learn.spec import ModelSpec, area_mean, repeat
from nunatak.learn.tasks import Setup, Supervised, central
from nunatak.method import Loss
from nunatak.metrics.ocean import GRAVITY, ROTATION, cells, geostrophic

KINDS = pytest.mark.parametrize(
    ("kind", "args"),
    [(Resac, {}), (Resac, {"residual": True}), (ResacSubpixel, {"width": 8, "depth": 1})],
    ids=["resac", "residual", "subpixel"],
)


def made(kind: type[Climber] = Resac, given: ModelSpec | None = None, **args: Any) -> Climber:
    torch.manual_seed(0)
    return stirred(kind(given or spec(9), **args))


def test_the_original_has_the_published_number_of_parameters() -> None:
    original = Resac(spec(9), velocities=True)
    assert count(original) == 402_113
    assert count(original.levels) == 313_022
    assert [count(branch) for branch in original.flow] == [30_097, 29_497, 29_497]


def test_the_coarse_field_alone_and_further_levels_have_what_follows_from_their_shapes() -> None:
    guided, alone = Resac(spec(9)), Resac(spec(9, guide=False))
    assert count(guided) - count(alone) == 36 * 36 + 24 * 25
    assert count(Resac(spec(27))) - count(guided) == 30_097


def test_a_ladder_is_the_prime_factors_or_what_is_given() -> None:
    assert factors(27) == (3, 3, 3)
    assert factors(12) == (2, 2, 3)
    assert factors(7) == (7,)
    assert factors(12, [4, 3]) == (4, 3)
    assert climbed(27) == (3, 9, 27)
    assert climbed(12, [4, 3]) == (4, 12)
    assert not joined(12, factors=[4, 3], residual=True)


@pytest.mark.parametrize(("scale", "given"), [(1, []), (12, [4, 4]), (12, [12, 1]), (6, [1.5, 4])])
def test_factors_that_do_not_make_the_scale_are_refused(scale: int, given: list[int]) -> None:
    with pytest.raises(ConfigError, match=f"for scale {scale}"):
        joined(scale, factors=given)
    with pytest.raises(ConfigError, match=f"for scale {scale}"):
        Resac(spec(scale), factors=given)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"depth": 0}])
def test_impossible_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ResacSubpixel(spec(9), **wrong)


@pytest.mark.parametrize("residual", [False, True])
def test_a_level_gets_the_one_before_and_the_averaged_guide(residual: bool) -> None:
    network = made(given=spec(12), factors=[4, 3], residual=residual)
    inputs = inputs_of(network.spec, 5, 6)
    fields, expected, below = network.climb(inputs), inputs["prior"], 1
    assert torch.equal(network(inputs), fields[-1])
    for rung, level, field in zip((4, 12), network.levels, fields, strict=True):
        if residual:
            wide = upsample(expected, rung // below).float()
        else:
            wide = repeat(expected, rung // below)
        guide = area_mean(inputs["sst"], 12, rung)
        given = level(torch.cat([(wide - 0.5) / 0.3, guide], dim=1))
        expected, below = wide + 0.1 * given if residual else 0.5 + 0.3 * given, rung
        torch.testing.assert_close(field, expected)


@KINDS
def test_each_level_sees_the_guide_at_its_own_resolution(
    kind: type[Climber], args: dict[str, Any]
) -> None:
    network = made(kind, **args)
    inputs = inputs_of(network.spec, 5, 5)
    before = network.climb(inputs)
    finest = noise(1, 1, 45, 45, seed=5)
    inputs["sst"] = inputs["sst"] + finest - repeat(area_mean(finest, 9, 3), 3)
    after = network.climb(inputs)
    torch.testing.assert_close(after[0], before[0])
    assert (after[1] - before[1]).abs().max() > 1e-2


@pytest.mark.parametrize(
    "network",
    [Resac(spec(9), residual=True), ResacSubpixel(spec(9), width=4, depth=1)],
    ids=["resac", "subpixel"],
)
def test_residual_levels_start_as_interpolation_and_keep_a_constant(network: Climber) -> None:
    inputs = inputs_of(network.spec, 6, 7)
    expected = upsample(upsample(inputs["prior"], 3), 3).float()
    torch.testing.assert_close(scaled(network)(inputs), expected)
    inputs["prior"] = torch.full((1, 1, 6, 7), 1.25)
    torch.testing.assert_close(network(inputs), torch.full((1, 1, 54, 63), 1.25))


@KINDS
def test_a_window_with_its_halo_agrees_with_the_whole(
    kind: type[Climber], args: dict[str, Any]
) -> None:
    network = made(kind, spec(6), factors=[3, 2], **args)
    halo, top, left, side = network.receptive, 3, 5, 2
    assert isinstance(halo, int)
    inputs = inputs_of(network.spec, side + 2 * halo + 8, side + 2 * halo + 7)
    part = cut(inputs, network.spec, top, left, side + 2 * halo, side + 2 * halo)
    with torch.no_grad():
        whole, inner = network(inputs), network.inner(part, halo)
    y, x, n = (top + halo) * 6, (left + halo) * 6, side * 6
    torch.testing.assert_close(inner, whole[..., y : y + n, x : x + n], rtol=0, atol=1e-5)


@KINDS
def test_the_measured_receptive_field_is_within_its_bound(
    kind: type[Climber], args: dict[str, Any]
) -> None:
    network = made(kind, spec(4), **args)
    assert 2 <= measured(network, network.spec, size=16, samples=1) <= int(network.receptive)


@KINDS
def test_every_parameter_learns(kind: type[Climber], args: dict[str, Any]) -> None:
    network = made(kind, **args)
    network(inputs_of(network.spec, 7, 7, batch=2)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_velocities_come_from_the_fine_field_and_their_branches_learn() -> None:
    network = made(velocities=True)
    assert isinstance(network, Resac)
    inputs = inputs_of(network.spec, 5, 6)
    found = network.currents(inputs, network(inputs))
    assert found.shape == (1, 2, 45, 54)
    assert not torch.equal(found[:, 0], found[:, 1])
    found.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
    without = made()
    assert isinstance(without, Resac)
    with pytest.raises(AttributeError, match="velocities"):
        without.currents(inputs, inputs["prior"])


def test_whether_velocities_need_a_loss_is_told_without_the_network() -> None:
    assert joined(9, velocities=True)
    assert Resac(spec(9), velocities=True).greedy
    assert not joined(9)
    assert not Resac(spec(9)).greedy


def test_an_even_kernel_reaches_one_cell_further_below_and_right() -> None:
    layers = stack(1, 1, 1, 6, 2)
    for parameter in layers.parameters():
        nn.init.ones_(parameter)
    field = torch.zeros(1, 1, 15, 15)
    field[..., 7, 7] = 1
    seen = (layers(field) > layers(0 * field)).nonzero()[:, 2:]
    assert seen.min(dim=0).values.tolist() == [7 - 3 - 1] * 2
    assert seen.max(dim=0).values.tolist() == [7 + 2] * 2


def test_weights_are_those_of_he_and_biases_zero() -> None:
    torch.manual_seed(0)
    second = [m for m in Resac(spec(9)).levels[0].modules() if isinstance(m, nn.Conv2d)][1]
    expected = (2 / (36 * 36)) ** 0.5
    assert float(second.weight.detach().std()) == pytest.approx(expected, rel=0.02)
    assert second.bias is not None
    assert not second.bias.any()


@KINDS
def test_mixed_precision_gives_single_precision(kind: type[Climber], args: dict[str, Any]) -> None:
    network = made(kind, **args)
    inputs = inputs_of(network.spec, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = network(inputs)
    assert mixed.dtype == torch.float32
    full = network(inputs)
    assert (mixed - full).abs().max() < 0.1 * float(full.detach().std()) + 1e-3


def batch_of(given: ModelSpec, samples: int = 2) -> Minibatch:
    inputs = inputs_of(given, 7, 7, samples)
    detail = 0.1 * inputs["sst"]
    target: Tensor = upsample(inputs["prior"], given.scale).float() + detail
    inner = slice(2 * given.scale, 5 * given.scale)
    target = target[..., inner, inner]
    return Minibatch(inputs, target, torch.ones_like(target, dtype=torch.bool), given.scale)


@KINDS
def test_the_cascade_task_gives_every_level_a_loss_and_it_falls(
    kind: type[Climber], args: dict[str, Any]
) -> None:
    network = made(kind, **args)
    fabric = Fabric(accelerator="cpu", devices=1)
    task = Cascade(Setup(fabric, network, (Loss(op="l1"),), 1e-3, None, 27, 2))
    batch = batch_of(network.spec)
    found = [task.step(batch) for _ in range(12)]
    assert list(found[0]) == ["loss", "l1", "stage_1", "stage_2"]
    assert found[0]["loss"] == pytest.approx(found[0]["stage_1"] + found[0]["stage_2"], rel=1e-5)
    assert found[-1]["loss"] < 0.9 * found[0]["loss"]


def test_the_cascade_task_teaches_velocities_by_the_slopes_of_the_truth() -> None:
    network = made(velocities=True)
    fabric = Fabric(accelerator="cpu", devices=1)
    setup = Setup(fabric, network, (Loss(op="l1"),), 1e-3, None, 27, 2)
    task, batch = Cascade(setup, velocity_weight=0.5), batch_of(network.spec)
    assert isinstance(network, Resac)
    with torch.no_grad():
        flow = central(network.currents(batch.inputs, network(batch.inputs)), 27)
    truth, known = balanced_flow(batch.target, batch.mask)
    error = (flow - truth * 9 / 0.1)[known].double()
    before = {name: p.detach().clone() for name, p in network.flow.named_parameters()}
    found = [task.step(batch) for _ in range(12)]
    assert list(found[0]) == ["loss", "l1", "stage_1", "stage_2", "velocity"]
    assert found[0]["velocity"] == pytest.approx(float(error.cosh().log().mean()), rel=1e-4)
    stages = found[0]["stage_1"] + found[0]["stage_2"]
    assert found[0]["loss"] == pytest.approx(stages + 0.5 * found[0]["velocity"], rel=1e-5)
    assert found[-1]["velocity"] < 0.9 * found[0]["velocity"]
    assert all(not torch.equal(p, before[n]) for n, p in network.flow.named_parameters())


def test_velocities_and_a_loss_of_the_height_alone_are_refused() -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    with pytest.raises(ConfigError, match=r"(?s)losses of their own.*cascade.*velocities: false"):
        Supervised(Setup(fabric, made(velocities=True), (Loss(op="l1"),), 1e-3, None, 27, 2))


def test_the_flow_that_is_learnt_is_the_geostrophic_velocity() -> None:
    grid = GeoBox.from_bbox((20, 40, 20.4, 40.3), "EPSG:4326", resolution=0.01)
    height = noise(1, 1, *grid.shape)
    flow, known = balanced_flow(height, torch.ones_like(height, dtype=torch.bool))
    place = cells(grid)
    expected = geostrophic(height[0, 0].double().numpy(), place)
    inner = (slice(1, -1), slice(1, -1))
    assert known[0, 0][inner].all()
    assert known.sum() == 2 * 28 * 38
    turning = GRAVITY / (2 * ROTATION * np.sin(np.radians(place.latitude)))
    for part, length, wanted in zip(
        flow[0].numpy(), (place.height, place.width), expected, strict=True
    ):
        np.testing.assert_allclose((turning * part / length)[inner], wanted[inner], rtol=1e-4)


def test_a_flow_is_known_where_all_four_neighbours_are() -> None:
    mask = torch.ones(1, 1, 5, 5, dtype=torch.bool)
    mask[0, 0, 1, 2] = False
    _, known = balanced_flow(torch.zeros(1, 1, 5, 5), mask)
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[2, 1] = expected[2, 3] = expected[3, 1:4] = True
    expected[1, 2] = True
    assert torch.equal(known[0, 0], expected)
    assert torch.equal(known[0, 1], expected)
