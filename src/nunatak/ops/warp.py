"""Warping a window of a source onto a grid, with a result that does not depend on the block."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from nunatak.errors import DataError
from nunatak.grid import Window
from nunatak.ops.footprint import coincident, needed, parallel, points, scale, turn, turned
from nunatak.ops.resample import REACH, Line, most_common, resample, resample_along
from nunatak.sources.raster import Raster, Sampler

_MOST_CELLS = 1 << 24
_MOST_POINTS = 1 << 18
_FINEST = 16


def warp(raster: Raster, variable: str, to: GeoBox, resampling: str) -> NDArray[np.float32]:
    """Values of a variable on a grid.

    Only the part of the source that the grid needs is read, at most 64 MiB at a time. A cell's
    value depends on the source and on the cell alone, never on the extent of ``to``: two halves
    warped apart equal the whole. A geographic source is a circle, whose seam a grid may cross.

    - On a grid that coincides with the source's, the values are copied unchanged.
    - Within a CRS, kernels act along rows and columns. Where the source is the finer one, those of
      bilinear, cubic, cubic_spline and lanczos widen by the ratio of the resolutions; average
      weighs the source's cells by the area that a target cell covers of them. So does GDAL.
    - Between CRSs, the position of every cell is computed exactly (GDAL, as rasterio calls it, is
      off by up to 1/8 cell, differently in every block). Where the source is the finer one, and for
      average, a cell is the mean over a lattice of points in it, about two for each cell of the
      source along a side, at most 16; a degree counts as it does on the equator.
    - mode is the most common of such a lattice, within a CRS too.

    Missing cells do not spread: the others count with their weights renormalised (bilinearly, where
    a wider kernel lacks a cell), and a position in a missing cell of the source is missing.
    Components of a vector are warped as they are: between CRSs they are **not** rotated.

    Parameters
    ----------
    raster
        The source.
    variable
        Its variable.
    to
        The grid; it may reach beyond the source.
    resampling
        nearest, bilinear, cubic, cubic_spline, lanczos, average or mode.

    Returns
    -------
    ndarray
        Rows and columns of ``to``, units of the file, NaN where missing or outside the source.

    Raises
    ------
    DataError
        If the resampling is not known.
    """
    if resampling not in REACH:
        raise DataError(f"unknown resampling {resampling!r}", f"one of {', '.join(REACH)}")
    if raster.geobox is None:
        assert isinstance(raster, Sampler)
        return raster.sample(variable, to)
    box = turned(raster.geobox, to)
    copied = coincident(box, to)
    if copied is not None:
        return _take(raster, box, variable, copied)
    return _warp(raster, box, variable, to, resampling)


def surrounding(raster: Raster, variable: str, to: GeoBox) -> NDArray[np.float32]:
    """The source's own cells that lie in a grid's extent, or within a kernel's reach of it.

    Parameters
    ----------
    raster
        A source with a grid.
    variable
        Its variable.
    to
        The grid; it may reach beyond the source.

    Returns
    -------
    ndarray
        Units of the file, NaN where missing or beyond the source; empty if the two do not meet.
    """
    assert raster.geobox is not None
    box = turned(raster.geobox, to)
    window = needed(box, to, "lanczos")
    if min(window.shape) <= 0:
        return np.empty((0, 0), np.float32)
    return _take(raster, box, variable, window)


def _warp(
    raster: Raster, box: GeoBox, variable: str, to: GeoBox, resampling: str
) -> NDArray[np.float32]:
    """Warp in one piece, or in halves if one piece would read too much."""
    result = np.full(to.shape, np.nan, np.float32)
    window = needed(box, to, resampling)
    rows, cols = window.shape
    if min(rows, cols) <= 0:
        return result
    longest = max(to.shape)
    if rows * cols > _MOST_CELLS and longest > 1:
        for half in (slice(0, longest // 2), slice(longest // 2, longest)):
            part = (half, slice(None)) if to.shape[0] == longest else (slice(None), half)
            result[part] = _warp(raster, box, variable, to[part], resampling)
        return result
    values = _take(raster, box, variable, window)
    if np.isnan(values).all():
        return result
    if parallel(box, to) and resampling != "mode":
        return _aligned(values, box, window, to, resampling)
    strip = max(1, _MOST_POINTS // to.shape[1])
    for top in range(0, to.shape[0], strip):
        lines = slice(top, min(top + strip, to.shape[0]))
        result[lines] = _across(values, box, window, to[lines, :], resampling)
    return result


def _aligned(
    values: NDArray[np.float32], box: GeoBox, window: Window, to: GeoBox, resampling: str
) -> NDArray[np.float32]:
    """Resample within one CRS, along the axes that the two grids share."""
    move = ~box.affine * to.affine
    rows = Line(move.f - window.top, move.e, to.shape[0], window.shape[0])
    cols = Line(move.c - window.left, move.a, to.shape[1], window.shape[1])
    return resample_along(values, rows, cols, resampling)


def _across(
    values: NDArray[np.float32], box: GeoBox, window: Window, to: GeoBox, resampling: str
) -> NDArray[np.float32]:
    """Resample between CRSs at the centres of the cells, or over a lattice of points in each."""
    around = turn(box) or 0
    ratio = 1 / min(scale(box, to))
    cover = resampling in ("average", "mode")
    method = "nearest" if cover else resampling
    count = 1 if resampling == "nearest" or (ratio == 1 and not cover) else ceil(2 * ratio)
    samples = (
        resample(values, row - window.top, col - window.left, method, around)
        for row, col in points(box, to, min(count, _FINEST))
    )
    if resampling == "mode":
        return most_common(np.stack(list(samples)))
    total, valid = np.zeros(to.shape), np.zeros(to.shape, int)
    for sample in samples:
        total += np.nan_to_num(sample)
        valid += ~np.isnan(sample)
    with np.errstate(invalid="ignore"):
        return (total / valid).astype(np.float32)


def _take(raster: Raster, box: GeoBox, variable: str, window: Window) -> NDArray[np.float32]:
    """Read a window that may reach beyond the raster, or around the circle; NaN beyond."""
    rows, cols = box.shape
    around = turn(box)
    turns = range(floor(window.left / around), ceil(window.right / around)) if around else range(1)
    result = np.full(window.shape, np.nan, np.float32)
    for count in turns:
        shift = count * (around or 0)
        there = Window(window.top, window.bottom, window.left - shift, window.right - shift)
        part = there.clip((rows, min(cols, around or cols)))
        if part == there:
            return raster.read(variable, part)
        if min(part.shape) > 0:
            result[part.within(there).slices] = raster.read(variable, part)
    return result
