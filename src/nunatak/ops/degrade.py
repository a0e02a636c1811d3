"""Coarse from fine: the operators that a recipe may name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cells_of(fine: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """View a fine field as (rows, columns, scale * scale), the fine cells of each coarse cell."""
    rows, cols = fine.shape[0] // scale, fine.shape[1] // scale
    split = fine.reshape(rows, scale, cols, scale)
    return split.swapaxes(1, 2).reshape(rows, cols, scale * scale)


def repeat(coarse: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Give every fine cell the value of its coarse cell."""
    return coarse.repeat(scale, axis=-2).repeat(scale, axis=-1)


def block_mean(
    fine: NDArray[np.float32], scale: int, *, min_valid: float = 0.5
) -> NDArray[np.float32]:
    """Mean of the valid fine cells of each coarse cell; conserves the mean of a field without gaps.

    Parameters
    ----------
    fine
        (rows * scale, columns * scale), NaN where missing.
    scale
        Fine cells along the side of a coarse cell.
    min_valid
        Share of valid fine cells below which the coarse cell is missing.

    Returns
    -------
    ndarray
        (rows, columns), float32, NaN where missing.
    """
    cells = cells_of(fine, scale)
    valid = np.isfinite(cells)
    count = valid.sum(axis=-1)
    total = np.where(valid, cells, 0).sum(axis=-1, dtype=np.float64)
    enough = count >= max(1.0, min_valid * scale * scale)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=enough)
    return np.asarray(mean, dtype=np.float32)


def pair(coarse: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Pass a real coarse field through: it is on the coarse grid already."""
    del scale
    return coarse
