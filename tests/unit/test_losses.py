"""The losses: masked, never broadcast, and the adversarial gradient reaches the generator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nunatak.learn import losses
from nunatak.learn.spec import block_mean

Loss = Callable[..., Tensor]
SSIM = partial(losses.ssim, window=5, data_range=4.0)
CENTRED = partial(losses.relative_l2, centred=True)
POINTWISE: list[Loss] = [losses.l1, losses.l2, losses.log_cosh, losses.relative_l2, CENTRED]
CELLWISE: list[Loss] = [*POINTWISE, losses.slope, SSIM]
ALL: list[Loss] = [*CELLWISE, losses.topographic]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def case(side: int = 24) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Prediction, target, a mask with a hole and a batch whose prior has a margin of 2."""
    mask = torch.ones(2, 1, side, side, dtype=torch.bool)
    mask[0, :, 3:9, 4:9] = False
    batch = {
        "prior": noise(2, 1, side // 4 + 4, side // 4 + 4, seed=2),
        **{"scale": torch.tensor(4), "mean": torch.tensor(0.3), "std": torch.tensor(0.7)},
    }
    return noise(2, 1, side, side), noise(2, 1, side, side, seed=1), mask, batch


@pytest.mark.parametrize("loss", ALL)
def test_a_shape_that_differs_raises_and_is_not_broadcast(loss: Loss) -> None:
    prediction, target, mask, batch = case()
    for wrong in (
        (prediction, target[:1], mask),
        (prediction, target, mask[:, :, :1]),
        (prediction[:, 0], target[:, 0], mask[:, 0]),
    ):
        with pytest.raises(ValueError, match="shapes"):
            loss(*wrong, batch)


@pytest.mark.parametrize("loss", CELLWISE)
def test_cells_outside_of_the_mask_do_not_count(loss: Loss) -> None:
    prediction, target, mask, batch = case()
    expected = loss(prediction, target, mask, batch)
    changed = torch.where(mask, prediction, 1e3)
    torch.testing.assert_close(loss(changed, target, mask, batch), expected)
    broken = torch.where(mask, target, torch.nan)
    torch.testing.assert_close(loss(prediction, broken, mask, batch), expected)


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("valid", ["none", "some"])
def test_gradients_are_finite_where_the_target_is_nan(loss: Loss, valid: str) -> None:
    prediction, target, mask, batch = case()
    mask = mask if valid == "some" else torch.zeros_like(mask)
    prediction.requires_grad_()
    value = loss(prediction, torch.where(mask, target, torch.nan), mask, batch)
    value.backward()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()
    assert bool(prediction.grad.any()) == (valid == "some") == bool(value > 0)


@pytest.mark.parametrize("loss", CELLWISE)
def test_the_truth_costs_nothing(loss: Loss) -> None:
    _, target, mask, batch = case()
    assert float(loss(target, target, mask, batch)) == pytest.approx(0, abs=1e-6)


def test_errors_are_divided_by_the_number_of_valid_cells() -> None:
    prediction, target, mask, batch = case()
    error = (prediction - target)[mask]
    assert losses.l1(prediction, target, mask, batch) == pytest.approx(float(error.abs().mean()))
    assert losses.l2(prediction, target, mask, batch) == pytest.approx(float(error.square().mean()))


def test_a_mask_of_weights_gives_a_weighted_mean() -> None:
    prediction, target, mask, batch = case()
    weight = torch.where(mask, noise(2, 1, 24, 24, seed=5).abs(), 0.0)
    expected = np.average((prediction - target).abs().numpy(), weights=weight.numpy())
    assert float(losses.l1(prediction, target, weight, batch)) == pytest.approx(expected, rel=1e-5)


@given(offset=st.floats(-100, 100), gradient=st.floats(-5, 5))
@settings(max_examples=25, deadline=None)
def test_slope_sees_gradients_and_no_offset(offset: float, gradient: float) -> None:
    _, target, mask, batch = case()
    ramp = gradient * torch.arange(24.0)[:, None].expand(2, 1, 24, 24)
    both_y = (mask[..., 1:, :] & mask[..., :-1, :]).sum()
    both_x = (mask[..., 1:] & mask[..., :-1]).sum()
    expected = abs(gradient) * float(both_y / (both_y + both_x))
    found = losses.slope(target + ramp + offset, target, mask, batch)
    assert float(found) == pytest.approx(expected, abs=1e-4)


class TestLogCosh:
    @pytest.mark.parametrize("unit", [0.0, 0.02, 5.0])
    def test_it_is_the_mean_by_hand_over_valid_cells(self, unit: float) -> None:
        prediction, target, mask, batch = case()
        error = (prediction - target)[mask].double().numpy() / (unit or 0.7)
        expected = np.logaddexp(error, -error).mean() - np.log(2)
        found = losses.log_cosh(prediction, target, mask, batch, unit=unit)
        assert float(found) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("error", [1e-12, 1e-6, 1e-3, 0.5, 1 - 1e-6, 1.0, 3.0, 80.0, 1e6, 1e30])
    @pytest.mark.parametrize("sign", [-1, 1])
    def test_neither_small_nor_large_errors_lose_digits(self, error: float, sign: int) -> None:
        prediction = torch.full((1, 1, 1, 1), sign * error, requires_grad=True)
        zero, mask = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1, dtype=torch.bool)
        found = losses.log_cosh(prediction, zero, mask, {}, unit=1.0)
        found.backward()
        by_hand = np.log1p(2 * np.sinh(error / 2) ** 2) if error < 1 else error - np.log(2)
        by_hand += 0 if error < 1 else np.log1p(np.exp(-2 * error))
        assert float(found.detach()) == pytest.approx(by_hand, rel=1e-6)
        assert prediction.grad is not None
        assert float(prediction.grad) == pytest.approx(sign * np.tanh(error), rel=1e-5)

    def test_a_negative_unit_is_refused(self) -> None:
        with pytest.raises(ValueError, match="positive"):
            losses.log_cosh(*case(), unit=-1.0)


