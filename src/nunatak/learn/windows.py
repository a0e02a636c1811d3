"""Windows of daily series of stations as tensors: what a forecaster sees, and what it is to tell.

A day that a station did not measure, future days included, holds the climatology, and a flag says
so: no window is skipped for missing days of its history. A missing target is masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from nunatak.ops.forecast import DAYS, Scale, day_of_year


class Shape(NamedTuple):
    """Days of history and of lead, and stations."""

    history: int
    lead: int
    stations: int


class Windows(NamedTuple):
    """A batch of windows; B windows, H days of history, L of lead, S stations.

    Parameters
    ----------
    values
        (B, H, S) z-scores, the climatology where not measured.
    observed
        (B, H, S), 1 where measured, else 0.
    normal
        (B, H + L, S), the climatology as z-scores.
    season
        (B, H + L, 2), sine and cosine of the day of the year.
    spread
        (S), SD of departures from the climatology, as a share of that of the series.
    target
        (B, L, S) z-scores; NaN where not measured.
    """

    values: Tensor
    observed: Tensor
    normal: Tensor
    season: Tensor
    spread: Tensor
    target: Tensor

    @property
    def mask(self) -> Tensor:
        """(B, L, S), whether the target is measured."""
        return torch.isfinite(self.target)

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return type(self)(*(tensor.to(device) for tensor in self))


@dataclass(frozen=True)
class Days:
    """Every day of a series, from which windows are cut; arrays of (days, ...), float32.

    Parameters
    ----------
    scores
        Z-scores, NaN where not measured.
    normal
        The climatology as z-scores.
    season
        Sine and cosine of the day of the year.
    spread
        (stations), SD of departures from the climatology, as a share of that of the series.
    shape
        Of the windows.
    """

    scores: NDArray[np.float32]
    normal: NDArray[np.float32]
    season: NDArray[np.float32]
    spread: NDArray[np.float32]
    shape: Shape

    @classmethod
    def of(cls, series: pd.DataFrame, scale: Scale, history: int, lead: int) -> Days:
        """The days of a series (days, stations) in its units."""
        day = day_of_year(pd.DatetimeIndex(series.index))
        angle = 2 * np.pi * day / DAYS
        season = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        spread = scale.spread / scale.deviation
        normal = scale.scores(scale.normal)[day]
        found = scale.scores(series.to_numpy(np.float64))
        return cls(
            found.astype(np.float32),
            normal.astype(np.float32),
            season.astype(np.float32),
            spread.astype(np.float32),
            Shape(history, lead, series.shape[1]),
        )

    def windows(self, first: NDArray[np.int64]) -> Windows:
        """The windows that begin on some days."""
        history, lead, _ = self.shape
        at = first[:, None] + np.arange(history + lead)
        scores, normal = self.scores[at], self.normal[at]
        known = np.isfinite(scores[:, :history])
        values = np.where(known, scores[:, :history], normal[:, :history])
        inputs = values, known.astype(np.float32), normal, self.season[at], self.spread
        return Windows(*map(torch.from_numpy, (*inputs, scores[:, history:])))

    def taught(self, first: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of some windows those in which a target was measured."""
        history, lead, _ = self.shape
        at = first[:, None] + np.arange(history, history + lead)
        there: NDArray[np.bool_] = np.isfinite(self.scores[at]).any(axis=(1, 2))
        return first[there]
