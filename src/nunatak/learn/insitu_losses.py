"""Losses at stations: what a difference from a measurement costs, and its mean over measurements.

A cost is ``cost(error, *, arguments) -> Tensor``, value by value: ``error`` is prediction minus
measurement in standard deviations (z-scores), in any shape. Two of them cost more in the tails than
a square does, for the sake of extremes: Kim et al. 2023, Int. J. Appl. Earth Obs. Geoinf. 119,
103312.

All are worked out in single precision, whatever the precision of the network.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nunatak.errors import ConfigError


def mse(error: Tensor) -> Tensor:
    """The square, ``d^2``."""
    return error.float().square()


def gumbel(error: Tensor, *, r: float = 1.1) -> Tensor:
    """Gumbel's: ``(1 - exp(-d^2))^r d^2``, about ``d^(2 + 2 r)`` near 0 and ``d^2`` far from it.

    Parameters
    ----------
    r
        1 or more; the original tries 1.0, 1.1, 1.5 and 2.0.

    Raises
    ------
    ConfigError
        If ``r`` is below 1, where the gradient of the power at 0 would be infinite.
    """
    if not r >= 1:
        raise ConfigError(f"gumbel: r {r:g}", "1 or more")
    square = error.float().square()
    return (-torch.expm1(-square)).pow(r) * square


def frechet(error: Tensor, *, a: float = 13.0, s: float = 1.7) -> Tensor:
    """Frechet's: ``z^-a + (1 + a) ln z`` with ``z = |d| / s + (a / (1 + a))^(1 / a)``.

    The least value, at ``d = 0``, is ``(1 + ln(a / (1 + a))) (1 + a) / a``, not 0.

    Parameters
    ----------
    a
        Shape, positive.
    s
        Scale, positive. The original tries (a, s) of (10, 1.7), (13, 1.7), (15, 1.7), (15, 2.0).

    Raises
    ------
    ConfigError
        If one of them is not positive.
    """
    if not (a > 0 and s > 0):
        raise ConfigError(f"frechet: a {a:g}, s {s:g}", "positive numbers")
    z = error.float().abs() / s + (a / (1 + a)) ** (1 / a)
    cost: Tensor = z.pow(-a) + (1 + a) * z.log()
    return cost


def observed_mean(
    cost: Callable[[Tensor], Tensor], prediction: Tensor, target: Tensor, mask: Tensor
) -> Tensor:
    """Mean cost over what was observed, less the cost of no error, so that the least is 0.

    Parameters
    ----------
    cost
        Of errors, value by value.
    prediction, target
        Z-scores of one shape; the target may be NaN where there is none.
    mask
        Of the same shape, True where there is an observation. Others count for nothing, in the
        sum and in the number that it is divided by.

    Returns
    -------
    Tensor
        One value, single precision; 0, with a gradient of 0, where nothing was observed.

    Raises
    ------
    ValueError
        If the shapes differ: nothing is ever broadcast.
    """
    shapes = [tuple(t.shape) for t in (prediction, target, mask)]
    if len(set(shapes)) > 1:
        raise ValueError(f"prediction, target and mask have shapes {shapes}, not one")
    error = torch.where(mask > 0, prediction.float() - target.float(), 0.0)
    # Where nothing was observed the error is 0, and so is what is left of its cost.
    costs = cost(error) - cost(torch.zeros_like(error))
    return costs.sum() / (mask > 0).sum().clamp(min=1)
