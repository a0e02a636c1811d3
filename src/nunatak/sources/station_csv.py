"""Tables of stations in text, of any encoding that is declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from nunatak.errors import ConfigError, DataError, SourceError
from nunatak.source import Source
from nunatak.sources.stations import COLUMNS, StationAlbum


def open_station_csv(
    path: Path,
    source: Source,
    *,
    columns: dict[str, str],
    positions: dict[Any, list[float]] | None = None,
    encoding: str = "utf-8",
    separator: str = ",",
    date_format: str = "",
    files: str = "*.csv",
    within: int = 0,
) -> StationAlbum:
    r"""Open tables of stations in text: one file, or a folder of them.

    A variable is the column of its ``name`` in the catalogue.

    Parameters
    ----------
    path
        The file, or the folder.
    source
        Its entry in the catalogue.
    columns
        The columns of the file that are ``date``, ``station``, ``lon`` and ``lat``. Without a
        column of stations each file is one, named as the file without its suffix.
    positions
        Longitude and latitude of each station, where there are no columns of them:
        ``{buoy1: [129.8, 35.3]}``.
    encoding
        Of the text; Korean files often have ``cp949``.
    separator
        Between columns; ``\s+`` for any white space.
    date_format
        How dates are written, like ``%Y-%m-%d %H:%M``; by default as ISO 8601 has them. Times of
        day are dropped.
    files
        Which files of a folder.
    within
        A scene takes a station's nearest measurement in time, at most so many days from its own.

    Raises
    ------
    ConfigError
        If the date or the positions are not declared, or the encoding is not known.
    SourceError
        If there is no file, it is of another encoding, or lacks a column.
    """
    if unknown := sorted(columns.keys() - {"date", "station", "lon", "lat"}):
        raise ConfigError(f"station_csv: columns {unknown}", "date, station, lon and lat")
    if "date" not in columns or not (positions or {"lon", "lat"} <= columns.keys()):
        raise ConfigError(
            f"station_csv: columns {sorted(columns)}, positions {'given' if positions else 'none'}",
            "a column of dates, and columns lon and lat or positions",
        )
    try:
        "".encode(encoding)
    except LookupError as error:
        raise ConfigError(
            f"station_csv: unknown encoding {encoding!r}", "one like utf-8 or cp949"
        ) from error
    places = {str(name): (x, y) for name, (x, y) in (positions or {}).items()}
    options = {"encoding": encoding, "sep": separator}
    text = Text(path, files, columns, places, date_format, options)
    return StationAlbum(source, lru_cache(maxsize=4)(text.table), within)


@dataclass(frozen=True)
class Text:
    """Tables of stations in text; see `open_station_csv`."""

    path: Path
    files: str
    columns: Mapping[str, str]
    positions: Mapping[str, tuple[float, float]]
    date_format: str
    options: Mapping[str, Any]

    def table(self, name: str) -> pd.DataFrame:
        """The table of a column of values."""
        found = sorted(self.path.glob(self.files)) if self.path.is_dir() else [self.path]
        if not found:
            raise SourceError(f"{self.path}: no file {self.files}", "at least one file")
        return pd.concat([self._one(path, name) for path in found], ignore_index=True)

    def _one(self, path: Path, name: str) -> pd.DataFrame:
        given = self._read(path, name)
        try:
            values = pd.to_numeric(given[name])
            times = pd.to_datetime(given[self.columns["date"]], format=self.date_format or None)
        except ValueError as error:
            raise DataError(
                f"{path}: {error}",
                f"numbers in {name}, dates like {self.date_format or '2016-01-31'}",
                "correct the variable's name, or date_format of the reader",
            ) from error
        key = self.columns.get("station")
        stations = given[key].astype(str) if key else pd.Series(path.stem, given.index)
        lon, lat = self._places(path, given, stations)
        days = times.dt.tz_localize(None).dt.normalize()
        table = dict(zip(COLUMNS, (stations, days, lon, lat, values), strict=True))
        return pd.DataFrame(table).dropna()

    def _read(self, path: Path, name: str) -> pd.DataFrame:
        encoding, needed = self.options["encoding"], {*self.columns.values(), name}
        text = {self.columns.get(key, ""): str for key in ("date", "station")}
        try:
            given: pd.DataFrame = pd.read_csv(
                path, dtype=text, skipinitialspace=True, **self.options
            )
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{path} is not in {encoding}: {error}",
                "text in the encoding that is declared",
                "set encoding of the reader; Korean files often have cp949",
            ) from error
        except (OSError, ValueError) as error:
            raise SourceError(f"{path}: {error}", "a table of text") from error
        given = given.rename(columns=lambda column: str(column).strip())
        if lacking := sorted(needed - set(given.columns)):
            raise SourceError(
                f"{path}, read as {encoding}: no column {', '.join(lacking)}",
                f"some of {', '.join(given.columns)}",
                "check columns, separator and encoding of the reader, and the variable's name",
            )
        return given

    def _places(self, path: Path, given: pd.DataFrame, stations: pd.Series) -> tuple[Any, Any]:
        """Longitudes and latitudes of the rows."""
        if not self.positions:
            return given[self.columns["lon"]], given[self.columns["lat"]]
        if unknown := sorted(set(stations) - self.positions.keys()):
            raise ConfigError(
                f"{path}: no position of {', '.join(unknown)}",
                "longitude and latitude of every station",
                "add them to positions of the reader",
            )
        axes = ({name: place[i] for name, place in self.positions.items()} for i in (0, 1))
        lon, lat = (stations.map(axis) for axis in axes)
        return lon, lat
