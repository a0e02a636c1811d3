"""Losses of segmentations, on logits of classes and lines: masked, as those of maps.

``prediction``, ``target`` and ``mask`` are ``(B, classes + lines, H, W)``: logits; 0 or 1, one of
the classes being 1; and where there is truth. ``batch["classes"]`` tells how many of the first
channels are classes. A cell without truth belongs to no class, not even to the first one. Overlaps
are those of the whole batch, so that tiles without any of a class do not count as misses.

Shapes that differ, or a batch without the layers that are asked for, raise ``ValueError``. Where no
cell is valid a loss is 0, with a gradient of 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.special import expit
from torch import Tensor
from torch.nn import functional

from nunatak.learn.losses import _mean, _same
from nunatak.learn.spec import Batch

_ALL = (0, 2, 3)


def _classes(prediction: Tensor, target: Tensor, mask: Tensor, batch: Batch) -> list[Tensor]:
    """Logits, truth and weights of the classes, single precision."""
    return _part(prediction, target, mask, slice(0, int(batch["classes"])))


def _lines(prediction: Tensor, target: Tensor, mask: Tensor, batch: Batch) -> list[Tensor]:
    """Logits, truth and weights of the lines, single precision."""
    return _part(prediction, target, mask, slice(int(batch["classes"]), None))


def _part(prediction: Tensor, target: Tensor, mask: Tensor, channels: slice) -> list[Tensor]:
    _same(prediction, target, mask)
    logits, truth, weight = (t[:, channels] for t in (prediction, target, mask))
    if not logits.shape[1]:
        raise ValueError(f"no layer {channels} among {prediction.shape[1]} layers")
    return [logits.float(), torch.where(weight > 0, truth, 0.0).float(), weight.float()]


def _dice(found: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """One minus Dice's coefficient of every channel; one cell is added to both of its terms."""
    both, sums = (found * truth * weight).sum(_ALL), ((found + truth) * weight).sum(_ALL)
    return 1 - (2 * both + 1) / (sums + 1)


def _dilated(truth: Tensor, side: int) -> Tensor:
    """Squares of ``side`` cells around all cells that are 1."""
    before, after = side // 2, (side - 1) // 2
    padded = functional.pad(truth, (before, after, before, after))
    return functional.max_pool2d(padded, side, stride=1)


def zone_cross_entropy(prediction: Tensor, target: Tensor, mask: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy of the classes over the valid cells (nats)."""
    logits, truth, weight = _classes(prediction, target, mask, batch)
    return _mean(-(truth * logits.log_softmax(dim=1)).sum(dim=1), weight.amin(dim=1))


def zone_dice(prediction: Tensor, target: Tensor, mask: Tensor, batch: Batch) -> Tensor:
    """One minus Dice's coefficient, the mean over the classes that occur in the batch (0 to 1).

    Milletari et al. 2016, doi 10.1109/3DV.2016.79, without the squares.
    """
    logits, truth, weight = _classes(prediction, target, mask, batch)
    occurs = ((truth * weight).sum(_ALL) > 0).float()
    return _mean(_dice(logits.softmax(dim=1), truth, weight), occurs)


def front_dice(
    prediction: Tensor, target: Tensor, mask: Tensor, batch: Batch, *, dilate: int = 1
) -> Tensor:
    """One minus Dice's coefficient, the mean over the lines with valid cells (0 to 1).

    A batch without a line wants none to be found.

    Parameters
    ----------
    dilate
        The line is as wide as squares of this side (cells), centred on its cells; 1 leaves it.

    Raises
    ------
    ValueError
        If ``dilate`` is not positive.
    """
    logits, truth, weight = _lines(prediction, target, mask, batch)
    _positive(dilate=dilate)
    loss = _dice(logits.sigmoid(), _dilated(truth, dilate), weight)
    return _mean(loss, (weight.sum(_ALL) > 0).float())


def front_distance_dice(
    prediction: Tensor,
    target: Tensor,
    mask: Tensor,
    batch: Batch,
    *,
    dilate: int = 5,
    width: int = 5,
    outside: float = 0.1,
    relax: float = 1.0,
) -> Tensor:
    """The same, probabilities weighted by where they are before they are compared with the truth.

    The loss of the fronts in Gourmelon et al. 2022, doi 10.5194/essd-14-4287-2022, with its values.
    Within a band around the line the weight rises with the distance from the band's border, from 0
    to 1; beyond it has a value of its own, so that what is found there costs little. Without a line
    in a tile all weights are 1.

    Parameters
    ----------
    dilate
        As in `front_dice`.
    width
        The band is that line, dilated once more by this side (cells).
    outside
        Weight beyond the band.
    relax
        Distance (cells) over which the weight rises, along a sigmoid.

    Raises
    ------
    ValueError
        If a side or the distance is not positive.
    """
    logits, truth, weight = _lines(prediction, target, mask, batch)
    _positive(dilate=dilate, width=width, relax=relax)
    truth = _dilated(truth, dilate)
    band = _dilated(truth, width).flatten(0, 1).cpu().numpy() > 0
    shares = torch.stack([torch.from_numpy(_shares(b, outside, relax)) for b in band])
    found = logits.sigmoid() * shares.to(logits).reshape(logits.shape)
    return _mean(_dice(found, truth, weight), (weight.sum(_ALL) > 0).float())


def _shares(band: NDArray[Any], outside: float, relax: float) -> NDArray[Any]:
    """Weights of the cells of a tile by the distance to the border of a band."""
    if not band.any() or band.all():
        return np.ones(band.shape)
    rise = expit(distance_transform_edt(band) / relax) - 0.5
    return np.where(band, rise / rise.max(), outside)


def _positive(**values: float) -> None:
    if min(values.values()) <= 0:
        raise ValueError(f"{values} are not all positive")
