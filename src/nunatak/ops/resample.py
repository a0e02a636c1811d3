"""Local kernels that missing cells do not spoil: at any positions, or along the axes of a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any, TypeVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

Positions = NDArray[np.float64]
Field = NDArray[np.float32]
Cells = NDArray[np.int64]
Weights = scipy.sparse.csr_array
T = TypeVar("T", bound=np.generic)

_TIE = 1e-7
_WHOLE = 1 - 1e-6
_STRIP = 1 << 18
_SIMPLE = ("average", "bilinear")


def _linear(d: Positions) -> Positions:
    return np.maximum(1 - d, 0)


def _cubic(d: Positions) -> Positions:
    near, far = 1 - 2.5 * d**2 + 1.5 * d**3, 2 - 4 * d + 2.5 * d**2 - 0.5 * d**3
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


def _spline(d: Positions) -> Positions:
    return np.where(d < 1, 2 / 3 - d**2 + d**3 / 2, np.maximum(2 - d, 0) ** 3 / 6)


def _lanczos(d: Positions) -> Positions:
    return np.where(d < 3, np.sinc(d) * np.sinc(d / 3), 0.0)


_KERNELS: dict[str, tuple[int, Callable[[Positions], Positions]]] = {
    "bilinear": (1, _linear),
    "cubic": (2, _cubic),
    "cubic_spline": (2, _spline),
    "lanczos": (3, _lanczos),
}
REACH = {"nearest": 1, "average": 1, "mode": 1} | {name: r for name, (r, _) in _KERNELS.items()}


def resample(values: Field, row: Positions, col: Positions, method: str, around: int = 0) -> Field:
    """Interpolate a field at positions counted in its cells.

    Parameters
    ----------
    values
        Rows and columns; NaN where missing. Beyond its edge the field goes on as it ends, so that a
        field framed by NaN is missing there.
    row, col
        Positions, of one shape; the first cell runs from 0 to 1 and its centre is at 0.5.
        NaN or infinite where there is none.
    method
        nearest, bilinear, cubic (convolution, a = -1/2), cubic_spline (approximating B-spline) or
        lanczos (of 3 cells).
    around
        If not 0, columns are counted around a circle of that many.

    Returns
    -------
    ndarray
        Of the shape of ``row``. NaN where the cell at the position is missing. Missing neighbours
        count as absent: bilinear weights are renormalised over the others, and where a wider kernel
        lacks a cell the value is the bilinear one.
    """
    usable = np.isfinite(row) & np.isfinite(col)
    row, col = np.where(usable, row, 0.0), np.where(usable, col, 0.0)
    nearest = _cells(values, _floor(row + _TIE), _floor(col + _TIE), around)
    nearest[~usable] = np.nan
    if method == "nearest":
        return nearest
    result, _ = _mean(values, row, col, "bilinear", around)
    if method != "bilinear":
        wide, whole = _mean(values, row, col, method, around)
        result[whole] = wide[whole]
    result[np.isnan(nearest)] = np.nan
    return result


def _floor(position: Positions) -> NDArray[np.int64]:
    return np.floor(position).astype(np.int64)


def _cells(values: Field, row: NDArray[np.int64], col: NDArray[np.int64], around: int) -> Field:
    """Values of cells, of the outermost ones for those beyond."""
    rows, cols = values.shape
    col = col % around if around else col
    place = np.clip(row, 0, rows - 1) * cols + np.clip(col, 0, cols - 1)
    found: Field = values.ravel().take(place)
    return found


def _mean(
    values: Field, row: Positions, col: Positions, method: str, around: int
) -> tuple[Field, NDArray[np.bool_]]:
    """Weighted mean of the valid cells under a kernel, and whether all of them are valid."""
    reach, kernel = _KERNELS[method]
    top, left = _floor(row - 0.5), _floor(col - 0.5)
    taps = range(1 - reach, reach + 1)
    down, across = (
        [kernel(np.abs(p - 0.5 - first - tap)) for tap in taps]
        for p, first in ((row, top), (col, left))
    )
    total, weight = np.zeros(row.shape), np.zeros(row.shape)
    whole = np.ones(row.shape, bool)
    for i, y in zip(taps, down, strict=True):
        for j, x in zip(taps, across, strict=True):
            value = _cells(values, top + i, left + j, around)
            valid = ~np.isnan(value)
            share = y * x * valid
            total += share * np.where(valid, value, 0)
            weight += share
            whole &= valid
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / weight).astype(np.float32), whole


@dataclass(frozen=True)
class Line:
    """Cells of a target along one axis of a source.

    Parameters
    ----------
    start
        Where the first target cell begins, counted in cells of the source.
    step
        Size of a target cell in cells of the source.
    count
        How many target cells there are.
    size
        How many cells the source has.
    """

    start: float
    step: float
    count: int
    size: int

    @cached_property
    def _centres(self) -> tuple[NDArray[np.int64], Positions]:
        """Cells that the centres are in, and where in them, the same whatever the start."""
        centres = self.start + self.step * (np.arange(self.count, dtype=np.float64) + 0.5)
        cells = _floor(centres + _TIE)
        return cells, np.round(centres - cells, 9)

    @property
    def nearest(self) -> NDArray[np.int64]:
        """The cell of the source at every centre; those beyond its edge are its outermost."""
        return np.clip(self._centres[0], 0, self.size - 1)

    def weights(self, method: str) -> Weights:
        """Weights of the source's cells for every target cell: (count, size), rows that sum to 1.

        Weights of cells beyond the source go to its outermost.
        """
        cells, inside = self._centres
        wide = max(self.step, 1.0)
        reach = self.step / 2 if method == "average" else _KERNELS[method][0] * wide
        taps = np.arange(-ceil(reach) - 1, ceil(reach) + 2)
        away = taps + 0.5 - inside[:, None]
        if method == "average":
            ends = np.clip(away[..., None] + (-0.5, 0.5), -reach, reach)
            share = ends[..., 1] - ends[..., 0]
        else:
            share = _KERNELS[method][1](np.abs(away) / wide)
        share /= share.sum(1, keepdims=True)
        place = np.clip(cells[:, None] + taps, 0, self.size - 1)
        used = np.abs(share) > 1e-9
        row = np.nonzero(used)[0]
        parts = share[used].astype(np.float32), (row, place[used])
        return scipy.sparse.csr_array(parts, shape=(self.count, self.size))


@dataclass(frozen=True, eq=False)
class _Kernel:
    """Weights of the source's cells along both axes, for all rows of a target or some."""

    down: Weights
    across: Weights
    finer: bool

    @classmethod
    def of(cls, rows: Line, cols: Line, method: str) -> _Kernel:
        return cls(rows.weights(method), cols.weights(method), cols.step < 1)

    def part(self, lines: slice, needs: slice) -> _Kernel:
        """The weights of some rows of the target for those rows of the source that they need."""
        return _Kernel(self.down[lines, needs], self.across, self.finer)

    def touched(self, cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where any of some cells has a weight."""
        down, across = (_pattern(weights) for weights in (self.down, self.across))
        found: NDArray[np.bool_] = _Kernel(down, across, self.finer).mean(cells) > 0
        return found

    def mean(self, values: NDArray[Any]) -> Field:
        """``down @ values @ across.T``, turning whichever is smaller, the field or the result."""
        plain = np.asarray(values, np.float32)
        if self.finer:
            turned = self.across @ np.ascontiguousarray(plain.T)
            result: Field = self.down @ np.ascontiguousarray(turned.T)
            return result
        turned = self.across @ np.ascontiguousarray((self.down @ plain).T)
        return np.ascontiguousarray(turned.T)


def resample_along(values: Field, rows: Line, cols: Line, method: str) -> Field:
    """Resample a field onto a grid along its own axes.

    Parameters
    ----------
    values
        Rows and columns; NaN where missing. Beyond its edge the field goes on as it ends.
    rows, cols
        The target's cells along both axes.
    method
        nearest, average (weighed by the area that a target cell covers), or a kernel of `resample`;
        kernels widen by the step where that is more than one cell.

    Returns
    -------
    ndarray
        Rows and columns of the target. NaN where the cell at the centre is missing, for average
        where all cells are. Missing cells count as absent: weights are renormalised over the
        others, and where a kernel wider than bilinear lacks a cell the value is the bilinear one.
    """
    if method == "nearest":
        return _at(values, rows.nearest, cols.nearest)
    kernel = _Kernel.of(rows, cols, method)
    simple = kernel if method in _SIMPLE else _Kernel.of(rows, cols, "bilinear")
    result = np.empty((rows.count, cols.count), np.float32)
    for lines, needs in _strips(kernel.down, max(cols.count, ceil(cols.size * rows.step))):
        part, first = values[needs], rows.nearest[lines] - needs.start
        centres = None if method == "average" else (first, cols.nearest)
        kernels = [k.part(lines, needs) for k in dict.fromkeys((simple, kernel))]
        result[lines] = _strip(part, centres, *kernels)
    return result


def _strip(
    values: Field, centres: tuple[Cells, Cells] | None, simple: _Kernel, wide: _Kernel | None = None
) -> Field | np.float32:
    """Weighted means; those of a wide kernel where no cell of it is missing."""
    missing = np.isnan(values)
    if missing.all():
        return np.float32(np.nan)
    if not missing.any():
        return (wide or simple).mean(values)
    filled = np.where(missing, np.float32(0), values)
    result, weight = simple.mean(filled), simple.mean(~missing)
    np.copyto(weight, np.nan, where=weight <= 1 - _WHOLE)
    np.divide(result, weight, out=result, where=~(weight >= _WHOLE))
    if wide is not None:
        np.copyto(result, wide.mean(filled), where=~wide.touched(missing))
    if centres is not None:
        np.copyto(result, np.nan, where=_at(missing, *centres))
    return result


def _strips(down: Weights, width: int) -> Iterator[tuple[slice, slice]]:
    """Rows of the target, as many as a cache holds at ``width`` cells a row, and what they need."""
    for top in range(0, down.shape[0], step := max(1, _STRIP // width)):
        lines = slice(top, min(top + step, down.shape[0]))
        used = down.indices[down.indptr[lines.start] : down.indptr[lines.stop]]
        yield lines, slice(int(used.min()), int(used.max()) + 1)


def _at(values: NDArray[T], rows: Cells, cols: Cells) -> NDArray[T]:
    """Values where rows and columns cross."""
    return values.take(cols, axis=1).take(rows, axis=0)


def _pattern(weights: Weights) -> Weights:
    ones = np.ones(weights.nnz, np.float32)
    return scipy.sparse.csr_array((ones, weights.indices, weights.indptr), shape=weights.shape)


def most_common(samples: Field) -> Field:
    """The value that occurs most often along the first axis, the least of those that tie.

    NaN does not count, and is the answer where there is nothing else.
    """
    ordered = np.sort(samples, axis=0)
    best: Field = ordered[0]
    most, run = np.zeros(best.shape, int), np.zeros(best.shape, int)
    for before, value in zip(ordered[[0, *range(len(ordered) - 1)]], ordered, strict=True):
        run = np.where(value == before, run + 1, 1) * ~np.isnan(value)
        best, most = np.where(run > most, value, best), np.maximum(run, most)
    return best
