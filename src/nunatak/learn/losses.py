"""Losses: masked, and divided by the number of valid cells.

Each is ``loss(prediction, target, mask, batch, *, arguments) -> Tensor``. ``prediction``,
``target`` and ``mask`` are ``(B, 1, H, W)``; the mask is boolean or a weight, 0 where there is no
truth, and the target may be NaN there. Shapes that differ raise ``ValueError``: nothing is ever
broadcast. Where no cell is valid the loss is 0, with a gradient of 0. ``batch`` holds the inputs,
and of the target over the training tiles ``mean`` and ``std``, scalars in its units.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor
from torch.nn import functional

from nunatak.learn.spec import Batch, block_mean


def _error(prediction: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Prediction minus target, 0 where the mask is; and the mask as weights."""
    _same(prediction, target, mask)
    return torch.where(mask > 0, prediction - target, 0.0), mask.to(prediction.dtype)


def _same(prediction: Tensor, target: Tensor, mask: Tensor) -> None:
    shapes = [tuple(t.shape) for t in (prediction, target, mask)]
    if len(set(shapes)) > 1 or prediction.ndim != 4:
        raise ValueError(f"prediction, target and mask have shapes {shapes}, not one (B, 1, H, W)")


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean; 0 where all weights are 0."""
    total = weight.sum()
    return (values * weight).sum() / torch.where(total > 0, total, 1.0)


def l1(prediction: Tensor, target: Tensor, mask: Tensor, batch: Batch) -> Tensor:
    """Mean absolute error, in the target's units."""
    error, weight = _error(prediction, target, mask)
    return _mean(error.abs(), weight)


def l2(prediction: Tensor, target: Tensor, mask: Tensor, batch: Batch) -> Tensor:
    """Mean square error, in the target's units squared."""
    error, weight = _error(prediction, target, mask)
    return _mean(error.square(), weight)


def log_cosh(
    prediction: Tensor, target: Tensor, mask: Tensor, batch: Batch, *, unit: float = 0.0
) -> Tensor:
    """Mean logarithm of the hyperbolic cosine of the error (no units).

    Half the square of small errors, and the absolute value of large ones less log 2. RESAC learns
    by it.

    Parameters
    ----------
    unit
        The error that counts as 1, in the target's units; 0 takes the target's standard deviation.

    Raises
    ------
    ValueError
        If the unit is negative.
    """
    if unit < 0:
        raise ValueError(f"log_cosh in units of {unit:g}, which must be positive, or 0")
    error, weight = _error(prediction, target, mask)
    size = (error / (unit or batch["std"])).abs()
    # Of small errors the one form loses all digits, of large ones the other overflows.
    small = torch.log1p(2 * torch.sinh(size.clamp(max=1) / 2).square())
    large = size + torch.log1p(torch.exp(-2 * size)) - log(2)
    return _mean(torch.where(size < 1, small, large), weight)


def relative_l2(
    prediction: Tensor, target: Tensor, mask: Tensor, batch: Batch, *, centred: bool = False
) -> Tensor:
    """Length of the error over that of the truth, the mean over samples (no units).

    Lengths are over valid cells, whose number cancels. A sample counts if its truth has a length.
    Li et al. 2021, arXiv:2010.08895, whose fields vary about zero. Of one that does not, most of
    the length is its mean, and errors of all its detail look small: there, centre it.

    Parameters
    ----------
    centred
        Take lengths of the truth less the target's mean over the training tiles, as if fields were
        normalised; the error is the same.
    """
    error, weight = _error(prediction, target, mask)
    truth = target - batch["mean"] if centred else target
    share = weight.sqrt()
    lost, length = (
        torch.linalg.vector_norm(share * values, dim=(1, 2, 3))
        for values in (error, torch.where(mask > 0, truth, 0.0))
    )
    counts = length > 0
    return _mean(lost / torch.where(counts, length, 1.0), counts.to(lost.dtype))


def slope(prediction: Tensor, target: Tensor, mask: Tensor, batch: Batch) -> Tensor:
    """Mean absolute error of the differences between neighbours, in the target's units a cell.

    A pair of neighbours counts where both are valid.
    """
    error, weight = _error(prediction, target, mask)
    parts = []
    for dim in (-2, -1):
        n = error.shape[dim] - 1
        both = torch.minimum(weight.narrow(dim, 0, n), weight.narrow(dim, 1, n))
        parts.append((error.diff(dim=dim).abs().flatten(), both.flatten()))
    return _mean(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]))


