"""stations: the daily series of the stations that are forecast, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nunatak import units
from nunatak.content import digest_array
from nunatak.errors import DataError
from nunatak.forecast import Forecast
from nunatak.products import Results
from nunatak.provenance import digest_json, write_text
from nunatak.sources.opening import open_source
from nunatak.sources.stations import StationAlbum


def stations(results: Results, data: Path) -> dict[str, Any]:
    """Write series.csv: a row a day of the split, a column a station.

    Parameters
    ----------
    results
        The results tree of the recipe.
    data
        What ``file:`` URLs are relative to.

    Returns
    -------
    dict
        The manifest: stations, the days on which each was measured, and the digest of the series.
    """
    spec = results.recipe.forecast
    assert spec is not None
    album = open_source(results, spec.source, data)
    if not isinstance(album, StationAlbum):
        raise DataError(
            f"forecast.source {spec.source!r} holds no stations", "a source with a reader of them"
        )
    variable = results.recipe.sources[spec.source].variables[spec.variable]
    factor, offset = units.factor(variable.units, variable.to or variable.units)
    series = chosen(album.stations(spec.variable).daily(), spec) * factor + offset
    path = results.stations / "series.csv"
    write_text(path, series.to_csv())
    results.wrote(path)
    names = [str(name) for name in series.columns]
    values = series.to_numpy(np.float64)
    digest = digest_json([names, str(series.index[0]), digest_array(values)])
    days = dict(zip(names, np.isfinite(values).sum(axis=0).tolist(), strict=True))
    return {"days": days, "variables": {"series": {"digest": digest}}}


def chosen(series: pd.DataFrame, spec: Forecast) -> pd.DataFrame:
    """The stations and days of a series that a forecast is about.

    Parameters
    ----------
    series
        A row a day, a column a station.
    spec
        Names stations, by default all, and days: from the first of the split to the last.

    Returns
    -------
    DataFrame
        A row for each of these days; NaN where not measured.

    Raises
    ------
    DataError
        If there is no station, or not the one that is named.
    """
    names = list(spec.stations) or list(series.columns)
    unknown = sorted(set(names) - set(series.columns))
    if unknown or not names:
        known = ", ".join(map(str, series.columns)) or "no measurement at all"
        raise DataError(
            f"{spec.source} has no station {', '.join(unknown)}".rstrip(),
            f"some of those with measurements: {known}",
            "correct forecast.stations, or the source",
        )
    days = pd.date_range(*spec.split.ends, freq="D", name="date")
    return series.reindex(index=days, columns=names)
