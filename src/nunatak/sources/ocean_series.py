"""Years of temperature at stations of the synthetic ocean, as a source of stations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd

from nunatak.errors import SourceError
from nunatak.source import Source
from nunatak.sources.ocean import station_series
from nunatak.sources.stations import COLUMNS, StationAlbum

_SST = "sst"


def open_station_series(
    path: Path | str,
    source: Source,
    *,
    regions: Mapping[str, Sequence[float]],
    days: int,
    start: str = "2013-01-01",
    seed: int = 0,
    stations: int = 8,
    land: float = 0.0,
    season: float = 6.0,
    extremes: float = 2.5,
    within: int = 0,
) -> StationAlbum:
    """Open stations of the synthetic ocean; there is no file, ``path`` is not looked at.

    Parameters
    ----------
    path
        Not used.
    source
        Its entry in the catalogue; it has ``sst`` (K).
    regions
        Left, bottom, right, top (degrees) by name.
    days
        How many; more of them change none of the first.
    start
        The first day.
    seed
        Of the world.
    stations
        How many a region.
    land
        Share of a region that is land, where no station lies.
    season
        Half of what temperature swings by in a year (K).
    extremes
        Typical strength (K) of warm and cold events of a day or two.
    within
        A scene takes a station's nearest measurement in time, at most so many days from its own.
    """
    del path

    def table(name: str) -> pd.DataFrame:
        if name != _SST:
            raise SourceError(f"stations of the synthetic ocean have no {name!r}", f"{_SST!r}")
        given = station_series(
            regions,
            seed=seed,
            start=start,
            days=days,
            count=stations,
            land=land,
            season=season,
            extremes=extremes,
        )
        return given.rename(columns={_SST: "value"})[list(COLUMNS)]

    return StationAlbum(source, lru_cache(maxsize=1)(table), within)
