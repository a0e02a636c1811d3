"""Daily series of stations: normals, z-scores, windows in time, and how well they are forecast.

Series are arrays (days, stations) of every day in turn; NaN where a station did not measure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nunatak.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

DAYS = 366
WHERE = ("all", "warm", "cold")
EVERY = "all"
_COLD, _WARM = 0.05, 0.95


def day_of_year(dates: pd.DatetimeIndex) -> Ints:
    """Place of each day in a leap year, 0 to 365, so that 1 March is the same every year."""
    return np.array([dt.date(2000, d.month, d.day).timetuple().tm_yday - 1 for d in dates])


def during(dates: pd.DatetimeIndex, spans: Sequence[tuple[dt.date, dt.date]]) -> Flags:
    """Which days lie in one of some ranges, first and last day included."""
    given = dates.to_numpy("datetime64[D]")
    found = np.zeros(len(dates), bool)
    for first, last in spans:
        found |= (given >= np.datetime64(first)) & (given <= np.datetime64(last))
    return found


def normals(values: Floats, day: Ints, *, smooth: int = 15) -> Floats:
    """Climatology by day of the year.

    Parameters
    ----------
    values
        Series (days, stations) of the training years alone.
    day
        Day of the year of each row; see `day_of_year`.
    smooth
        Days before and after a day whose values its mean takes in, around the turn of the year.

    Returns
    -------
    ndarray
        (366, stations): the mean; where no value is near, interpolated in time around the year.
        NaN for a station without a value.
    """
    total, count = (np.zeros((DAYS, values.shape[1])) for _ in range(2))
    np.add.at(total, day, np.nan_to_num(values))
    np.add.at(count, day, np.isfinite(values))
    width = 2 * smooth + 1
    around = (np.arange(DAYS)[:, None] + np.arange(width) - smooth) % DAYS
    total, count = total[around].sum(axis=1), count[around].sum(axis=1)
    found = np.full(total.shape, np.nan)
    days = np.arange(DAYS)
    for i, known in enumerate((count > 0).T):
        if known.any():
            means = total[known, i] / count[known, i]
            found[:, i] = np.interp(days, days[known], means, period=DAYS)
    return found


@dataclass(frozen=True)
class Scale:
    """What training days tell of each station, in the units of the series.

    Parameters
    ----------
    mean, deviation
        (stations), of z-scores.
    normal
        (366, stations), the climatology.
    spread
        (stations), SD of the departures from the climatology; 1 where there are none.
    cold, warm
        (stations), the 5th and 95th percentile.
    """

    mean: Floats
    deviation: Floats
    normal: Floats
    spread: Floats
    cold: Floats
    warm: Floats

    @classmethod
    def of(cls, series: pd.DataFrame, training: Flags) -> Scale:
        """Fit it to the training days of a series; no other day is looked at.

        Raises
        ------
        DataError
            If a station was measured on fewer than two training days, or never varies on them.
        """
        values = series.to_numpy(np.float64)[training]
        few = np.isfinite(values).sum(axis=0) < 2
        deviation = np.nanstd(np.where(few, 0.0, values), axis=0)
        if not (deviation > 0).all():
            names = ", ".join(str(name) for name in series.columns[deviation == 0])
            raise DataError(
                f"stations {names}: no two training days with different values",
                "stations that were measured in the training period",
                "name those to forecast in forecast.stations, or correct forecast.split.train",
            )
        cold, warm = np.nanquantile(values, [_COLD, _WARM], axis=0)
        day = day_of_year(pd.DatetimeIndex(series.index[training]))
        normal = normals(values, day)
        spread = np.nanstd(values - normal[day], axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        return cls(np.nanmean(values, axis=0), deviation, normal, spread, cold, warm)

    def scores(self, values: Floats) -> Floats:
        """Values (..., stations) as z-scores."""
        return (values - self.mean) / self.deviation

    def values(self, scores: Floats) -> Floats:
        """Z-scores (..., stations) as values."""
        return scores * self.deviation + self.mean


def starts(within: Flags, length: int) -> Ints:
    """First days of all windows of some days that lie as a whole in one run of chosen days."""
    total = np.concatenate([[0], np.cumsum(within)])
    return np.flatnonzero(total[length:] - total[:-length] == length)


def scores(frame: pd.DataFrame) -> pd.DataFrame:
    """How well series are forecast, by lead and station, and in the tails.

    Parameters
    ----------
    frame
        A row a forecast of a day: ``method``, ``station``, ``lead`` (days), ``prediction``,
        ``truth`` (NaN where not measured: such a row does not count) and ``tail``, 1 where the
        truth is above the 95th percentile of the station's training days, -1 where it is below
        the 5th, else 0.

    Returns
    -------
    DataFrame
        A row a method, ``where`` (`WHERE`), station and lead, and of ``all`` stations and leads:
        ``n``, ``rmse`` and ``bias`` (units of the series), ``correlation`` (NaN of fewer than
        three values, or of constant ones). Of all stations, the correlation is the mean of
        theirs: what differs between stations is no skill.
    """
    known = frame.dropna(subset=["truth"])
    rows = []
    for where, tail in zip(WHERE, (None, 1, -1), strict=True):
        part = known if tail is None else known[known["tail"] == tail]
        for method in frame["method"].unique():
            given = part[part["method"] == method]
            rows += [{"method": method, "where": where, **row} for row in _rows(given)]
    return pd.DataFrame(rows)


def _rows(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    leads = [(str(lead), part) for lead, part in frame.groupby("lead")]
    for lead, given in [(EVERY, frame), *leads]:
        stations = [_score(part, str(name), lead) for name, part in given.groupby("station")]
        both = [row["correlation"] for row in stations if np.isfinite(row["correlation"])]
        mean = float(np.mean(both)) if both else float("nan")
        yield {**_score(given, EVERY, lead), "correlation": mean}
        yield from stations


def _score(frame: pd.DataFrame, station: str, lead: str) -> dict[str, Any]:
    error = (frame["prediction"] - frame["truth"]).to_numpy()
    return {
        "station": station,
        "lead": lead,
        "n": len(error),
        "rmse": float(np.sqrt(np.mean(error**2))) if error.size else float("nan"),
        "bias": float(np.mean(error)) if error.size else float("nan"),
        "correlation": correlation(frame["prediction"].to_numpy(), frame["truth"].to_numpy()),
    }


def correlation(one: Floats, other: Floats) -> float:
    """Pearson's correlation; NaN of fewer than three values, or if either is constant."""
    if one.size < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])
