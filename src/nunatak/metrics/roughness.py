"""Texture: roughness as the SD in a moving window, and seams at the boundaries of blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from nunatak.errors import DataError
from nunatak.metrics.accumulate import (
    Array,
    Floats,
    Histogram,
    Sums,
    fixed,
    ratio,
    same_shape,
    strips,
)
from nunatak.metrics.pointwise import ErrorSums


def roughness(field: Array, size: int = 5) -> Floats:
    """SD of a field in a window of ``size`` x ``size`` cells around each cell.

    The SD is that of the window itself (``ddof`` 0), as for the roughness of Leong & Horgan (2020)
    with ``size`` 5. It is the law of total variance over the columns of a window: the mean of
    their variances plus the variance of their means. So no large numbers cancel, and a cell's
    value is the same to the last bit whatever block it is read in.

    Parameters
    ----------
    field
        Array (row, col); NaN is missing.
    size
        Side of the window, odd.

    Returns
    -------
    ndarray
        Array of the same shape, float64, in the units of the field. NaN where the window meets a
        NaN or leaves the array; a block read with a halo of ``size // 2`` gives exactly its core.

    Raises
    ------
    DataError
        If the size is not odd.
    """
    if size < 1 or size % 2 == 0:
        raise DataError(f"roughness window of {size} cells", "an odd number", f"use {size + 1}")
    values = np.asarray(field, dtype=np.float64)
    result = np.full_like(values, np.nan)
    if min(values.shape) < size:
        return result
    means, variances = _moments(values, size, axis=0)
    between = _moments(means, size, axis=1)[1]
    within = _moments(variances, size, axis=1)[0]
    edge = size // 2
    result[edge : values.shape[0] - edge, edge : values.shape[1] - edge] = np.sqrt(within + between)
    return result


def _moments(values: Floats, size: int, axis: int) -> tuple[Floats, Floats]:
    """Mean and variance of every run of ``size`` cells along an axis."""
    runs = np.moveaxis(sliding_window_view(values, size, axis=axis), -1, 0)
    mean = np.zeros(runs.shape[1:])
    for each in runs:
        mean += each
    mean /= size
    variance = np.zeros_like(mean)
    for each in runs:
        variance += np.square(each - mean)
    return mean, variance / size


@dataclass(eq=False)
class RoughnessSums(Sums):
    """Roughness of two fields, and the error of one.

    Parameters
    ----------
    size
        Side of the window in cells, odd.
    """

    size: int = fixed()
    errors: ErrorSums = field(default_factory=ErrorSums)
    prediction: float = 0.0
    truth: float = 0.0
    of_prediction: Histogram = field(default_factory=Histogram)
    of_truth: Histogram = field(default_factory=Histogram)

    def add(self, prediction: Array, truth: Array, mask: Array | None = None) -> None:
        """Count a block read with a halo of ``size // 2`` cells, which is not counted itself.

        Parameters
        ----------
        prediction, truth
            Arrays (row, col) in the same units. A cell counts where neither window meets a NaN.
        mask
            True where a cell counts; by default everywhere.
        """
        same_shape(prediction=prediction, truth=truth, mask=mask)
        for rows in strips(prediction.shape, halo=self.size // 2):
            given, wanted = (roughness(each[rows], self.size) for each in (prediction, truth))
            counted = ~np.isnan(given) & ~np.isnan(wanted)
            if mask is not None:
                counted &= np.asarray(mask[rows], dtype=bool)
            self._count(given[counted], wanted[counted])

    def _count(self, given: Floats, wanted: Floats) -> None:
        self.errors.add(given, wanted)
        self.prediction += float(given.sum())
        self.truth += float(wanted.sum())
        self.of_prediction.add(given)
        self.of_truth.add(wanted)

    def summary(self) -> dict[str, float]:
        """The figures of a table, in the units of the field; NaN if nothing was counted.

        Returns
        -------
        dict
            ``n``; ``prediction`` and ``truth``, the mean roughness of each; ``bias`` and ``rmse``
            of roughness; ``ratio`` of the means; ``distance``, Wasserstein-1 between the two
            distributions of roughness.
        """
        errors = self.errors.summary()
        return {
            "n": errors["n"],
            "prediction": ratio(self.prediction, self.errors.n),
            "truth": ratio(self.truth, self.errors.n),
            "bias": errors["bias"],
            "rmse": errors["rmse"],
            "ratio": ratio(self.prediction, self.truth),
            "distance": self.of_prediction.distance(self.of_truth),
        }


Lines = tuple[Iterable[int], Iterable[int]]


@dataclass(eq=False)
class SeamSums(Sums):
    """Whether the boundaries of blocks can be seen: the jump of the gradient there and elsewhere.

    The jump at a cell is ``|z[i+1] - 2 z[i] + z[i-1]|``. A step or a kink at a boundary raises it
    in the two cells on either side; where blocks meet without a seam the ratio is 1.

    Parameters
    ----------
    resolution
        Side of a cell; jumps are in units of the field per unit of it.
    """

    resolution: float = fixed()
    n_seam: int = 0
    n_interior: int = 0
    seam: float = 0.0
    interior: float = 0.0

    def add(self, field: Array, seams: Lines, interior: Lines | None = None) -> None:
        """Count a block read with a halo of 1 cell, which is not counted itself.

        Parameters
        ----------
        field
            Array (row, col); NaN is missing.
        seams
            Rows and columns that begin a block, in cells of this array (1 is its core's first).
        interior
            Rows and columns to compare with; by default all that are not seams. For a product
            with constrained block means these are the lines between coarse cells, which have a
            texture of their own.
        """
        values = np.asarray(field, dtype=np.float64)
        for axis in (0, 1):
            jump = np.abs(np.diff(values, n=2, axis=axis))
            jump = (jump[:, 1:-1] if axis == 0 else jump[1:-1].T) / self.resolution
            at = _beside(seams[axis], values.shape[axis])
            others = None if interior is None else _beside(interior[axis], values.shape[axis])
            self._count(jump, at, ~at if others is None else others & ~at)

    def _count(self, jump: Floats, at: NDArray[np.bool_], others: NDArray[np.bool_]) -> None:
        for name, rows in (("seam", at), ("interior", others)):
            found = jump[rows[1:-1]]
            found = found[~np.isnan(found)]
            setattr(self, name, getattr(self, name) + float(found.sum()))
            setattr(self, f"n_{name}", getattr(self, f"n_{name}") + found.size)

    def summary(self) -> dict[str, float]:
        """Mean jump at ``seam`` and ``interior``, their ``ratio``, and how many jumps of each."""
        seam, interior = ratio(self.seam, self.n_seam), ratio(self.interior, self.n_interior)
        return {
            "n_seam": self.n_seam,
            "n_interior": self.n_interior,
            "seam": seam,
            "interior": interior,
            "ratio": ratio(seam, interior),
        }


def _beside(lines: Iterable[int], length: int) -> NDArray[np.bool_]:
    """The cells on either side of lines, each named by the cell that it comes before."""
    first = np.fromiter(lines, dtype=np.int64)
    cells = np.concatenate([first - 1, first])
    found = np.zeros(length, dtype=bool)
    found[cells[(cells >= 0) & (cells < length)]] = True
    return found
