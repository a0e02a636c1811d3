"""Survey lines over the synthetic world: where radar has flown, and how wrong each pick is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor, hypot

import numpy as np
import pandas as pd

from nunatak.sources.noise import Floats, Nodes, key, uniform

_HOME = 200e3
_LINES = 5
_SPACING = 50.0
_SHORTEST, _LONGEST = 60e3, 180e3
_BEND = 0.08
_NOISE = 20.0
_OUTLIERS = 1 / 250


@dataclass(frozen=True)
class Region:
    """A rectangle ``[left, right) x [bottom, top)`` (m)."""

    left: float
    bottom: float
    right: float
    top: float

    def homes(self) -> Iterator[tuple[int, int]]:
        """Column and row of the squares whose lines may cross the region."""
        for row in range(floor(self.bottom / _HOME) - 1, floor(self.top / _HOME) + 2):
            for column in range(floor(self.left / _HOME) - 1, floor(self.right / _HOME) + 2):
                yield column, row


def crossing(seed: int, region: Region) -> pd.DataFrame:
    """The points of all survey lines in a region, ordered by line and along it.

    Returns
    -------
    pandas.DataFrame
        ``x``, ``y`` (m), ``error`` (m) of the pick and ``line``, the number of the line.
    """
    lines = [
        _line(seed, column, row, number, region)
        for column, row in region.homes()
        for number in range(_LINES)
    ]
    return pd.concat(lines, ignore_index=True)


def _line(seed: int, column: int, row: int, number: int, region: Region) -> pd.DataFrame:
    """The points in a region of one line that starts from a square, every 50 m along it."""
    name = ((row + 10_000) * 20_000 + column + 10_000) * _LINES + number
    dice = [
        float(n) for n in uniform(key(seed, "flight", name), np.arange(6), np.zeros(1, np.int64))
    ]
    along, aside = dice[2] / hypot(*dice[2:4]), dice[3] / hypot(*dice[2:4])
    half = _SHORTEST + (_LONGEST - _SHORTEST) * (dice[4] + 1.0) / 2.0
    steps = np.arange(-floor(half / _SPACING), floor(half / _SPACING) + 1)
    run = steps * _SPACING
    bend = _BEND * dice[5] * run * run / half
    x = np.round((column + (dice[0] + 1.0) / 2.0) * _HOME + along * run - aside * bend, 3)
    y = np.round((row + (dice[1] + 1.0) / 2.0) * _HOME + aside * run + along * bend, 3)
    points = pd.DataFrame({"x": x, "y": y, "error": _errors(seed, name, steps), "line": name})
    inside = (x >= region.left) & (x < region.right) & (y >= region.bottom) & (y < region.top)
    return points[inside]


def _errors(seed: int, name: int, steps: Nodes) -> Floats:
    """Random error of each pick (m): nearly normal, and rarely gross."""
    dice = uniform(key(seed, "pick", name), steps, np.arange(8)[:, np.newaxis])
    normal = dice[:6].sum(axis=0) / 2.0**0.5
    gross = np.sign(dice[6]) * (200.0 + 100.0 * dice[7])
    errors: Floats = _NOISE * normal + np.where(np.abs(dice[6]) < _OUTLIERS, gross, 0.0)
    return errors
