"""Synthetic stations as a table of text: a year's cycle and noise with a memory of some days."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FIRST, LAST = "2013-01-01", "2016-12-31"


def series(stations: int, *, seed: int = 0, gaps: float = 0.05, memory: float = 0.9) -> Any:
    """Daily temperatures (degC) of stations; NaN where one did not measure."""
    dates = pd.date_range(FIRST, LAST, freq="D", name="date")
    rng = np.random.default_rng(seed)
    phase = 2 * np.pi * (dates.dayofyear.to_numpy()[:, None] - 230) / 365.25
    values = 14 + np.arange(stations) / 2 + 7 * np.cos(phase)
    noise = np.zeros((len(dates), stations))
    for day in range(1, len(dates)):
        noise[day] = memory * noise[day - 1] + rng.normal(0, 0.4, stations)
    values = np.where(rng.random(noise.shape) < gaps, np.nan, values + noise)
    return pd.DataFrame(values, dates, [f"buoy{i}" for i in range(stations)])


def write(frame: pd.DataFrame, path: Path) -> None:
    """A row a day and station, as `SOURCE` declares it."""
    long = frame.stack().rename("sst").rename_axis(["date", "station"]).reset_index()
    long.to_csv(path, index=False, float_format="%.3f")


def source(frame: pd.DataFrame, **change: Any) -> dict[str, Any]:
    """The source of such a table, ``buoys.csv`` below the data root, moored around Korea."""
    places = {name: [129.05 + i, 35.05] for i, name in enumerate(frame.columns)}
    args = {"columns": {"date": "date", "station": "station"}, "positions": places}
    return {
        "title": "made for a test",
        "files": [{"url": "file:buoys.csv"}],
        "reader": {"op": "station_csv", "args": {**args, **change}},
        "variables": {"sst": {"units": "degC"}},
        "licence": "MIT",
    }


SPLIT: dict[str, Any] = {
    "train": [["2013-01-01", "2014-12-31"]],
    "validation": [["2015-02-01", "2015-11-30"]],
    "test": [["2016-01-01", "2016-12-31"]],
    "gap": 21,
}
