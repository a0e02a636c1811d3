"""LIIF: published size and arrangement, any scale, chunks, borders and windows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from guided import count, cut, inputs_of, noise, scaled, silent, spec
from torch import Tensor, nn
from torch.nn import functional

from nunatak.errors import ConfigError
from nunatak.learn.models.edsr import Encoder, ResidualBlock
from nunatak.learn.models.implicit import centres, lattice_points, neighbours
from nunatak.learn.models.liif import Liif
from nunatak.learn.receptive import measured
from nunatak.learn.spec import Batch, ModelSpec

ALONE = spec(3, guide=False)


def made(given: ModelSpec = ALONE, **args: Any) -> Liif:
    torch.manual_seed(0)
    return scaled(Liif(given, **{"width": 4, "blocks": 1, "hidden": (16, 8), **args}))


def points_of(h: int, w: int, scale: int, batch: int = 1) -> Tensor:
    device = torch.device("cpu")
    down, right = centres(0, h, h * scale, device), centres(0, w, w * scale, device)
    return lattice_points(down, right).expand(batch, -1, -1)


def plainly(network: Liif, inputs: Batch) -> Tensor:
    """As published, point by point: unfold, concatenate, ask the four cells, weigh by area."""
    features = functional.unfold(network.encoder(inputs["coarse"]), 3, padding=1)
    h, w = inputs["coarse"].shape[-2:]
    features = features.view(1, -1, h, w)
    scale, out = network.spec.scale, []
    for y, x in points_of(h, w, scale)[0].tolist():
        top, left = int(y + 0.5) - 1, int(x + 0.5) - 1
        value = 0.0
        for row, opposite_row in ((top, top + 1), (top + 1, top)):
            for column, opposite_column in ((left, left + 1), (left + 1, left)):
                i, j = min(max(row, 0), h - 1), min(max(column, 0), w - 1)
                way = 2 * torch.tensor([y - i - 0.5, x - j - 0.5, 1 / scale, 1 / scale])
                given = torch.cat([features[0, :, i, j], way])
                area = abs(y - opposite_row - 0.5) * abs(x - opposite_column - 0.5)
                value = value + area * network.layers(given)
        out.append(0.5 + 0.3 * value)
    return torch.stack(out).view(1, 1, h * scale, w * scale)


def test_it_has_the_published_number_of_parameters() -> None:
    original = Liif(spec(27, guide=False))
    assert count(original) == 1_565_633
    assert count(original.encoder) == 640 + 33 * 36_928
    assert [m.in_features for m in original.layers if isinstance(m, nn.Linear)] == [580] + [256] * 4


def test_the_encoder_is_residual_blocks_between_convolutions_and_a_skip_over_them() -> None:
    torch.manual_seed(0)
    encoder, field = Encoder(2, 4, 3), noise(2, 2, 7, 8)

    def conv(layer: nn.Conv2d, given: Tensor) -> Tensor:
        return functional.conv2d(given, layer.weight, layer.bias, padding=1)

    first = middle = conv(encoder.first, field)
    for block in encoder.blocks:
        assert isinstance(block, ResidualBlock)
        middle = middle + conv(block.second, conv(block.first, middle).relu())
    torch.testing.assert_close(encoder(field), first + conv(encoder.last, middle))
    assert encoder.reach == 8


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_it_gives_what_the_plain_arrangement_gives(scale: int) -> None:
    network = made(spec(scale, guide=False))
    inputs = inputs_of(network.spec, 4, 5)
    with torch.no_grad():
        torch.testing.assert_close(network(inputs), plainly(network, inputs), rtol=0, atol=1e-5)


def test_weights_of_the_four_cells_add_up_to_1_and_favour_the_nearest() -> None:
    found = list(neighbours(points_of(5, 4, 7, batch=2), (5, 4)))
    weights = torch.stack([near.weight for near in found])
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(2 * 35 * 28))
    assert weights.min() >= 0
    inner = torch.stack([near.away.norm(dim=1) for near in found]).view(4, 2, 35, 28)
    nearest = inner.argmin(dim=0)[:, 4:-4, 4:-4]
    heaviest = weights.view(4, 2, 35, 28).argmax(dim=0)[:, 4:-4, 4:-4]
    # On the lines through centres two cells are equally near.
    ways = inner[:, :, 4:-4, 4:-4].sort(dim=0).values
    clear = ways[1] - ways[0] > 1e-4
    assert clear.float().mean() > 0.5
    assert torch.equal(nearest[clear], heaviest[clear])


def test_beyond_the_border_the_outermost_cells_stand_in() -> None:
    corner = torch.tensor([[[0.1, 0.2], [2.9, 3.8]]], dtype=torch.float64)
    for near in neighbours(corner, (3, 4)):
        assert near.index.tolist() == [0, 11]
        expected = torch.tensor([[-0.8, -0.6], [0.8, 0.6]])
        torch.testing.assert_close(near.away, expected)


def test_a_point_between_two_cells_falls_on_one_side_however_it_is_rounded() -> None:
    centre = torch.tensor([1.5 - 1e-12, 1.5, 1.5 + 1e-12], dtype=torch.float64)
    found = neighbours(torch.stack([centre, centre], dim=-1)[None], (4, 4))
    indices = [near.index.tolist() for near in found]
    assert indices == [[cell] * 3 for cell in (5, 6, 9, 10)]


def test_samples_do_not_mix() -> None:
    network, inputs = made(), inputs_of(ALONE, 5, 6, batch=3)
    alone = network({name: field[1:2] for name, field in inputs.items()})
    torch.testing.assert_close(network(inputs)[1:2], alone)


def test_chunks_change_nothing() -> None:
    inputs = inputs_of(ALONE, 5, 6, batch=2)
    whole = made(chunk=10**6)(inputs)
    for chunk in (1, 7, 64):
        torch.testing.assert_close(made(chunk=chunk)(inputs), whole, rtol=0, atol=1e-6)


def test_a_chunk_bounds_the_points_at_once() -> None:
    network, seen = made(chunk=64), []
    network.layers[-1].register_forward_hook(lambda m, given, out: seen.append(len(out)))
    network(inputs_of(ALONE, 5, 6, batch=2))
    assert max(seen) == 64
    assert sum(seen) == 4 * 2 * 15 * 18


def test_one_set_of_weights_serves_every_scale() -> None:
    three, seven = made(), made(spec(7, guide=False))
    seven.load_state_dict(three.state_dict())
    inputs = inputs_of(ALONE, 5, 6)
    assert three(inputs).shape == (1, 1, 15, 18)
    assert seven(inputs).shape == (1, 1, 35, 42)
    torch.testing.assert_close(three.at(inputs, (35, 42)), seven(inputs))
    assert three.at(inputs, (18, 21)).shape == (1, 1, 18, 21)


def test_a_grid_is_the_points_at_its_cells_centres() -> None:
    network, inputs = made(), inputs_of(ALONE, 4, 6, batch=2)
    field = network.at(inputs, (14, 21))
    points = torch.tensor([[(9 + 0.5) / 3.5, (4 + 0.5) / 3.5]], dtype=torch.float64)
    found = network.query(network.encode(inputs), points.expand(2, -1, -1), (1 / 3.5, 1 / 3.5))
    torch.testing.assert_close(found, field[:, 0, 9, 4:5])


def test_points_may_differ_from_sample_to_sample() -> None:
    network, inputs = made(), inputs_of(ALONE, 4, 6, batch=2)
    codes, cell = network.encode(inputs), (1 / 3, 1 / 3)
    all_of = points_of(4, 6, 3, batch=2)
    mixed = torch.stack([all_of[0, 10:20], all_of[1, 30:40]])
    whole, found = network.query(codes, all_of, cell), network.query(codes, mixed, cell)
    torch.testing.assert_close(found, torch.stack([whole[0, 10:20], whole[1, 30:40]]))


def test_the_size_of_the_wanted_cell_matters() -> None:
    network, inputs = made(), inputs_of(ALONE, 4, 6)
    codes, points = network.encode(inputs), points_of(4, 6, 1)
    fine, wide = (network.query(codes, points, (size, size)) for size in (0.1, 0.5))
    assert (fine - wide).abs().max() > 1e-3


def test_a_constant_answer_is_the_same_everywhere() -> None:
    network = made()
    silent(network.layers[-1], bias=1.5)
    found = network(inputs_of(ALONE, 5, 6))
    torch.testing.assert_close(found, torch.full((1, 1, 15, 18), 0.5 + 0.3 * 1.5))


def test_conditions_are_averaged_over_coarse_cells() -> None:
    network = made(spec(4))
    inputs = inputs_of(network.spec, 5, 5)
    inputs["sst"][..., 8:12, 8:12] = 1.0
    before = network(inputs)
    inputs["sst"][..., 8, 8] += 1
    inputs["sst"][..., 9, 10] -= 1
    torch.testing.assert_close(network(inputs), before)
    inputs["sst"][..., 9, 10] += 1
    assert (network(inputs) - before).abs().max() > 1e-4


def test_what_is_cut_off_is_what_would_have_been_there() -> None:
    network, inputs = made(), inputs_of(ALONE, 7, 8)
    expected = network(inputs)[..., 6:15, 6:18]
    torch.testing.assert_close(network.inner(inputs, 2), expected)
    torch.testing.assert_close(network.at(inputs, (9, 12), 2), expected)


def test_a_window_with_its_halo_agrees_with_the_whole() -> None:
    network = made()
    halo, top, left, side = network.receptive, 4, 3, 3
    inputs = inputs_of(ALONE, side + 2 * halo + 6, side + 2 * halo + 5)
    part = cut(inputs, ALONE, top, left, side + 2 * halo, side + 2 * halo)
    whole = network(inputs)
    y, x, n = (top + halo) * 3, (left + halo) * 3, side * 3
    expected = whole[..., y : y + n, x : x + n]
    torch.testing.assert_close(network.inner(part, halo), expected, rtol=0, atol=1e-5)


def test_the_measured_receptive_field_is_within_its_bound() -> None:
    network = made()
    assert 2 <= measured(network, ALONE, size=16, samples=1) <= network.receptive


def test_every_parameter_learns() -> None:
    network = made(spec(3))
    network(inputs_of(network.spec, 6, 6, batch=2)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_mixed_precision_gives_single_precision() -> None:
    network, inputs = made(), inputs_of(ALONE, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = network(inputs)
    assert mixed.dtype == torch.float32
    full = network(inputs)
    assert (mixed - full).abs().max() < 0.1 * float(full.detach().std()) + 1e-3


@pytest.mark.parametrize("wrong", [{"chunk": 0}, {"blocks": 0}, {"hidden": (8, 0)}])
def test_impossible_sizes_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="liif"):
        made(**wrong)
