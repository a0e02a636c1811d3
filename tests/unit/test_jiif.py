"""JIIF: as published, its guide at the query, its weights a softmax, borders, chunks, windows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from guided import count, cut, inputs_of, noise, pointwise, scaled, silent, spec
from torch import Tensor, nn

from nunatak.errors import ConfigError
from nunatak.learn.models.implicit import centres, lattice_points
from nunatak.learn.models.interpolate import resize, sample, upsample
from nunatak.learn.models.jiif import Jiif
from nunatak.learn.receptive import measured
from nunatak.learn.spec import Batch, InputSpec, ModelSpec, area_mean

GUIDED = spec(3)


def made(given: ModelSpec = GUIDED, **args: Any) -> Jiif:
    torch.manual_seed(0)
    return scaled(Jiif(given, **{"width": 4, "blocks": 1, "hidden": (16, 8), **args}))


def points_of(h: int, w: int, scale: int) -> Tensor:
    device = torch.device("cpu")
    down, right = centres(0, h, h * scale, device), centres(0, w, w * scale, device)
    return lattice_points(down, right)[None]


def plainly(network: Jiif, inputs: Batch) -> tuple[Tensor, Tensor]:
    """As published, point by point; and the weights: exp(v_i) over the sum of exp(v_t)."""
    h, w = inputs["coarse"].shape[-2:]
    scale, ratio = network.spec.scale, network.ratio
    coarse = network.encoder(inputs["coarse"])[0]
    fine = network.guide_encoder(inputs["sst"])[0]
    seen = network.guide_encoder(area_mean(inputs["sst"], ratio, 1))[0]
    out, weights = [], []
    for y, x in points_of(h, w, scale)[0].tolist():
        own = fine[:, int(y * ratio), int(x * ratio)]
        answers = []
        for row in (int(y + 0.5 + 1e-6) - 1, int(y + 0.5 + 1e-6)):
            for column in (int(x + 0.5 + 1e-6) - 1, int(x + 0.5 + 1e-6)):
                i, j = min(max(row, 0), h - 1), min(max(column, 0), w - 1)
                way = 2 * torch.tensor([y - i - 0.5, x - j - 0.5])
                given = torch.cat([coarse[:, i, j], own, own - seen[:, i, j], way])
                answers.append(network.layers(given))
        value, logit = torch.stack(answers).unbind(1)
        weight = logit.exp() / logit.exp().sum()
        weights.append(weight)
        out.append((value * weight).sum())
    added = torch.stack(out).view(1, 1, h * scale, w * scale)
    return upsample(inputs["prior"], scale).float() + 0.1 * added, torch.stack(weights)


def test_it_has_the_parameters_that_follow_from_the_published_shapes() -> None:
    original = Jiif(GUIDED)
    assert [m.in_features for m in original.layers if isinstance(m, nn.Linear)] == [
        386,
        1024,
        512,
        256,
        128,
    ]
    assert count(original.encoder) == count(original.guide_encoder) == 1_280 + 33 * 147_584
    assert count(original) == 10_828_674


@pytest.mark.parametrize(("scale", "ratio"), [(3, 3), (2, 4)])
def test_it_gives_what_the_plain_arrangement_gives(scale: int, ratio: int) -> None:
    network = made(spec(scale, ratio=ratio))
    inputs = inputs_of(network.spec, 4, 5)
    with torch.no_grad():
        expected, _ = plainly(network, inputs)
        torch.testing.assert_close(network(inputs), expected, rtol=0, atol=1e-5)


def test_weights_are_a_softmax_of_the_four_logits() -> None:
    network = made()
    nn.init.normal_(network.layers[-1].weight)  # type: ignore[arg-type]
    inputs = inputs_of(GUIDED, 4, 5)
    with torch.no_grad():
        _, expected = plainly(network, inputs)
        _, weights = network.parts(network.encode(inputs), points_of(4, 5, 3))
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(weights)))
    assert weights.min() > 0
    assert weights.std(dim=1).mean() > 0.02


def test_all_logits_may_grow_alike() -> None:
    network, inputs = made(), inputs_of(GUIDED, 4, 5)
    before = network(inputs)
    with torch.no_grad():
        network.layers[-1].bias[1] += 200  # type: ignore[index,operator]
    torch.testing.assert_close(network(inputs), before, rtol=0, atol=1e-5)


def test_a_guide_that_changes_at_the_query_alone_changes_the_output_there_alone() -> None:
    network = made()
    pointwise(network.guide_encoder)
    inputs = inputs_of(GUIDED, 5, 6)
    before = network(inputs)
    # The mean over the coarse cell stays, so that nothing but these two cells is told apart.
    inputs["sst"][0, 0, 7, 10] += 1
    inputs["sst"][0, 0, 8, 11] -= 1
    changed = (network(inputs) - before).abs()[0, 0] > 1e-6
    assert changed.nonzero().tolist() == [[7, 10], [8, 11]]


def test_the_guide_is_seen_through_one_encoder_on_both_grids() -> None:
    network = made()
    inputs = inputs_of(GUIDED, 5, 6)
    seen: list[tuple[int, ...]] = []
    network.guide_encoder.register_forward_hook(lambda m, a, out: seen.append(tuple(out.shape)))
    network(inputs)
    assert seen == [(1, 4, 5, 6), (1, 4, 15, 18)]


def test_conditions_together_are_the_guide_on_the_grid_of_the_finest() -> None:
    given = ModelSpec(
        4, {"coarse": InputSpec(1, 1), "sst": InputSpec(1, 2), "ice": InputSpec(2, 4)}
    )
    network = made(given)
    assert network.ratio == 4
    inputs = inputs_of(given, 4, 5)
    before = network(inputs)
    assert before.shape == (1, 1, 16, 20)
    for name in ("sst", "ice"):
        changed = {**inputs, name: inputs[name] + 1}
        assert (network(changed) - before).abs().max() > 1e-4


def test_constant_inputs_give_a_constant_to_the_border() -> None:
    """Cells that are missing beyond the border are not taken for zeros."""
    network = made()
    pointwise(network)
    with torch.no_grad():
        network.layers[0].weight[:, -2:] = 0  # type: ignore[index,operator]
    inputs = {
        "coarse": torch.full((1, 1, 5, 6), 2.0),
        "sst": torch.full((1, 1, 15, 18), -1.0),
        "prior": torch.full((1, 1, 5, 6), 0.7),
    }
    found = network(inputs)
    torch.testing.assert_close(found, found[..., 7:8, 9:10].expand_as(found))
    assert (found - 0.7).abs().min() > 1e-4


def test_it_adds_to_the_bicubic_interpolation_of_the_prior() -> None:
    network, inputs = made(), inputs_of(GUIDED, 5, 6)
    silent(network.layers[-1])
    torch.testing.assert_close(network(inputs), upsample(inputs["prior"], 3).float())
    inputs["prior"] = torch.full((1, 1, 5, 6), -1.75)
    torch.testing.assert_close(network(inputs), torch.full((1, 1, 15, 18), -1.75))


@pytest.mark.parametrize("shape", [(12, 15), (14, 21), (4, 5)])
def test_bicubic_samples_at_points_are_those_of_the_grid(shape: tuple[int, int]) -> None:
    field, device = noise(2, 3, 4, 5), torch.device("cpu")
    points = lattice_points(centres(0, 4, shape[0], device), centres(0, 5, shape[1], device))
    found = sample(field, points.expand(2, -1, -1)).view(2, 3, *shape)
    torch.testing.assert_close(found, resize(field, shape), rtol=0, atol=1e-9)


def test_samples_do_not_mix() -> None:
    network, inputs = made(), inputs_of(GUIDED, 5, 6, batch=3)
    alone = network({name: field[1:2] for name, field in inputs.items()})
    torch.testing.assert_close(network(inputs)[1:2], alone)


def test_chunks_change_nothing() -> None:
    inputs = inputs_of(GUIDED, 5, 6, batch=2)
    whole = made(chunk=10**6)(inputs)
    for chunk in (1, 7, 64):
        torch.testing.assert_close(made(chunk=chunk)(inputs), whole, rtol=0, atol=1e-6)


def test_one_set_of_weights_serves_every_scale() -> None:
    three, two = made(), made(spec(2))
    two.load_state_dict(three.state_dict())
    assert two(inputs_of(two.spec, 5, 6)).shape == (1, 1, 10, 12)
    inputs = inputs_of(GUIDED, 4, 6)
    field = three.at(inputs, (10, 15))
    points = torch.tensor([[[(7 + 0.5) / 2.5, (4 + 0.5) / 2.5]]], dtype=torch.float64)
    found = three.query(three.encode(inputs), points, (0.4, 0.4))
    torch.testing.assert_close(found, field[:, 0, 7, 4:5])


def test_a_guide_of_another_ratio_is_seen_as_by_a_network_that_is_made_for_it() -> None:
    three, five = made(), made(spec(5))
    five.load_state_dict(three.state_dict())
    inputs = inputs_of(five.spec, 4, 6)
    torch.testing.assert_close(three.at(inputs, (20, 30)), five(inputs))
    inputs["sst"] = noise(1, 1, 10, 15)
    found = three.at(inputs, (10, 15))
    assert found.shape == (1, 1, 10, 15)
    pointwise(three.guide_encoder)
    before = three.at(inputs, (10, 15))
    inputs["sst"][0, 0, 7, 4] += 1
    changed = (three.at(inputs, (10, 15)) - before).abs()[0, 0]
    assert changed.argmax() == 7 * 15 + 4, "the guide's cell that the point lies in"


@pytest.mark.parametrize("side", [9, 20])
def test_what_is_cut_off_is_what_would_have_been_there(side: int) -> None:
    """Of the guide, too, no more is encoded than is seen."""
    network, inputs = made(), inputs_of(GUIDED, side, side)
    encoded: list[int] = []
    network.guide_encoder.register_forward_hook(lambda m, a, out: encoded.append(out.shape[-1]))
    middle = (side - 3) // 2
    inner = network.inner(inputs, middle)
    assert encoded == [side, 3 * min(side, side - 2 * (middle - 2))]
    rows = slice(3 * middle, 3 * (side - middle))
    torch.testing.assert_close(inner, network(inputs)[..., rows, rows], rtol=0, atol=1e-6)


def test_a_window_with_its_halo_agrees_with_the_whole() -> None:
    network = made()
    halo, top, left, side = network.receptive, 4, 3, 3
    inputs = inputs_of(GUIDED, side + 2 * halo + 6, side + 2 * halo + 5)
    part = cut(inputs, GUIDED, top, left, side + 2 * halo, side + 2 * halo)
    whole = network(inputs)
    y, x, n = (top + halo) * 3, (left + halo) * 3, side * 3
    expected = whole[..., y : y + n, x : x + n]
    torch.testing.assert_close(network.inner(part, halo), expected, rtol=0, atol=1e-5)


def test_the_measured_receptive_field_is_within_its_bound() -> None:
    network = made()
    assert 2 <= measured(network, GUIDED, size=16, samples=1) <= network.receptive


def test_every_parameter_learns() -> None:
    network = made()
    network(inputs_of(GUIDED, 6, 6, batch=2)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_mixed_precision_gives_single_precision() -> None:
    network, inputs = made(), inputs_of(GUIDED, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = network(inputs)
    assert mixed.dtype == torch.float32
    full = network(inputs)
    assert (mixed - full).abs().max() < 0.02 * float(full.detach().std()) + 1e-3


def test_a_guide_is_needed() -> None:
    with pytest.raises(ConfigError, match="jiif: no condition"):
        made(spec(3, guide=False))


@pytest.mark.parametrize("wrong", [{"chunk": 0}, {"blocks": 0}, {"hidden": (8, 0)}])
def test_impossible_sizes_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="jiif"):
        made(**wrong)
