"""The losses of segmentations: their formulas, the mask, and the first class, which is a class."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional

from nunatak.learn import layer_losses as losses

Loss = Callable[..., Tensor]
ZONES: list[Loss] = [losses.zone_cross_entropy, losses.zone_dice]
FRONTS: list[Loss] = [losses.front_dice, losses.front_distance_dice]
ALL = ZONES + FRONTS
CLASSES = {"classes": torch.tensor(4)}
NONE = {"classes": torch.tensor(0)}
EVERY = {"classes": torch.tensor(5)}
SIDE = 20


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def case() -> tuple[Tensor, Tensor, Tensor]:
    """Logits, four quarters of classes with a line between them, and a mask with a hole."""
    zone = torch.zeros(2, SIDE, SIDE, dtype=torch.long)
    zone[:, :10, 10:], zone[:, 10:, :10], zone[:, 10:, 10:] = 1, 2, 3
    line = torch.zeros(2, 1, SIDE, SIDE)
    line[:, :, 10] = 1
    target = torch.cat([functional.one_hot(zone, 4).movedim(-1, 1).float(), line], dim=1)
    mask = torch.ones(2, 5, SIDE, SIDE, dtype=torch.bool)
    mask[0, :, 3:9, 4:13] = False
    return noise(2, 5, SIDE, SIDE), target, mask


def dice(found: Tensor, truth: Tensor, mask: Tensor) -> float:
    """The formula, in double precision."""
    p, t = (values[mask].double() for values in (found, truth))
    return float(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))


@pytest.mark.parametrize("loss", ALL)
def test_a_shape_that_differs_raises_and_is_not_broadcast(loss: Loss) -> None:
    prediction, target, mask = case()
    for wrong in ((prediction, target[:1], mask), (prediction, target, mask[:, :1])):
        with pytest.raises(ValueError, match="shapes"):
            loss(*wrong, CLASSES)


@pytest.mark.parametrize(("losses_of", "batch"), [(ZONES, NONE), (FRONTS, EVERY)])
def test_layers_that_are_not_there_are_refused(
    losses_of: list[Loss], batch: dict[str, int]
) -> None:
    for loss in losses_of:
        with pytest.raises(ValueError, match="no layer"):
            loss(*case(), batch)


@pytest.mark.parametrize("loss", ALL)
def test_cells_without_truth_do_not_count(loss: Loss) -> None:
    prediction, target, mask = case()
    expected = loss(prediction, target, mask, CLASSES)
    for hidden in (0.0, 1.0, torch.nan):
        changed = torch.where(mask, prediction, 30.0), torch.where(mask, target, hidden)
        torch.testing.assert_close(loss(*changed, mask, CLASSES), expected)


@pytest.mark.parametrize("loss", ZONES)
def test_the_first_class_is_no_background(loss: Loss) -> None:
    prediction, target, mask = case()
    prediction.requires_grad_()
    loss(prediction, target, mask, CLASSES).backward()
    assert prediction.grad is not None
    first = (target[:, :1] == 1) & mask[:, :1]
    assert prediction.grad[:, :1][first].all()
    assert (prediction.grad[:, :1][first] < 0).all(), "cells of the first class want it"
    assert not prediction.grad[~mask].any(), "cells without truth want nothing"


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("valid", ["none", "some"])
@pytest.mark.parametrize("loss", ALL)
def test_gradients_are_finite_and_none_where_nothing_is_valid(
    loss: Loss, valid: str, kind: torch.dtype
) -> None:
    prediction, target, mask = case()
    mask = mask if valid == "some" else torch.zeros_like(mask)
    for size in (1.0, 1e3):
        logits = (prediction * size).to(kind).requires_grad_()
        value = loss(logits, torch.where(mask, target, torch.nan), mask, CLASSES)
        value.backward()
        assert value.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
        assert bool(value > 0) == (valid == "some")
        if size == 1:
            assert bool(logits.grad.any()) == (valid == "some")


@pytest.mark.parametrize("loss", ALL)
def test_each_loss_sees_its_own_layers_alone(loss: Loss) -> None:
    prediction, target, mask = case()
    prediction.requires_grad_()
    loss(prediction, target, mask, CLASSES).backward()
    assert prediction.grad is not None
    touched = [bool(prediction.grad[:, layer].any()) for layer in range(5)]
    assert touched == ([True] * 4 + [False] if loss in ZONES else [False] * 4 + [True])


class TestZones:
    def test_cross_entropy_agrees_with_torch_over_the_valid_cells(self) -> None:
        prediction, target, mask = case()
        zone = torch.where(mask[:, 0], target[:, :4].argmax(dim=1), -100)
        expected = functional.cross_entropy(prediction[:, :4], zone, ignore_index=-100)
        torch.testing.assert_close(
            losses.zone_cross_entropy(prediction, target, mask, CLASSES), expected
        )

    def test_equal_logits_cost_the_logarithm_of_the_number_of_classes(self) -> None:
        _, target, mask = case()
        found = losses.zone_cross_entropy(torch.zeros_like(target), target, mask, CLASSES)
        assert float(found) == pytest.approx(np.log(4))

    def test_dice_is_the_mean_of_the_formula_over_classes(self) -> None:
        prediction, target, mask = case()
        share = prediction[:, :4].softmax(dim=1)
        expected = [dice(share[:, c], target[:, c], mask[:, c]) for c in range(4)]
        found = losses.zone_dice(prediction, target, mask, CLASSES)
        assert float(found) == pytest.approx(np.mean(expected), rel=1e-5)

    def test_dice_leaves_out_classes_that_do_not_occur(self) -> None:
        prediction, target, mask = case()
        mask = mask & (target[:, 3:4] == 0) & (target[:, 1:2] == 0)
        share = prediction[:, :4].softmax(dim=1)
        expected = [dice(share[:, c], target[:, c], mask[:, c]) for c in (0, 2)]
        found = losses.zone_dice(prediction, target, mask, CLASSES)
        assert float(found) == pytest.approx(np.mean(expected), rel=1e-5)

    @pytest.mark.parametrize("loss", ZONES)
    def test_certain_truth_costs_nothing(self, loss: Loss) -> None:
        _, target, mask = case()
        assert float(loss(40 * target, target, mask, CLASSES)) == pytest.approx(0, abs=1e-5)


class TestFronts:
    def test_dice_has_stated_values(self) -> None:
        target = torch.zeros(1, 1, 4, 4)
        target[..., 1, :] = 1
        mask = torch.ones_like(target, dtype=torch.bool)
        halves = losses.front_dice(torch.zeros_like(target), target, mask, NONE)
        assert float(halves) == pytest.approx(1 - (2 * 0.5 * 4 + 1) / (0.5 * 16 + 4 + 1))
        nowhere = losses.front_dice(torch.full_like(target, -40), target, mask, NONE)
        assert float(nowhere) == pytest.approx(1 - 1 / (4 + 1))
        assert float(losses.front_dice(80 * target - 40, target, mask, NONE)) == pytest.approx(0)

    def test_it_is_that_of_the_whole_batch(self) -> None:
        prediction, target, mask = case()
        target[1, 4] = 0
        expected = dice(prediction[:, 4].sigmoid(), target[:, 4], mask[:, 4])
        found = losses.front_dice(prediction, target, mask, CLASSES)
        assert float(found) == pytest.approx(expected, rel=1e-5)

    def test_a_line_where_there_is_none_costs(self) -> None:
        _, target, mask = case()
        target[:, 4] = 0
        low, high = (torch.full_like(target, value) for value in (-20.0, 0.0))
        assert float(losses.front_dice(low, target, mask, CLASSES)) < 1e-3
        assert float(losses.front_dice(high, target, mask, CLASSES)) > 0.9

    @pytest.mark.parametrize(("side", "rows"), [(1, (7, 8)), (5, (5, 10)), (10, (3, 13))])
    def test_the_truth_is_dilated_by_squares(self, side: int, rows: tuple[int, int]) -> None:
        target = torch.zeros(1, 1, 16, 16)
        target[..., 7, 7] = 1
        wide = torch.full_like(target, -40)
        wide[..., rows[0] : rows[1], rows[0] : rows[1]] = 40
        mask = torch.ones_like(target, dtype=torch.bool)
        assert (wide > 0).sum() == side**2
        found = losses.front_dice(wide, target, mask, NONE, dilate=side)
        assert float(found) == pytest.approx(0, abs=1e-6)

    def test_lines_without_a_valid_cell_do_not_count(self) -> None:
        prediction, target, mask = (torch.cat([t[:, 4:]] * 2, dim=1) for t in case())
        single = losses.front_dice(prediction[:, :1], target[:, :1], mask[:, :1], NONE)
        mask[:, 1] = False
        torch.testing.assert_close(losses.front_dice(prediction, target, mask, NONE), single)

    def test_distance_weights_agree_with_the_formula(self) -> None:
        prediction, target, mask = case()
        wide = np.zeros((SIDE, SIDE))
        wide[8:13] = 1
        band = np.zeros((SIDE, SIDE))
        band[6:15] = 1
        rise = 1 / (1 + np.exp(-distance_transform_edt(band) / 2.0))
        rise = (rise - rise.min()) / (rise - rise.min()).max()
        share = torch.from_numpy(rise + 0.2 * (1 - band))
        expected = dice(
            prediction[:, 4].sigmoid() * share, torch.from_numpy(wide).expand(2, -1, -1), mask[:, 4]
        )
        found = losses.front_distance_dice(
            prediction, target, mask, CLASSES, outside=0.2, relax=2.0
        )
        assert float(found) == pytest.approx(expected, rel=1e-5)

    def test_distance_weights_of_a_thin_line_have_stated_values(self) -> None:
        band = np.zeros((9, 4), dtype=bool)
        band[2:7] = True
        shares = losses._shares(band, 0.1, 1.0)
        expected = [0.1, 0.1, 0.5105, 0.8414, 1.0, 0.8414, 0.5105, 0.1, 0.1]
        np.testing.assert_allclose(shares, np.repeat(expected, 4).reshape(9, 4), atol=1e-4)

    def test_what_is_found_far_away_costs_less_than_without_weights(self) -> None:
        target = torch.zeros(1, 1, 64, 64)
        target[..., 20, :] = 1
        mask = torch.ones_like(target, dtype=torch.bool)
        found = torch.full_like(target, -40)
        found[..., 18:23, :] = 40
        found[..., 50:60, :] = 40
        far = losses.front_distance_dice(found, target, mask, NONE)
        assert far < 0.6 * losses.front_dice(found, target, mask, NONE, dilate=5)

    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_weights_are_one_where_there_is_no_line_or_nothing_else(self, value: float) -> None:
        prediction, target, mask = case()
        target[:, 4] = value
        torch.testing.assert_close(
            losses.front_distance_dice(prediction, target, mask, CLASSES),
            losses.front_dice(prediction, target, mask, CLASSES),
        )

    @pytest.mark.parametrize(
        "loss",
        [
            partial(losses.front_dice, dilate=0),
            partial(losses.front_distance_dice, width=0),
            partial(losses.front_distance_dice, relax=0.0),
        ],
    )
    def test_sides_and_distances_are_positive(self, loss: Loss) -> None:
        with pytest.raises(ValueError, match="not all positive"):
            loss(*case(), CLASSES)
