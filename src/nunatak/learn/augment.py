"""Distortion of training samples: shifted, scaled and rotated about their centres."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import cos, radians, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform


@dataclass(frozen=True)
class Distortion:
    """One affine map of a tile, the same for all of its fields, whatever their resolution.

    Parameters
    ----------
    down, right
        How far the content moves, in sides of the tile.
    scale
        By what it grows.
    angle
        By what it turns, in degrees, counter-clockwise on the map.
    """

    down: float
    right: float
    scale: float
    angle: float


def drawn(
    rng: np.random.Generator, *, shift: float, scale: float, rotate: float, share: float = 1.0
) -> Distortion | None:
    """Draw a distortion, each part evenly between plus and minus its limit.

    Parameters
    ----------
    rng
        Of the sample.
    shift
        In sides of the tile, each way.
    scale
        Relative growth.
    rotate
        In degrees.
    share
        Of the samples that are distorted at all; None stands for the others.
    """
    if rng.uniform() >= share:
        return None
    down, right, growth, angle = rng.uniform(-1, 1, 4) * (shift, shift, scale, rotate)
    return Distortion(float(down), float(right), 1 + float(growth), float(angle))


def distorted(
    values: NDArray[np.float32],
    by: Distortion,
    side: int,
    *,
    nearest: bool,
    vectors: Iterable[tuple[int, int]] = (),
) -> NDArray[np.float32]:
    """Shift, scale and rotate a field about its centre.

    Parameters
    ----------
    values
        (channels, rows, columns), rows from north to south, NaN where missing, vectors in physical
        units; a tile, or a window around its centre.
    by
        The map.
    side
        Cells of this field along the side of the tile, which shifts are in units of.
    nearest
        Take the nearest cell, as codes must be; else interpolate between cells linearly.
    vectors
        Channels of x (eastward in the grid) and y (northward) components, which turn as well.

    Returns
    -------
    ndarray
        Of the same shape; NaN where a cell that counts is missing or beyond the field.
    """
    turn = np.array(
        [
            [cos(radians(by.angle)), -sin(radians(by.angle))],
            [sin(radians(by.angle)), cos(radians(by.angle))],
        ]
    )
    # From where a cell of the result lies back to where its content was. The same matrix turns
    # (east, north) and (row, column), which are a quarter turn apart.
    back = turn.T / by.scale
    middle = (np.array(values.shape[-2:]) - 1) / 2
    offset = middle - back @ (middle + np.array([by.down, by.right]) * side)
    moved = np.stack([_moved(field, back, offset, nearest) for field in values])
    for x, y in vectors:
        moved[[x, y]] = np.einsum("ij,jhw->ihw", turn, moved[[x, y]])
    return moved


def _moved(
    field: NDArray[np.float32], back: NDArray[Any], offset: NDArray[Any], nearest: bool
) -> NDArray[np.float32]:
    given: dict[str, Any] = {"offset": offset, "order": int(not nearest), "output": np.float32}
    if nearest:
        return affine_transform(field, back, cval=np.nan, **given)
    # Not on NaN itself: even a weight of 0 would spread it.
    known = np.isfinite(field)
    whole = affine_transform(known.astype(np.float32), back, cval=0.0, **given)
    found = affine_transform(np.where(known, field, np.float32(0)), back, cval=0.0, **given)
    return np.where(whole > 1 - 1e-6, found, np.float32(np.nan))
