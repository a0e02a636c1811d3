"""Coarse from fine: the operators that a recipe may name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from inspect import signature
from itertools import product
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nunatak.errors import ConfigError
from nunatak.registry import DEGRADE

# A cubic spline's weights fall by 0.27 a cell: those left out are below 1e-8.
_REACH = 16
_AROUND = {"spline": _REACH}


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


# What it asks for unless a recipe says otherwise.
LEAST_VALID: float = signature(block_mean).parameters["min_valid"].default


def pair(coarse: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Pass a real coarse field through: it is on the coarse grid already."""
    del scale
    return coarse


def identity(fine: NDArray[np.float32], scale: int, *, variable: str) -> NDArray[np.float32]:
    """Take a variable of the role as it lies there: for recipes whose input is no coarse field.

    It is read from the role's own store, so that no job makes it again.

    Parameters
    ----------
    fine
        (rows, columns).
    scale
        1.
    variable
        Which variable of the role.
    """
    del scale, variable
    return fine


def spline(fine: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Values of the cubic spline through the fine cells at the centres of the coarse ones.

    Nothing is averaged: what `scipy.ndimage.zoom` of order 3 does (``grid_mode``), with the same
    weights for every coarse cell, so that neither blocks nor tiles have edges. Missing fine cells
    and those beyond the domain are left out and the weights of the others sum to 1; where one of
    those nearest the centre is missing, so is the coarse cell.

    Parameters
    ----------
    fine
        (rows * scale, columns * scale), with `surroundings` coarse cells on every side.
    scale
        Fine cells along the side of a coarse cell.
    """
    weights, near = _weights(scale)
    valid = np.isfinite(fine)
    total = _along(np.where(valid, fine, 0).astype(np.float64), weights, scale)
    share = _along(valid.astype(np.float64), weights, scale)
    known = _along(valid.astype(np.float64), near, scale) > 1 - 1e-9
    edge = surroundings("spline", scale)
    inner = slice(edge, -edge)
    value = np.divide(total, share, out=np.full(total.shape, np.nan), where=known)
    return np.asarray(value[inner, inner], dtype=np.float32)


def tile_zoom(
    fine: NDArray[np.float32], scale: int, *, tile: int, cells: int
) -> NDArray[np.float32]:
    """Each tile zoomed to fewer cells and back by cubic splines, apart from all others.

    What DeepIceSheetDS calls bicubic, to repeat its figures: the coarse field lies on the fine grid
    (a scale of 1), knows the corner cells of each tile as they are, and breaks where tiles meet.

    Parameters
    ----------
    fine
        (rows, columns), whole tiles; a tile with a missing cell is missing.
    scale
        1.
    tile
        Fine cells along the side of a tile.
    cells
        Cells along its side that it is zoomed to.

    Returns
    -------
    ndarray
        (rows, columns), float32.

    Raises
    ------
    ConfigError
        If the scale is not 1, or the field is not of whole tiles.
    """
    rows, cols = fine.shape
    if scale != 1 or rows % tile or cols % tile:
        raise ConfigError(
            f"tile_zoom: {rows} x {cols} cells at scale {scale}",
            f"whole tiles of {tile} x {tile} cells, at scale 1",
            "set grid.scale to 1, and grid.bounds and grid.block to whole tiles",
        )
    coarse = np.full(fine.shape, np.nan, dtype=np.float32)
    for row, col in product(range(0, rows, tile), range(0, cols, tile)):
        at = slice(row, row + tile), slice(col, col + tile)
        if np.isfinite(fine[at]).all():
            small = ndimage.zoom(fine[at].astype(np.float64), cells / tile, mode="mirror")
            coarse[at] = ndimage.zoom(small, tile / cells, mode="mirror")
    return coarse


@lru_cache(maxsize=16)
def _weights(scale: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the fine cells around a coarse cell's centre, and those of the nearest alone.

    They begin `surroundings` coarse cells before the coarse cell.
    """
    size = (2 * surroundings("spline", scale) + 1) * scale
    away = np.abs(np.arange(size) - (size - 1) / 2)
    weights = np.where(away <= _REACH, _cardinal(away), 0)
    near = (away < 1).astype(np.float64)
    return weights / weights.sum(), near / near.sum()


def _cardinal(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic spline that is 1 at 0 and 0 at all other whole numbers.

    Unser 1999, doi 10.1109/79.799930: B-splines weighed by a filter with one pole.
    """
    pole = np.sqrt(3) - 2
    steps = np.arange(-2 * _REACH, 2 * _REACH + 1)
    far = np.abs(x[:, None] - steps)
    inner, outer = 2 / 3 - far**2 + far**3 / 2, (2 - far).clip(0) ** 3 / 6
    cardinal: NDArray[np.float64] = np.where(far < 1, inner, outer) @ pole ** np.abs(steps)
    return cardinal * 3**0.5


def _along(
    field: NDArray[np.float64], weights: NDArray[np.float64], scale: int
) -> NDArray[np.float64]:
    """Weighted sums around every coarse cell, along both axes; beyond the field there is 0."""
    for axis in (0, 1):
        moved = np.moveaxis(field, axis, 0)
        half = (weights.size - scale) // 2
        padded = np.pad(moved, ((half, half), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, weights.size, axis=0)[::scale]
        field = np.moveaxis(windows @ weights, 0, axis)
    return field


def surroundings(op: str, scale: int) -> int:
    """Coarse cells around a window of fine ones that a degrade operation reads."""
    return ceil(_AROUND.get(op, 0) / scale)


def degraded(
    fine: NDArray[np.float32], scale: int, op: str, args: Mapping[str, Any]
) -> NDArray[np.float32]:
    """Apply a degrade operation by its name.

    Parameters
    ----------
    fine
        (rows * scale, columns * scale), with `surroundings` coarse cells on every side; NaN where
        missing.
    scale
        Fine cells along the side of a coarse cell.
    op, args
        The operation.

    Returns
    -------
    ndarray
        (rows, columns) without the surroundings.
    """
    coarse: NDArray[np.float32] = DEGRADE.call(op, args, fine, scale)
    return coarse


def resample(field: NDArray[np.float32], ratio: int, scale: int) -> NDArray[np.float32]:
    """Bring a field with ``ratio`` cells a coarse cell to ``scale``, by repeating or averaging.

    Where neither divides the other, the field is repeated to a common grid and averaged.
    """
    common = int(np.lcm(ratio, scale))
    finest = repeat(field, common // ratio)
    return np.asarray(cells_of(finest, common // scale).mean(axis=-1), dtype=np.float32)
