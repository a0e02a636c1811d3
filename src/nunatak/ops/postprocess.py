"""Constraints on a blended product, block by block; each acts within a coarse cell only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nunatak.ops.degrade import cells_of, repeat


def block_mean(
    field: NDArray[np.float32], coarse: NDArray[np.float32], scale: int, other: None
) -> NDArray[np.float32]:
    """Shift the fine cells of each coarse cell so that their mean is the coarse value.

    Parameters
    ----------
    field
        (rows * scale, columns * scale), NaN where missing.
    coarse
        (rows, columns), NaN where missing: there the field is left alone.
    scale
        Fine cells along the side of a coarse cell.
    other
        Not used.
    """
    del other
    mean = cells_of(field, scale).mean(axis=-1, dtype=np.float64)
    shift = np.nan_to_num(coarse - mean, nan=0.0)
    return (field + repeat(shift, scale)).astype(np.float32)


def below(
    field: NDArray[np.float32],
    coarse: NDArray[np.float32],
    scale: int,
    other: NDArray[np.float32],
    *,
    gap: float = 0.0,
) -> NDArray[np.float32]:
    """Keep the field below another one: a bed below its ice surface, so no thickness is negative.

    ``other`` lies on the fine grid; where it is missing the field is left alone. ``gap`` is the
    least difference (units of the field).
    """
    del coarse, scale
    held = np.where(np.isnan(field), np.nan, np.fmin(field, other - np.float32(gap)))
    return held.astype(np.float32)