class TestRelativeL2:
    @pytest.mark.parametrize("centred", [False, True])
    def test_it_is_the_mean_of_ratios_by_hand(self, centred: bool) -> None:
        prediction, target, mask, batch = case()
        ratios = []
        for p, t, m in zip(prediction.double(), target.double(), mask, strict=True):
            truth = t[m] - float(batch["mean"]) * centred
            ratios.append(float((p[m] - t[m]).norm() / truth.norm()))
        found = losses.relative_l2(prediction, target, mask, batch, centred=centred)
        assert ratios[0] != pytest.approx(ratios[1], rel=1e-3)
        assert float(found) == pytest.approx(np.mean(ratios), rel=1e-5)

    def test_centred_it_is_that_of_normalised_fields(self) -> None:
        prediction, target, mask, batch = case()
        normal = [(field + 100 - 100.3) / 0.7 for field in (prediction, target)]
        moved = {**batch, "mean": torch.tensor(100.3)}
        found = CENTRED(prediction + 100, target + 100, mask, moved)
        expected = losses.relative_l2(*normal, mask, batch)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
        assert losses.relative_l2(prediction + 100, target + 100, mask, batch) < 0.05 * expected

    def test_gradients_are_those_of_double_precision_by_hand(self) -> None:
        prediction, target, mask, batch = case()
        prediction.requires_grad_()
        losses.relative_l2(prediction, target, mask, batch).backward()
        assert prediction.grad is not None
        error = torch.where(mask, prediction.detach() - target, 0).double()
        truth = torch.where(mask, target, 0).double()
        squares = [f.square().sum((1, 2, 3), keepdim=True) for f in (error, truth)]
        expected = error / (squares[0] * squares[1]).sqrt()
        torch.testing.assert_close(prediction.grad.double(), expected / 2, rtol=1e-4, atol=1e-9)

    def test_no_gradient_is_broken_where_the_prediction_is_the_truth(self) -> None:
        _, target, mask, batch = case()
        prediction = target.clone().requires_grad_()
        losses.relative_l2(prediction, target, mask, batch).backward()
        assert prediction.grad is not None
        assert not prediction.grad.any()

    def test_a_sample_without_truth_does_not_count(self) -> None:
        prediction, target, mask, batch = case()
        only = losses.relative_l2(prediction[1:], target[1:], mask[1:], batch)
        mask[0] = False
        torch.testing.assert_close(losses.relative_l2(prediction, target, mask, batch), only)


class TestTopographic:
    def test_it_compares_block_means_with_the_prior_of_the_same_cells(self) -> None:
        prediction, target, mask, batch = case()
        difference = (block_mean(prediction, 4) - batch["prior"][..., 2:-2, 2:-2]).abs()
        some = block_mean(mask.float(), 4) > 0
        assert 0 < (~some).sum() < some.sum()
        found = losses.topographic(prediction, target, mask, batch)
        torch.testing.assert_close(found, difference[some].mean())

    def test_a_coarse_cell_without_truth_does_not_count(self) -> None:
        prediction, target, mask, batch = case()
        mask[:] = False
        mask[1, 0, 9, 14] = True
        cell = prediction[1, 0, 8:12, 12:16].mean() - batch["prior"][1, 0, 2 + 2, 2 + 3]
        torch.testing.assert_close(
            losses.topographic(prediction, target, mask, batch), cell.abs(), atol=1e-6, rtol=0
        )

    def test_a_prior_that_is_not_centred_is_refused(self) -> None:
        prediction, target, mask, batch = case()
        batch["prior"] = batch["prior"][..., 1:]
        with pytest.raises(ValueError, match="prior"):
            losses.topographic(prediction, target, mask, batch)


