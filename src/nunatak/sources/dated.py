"""Which file holds which day: told by the names of files, or by their time axes."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from nunatak.errors import ConfigError, DataError, SourceError
from nunatak.source import Source
from nunatak.sources.places import place


@dataclass(frozen=True)
class Place:
    """Where the fields of a day lie: a file, and the place along its time axis, if it has one."""

    path: Path
    index: int | None = None


def days(path: Path, source: Source, files: str, dates: str, time: str) -> dict[dt.date, Place]:
    """Where each day lies, by date; see `nunatak.sources.days.open_days` for the parameters.

    Raises
    ------
    SourceError
        If there is no file, or a file has no time axis.
    ConfigError
        If the expression is none.
    DataError
        If a date cannot be told, or one day is there twice.
    """
    named, found = _pattern(dates), dict[dt.date, Place]()
    for each in _files(path, source, files):
        for date, where in _dated(each, named, time).items():
            if date in found:
                raise DataError(
                    f"{each} and {found[date].path}: both hold {date}",
                    "one field a day",
                    "name the files so that one is left, or average the day first",
                )
            found[date] = where
    return dict(sorted(found.items()))


def _pattern(dates: str) -> re.Pattern[str] | None:
    try:
        pattern = re.compile(dates) if dates else None
    except re.error as error:
        raise ConfigError(f"days: dates {dates!r}: {error}", "a regular expression") from error
    if pattern is not None and pattern.groups != 1:
        raise ConfigError(f"days: dates {dates!r}", "one group, which holds the date")
    return pattern


def _files(path: Path, source: Source, files: str) -> list[Path]:
    """The files of a source, by name; those that are still to be fetched count."""
    if len(source.files) > 1:
        folder = path.parent
        return sorted(folder / place(file, folder, folder).name for file in source.files)
    found = sorted(path.glob(files)) if path.is_dir() else [path]
    if not found:
        raise SourceError(f"{path}: no file {files}", "at least one", "set data:, or files")
    return found


def _dated(path: Path, named: re.Pattern[str] | None, time: str) -> dict[dt.date, Place]:
    """The days that a file holds."""
    if named is not None:
        match = named.search(path.name)
        if match is None:
            raise DataError(f"{path}: its name tells no date", f"one that {named.pattern!r} finds")
        return {_date(match[1], path): Place(path, 0)}
    if path.suffix in (".npy", ".tif"):
        raise DataError(f"{path}: nothing tells its date", "the reader's dates, for file names")
    try:
        with netCDF4.Dataset(path) as dataset:
            axis = dataset[time]
            calendar = getattr(axis, "calendar", "standard")
            steps: Any = np.ravel(np.asarray(netCDF4.num2date(axis[:], axis.units, calendar)))
    except (OSError, IndexError, AttributeError) as error:
        raise SourceError(
            f"{path}: no time axis {time!r} ({error})",
            "a netCDF file with times, or the reader's time or dates",
        ) from error
    days = [dt.date(step.year, step.month, step.day) for step in steps]
    if twice := [day for day, count in Counter(days).items() if count > 1]:
        raise DataError(f"{path}: {twice[0]} is there twice", "one field a day", "average it first")
    return {day: Place(path, index) for index, day in enumerate(days)}


def _date(text: str, path: Path) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise DataError(f"{path}: {text!r} is no date", "YYYYMMDD or YYYY-MM-DD") from error
