"""Errors of images of many days: pooled and day by day, by cell, in the tails, at stations."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from nunatak.metrics.accumulate import Array, Floats, Sums, fixed, ratio, same_shape

# Less variance than this share of the mean square is what rounding leaves.
_ROUNDING = 1e-12


@dataclass(eq=False)
class PairSums(Sums):
    """Sums of pairs of values, for their errors and their correlation.

    Attributes
    ----------
    n, missing
        Pairs counted, and those left out because only the prediction is NaN.
    total, absolute, squares
        Sums of ``e = prediction - truth``, ``|e|`` and ``e**2``.
    moments
        Sums of prediction, truth, their squares and their product.
    """

    n: int = 0
    missing: int = 0
    total: float = 0.0
    absolute: float = 0.0
    squares: float = 0.0
    moments: Floats = field(default_factory=lambda: np.zeros(5))

    def add(self, prediction: Array, truth: Array) -> None:
        """Count arrays of one shape; NaN is missing and in no sum.

        Raises
        ------
        DataError
            If the shapes differ.
        """
        same_shape(prediction=prediction, truth=truth)
        wanted = ~np.isnan(truth)
        known = wanted & ~np.isnan(prediction)
        p, t = (np.asarray(each[known], dtype=np.float64) for each in (prediction, truth))
        self.n += p.size
        self.missing += int(np.count_nonzero(wanted)) - p.size
        self.total += float((p - t).sum())
        self.absolute += float(np.abs(p - t).sum())
        self.squares += float(np.square(p - t).sum())
        self.moments = self.moments + np.array([p.sum(), t.sum(), p @ p, t @ t, p @ t])

    @property
    def rmse(self) -> float:
        """Root of the mean squared error; NaN if nothing was counted."""
        return sqrt(ratio(self.squares, self.n))

    @property
    def bias(self) -> float:
        """Mean error; NaN if nothing was counted."""
        return ratio(self.total, self.n)

    @property
    def correlation(self) -> float:
        """Correlation of the pairs; NaN of fewer than three, or if either does not vary."""
        p, t, pp, tt, pt = self.moments / max(self.n, 1)
        spread = pp - p * p, tt - t * t
        varies = spread[0] > _ROUNDING * pp and spread[1] > _ROUNDING * tt
        if self.n < 3 or not varies:
            return float("nan")
        return float((pt - p * t) / sqrt(spread[0] * spread[1]))

    def summary(self) -> dict[str, float]:
        """``n``, ``missing``, ``rmse``, ``mae`` and ``bias``, in units of the field."""
        return {
            "n": self.n,
            "missing": self.missing,
            "rmse": self.rmse,
            "mae": ratio(self.absolute, self.n),
            "bias": self.bias,
        }


@dataclass(eq=False)
class DaySums(PairSums):
    """Errors of images, pooled and day by day.

    Attributes
    ----------
    days
        Images with a cell counted.
    roots
        Sum of the RMSE of each.
    land_values
        Cells on land that have a value in the prediction.
    """

    days: int = 0
    roots: float = 0.0
    land_values: int = 0

    def add_day(self, prediction: Array, truth: Array, sea: Array) -> None:
        """Count one image (rows, columns).

        Parameters
        ----------
        prediction, truth
            NaN where missing.
        sea
            True where the truth has a value on any day: the rest is land.
        """
        image = PairSums()
        image.add(prediction, truth)
        PairSums.add(self, prediction, truth)
        self.days += int(image.n > 0)
        self.roots += image.rmse if image.n else 0.0
        self.land_values += int(np.count_nonzero(~np.isnan(prediction) & ~sea))

    def summary(self) -> dict[str, float]:
        """The figures of a table, in units of the field.

        Returns
        -------
        dict
            ``days``; ``n``, ``missing``, ``land_values``; ``mrmse``, the mean over days of the RMSE
            of each image; ``rmse``, ``mae``, ``bias`` of all cells of all days together.
        """
        pooled = super().summary()
        counts = {name: pooled.pop(name) for name in ("n", "missing")}
        mean = ratio(self.roots, self.days)
        land = self.land_values
        return {"days": self.days, **counts, "land_values": land, "mrmse": mean, **pooled}


@dataclass(eq=False)
class TailSums(Sums):
    """Errors where the truth is warmer, or colder, than nearly always."""

    warm: PairSums = field(default_factory=PairSums)
    cold: PairSums = field(default_factory=PairSums)

    def add(self, prediction: Array, truth: Array, ends: tuple[float, float]) -> None:
        """Count an image: cells whose truth is below the first end or above the second."""
        for sums, within in ((self.cold, truth < ends[0]), (self.warm, truth > ends[1])):
            sums.add(prediction[within], truth[within])

    def summary(self) -> dict[str, float]:
        """RMSE and bias of either, as ``warm_rmse`` and so on; NaN if nothing was counted."""
        return {
            "warm_rmse": self.warm.rmse,
            "warm_bias": self.warm.bias,
            "cold_rmse": self.cold.rmse,
            "cold_bias": self.cold.bias,
        }


@dataclass(eq=False)
class Series(Sums):
    """The pairs of a station, one a day: percentiles need all of them, and they are few.

    Attributes
    ----------
    prediction
        NaN where it is missing.
    measured
        Never NaN.
    """

    prediction: list[float] = field(default_factory=list)
    measured: list[float] = field(default_factory=list)

    def sums(self) -> PairSums:
        """Sums of all pairs."""
        found = PairSums()
        found.add(*self._pairs())
        return found

    def tails(self, shares: tuple[float, float]) -> TailSums:
        """Errors above and below the station's own percentiles.

        Parameters
        ----------
        shares
            Those of what was measured below the lower and the upper end, from 0 to 1. What was
            measured counts whether there is a prediction or not, so the ends of all products are
            the same. What lies at an end is in no tail.

        Returns
        -------
        TailSums
            Of nothing if nothing was measured, or always the same.
        """
        found = TailSums()
        if self.measured:
            low, high = np.quantile(self.measured, shares)
            found.add(*self._pairs(), (float(low), float(high)))
        return found

    def _pairs(self) -> tuple[Floats, Floats]:
        return np.array(self.prediction, np.float64), np.array(self.measured, np.float64)


@dataclass(eq=False)
class StationSums(Sums):
    """The pairs of stations, each known by the row and the column of its cell."""

    by: dict[tuple[int, int], Series] = field(default_factory=dict)

    def add(self, prediction: Array, measured: Array) -> None:
        """Count a day: a field, and what stations measured, NaN but in the cells of these.

        Raises
        ------
        DataError
            If the shapes differ.
        """
        same_shape(prediction=prediction, measured=measured)
        for row, col in np.argwhere(~np.isnan(measured)).tolist():
            series = self.by.setdefault((row, col), Series())
            series.prediction.append(float(prediction[row, col]))
            series.measured.append(float(measured[row, col]))

    def merge(self, other: StationSums) -> None:
        """Add what another accumulator has counted."""
        for place, series in other.by.items():
            self.by.setdefault(place, Series()).merge(series)


@dataclass(eq=False)
class ErrorMap(Sums):
    """The RMSE of every cell over days.

    Parameters
    ----------
    shape
        Rows and columns.
    """

    shape: tuple[int, int] = fixed()
    count: Array = field(init=False)
    squares: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.count, self.squares = np.zeros(self.shape, np.int32), np.zeros(self.shape)

    def add(self, prediction: Array, truth: Array) -> None:
        """Count a day; NaN in either is in no sum."""
        error = np.asarray(prediction, np.float64) - truth
        self.count = self.count + ~np.isnan(error)
        self.squares = self.squares + np.nan_to_num(error) ** 2

    @property
    def rmse(self) -> Floats:
        """(rows, columns); NaN where nothing was counted."""
        found = np.full(self.shape, np.nan)
        np.divide(self.squares, self.count, out=found, where=self.count > 0)
        np.sqrt(found, out=found)
        return found