def topographic(prediction: Tensor, target: Tensor, mask: Tensor, batch: Batch) -> Tensor:
    """Mean absolute difference of the prediction's block means and the prior (its units).

    Leong and Horgan 2020, doi 10.5194/tc-14-3687-2020. ``batch["prior"]`` ``(B, 1, h, w)`` is
    cropped centrally to the window of the prediction; ``batch["scale"]`` holds the fine cells along
    the side of a coarse cell. A coarse cell counts where any of its fine cells is valid.

    Raises
    ------
    ValueError
        If the prior does not surround the prediction by the same margin on all sides.
    """
    _same(prediction, target, mask)
    scale = int(batch["scale"])
    mean = block_mean(prediction, scale)
    prior = _central(batch["prior"], mean)
    valid = functional.max_pool2d((mask > 0).to(mean.dtype), scale)
    return _mean((mean - prior).abs(), valid)


def _central(field: Tensor, like: Tensor) -> Tensor:
    """The central part of a field, of the shape of another."""
    dy, dx = (a - b for a, b in zip(field.shape[-2:], like.shape[-2:], strict=True))
    if field.shape[:2] != like.shape[:2] or dy != dx or dy < 0 or dy % 2:
        raise ValueError(f"prior {tuple(field.shape)} does not surround {tuple(like.shape)} evenly")
    m, (h, w) = dy // 2, like.shape[-2:]
    return field[..., m : m + h, m : m + w]


def ssim(
    prediction: Tensor,
    target: Tensor,
    mask: Tensor,
    batch: Batch,
    *,
    data_range: float,
    window: int = 9,
) -> Tensor:
    """One minus the mean structural similarity, uniform windows (0 to 2, no units).

    Wang et al. 2004, doi 10.1109/TIP.2003.819861, with K1 = 0.01 and K2 = 0.03. A window counts
    where all its cells are valid; windows do not reach beyond the tile.

    Parameters
    ----------
    data_range
        Range of the data, in the target's units: it sets the two stabilising constants.
    window
        Side of a window, in cells.

    Raises
    ------
    ValueError
        If the tile is smaller than the window, or the range is not positive.
    """
    _same(prediction, target, mask)
    if min(prediction.shape[-2:]) < window or data_range <= 0:
        raise ValueError(
            f"window {window} and data_range {data_range} for a tile of {tuple(prediction.shape)}"
        )
    valid = (mask > 0).to(prediction.dtype)
    target = torch.where(mask > 0, target, prediction.detach())
    # Second moments about the tile's mean: about zero they lose the variance to rounding.
    centre = target.mean(dim=(-2, -1), keepdim=True)
    p, t = prediction - centre, target - centre
    mean_p, mean_t, pp, tt, pt = (
        functional.avg_pool2d(field, window, stride=1)
        for field in (p, t, p.square(), t.square(), p * t)
    )
    variances = pp - mean_p.square() + tt - mean_t.square()
    covariance = pt - mean_p * mean_t
    mean_p, mean_t = mean_p + centre, mean_t + centre
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    index = (2 * mean_p * mean_t + c1) / (mean_p.square() + mean_t.square() + c1)
    index = index * (2 * covariance + c2) / (variances + c2)
    whole = -functional.max_pool2d(-valid, window, stride=1)
    return _mean(1 - index, whole)


def adversarial_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Relativistic average loss of a generator.

    Jolicoeur-Martineau 2018, arXiv:1807.00734. The gradient flows through the fake logits only.

    Parameters
    ----------
    real_logits, fake_logits
        The critic's logits ``(B, 1)`` of truth and of the generator's output.
    """
    return _relativistic(fake_logits, real_logits.detach())


def adversarial_critic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Relativistic average loss of a critic.

    The fake logits are those of a **detached** output of the generator, so that the critic's step
    leaves the generator alone.

    Parameters
    ----------
    real_logits, fake_logits
        The critic's logits ``(B, 1)``.
    """
    return _relativistic(real_logits, fake_logits)


def _relativistic(up: Tensor, down: Tensor) -> Tensor:
    """Cross-entropy of each set of logits lying above, or below, the mean of the other."""
    if up.shape != down.shape:
        raise ValueError(f"logits of shapes {tuple(up.shape)} and {tuple(down.shape)}")
    above, below = up - down.mean(), down - up.mean()
    return functional.binary_cross_entropy_with_logits(
        above, torch.ones_like(above)
    ) + functional.binary_cross_entropy_with_logits(below, torch.zeros_like(below))
