"""Errors at single cells or observations, and errors of slope and aspect."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import log, sqrt

import numpy as np
import pandas as pd

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

_NMAD = 1.4826


@dataclass(eq=False)
class ErrorSums(Sums):
    """Sums of errors ``e = prediction - truth``.

    Attributes
    ----------
    n
        Cells counted: those where neither field is NaN.
    missing
        Cells left out because only the prediction is NaN. Two products compare fairly only where
        both have a value; this number tells.
    total, absolute, squares
        Sums of ``e``, ``|e|`` and ``e**2``.
    histogram
        Distribution of ``e``.
    """

    n: int = 0
    missing: int = 0
    total: float = 0.0
    absolute: float = 0.0
    squares: float = 0.0
    histogram: Histogram = field(default_factory=Histogram)

    def add(self, prediction: Array, truth: Array, mask: Array | None = None) -> None:
        """Count the cells of a block, or a set of observations.

        Parameters
        ----------
        prediction, truth
            Arrays of any one shape and of the same units; NaN is missing and not counted.
        mask
            True where a cell counts; by default everywhere.

        Raises
        ------
        DataError
            If the shapes differ.
        """
        same_shape(prediction=prediction, truth=truth, mask=mask)
        for rows in strips(prediction.shape):
            given = np.asarray(prediction[rows], dtype=np.float64)
            error = given - np.asarray(truth[rows], dtype=np.float64)
            wanted = ~np.isnan(truth[rows])
            if mask is not None:
                wanted &= np.asarray(mask[rows], dtype=bool)
            self.missing += int(np.count_nonzero(wanted & np.isnan(given)))
            self._count(error[wanted & ~np.isnan(error)])

    def _count(self, error: Floats) -> None:
        self.n += error.size
        self.total += float(error.sum())
        self.absolute += float(np.abs(error).sum())
        self.squares += float(np.square(error).sum())
        self.histogram.add(error)

    def summary(self) -> dict[str, float]:
        """The figures of a table, in the units of the field; NaN if nothing was counted.

        Returns
        -------
        dict
            ``n``, ``missing``; ``rmse``; ``mae``; ``bias``, the mean of ``e``; ``nmad``, 1.4826
            times the median of ``|e - median e|`` (Hoehle & Hoehle 2009); ``le90``, the 90th
            percentile of ``|e|``. The last two are exact to 1e-4 of the largest error in question.
        """
        mean_square = ratio(self.squares, self.n)
        median = self.histogram.quantile(0.5)
        return {
            "n": self.n,
            "missing": self.missing,
            "rmse": sqrt(mean_square),
            "mae": ratio(self.absolute, self.n),
            "bias": ratio(self.total, self.n),
            "nmad": _NMAD * self.histogram.deviation(median, 0.5),
            "le90": self.histogram.deviation(0.0, 0.9),
        }


class ErrorsByClass:
    """Errors apart by a third quantity: distance to the nearest training pick, slope, speed.

    Parameters
    ----------
    edges
        Edges of the classes, ascending; class ``i`` is ``edges[i] <= value < edges[i + 1]``.
        Values beyond the outer edges and NaN belong to no class.

    Raises
    ------
    DataError
        If the edges do not ascend.
    """

    def __init__(self, edges: list[float]) -> None:
        if len(edges) < 2 or any(b <= a for a, b in pairwise(edges)):
            raise DataError(f"edges of classes {edges}", "two or more ascending numbers")
        self.edges = list(edges)
        self.classes = [ErrorSums() for _ in edges[1:]]

    def add(
        self, prediction: Array, truth: Array, values: Array, mask: Array | None = None
    ) -> None:
        """Count cells, each in the class of its value; otherwise as :meth:`ErrorSums.add`."""
        same_shape(prediction=prediction, values=values, mask=mask)
        for (low, high), errors in zip(pairwise(self.edges), self.classes, strict=True):
            inside = (values >= low) & (values < high)
            errors.add(prediction, truth, inside if mask is None else inside & mask)

    def merge(self, other: ErrorsByClass) -> None:
        """Add what another has counted, with the same edges."""
        if self.edges != other.edges:
            raise DataError(f"classes {self.edges} and {other.edges}", "the same edges in both")
        for mine, theirs in zip(self.classes, other.classes, strict=True):
            mine.merge(theirs)

    def summary(self) -> pd.DataFrame:
        """One row a class: its edges ``low`` and ``high``, then as :meth:`ErrorSums.summary`."""
        ends = zip(pairwise(self.edges), self.classes, strict=True)
        return pd.DataFrame([{"low": a, "high": b, **errors.summary()} for (a, b), errors in ends])


def skill(rmse: float, baseline: float) -> float:
    """``1 - rmse / baseline``: 1 is perfect, 0 no better than the baseline; NaN if that is 0."""
    return 1.0 - ratio(rmse, baseline)


def gradient(field: Array, resolution: float) -> tuple[Floats, Floats]:
    """Gradient to the north and to the east by central differences.

    Parameters
    ----------
    field
        Array (row, col), rows from north to south.
    resolution
        Side of a cell; the gradient is per this unit of length.

    Returns
    -------
    tuple
        Two arrays of the same shape. NaN beside a NaN and on the outer ring of cells, so that a
        block read with a halo of 1 gives exactly the cells of its core.
    """
    values = np.asarray(field, dtype=np.float64)
    north, east = np.full_like(values, np.nan), np.full_like(values, np.nan)
    inner = np.s_[1:-1, 1:-1]
    north[inner] = (values[:-2, 1:-1] - values[2:, 1:-1]) / (2 * resolution)
    east[inner] = (values[1:-1, 2:] - values[1:-1, :-2]) / (2 * resolution)
    north[inner][np.isnan(values[inner])] = np.nan
    east[np.isnan(north)], north[np.isnan(east)] = np.nan, np.nan
    return north, east


@dataclass(eq=False)
class SlopeSums(Sums):
    """Errors of slope and of aspect, the direction that a slope faces.

    Parameters
    ----------
    resolution
        Side of a cell. Slopes are in units of the field per unit of it.
    minimum
        Aspect is compared where both slopes exceed this; it has no meaning on the flat.
    """

    resolution: float = fixed()
    minimum: float = fixed()
    slope: ErrorSums = field(default_factory=ErrorSums)
    aspect: ErrorSums = field(default_factory=ErrorSums)
    cosine: float = 0.0
    sine: float = 0.0

    def add(self, prediction: Array, truth: Array, mask: Array | None = None) -> None:
        """Count a block read with a halo of 1 cell: the outer ring gives slopes and is not counted.

        Parameters
        ----------
        prediction, truth
            Arrays (row, col), rows from north to south; NaN is missing, also for the cells beside.
        mask
            True where a cell counts; by default everywhere.
        """
        same_shape(prediction=prediction, truth=truth, mask=mask)
        for rows in strips(prediction.shape, halo=1):
            self._count(prediction[rows], truth[rows], None if mask is None else mask[rows])

    def _count(self, prediction: Array, truth: Array, mask: Array | None) -> None:
        given, wanted = (self._downhill(each) for each in (prediction, truth))
        steep, true = np.abs(given), np.abs(wanted)
        self.slope.add(steep, true, mask)
        turn = np.angle(given * np.conj(wanted))
        turn[(steep <= self.minimum) | (true <= self.minimum)] = np.nan
        counted = ~np.isnan(turn) if mask is None else ~np.isnan(turn) & np.asarray(mask, bool)
        self.aspect.add(np.degrees(turn), np.zeros_like(turn), counted)
        self.cosine += float(np.cos(turn[counted]).sum())
        self.sine += float(np.sin(turn[counted]).sum())

    def _downhill(self, values: Array) -> Array:
        """Direction of steepest descent as a complex number: north is 1, east is i."""
        north, east = gradient(values, self.resolution)
        return -north - 1j * east

    def summary(self) -> dict[str, float]:
        """Slope errors in units of the field per unit of length, aspect errors in degrees.

        Returns
        -------
        dict
            ``n``, ``slope_rmse``, ``slope_bias``; ``n_aspect``; ``aspect_mae``, the mean angle
            between the two directions; ``aspect_bias``, the circular mean of the turn, clockwise
            positive; ``aspect_sd``, the circular SD ``sqrt(-2 ln R)``.
        """
        slope, aspect = self.slope.summary(), self.aspect.summary()
        length = ratio(float(np.hypot(self.cosine, self.sine)), self.aspect.n)
        known = length == length
        return {
            "n": slope["n"],
            "slope_rmse": slope["rmse"],
            "slope_bias": slope["bias"],
            "n_aspect": aspect["n"],
            "aspect_mae": aspect["mae"],
            "aspect_bias": float(np.degrees(np.arctan2(self.sine, self.cosine)))
            if known
            else length,
            "aspect_sd": float(np.degrees(_circular_sd(length))),
        }


def _circular_sd(length: float) -> float:
    """Circular SD (radians) of directions whose mean resultant has this length."""
    if length != length or length >= 1.0:
        return 0.0 * length
    return sqrt(-2.0 * log(length)) if length > 0.0 else float("inf")
