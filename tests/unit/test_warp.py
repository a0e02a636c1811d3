"""A warped value depends on the source and the cell, on nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from nunatak.errors import DataError
from nunatak.grid import Window
from nunatak.ops import warp as module
from nunatak.ops.footprint import needed
from nunatak.ops.resample import REACH, Line, most_common, resample, resample_along
from nunatak.ops.warp import warp
from nunatak.sources.raster import MemoryRaster, Raster

Array = NDArray[np.float32]

POLAR = "EPSG:3031"
UNNAMED = "+proj=stere +lat_0=-90 +lat_ts=-71 +lon_0=0 +datum=WGS84 +units=m"
METHODS = sorted(REACH)
POINTWISE = ["nearest", "bilinear", "cubic", "lanczos"]


def grid(rows: int, cols: int, step: float, left: float, top: float, crs: str = POLAR) -> GeoBox:
    return GeoBox((rows, cols), Affine(step, 0, left, 0, -step, top), crs)


def noise(box: GeoBox, seed: int = 0, missing: float = 0.0) -> MemoryRaster:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 100, box.shape).astype(np.float32)
    values[rng.random(box.shape) < missing] = np.nan
    return MemoryRaster(box, {"z": values})


def world(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """A smooth function on the sphere."""
    a, b = np.radians(lon), np.radians(lat)
    return 300 * np.cos(a) * np.cos(b) + 200 * np.sin(2 * a) * np.cos(b) ** 2 + 100 * np.sin(b)


def globe(left: float, right: float, step: float = 0.5, top: float = -50) -> MemoryRaster:
    cols, rows = round((right - left) / step), round((top + 90) / step)
    box = grid(rows, cols, step, left, top, "EPSG:4326")
    lon = left + step * (np.arange(cols) + 0.5)
    lat = top - step * (np.arange(rows) + 0.5)
    return MemoryRaster(box, {"z": world(lon[None], lat[:, None]).astype(np.float32)})


def truth(to: GeoBox) -> NDArray[np.float64]:
    col, row = np.meshgrid(np.arange(to.shape[1]) + 0.5, np.arange(to.shape[0]) + 0.5)
    x, y = to.affine * (col, row)
    lon, lat = Transformer.from_crs(to.crs.to_wkt(), 4326, always_xy=True).transform(x, y)
    return np.where(lat < -50.5, world(lon, lat), np.nan)


def halves(raster: Raster, to: GeoBox, how: str, row: int, col: int) -> Array:
    parts = [[(slice(0, row), slice(0, col)), (slice(0, row), slice(col, to.shape[1]))]]
    parts += [[(slice(row, to.shape[0]), cols) for _, cols in parts[0]]]
    return np.block([[warp(raster, "z", to[part], how) for part in line] for line in parts])


SOURCE = grid(40, 50, 1000, -20_000, 30_000)


# Coinciding grids


@given(
    top=st.integers(-20, 30),
    left=st.integers(-20, 40),
    rows=st.integers(1, 50),
    how=st.sampled_from(METHODS),
)
def test_on_a_coinciding_grid_warping_is_copying(top: int, left: int, rows: int, how: str) -> None:
    raster = noise(SOURCE, missing=0.2)
    to = grid(rows, 30, 1000, -20_000 + 1000 * left, 30_000 - 1000 * top, UNNAMED)
    padded = np.pad(raster.fields["z"], 100, constant_values=np.nan)
    expected = padded[100 + top : 100 + top + rows, 100 + left : 130 + left]
    assert_array_equal(warp(raster, "z", to, how), expected)


def test_a_circle_is_copied_across_its_seam() -> None:
    east = globe(0, 360, 1.0)
    west = globe(-180, 180, 1.0)
    assert_allclose(
        warp(east, "z", west.geobox, "bilinear"), west.fields["z"], rtol=1e-4, atol=1e-3
    )
    seam = grid(5, 8, 1, 176, -60, "EPSG:4326")
    assert_array_equal(warp(west, "z", seam, "nearest"), warp(east, "z", seam, "nearest"))
    assert not np.isnan(warp(west, "z", seam, "nearest")).any()


# The block does not matter


@settings(max_examples=25, deadline=None)
@given(
    how=st.sampled_from(METHODS),
    step=st.sampled_from([250.0, 500.0, 730.0, 1000.0, 2700.0]),
    shift=st.sampled_from([0.0, 130.0, 500.0]),
    row=st.integers(1, 29),
    col=st.integers(1, 24),
    missing=st.sampled_from([0.0, 0.1]),
)
def test_blocks_join_within_a_crs(
    how: str, step: float, shift: float, row: int, col: int, missing: float
) -> None:
    raster = noise(SOURCE, missing=missing)
    to = grid(30, 25, step, -12_000 + shift, 25_000 + shift)
    whole = warp(raster, "z", to, how)
    assert_allclose(halves(raster, to, how, row, col), whole, rtol=1e-5, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    how=st.sampled_from(METHODS),
    left=st.sampled_from([-180.0, 0.0, -180.5, 0.3, -20.0]),
    step=st.sampled_from([20_000.0, 61_000.0, 150_000.0]),
    row=st.integers(1, 39),
    col=st.integers(1, 39),
)
def test_blocks_join_between_crss(how: str, left: float, step: float, row: int, col: int) -> None:
    raster = globe(left, left + 360)
    to = grid(40, 40, step, -17.3 * step, 21.7 * step)
    whole = warp(raster, "z", to, how)
    assert_allclose(halves(raster, to, how, row, col), whole, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("how", ["nearest", "bilinear", "average"])
@pytest.mark.parametrize("crs", [POLAR, "EPSG:4326"])
def test_the_amount_read_at_a_time_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, how: str, crs: str
) -> None:
    raster = noise(SOURCE) if crs == POLAR else globe(-180, 180)
    to = grid(30, 25, 900, -12_000, 25_000) if crs == POLAR else grid(40, 40, 5e4, -9e5, 1e6)
    whole = warp(raster, "z", to, how)
    monkeypatch.setattr(module, "_MOST_CELLS", 900)
    monkeypatch.setattr(module, "_MOST_POINTS", 130)
    assert_allclose(warp(raster, "z", to, how), whole, rtol=1e-5, atol=1e-4)


@dataclass(frozen=True)
class Recorder:
    """A huge raster that notes what is read of it."""

    geobox: GeoBox
    sizes: list[int] = field(default_factory=list)

    def read(self, variable: str, window: Window) -> Array:
        assert window == window.clip(self.geobox.shape)
        self.sizes.append(window.shape[0] * window.shape[1])
        return np.zeros(window.shape, np.float32)


def test_reading_is_bounded_and_little_more_than_needed() -> None:
    raster = Recorder(grid(60_000, 60_000, 100, -3e6, 3e6))
    assert not np.isnan(warp(raster, "z", grid(640, 640, 1000, -1e6, 1e6), "average")).any()
    assert max(raster.sizes) <= 1 << 24
    assert sum(raster.sizes) < 1.02 * 6400**2
    raster.sizes.clear()
    warp(raster, "z", grid(64, 64, 1000, -1e6, 1e6), "cubic")
    assert sum(raster.sizes) < 1.2 * 640**2


# What is there, and what is missing


def test_nothing_is_read_where_the_source_is_not() -> None:
    raster = Recorder(SOURCE)
    for to in (grid(9, 9, 500, 1e6, 1e6), grid(9, 9, 0.1, 10, 50, "EPSG:4326")):
        assert np.isnan(warp(raster, "z", to, "bilinear")).all()
    assert raster.sizes == []


@pytest.mark.parametrize("how", METHODS)
def test_cells_beyond_the_source_are_missing_and_those_inside_are_not(how: str) -> None:
    to = grid(60, 60, 500, -35_000, 40_000)
    found = ~np.isnan(warp(noise(SOURCE), "z", to, how))
    expected = np.zeros((60, 60), bool)
    expected[20:, 30:] = True
    assert_array_equal(found, expected)


@settings(max_examples=30, deadline=None)
@given(how=st.sampled_from(["nearest", "bilinear", "cubic"]), seed=st.integers(0, 99))
def test_missing_islands_keep_their_cells_and_spoil_no_neighbour(how: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.uniform(100, 101, SOURCE.shape).astype(np.float32)
    values[rng.random(SOURCE.shape) < 0.1] = np.nan
    raster = MemoryRaster(SOURCE, {"z": values})
    found = warp(raster, "z", grid(160, 200, 250, -20_000, 30_000), how)
    assert_array_equal(np.isnan(found), np.isnan(values).repeat(4, 0).repeat(4, 1))
    assert np.nanmin(found) > 99.5
    assert np.nanmax(found) < 101.5


def test_all_missing_stays_missing() -> None:
    raster = MemoryRaster(SOURCE, {"z": np.full(SOURCE.shape, np.nan, np.float32)})
    for crs, step in ((POLAR, 500.0), ("EPSG:4326", 0.001)):
        to = grid(9, 9, step, 0, 0 if crs == POLAR else -89.9, crs)
        assert np.isnan(warp(raster, "z", to, "cubic")).all()


# What the values are


@pytest.mark.parametrize("ratio", [2, 5])
def test_average_within_a_crs_is_the_mean_of_the_cells(ratio: int) -> None:
    raster = noise(grid(40, 40, 100, 0, 4000))
    to = grid(40 // ratio, 40 // ratio, 100.0 * ratio, 0, 4000)
    cells = raster.fields["z"].reshape(40 // ratio, ratio, 40 // ratio, ratio)
    assert_allclose(warp(raster, "z", to, "average"), cells.mean((1, 3)), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("how", POINTWISE)
@pytest.mark.parametrize("left", [-180, 0, -180.5, -20, 0.3])
def test_the_pole_and_the_seam_leave_no_trace(how: str, left: float) -> None:
    to = grid(150, 150, 40_000, -1_234_567 - 1.5e6, 2_345_678 + 1e6)
    found, expected = warp(globe(left, left + 360), "z", to, how), truth(to)
    assert np.isnan(found[np.isfinite(expected)]).mean() < 0.001
    assert np.nanmax(np.abs(found - expected)) < (3.5 if how == "nearest" else 0.8)


def test_average_between_crss_is_the_mean_over_the_cell() -> None:
    to, fine = grid(40, 40, 100_000, -1.9e6, 2.1e6), grid(320, 320, 12_500, -1.9e6, 2.1e6)
    expected = truth(fine).reshape(40, 8, 40, 8).mean((1, 3))
    for left in (-180, 0):
        raster = globe(left, left + 360, 0.25)
        off = np.abs(warp(raster, "z", to, "average") - expected)
        assert off.max() < 1.1
        off[20:22, 18:20] = 0
        assert off.max() < 0.5, "only the cells that touch the pole are approximate"
        assert_allclose(warp(raster, "z", to, "mode"), expected, atol=15)


@pytest.mark.parametrize("left", [170, -190])
def test_a_region_on_the_seam_is_found_from_either_side(left: float) -> None:
    raster = globe(left, left + 20, 0.1)
    to = grid(60, 60, 10_000, -250_000, -2_000_000)
    assert np.nanmax(np.abs(warp(raster, "z", to, "bilinear") - truth(to))) < 0.1
    assert not np.isnan(warp(raster, "z", to, "bilinear")).any()
    for west in (-180, 0):
        flat = grid(20, 2118, 0.17, west, -65, "EPSG:4326")
        found = warp(raster, "z", flat, "bilinear")
        assert np.isfinite(found).sum() == pytest.approx(20 * 20 / 0.17, rel=0.02)
        assert np.nanmax(np.abs(found - truth(flat))) < 0.1


def test_positions_do_not_drift_with_the_window() -> None:
    """The ramp of longitude comes back exactly, far from the edges of the window."""
    lon = -180 + 0.5 * (np.arange(720) + 0.5)
    box = grid(80, 720, 0.5, -180, -50, "EPSG:4326")
    ramp = MemoryRaster(box, {"z": (lon * np.ones((80, 1))).astype(np.float32)})
    to = grid(20, 30, 25_000, 500_000, 900_000)
    col, row = np.meshgrid(np.arange(30) + 0.5, np.arange(20) + 0.5)
    x, y = to.affine * (col, row)
    assert_allclose(warp(ramp, "z", to, "bilinear"), np.degrees(np.arctan2(x, y)), atol=1e-4)


def test_the_needed_window_holds_every_position() -> None:
    box = globe(-180, 180).geobox
    to = grid(50, 50, 20_000, -30_000, -2e6)
    window = needed(box, to, "bilinear")
    assert 0 <= window.top < window.bottom <= 80
    assert window.right - window.left < 360


def test_a_source_without_a_grid_is_sampled() -> None:
    class Anywhere:
        geobox = None

        def read(self, variable: str, window: Window) -> Array:
            raise AssertionError

        def sample(self, variable: str, geobox: GeoBox) -> Array:
            return np.full(geobox.shape, 7, np.float32)

    assert_array_equal(warp(Anywhere(), "z", SOURCE, "cubic"), np.full(SOURCE.shape, 7))


def test_an_unknown_resampling_is_refused() -> None:
    with pytest.raises(DataError, match=r"'sinc'(.|\n)*bilinear"):
        warp(noise(SOURCE), "z", SOURCE, "sinc")


# Kernels


@given(
    row=st.floats(4, 16),
    col=st.floats(4, 16),
    how=st.sampled_from(["bilinear", "cubic", "cubic_spline"]),
)
def test_kernels_reproduce_a_plane(row: float, col: float, how: str) -> None:
    y, x = np.mgrid[0:20, 0:20] + 0.5
    found = resample((3 * x - 2 * y).astype(np.float32), np.array([row]), np.array([col]), how)
    assert_allclose(found, 3 * col - 2 * row, atol=1e-4)


@pytest.mark.parametrize("how", [how for how in METHODS if how not in ("average", "mode")])
def test_along_the_axes_is_as_at_the_positions_in_every_strip(how: str) -> None:
    values = np.random.default_rng(0).normal(0, 500, (900, 160)).astype(np.float32)
    values[300:500, 40:90] = values[620:, :] = values[::7, 3::50] = np.nan
    rows, cols = Line(1.3, 0.5, 1790, 900), Line(2.0, 0.5, 310, 160)
    row, col = np.meshgrid(1.55 + np.arange(1790) / 2, 2.25 + np.arange(310) / 2, indexing="ij")
    found = resample_along(values, rows, cols, how)
    assert_allclose(found, resample(values, row, col, how), atol=2e-3)


@given(how=st.sampled_from(["nearest", "bilinear", "cubic", "lanczos"]))
def test_interpolating_kernels_return_the_centres(how: str) -> None:
    values = np.random.default_rng(0).normal(size=(9, 9)).astype(np.float32)
    row, col = np.mgrid[3:6, 3:6] + 0.5
    assert_allclose(resample(values, row, col, how), values[3:6, 3:6], rtol=1e-5)


def test_positions_that_are_nowhere_are_missing() -> None:
    bad = np.array([np.nan, np.inf, 1.5])
    found = resample(np.ones((3, 3), np.float32), bad, bad, "bilinear")
    assert_array_equal(found, [np.nan, np.nan, 1])


@given(st.lists(st.sampled_from([1.0, 2.0, 3.0, np.nan]), min_size=1, max_size=12))
def test_the_most_common_value_is_the_mode(samples: list[float]) -> None:
    found = most_common(np.array(samples, np.float32)[:, None])[0]
    valid = [v for v in samples if v == v]
    if valid:
        assert found == min(set(valid), key=lambda v: (-valid.count(v), v))
    else:
        assert np.isnan(found)
