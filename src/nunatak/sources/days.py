"""Fields of days as an album: each day of each region is a scene, whatever file it lies in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from nunatak.content import digest_array
from nunatak.errors import ConfigError, DataError, SourceError
from nunatak.grid import Window
from nunatak.ops.footprint import ALIGNED, coincident, turned
from nunatak.ops.warp import surrounding, warp
from nunatak.provenance import digest_json
from nunatak.scene import Scene
from nunatak.source import Source
from nunatak.sources.dated import Place, check_named, days
from nunatak.sources.gridded import FileRaster
from nunatak.sources.raster import Raster
from nunatak.sources.readers import open_netcdf, open_npy, open_raster

Bounds = tuple[float, float, float, float]
# Cells around a region that any resampling of a scene may read.
_AROUND = 64
_OPEN = 8


def open_days(
    path: Path,
    source: Source,
    *,
    files: str = "*.nc",
    dates: str = "",
    time: str = "time",
    regions: dict[str, list[float]] | None = None,
    region: str = "whole",
    bounds: list[float] | None = None,
    x: str = "",
    y: str = "",
    select: dict[str, int] | None = None,
    coordinate_units: str = "",
    ignore_crs: bool = False,
) -> DayAlbum:
    r"""Open files of days: one of many days, or many of one or more, in netCDF, GeoTIFF or npy.

    Parameters
    ----------
    path
        A folder; or a file, beside which the source's other files lie.
    source
        Its entry in the catalogue. Where ``dates``, ``regions`` and its ``resolution`` are given,
        no file is opened to tell which scenes there are: they need not be there yet.
    files
        Which files of a folder: ``dt_global_*.nc``.
    dates
        Regular expression with one group that finds the date, YYYYMMDD or YYYY-MM-DD, in a file's
        name: ``l4_(\d{8})_``. Only for files of one day: a netCDF file whose time axis has several
        steps, or another date, is refused when it is opened. By default each netCDF file's time
        axis tells, be it of one day or of many.
    time
        Name of the time axis. A file without it holds one day, and needs ``dates``.
    regions
        Boxes that scenes are cut to: left, bottom, right, top (units of the CRS; longitudes may run
        beyond 180). By default the whole grid, called ``region``.
    region
        What the whole grid is called.
    bounds
        Left, bottom, right, top of npy files, whose first row is the northernmost.
    x, y, select, coordinate_units, ignore_crs
        As of the reader netcdf.

    Raises
    ------
    SourceError
        If there is no such file.
    ConfigError
        If the expression is none, or a box is none.
    DataError
        If a date cannot be told, is of another calendar, or one day is there twice.
    """
    options: dict[str, Any] = {"select": select or {}, "ignore_crs": ignore_crs, "x": x, "y": y}
    options |= {"coordinate_units": coordinate_units, "bounds": bounds or []}
    boxes = {name: _box(name, box) for name, box in (regions or {}).items()}
    found = days(path, source, files, dates, time)
    return DayAlbum(source, found, boxes or {region: None}, time, options)


def _box(name: str, box: Sequence[float]) -> Bounds:
    if len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
        raise ConfigError(
            f"days: region {name!r} is {list(box)}",
            "left, bottom, right, top; left < right",
            "across the date line, let the right one run beyond 180: [150, 20, 200, 50]",
        )
    left, bottom, right, top = box
    return left, bottom, right, top


@dataclass(frozen=True)
class DayAlbum:
    """Days of regions; see `open_days`. A region without a box is the whole grid."""

    source: Source
    days: Mapping[dt.date, Place]
    regions: Mapping[str, Bounds | None]
    time: str
    options: Mapping[str, Any]

    def scenes(self) -> dict[str, Scene]:
        """Every day of every region, by name, sorted.

        Raises
        ------
        ConfigError
            If a region is not a whole number of cells.
        """
        grids = {name: self._grid(name, box) for name, box in self.regions.items()}
        found = {
            f"{name}_{date}": Scene.model_validate({"group": name, "date": date, **grid})
            for name, grid in grids.items()
            for date in self.days
        }
        return dict(sorted(found.items()))

    def _grid(self, name: str, box: Bounds | None) -> dict[str, Any]:
        """Shape, CRS and bounds of a region."""
        if box is None:
            whole = self.opened(next(iter(self.days))).geobox
            given = {"shape": tuple(whole.shape), "bounds": tuple(whole.boundingbox)}
        else:
            given = {"shape": _cells(name, box, self._cell), "bounds": box}
        return {**given, "crs": self.source.crs}

    @property
    def _cell(self) -> tuple[float, float]:
        """Width and height of a cell."""
        if self.source.resolution is not None:
            return self.source.resolution, self.source.resolution
        x, y = self.opened(next(iter(self.days))).geobox.resolution.xy
        return abs(x), abs(y)

    def holds(self, scene: Scene) -> bool:
        """Whether it has the day of a scene, wherever that lies."""
        return scene.date in self.days

    def raster(self, name: str, scene: Scene) -> Raster:
        """The fields of a scene's day, on the files' own grid."""
        del name
        return DayRaster(self, scene.date)

    def digest(self, name: str, scene: Scene) -> str:
        """Digest of the values in and around a scene's region, lagged ones included."""
        del name
        raster, box = DayRaster(self, scene.date), scene.geobox.pad(_AROUND)
        variables = self.source.variables
        return digest_json({key: digest_array(surrounding(raster, key, box)) for key in variables})

    @cached_property
    def opened(self) -> Callable[[dt.date], FileRaster]:
        """Opens the file of a day; the last few stay open."""
        return lru_cache(maxsize=_OPEN)(self._open)

    def _open(self, date: dt.date) -> FileRaster:
        place, options = self.days[date], dict(self.options)
        bounds, select = options.pop("bounds"), options.pop("select")
        if place.path.suffix == ".npy":
            return open_npy(place.path, self.source, bounds=bounds)
        if place.path.suffix == ".tif":
            return open_raster(place.path, self.source, ignore_crs=options["ignore_crs"])
        select = {**select, self.time: place.index or 0}
        opened = open_netcdf(place.path, self.source, select=select, **options)
        if place.index is None:
            check_named(place.path, date, self.time)
        return opened


