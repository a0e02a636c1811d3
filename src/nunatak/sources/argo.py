"""Profiles of Argo floats: the value nearest to the surface, as stations that drift."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nunatak.errors import SourceError
from nunatak.source import Source
from nunatak.sources.stations import COLUMNS, StationAlbum

# Good, and probably good: Argo user's manual, doi 10.13155/29825, reference table 2.
_GOOD = (b"1", b"2")
_REAL_TIME_ADJUSTED, _DELAYED = b"A", b"D"
_EPOCH = np.datetime64("1950-01-01", "s")
_DAY = 86400

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def open_argo(
    path: Path, source: Source, *, deepest: float = 10.0, within: int = 0
) -> StationAlbum:
    """Open profiles of Argo floats: one netCDF file, or all ``*_prof.nc`` below a folder.

    A float is a station, named by its number. A profile gives the value of its shallowest level at
    which value and pressure are good (flags 1 and 2), if its time and its position are too. In
    delayed mode (D) the adjusted values and their flags count, and nothing else: a profile that was
    condemned gives nothing. Of one that is adjusted in real time (A) they count where there are
    any. A variable is the one of its ``name`` in the catalogue, like ``TEMP``.

    Parameters
    ----------
    path
        The file, or the folder.
    source
        Its entry in the catalogue.
    deepest
        The greatest pressure (dbar) that counts as the surface.
    within
        A scene takes a float's nearest measurement in time, at most so many days from its own;
        floats surface every 5 to 10 days.

    Raises
    ------
    SourceError
        If there is no file, or it holds no profiles.
    """
    found = sorted(path.rglob("*_prof.nc")) if path.is_dir() else [path]
    if not found:
        raise SourceError(f"{path}: no profiles", "files named *_prof.nc")

    def table(name: str) -> pd.DataFrame:
        return pd.concat([profiles(file, name, deepest) for file in found], ignore_index=True)

    return StationAlbum(source, lru_cache(maxsize=4)(table), within)


def profiles(path: Path, name: str, deepest: float) -> pd.DataFrame:
    """The table of one file: a row a profile that is good, `nunatak.sources.stations.COLUMNS`.

    Parameters
    ----------
    path
        The file.
    name
        The quantity, like ``TEMP``.
    deepest
        The greatest pressure (dbar) that counts as the surface.

    Raises
    ------
    SourceError
        If the file is no netCDF, or lacks what a file of profiles has.
    """
    needed = ["PLATFORM_NUMBER", "JULD", "JULD_QC", "LONGITUDE", "LATITUDE", "POSITION_QC"]
    needed += ["DATA_MODE", *(f"{n}{s}" for n in ("PRES", name) for s in ("", "_QC"))]
    try:
        with netCDF4.Dataset(path) as file:
            if lacking := [key for key in needed if key not in file.variables]:
                raise SourceError(
                    f"{path}: no {', '.join(lacking)}",
                    "a file of Argo profiles that measure it",
                    "correct the variable's name in the source",
                )
            also = [f"{n}_ADJUSTED{s}" for n in ("PRES", name) for s in ("", "_QC")]
            given = {k: file[k][:] for k in (*needed, *also) if k in file.variables}
    except OSError as error:
        raise SourceError(f"{path}: {error}", "a netCDF file of Argo profiles") from error
    value, pressure, levels = _levels(given, name)
    levels &= pressure <= deepest
    at = np.argmin(np.where(levels, pressure, np.inf), axis=1)[:, None]
    time, lon, lat = (_numbers(given[key]) for key in ("JULD", "LONGITUDE", "LATITUDE"))
    good = levels.any(axis=1) & _good(given["JULD_QC"]) & _good(given["POSITION_QC"])
    good &= np.isfinite(time) & np.isfinite(lon) & np.isfinite(lat)
    seconds = np.floor(time[good] * _DAY).astype("timedelta64[s]")
    days = (_EPOCH + seconds).astype("datetime64[D]").astype("datetime64[ns]")
    surface = np.take_along_axis(value, at, axis=1)[good, 0]
    columns = (_names(given["PLATFORM_NUMBER"])[good], days, lon[good], lat[good], surface)
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def _levels(given: Mapping[str, Any], name: str) -> tuple[Floats, Floats, Flags]:
    """Values, pressures, and whether both are good, of every profile and level."""
    value, pressure = _numbers(given[name]), _numbers(given["PRES"])
    good = _good(given[f"{name}_QC"]) & _good(given["PRES_QC"])
    mode = np.ma.filled(given["DATA_MODE"], b" ")
    taken = (mode == _DELAYED)[:, None]
    keys = [f"{n}_ADJUSTED{s}" for n in (name, "PRES") for s in ("", "_QC")]
    if not all(key in given for key in keys):
        return value, pressure, good & ~taken & np.isfinite(value) & np.isfinite(pressure)
    better, deeper = _numbers(given[keys[0]]), _numbers(given[keys[2]])
    there = (np.isfinite(better) & np.isfinite(deeper)).any(axis=1)
    taken |= (there & (mode == _REAL_TIME_ADJUSTED))[:, None]
    value, pressure = np.where(taken, better, value), np.where(taken, deeper, pressure)
    good = np.where(taken, _good(given[keys[1]]) & _good(given[keys[3]]), good)
    return value, pressure, good & np.isfinite(value) & np.isfinite(pressure)


def _numbers(values: Any) -> Floats:
    return np.ma.filled(np.ma.asarray(values, np.float64), np.nan)


def _good(flags: Any) -> Flags:
    return np.isin(np.ma.filled(flags, b" "), _GOOD)


def _names(letters: Any) -> NDArray[Any]:
    """Text of rows of single characters."""
    rows = np.ma.filled(letters, b" ")
    return np.array([b"".join(row).decode("ascii", "replace").strip() for row in rows], object)
