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

# Calendars that have days which the real one lacks, or name the same day otherwise.
_OTHER = ("360_day", "366_day", "all_leap", "julian")


@dataclass(frozen=True)
class Place:
    """Where the fields of a day lie: a file, and its step, if not the name but the axis told it."""

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
        If a date cannot be told, is of another calendar, or one day is there twice.
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
        return {_date(match[1], path): Place(path)}
    if path.suffix in (".npy", ".tif"):
        raise DataError(f"{path}: nothing tells its date", "the reader's dates, for file names")
    try:
        with netCDF4.Dataset(path) as dataset:
            days = _steps(dataset[time], path)
    except (OSError, IndexError, AttributeError) as error:
        raise SourceError(
            f"{path}: no time axis {time!r} ({error})",
            "a netCDF file with times, or the reader's time or dates",
        ) from error
    if twice := [day for day, count in Counter(days).items() if count > 1]:
        raise DataError(f"{path}: {twice[0]} is there twice", "one field a day", "average it first")
    return {day: Place(path, index) for index, day in enumerate(days)}


def _steps(axis: Any, path: Path) -> list[dt.date]:
    """The date of every step of a time axis, all of them days of the real calendar."""
    units, calendar = axis.units, str(getattr(axis, "calendar", "standard")).lower()
    given = f"{path}: {axis.name} is in {units!r}, of the calendar {calendar!r}"
    do = "write the times in days of the real calendar; or name a file a day, and give dates"
    if calendar in _OTHER:
        raise DataError(given, "a calendar whose days are those of the Gregorian one", do)
    try:
        found: Any = netCDF4.num2date(axis[:], units, calendar)
        steps: Any = np.ma.ravel(found)
        days = [dt.date(step.year, step.month, step.day) for step in steps.compressed()]
    except (ValueError, OverflowError, LookupError, TypeError) as error:
        raise DataError(f"{given}: {error}", "units like 'days since 1950-01-01'", do) from error
    if len(days) < steps.size:
        raise DataError(f"{given}: a time is missing", "a time for every step", do)
    return days


def check_named(path: Path, date: dt.date, time: str) -> None:
    """Refuse a file whose time axis, if it has one, is not of the one day that its name tells.

    Parameters
    ----------
    path
        A netCDF file.
    date
        The day that its name tells.
    time
        Name of the time axis.

    Raises
    ------
    DataError
        If the file has several steps, or another date than its name.
    """
    with netCDF4.Dataset(path) as dataset:
        axis: Any = dataset.variables.get(time)
        axis = None if axis is None or axis.ndim > 1 else axis
        steps = max(len(dataset.dimensions.get(time, ())), 0 if axis is None else axis.size)
        if steps > 1:
            raise DataError(
                f"{path}: {steps} steps along {time!r}, but its name tells one day, {date}",
                "one field in a file that is dated by its name",
                "leave out dates of the reader, so that time axes tell; or write one file a day",
            )
        told = [] if axis is None else _steps_if_told(axis, path)
    if told and told[0] != date:
        raise DataError(
            f"{path}: its name tells {date}, its time axis {told[0]}",
            "the same day",
            "correct the name, or dates of the reader; or leave out dates, so that time axes tell",
        )


def _steps_if_told(axis: Any, path: Path) -> list[dt.date]:
    """The same as `_steps`; none where nothing but the name can tell."""
    try:
        return _steps(axis, path)
    except (DataError, AttributeError):
        return []


def _date(text: str, path: Path) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise DataError(f"{path}: {text!r} is no date", "YYYYMMDD or YYYY-MM-DD") from error
