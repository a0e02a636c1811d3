"""Whether the spread of an ensemble says how wrong it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from nunatak.metrics.accumulate import Array, Floats, Sums, fixed, ratio, same_shape, strips

_LEVELS = (0.5, 0.9)


def crps(members: Array, truth: Array, *, fair: bool = False) -> Floats:
    """Continuous ranked probability score of an ensemble at each cell.

    Parameters
    ----------
    members
        Array (member, ...), in any order.
    truth
        Array of one member's shape.
    fair
        Correct for the finite number of members (Ferro 2014), so that ensembles of different
        size compare; NaN for one member.

    Returns
    -------
    ndarray
        In the units of the field; for one member the absolute error. NaN where any input is NaN.
    """
    return _crps(np.sort(np.asarray(members, dtype=np.float64), axis=0), truth, fair)


def _crps(members: Floats, truth: Array, fair: bool) -> Floats:
    count = len(members)
    weight = 2 * np.arange(1, count + 1) - count - 1
    spread = np.tensordot(weight, members, axes=1)
    pairs = count * (count - 1 if fair else count)
    with np.errstate(invalid="ignore", divide="ignore"):
        score: Floats = np.abs(members - truth).mean(axis=0) - spread / np.float64(pairs)
    return score


def interval(members: Array, level: float) -> tuple[Floats, Floats]:
    """Central interval that a truth like the members falls into with probability ``level``.

    Quantile ``p`` lies at order statistic ``p (M + 1)``: exact for any M where that is a whole
    number, interpolated elsewhere (0.02 too much at worst, for 4 members and normal errors). Few
    members cannot reach far out: then the interval is that of all members, which holds the truth
    with probability ``(M - 1) / (M + 1)``, less than ``level``.
    """
    ordered = np.sort(np.asarray(members, dtype=np.float64), axis=0)
    return _quantile(ordered, 0.5 - level / 2), _quantile(ordered, 0.5 + level / 2)


def _quantile(ordered: Floats, share: float) -> Floats:
    position = min(max(share * (len(ordered) + 1) - 1, 0.0), len(ordered) - 1.0)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    value: Floats = ordered[low] + (position - low) * (ordered[high] - ordered[low])
    return value


@dataclass(eq=False)
class EnsembleSums(Sums):
    """Sums of the scores of an ensemble.

    Parameters
    ----------
    members
        How many members it has.
    """

    members: int = fixed()
    n: int = 0
    crps: float = 0.0
    fair: float = 0.0
    squares: float = 0.0
    variance: float = 0.0
    covered: Floats = field(default_factory=lambda: np.zeros(len(_LEVELS)))
    ranks: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.ranks = np.zeros(self.members + 1)

    def add(self, members: Array, truth: Array, mask: Array | None = None) -> None:
        """Count the cells of a block.

        Parameters
        ----------
        members
            Array (member, ...). A cell with a NaN in any member or in the truth is not counted.
        truth
            Array of one member's shape.
        mask
            True where a cell counts; by default everywhere.
        """
        same_shape(members=members, truth=np.broadcast_to(truth, (self.members, *truth.shape)))
        same_shape(truth=truth, mask=mask)
        for rows in strips((truth.shape[0], self.members, *truth.shape[1:])):
            given = np.asarray(members[:, rows], dtype=np.float64)
            wanted = np.asarray(truth[rows], dtype=np.float64)
            counted = ~np.isnan(given).any(axis=0) & ~np.isnan(wanted)
            if mask is not None:
                counted &= np.asarray(mask[rows], dtype=bool)
            self._count(np.sort(given[:, counted], axis=0), wanted[counted])

    def _count(self, ordered: Floats, truth: Floats) -> None:
        self.n += truth.size
        self.crps += float(_crps(ordered, truth, fair=False).sum())
        self.fair += float(_crps(ordered, truth, fair=True).sum())
        self.squares += float(np.square(ordered.mean(axis=0) - truth).sum())
        if self.members > 1:
            self.variance += float(ordered.var(axis=0, ddof=1).sum())
        for i, level in enumerate(_LEVELS):
            low, high = (_quantile(ordered, 0.5 + half * level) for half in (-0.5, 0.5))
            self.covered[i] += np.count_nonzero((low <= truth) & (truth <= high))
        self.ranks += self._ranks(ordered, truth)

    def _ranks(self, ordered: Floats, truth: Floats) -> Floats:
        """Counts of the truth's rank; ties with members share it among the ranks it may have."""
        first = np.count_nonzero(ordered < truth, axis=0)
        last = np.count_nonzero(ordered <= truth, axis=0)
        share = 1.0 / (last - first + 1)
        size = self.members + 2
        begin = np.bincount(first, share, minlength=size)
        end = np.bincount(last + 1, share, minlength=size)
        ranks: Floats = np.cumsum(begin - end)[:-1]
        return ranks

    def summary(self) -> dict[str, float]:
        """The figures of a table; NaN if nothing was counted.

        Returns
        -------
        dict
            ``n``; ``crps`` and ``crps_fair``, in the units of the field; ``coverage_50`` and
            ``coverage_90``, shares of truth inside the central intervals, and what a calibrated
            ensemble of this size reaches, ``..._expected``; ``rmse`` of the ensemble mean,
            ``spread``, the SD expected of its error, ``sqrt((M + 1) / M * mean variance)``, and
            their ratio ``spread_skill`` (Fortin et al. 2014), 1 if calibrated.
        """
        count = self.members
        rmse = sqrt(ratio(self.squares, self.n))
        spread = sqrt(ratio(self.variance, self.n) * (count + 1) / count)
        table = {
            "n": float(self.n),
            "crps": ratio(self.crps, self.n),
            "crps_fair": ratio(self.fair, self.n),
            "rmse": rmse,
            "spread": spread,
            "spread_skill": ratio(spread, rmse),
        }
        for level, covered in zip(_LEVELS, self.covered, strict=True):
            name = f"coverage_{level:.0%}".rstrip("%")
            table[name] = ratio(float(covered), self.n)
            table[f"{name}_expected"] = min(level, (count - 1) / (count + 1))
        return table

    def rank_histogram(self) -> Floats:
        """Share of truth at each of the ``members + 1`` ranks: flat if calibrated, sums to 1."""
        shares: Floats = self.ranks / np.float64(max(self.n, 1))
        return shares
