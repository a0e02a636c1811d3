"""Readers give the same field, whatever the format and however the file lays it out."""

from __future__ import annotations

import gc
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from odc.geo.geobox import GeoBox

from nunatak.errors import DataError, NunatakError, SourceError
from nunatak.grid import Window
from nunatak.source import Source, Variable
from nunatak.sources.catalogue import load_sources
from nunatak.sources.gridded import FileRaster, clean
from nunatak.sources.raster import Axis
from nunatak.sources.readers import open_netcdf, open_raster, open_zarr

ROOT = Path(__file__).resolve().parents[2]
BOX = GeoBox((4, 6), Affine(500, 0, 1000, 0, -500, 9000), "EPSG:3031")
FIELD = np.arange(24, dtype=np.float32).reshape(4, 6)
X, Y = 1250 + 500 * np.arange(6.0), 8750 - 500 * np.arange(4.0)
ALL = Window(0, 4, 0, 6)
PROJ = "+proj=stere +lat_0=-90 +lat_ts=-71 +lon_0=0 +ellps=WGS84"
MAPPING = {
    "grid_mapping_name": "polar_stereographic",
    "straight_vertical_longitude_from_pole": 0.0,
    "latitude_of_projection_origin": -90.0,
    "standard_parallel": -71.0,
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.25722356,
}


def source(crs: str = "EPSG:3031", **variables: dict[str, Any]) -> Source:
    given = {"units": "m"}
    return Source.model_validate(
        {
            "title": "test",
            "files": [{"url": "file:test"}],
            "reader": {"op": "netcdf"},
            "variables": {k: given | v for k, v in (variables or {"bed": {}}).items()},
            "crs": crs,
            "licence": "none",
        }
    )


def write_tiff(path: Path, *bands: np.ndarray, **options: Any) -> Path:
    first = bands[0]
    shape = {"height": first.shape[0], "width": first.shape[1], "count": len(bands)}
    profile = {"driver": "GTiff", "crs": "EPSG:3031", "transform": BOX.affine, "dtype": first.dtype}
    with rasterio.open(path, "w", **shape, **(profile | options)) as dataset:
        for number, band in enumerate(bands, 1):
            dataset.write(band, number)
    return path


def write_netcdf(
    path: Path,
    field: np.ndarray = FIELD,
    x: np.ndarray = X,
    y: np.ndarray = Y,
    dims: tuple[str, ...] = ("y", "x"),
    attrs: dict[str, Any] | None = None,
    packing: dict[str, Any] | None = None,
    units: str = "",
) -> Path:
    sizes = dict(zip(dims, field.shape, strict=True))
    with netCDF4.Dataset(path, "w") as dataset:
        for dim, size in sizes.items():
            dataset.createDimension(dim, size)
        for name, values in (("x", x), ("y", y)):
            if name not in dims:
                continue
            variable = dataset.createVariable(name, values.dtype, (name,))
            variable[:] = values
            if units:
                variable.units = units
        packing = dict(packing or {})
        dtype = packing.pop("dtype", field.dtype)
        fill = packing.pop("_FillValue", None)
        variable = dataset.createVariable("bed", dtype, dims, fill_value=fill)
        variable.setncatts({**packing, **(attrs or {})})
        variable.set_auto_maskandscale(False)
        variable[:] = field.astype(dtype)
        dataset.createVariable("crs", "i4", ()).setncatts(MAPPING)
        dataset.createVariable("note", str, ())[...] = "text"
    return path


def same(raster: FileRaster, expected: np.ndarray = FIELD) -> None:
    assert raster.geobox == BOX
    found = raster.read("bed", ALL)
    assert found.dtype == np.float32
    assert_array_equal(found, expected)


# GeoTIFF


