"""The models: shapes, invariance, constraints, and the published parameter counts."""

from __future__ import annotations

from math import floor
from typing import TypeVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nunatak.errors import ConfigError, DataError
from nunatak.learn.models.deepbedmap import Discriminator, Generator
from nunatak.learn.models.deform import DeformConv2d, deform_conv2d
from nunatak.learn.models.implicit import lattice_points
from nunatak.learn.models.interpolate import Interpolate, sample, upsample
from nunatak.learn.models.residual import Residual, contrast
from nunatak.learn.spec import Batch, InputSpec, ModelSpec, Network, block_mean, he_normal, repeat

ORIGINAL = ModelSpec(
    4,
    {
        "coarse": InputSpec(1, 1),
        "surface": InputSpec(1, 10),
        "velocity": InputSpec(2, 2),
        "accumulation": InputSpec(1, 1),
    },
)
ALONE = ModelSpec(4, {"coarse": InputSpec(1, 1)})


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs_of(spec: ModelSpec, h: int, w: int, batch: int = 1, height: float = 1000.0) -> Batch:
    inputs = {
        name: noise(batch, g.channels, h * g.ratio, w * g.ratio, seed=i)
        for i, (name, g) in enumerate(spec.inputs.items())
    }
    return {**inputs, "prior": height * (2 + noise(batch, 1, h, w, seed=99))}


def cut(inputs: Batch, spec: ModelSpec, top: int, left: int, h: int, w: int) -> Batch:
    ratios = {**{name: given.ratio for name, given in spec.inputs.items()}, "prior": 1}
    return {
        name: field[..., top * r : (top + h) * r, left * r : (left + w) * r]
        for name, field in inputs.items()
        for r in (ratios[name],)
    }


AnyNetwork = TypeVar("AnyNetwork", bound=Network)