def _cells(name: str, box: Bounds, cell: tuple[float, float]) -> tuple[int, int]:
    (left, bottom, right, top), (width, height) = box, cell
    rows, cols = (top - bottom) / height, (right - left) / width
    if abs(rows - round(rows)) > ALIGNED or abs(cols - round(cols)) > ALIGNED:
        raise ConfigError(
            f"days: region {name!r} is {rows:.10g} x {cols:.10g} cells of {width:g} x {height:g}",
            "a whole number of cells",
            "move its sides to edges of cells",
        )
    return round(rows), round(cols)


@dataclass(frozen=True)
class DayRaster:
    """The fields of one day, those of earlier days by their variables' lag."""

    album: DayAlbum
    date: dt.date

    @property
    def geobox(self) -> GeoBox:
        """The files' grid.

        Raises
        ------
        SourceError
            If no file holds the day.
        """
        if self.date not in self.album.days:
            raise SourceError(f"no field of {self.date}", "a day that a file holds")
        return self.album.opened(self.date).geobox

    def read(self, variable: str, window: Window) -> NDArray[np.float32]:
        """Values of a window; NaN where missing, and all NaN if no file holds the lagged day.

        Raises
        ------
        DataError
            If the lagged day has other cells.
        """
        date = self.date - dt.timedelta(days=self.album.source.variables[variable].lag)
        if date not in self.album.days:
            return np.full(window.shape, np.nan, np.float32)
        found, box = self.album.opened(date), self.geobox
        if found.geobox == box:
            return found.read(variable, window)
        there = box[window.slices]
        if coincident(turned(found.geobox, there), there) is None:
            raise DataError(
                f"{date} lies on another grid than {self.date}",
                "days of the same cells, whatever column they begin at",
                "regrid one of them first, or make two sources of them",
            )
        return warp(found, variable, there, "nearest")
