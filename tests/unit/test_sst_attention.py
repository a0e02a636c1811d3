from __future__ import annotations

from typing import Any

import guided
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nunatak.errors import ConfigError
from nunatak.learn.models.interpolate import upsample
from nunatak.learn.models.sst_attention import Projection, SstAttention, TimeAttention
from nunatak.learn.predict import run
from nunatak.learn.spec import Batch, InputSpec, ModelSpec


def weeks(scale: int = 5, days: int = 7) -> ModelSpec:
    return ModelSpec(scale, {"coarse": InputSpec(1, 1), "week": InputSpec(days, 1)})


def built(spec: ModelSpec | None = None, seed: int = 0, **args: Any) -> SstAttention:
    torch.manual_seed(seed)
    return SstAttention(spec or weeks(), **{"history": "week", "width": 4, **args}).eval()


def given_inputs(spec: ModelSpec, h: int, w: int, batch: int = 1) -> Batch:
    return guided.inputs_of(spec, h, w, batch)


def test_the_published_number_of_parameters() -> None:
    assert guided.count(built(width=32)) == 2_545_577


@given(
    scale=st.integers(1, 7),
    days=st.sampled_from([1, 7, 8, 9]),
    h=st.integers(1, 17),
    w=st.integers(1, 17),
)
@settings(max_examples=12, deadline=None)
def test_windows_of_any_size_at_any_scale(scale: int, days: int, h: int, w: int) -> None:
    spec = weeks(scale, days)
    network = built(spec, width=2)
    with torch.no_grad():
        found = network(given_inputs(spec, h, w, batch=2))
    assert found.shape == (2, 2, h * scale, w * scale)
    assert network.product(found).shape == (2, 1, h * scale, w * scale)
    assert bool(found.isfinite().all())


def test_the_product_is_the_map_alone() -> None:
    network, inputs = built(), given_inputs(weeks(), 6, 8)
    with torch.no_grad():
        found = network(inputs)
    assert torch.equal(network.product(found), found[:, :1])
    assert not torch.equal(found[:, :1], found[:, 1:])


def test_the_field_at_stations_may_be_the_product() -> None:
    network, other = built(), built(published="stations")
    inputs = given_inputs(network.spec, 8, 8)
    with torch.no_grad():
        output = network(inputs)
        assert torch.equal(other(inputs), output)
    assert torch.equal(other.product(output), output[:, 1:])
    assert torch.equal(network.product(output), output[:, :1])
    assert other.product(output).shape == (1, 1, 40, 40)
    with pytest.raises(ConfigError, match="published 'both'"):
        built(published="both")


def test_inference_streams_the_map_alone() -> None:
    network, inputs = built(), given_inputs(weeks(), 7, 9)
    window = {name: field[0].numpy() for name, field in inputs.items()}
    (found,) = run(network, [window], 0, 5)
    assert found.shape == (1, 35, 45)
    with torch.no_grad():
        np.testing.assert_array_equal(found, network(inputs)[0, :1].numpy())


def test_a_new_residual_network_is_the_bicubic_interpolation() -> None:
    network, inputs = guided.scaled(built(residual=True)), given_inputs(weeks(), 5, 9)
    with torch.no_grad():
        found = network(inputs)
    expected = upsample(inputs["prior"], 5).float()
    assert torch.equal(found, torch.cat([expected, expected], dim=1))


def test_a_new_residual_network_has_no_bias_of_a_cell_where_there_are_normals() -> None:
    network, inputs = guided.scaled(built(residual=True)), given_inputs(weeks(), 5, 9)
    usual = torch.randn(1, 1, 5, 9)
    fine = torch.randn(1, 2, 25, 45)
    inputs |= {"prior_normal": usual, "normals": fine, "prior": usual + 2}
    with torch.no_grad():
        found = network(inputs)
    torch.testing.assert_close(found[:, :1], fine[:, :1] + 2, rtol=0, atol=1e-5)


