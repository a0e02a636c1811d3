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


def known(
    field: NDArray[np.float32],
    coarse: NDArray[np.float32],
    scale: int,
    other: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Missing where another field is missing: land, where that is a field of the ocean.

    ``other`` lies on the fine grid. A coarse cell at a coast is the mean of its ocean alone.
    """
    del coarse, scale
    return np.where(np.isnan(other), np.float32(np.nan), field)


def block_mean_above(
    field: NDArray[np.float32],
    coarse: NDArray[np.float32],
    scale: int,
    other: None,
    *,
    least: float = 0.0,
) -> NDArray[np.float32]:
    """Closest field whose block means are the coarse values and that is nowhere below ``least``.

    In each coarse cell a constant is taken away and what falls below ``least`` is raised to it, so
    that the mean is kept: the least sum of squared changes that does it, by the method of Duchi et
    al. 2008, doi 10.1145/1390156.1390191. A truth that has these two properties is never farther
    from the result than from the field. Where the coarse value is ``least``, an ice thickness of 0,
    all fine cells are.

    Parameters
    ----------
    field
        (rows * scale, columns * scale). Coarse cells with a missing fine cell are left alone.
    coarse
        (rows, columns), NaN where missing: there the field is left alone. Values below ``least``
        count as ``least``.
    scale
        Fine cells along the side of a coarse cell.
    other
        Not used.
    least
        Least value (units of the field).
    """
    del other
    cells = cells_of(field, scale).astype(np.float64) - least
    wanted = np.maximum(coarse.astype(np.float64) - least, 0) * scale**2
    ordered = -np.sort(-cells, axis=-1)
    rank = np.arange(1, scale**2 + 1)
    taken = (np.cumsum(ordered, axis=-1) - wanted[..., None]) / rank
    with np.errstate(invalid="ignore"):
        kept = np.maximum((ordered > taken).sum(axis=-1), 1)
        constant = np.take_along_axis(taken, kept[..., None] - 1, axis=-1)
        held = np.where(wanted[..., None] > 0, np.maximum(cells - constant, 0), 0) + least
    known = np.isfinite(cells).all(axis=-1) & np.isfinite(coarse)
    held = np.where(known[..., None], held, cells_of(field, scale))
    return _fine(held, scale).astype(np.float32)


def _fine(cells: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """Undo `cells_of`."""
    rows, cols, _ = cells.shape
    split = cells.reshape(rows, cols, scale, scale).swapaxes(1, 2)
    return split.reshape(rows * scale, cols * scale)
