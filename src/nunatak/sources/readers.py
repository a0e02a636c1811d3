"""Readers of gridded files: GeoTIFF by rasterio, netCDF (CF and GMT) by netCDF4, Zarr by xarray.

A reader opens a file, checks that it is what the catalogue says, and reads windows. Only numbers
are ever read: arrays of Python objects are not opened, so that no file can bring a pickle along.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import rasterio
import rasterio.windows
from numpy.typing import ArrayLike
from odc.geo.crs import CRS
from rasterio.enums import MaskFlags

from nunatak.errors import DataError, SourceError
from nunatak.source import Source, Variable
from nunatak.sources.gridded import Field, FileRaster, Layout, gridded, unknown
from nunatak.sources.raster import Axis, check_crs, north_up, parse_crs

# In bytes, as rasterio hands it on: GDAL's own option would be in megabytes.
_CACHE = 64 << 20


def open_raster(path: Path, source: Source, *, ignore_crs: bool = False) -> FileRaster:
    """Open a GeoTIFF, BigTIFF, COG, or anything else that GDAL reads.

    A variable's ``name`` is a band's number ("1") or description; without one the key is looked
    for among the descriptions, and a file of one band needs no name at all.

    Parameters
    ----------
    path
        The file.
    source
        Its entry in the catalogue.
    ignore_crs
        Take the catalogue's CRS, whatever the file says.

    Raises
    ------
    SourceError
        If the file cannot be opened or lacks a variable.
    DataError
        If the file has no regular north-south grid, or its CRS is not the catalogue's.
    """
    try:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE):
            dataset = rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        raise SourceError(f"{path}: {error}", "a raster that GDAL can read") from error
    affine = dataset.transform
    if affine.is_identity or affine.b or affine.d:
        raise DataError(
            f"{path}: the grid is rotated or not georeferenced ({tuple(affine)[:6]})",
            "rows along the parallels or the y axis of the CRS",
            "warp it with gdalwarp first",
        )
    x = Axis(affine.c, affine.a, dataset.width)
    y = Axis(affine.f, affine.e, dataset.height)
    geobox = north_up(x, y, CRS(source.crs))
    if not ignore_crs:
        found = parse_crs(dataset.crs.to_wkt()) if dataset.crs else None
        check_crs(found, source.crs, geobox, str(path))
    bands = {key: _band(dataset, key, v, path) for key, v in source.variables.items()}
    takers = {key: _band_taker(dataset, band) for key, band in bands.items()}
    shape, flips = (dataset.height, dataset.width), (y.step > 0, x.step < 0)
    return FileRaster(geobox, source.variables, flips, shape, takers)


def _band(dataset: Any, key: str, variable: Variable, path: Path) -> int:
    name, described = variable.name or key, list(dataset.descriptions)
    if name in described:
        return described.index(name) + 1
    if name.isdecimal() and 1 <= int(name) <= dataset.count:
        return int(name)
    if not variable.name and dataset.count == 1:
        return 1
    names = [f"{i} ({text})" if text else str(i) for i, text in enumerate(described, 1)]
    raise unknown(path, name, names)


def _band_taker(dataset: Any, band: int) -> Callable[[slice, slice], ArrayLike]:
    scale, offset = dataset.scales[band - 1], dataset.offsets[band - 1]
    nodata, flags = dataset.nodatavals[band - 1], dataset.mask_flag_enums[band - 1]
    # GDAL makes a mask of what is not NaN or a number far more slowly than it reads.
    simple = flags in ([MaskFlags.all_valid], [MaskFlags.nodata])

    def take(rows: slice, cols: slice) -> ArrayLike:
        window = rasterio.windows.Window.from_slices(rows, cols)
        with rasterio.Env(GDAL_CACHEMAX=_CACHE):
            values = dataset.read(band, window=window, masked=not simple)
        if simple and nodata is not None and not np.isnan(nodata):
            values = np.ma.array(values, mask=values == nodata)
        unpacked: ArrayLike = values if (scale, offset) == (1, 0) else values * scale + offset
        return unpacked

    return take


def open_npy(path: Path, source: Source, *, bounds: list[float]) -> FileRaster:
    """Open a NumPy file of one field, whose grid the catalogue declares.

    Parameters
    ----------
    path
        The file: (rows, columns), the first row the northernmost, the first column the
        westernmost.
    source
        Its entry in the catalogue; it has one variable.
    bounds
        Left, bottom, right, top of the grid (units of the CRS).

    Raises
    ------
    SourceError
        If the file cannot be read, or holds Python objects.
    DataError
        If it holds no field of numbers, the catalogue has several variables, or the bounds are
        none.
    """
    try:
        values = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: {error}", "a NumPy file of numbers") from error
    if values.ndim != 2 or values.dtype.kind not in "iuf" or len(source.variables) != 1:
        raise DataError(
            f"{path}: {values.dtype} of shape {values.shape}, for {', '.join(source.variables)}",
            "numbers in rows and columns, for one variable",
            "write each field to a file of its own",
        )
    if len(bounds) != 4 or not (bounds[0] < bounds[2] and bounds[1] < bounds[3]):
        raise DataError(
            f"{path}: bounds {bounds}", "left, bottom, right, top: a NumPy file tells no place"
        )
    left, bottom, right, top = bounds
    rows, cols = values.shape
    x, y = Axis(left, (right - left) / cols, cols), Axis(top, (bottom - top) / rows, rows)
    name = next(iter(source.variables))
    takers = {name: lambda rows, cols: values[rows, cols]}
    grid = north_up(x, y, CRS(source.crs))
    return FileRaster(grid, source.variables, (False, False), (rows, cols), takers)


def open_netcdf(
    path: Path,
    source: Source,
    *,
    x: str = "",
    y: str = "",
    select: dict[str, int] | None = None,
    coordinate_units: str = "",
    ignore_crs: bool = False,
) -> FileRaster:
    """Open a netCDF file, by CF or by GMT's conventions, old and new.

    The coordinates of the file are centres of cells; gridline-registered grids are taken as grids
    whose cells have the nodes in their middle. ``_FillValue`` (and the default of the type),
    ``missing_value``, ``valid_range``, ``scale_factor`` and ``add_offset`` are honoured.

    Parameters
    ----------
    path
        The file.
    source
        Its entry in the catalogue; ``crs`` is used where the file has none, and checked otherwise.
    x, y
        Names of the coordinate variables, if they cannot be told by their attributes or names.
    select
        Index along every other dimension that is longer than one: ``{time: 0}``.
    coordinate_units
        Units of the coordinates, if the file's own are missing or wrong.
    ignore_crs
        Take the catalogue's CRS, whatever the file says.

    Raises
    ------
    SourceError
        If the file cannot be opened or lacks a variable.
    DataError
        If the coordinates are missing or irregular, a dimension is left over, or the CRS is not
        the catalogue's.
    """
    try:
        dataset = netCDF4.Dataset(path)
    except OSError as error:
        raise SourceError(f"{path}: {error}", "a netCDF file") from error
    fields = _old_gmt(dataset) if "xysize" in dataset.dimensions else _netcdf_fields(dataset)
    layout = Layout(x, y, select or {}, coordinate_units, ignore_crs)
    return gridded(path, source, fields, layout)


def _netcdf_fields(dataset: netCDF4.Dataset) -> dict[str, Field]:
    """The numeric arrays of a netCDF file, and the scalars that carry grid mappings."""
    fields = {}
    for name, variable in dataset.variables.items():
        variable.set_auto_maskandscale(True)
        variable.set_always_mask(False)
        attrs = {key: variable.getncattr(key) for key in variable.ncattrs()}
        numeric = isinstance(variable.dtype, np.dtype) and variable.dtype.kind in "biuf"
        if numeric or len(variable.shape) < 2:
            fields[name] = Field(variable.dimensions, variable.shape, attrs, variable.__getitem__)
    return fields


def _old_gmt(dataset: netCDF4.Dataset) -> dict[str, Field]:
    """The arrays of a grid as GMT wrote them before version 4.1: one run of rows from the north."""
    flat = dataset["z"]
    cols, rows = (int(n) for n in dataset["dimension"][:])
    pixel = int(getattr(flat, "node_offset", 0))

    def take(key: tuple[slice | int, ...]) -> ArrayLike:
        lines, columns = key
        assert isinstance(lines, slice)
        run = flat[lines.start * cols : lines.stop * cols]
        part: ArrayLike = run.reshape(-1, cols)[:, columns]
        return part

    def line(name: str, size: int, backwards: bool) -> Field:
        low, high = (float(end) for end in dataset[f"{name}_range"][:])
        step = (high - low) / (size if pixel else size - 1)
        centres = low + step * (np.arange(size) + 0.5 * pixel)
        return Field((name,), (size,), {}, (centres[::-1] if backwards else centres).__getitem__)

    x, y = line("x", cols, False), line("y", rows, True)
    return {"x": x, "y": y, "z": Field(("y", "x"), (rows, cols), {}, take)}


def open_zarr(
    path: Path,
    source: Source,
    *,
    x: str = "",
    y: str = "",
    select: dict[str, int] | None = None,
    coordinate_units: str = "",
    ignore_crs: bool = False,
) -> FileRaster:
    """Open a Zarr group, version 2 or 3, whose arrays have named dimensions as xarray writes them.

    Parameters
    ----------
    path
        The group.
    source
        Its entry in the catalogue; ``crs`` is used where the group has none, and checked otherwise.
    x, y, select, coordinate_units, ignore_crs
        As in `open_netcdf`.

    Raises
    ------
    SourceError
        If the group cannot be opened or lacks a variable.
    DataError
        As in `open_netcdf`.
    """
    import xarray as xr
    import zarr

    try:
        group = zarr.open_group(path, mode="r")
        kinds = {name: np.dtype(array.dtype).kind for name, array in group.arrays()}
        others = [name for name, kind in kinds.items() if kind not in "biuf"]
        dataset = xr.open_zarr(
            path, chunks=None, consolidated=False, decode_times=False, drop_variables=others
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SourceError(f"{path}: {error}", "a Zarr group with named dimensions") from error
    fields = {str(name): _zarr_field(variable) for name, variable in dataset.variables.items()}
    layout = Layout(x, y, select or {}, coordinate_units, ignore_crs)
    return gridded(path, source, fields, layout)


def _zarr_field(variable: Any) -> Field:
    mapping = variable.encoding.get("grid_mapping")
    attrs = {**variable.attrs, **({"grid_mapping": mapping} if mapping else {})}
    dims = tuple(str(dim) for dim in variable.dims)
    return Field(dims, variable.shape, attrs, lambda key: np.asarray(variable[key].values))
