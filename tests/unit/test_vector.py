"""Polygons are burnt where they lie, whatever the file, its CRS and the block that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from odc.geo.geobox import GeoBox
from pyogrio.raw import write
from pyproj import Transformer
from shapely.affinity import affine_transform, translate

from nunatak.errors import DataError, NunatakError, SourceError
from nunatak.grid import Window
from nunatak.ops.split import regions
from nunatak.ops.warp import warp
from nunatak.source import Source
from nunatak.sources.raster import Sampler
from nunatak.sources.vector import open_vector

BOX = GeoBox((60, 80), Affine(250, 0, -10_000, 0, -250, 7_500), "EPSG:3031")
SQUARE = shapely.box(-5_000, -2_500, 5_000, 5_000)
BESIDE = shapely.box(5_000, -2_500, 8_000, 5_000)
FILES = ["polygons.shp", "polygons.gpkg", "polygons.geojson"]
LONLAT = Transformer.from_crs("EPSG:3031", "EPSG:4326", always_xy=True)


def source(crs: str = "EPSG:3031", **variables: dict[str, Any]) -> Source:
    given = {"units": "1"}
    return Source.model_validate(
        {
            "title": "test",
            "files": [{"url": "file:test.shp"}],
            "reader": {"op": "vector"},
            "variables": {k: given | v for k, v in (variables or {"inside": {}}).items()},
            "crs": crs,
            "licence": "none",
        }
    )


def written(
    path: Path, *shapes: Any, crs: str | None = "EPSG:3031", layer: str = "", **fields: list[Any]
) -> Path:
    """A vector file of shapes and their attributes."""
    columns = fields or {"id": list(range(len(shapes)))}
    kinds = {shape.geom_type.removeprefix("Multi") for shape in shapes}
    kind = kinds.pop() if len(kinds) == 1 else "Unknown"
    many = any(shape.geom_type.startswith("Multi") for shape in shapes)
    write(
        path,
        shapely.to_wkb(np.array(shapes, object)),
        [np.array(values) for values in columns.values()],
        list(columns),
        geometry_type=f"Multi{kind}" if many and kind != "Unknown" else kind,
        promote_to_multi=many,
        crs=crs,
        layer=layer or None,
        append=bool(layer) and path.exists(),
    )
    return path


def burnt(path: Path, box: GeoBox = BOX, crs: str = "EPSG:3031", **options: Any) -> np.ndarray:
    return open_vector(path, source(crs), **options).sample("inside", box)


def centres(box: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.meshgrid(*(box.coordinates[d].values for d in reversed(box.dimensions))))


def inside(shape: Any, box: GeoBox = BOX) -> np.ndarray:
    """1 where the centre of a cell is in a shape, by shapely."""
    shapely.prepare(shape)
    return np.where(shapely.contains_xy(shape, *centres(box)), np.float32(1), np.nan)


@pytest.mark.parametrize("name", FILES)
def test_cells_whose_centre_is_inside_are_1_whatever_the_format(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, SQUARE)
    raster = open_vector(path, source())
    assert isinstance(raster, Sampler)
    field = warp(raster, "inside", BOX, "bilinear")
    assert field.dtype == np.float32
    assert_array_equal(field, inside(SQUARE))
    assert np.nansum(field) == 40 * 30


def test_all_touched_counts_cells_that_a_polygon_only_touches(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gpkg", shapely.box(10, 10, 20, 20))
    assert np.isnan(burnt(path)).all()
    touched = burnt(path, all_touched=True)
    assert_array_equal(np.argwhere(touched == 1), [[29, 40]])


def test_holes_are_outside_and_every_part_is_inside(tmp_path: Path) -> None:
    holed = SQUARE.difference(shapely.box(-1_000, -1_000, 1_000, 1_000))
    shape = shapely.MultiPolygon([holed, shapely.box(-500, -500, 500, 500)])
    assert_array_equal(burnt(written(tmp_path / "a.gpkg", shape)), inside(shape))


@pytest.mark.parametrize("name", FILES)
def test_an_attribute_numbers_the_polygons_and_splits_a_map(tmp_path: Path, name: str) -> None:
    far = shapely.box(1e6, 1e6, 2e6, 2e6)
    path = written(tmp_path / name, SQUARE, far, BESIDE, basin=[7, 8, 9])
    raster = open_vector(path, source(), attribute="basin")
    field = raster.sample("inside", BOX)
    expected = np.where(inside(SQUARE) == 1, 7, np.where(inside(BESIDE) == 1, 9, np.nan))
    assert_array_equal(field, expected)
    labels = regions(BOX, field, validation=[], test=[9])
    assert set(np.unique(labels[field == 9])) == {2}
    assert set(np.unique(labels[np.isnan(field)])) == {255}


def test_a_variables_name_is_its_attribute(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gpkg", SQUARE, basin=[7], height=[2.5])
    raster = open_vector(path, source(b={"name": "basin"}, h={}), attribute="height")
    assert np.nanmax(raster.sample("b", BOX)) == 7
    assert np.nanmax(raster.sample("h", BOX)) == 2.5


def test_the_last_polygon_wins_and_one_without_a_value_is_not_there(tmp_path: Path) -> None:
    shapes = SQUARE, SQUARE.buffer(-2_000), SQUARE.buffer(-3_000)
    path = written(tmp_path / "a.gpkg", *shapes, basin=[1.0, 2.0, np.nan])
    field = burnt(path, attribute="basin")
    assert_array_equal(field == 2, inside(shapes[1]) == 1)
    assert_array_equal(field >= 1, inside(SQUARE) == 1)


def test_nodata_and_valid_range_of_the_catalogue_hold(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gpkg", SQUARE, BESIDE, basin=[1, 9])
    limited = source(inside={"name": "basin", "valid_range": (0, 5)})
    assert np.nanmax(open_vector(path, limited).sample("inside", BOX)) == 1


def star(radii: list[int]) -> Any:
    """A star of whole coordinates, so that many centres of cells lie on its edges."""
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    corners = np.round(np.array(radii) * [np.cos(angles), np.sin(angles)])
    return shapely.Polygon(corners.T)


corners = st.tuples(st.integers(-120, 120), st.integers(-90, 90))
hulls = st.lists(corners, min_size=3, max_size=9, unique=True).map(
    lambda xy: shapely.convex_hull(shapely.MultiPoint(xy))
)
stars = st.lists(st.integers(1, 90), min_size=5, max_size=24).map(star)
valid = (hulls | stars).filter(lambda s: s.geom_type == "Polygon" and s.is_valid)
scenes = st.lists(valid, min_size=1, max_size=4)
any_folder = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@any_folder
@given(
    scenes,
    st.integers(1, 59),
    st.integers(1, 79),
    st.sampled_from([0.0, 0.1, 1 / 3, 0.5]),
    st.data(),
)
def test_halves_equal_the_whole(
    tmp_path: Path, shapes: list[Any], row: int, col: int, phase: float, data: st.DataObject
) -> None:
    options = {"all_touched": data.draw(st.booleans()), "attribute": "id"}
    crs = data.draw(st.sampled_from(["EPSG:3031", "EPSG:4326"]))
    far = data.draw(st.sampled_from([0, 512, 20_000]))
    step = data.draw(st.sampled_from([125.0, 100 / 3, 0.1]))
    shift = Affine(step, 0, far * step, 0, step, -far * step)
    shapes = [affine_transform(s, shift.to_shapely()) for s in shapes]
    if crs == "EPSG:4326":
        shapes = [shapely.transform(s, lambda xy: np.c_[LONLAT.transform(*xy.T)]) for s in shapes]
    path = written(tmp_path / "a.shp", *shapes, crs=crs)
    affine = Affine(step, 0, step * (far + phase - 40), 0, -step, step * (phase + 30 - far))
    box = GeoBox((60, 80), affine, "EPSG:3031")
    raster = open_vector(path, source(crs), **options)
    whole = raster.sample("inside", box)
    for rows in (slice(0, row), slice(row, 60)):
        for cols in (slice(0, col), slice(col, 80)):
            part = raster.sample("inside", box[rows, cols])
            assert_array_equal(part, whole[rows, cols])


@any_folder
@given(scenes)
def test_cells_are_those_that_shapely_finds_inside(tmp_path: Path, shapes: list[Any]) -> None:
    moved = [translate(s, 500.03, -511.97) for s in shapes]
    path = written(tmp_path / "a.shp", *moved)
    box = GeoBox((180, 240), Affine(1, 0, 380, 0, -1, -422), "EPSG:3031")
    union = shapely.union_all(moved)
    clear = np.isnan(inside(union.boundary.buffer(1e-3), box))
    assert_array_equal(burnt(path, box)[clear], inside(union, box)[clear])


@pytest.mark.parametrize("x", [0.0, 1.3e6, -400e3])
@pytest.mark.parametrize("y", [0.0, -900e3])
def test_longitudes_and_latitudes_are_burnt_on_a_polar_grid(
    tmp_path: Path, x: float, y: float
) -> None:
    box = GeoBox((300, 600), Affine(250, 0, x - 75e3, 0, -250, y + 35e3), "EPSG:3031")
    latitude = LONLAT.transform(*centres(box))[1]
    edge = float(np.quantile(latitude, 0.4))
    path = written(tmp_path / "a.geojson", shapely.box(-180, -90, 180, edge), crs="EPSG:4326")
    field = burnt(path, box, "EPSG:4326")
    # An edge along a parallel strays from it by less than 2 m.
    clear = np.abs(latitude - edge) > 2 / 111e3
    assert 0.3 < np.mean(field == 1) < 0.5
    assert_array_equal((field == 1)[clear], (latitude < edge)[clear])


@pytest.mark.parametrize(("start", "first"), [(-180, 10), (0, 190)])
def test_longitudes_count_around_the_circle(tmp_path: Path, start: int, first: int) -> None:
    path = written(tmp_path / "a.gpkg", shapely.box(190, -75, 200, -70), crs="EPSG:4326")
    box = GeoBox((180, 360), Affine(1, 0, start, 0, -1, 90), "EPSG:4326")
    rows, cols = np.nonzero(burnt(path, box, "EPSG:4326") == 1)
    assert_array_equal(np.unique(cols), first + np.arange(10))
    assert_array_equal(np.unique(rows), 160 + np.arange(5))


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_file_without_a_crs_takes_the_catalogues(tmp_path: Path) -> None:
    path = written(tmp_path / "a.shp", SQUARE, crs=None)
    assert not (tmp_path / "a.prj").exists()
    assert_array_equal(burnt(path), inside(SQUARE))


def test_a_file_of_another_crs_than_the_catalogues_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gpkg", SQUARE, crs="EPSG:3413")
    with pytest.raises(DataError, match=r"EPSG:3413, the catalogue's EPSG:3031(.|\n)*ignore_crs"):
        open_vector(path, source())
    assert_array_equal(burnt(path, ignore_crs=True), inside(SQUARE))


@pytest.mark.parametrize("suffix", [".shx", ".dbf"])
def test_a_shapefile_that_is_not_whole_says_what_is_missing(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / "a.shp", SQUARE)
    path.with_suffix(suffix).unlink()
    with pytest.raises(SourceError, match=rf"\{suffix} missing; there are(.|\n)*all three"):
        open_vector(path, source())


def test_a_file_that_is_none_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "a.gpkg").write_text("nothing")
    for name in ("a.gpkg", "none.shp"):
        with pytest.raises(SourceError, match=name):
            open_vector(tmp_path / name, source())


@pytest.mark.parametrize(
    "shapes",
    [
        (shapely.Point(0, 0),),
        (SQUARE.exterior,),
        (shapely.Point(0, 0), shapely.Point(1, 1).buffer(1).exterior),
    ],
)
def test_a_layer_without_polygons_is_refused(tmp_path: Path, shapes: tuple[Any, ...]) -> None:
    lines = [shapely.LineString(s.coords) if s.geom_type != "Point" else s for s in shapes]
    with pytest.raises(SourceError, match="holds no polygons"):
        open_vector(written(tmp_path / "a.gpkg", *lines), source())


def test_layers_are_named_and_listed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gpkg", SQUARE, layer="ice")
    written(path, BESIDE, layer="rock")
    assert_array_equal(burnt(path, layer="rock"), inside(BESIDE))
    with pytest.raises(SourceError, match=r"2 layers and none named(.|\n)*ice, rock"):
        open_vector(path, source())
    with pytest.raises(SourceError, match=r"no layer 'snow'(.|\n)*ice, rock"):
        open_vector(path, source(), layer="snow")


def test_attributes_that_cannot_be_values_are_refused_with_those_that_can(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gpkg", SQUARE, basin=[7], name=["Byrd"])
    with pytest.raises(SourceError, match=r"no attribute 'base' among basin, name(.|\n)*of basin"):
        open_vector(path, source(), attribute="base")
    with pytest.raises(DataError, match=r"'name' is not numeric(.|\n)*one of basin"):
        open_vector(path, source(), attribute="name")


def test_what_cannot_be_burnt_is_refused(tmp_path: Path) -> None:
    raster = open_vector(written(tmp_path / "a.gpkg", SQUARE), source())
    circle = GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    with pytest.raises(DataError, match="wrapdateline"):
        raster.sample("inside", circle)
    with pytest.raises(DataError, match="along the axes"):
        raster.sample("inside", BOX.rotate(30))
    with pytest.raises(NunatakError, match="call sample"):
        raster.read("inside", Window(0, 1, 0, 1))
