"""Metrics of the sea against formulas and numpy: velocity, days, tails, stations, spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from nunatak.errors import DataError
from nunatak.metrics.days import DaySums, ErrorMap, PairSums, Series, StationSums, TailSums
from nunatak.metrics.ocean import GRAVITY, ROTATION, VelocitySums, cells, geostrophic
from nunatak.metrics.spectral import (
    SpectrumSums,
    effective_resolution,
    pooled,
    signal_to_error,
)

Field = np.ndarray[Any, np.dtype[np.float64]]
DEGREE = 111_195.0


def geographic(left: float, top: float, cell: float, shape: tuple[int, int]) -> GeoBox:
    return GeoBox(shape, Affine(cell, 0, left, 0, -cell, top), "EPSG:4326")


def red(shape: tuple[int, int], seed: int = 0) -> Field:
    """A field of random waves of all lengths."""
    drawn = np.fft.fft2(np.random.default_rng(seed).normal(size=shape))
    rows, cols = (np.fft.fftfreq(n) for n in shape)
    field: Field = np.fft.ifft2(drawn / (0.02 + np.hypot(rows[:, None], cols[None]))).real
    return field


def test_a_cell_is_as_wide_as_its_parallel() -> None:
    found = cells(geographic(0, 61, 0.25, (8, 4)))
    assert_allclose(found.latitude[:, 0], 60.875 - 0.25 * np.arange(8))
    assert_allclose(found.width, 0.25 * DEGREE * np.cos(np.radians(found.latitude)), rtol=5e-3)
    assert_allclose(found.height, 0.25 * DEGREE, rtol=5e-3)


def test_cells_of_a_projected_grid_lie_where_they_are_and_have_their_true_size() -> None:
    box = GeoBox((3, 5), Affine(25e3, 0, -1e6, 0, -25e3, 5e5), "EPSG:3413")
    found = cells(box)
    to_degrees = Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
    assert_allclose(
        (found.longitude[1, 2], found.latitude[1, 2]),
        to_degrees.transform(-1e6 + 2.5 * 25e3, 5e5 - 1.5 * 25e3),
    )
    stretched = (1 + np.sin(np.radians(70))) / (1 + np.sin(np.radians(found.latitude)))
    assert_allclose(found.width, 25e3 / stretched, rtol=5e-3)
    assert_allclose(found.height, found.width, rtol=1e-3)


def test_cells_over_the_date_line_are_as_wide_as_others() -> None:
    found = cells(geographic(179, 10, 0.5, (2, 4)))
    assert_allclose(found.width, found.width[:, :1] * np.ones(4))


def test_a_grid_that_lies_nowhere_has_no_cells_on_the_ground() -> None:
    with pytest.raises(DataError, match="without a CRS"):
        cells(GeoBox((2, 2), Affine.identity(), None))


@pytest.mark.parametrize("latitude", [40.0, -40.0])
def test_a_zonal_slope_drives_a_meridional_current(latitude: float) -> None:
    place = cells(geographic(140, latitude + 2, 0.25, (16, 20)))
    slope = 1e-6
    distance = np.cumsum(place.width, axis=1)
    _, v = geostrophic(slope * distance, place)
    expected = GRAVITY * slope / (2 * ROTATION * np.sin(np.radians(place.latitude)))
    assert_allclose(v[1:-1, 1:-1], expected[1:-1, 1:-1], rtol=0.01)
    assert np.sign(v[8, 8]) == np.sign(latitude)


@pytest.mark.parametrize("latitude", [40.0, -40.0])
def test_a_sea_that_rises_to_the_equator_flows_east(latitude: float) -> None:
    place = cells(geographic(140, latitude + 2, 0.25, (16, 20)))
    u, v = geostrophic(-1e-6 * np.sign(latitude) * DEGREE * place.latitude, place)
    expected = GRAVITY * 1e-6 / (2 * ROTATION * np.abs(np.sin(np.radians(place.latitude))))
    assert_allclose(u[1:-1, 1:-1], expected[1:-1, 1:-1], rtol=0.01)
    assert_allclose(v[1:-1, 1:-1], 0, atol=1e-9)


def test_a_projected_grid_has_the_same_speeds_as_a_geographic_one() -> None:
    box = GeoBox((20, 20), Affine(2e4, 0, -1e6, 0, -2e4, 5e5), "EPSG:3413")
    place = cells(box)
    u, v = geostrophic(1e-6 * DEGREE * place.latitude, place)
    expected = GRAVITY * 1e-6 / (2 * ROTATION * np.sin(np.radians(place.latitude)))
    assert_allclose(np.hypot(u, v)[1:-1, 1:-1], expected[1:-1, 1:-1], rtol=0.01)


def test_there_is_no_velocity_at_the_equator_beside_land_or_at_the_edge() -> None:
    place = cells(geographic(0, 8, 1.0, (16, 12)))
    height = np.random.default_rng(0).normal(size=(16, 12))
    height[2, 5] = np.nan
    u, v = geostrophic(height, place, equator=4)
    known = np.abs(place.latitude) >= 4
    known[[0, -1]], known[:, [0, -1]] = False, False
    known[2, 4:7], known[1:4, 5] = False, False
    np.testing.assert_array_equal(~np.isnan(u), known)
    np.testing.assert_array_equal(~np.isnan(v), known)


def test_the_error_of_a_velocity_is_the_length_of_a_vector() -> None:
    sums = VelocitySums()
    true = np.zeros(3), np.zeros(3)
    sums.add((np.array([3.0, 0.0, np.nan]), np.array([4.0, 0.0, 1.0])), true)
    assert sums.n == 2
    assert sums.rmse == pytest.approx(np.sqrt(25 / 2))
    assert np.isnan(VelocitySums().rmse)


def test_the_mean_over_days_is_that_of_the_images_and_not_the_pooled_one() -> None:
    truth = np.zeros((2, 2))
    sea = np.ones((2, 2), bool)
    half = np.array([[0.0, 0.0], [np.nan, np.nan]])
    sums = DaySums()
    sums.add_day(np.full((2, 2), 1.0), truth, sea)
    sums.add_day(np.full((2, 2), 4.0), half, sea)
    sums.add_day(np.full((2, 2), 9.0), np.full((2, 2), np.nan), sea)
    found = sums.summary()
    assert (found["days"], found["n"]) == (2, 6)
    assert found["mrmse"] == pytest.approx((1 + 4) / 2)
    assert found["rmse"] == pytest.approx(np.sqrt((4 * 1 + 2 * 16) / 6))
    assert found["bias"] == pytest.approx((4 * 1 + 2 * 4) / 6)


@given(seed=st.integers(0, 99), share=st.floats(0, 0.9))
@settings(max_examples=30)
def test_masked_cells_are_not_in_the_denominator(seed: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    truth, prediction = generator.normal(size=(2, 8, 9))
    land = generator.random((8, 9)) < share
    truth[land], prediction[land] = np.nan, np.nan
    sums = DaySums()
    sums.add_day(prediction, truth, ~land)
    error = (prediction - truth)[~land]
    assert sums.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    assert sums.summary()["n"] == error.size
    assert sums.land_values == sums.missing == 0


def test_values_on_land_and_missing_cells_are_counted() -> None:
    sea = np.array([[False, False, True, True]])
    truth = np.array([[np.nan, np.nan, 1.0, np.nan]])
    sums = DaySums()
    sums.add_day(np.array([[7.0, np.nan, np.nan, 2.0]]), truth, sea)
    assert (sums.land_values, sums.missing, sums.n) == (1, 1, 0)
    assert np.isnan(sums.summary()["mrmse"])


values = arrays(np.float64, 12, elements=st.floats(-5, 5) | st.just(np.nan))


@given(first=values, second=values, cut=st.integers(0, 12))
@settings(max_examples=50)
def test_sums_of_pairs_merge(first: Field, second: Field, cut: int) -> None:
    whole, parts = PairSums(), [PairSums(), PairSums()]
    whole.add(first, second)
    parts[0].add(first[:cut], second[:cut])
    parts[1].add(first[cut:], second[cut:])
    parts[0].merge(parts[1])
    assert_allclose(list(parts[0].summary().values()), list(whole.summary().values()), atol=1e-9)


def test_the_correlation_is_that_of_numpy_and_of_nothing_that_varies_there_is_none() -> None:
    p, t = np.random.default_rng(3).normal(290, 3, (2, 50))
    t = t + p
    sums = PairSums()
    sums.add(p, t)
    assert sums.correlation == pytest.approx(np.corrcoef(p, t)[0, 1], rel=1e-6)
    flat = PairSums()
    flat.add(np.full(9, 290.1), t[:9])
    assert np.isnan(flat.correlation)
    assert np.isnan(PairSums().correlation)


def test_tails_by_hand() -> None:
    truth = np.array([[0.0, 1.0, 5.0], [9.0, 10.0, np.nan]])
    sums = TailSums()
    sums.add(truth + np.array([[1, 2, 3], [4, -2, 0]]), truth, (0.5, 8.5))
    assert sums.summary() == pytest.approx(
        {
            "cold_rmse": 1.0,
            "cold_bias": 1.0,
            "warm_rmse": np.sqrt((16 + 4) / 2),
            "warm_bias": 1.0,
        }
    )
    none = TailSums()
    none.add(truth, truth, (np.nan, np.nan))
    assert all(np.isnan(value) for value in none.summary().values())


def test_a_station_is_compared_with_its_cell_on_the_days_that_it_measured() -> None:
    sums, other = StationSums(), StationSums()
    for day, (at, into) in enumerate([((0, 1), sums), ((0, 1), other), ((2, 2), other)]):
        field = np.full((3, 3), 10.0 * day)
        measured = np.full((3, 3), np.nan)
        measured[at] = 10.0 * day - 2
        into.add(field, measured)
    sums.merge(other)
    assert sorted(sums.by) == [(0, 1), (2, 2)]
    assert sums.by[0, 1].measured == [-2, 8]
    assert sums.by[0, 1].sums().summary() == {"n": 2, "missing": 0, "rmse": 2, "mae": 2, "bias": 2}
    assert sums.by[2, 2].sums().n == 1


def test_the_tails_of_a_station_are_by_its_own_percentiles_whatever_is_predicted() -> None:
    measured = np.random.default_rng(5).normal(20, 3, 60)
    error = np.random.default_rng(6).normal(0, 1, 60)
    error[np.argmax(measured)] = np.nan
    series = Series(list(measured + error), list(measured))
    found, (low, high) = series.tails((0.05, 0.95)), np.quantile(measured, [0.05, 0.95])
    for sums, within in ((found.cold, measured < low), (found.warm, measured > high)):
        assert sums.n + sums.missing == 3
        assert sums.bias == pytest.approx(np.nanmean(error[within]))
        assert sums.rmse == pytest.approx(np.sqrt(np.nanmean(error[within] ** 2)))
    assert (found.warm.missing, found.cold.missing) == (1, 0)


@pytest.mark.parametrize("measured", [[], [4.0], [4.0, 4.0, 4.0]])
def test_what_does_not_vary_has_no_tails(measured: list[float]) -> None:
    found = Series([5.0] * len(measured), measured).tails((0.05, 0.95))
    assert (found.warm.n, found.cold.n) == (0, 0)


def test_an_error_map_is_the_rmse_of_each_cell_over_days() -> None:
    generator = np.random.default_rng(1)
    truth, given_ = generator.normal(size=(2, 6, 3, 4))
    truth[:, 0, 0], truth[2, 1, 1] = np.nan, np.nan
    parts = [ErrorMap((3, 4)), ErrorMap((3, 4))]
    for day in range(6):
        parts[day % 2].add(given_[day], truth[day])
    parts[0].merge(parts[1])
    with pytest.warns(RuntimeWarning, match="empty"):
        expected = np.sqrt(np.nanmean((given_ - truth) ** 2, axis=0))
    assert_allclose(parts[0].rmse, expected)


def low_passed(field: Field, heights: float, width: float, longest: float) -> Field:
    """A field without waves shorter than so many metres."""
    rows, cols = np.fft.fftfreq(field.shape[0], heights), np.fft.fftfreq(field.shape[1], width)
    kept = np.hypot(rows[:, None], cols[None]) <= 1 / longest
    filtered: Field = np.fft.ifft2(np.fft.fft2(field) * kept).real
    return filtered


@pytest.mark.parametrize("aspect", [1.0, 1.6, 0.7])
@pytest.mark.parametrize("longest", [120e3, 250e3])
def test_the_effective_resolution_of_a_low_pass_is_its_wavelength(
    aspect: float, longest: float
) -> None:
    width, size = 10e3, 128
    truth = red((512, 512))
    field = low_passed(truth, width * aspect, width, longest)
    sums = SpectrumSums(size, aspect)
    for top in range(0, 385, 64):
        for left in range(0, 385, 64):
            at = slice(top, top + size), slice(left, left + size)
            sums.add(field[at], truth[at])
    spectrum = sums.summary(width)
    waves = spectrum["wavelength"].to_numpy()
    ring = int(np.argmin(np.abs(waves - longest)))
    low, high = waves[ring + 1], waves[ring - 1]
    assert low <= effective_resolution(waves, spectrum["coherence"].to_numpy()) <= high
    assert low <= effective_resolution(waves, signal_to_error(spectrum)) <= high


def test_waves_of_half_their_height_are_coherent_but_not_resolved() -> None:
    truth = red((64, 64))
    sums = SpectrumSums(64)
    sums.add(truth / 5, truth)
    spectrum = sums.summary(1e3)
    assert_allclose(spectrum["coherence"], 1)
    assert_allclose(signal_to_error(spectrum), 1 - 0.8**2)


def test_white_noise_has_the_same_density_in_cells_of_any_shape() -> None:
    noise = np.random.default_rng(2).normal(0, 3, (40, 64, 64))
    sums = SpectrumSums(64, 2.0)
    for patch in noise:
        sums.add(patch, patch)
    spectrum = sums.summary(1e3)
    assert spectrum["psd_truth"].mean() == pytest.approx(9 * 1e3 * 2e3, rel=0.05)
    assert spectrum["wavelength"].min() == pytest.approx(2 * 2e3, rel=0.05)


def summed(seed: int, size: int = 32, weight: float = 0.5) -> SpectrumSums:
    truth, other = red((size, size), seed), red((size, size), seed + 50)
    sums = SpectrumSums(size)
    sums.add(truth + weight * other, truth)
    return sums


def test_spectra_of_one_grid_are_pooled_as_their_sums() -> None:
    one, two = summed(1), summed(2)
    tables = [one.summary(5e3), two.summary(5e3)]
    one.merge(two)
    pd.testing.assert_frame_equal(pooled(tables, [1, 1]), one.summary(5e3), rtol=1e-6)


def test_spectra_of_other_grids_are_pooled_where_all_have_waves_and_nothing_has_no_weight() -> None:
    coarse, fine, nothing = summed(1), summed(2), SpectrumSums(32)
    tables = [coarse.summary(8e3), fine.summary(5e3), nothing.summary(5e3)]
    found = pooled(tables, [1, 1, 0])
    assert found["wavelength"].min() >= tables[0]["wavelength"].min()
    assert found["wavelength"].max() <= tables[1]["wavelength"].max()
    assert len(found) > 5
    assert found["coherence"].between(0, 1).all()
    pd.testing.assert_frame_equal(pooled(tables[1:], [1, 0]), tables[1])
    assert pooled(tables[2:], [0])["ratio"].isna().all()