class TestSsim:
    def test_it_agrees_with_the_formula_window_by_window(self) -> None:
        prediction, target, mask, batch = case()
        values = []
        c1, c2 = (0.01 * 4) ** 2, (0.03 * 4) ** 2
        for b in range(2):
            for i in range(20):
                for j in range(20):
                    where = (b, 0, slice(i, i + 5), slice(j, j + 5))
                    if not mask[where].all():
                        continue
                    x, y = prediction[where].double().numpy(), target[where].double().numpy()
                    covariance = ((x - x.mean()) * (y - y.mean())).mean()
                    index = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
                    values.append(index * (2 * covariance + c2) / (x.var() + y.var() + c2))
        assert 400 < len(values) < 800
        found = float(SSIM(prediction, target, mask, batch))
        assert found == pytest.approx(1 - np.mean(values), rel=1e-4)

    def test_heights_of_thousands_of_metres_keep_their_variance(self) -> None:
        prediction, target, mask, batch = case()
        single = losses.ssim(prediction - 4e3, target - 4e3, mask, batch, data_range=4.0)
        double = losses.ssim(
            (prediction - 4e3).double(), (target - 4e3).double(), mask, batch, data_range=4.0
        )
        assert float(single) == pytest.approx(float(double), rel=1e-3)

    @pytest.mark.parametrize("wrong", [{"window": 25, "data_range": 1.0}, {"data_range": 0.0}])
    def test_a_window_or_range_that_cannot_be_is_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="data_range"):
            losses.ssim(*case(), **wrong)  # type: ignore[arg-type]


class TestAdversarial:
    @pytest.fixture
    def pair(self) -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
        """A generator, a critic, a batch of inputs and of truths."""
        torch.manual_seed(0)
        return nn.Linear(4, 6), nn.Linear(6, 1), noise(5, 4), noise(5, 6, seed=1)

    def test_the_generator_receives_an_adversarial_gradient(
        self, pair: tuple[nn.Module, nn.Module, Tensor, Tensor]
    ) -> None:
        generator, critic, given_, truth = pair
        losses.adversarial_generator(critic(truth), critic(generator(given_))).backward()
        for parameter in generator.parameters():
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0

    def test_the_generators_loss_has_no_gradient_through_the_truth(
        self, pair: tuple[nn.Module, nn.Module, Tensor, Tensor]
    ) -> None:
        real, fake = (noise(5, 1, seed=s).requires_grad_() for s in (0, 1))
        losses.adversarial_generator(real, fake).backward()
        assert real.grad is None
        assert fake.grad is not None
        assert fake.grad.any()

    def test_the_critics_step_does_not_touch_the_generator(
        self, pair: tuple[nn.Module, nn.Module, Tensor, Tensor]
    ) -> None:
        generator, critic, given_, truth = pair
        fake = generator(given_).detach()
        losses.adversarial_critic(critic(truth), critic(fake)).backward()
        assert all(parameter.grad is None for parameter in generator.parameters())
        assert all(p.grad is not None and p.grad.any() for p in critic.parameters() if p.ndim > 1)

    def test_the_critic_wants_what_the_generator_does_not(self) -> None:
        low, high = torch.full((4, 1), -2.0), torch.full((4, 1), 2.0)
        assert losses.adversarial_critic(high, low) < losses.adversarial_critic(low, high)
        assert losses.adversarial_generator(low, high) < losses.adversarial_generator(high, low)

    def test_a_critic_that_cannot_tell_costs_twice_the_logarithm_of_two(self) -> None:
        logits = torch.full((3, 1), 0.7)
        expected = 2 * float(np.log(2))
        assert float(losses.adversarial_critic(logits, logits)) == pytest.approx(expected)
        assert float(losses.adversarial_generator(logits, logits)) == pytest.approx(expected)

    def test_logits_of_different_batches_are_refused(self) -> None:
        with pytest.raises(ValueError, match="logits"):
            losses.adversarial_critic(noise(4, 1), noise(3, 1))