def test_the_residual_is_in_deviations_of_the_detail() -> None:
    network, inputs = built(residual=True), given_inputs(weeks(), 5, 9)
    prior = upsample(inputs["prior"], 5).float()
    added = []
    for detail in (1.0, 3.0):
        guided.stirred(network).set_scale(0.5, 0.3, detail)
        with torch.no_grad():
            added.append(network(inputs) - prior)
    assert float(added[0].std()) > 0
    torch.testing.assert_close(added[1], 3 * added[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("day", range(7))
def test_every_day_is_seen_and_both_outputs_see_it(day: int) -> None:
    network, inputs = built(), given_inputs(weeks(), 8, 8)
    week = inputs["week"].requires_grad_()
    for layer in range(2):
        (found,) = torch.autograd.grad(network(inputs)[:, layer].square().sum(), week)
        assert bool((found[:, day] != 0).any())


def test_days_are_not_interchangeable() -> None:
    network, inputs = built(), given_inputs(weeks(), 8, 8)
    with torch.no_grad():
        plain = network(inputs)
        turned = network({**inputs, "week": inputs["week"].flip(1)})
    assert not torch.allclose(plain, turned, atol=1e-3)


def test_it_sees_its_window_as_a_whole() -> None:
    network, inputs = built(), given_inputs(weeks(), 40, 8)
    week = inputs["week"].requires_grad_()
    (found,) = torch.autograd.grad(network(inputs)[..., :5, :].square().sum(), week)
    assert network.whole
    assert bool((found[:, :, -1] != 0).any())


def test_samples_of_a_batch_do_not_see_each_other() -> None:
    network, inputs = built(), given_inputs(weeks(), 9, 7, batch=3)
    with torch.no_grad():
        found = network(inputs)
        alone = network({name: field[1:2] for name, field in inputs.items()})
    torch.testing.assert_close(found[1:2], alone, rtol=1e-4, atol=1e-5)


def test_weights_of_attention_are_of_times_and_of_the_pools() -> None:
    attention = TimeAttention(3, 2)
    field = guided.noise(1, 3, 2, 4, 5)
    with torch.no_grad():
        mean, most = field.mean((2, 3, 4)), field.amax((2, 3, 4))
        logits = (mean + most) @ attention.linear.weight.T + 2 * attention.linear.bias
        weights = 1 / (1 + (-logits[0]).exp())
        expected = weights[0] * field[:, :, 0] + weights[1] * field[:, :, 1]
        torch.testing.assert_close(attention(field), expected)


class TestUnits:
    def test_z_scores_become_physical_by_the_scalars(self) -> None:
        network, inputs = built(), given_inputs(weeks(), 8, 8)
        with torch.no_grad():
            plain = network(inputs)
            network.set_scale(288.0, 3.0, 1.0)
            torch.testing.assert_close(network(inputs), 288 + 3 * plain)

    def test_or_cell_by_cell(self) -> None:
        network, inputs = built(), given_inputs(weeks(), 8, 8)
        network.set_scale(288.0, 3.0, 1.0)
        mean, std = 280 + guided.noise(1, 1, 40, 40), 1 + guided.noise(1, 1, 40, 40, seed=1).abs()
        with torch.no_grad():
            plain = network.normal(network(inputs))
            found = network({**inputs, "normals": torch.cat([mean, std], dim=1)})
        torch.testing.assert_close(found, mean + std * plain, rtol=1e-4, atol=1e-3)

    @pytest.mark.parametrize("cells", [True, False])
    def test_normal_undoes_physical(self, cells: bool) -> None:
        network = guided.scaled(built())
        field = guided.noise(2, 1, 5, 5)
        normals = torch.cat([guided.noise(2, 1, 5, 5), torch.full((2, 1, 5, 5), 2.0)], dim=1)
        inputs = {"normals": normals} if cells else {}
        back = network.normal(network.physical(field, inputs), inputs)
        torch.testing.assert_close(back, field)
        assert back.dtype == torch.float32


@pytest.mark.parametrize(
    ("args", "spec"),
    [
        ({"history": "month"}, weeks()),
        ({"width": 3}, weeks()),
        ({}, ModelSpec(5, {"coarse": InputSpec(1, 1), "week": InputSpec(7, 5)})),
    ],
)
def test_what_it_cannot_see_is_refused(args: dict[str, Any], spec: ModelSpec) -> None:
    with pytest.raises(ConfigError, match="sst_attention"):
        built(spec, **args)


def critic(width: int = 4) -> Projection:
    torch.manual_seed(0)
    return Projection(width=width)


@pytest.mark.parametrize(("h", "w", "rows", "cols"), [(1, 1, 1, 1), (5, 15, 1, 3), (33, 20, 7, 4)])
def test_the_critic_takes_tiles_of_any_size(h: int, w: int, rows: int, cols: int) -> None:
    scores = critic()(guided.noise(2, 1, h, w), guided.noise(2, 7, rows, cols))
    assert scores.shape == (2, 1)
    assert bool(scores.isfinite().all())


def test_the_critic_judges_every_sample_by_itself() -> None:
    judge, field, days = critic(), guided.noise(3, 1, 20, 20), guided.noise(3, 7, 4, 4, seed=1)
    alone = torch.cat([judge(field[i : i + 1], days[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(judge(field, days), alone, rtol=1e-4, atol=1e-5)


def test_the_score_is_a_linear_part_and_a_projection_on_the_condition() -> None:
    judge, field, days = critic(), guided.noise(1, 1, 20, 20), guided.noise(1, 7, 4, 4, seed=1)

    def score() -> Tensor:
        with torch.no_grad():
            return judge(field, days)

    both = score()
    kept = judge.project.weight.detach().clone()
    judge.project.weight.data.zero_()
    alone = score()
    assert torch.equal(alone, judge(field, guided.noise(1, 7, 4, 4, seed=2)).detach())
    judge.project.weight.data.copy_(2 * kept)
    torch.testing.assert_close(score() - alone, 2 * (both - alone), rtol=1e-4, atol=1e-5)
    assert float((both - alone).abs()) > 1e-4


def test_a_critic_without_channels_is_refused() -> None:
    with pytest.raises(ConfigError, match="width 0"):
        critic(0)
