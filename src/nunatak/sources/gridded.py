"""Gridded files by windows: arrays with named dimensions, their coordinates and missing values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from nunatak.errors import DataError, SourceError
from nunatak.grid import Window
from nunatak.source import Source, Variable
from nunatak.sources.raster import Axis, cf_crs, check_crs, north_up, unit_factor

_X = ("projection_x_coordinate", "longitude", "grid_longitude", "degrees_east", "x", "x1", "xc")
_X_ALSO = ("lon", "long", "easting")
_Y = ("projection_y_coordinate", "latitude", "grid_latitude", "degrees_north", "y", "y1", "yc")
_Y_ALSO = ("lat", "northing")


def clean(values: ArrayLike, variable: Variable) -> NDArray[np.float32]:
    """Values of a file with everything that is missing made NaN.

    Parameters
    ----------
    values
        Unpacked values of any numeric type, masked where the file says that they are missing.
    variable
        Its ``nodata``, ``valid_range`` and ``floor`` are applied, in the file's units.

    Returns
    -------
    ndarray
        NaN where masked, not finite, equal to nodata or out of range; elsewhere never below the
        floor.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = np.array(np.ma.getdata(values), np.float32, order="C")
        missing = ~np.isfinite(numbers) | np.ma.getmask(values)
        if variable.nodata is not None:
            missing |= numbers == np.float32(variable.nodata)
        if variable.valid_range is not None:
            low, high = variable.valid_range
            missing |= (numbers < np.float32(low)) | (numbers > np.float32(high))
    np.copyto(numbers, np.nan, where=missing)
    if variable.floor is not None:
        np.maximum(numbers, np.float32(variable.floor), out=numbers)
    return numbers


@dataclass(frozen=True)
class FileRaster:
    """A file opened for reading by windows.

    Parameters
    ----------
    geobox
        The grid, north-up.
    variables
        The variables of the catalogue.
    flips
        Whether rows and columns lie the other way around in the file.
    shape
        Rows and columns in the file.
    takers
        For each variable, a function from row and column slices of the file to unpacked values.
    """

    geobox: GeoBox
    variables: Mapping[str, Variable]
    flips: tuple[bool, bool]
    shape: tuple[int, int]
    takers: Mapping[str, Callable[[slice, slice], ArrayLike]] = field(repr=False)

    def read(self, variable: str, window: Window) -> NDArray[np.float32]:
        """Values of a window (cells of ``geobox``, inside it); NaN where missing."""
        (rows, cols), (up, left) = window.slices, self.flips
        if up:
            rows = slice(self.shape[0] - rows.stop, self.shape[0] - rows.start)
        if left:
            cols = slice(self.shape[1] - cols.stop, self.shape[1] - cols.start)
        values = clean(self.takers[variable](rows, cols), self.variables[variable])
        return np.ascontiguousarray(values[:: -1 if up else 1, :: -1 if left else 1])


