"""The Fourier neural operator: published size, wave numbers, and one answer at any resolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from guided import count, inputs_of, noise, scaled, silent, spec
from torch import Tensor
from torch.nn import functional

from nunatak.errors import ConfigError
from nunatak.learn.models.fno import Fno, SpectralConv
from nunatak.learn.models.implicit import centres
from nunatak.learn.models.interpolate import upsample
from nunatak.learn.spec import ModelSpec, area_mean, area_resample

GUIDED = spec(4)


def made(given: ModelSpec = GUIDED, **args: Any) -> Fno:
    torch.manual_seed(0)
    return scaled(Fno(given, **{"width": 4, "modes": 3, "layers": 2, **args}))


def band_limited(n: int, most: int = 2, channels: int = 1) -> Tensor:
    """A periodic field of wave numbers up to ``most``, seen at the centres of n x n cells."""
    place = 2 * torch.pi * centres(0, 1, n, torch.device("cpu"))
    total = torch.zeros(channels, n, n, dtype=torch.float64)
    amplitude = noise(channels, 2 * most + 1, most + 1, 2, seed=7).double()
    for k in range(-most, most + 1):
        for m in range(most + 1):
            phase = k * place[:, None] + m * place[None, :]
            a, b = amplitude[:, k + most, m, :, None, None].unbind(1)
            total += a * phase.cos() + b * phase.sin()
    return total[None].float()


def test_it_has_the_published_number_of_parameters() -> None:
    assert count(Fno(spec(27))) == 2_368_001
    assert count(Fno(spec(27, guide=False), coarse=True)) == 2_368_001
    assert count(Fno(spec(27), coarse=True)) == 2_368_001 + 32


def test_it_gives_what_the_plain_arrangement_gives() -> None:
    network, inputs = made(layers=3, padding=0.25), inputs_of(GUIDED, 4, 8)
    down, right = ((torch.arange(n) + 0.5) / n for n in (16, 32))
    places = [down[:, None].expand(16, 32), right.expand(16, 32)]
    seen = torch.stack([inputs["sst"][0, 0], *places])
    field = torch.zeros(1, 4, 20, 40)
    lifted = torch.einsum("oc,chw->ohw", network.lift.weight, seen)
    field[..., :16, :32] = lifted + network.lift.bias[:, None, None]
    for n in range(3):
        field = network.spectral[n](field) + network.pointwise[n](field)
        field = field if n == 2 else functional.gelu(field)
    first, _, last = network.project
    hidden = functional.gelu(first(field[0, :, :16, :32].movedim(0, -1)))
    torch.testing.assert_close(network(inputs)[0, 0], 0.5 + 0.3 * last(hidden)[..., 0])


@pytest.mark.parametrize(("n", "m"), [(2, 1), (-3, 2), (0, 0), (-1, 0), (1, 0)])
def test_a_wave_number_is_multiplied_by_its_own_weight(n: int, m: int) -> None:
    """Also that of down -n in the second half of the weights, counted from the end."""
    torch.manual_seed(0)
    layer = SpectralConv(1, 4)
    y, x = torch.meshgrid(torch.arange(16) / 16, torch.arange(20) / 20, indexing="ij")
    wave = torch.exp(2j * torch.pi * (n * y + m * x))
    found = layer(wave.real[None, None])[0, 0]
    parts = layer.weight[0 if n >= 0 else 1, 0, 0]
    weight = torch.view_as_complex(parts)[n, m]
    expected = (weight * wave).real
    if m == 0 and n:
        # Both signs of it are kept, each with a weight of its own.
        other = torch.view_as_complex(layer.weight[1 if n > 0 else 0, 0, 0])[-n, 0]
        expected = ((weight * wave).real + (other * wave.conj()).real) / 2
    elif m == 0:
        expected = weight.real * wave.real
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("n", "m"), [(4, 0), (0, 4), (-5, 1), (7, 6)])
def test_higher_wave_numbers_are_dropped(n: int, m: int) -> None:
    layer = SpectralConv(1, 4)
    y, x = torch.meshgrid(torch.arange(16) / 16, torch.arange(20) / 20, indexing="ij")
    wave = torch.cos(2 * torch.pi * (n * y + m * x))
    found = layer(wave[None, None])
    if (n, m) == (4, 0):
        # Down, one more is kept below 0 than above.
        assert found.abs().max() > 1e-3
    else:
        assert found.abs().max() < 1e-5


@pytest.mark.parametrize("ratio", [3, 9])
def test_a_spectral_layer_gives_the_same_at_every_resolution(ratio: int) -> None:
    torch.manual_seed(0)
    layer = SpectralConv(2, 4)
    coarse, fine = (layer(band_limited(n, 3, 2)) for n in (16, 16 * ratio))
    first = ratio // 2
    torch.testing.assert_close(fine[..., first::ratio, first::ratio], coarse, rtol=0, atol=1e-4)
    assert coarse.std() > 0.1


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 8])
def test_small_fields_keep_what_they_resolve(n: int) -> None:
    """The weights of a wave number are those that it has in a larger field."""
    torch.manual_seed(0)
    layer, most = SpectralConv(1, 4), max(0, min(3, (n - 1) // 2))
    small, large = layer(band_limited(n, most)), layer(band_limited(3 * n, most))
    torch.testing.assert_close(large[..., 1::3, 1::3], small, rtol=0, atol=1e-4)


def disagreement(window: int, padded: int | None = None) -> float:
    """Of answers from 3 and 9 cells a coarse cell, relative to the answer's deviation.

    Padded by a share of the window, or by a number of cells.
    """
    answers = []
    for scale in (3, 9):
        network = made(spec(scale), modes=6, layers=4)
        if padded:
            network._extended = lambda window, cells: padded  # type: ignore[method-assign]
        # A field that the guide's grid resolves well.
        inputs = inputs_of(network.spec, window, window)
        inputs["sst"] = band_limited(window * scale)
        with torch.no_grad():
            answers.append(network(inputs))
    coarse, fine = answers[0], answers[1][..., 1::3, 1::3]
    return float((coarse - fine).std() / coarse.std())


def test_it_agrees_with_itself_across_resolutions_on_a_band_limited_field() -> None:
    share = disagreement(8)
    assert share < 0.005
    # As many cells at both resolutions is what the original does.
    assert disagreement(8, padded=3) > 10 * share


@pytest.mark.parametrize("window", [7, 9, 10, 12, 13])
def test_it_agrees_with_itself_in_windows_that_padding_does_not_divide(window: int) -> None:
    assert disagreement(window) < 0.005


@pytest.mark.parametrize(("window", "cells"), [(5, 2), (8, 2), (10, 3), (12, 3), (13, 4)])
def test_padding_is_of_whole_coarse_cells_rounded_up(window: int, cells: int) -> None:
    for scale in (1, 3, 9):
        network, seen = made(spec(scale), padding=0.25), []
        network.pointwise[0].register_forward_hook(
            lambda m, given, out, seen=seen: seen.append(tuple(out.shape[-2:]))
        )
        network(inputs_of(network.spec, window, 8))
        assert seen == [((window + cells) * scale, 10 * scale)]


def test_padding_is_a_share_of_the_window() -> None:
    for scale in (1, 4):
        network, seen = made(spec(scale), padding=0.25), []
        network.pointwise[0].register_forward_hook(
            lambda m, given, out, seen=seen: seen.append(tuple(out.shape[-2:]))
        )
        network(inputs_of(network.spec, 8, 12))
        assert seen == [(10 * scale, 15 * scale)]


def test_one_set_of_weights_serves_every_scale_and_grid() -> None:
    four, two = made(), made(spec(2))
    two.load_state_dict(four.state_dict())
    assert two(inputs_of(two.spec, 6, 7)).shape == (1, 1, 12, 14)
    inputs = inputs_of(GUIDED, 6, 8)
    assert torch.equal(four.at(inputs, (24, 32)), four(inputs))
    halved = {**inputs, "sst": area_mean(inputs["sst"], 4, 2)}
    torch.testing.assert_close(four.at(inputs, (12, 16)), two(halved))
    assert four.at(inputs, (15, 20)).shape == (1, 1, 15, 20)


def test_it_sees_its_window_as_a_whole() -> None:
    network, inputs = made(), inputs_of(GUIDED, 6, 6)
    assert network.whole
    inputs["sst"].requires_grad_()
    network(inputs)[..., 0, 0].sum().backward()
    assert inputs["sst"].grad is not None
    assert inputs["sst"].grad[..., -1, -1].abs() > 0


def test_the_coarse_field_is_seen_where_it_is_asked_for() -> None:
    inputs = inputs_of(GUIDED, 6, 6)
    changed = {**inputs, "coarse": -inputs["coarse"]}
    assert torch.equal(made()(inputs), made()(changed))
    seeing = made(coarse=True)
    assert (seeing(inputs) - seeing(changed)).abs().max() > 1e-3


def test_a_constant_answer_is_the_same_everywhere() -> None:
    network = made()
    silent(network.project[-1], bias=1.5)
    found = network(inputs_of(GUIDED, 6, 6))
    torch.testing.assert_close(found, torch.full((1, 1, 24, 24), 0.5 + 0.3 * 1.5))


def test_a_residual_operator_adds_to_the_bicubic_interpolation() -> None:
    network, inputs = made(residual=True), inputs_of(GUIDED, 6, 6)
    bicubic = upsample(inputs["prior"], 4).float()
    added = network(inputs) - bicubic
    assert added.abs().max() > 1e-3
    plain = (made()(inputs) - 0.5) / 0.3
    torch.testing.assert_close(added, 0.1 * plain, rtol=0, atol=1e-5)
    silent(network.project[-1])
    torch.testing.assert_close(network(inputs), bicubic)


def test_every_parameter_learns() -> None:
    network = made(coarse=True)
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
    assert (mixed - full).abs().max() < 0.1 * float(full.detach().std()) + 1e-3


@pytest.mark.parametrize("shape", [(6, 9), (4, 15), (12, 5), (8, 10)])
def test_area_means_on_any_grid_keep_the_mean(shape: tuple[int, int]) -> None:
    field = noise(2, 1, 8, 10).double()
    found = area_resample(field, shape)
    assert found.shape == (2, 1, *shape)
    torch.testing.assert_close(found.mean(dim=(-2, -1)), field.mean(dim=(-2, -1)))


def test_area_means_on_any_grid_are_those_along_coarse_cells() -> None:
    field = noise(1, 2, 12, 18)
    torch.testing.assert_close(area_resample(field, (8, 12)), area_mean(field, 6, 4))


@pytest.mark.parametrize(
    "wrong", [{"modes": 0}, {"layers": 0}, {"padding": -0.1}, {"given": spec(4, guide=False)}]
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="fno"):
        made(**wrong)