def stirred(network: AnyNetwork, seed: int = 1) -> AnyNetwork:
    """The network with its zero-initialised layers drawn at random, as if trained."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1, generator=generator)
    return network.eval()


class TestSpec:
    def test_the_coarse_field_comes_first(self) -> None:
        with pytest.raises(ConfigError, match="first 'coarse'"):
            ModelSpec(4, {"surface": InputSpec(1, 4), "coarse": InputSpec(1, 1)})

    @pytest.mark.parametrize(("scale", "ratio"), [(0, 1), (4, 0)])
    def test_scale_and_ratios_are_positive(self, scale: int, ratio: int) -> None:
        with pytest.raises(ConfigError):
            ModelSpec(scale, {"coarse": InputSpec(1, 1), "surface": InputSpec(1, ratio)})

    @pytest.mark.parametrize("name", ["prior", "velocity"])
    def test_an_input_that_is_missing_is_named(self, name: str) -> None:
        inputs = inputs_of(ORIGINAL, 5, 6)
        assert ORIGINAL.window(inputs) == (5, 6)
        del inputs[name]
        with pytest.raises(DataError, match=name):
            ORIGINAL.window(inputs)

    def test_an_input_of_another_window_is_named(self) -> None:
        inputs = inputs_of(ORIGINAL, 5, 6)
        inputs["surface"] = inputs["surface"][..., 1:]
        with pytest.raises(DataError, match="surface"):
            ORIGINAL.window(inputs)

    @pytest.mark.parametrize(("std", "detail"), [(0.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)])
    def test_a_scale_that_is_not_positive_is_refused(self, std: float, detail: float) -> None:
        with pytest.raises(DataError, match="standard deviation"):
            Network(ALONE).set_scale(0.0, std, detail)

    def test_the_scale_travels_with_the_weights(self) -> None:
        trained, fresh = Interpolate(ALONE), Interpolate(ALONE)
        trained.set_scale(-500.0, 700.0, 50.0)
        fresh.load_state_dict(trained.state_dict())
        assert [float(b) for b in (fresh.mean, fresh.std, fresh.detail)] == [-500.0, 700.0, 50.0]

    @given(scale=st.integers(1, 11), h=st.integers(1, 7), w=st.integers(1, 7))
    @settings(max_examples=15, deadline=None)
    def test_block_mean_undoes_repeat(self, scale: int, h: int, w: int) -> None:
        field = noise(2, 3, h, w).double()
        torch.testing.assert_close(block_mean(repeat(field, scale), scale), field)


class TestInterpolate:
    @given(
        scale=st.sampled_from([2, 3, 4, 5, 7, 8]),
        mode=st.sampled_from(["nearest", "bilinear", "bicubic"]),
        top=st.integers(0, 150),
        left=st.integers(0, 30),
    )
    @settings(max_examples=60, deadline=None)
    def test_a_window_with_halo_agrees_with_the_whole(
        self, scale: int, mode: str, top: int, left: int
    ) -> None:
        field = (noise(1, 1, 170, 45) * 1000).clamp(-4000, 4000)
        whole = upsample(field, scale, mode).float()
        part = upsample(field[..., top : top + 12, left : left + 12], scale, mode).float()
        inner = slice(2 * scale, 10 * scale)
        expected = whole[
            ..., (top + 2) * scale : (top + 10) * scale, (left + 2) * scale : (left + 10) * scale
        ]
        torch.testing.assert_close(part[..., inner, inner], expected, rtol=0, atol=2.5e-4)

    @pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
    def test_a_constant_stays_to_the_border(self, mode: str) -> None:
        inputs = {"coarse": torch.zeros(1, 1, 4, 5), "prior": torch.full((1, 1, 4, 5), -3210.5)}
        out = Interpolate(ALONE, mode=mode)(inputs)
        assert out.shape == (1, 1, 16, 20)
        assert out.dtype == torch.float32
        torch.testing.assert_close(out, torch.full_like(out, -3210.5))

    def test_bilinear_is_exact_on_a_plane_seen_at_cell_centres(self) -> None:
        rows, cols = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
        fine = upsample((3 * rows - 2 * cols)[None, None], 4, "bilinear")[0, 0]
        y, x = ((torch.arange(n * 4) + 0.5) / 4 - 0.5 for n in (8, 9))
        expected = (3 * y[:, None] - 2 * x[None, :]).double()
        torch.testing.assert_close(fine[4:-4, 4:-4], expected[4:-4, 4:-4])

    def test_bicubic_has_keys_weights(self) -> None:
        impulse = torch.zeros(1, 1, 9, 9)
        impulse[..., 4, 4] = 1
        a, line = -0.75, upsample(impulse, 3)[0, 0, 13]

        def keys(x: float) -> float:
            x = abs(x)
            if x <= 1:
                return (a + 2) * x**3 - (a + 3) * x**2 + 1
            return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

        expected = torch.tensor([keys((i + 0.5) / 3 - 4.5) for i in range(27)]).double()
        torch.testing.assert_close(line, expected, rtol=0, atol=1e-6)

    def test_an_unknown_mode_lists_the_modes(self) -> None:
        with pytest.raises(ConfigError, match="bicubic"):
            Interpolate(ALONE, mode="cubic")


class TestResidual:
    def test_it_starts_as_the_bicubic_with_the_priors_block_means(self) -> None:
        inputs = inputs_of(ORIGINAL, 12, 14, batch=2)
        bicubic = upsample(inputs["prior"], 4)
        excess = block_mean(bicubic, 4) - inputs["prior"]
        out = Residual(ORIGINAL, width=8, depth=1)(inputs)
        torch.testing.assert_close(out.double(), bicubic - repeat(excess, 4), rtol=0, atol=2e-3)

    @pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
    def test_block_means_are_those_of_the_prior_whatever_the_weights(self, scale: int) -> None:
        spec = ModelSpec(scale, ORIGINAL.inputs)
        network = stirred(Residual(spec, width=8, depth=1))
        network.set_scale(0.0, 1000.0, 100.0)
        inputs = inputs_of(spec, 9, 11)
        out = network(inputs)
        assert out.shape == (1, 1, 9 * scale, 11 * scale)
        mean = block_mean(out.double(), scale)
        torch.testing.assert_close(mean, inputs["prior"].double(), rtol=0, atol=1e-3)

    def test_without_the_constraint_block_means_are_free(self) -> None:
        network = stirred(Residual(ORIGINAL, width=8, depth=1, constrain=False))
        inputs = inputs_of(ORIGINAL, 9, 11)
        assert (block_mean(network(inputs), 4) - inputs["prior"]).abs().max() > 1

    def test_samples_do_not_mix(self) -> None:
        network = stirred(Residual(ORIGINAL, width=8, depth=2)).train()
        inputs = inputs_of(ORIGINAL, 10, 10, batch=3, height=1.0)
        together = network(inputs)
        alone = network({name: field[1:2] for name, field in inputs.items()})
        torch.testing.assert_close(together[1:2], alone)

    @pytest.mark.parametrize("scale", [3, 4])
    def test_a_window_with_its_halo_agrees_with_the_whole(self, scale: int) -> None:
        spec = ModelSpec(scale, ORIGINAL.inputs)
        network = stirred(Residual(spec, width=8, depth=1))
        network.set_scale(0.0, 1000.0, 100.0)
        inputs, halo, top, left, side = inputs_of(spec, 40, 37), network.receptive, 11, 9, 6
        window = cut(inputs, spec, top, left, side + 2 * halo, side + 2 * halo)
        part = network(window)[
            ..., halo * scale : (halo + side) * scale, halo * scale : (halo + side) * scale
        ]
        y, x, n = (top + halo) * scale, (left + halo) * scale, side * scale
        whole = network(inputs)[..., y : y + n, x : x + n]
        torch.testing.assert_close(part, whole, rtol=0, atol=2e-2)
        assert (whole - upsample(inputs["prior"], scale)[..., y : y + n, x : x + n]).std() > 10

    @pytest.mark.parametrize("constrain", [True, False])
    def test_every_parameter_learns(self, constrain: bool) -> None:
        network = stirred(Residual(ORIGINAL, width=8, depth=2, constrain=constrain)).train()
        network(inputs_of(ORIGINAL, 8, 8, batch=2, height=1.0)).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 1e-2 for p in network.parameters())

    def test_a_condition_that_shows_the_detail_is_learnt(self) -> None:
        spec = ModelSpec(4, {"coarse": InputSpec(1, 1), "surface": InputSpec(1, 4)})
        torch.manual_seed(0)
        network = Residual(spec, width=8, depth=1, head=8)
        truth = noise(8, 1, 48, 48)
        prior = block_mean(truth, 4)
        inputs = {"coarse": prior, "prior": prior, "surface": truth}
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
        losses = []
        for _ in range(60):
            loss = (network(inputs) - truth).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.1 * losses[0]

    @given(offset=st.floats(-5, 5), gain=st.floats(0.1, 10))
    @settings(max_examples=20, deadline=None)
    def test_contrast_does_not_see_level_or_amplitude(self, offset: float, gain: float) -> None:
        field = noise(1, 2, 40, 48)
        shape, strength = contrast(field, 4)
        moved, louder = contrast(offset + gain * field, 4)
        torch.testing.assert_close(moved, shape, rtol=0, atol=2e-3)
        expected = strength + torch.tensor(gain).log()
        torch.testing.assert_close(louder, expected, rtol=0, atol=2e-3)

    def test_dropout_acts_in_training_only(self) -> None:
        network = stirred(Residual(ALONE, width=8, depth=1, dropout=0.5))
        inputs = inputs_of(ALONE, 8, 8, height=1.0)
        assert torch.equal(network(inputs), network(inputs))
        network.train()
        assert not torch.equal(network(inputs), network(inputs))

    @pytest.mark.parametrize("wrong", [{"width": 0}, {"dropout": 1.0}, {"depth": 0}])
    def test_impossible_sizes_are_refused(self, wrong: dict[str, int]) -> None:
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Residual(ALONE, **wrong)  # type: ignore[arg-type]


class TestDeepBedMap:
    def test_the_generator_has_the_published_number_of_parameters(self) -> None:
        assert sum(p.numel() for p in Generator(ORIGINAL).parameters()) == 8_907_749

    def test_the_discriminator_has_the_published_number_of_parameters(self) -> None:
        assert sum(p.numel() for p in Discriminator(36).parameters()) == 10_370_761

    @pytest.mark.parametrize("scale", [1, 2, 4, 8])
    def test_the_generator_eats_one_coarse_cell_a_side(self, scale: int) -> None:
        spec = ModelSpec(scale, ORIGINAL.inputs)
        network = Generator(spec, blocks=1, growth=4, width=8)
        out = network(inputs_of(spec, 11, 12, batch=2))
        assert network.margin == 1
        assert out.shape == (2, 1, 9 * scale, 10 * scale)

    def test_a_scale_that_is_no_power_of_two_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="power of two"):
            Generator(ModelSpec(3, ALONE.inputs))

    def test_the_output_is_in_the_targets_units(self) -> None:
        network = stirred(Generator(ALONE, blocks=1, growth=4, width=8))
        inputs = inputs_of(ALONE, 8, 8)
        raw = network(inputs)
        network.set_scale(-500.0, 700.0, 30.0)
        torch.testing.assert_close(network(inputs), -500 + 700 * raw)

    def test_every_parameter_of_the_generator_learns(self) -> None:
        network = stirred(Generator(ORIGINAL, blocks=1, growth=4, width=8))
        network(inputs_of(ORIGINAL, 8, 8)).square().sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in network.parameters())

    def test_weights_are_a_tenth_of_he_and_biases_zero(self) -> None:
        layer = Generator(ORIGINAL, blocks=1).first
        assert float(layer.weight.detach().std()) == pytest.approx(
            0.1 * (2 / (128 * 9)) ** 0.5, rel=0.02
        )
        assert layer.bias is not None
        assert not layer.bias.any()

    def test_he_normal_leaves_other_layers_alone(self) -> None:
        norm = nn.BatchNorm2d(4)
        he_normal(norm)
        assert torch.equal(norm.weight, torch.ones(4))

    @pytest.mark.parametrize("size", [32, 36, 64])
    def test_the_critic_gives_one_logit_a_tile(self, size: int) -> None:
        assert Discriminator(size)(noise(2, 1, size, size)).shape == (2, 1)

    def test_the_critic_refuses_tiles_that_its_strides_use_up(self) -> None:
        with pytest.raises(ConfigError, match=r"tiles\.size"):
            Discriminator(28)

    def test_the_critic_refuses_a_tile_of_another_size(self) -> None:
        with pytest.raises(ValueError, match="expected"):
            Discriminator(36)(noise(2, 1, 40, 40))


def reference(field: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """Deformable convolution by loops over every cell, tap and corner."""
    (batch, _, h, w), (out, _, k, _) = field.shape, weight.shape
    result = field.new_zeros(batch, out, h, w)
    for b in range(batch):
        for i in range(h):
            for j in range(w):
                for tap in range(k * k):
                    u, v = divmod(tap, k)
                    y = i + u - k // 2 + float(offset[b, 2 * tap, i, j])
                    x = j + v - k // 2 + float(offset[b, 2 * tap + 1, i, j])
                    for row in (floor(y), floor(y) + 1):
                        for col in (floor(x), floor(x) + 1):
                            if 0 <= row < h and 0 <= col < w:
                                share = (1 - abs(y - row)) * (1 - abs(x - col))
                                result[b, :, i, j] += (
                                    share * weight[:, :, u, v] @ field[b, :, row, col]
                                )
    return result


@pytest.mark.parametrize(
    "network",
    [
        stirred(Residual(ORIGINAL, width=8, depth=1)),
        stirred(Generator(ORIGINAL, blocks=1, growth=4, width=8)),
    ],
    ids=["residual", "deepbedmap"],
)
def test_mixed_precision_rounds_the_detail_and_not_the_field(network: Network) -> None:
    network.set_scale(1000.0, 1.0, 1.0)
    inputs = inputs_of(ORIGINAL, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = network(inputs)
    assert mixed.dtype == torch.float32
    full = network(inputs)
    inner = slice(16, 20)
    spread = full[..., inner, inner].std()
    assert (mixed - full)[..., inner, inner].abs().max() < max(0.1, 0.1 * float(spread.detach()))


class TestDeform:
    @pytest.mark.parametrize("spread", [0.3, 4.0])
    def test_it_agrees_with_loops_inside_and_outside_of_the_field(self, spread: float) -> None:
        field, weight = noise(2, 3, 5, 6).double(), noise(4, 3, 3, 3, seed=1).double()
        offset = spread * noise(2, 18, 5, 6, seed=2).double()
        found = deform_conv2d(field, offset, weight)
        torch.testing.assert_close(found, reference(field, offset, weight))

    @pytest.mark.parametrize("kernel", [1, 3, 5])
    def test_without_offsets_it_is_a_convolution(self, kernel: int) -> None:
        layer = DeformConv2d(3, 4, kernel)
        field = noise(2, 3, 9, 7)
        plain = nn.functional.conv2d(field, layer.taps.weight, layer.taps.bias, padding=kernel // 2)
        torch.testing.assert_close(layer(field), plain)

    def test_the_first_offset_of_a_tap_points_down(self) -> None:
        field, offset = noise(1, 1, 6, 6), torch.zeros(1, 2, 6, 6)
        offset[:, 0] = 1
        moved = deform_conv2d(field, offset, torch.ones(1, 1, 1, 1))
        torch.testing.assert_close(moved[..., :-1, :], field[..., 1:, :])
        assert not moved[..., -1, :].any()

    def test_its_gradients_are_right(self) -> None:
        field, weight, bias = noise(2, 2, 3, 2), noise(2, 2, 3, 3, seed=1), noise(2, seed=3)
        offset = 1.3 * noise(2, 18, 3, 2, seed=2)
        tensors = [t.double().requires_grad_() for t in (field, offset, weight, bias)]
        assert torch.autograd.gradcheck(deform_conv2d, tensors)

    def test_offsets_of_another_shape_are_refused(self) -> None:
        with pytest.raises(ValueError, match="offset"):
            deform_conv2d(noise(1, 1, 4, 4), noise(1, 9, 4, 4), noise(1, 1, 3, 3))


@pytest.mark.parametrize("scale", [1, 3, 4])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_interpolation_at_points_is_that_of_the_grid(mode: str, scale: int) -> None:
    spec = ModelSpec(scale, {"coarse": InputSpec(1, 1)})
    network, inputs = Interpolate(spec, mode=mode), inputs_of(spec, 5, 7, batch=2)
    down, right = ((torch.arange(n * scale).double() + 0.5) / scale for n in (5, 7))
    points = lattice_points(down, right).expand(2, -1, -1)
    found = network.query(network.encode(inputs), points, (1 / scale, 1 / scale))
    assert found.dtype == torch.float32
    expected = network(inputs).flatten(1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-3)


def test_on_an_edge_the_nearest_cell_is_the_next_one_beyond_the_border_the_last() -> None:
    field = torch.arange(12.0).view(1, 1, 3, 4)
    places = [[1.0, 2.0], [1 - 1e-12, 2 - 1e-12], [0.99, 1.99], [-1, 0.5], [3.0, 4.0], [9, 9]]
    found = sample(field, torch.tensor([places], dtype=torch.float64), "nearest")
    assert found.flatten().tolist() == [6, 6, 1, 0, 11, 11]
