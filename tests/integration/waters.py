"""A synthetic sea across the date line, as files of days: two products and a table of stations."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nunatak.sources import ocean
from nunatak.sources.waters import Ocean

BOX, CELLS, SCALE, STATIONS = (178.5, -43.0, 181.5, -41.0), 20, 5, 8
SEA = Ocean(0, BOX, land=0.3, season=6.0, extremes=2.5)
SHAPE = (40, 60)
SOURCES = """
fine_days:
  title: A fine analysis of a synthetic sea, a file a day
  files: [{ url: "file:fine" }]
  reader:
    op: days
    args: { dates: "fine_(\\\\d{8})", regions: { line: [178.5, -43, 181.5, -41] } }
  crs: EPSG:4326
  resolution: 0.05
  variables:
    sst: { units: K }
  licence: CC0-1.0

coarse_days:
  title: A coarse and biased reanalysis of the same sea, a file a day
  files: [{ url: "file:coarse" }]
  reader:
    op: days
    args: { dates: "coarse_(\\\\d{8})", regions: { line: [178.5, -43, 181.5, -41] } }
  crs: EPSG:4326
  resolution: 0.25
  variables:
    sst: { units: K }
    sst_1: { name: sst, lag: 1, units: K }
    sst_2: { name: sst, lag: 2, units: K }
    sst_3: { name: sst, lag: 3, units: K }
    sst_4: { name: sst, lag: 4, units: K }
    sst_5: { name: sst, lag: 5, units: K }
    sst_6: { name: sst, lag: 6, units: K }
  licence: CC0-1.0

buoys:
  title: Buoys in the same sea, which miss days
  files: [{ url: "file:buoys" }]
  reader: { op: station_csv, args: { columns: { date: day, station: buoy, lon: lon, lat: lat } } }
  variables:
    sst: { units: degC, to: K }
  licence: CC0-1.0

moorings:
  title: Three years at moorings of the same sea
  files: [{ url: "synthetic://ocean" }]
  reader:
    op: synthetic_series
    args: { days: 1237, regions: { line: [178.5, -43, 181.5, -41] }, stations: 3, land: 0.3 }
  variables:
    sst: { units: K, to: degC }
  licence: CC0-1.0
"""


def write_fine(data: Path, day: dt.date) -> Path:
    """Write a day of the fine product, whose longitudes are below -178."""
    field = ocean.analysis(SEA, day, CELLS)
    return write(data / "fine" / f"fine_{day:%Y%m%d}.nc", field, day, BOX[0] - 360)


def write_coarse(data: Path, day: dt.date, dated: dt.date | None = None, by: float = 0) -> Path:
    """Write a day of the coarse product, as if of another date or warmer by some K."""
    field, told = ocean.reanalysis(SEA, day, CELLS, SCALE) + np.float32(by), dated or day
    return write(data / "coarse" / f"coarse_{told:%Y%m%d}.nc", field, told, BOX[0])


def write_buoys(data: Path, given: list[dt.date]) -> Path:
    """Write a table of what stations measured; a day that one missed has no row."""
    lon, lat = ocean.stations(SEA, STATIONS)
    names = [f"b{number}" for number in range(lon.size)]
    east = np.where(lon > 180, lon - 360, lon)
    frames = [
        pd.DataFrame({"day": f"{day} 12:00", "buoy": names, "lon": east, "lat": lat}).assign(
            sst=ocean.measured(SEA, day, CELLS, STATIONS) - 273.15
        )
        for day in given
    ]
    path = data / "buoys" / "buoys.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(frames).dropna().to_csv(path, index=False)
    return path


def write(path: Path, field: NDArray[np.float32], day: dt.date, west: float) -> Path:
    """A file of one day, as others make them: rows from the south, land by a number."""
    (rows, cols), (left, bottom, right, top) = field.shape, BOX
    path.parent.mkdir(parents=True, exist_ok=True)
    with netCDF4.Dataset(path, "w") as file:
        for name, size in {"time": 1, "lat": rows, "lon": cols}.items():
            file.createDimension(name, size)
        time, lat, lon = (file.createVariable(n, "f8", (n,)) for n in ("time", "lat", "lon"))
        time.units, time[:] = "days since 2000-01-01", (day - dt.date(2000, 1, 1)).days
        lat.units, lon.units = "degrees_north", "degrees_east"
        lat[:] = bottom + (np.arange(rows) + 0.5) * (top - bottom) / rows
        lon[:] = west + (np.arange(cols) + 0.5) * (right - left) / cols
        sst = file.createVariable("sst", "f4", ("time", "lat", "lon"), fill_value=-999)
        sst[0] = np.nan_to_num(field[::-1], nan=-999)
    return path
