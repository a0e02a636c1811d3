"""Tables of stations in text, of any encoding that is declared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from nunatak.errors import ConfigError, DataError, SourceError
from nunatak.source import Source
from nunatak.sources.stations import COLUMNS, StationAlbum

_FURTHEST = 14
# In a format: what tells an hour, and an offset from UTC.
_HOUR, _OFFSET = re.compile("%[HIcX]"), re.compile("%[zZ]")
# In ISO 8601: a date without a time, and the end of a time that tells its offset.
_DATE, _ZONE = r"\d{4}(?:[-/. ]?\d\d?){0,2}", r"(?:Z|[+-]\d\d?(?::?\d\d)?)$"


def open_station_csv(
    path: Path,
    source: Source,
    *,
    columns: dict[str, str],
    positions: dict[Any, list[float]] | None = None,
    encoding: str = "utf-8",
    separator: str = ",",
    date_format: str = "",
    utc_offset: float = 0,
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
        How dates are written, like ``%Y-%m-%d %H:%M``; by default as ISO 8601 has them, year first:
        ``2016-01-31``, ``2016-01-31 12:00``, ``2016-01-31T12:00+09:00``. A time counts for its day
        in UTC, a date without a time for itself.
    utc_offset
        Hours that the file's times are ahead of UTC, where they do not tell: 9 for those of Korea.
        Times that tell their own offset, and dates without a time, are as they say.
    files
        Which files of a folder.
    within
        A scene takes a station's nearest measurement in time, at most so many days from its own.

    Raises
    ------
    ConfigError
        If the date or the positions are not declared, the encoding is not known, or the offset is
        none.
    SourceError
        If there is no file, it cannot be decoded, or lacks a column.
    """
    if unknown := sorted(columns.keys() - {"date", "station", "lon", "lat"}):
        raise ConfigError(f"station_csv: columns {unknown}", "date, station, lon and lat")
    if "date" not in columns or not (positions or {"lon", "lat"} <= columns.keys()):
        raise ConfigError(
            f"station_csv: columns {sorted(columns)}, positions {'given' if positions else 'none'}",
            "a column of dates, and columns lon and lat or positions",
        )
    if not abs(utc_offset) <= _FURTHEST:
        raise ConfigError(
            f"station_csv: utc_offset {utc_offset}",
            f"hours, {-_FURTHEST} to {_FURTHEST}",
            "give 9 for UTC+09:00",
        )
    try:
        "".encode(encoding)
    except LookupError as error:
        raise ConfigError(
            f"station_csv: unknown encoding {encoding!r}", "one like utf-8 or cp949"
        ) from error
    places = {str(name): (x, y) for name, (x, y) in (positions or {}).items()}
    options = {"encoding": encoding, "sep": separator}
    text = Text(path, files, columns, places, date_format, utc_offset, options)
    return StationAlbum(source, lru_cache(maxsize=4)(text.table), within)


@dataclass(frozen=True)
class Text:
    """Tables of stations in text; see `open_station_csv`."""

    path: Path
    files: str
    columns: Mapping[str, str]
    positions: Mapping[str, tuple[float, float]]
    date_format: str
    utc_offset: float
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
        except ValueError as error:
            raise DataError(
                f"{path}: {error}", f"numbers in {name}", "correct the variable's name"
            ) from error
        days = self._days(path, given[self.columns["date"]])
        key = self.columns.get("station")
        stations = given[key].astype(str) if key else pd.Series(path.stem, given.index)
        lon, lat = self._places(path, given, stations)
        table = dict(zip(COLUMNS, (stations, days, lon, lat, values), strict=True))
        return pd.DataFrame(table).dropna()

    def _days(self, path: Path, text: pd.Series) -> pd.Series:
        """The day of each date or time, in UTC."""
        text, written = text.str.strip(), self.date_format
        try:
            times = pd.to_datetime(text, format=written or "ISO8601", utc=True)
        except ValueError as error:
            raise DataError(
                f"{path}: {str(error).split(' You might')[0]}",
                f"dates like {written or '2016-01-31, or 2016-01-31 12:00 (ISO 8601)'}",
                "give date_format of the reader, as the file has it: %d/%m/%Y, or %Y%m%d%H%M",
            ) from error
        shifted = times - pd.Timedelta(hours=self.utc_offset)
        times = times.mask(_local(text, written), shifted)
        return times.dt.tz_localize(None).dt.normalize()

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


def _local(text: pd.Series, written: str) -> pd.Series:
    """Which are times that tell no offset from UTC; a date alone is no time."""
    if "%" in written:
        local = bool(_HOUR.search(written)) and not _OFFSET.search(written)
        return pd.Series(local, text.index)
    found: pd.Series = ~text.str.fullmatch(_DATE, na=True) & ~text.str.contains(_ZONE, na=True)
    return found
