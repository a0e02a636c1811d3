"""Days of a synthetic sea across the date line in files, as others make them.

Heights: a file of each day, its date in the name, all longitudes from 0 to 360; land is a number of
which the file does not say that it is none. Temperatures: one file of all days, longitudes from
-180 to 180, so that the sea lies at both its ends.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import netCDF4
import numpy as np
from numpy.typing import NDArray

from nunatak.sources.waters import Day, Ocean

CELLS = 20  # a degree
LEFT, BOTTOM, RIGHT, TOP = BOX = (176.4, 33.0, 183.6, 36.6)
EASTERN = (LEFT - 360, BOTTOM, RIGHT - 360, TOP)
OCEAN = Ocean(27, BOX, land=0.08)
LAND = -214748.36
SOURCES = f"""
heights: &heights
  title: Heights of a synthetic sea, a file of each day
  files: [{{ url: "file:heights" }}]
  reader: &days
    op: days
    args: &args
      files: sea_*.nc
      dates: l4_(\\d{{8}})_
      regions: {{ strait: {list(BOX)} }}
  crs: EPSG:4326
  resolution: {1 / CELLS}
  vertical_datum: geoid:synthetic
  variables:
    adt: {{ units: m, standard_name: sea_surface_height_above_geoid, valid_range: [-10, 10] }}
  licence: CC0-1.0
heights_from_the_east:
  <<: *heights
  reader: {{ <<: *days, args: {{ <<: *args, regions: {{ strait: {list(EASTERN)} }} }} }}
temperatures:
  title: Temperatures of a synthetic sea, all days in one file
  files: [{{ url: "file:temperatures.nc" }}]
  reader: {{ op: days, args: {{ regions: {{ strait: {list(BOX)} }} }} }}
  crs: EPSG:4326
  resolution: {1 / CELLS}
  variables:
    sst: {{ name: analysed_sst, units: K, standard_name: sea_surface_temperature }}
  licence: CC0-1.0
"""
_EPOCH = dt.date(1981, 1, 1)


def day(date: dt.date) -> Day:
    """The sea on a day."""
    return OCEAN.day(date, CELLS)


def heights(folder: Path, date: dt.date) -> Path:
    """Where the heights of a day lie, below a data root."""
    return folder / "heights" / f"sea_l4_{date:%Y%m%d}_20200101.nc"


def temperatures(folder: Path) -> Path:
    """Where the temperatures of all days lie, below a data root."""
    return folder / "temperatures.nc"


def write_heights(folder: Path, date: dt.date) -> None:
    """Write the heights of a day."""
    path = heights(folder, date)
    path.parent.mkdir(parents=True, exist_ok=True)
    with netCDF4.Dataset(path, "w") as file:
        _axes(file, west=0.0, days=1)
        values = file.createVariable("adt", "f4", ("time", "latitude", "longitude"), zlib=True)
        values.units = "m"
        values[0] = np.nan_to_num(_around(day(date).ssh, west=0.0), nan=LAND)
        file["time"][:] = (date - _EPOCH).days


def write_temperatures(folder: Path, dates: list[dt.date]) -> None:
    """Write the temperatures of some days, in place of what there is."""
    with netCDF4.Dataset(temperatures(folder), "w") as file:
        _axes(file, west=-180.0, days=None)
        shape = ("time", "latitude", "longitude")
        values = file.createVariable("analysed_sst", "f4", shape, fill_value=-999, zlib=True)
        values.units = "kelvin"
        for index, date in enumerate(dates):
            field = _around(day(date).sst, west=-180.0)
            values[index] = np.nan_to_num(field, nan=-999)
            file["time"][index] = (date - _EPOCH).days


def _axes(file: netCDF4.Dataset, west: float, days: int | None) -> None:
    """Axes around the globe from a longitude, rows from the south."""
    rows, columns = round((TOP - BOTTOM) * CELLS), 360 * CELLS
    for name, size in {"time": days, "latitude": rows, "longitude": columns}.items():
        file.createDimension(name, size)
        file.createVariable(name, "f8", (name,))
    file["time"].units = f"days since {_EPOCH} 00:00:00"
    file["latitude"][:] = BOTTOM + (np.arange(rows) + 0.5) / CELLS
    file["latitude"].units = "degrees_north"
    file["longitude"][:] = west + (np.arange(columns) + 0.5) / CELLS
    file["longitude"].units = "degrees_east"


def _around(field: NDArray[np.float32], west: float) -> NDArray[np.float32]:
    """A field of the box among all longitudes from one, rows from the south; else missing."""
    whole = np.full((field.shape[0], 360 * CELLS), np.nan, np.float32)
    first = round((LEFT - west) * CELLS)
    whole[:, (first + np.arange(field.shape[1])) % whole.shape[1]] = field[::-1]
    return whole
