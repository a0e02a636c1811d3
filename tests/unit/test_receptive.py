"""The measured receptive field, against impulses and NaN that spread through small networks."""

from __future__ import annotations

from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from nunatak.errors import ConfigError
from nunatak.learn.models.deepbedmap import Generator
from nunatak.learn.models.interpolate import Interpolate
from nunatak.learn.models.residual import Residual
from nunatak.learn.receptive import measured
from nunatak.learn.spec import Batch, InputSpec, ModelSpec, Network, repeat

ALONE = ModelSpec(2, {"coarse": InputSpec(1, 1)})
WITH = ModelSpec(4, {"coarse": InputSpec(1, 1), "surface": InputSpec(1, 4)})


class Shifted(Network):
    """Mixes each coarse cell with one that lies a given distance away."""

    def __init__(self, spec: ModelSpec, distance: int, share: float = 1.0, margin: int = 0) -> None:
        super().__init__(spec)
        self.distance, self.share, self.margin = distance, share, margin

    def forward(self, inputs: Batch) -> Tensor:
        field, m = inputs["coarse"], self.margin
        far = nn.functional.pad(field, (self.distance, 0))[..., : field.shape[-1]]
        mixed = (1 - self.share) * field + self.share * far
        return repeat(mixed[..., m : field.shape[-2] - m, m : field.shape[-1] - m], self.spec.scale)


class Global(Network):
    """Subtracts the mean of the whole window from half of its field."""

    def forward(self, inputs: Batch) -> Tensor:
        field = inputs["coarse"]
        return repeat(field - 50 * field.mean(), self.spec.scale)


def spread(network: Network, spec: ModelSpec, size: int) -> int:
    """Furthest coarse cell of any input that reaches the centre: by putting NaN in it."""
    half, reach = size // 2, 0
    for name in (*spec.inputs, "prior"):
        given = spec.inputs.get(name, InputSpec(1, 1))
        for distance in range(half + 1):
            inputs: Batch = {
                n: torch.randn(1, g.channels, size * g.ratio, size * g.ratio)
                for n, g in {**spec.inputs, "prior": InputSpec(1, 1)}.items()
            }
            column = (half + distance) * given.ratio
            inputs[name][..., column : column + given.ratio] = torch.nan
            first = (half - network.margin) * spec.scale
            centre = slice(first, first + spec.scale)
            if network(inputs)[..., centre, centre].isnan().any():
                reach = max(reach, distance)
    return reach


AnyNetwork = TypeVar("AnyNetwork", bound=Network)


def stirred(network: AnyNetwork) -> AnyNetwork:
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network


@pytest.mark.parametrize(("distance", "margin"), [(0, 0), (1, 0), (7, 3), (23, 0), (24, 1)])
def test_the_radius_is_the_distance_that_is_read(distance: int, margin: int) -> None:
    assert measured(Shifted(ALONE, distance, margin=margin), ALONE, size=48) == distance


@pytest.mark.parametrize(("energy", "radius"), [(0.90, 0), (0.96, 9), (1.0, 9)])
def test_what_matters_less_than_the_energy_left_out_is_ignored(energy: float, radius: int) -> None:
    assert measured(Shifted(ALONE, 9, share=0.05), ALONE, energy=energy) == radius


@pytest.mark.parametrize(("mode", "radius"), [("nearest", 0), ("bilinear", 1), ("bicubic", 2)])
def test_interpolation_reaches_as_far_as_its_kernel(mode: str, radius: int) -> None:
    assert measured(Interpolate(WITH, mode=mode), WITH) == radius


def test_the_bound_of_the_residual_network_holds_and_the_measure_is_within() -> None:
    torch.manual_seed(0)
    network = stirred(Residual(WITH, width=6, depth=2, head=4))
    exact = spread(network, WITH, 41)
    assert network.receptive - 2 <= exact <= network.receptive
    found = measured(network, WITH)
    assert 2 <= found <= exact
    assert measured(network, WITH, energy=0.9) < found


def test_the_hard_constraint_does_not_hide_the_conditions() -> None:
    torch.manual_seed(0)
    network = stirred(Residual(WITH, width=6, depth=4, head=4))
    free = stirred(Residual(WITH, width=6, depth=4, head=4, constrain=False))
    free.load_state_dict(network.state_dict(), strict=False)
    assert abs(measured(network, WITH) - measured(free, WITH)) <= 2


def test_the_generator_is_measured_from_the_centre_of_its_output() -> None:
    torch.manual_seed(0)
    network = Generator(WITH, blocks=1, growth=4, width=8)
    convolutions = 1 + 1 + 15 + 1 + 1 + 2
    assert 1 <= measured(network, WITH, size=24) <= convolutions


def test_a_small_window_is_doubled_until_it_holds_the_radius() -> None:
    torch.manual_seed(0)
    network = stirred(Residual(WITH, width=6, depth=3))
    assert measured(network, WITH, size=4) == pytest.approx(measured(network, WITH), abs=1)


def test_a_field_without_bound_is_an_error() -> None:
    with pytest.raises(ConfigError, match="still grows"):
        measured(Global(ALONE), ALONE, size=4)


def test_the_network_is_left_as_it_was_and_the_measure_repeats() -> None:
    network = Residual(WITH, width=6, depth=1, dropout=0.5).train()
    with torch.no_grad():
        assert measured(network, WITH, seed=3) == measured(network, WITH, seed=3)
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
