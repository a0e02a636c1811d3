"""A source comes onto the grid in the recipe's units and vertical datum, or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from nunatak.errors import DataError
from nunatak.grid import Window
from nunatak.ops.warp import warp
from nunatak.sections import Role
from nunatak.source import Source
from nunatak.sources.raster import MemoryRaster, Raster
from nunatak.sources.readers import open_netcdf
from nunatak.stages.reproject import covers, onto

BOX = GeoBox((20, 30), Affine(1000, 0, -5000, 0, -1000, 9000), "EPSG:3031")
FINE = GeoBox((40, 60), BOX.affine * Affine.scale(0.5), "EPSG:3031")
BED = {"units": "m", "standard_name": "bedrock_altitude"}


def source(datum: str | None = None, **variables: dict[str, Any]) -> Source:
    return Source.model_validate(
        {
            "title": "test",
            "files": [{"url": "file:test"}],
            "reader": {"op": "netcdf"},
            "variables": variables,
            "crs": "EPSG:3031",
            "vertical_datum": datum,
            "licence": "none",
        }
    )


def role(*variables: str, **given: Any) -> Role:
    return Role(source="test", variables=variables, **given)


def raster(seed: int = 0, *names: str) -> MemoryRaster:
    rng = np.random.default_rng(seed)
    fields = {name: rng.normal(0, 100, BOX.shape).astype(np.float32) for name in names}
    return MemoryRaster(BOX, fields)


def geoid(datum: str, units: str = "m") -> tuple[Raster, Source]:
    scale = {"m": 1.0, "km": 1e-3}[units]
    fields = {"geoid": np.linspace(-50 * scale, -10 * scale, 600).reshape(20, 30)}
    return MemoryRaster(BOX, fields), source(datum, geoid={"units": units})


def test_every_variable_has_its_own_resampling() -> None:
    given = raster(0, "bed", "mask", "vx")
    declared = source("ellipsoid", bed=BED, mask={"units": "1"}, vx={"units": "m yr-1"})
    how = {"bed": "cubic", "mask": "nearest"}
    found = onto(given, declared, role("bed", "mask", "vx", resampling=how), None, FINE)
    assert list(found) == ["bed", "mask", "vx"]
    for name, method in {**how, "vx": "bilinear"}.items():
        assert_array_equal(found[name], warp(given, name, FINE, method))
    assert all(values.dtype == np.float32 for values in found.values())


@pytest.mark.parametrize(("across", "down"), [(0.5, 0), (0, -0.5), (3.25, 2)])
def test_the_nearest_cell_is_refused_where_it_would_move_the_field(
    across: float, down: float
) -> None:
    declared = source(a={"units": "1"})
    to = BOX[4:10, 5:15].translate_pix(across, down)
    with pytest.raises(DataError, match=r"(?s)edge at -5000 and one at 9000.*average"):
        onto(raster(0, "a"), declared, role("a", resampling="nearest"), None, to)
    assert onto(raster(0, "a"), declared, role("a", resampling="average"), None, to)


@pytest.mark.parametrize("to", [BOX[4:10, 5:15].translate_pix(0.05, 0), BOX.zoom_out(1.7)])
def test_the_nearest_cell_is_taken_of_grids_that_are_alike_or_not_at_all(to: GeoBox) -> None:
    given = raster(0, "a")
    found = onto(given, source(a={"units": "1"}), role("a", resampling="nearest"), None, to)
    assert_array_equal(found["a"], warp(given, "a", to, "nearest"))


@given(
    pair=st.sampled_from(
        [
            ("km", "m", 1000, 0),
            ("degC", "K", 1, 273.15),
            ("m", "m", 1, 0),
            ("m s-1", "m yr-1", 0, 0),
        ]
    )
)
def test_units_are_converted(pair: tuple[str, str, float, float]) -> None:
    given_units, wanted, scale, offset = pair
    scale = scale or 365.25 * 86400
    given = raster(1, "a")
    declared = source(a={"units": given_units, "to": wanted})
    found = onto(given, declared, role("a"), None, BOX)["a"]
    assert_allclose(found, given.fields["a"] * scale + offset, rtol=1e-5, atol=1e-3)


def test_without_units_to_convert_values_are_untouched() -> None:
    given = raster(2, "a")
    found = onto(given, source(a={"units": "m"}), role("a"), "geoid:gl04c", BOX)
    assert_array_equal(found["a"], given.fields["a"])


@pytest.mark.parametrize("units", ["m", "km"])
@pytest.mark.parametrize(
    ("datum", "target", "sign"),
    [("ellipsoid", "geoid:gl04c", -1), ("geoid:gl04c", "ellipsoid", 1)],
)
def test_heights_are_converted_with_the_geoid(
    units: str, datum: str, target: str, sign: int
) -> None:
    given = raster(3, "bed", "thickness")
    declared = source(datum, bed=BED, thickness={"units": "m"})
    n = geoid("geoid:gl04c", units)
    found = onto(given, declared, role("bed", "thickness"), target, BOX, n)
    undulation = np.linspace(-50, -10, 600).reshape(20, 30)
    assert_allclose(found["bed"], given.fields["bed"] + sign * undulation, atol=1e-4)
    assert_array_equal(found["thickness"], given.fields["thickness"])


def test_there_and_back_is_the_same_height() -> None:
    given, n = raster(4, "bed"), geoid("geoid:gl04c")
    high = onto(given, source("ellipsoid", bed=BED), role("bed"), "geoid:gl04c", BOX, n)
    back = MemoryRaster(BOX, high)
    low = onto(back, source("geoid:gl04c", bed=BED), role("bed"), "ellipsoid", BOX, n)
    assert_allclose(low["bed"], given.fields["bed"], atol=1e-4)


def test_the_same_datum_needs_no_geoid_and_ignores_one() -> None:
    given, declared = raster(5, "bed"), source("geoid:gl04c", bed=BED)
    for target, n in (("geoid:gl04c", None), ("geoid:gl04c", geoid("geoid:egm96")), (None, None)):
        found = onto(given, declared, role("bed"), target, BOX, n)
        assert_array_equal(found["bed"], given.fields["bed"])


@pytest.mark.parametrize(
    ("datum", "target", "n"),
    [
        ("ellipsoid", "geoid:gl04c", None),
        ("geoid:gl04c", "ellipsoid", geoid("geoid:egm96")),
        ("geoid:egm96", "geoid:gl04c", geoid("geoid:gl04c")),
        ("ellipsoid", "geoid:gl04c", (raster(0, "n"), source("geoid:gl04c", n={"units": "m"}))),
    ],
)
def test_datums_that_cannot_be_converted_are_refused_with_both_names(
    datum: str, target: str, n: tuple[Raster, Source] | None
) -> None:
    with pytest.raises(DataError) as error:
        onto(raster(0, "bed"), source(datum, bed=BED), role("bed"), target, BOX, n)
    assert datum in str(error.value)
    assert target in str(error.value)
    assert "`geoid:` in the role" in str(error.value)


def test_a_missing_geoid_makes_a_height_missing() -> None:
    raster_, declared = geoid("geoid:gl04c")
    raster_.fields["geoid"][3, 4] = np.nan
    n = (raster_, declared)
    found = onto(raster(0, "bed"), source("ellipsoid", bed=BED), role("bed"), "geoid:gl04c", BOX, n)
    assert_array_equal(np.argwhere(np.isnan(found["bed"])), [[3, 4]])


def test_an_undeclared_variable_is_refused() -> None:
    with pytest.raises(DataError, match=r"no variable 'surface'(.|\n)*one of a"):
        onto(raster(0, "a"), source(a={"units": "m"}), role("surface"), None, BOX)


def test_a_source_must_meet_the_domain() -> None:
    given = raster(0, "a")
    covers(given, FINE)
    covers(given, BOX[19:, 29:])
    for crs, left, top in (("EPSG:3031", 1e6, 0), ("EPSG:4326", 20, 60)):
        step = 1000 if crs == "EPSG:3031" else 0.1
        domain = GeoBox((9, 9), Affine(step, 0, left, 0, -step, top), crs)
        with pytest.raises(DataError, match=rf"covers nothing(.|\n)*{crs}"):
            covers(given, domain)
    with pytest.raises(DataError, match="covers nothing"):
        covers(given, GeoBox((9, 9), Affine(1000, 0, 25_000, 0, -1000, 9000), "EPSG:3031"))


def test_cells_that_a_source_does_not_cover_are_missing() -> None:
    wide = GeoBox((40, 30), Affine(1000, 0, -5000, 0, -1000, 9000), "EPSG:3031")
    found = onto(raster(0, "a"), source(a={"units": "m"}), role("a"), None, wide)["a"]
    assert not np.isnan(found[:20]).any()
    assert np.isnan(found[20:]).all()


class Everywhere:
    """Evaluated on any grid, like the synthetic world."""

    geobox = None

    def read(self, variable: str, window: Window) -> NDArray[np.float32]:
        raise AssertionError

    def sample(self, variable: str, geobox: GeoBox) -> NDArray[np.float32]:
        return np.full(geobox.shape, 2, np.float32)


def test_a_source_without_a_grid_covers_everything() -> None:
    covers(Everywhere(), BOX)
    found = onto(Everywhere(), source(a={"units": "km", "to": "m"}), role("a"), None, FINE)
    assert_array_equal(found["a"], np.full(FINE.shape, 2000))


def test_real_heights_above_the_ellipsoid_become_those_above_the_geoid(shared_data: Path) -> None:
    path = shared_data / "bed" / "byrd_500m" / "derived_byrd_500m_stack.nc"
    above = {"name": "surface_ellipsoid", "units": "m", "standard_name": "surface_altitude"}
    declared = source("ellipsoid", surface=above)
    plain = source("geoid:eigen-6c4", **{k: {"units": "m"} for k in ("surface", "firn", "geoid")})
    stack = open_netcdf(path, plain)
    given, domain = open_netcdf(path, declared), stack.geobox[100:160, 50:90]
    n = (stack, plain)
    found = onto(given, declared, role("surface"), "geoid:eigen-6c4", domain, n)
    parts = onto(stack, plain, role("surface", "firn"), None, domain)
    assert_allclose(found["surface"], parts["surface"] + parts["firn"], atol=1e-3)
