"""Days of a small sea in files, and a recipe: a fine product and a coarse one with a bias."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
from numpy.typing import NDArray

from nunatak.albums import with_scenes
from nunatak.config import merge
from nunatak.products import Results
from nunatak.recipe import Recipe
from nunatak.stages.degrade import degrade
from nunatak.stages.reproject import reproject

FIRST, SCALE = dt.date(2015, 12, 20), 4
# Left, bottom, right, top: across the date line.
BOX, CELLS = (178.0, -2.0, 184.0, 2.0), 4
ROWS, COLS = 16, 24

NETCDF: dict[str, Any] = {
    "title": "made for a test",
    "files": [{"url": "file:sea"}],
    "crs": "EPSG:4326",
    "licence": "CC0-1.0",
}
READER: dict[str, Any] = {"op": "days", "args": {"regions": {"line": list(BOX)}}}


def reader(files: str) -> dict[str, Any]:
    """The reader of some files of the folder."""
    return merge(READER, {"args": {"files": files}})


SST: dict[str, Any] = {"units": "K", "name": "sst"}
BASE: dict[str, Any] = {
    "name": "sea",
    "title": "A sea by hand",
    "target": {
        "variable": "sst",
        "standard_name": "sea_surface_temperature",
        "long_name": "temperature",
        "units": "K",
        "valid_range": [200, 400],
    },
    "grid": {"scale": SCALE, "block": 16, "resolution": 1 / CELLS},
    "scenes": {"source": "fine"},
    "roles": {
        "target": {"source": "fine", "variables": ["sst"], "resampling": "nearest"},
        "past": {
            "source": "rough",
            "variables": ["sst", "sst_1", "sst_2"],
            "resolution": SCALE / CELLS,
            "resampling": "average",
        },
    },
    "conditions": ["past"],
    "coarse": {"role": "past", "degrade": {"op": "pair"}},
    "split": {
        "by": {
            "op": "days",
            "args": {
                "test": [["2016-01-05", "2016-01-10"]],
                "validation": [["2015-12-30", "2015-12-31"]],
                "gap": 2,
            },
        },
        "buffer": 0,
    },
    "tiles": {"size": 4, "stride": 2, "context": 0},
    "methods": {
        "bilinear": {"model": {"op": "interpolate", "args": {"mode": "bilinear"}}},
        "corrected": {"model": {"op": "corrected"}},
        "climatology": {"model": {"op": "climatology"}},
    },
    "products": ["bilinear", "corrected", "climatology"],
    "infer": {"window": 8},
    "mosaic": {},
    "sources": {
        "fine": {**NETCDF, "reader": reader("fine_*.nc"), "variables": {"sst": SST}},
        "rough": {
            **NETCDF,
            "reader": reader("rough_*.nc"),
            "variables": {"sst": SST, "sst_1": {**SST, "lag": 1}, "sst_2": {**SST, "lag": 2}},
        },
    },
}


def day(number: int) -> NDArray[np.float32]:
    """The sea on a day, by fine cells from the north: a smooth field, and land in a corner."""
    rows, cols = np.mgrid[:ROWS, :COLS]
    wave = np.sin(cols / 5 + number / 3) * np.cos(rows / 4 - number / 5)
    field = (290 + 2 * wave + rows / 8).astype(np.float32)
    field[:3, :5] = np.nan
    return field


def bias() -> NDArray[np.float32]:
    """What the coarse product is too warm by, by coarse cells."""
    rows, cols = np.mgrid[: ROWS // SCALE, : COLS // SCALE]
    return (2 + rows - 0.5 * cols).astype(np.float32)


def means(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of blocks; NaN where more than half of the cells are."""
    cells = field.reshape(ROWS // SCALE, SCALE, COLS // SCALE, SCALE).swapaxes(1, 2)
    cells = cells.reshape(ROWS // SCALE, COLS // SCALE, -1)
    few = np.isnan(cells).mean(-1) > 0.5
    return np.where(few, np.nan, np.nanmean(np.where(few[..., None], 0, cells), -1))


def write(
    path: Path, start: dt.date, fields: Sequence[NDArray[np.float32]], west: float = BOX[0]
) -> None:
    """A file of consecutive days, as others make them: rows from the south."""
    rows, cols = fields[0].shape
    left, bottom, right, top = BOX
    with netCDF4.Dataset(path, "w") as file:
        for name, size in {"time": len(fields), "lat": rows, "lon": cols}.items():
            file.createDimension(name, size)
        time, lat, lon = (file.createVariable(n, "f8", (n,)) for n in ("time", "lat", "lon"))
        time.units, time[:] = f"days since {start} 12:00:00", np.arange(len(fields))
        lat.units, lon.units = "degrees_north", "degrees_east"
        lat[:] = bottom + (np.arange(rows) + 0.5) * (top - bottom) / rows
        lon[:] = west + (np.arange(cols) + 0.5) * (right - left) / cols
        sst = file.createVariable("sst", "f4", ("time", "lat", "lon"), fill_value=-999)
        for index, field in enumerate(fields):
            sst[index] = np.nan_to_num(field[::-1], nan=-999)


def sea(folder: Path, count: int = 24, shift: int = 0) -> Path:
    """Files of both products below a data root: the rough one ``shift`` days later."""
    (folder / "sea").mkdir(parents=True, exist_ok=True)
    days = [day(number) for number in range(count)]
    write(folder / "sea" / "fine_1.nc", FIRST, days[:10], west=BOX[0] - 360)
    write(folder / "sea" / "fine_2.nc", FIRST + dt.timedelta(10), days[10:])
    rough = [means(field) + bias() for field in days]
    write(folder / "sea" / "rough_1.nc", FIRST + dt.timedelta(shift), rough)
    return folder


def recipe(data: Path, **change: Any) -> Recipe:
    """The recipe, with the scenes of a data root, and with some values changed."""
    plain = Recipe.model_validate(merge(BASE, change))
    return with_scenes(plain, data / "none", data)


def tree(folder: Path, **change: Any) -> Results:
    """A results tree as far as the stage `degrade`."""
    data = sea(folder / "data")
    results = Results(recipe(data, **change), folder / "results")
    for place, block in results.everywhere():
        for role in results.recipe.roles:
            reproject(results.at(place), role, block, data)
        degrade(results.at(place), block)
    return results