@dataclass(frozen=True)
class Field:
    """An array with named dimensions in a file; ``take`` reads and unpacks a part of it."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: Mapping[str, Any]
    take: Callable[[tuple[slice | int, ...]], ArrayLike]


@dataclass(frozen=True)
class Layout:
    """How to read the arrays of a file, beyond what the file says itself.

    Parameters
    ----------
    x, y
        Names of the coordinate variables; empty: by their attributes or names.
    select
        Index along every other dimension that is longer than one.
    units
        Units of the coordinates; empty: the file's, or else the CRS's.
    ignore_crs
        Take the catalogue's CRS, whatever the file says.
    """

    x: str = ""
    y: str = ""
    select: Mapping[str, int] = field(default_factory=dict)
    units: str = ""
    ignore_crs: bool = False


def gridded(path: Path, source: Source, fields: Mapping[str, Field], layout: Layout) -> FileRaster:
    """The raster of the catalogue's variables among the arrays of a file.

    Raises
    ------
    SourceError
        If the file lacks a variable.
    DataError
        If the coordinates are missing or irregular, a dimension is left over, the variables are not
        on one grid, or the CRS is not the catalogue's.
    """
    chosen = {key: _lookup(fields, v.name or key, path) for key, v in source.variables.items()}
    first = next(iter(chosen.values()))
    y = layout.y or _coordinate(first, fields, (*_Y, *_Y_ALSO), "Y", path)
    x = layout.x or _coordinate(first, fields, (*_X, *_X_ALSO), "X", path)
    crs = CRS(source.crs)
    axes = [_axis(fields, name, crs, layout.units, path) for name in (y, x)]
    geobox = north_up(axes[1], axes[0], crs)
    if not layout.ignore_crs:
        mapping = str(first.attrs.get("grid_mapping", "")).split(":")[0]
        found = cf_crs(fields[mapping].attrs) if mapping in fields else None
        check_crs(found, source.crs, geobox, str(path))
    dims = fields[y].dims[0], fields[x].dims[0]
    takers = {key: _taker(f, dims, layout.select, f"{path}: {key}") for key, f in chosen.items()}
    flips = axes[0].step > 0, axes[1].step < 0
    return FileRaster(geobox, source.variables, flips, (axes[0].size, axes[1].size), takers)


def unknown(path: Path, name: str, names: list[str]) -> SourceError:
    """The error of a variable that a file does not have, with those that it has."""
    return SourceError(
        f"{path}: no variable {name!r}",
        f"one of {', '.join(names)}",
        "set the variable's name in the source's entry",
    )


def _lookup(fields: Mapping[str, Field], name: str, path: Path) -> Field:
    if name not in fields or len(fields[name].shape) < 2:
        raise unknown(path, name, [n for n, f in fields.items() if len(f.shape) > 1])
    return fields[name]


def _coordinate(
    array: Field, fields: Mapping[str, Field], names: tuple[str, ...], letter: str, path: Path
) -> str:
    """The dimension of an array that is its x or y coordinate."""
    for dim in array.dims:
        attrs = fields[dim].attrs if dim in fields else {}
        told = {str(attrs.get(key, "")) for key in ("standard_name", "units")} | {dim.lower()}
        if attrs.get("axis") == letter or told & set(names):
            return dim
    raise DataError(
        f"{path}: cannot tell the {letter.lower()} dimension among {', '.join(array.dims)}",
        "CF attributes (axis, standard_name, units) or a usual name, like x or lon",
        f"set the reader's {letter.lower()}",
    )


def _axis(fields: Mapping[str, Field], name: str, crs: CRS, units: str, path: Path) -> Axis:
    if name not in fields:
        raise DataError(f"{path}: dimension {name!r} has no coordinates", "a variable of its name")
    where = f"{path}: {name}"
    given = units or str(fields[name].attrs.get("units", ""))
    centres: Any = np.ma.asarray(fields[name].take((slice(None),)))
    if np.ma.is_masked(centres):
        raise DataError(f"{where}: coordinates are missing", "a number for every cell")
    return Axis.of(centres.filled(), where).scaled(unit_factor(given, crs, where))


def _taker(
    array: Field, dims: tuple[str, str], select: Mapping[str, int], where: str
) -> Callable[[slice, slice], ArrayLike]:
    """A function that reads rows and columns of an array, other dimensions fixed."""
    sizes = dict(zip(array.dims, array.shape, strict=True))
    missing = [dim for dim in dims if dim not in sizes]
    left = [d for d, n in sizes.items() if d not in (*dims, *select) and n > 1]
    far = [d for d, n in select.items() if d in sizes and not -sizes[d] <= n < sizes[d]]
    if missing or left or far:
        shape = ", ".join(f"{dim}={size}" for dim, size in sizes.items())
        raise DataError(
            f"{where} has the dimensions {shape}",
            f"{dims[0]}, {dims[1]} and others that are fixed by the reader's select",
            f"select one index of {', '.join(missing + left + far)}, like select: {{time: 0}}",
        )

    order = tuple(dim for dim in array.dims if dim in dims)

    def take(rows: slice, cols: slice) -> ArrayLike:
        along = {dims[0]: rows, dims[1]: cols}
        values: Any = array.take(tuple(along.get(d, select.get(d, 0)) for d in array.dims))
        upright: ArrayLike = values if order == dims else values.T
        return upright

    return take
