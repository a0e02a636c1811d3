"""The U-Nets: published size, windows of any shape, both heads, and batches of one window."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nunatak.errors import ConfigError
from nunatak.learn.loop import averaged
from nunatak.learn.models.unet import Aspp, AsppUnet, Norm, Segmenter, TwoHead, double
from nunatak.learn.spec import Batch, InputSpec, ModelSpec

IMAGE = {"coarse": InputSpec(1, 1)}
FRONT = ModelSpec(1, IMAGE, 0, 1)
BOTH = ModelSpec(1, IMAGE, 4, 1)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def images(h: int, w: int, batch: int = 2, seed: int = 0) -> Batch:
    return {"coarse": noise(batch, 1, h, w, seed=seed), "prior": torch.full((batch, 1, h, w), 1e9)}


def made(kind: type[Segmenter] = AsppUnet, spec: ModelSpec = FRONT, **args: Any) -> Segmenter:
    torch.manual_seed(0)
    return kind(spec, **{"width": 2, **args})


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


KINDS = pytest.mark.parametrize(("kind", "spec"), [(AsppUnet, FRONT), (TwoHead, BOTH)])


class TestSpec:
    def test_layers_are_classes_and_lines_or_one_map(self) -> None:
        assert [s.layers for s in (ModelSpec(4, IMAGE), FRONT, BOTH)] == [1, 1, 5]
        assert [s.segments for s in (ModelSpec(4, IMAGE), FRONT, BOTH)] == [False, True, True]

    @pytest.mark.parametrize(("classes", "lines"), [(1, 0), (-1, 1), (2, -1)])
    def test_numbers_of_layers_that_cannot_be_are_refused(self, classes: int, lines: int) -> None:
        with pytest.raises(ConfigError, match=f"{classes} classes, {lines} lines"):
            ModelSpec(1, IMAGE, classes, lines)

    def test_the_product_is_probabilities_that_are_not_cut(self) -> None:
        logits = torch.tensor([-9.0, 0.0, 3.0, -2.0, -4.0])[None, :, None, None]
        found = made(TwoHead, BOTH).product(logits)[0, :, 0, 0].double()
        powers = logits[0, :, 0, 0].double().exp()
        torch.testing.assert_close(found[:4], powers[:4] / powers[:4].sum(), rtol=1e-5, atol=0)
        assert float(found[4]) == pytest.approx(1 / (1 + 2.718281828**4), rel=1e-5)

    def test_the_product_of_a_map_is_the_map(self) -> None:
        network = made()
        network.spec = ModelSpec(1, IMAGE)
        field = noise(1, 1, 3, 3)
        assert torch.equal(network.product(field), field)


def test_the_front_network_has_the_published_number_of_parameters() -> None:
    assert count(AsppUnet(FRONT)) == 21_926_433


def test_its_parts_have_the_parameters_that_follow_from_their_shapes() -> None:
    network = AsppUnet(FRONT)
    assert count(network.encoder.aspp) == 54 * 512 * 512 + 8 * 2 * 512
    assert count(network.encoder.levels[4]) == 9 * 256 * 512 + 9 * 512 * 512 + 4 * 512
    assert count(network.decoders[0].last) == 33  # type: ignore[union-attr]
    assert network.encoder.widths == [32, 64, 128, 256, 512]


def test_two_heads_share_the_encoder() -> None:
    both, plain = (made(kind, BOTH, width=4) for kind in (TwoHead, AsppUnet))
    width = both.encoder.widths[-1]
    assert count(plain.encoder) - count(both.encoder) == 10 * width**2 + 2 * width
    decoders = [count(d) for d in both.decoders]
    assert decoders[0] - decoders[1] == 3 * (4 + 1)


@KINDS
@pytest.mark.parametrize(("h", "w"), [(16, 16), (32, 48), (33, 17), (5, 70), (1, 1)])
def test_windows_of_any_size_give_logits_of_their_size(
    kind: type[Segmenter], spec: ModelSpec, h: int, w: int
) -> None:
    network = made(kind, spec).eval()
    out = network(images(h, w))
    assert out.shape == (2, spec.layers, h, w)
    assert out.isfinite().all()
    assert out.dtype == torch.float32


def test_a_window_is_filled_up_by_repeating_its_outermost_cells() -> None:
    network, inputs = made().eval(), images(20, 30)
    rows = torch.cat([inputs["coarse"], inputs["coarse"][:, :, -1:].expand(-1, -1, 12, -1)], dim=2)
    whole = torch.cat([rows, rows[..., -1:].expand(-1, -1, -1, 2)], dim=3)
    expected = network({"coarse": whole, "prior": whole})[..., :20, :30]
    torch.testing.assert_close(network(inputs), expected)


def test_convolutions_repeat_the_outermost_cells() -> None:
    level = double(1, 3).eval()
    flat = level(torch.full((1, 1, 6, 6), 2.0))
    torch.testing.assert_close(flat, flat[..., 3:4, 3:4].expand_as(flat))


def test_leaky_units_have_a_slope_of_a_hundredth() -> None:
    slopes = {m.negative_slope for m in made().modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.01}


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [(AsppUnet, FRONT, [1, 2, 4, 8, 16]), (TwoHead, BOTH, [1, 2, 4, 8])],
)
def test_the_pyramid_has_the_published_dilations(
    kind: type[Segmenter], spec: ModelSpec, expected: list[int]
) -> None:
    convs = [m for m in made(kind, spec).encoder.aspp.branches.modules() if hasattr(m, "dilation")]
    assert [c.dilation[0] for c in convs if c.kernel_size == (3, 3)] == expected


def test_the_pyramid_sees_the_window_as_a_whole() -> None:
    torch.manual_seed(0)
    pyramid, field = Aspp(4, (1,)).eval(), noise(1, 4, 40, 40).requires_grad_()
    pyramid(field)[..., 0, 0].sum().backward()
    assert field.grad is not None
    assert (field.grad[..., -1, -1] != 0).any()
    assert made().whole


@KINDS
def test_every_parameter_learns(kind: type[Segmenter], spec: ModelSpec) -> None:
    network = made(kind, spec, width=4)
    # A constant of a logit beneath normalisations is not felt where their sum alone is.
    weight = noise(2, spec.layers, 64, 64, seed=9)
    (network(images(64, 64)).sigmoid() * weight).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@KINDS
def test_half_precision_gives_single_precision_logits(
    kind: type[Segmenter], spec: ModelSpec
) -> None:
    network = made(kind, spec).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = network(images(33, 20))
    assert mixed.dtype == torch.float32
    full = network(images(33, 20))
    assert (mixed - full).abs().max() < 0.2 * float(full.detach().std()) + 0.05


def test_the_prior_is_not_read() -> None:
    network, inputs = made().eval(), images(16, 16)
    expected = network(inputs)
    inputs["prior"] = torch.full_like(inputs["prior"], torch.nan)
    assert torch.equal(network(inputs), expected)


def test_conditions_on_the_same_grid_are_further_channels() -> None:
    spec = ModelSpec(1, {**IMAGE, "slope": InputSpec(2, 1)}, 0, 2)
    inputs = {**images(16, 16), "slope": noise(2, 2, 16, 16, seed=3)}
    network = made(AsppUnet, spec).eval()
    out = network(inputs)
    assert out.shape == (2, 2, 16, 16)
    assert not torch.equal(network({**inputs, "slope": -inputs["slope"]}), out)


def test_dropout_acts_in_training_only() -> None:
    network = made(TwoHead, BOTH, width=4)
    inputs = images(32, 32)
    first, second = network(inputs), network(inputs)
    assert not torch.equal(first, second)
    network.eval()
    assert torch.equal(network(inputs), network(inputs))


class TestNorm:
    def test_many_values_are_normalised_as_by_the_plain_one(self) -> None:
        plain, norm = nn.BatchNorm2d(3), Norm(3)
        for seed in range(3):
            field = noise(2, 3, 4, 5, seed=seed)
            assert torch.equal(norm(field), plain(field))
        assert torch.equal(norm.running_var, plain.running_var)

    def test_a_single_value_is_normalised_by_the_running_statistics(self) -> None:
        norm, field = Norm(3), noise(1, 3, 1, 1)
        norm(noise(4, 3, 8, 8, seed=1))
        before = {name: values.clone() for name, values in norm.state_dict().items()}
        found = norm(field)
        assert all(torch.equal(v, before[n]) for n, v in norm.state_dict().items())
        torch.testing.assert_close(found, norm.eval()(field))

    @KINDS
    @pytest.mark.parametrize("side", [16, 32])
    def test_a_batch_of_one_window_trains(
        self, kind: type[Segmenter], spec: ModelSpec, side: int
    ) -> None:
        network = made(kind, spec)
        network(images(side, side, batch=1)).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_the_moving_average_has_the_networks_running_statistics() -> None:
    network = made()
    average = averaged(network, 0.9)
    for seed in range(3):
        network(images(32, 32, seed=seed))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1)
        average.update_parameters(network)
    kept = dict(average.module.named_buffers())
    assert sum("running" in name for name in kept) == 2 * sum(
        isinstance(m, Norm) for m in network.modules()
    )
    assert all(torch.equal(values, kept[name]) for name, values in network.named_buffers())
    assert int(kept["encoder.levels.0.1.num_batches_tracked"]) == 3
    means, ends = average.module.parameters(), network.parameters()
    assert all(not torch.equal(a, b) for a, b in zip(means, ends, strict=True))


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(1, IMAGE),
        ModelSpec(2, IMAGE, 0, 1),
        ModelSpec(1, {**IMAGE, "slope": InputSpec(1, 2)}, 0, 1),
    ],
)
def test_maps_and_other_grids_are_refused(spec: ModelSpec) -> None:
    with pytest.raises(ConfigError, match="a U-Net for"):
        made(AsppUnet, spec)


@pytest.mark.parametrize("args", [{"width": 0}, {"dropout": 1.0}])
def test_impossible_sizes_are_refused(args: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(args))):
        made(TwoHead, BOTH, **args)


def test_two_heads_want_classes_and_lines() -> None:
    with pytest.raises(ConfigError, match="aspp_unet"):
        made(TwoHead, FRONT)
