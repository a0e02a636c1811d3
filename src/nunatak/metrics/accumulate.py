"""What every metric is made of: sums that merge, a histogram of fixed size, strips of rows.

A product is judged block by block in constant memory, so a metric is an accumulator: ``add`` what
was read, ``merge`` what another process has, take the ``summary`` at the end. How the map was cut
changes sums by rounding only, and quantiles not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import lru_cache
from math import prod
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nunatak.errors import DataError

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float64]

_CELLS = 2**19
_STEP, _SCALE, _LIMIT = 1e-4, 1e-2, 1e9
_HALF = int(np.ceil(np.arcsinh(_LIMIT / _SCALE) / _STEP))


def fixed() -> Any:
    """A field that says how a metric is computed: two accumulators merge only if it agrees."""
    return field(metadata={"fixed": True})


@dataclass(eq=False)
class Sums:
    """Base of the accumulators: dataclasses whose fields add up."""

    def merge(self, other: Self) -> None:
        """Add what another accumulator has counted.

        Raises
        ------
        DataError
            If the two were not computed in the same way.
        """
        kinds = {f.name: bool(f.metadata.get("fixed")) for f in fields(self)}
        for name in (name for name, same in kinds.items() if same):
            mine, theirs = getattr(self, name), getattr(other, name)
            if not np.array_equal(mine, theirs):
                raise DataError(
                    f"cannot merge {type(self).__name__} of {name} {mine} and {theirs}",
                    f"the same {name} in both",
                    "evaluate all blocks with the same settings",
                )
        for name in (name for name, same in kinds.items() if not same):
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, Sums):
                mine.merge(theirs)
            else:
                setattr(self, name, mine + theirs)


@dataclass(eq=False)
class Histogram(Sums):
    """Counts of values in bins of fixed place, so that quantiles need no values kept.

    Bins are even in ``asinh``: 1e-4 of the value wide, and 1e-6 of a unit near zero. A value is
    taken for the middle of its bin, which moves a quantile by half a bin at most; zero is the
    middle of a bin. Values beyond 1e9 units count as 1e9. One histogram takes 4 MB.
    """

    counts: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(2 * _HALF + 1, dtype=np.int64)
    )

    def __getstate__(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Only the bins that hold something travel between processes."""
        filled = np.flatnonzero(self.counts)
        return filled.astype(np.int32), self.counts[filled]

    def __setstate__(self, state: tuple[NDArray[np.int32], NDArray[np.int64]]) -> None:
        """Undo `__getstate__`."""
        self.counts = np.zeros(2 * _HALF + 1, dtype=np.int64)
        self.counts[state[0]] = state[1]

    def add(self, values: Floats) -> None:
        """Count values (1-D, no NaN)."""
        place = np.arcsinh(values / _SCALE) / _STEP
        index = np.clip(np.rint(place), -_HALF, _HALF).astype(np.int64) + _HALF
        self.counts += np.bincount(index, minlength=self.counts.size)

    def quantile(self, share: float) -> float:
        """The quantile as :func:`numpy.quantile` defines it; NaN if nothing was counted."""
        return _quantile(_middles(), self.counts, share)

    def deviation(self, centre: float, share: float) -> float:
        """The quantile of ``|value - centre|``; NaN if nothing was counted."""
        filled = np.flatnonzero(self.counts)
        distance = np.abs(_middles()[filled] - centre)
        order = np.argsort(distance, kind="stable")
        return _quantile(distance[order], self.counts[filled][order], share)

    def distance(self, other: Histogram) -> float:
        """Wasserstein-1 distance between two distributions, in their units; NaN if one is empty."""
        if not (self.counts.any() and other.counts.any()):
            return float("nan")
        mine, theirs = (np.cumsum(h.counts) / h.counts.sum() for h in (self, other))
        return float(np.sum(np.abs(mine - theirs)[:-1] * np.diff(_middles())))


@lru_cache(maxsize=1)
def _middles() -> Floats:
    middles: Floats = np.sinh(np.arange(-_HALF, _HALF + 1) * _STEP) * _SCALE
    return middles


def _quantile(values: Floats, counts: NDArray[np.int64], share: float) -> float:
    """Quantile of sorted values of which each occurs ``counts`` times."""
    total = int(counts.sum())
    if total == 0:
        return float("nan")
    position = share * (total - 1)
    ranks = [int(np.floor(position)), int(np.ceil(position))]
    low, high = values[np.searchsorted(np.cumsum(counts), ranks, side="right")]
    return float(low + (position - ranks[0]) * (high - low))


def strips(shape: tuple[int, ...], halo: int = 0) -> Iterator[slice]:
    """Cut an array into strips of rows that fit in a few MB, overlapping by twice the ``halo``.

    Rows nearer than ``halo`` to the edge of the array are nobody's own.
    """
    step = max(1, _CELLS // max(1, prod(shape[1:])))
    last = shape[0] - halo
    for first in range(halo, last, step):
        yield slice(first - halo, min(first + step, last) + halo)


def same_shape(**arrays: Array | None) -> None:
    """Check that arrays are on one grid.

    Raises
    ------
    DataError
        If their shapes differ; the message names each.
    """
    shapes = {name: array.shape for name, array in arrays.items() if array is not None}
    if len(set(shapes.values())) > 1:
        raise DataError(
            "cannot compare " + ", ".join(f"{name} {shape}" for name, shape in shapes.items()),
            "arrays of one shape",
            "read all of them on the same window of the same grid",
        )


def ratio(over: float, under: float) -> float:
    """A quotient; NaN where nothing stands below."""
    return over / under if under else float("nan")