@pytest.mark.parametrize("options", [{}, {"BIGTIFF": "YES"}, {"driver": "COG"}, {"tiled": True}])
def test_a_geotiff_of_every_kind_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    if options.get("tiled"):
        options = {**options, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    same(open_raster(write_tiff(tmp_path / "a.tif", FIELD, **options), source()))


def test_a_geotiff_with_south_up_rows_is_turned(tmp_path: Path) -> None:
    up = Affine(500, 0, 1000, 0, 500, 7000)
    same(open_raster(write_tiff(tmp_path / "a.tif", FIELD[::-1].copy(), transform=up), source()))


def test_nodata_of_the_file_and_of_the_catalogue_and_the_range_are_missing(tmp_path: Path) -> None:
    field = np.where(FIELD == 3, -9999, FIELD).astype(np.int16)
    path = write_tiff(tmp_path / "a.tif", field, nodata=-9999)
    raster = open_raster(path, source(bed={"nodata": 5, "valid_range": [2, 21]}))
    keep = (FIELD >= 2) & (FIELD <= 21) & (FIELD != 3) & (FIELD != 5)
    same(raster, np.where(keep, FIELD, np.nan))


@pytest.mark.parametrize("nodata", [None, np.nan, -9999, -3.4028234663852886e38])
def test_any_nodata_of_a_float_file_is_missing(tmp_path: Path, nodata: float | None) -> None:
    field = FIELD.copy()
    field[1, 2], field[2, 3] = np.nan, np.inf if nodata is None else nodata
    expected = FIELD.copy()
    expected[1, 2] = expected[2, 3] = np.nan
    same(open_raster(write_tiff(tmp_path / "a.tif", field, nodata=nodata), source()), expected)


def test_cells_outside_the_mask_of_a_file_are_missing(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", FIELD)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_mask(FIELD != 5)
    same(open_raster(path, source()), np.where(FIELD == 5, np.nan, FIELD))


def test_bands_are_found_by_number_description_and_alone(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", FIELD, FIELD + 1, FIELD + 2)
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(2, "thickness")
    names = {"bed": {"name": "1"}, "thickness": {}, "firn": {"name": "3"}}
    raster = open_raster(path, source(**names))
    found = [raster.read(name, ALL)[0, 0] for name in names]
    assert found == [0, 1, 2]
    with pytest.raises(SourceError, match=r"no variable 'bed'(.|\n)*1, 2 \(thickness\), 3"):
        open_raster(path, source())


def test_scale_and_offset_of_a_band_are_applied(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", (2 * FIELD - 6).astype(np.int16))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5,), (3.0,)
    same(open_raster(path, source()))


def test_a_geotiff_without_a_crs_has_the_catalogues(tmp_path: Path) -> None:
    same(open_raster(write_tiff(tmp_path / "a.tif", FIELD, crs=None), source()))


def test_a_crs_without_an_authority_is_the_same_crs(tmp_path: Path) -> None:
    same(open_raster(write_tiff(tmp_path / "a.tif", FIELD, crs=PROJ), source()))
    raster = open_raster(write_tiff(tmp_path / "b.tif", FIELD), source(PROJ))
    assert_array_equal(raster.read("bed", ALL), FIELD)


def test_a_crs_that_disagrees_is_refused_with_both_names(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", FIELD, crs="EPSG:3413")
    with pytest.raises(DataError, match=r"EPSG:3413, the catalogue's EPSG:3031"):
        open_raster(path, source())
    same(open_raster(path, source(), ignore_crs=True))


def test_a_rotated_or_plain_image_is_refused(tmp_path: Path) -> None:
    turned = BOX.affine * Affine.rotation(10)
    with pytest.raises(DataError, match="rotated"):
        open_raster(write_tiff(tmp_path / "a.tif", FIELD, transform=turned), source())
    (tmp_path / "b.tif").write_text("not a raster")
    with pytest.raises(SourceError, match=r"b\.tif"):
        open_raster(tmp_path / "b.tif", source())


# netCDF


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ascending=st.booleans(),
    backwards=st.booleans(),
    transposed=st.booleans(),
    top=st.integers(0, 3),
    left=st.integers(0, 5),
    kilometres=st.booleans(),
)
def test_any_layout_of_a_netcdf_gives_the_same_window(
    tmp_path: Path,
    ascending: bool,
    backwards: bool,
    transposed: bool,
    top: int,
    left: int,
    kilometres: bool,
) -> None:
    rows, cols = (
        slice(None, None, -1 if ascending else 1),
        slice(None, None, -1 if backwards else 1),
    )
    field, dims = FIELD[rows, cols], ("y", "x")
    if transposed:
        field, dims = field.T, ("x", "y")
    x, y = X[cols], Y[rows]
    unit = 1000.0 if kilometres else 1.0
    path = tmp_path / "a.nc"
    path.unlink(missing_ok=True)
    write_netcdf(path, field, x / unit, y / unit, dims, units="km" if kilometres else "m")
    raster = open_netcdf(path, source())
    assert raster.geobox == BOX
    window = Window(top, 4, left, 6)
    assert_array_equal(raster.read("bed", window), FIELD[window.slices])


def test_units_of_coordinates_can_be_given(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "a.nc", x=X / 1000, y=Y / 1000)
    same(open_netcdf(path, source(), coordinate_units="kilometers"))
    path = write_netcdf(tmp_path / "b.nc", units="degrees_east")
    with pytest.raises(DataError, match=r"coordinates are in 'degrees_east'"):
        open_netcdf(path, source())


def test_packing_and_every_kind_of_missing_are_honoured(tmp_path: Path) -> None:
    packed = (FIELD * 10 + 50).astype(np.float64)
    packed[0, :2] = -32768, -1
    packing = {
        "dtype": "i2",
        "scale_factor": 0.1,
        "add_offset": -5.0,
        "missing_value": np.int16(-1),
    }
    path = write_netcdf(tmp_path / "a.nc", packed, packing={**packing, "_FillValue": -32768})
    found = open_netcdf(path, source()).read("bed", ALL)
    assert_array_equal(np.isnan(found).nonzero(), [[0, 0], [0, 1]])
    np.testing.assert_allclose(found[0, 2:], FIELD[0, 2:], rtol=1e-6)
    np.testing.assert_allclose(found[1:], FIELD[1:], rtol=1e-6)
    bare = np.where(FIELD == 7, netCDF4.default_fillvals["i4"], FIELD.astype(np.int32))
    path = write_netcdf(tmp_path / "b.nc", bare, packing={"dtype": "i4"})
    same(open_netcdf(path, source()), np.where(FIELD == 7, np.nan, FIELD))


def test_a_field_may_be_missing_altogether(tmp_path: Path) -> None:
    empty = np.full_like(FIELD, np.nan)
    same(open_netcdf(write_netcdf(tmp_path / "a.nc", empty), source()), empty)


def test_other_dimensions_are_selected_or_refused(tmp_path: Path) -> None:
    stack = np.stack([FIELD, FIELD + 100])
    path = write_netcdf(tmp_path / "a.nc", stack, dims=("time", "y", "x"))
    same(open_netcdf(path, source(), select={"time": 1}), FIELD + 100)
    with pytest.raises(DataError, match=r"time=2, y=4, x=6"):
        open_netcdf(path, source())
    with pytest.raises(DataError, match="time"):
        open_netcdf(path, source(), select={"time": 2})
    same(open_netcdf(write_netcdf(tmp_path / "b.nc", stack[:1], dims=("t", "y", "x")), source()))


def test_irregular_or_missing_coordinates_are_refused(tmp_path: Path) -> None:
    bent = X.copy()
    bent[2] += 50
    with pytest.raises(DataError, match="irregular: steps from 450 to 550"):
        open_netcdf(write_netcdf(tmp_path / "a.nc", x=bent), source())
    path = write_netcdf(tmp_path / "b.nc", dims=("row", "column"), field=FIELD)
    with pytest.raises(DataError, match="cannot tell the y dimension among row, column"):
        open_netcdf(path, source())
    with pytest.raises(DataError, match="'row' has no coordinates"):
        open_netcdf(path, source(), x="column", y="row")


@given(
    first=st.floats(-4e6, 4e6),
    step=st.sampled_from([-500.0, 100.0, 1000.0, 1 / 12, 0.25]),
    size=st.integers(2, 500),
)
def test_an_axis_is_that_of_its_centres(first: float, step: float, size: int) -> None:
    axis = Axis.of(first + step * np.arange(size), "x")
    assert axis.size == size
    np.testing.assert_allclose([axis.edge, axis.step], [first - step / 2, step], rtol=1e-6)


def test_coordinates_of_32_bits_are_regular() -> None:
    longitude = (-17.625 + np.arange(39) / 12).astype(np.float32)
    assert Axis.of(longitude, "x").step == pytest.approx(1 / 12, rel=1e-5)


def test_a_cf_mapping_is_the_same_crs_whatever_its_names(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "a.nc", attrs={"grid_mapping": "crs"})
    same(open_netcdf(path, source()))
    with pytest.raises(DataError, match=r"lat_0=-90 \+lat_ts=-71(.|\n)*EPSG:3413"):
        open_netcdf(path, source("EPSG:3413"))


def test_an_unknown_variable_is_refused_with_those_in_the_file(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "a.nc")
    with pytest.raises(SourceError, match=r"no variable 'z'(.|\n)*one of bed\n"):
        open_netcdf(path, source(bed={"name": "z"}))
    (tmp_path / "b.nc").write_text("not netCDF")
    with pytest.raises(SourceError, match=r"b\.nc"):
        open_netcdf(tmp_path / "b.nc", source())


@pytest.mark.parametrize("pixel", [0, 1])
def test_an_old_gmt_grid_is_read_in_both_registrations(tmp_path: Path, pixel: int) -> None:
    half = 250 * pixel
    path = tmp_path / "a.grd"
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as dataset:
        dataset.createDimension("side", 2)
        dataset.createDimension("xysize", FIELD.size)
        for name, values in (
            ("x_range", (X[0] - half, X[-1] + half)),
            ("y_range", (Y[-1] - half, Y[0] + half)),
            ("z_range", (0, 23)),
            ("spacing", (500, 500)),
            ("dimension", (6, 4)),
        ):
            kind = "i4" if name == "dimension" else "f8"
            dataset.createVariable(name, kind, ("side",))[:] = values
        flat = dataset.createVariable("z", "f4", ("xysize",))
        flat[:] = FIELD.ravel()
        flat.node_offset = np.int32(pixel)
    raster = open_netcdf(path, source(bed={"name": "z"}))
    same(raster)
    assert_array_equal(raster.read("bed", Window(1, 3, 2, 5)), FIELD[1:3, 2:5])


def test_a_global_gridline_grid_loses_its_repeated_meridian(tmp_path: Path) -> None:
    x, y = np.arange(0.0, 361, 10), np.arange(-85.0, 86, 10)
    field = np.cos(np.radians(x)) * np.ones((y.size, 1))
    path = write_netcdf(tmp_path / "a.nc", field, x, y)
    geobox = open_netcdf(path, source("EPSG:4326")).geobox
    assert geobox.shape == (18, 36)
    assert geobox.boundingbox.bbox == (-5, -90, 355, 90)


def test_only_the_window_is_read() -> None:
    asked = []

    def take(rows: slice, cols: slice) -> np.ndarray:
        asked.append((rows, cols))
        return FIELD[rows, cols]

    raster = FileRaster(BOX, {"bed": Variable(units="m")}, (True, False), (4, 6), {"bed": take})
    assert_array_equal(raster.read("bed", Window(0, 1, 2, 4)), FIELD[3:4, 2:4])
    assert asked == [(slice(3, 4), slice(2, 4))]


# Zarr


def dataset() -> xr.Dataset:
    field = np.where(FIELD == 3, np.nan, FIELD)
    return xr.Dataset({"bed": (("y", "x"), field)}, {"x": X, "y": Y})


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("packed", [False, True])
def test_zarr_of_both_versions_is_read(tmp_path: Path, version: int, packed: bool) -> None:
    encoding = {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -99} if packed else {}
    path = tmp_path / "a.zarr"
    dataset().to_zarr(path, zarr_format=version, encoding={"bed": encoding}, consolidated=False)
    raster = open_zarr(path, source())
    same(raster, np.where(FIELD == 3, np.nan, FIELD))
    assert_array_equal(raster.read("bed", Window(1, 3, 2, 5)), FIELD[1:3, 2:5])


def test_zarr_without_the_variable_or_that_is_none_is_refused(tmp_path: Path) -> None:
    dataset().to_zarr(tmp_path / "a.zarr", consolidated=False)
    with pytest.raises(SourceError, match=r"no variable 'z'(.|\n)*bed"):
        open_zarr(tmp_path / "a.zarr", source(bed={"name": "z"}))
    with pytest.raises(SourceError, match=r"b\.zarr"):
        open_zarr(tmp_path / "b.zarr", source())


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture
def collected() -> Iterator[None]:
    """Collects what a test leaves behind, before another test does.

    Zarr leaves tasks with their exceptions, which are told when they are collected; should that be
    while another test parses Python, CPython 3.11 miscounts and raises a SystemError.
    """
    yield
    gc.collect()


@pytest.mark.usefixtures("collected")
def test_a_pickle_in_a_zarr_is_never_loaded(tmp_path: Path) -> None:
    path, sprung = tmp_path / "a.zarr", tmp_path / "sprung"
    dataset().to_zarr(path, zarr_format=2, consolidated=False)
    for name in ("evil", "x"):
        folder = path / name
        folder.mkdir(exist_ok=True)
        shape = [6] if name == "x" else [4, 6]
        meta = {
            "zarr_format": 2,
            "shape": shape,
            "chunks": shape,
            "dtype": "|O",
            "filters": [{"id": "pickle", "protocol": 5}],
            "compressor": None,
            "fill_value": None,
            "order": "C",
        }
        (folder / ".zarray").write_text(json.dumps(meta))
        dims = ["x"] if name == "x" else ["y", "x"]
        (folder / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": dims}))
        (folder / ".".join("0" * len(shape))).write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(NunatakError):
        open_zarr(path, source())
    with pytest.raises(NunatakError):
        open_zarr(path, source(bed={"name": "evil"}))
    assert not sprung.exists()


# Missing values, by themselves


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_clean_values_are_in_range_or_nan(values: list[float]) -> None:
    variable = Variable(units="m", nodata=7, valid_range=(-100, 100))
    found = clean(np.array(values), variable)
    kept = found[~np.isnan(found)]
    assert ((kept >= -100) & (kept <= 100) & (kept != 7)).all()
    wanted = [v for v in values if -100 <= v <= 100 and v != 7]
    assert_array_equal(kept, np.array(wanted, np.float32))


def test_a_floor_stands_for_what_is_below_it_and_hides_nothing_missing() -> None:
    raw = np.ma.array([-16.5, -23.1, 0, 4, np.nan, -9999, -2e4, -1], mask=[0] * 7 + [1])
    plain = Variable(units="m", nodata=-9999, valid_range=(-1e4, 1e4))
    floored = plain.model_copy(update={"floor": 0})
    missing = [np.nan] * 4
    assert_array_equal(clean(raw, plain), np.array([-16.5, -23.1, 0, 4, *missing], np.float32))
    assert_array_equal(clean(raw, floored), [0, 0, 0, 4, *missing])


def test_a_floor_outside_of_the_valid_range_is_refused() -> None:
    with pytest.raises(ValueError, match="floor 0 lies outside"):
        Variable(units="m", valid_range=(1, 9), floor=0)


# Real files

REAL = {
    "bed/continent/ANT-32KM_TOPO-BedMachine.nc": ("z_bed", (191, 191), 32000, {}),
    "bed/continent/ANT-32KM_VEL-R11-2.nc": ("ux_srf", (191, 191), 32000, {}),
    "bed/continent/BEDMAP_elevation.nc": ("z", (1333, 1333), 5000, {}),
    "bed/continent/Ant50km.nc": ("topg", (120, 120), 50000, {"ignore_crs": True}),
    "bed/byrd_500m/byrd_bedmachine.nc": ("bed", (400, 400), 500, {}),
}


@pytest.mark.parametrize("name", REAL)
def test_real_grids_lie_where_they_should(shared_data: Path, name: str) -> None:
    key, shape, step, args = REAL[name]
    raster = open_netcdf(shared_data / name, source(bed={"name": key}), **args)
    assert raster.geobox.shape == shape
    assert raster.geobox.resolution.x == step
    assert raster.geobox.resolution.y == -step
    assert np.isfinite(raster.read("bed", Window(0, shape[0], 0, shape[1]))).mean() > 0.7


def test_a_real_zarr_equals_its_netcdf(shared_data: Path) -> None:
    folder, thickness = shared_data / "ice_thickness", source(bed={"name": "thickness"})
    one = open_zarr(folder / "H_beta.zarr", thickness)
    other = open_netcdf(folder / "derived_antarctica_5km_thickness.nc", thickness)
    window = Window(300, 500, 400, 700)
    assert one.geobox == other.geobox
    assert_array_equal(one.read("bed", window), other.read("bed", window))


def test_a_real_negative_thickness_is_no_ice_by_the_catalogues_word(shared_data: Path) -> None:
    entry = load_sources(ROOT / "config" / "sources.yaml")["arthern_5km"]
    path, window = shared_data / "ice_thickness" / "H_beta.zarr", Window(0, 1120, 0, 1160)
    found = open_zarr(path, entry).read("thickness", window)
    raw = open_zarr(path, source(bed={"name": "thickness"})).read("bed", window)
    assert raw.min() < -20
    assert found.min() == 0
    assert (found == 0).mean() == pytest.approx(0.58, abs=0.01)
    assert_array_equal(found[raw > 0], raw[raw > 0])
    assert not found[:, -8:].any(), "the recipe leaves these columns out"


def test_a_real_file_of_another_sphere_is_refused(shared_data: Path) -> None:
    path = shared_data / "ssh/model_fields/Arctic20_1to5Feb_2016.nc"
    with pytest.raises(DataError, match=r"R=6371000(.|\n)*EPSG:3413"):
        open_netcdf(path, source("EPSG:3413", bed={"name": "zeta"}), select={"time": 0})
