"""The synthetic ocean: what it is like, and that a day of it depends on nothing else."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter
from scipy.signal import detrend

from nunatak.errors import ConfigError, SourceError
from nunatak.grid import Window
from nunatak.source import Source
from nunatak.sources import ocean as told
from nunatak.sources.ocean_album import OceanAlbum, StationDay, open_synthetic_ocean
from nunatak.sources.raster import Album, Sampler
from nunatak.sources.sheet import Sheet
from nunatak.sources.waters import Day, Ocean

FIRST = date(2013, 1, 1)
SMALL = (150.0, 33.0, 153.0, 36.0)
WIDE = (145.0, 32.0, 152.2, 39.2)
REGIONS = {"here": [150, 33, 153, 36], "there": [178, -33, 182, -30]}


def album(lags: tuple[int, ...] = (0,), **args: Any) -> OceanAlbum:
    product = args.get("product", "truth")
    names = Day._fields if product == "truth" else ("sst",)
    variables = {name: {"units": "m" if name == "ssh" else "K"} for name in names}
    variables |= {f"sst_{lag}": {"name": "sst", "lag": lag, "units": "K"} for lag in lags if lag}
    source = Source.model_validate(
        {
            "title": "Synthetic ocean",
            "reader": {"op": "synthetic_ocean", "args": {"regions": REGIONS, "days": 1}},
            "files": [{"url": "synthetic:ocean"}],
            "licence": "CC0-1.0",
            "variables": variables,
        }
    )
    return open_synthetic_ocean("", source, **{"regions": REGIONS, "days": 4, "cells": 10, **args})


def whole(given: OceanAlbum, name: str, variable: str) -> NDArray[np.float32]:
    scene = given.scenes()[name]
    rows, cols = scene.shape
    return given.raster(name, scene).read(variable, Window(0, rows, 0, cols))


@pytest.fixture(scope="module", params=[0, 1, 3])
def days(request: pytest.FixtureRequest) -> list[Day]:
    ocean = Ocean(request.param, WIDE)
    return [ocean.day(FIRST + timedelta(days=number), 60) for number in (0, 1, 20)]


def correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def slope(field: NDArray[Any], shortest: float, longest: float) -> float:
    """Power of the wavenumber that the isotropic one-dimensional spectrum falls with (km)."""
    rows, cols = field.shape
    flat = detrend(detrend(field.astype(float), axis=0), axis=1)
    power = abs(np.fft.fft2(flat * np.outer(np.hanning(rows), np.hanning(cols)))) ** 2
    side = 111.2 / 60
    ky, kx = np.fft.fftfreq(rows, side), np.fft.fftfreq(cols, side * np.cos(np.radians(35.6)))
    k = np.hypot(ky[:, np.newaxis], kx)
    bins = np.geomspace(1 / longest, 1 / shortest, 9)
    which = np.digitize(k, bins)
    means = np.array([power[which == number].mean() for number in range(1, bins.size)])
    return float(np.polyfit(np.log(np.sqrt(bins[1:] * bins[:-1])), np.log(means), 1)[0]) + 1


def test_height_is_of_the_size_of_real_and_its_spectrum_is_red(days: list[Day]) -> None:
    for day in days:
        assert 0.2 < day.ssh.std() < 0.38
        assert 0.3 < np.hypot(day.u, day.v).mean() < 0.8
    height = np.mean([slope(day.ssh, 50.0, 200.0) for day in days])
    warm = np.mean([slope(day.sst, 50.0, 200.0) for day in days])
    assert -5.5 < height < -3.4
    assert height + 1 < warm < -1.2


def test_a_day_resembles_the_next_and_not_those_weeks_away(days: list[Day]) -> None:
    today, tomorrow, later = days
    assert 0.98 < correlation(today.ssh, tomorrow.ssh) < 0.9999
    assert 0.95 < correlation(today.sst, tomorrow.sst) < 0.9999
    assert correlation(today.ssh, later.ssh) < 0.85
    assert not np.array_equal(today.sst, tomorrow.sst)


def test_temperature_tells_of_height_at_the_mesoscale_but_is_no_copy(days: list[Day]) -> None:
    for day in days:
        height, warm = (gaussian_filter(f, 8) - gaussian_filter(f, 60) for f in (day.ssh, day.sst))
        assert 0.6 < correlation(height, warm) < 0.93


def test_temperature_tells_of_the_height_that_coarse_cells_lack(days: list[Day]) -> None:
    def lacking(field: NDArray[Any]) -> NDArray[Any]:
        means = field.reshape(16, 27, 16, 27).mean(axis=(1, 3))
        return field - gaussian_filter(means.repeat(27, 0).repeat(27, 1), 13)

    def told_by(day: Day) -> NDArray[Any]:
        fields = [lacking(gaussian_filter(day.sst, width)) for width in (1, 4, 16)]
        return np.stack([field.ravel() for field in fields], axis=1)

    learnt, _, judged = days
    weights = np.linalg.lstsq(told_by(learnt), lacking(learnt.ssh).ravel(), rcond=None)[0]
    true = lacking(judged.ssh).ravel()
    left = true - told_by(judged) @ weights
    assert true.std() > 0.03
    assert 0.3 < left.std() / true.std() < 0.75


def test_currents_are_centred_differences_of_height() -> None:
    day = Ocean(0, SMALL).day(FIRST, 20)
    latitude = np.radians(36 - (np.arange(60) + 0.5) / 20)[:, np.newaxis]
    south, east = np.gradient(day.ssh.astype(float), np.pi / 180 * 6371e3 / 20)
    f = 2 * 7.2921e-5 * np.sin(latitude)
    u, v = 9.81 / f * south, 9.81 / f * east / np.cos(latitude)
    inner = np.s_[1:-1, 1:-1]
    np.testing.assert_allclose(day.u[inner], u[inner], rtol=0.005, atol=0.001)
    np.testing.assert_allclose(day.v[inner], v[inner], rtol=0.005, atol=0.001)
    assert not np.isnan([day.u, day.v]).any()


def test_no_current_is_told_near_the_equator_but_height_is() -> None:
    day = Ocean(0, (0.0, 3.0, 2.0, 7.0)).day(FIRST, 10)
    for part in (day.u, day.v):
        np.testing.assert_array_equal(
            np.isnan(part), (np.arange(40) >= 20)[:, np.newaxis] | [[False] * 20]
        )
    assert not np.isnan(day.ssh).any()


def test_warm_water_stands_high_and_the_equators_side_is_warm_in_both_hemispheres() -> None:
    for south in (33.0, -40.0):
        day = Ocean(2, (150.0, south, 157.0, south + 7)).day(FIRST, 10)
        poleward = slice(None, 20) if south > 0 else slice(-20, None)
        other = slice(-20, None) if south > 0 else slice(None, 20)
        assert day.sst[other].mean() > day.sst[poleward].mean() + 3
        assert day.ssh[other].mean() > day.ssh[poleward].mean()


def test_structures_are_the_same_in_cells_of_any_size() -> None:
    ocean = Ocean(0, SMALL)
    rough, fine = ocean.day(FIRST, 10), ocean.day(FIRST, 30)
    assert correlation(fine.ssh[1::3, 1::3], rough.ssh) > 0.999
    assert correlation(fine.sst[1::3, 1::3], rough.sst) > 0.99


def test_seeds_and_boxes_tell_oceans_apart_and_nothing_else_does() -> None:
    one = Ocean(0, SMALL).day(FIRST, 10)
    for field, again in zip(one, Ocean(0, SMALL).day(FIRST, 10), strict=True):
        np.testing.assert_array_equal(field, again)
    for other in (Ocean(1, SMALL), Ocean(0, (160.0, 33.0, 163.0, 36.0))):
        assert abs(correlation(one.ssh, other.day(FIRST, 10).ssh)) < 0.95


def test_windows_of_an_album_are_those_of_the_whole() -> None:
    given = album()
    assert isinstance(given, Album)
    name = "there_2013-01-02"
    scene = given.scenes()[name]
    raster = given.raster(name, scene)
    day = Ocean(0, (178.0, -33.0, 182.0, -30.0)).day(date(2013, 1, 2), 10)
    for variable, field in day._asdict().items():
        np.testing.assert_array_equal(raster.read(variable, Window(0, 30, 0, 40)), field)
        part = raster.read(variable, Window(3, 20, 5, 31))
        np.testing.assert_array_equal(part, field[3:20, 5:31])
    part[:] = 0
    assert raster.read("v", Window(3, 20, 5, 31)).any()


def test_a_box_across_the_date_line_lies_on_one_grid_without_a_seam() -> None:
    given = album()
    scene = given.scenes()["there_2013-01-01"]
    raster = given.raster("there_2013-01-01", scene)
    assert raster.geobox is not None
    assert scene.shape == raster.geobox.shape == (30, 40)
    assert tuple(raster.geobox.boundingbox) == pytest.approx((178, -33, 182, -30))
    steps = abs(np.diff(whole(given, "there_2013-01-01", "ssh"), axis=1)).max(axis=0)
    assert steps[19] < 2 * np.median(steps)


def test_more_days_change_none_and_digests_know() -> None:
    few, many = album(), album(days=30)
    found = few.scenes()
    assert list(found) == sorted(found)
    assert len(found) == 8
    assert found.items() <= many.scenes().items()
    digests = {name: few.digest(name, scene) for name, scene in found.items()}
    assert digests == {name: many.digest(name, scene) for name, scene in found.items()}
    assert len(set(digests.values())) == 8
    np.testing.assert_array_equal(*(whole(a, "here_2013-01-03", "ssh") for a in (few, many)))
    for other in ({"seed": 1}, {"land": 0.1}, {"cells": 20}, {"season": 1.0}, {"extremes": 1.0}):
        changed = album(**other)
        name = next(iter(found))
        assert changed.digest(name, changed.scenes()[name]) != digests[name]


def test_an_album_starts_when_it_is_told_to_and_a_date_is_the_same_day() -> None:
    late = album(start="2013-01-03")
    assert min(scene.date for scene in late.scenes().values()) == date(2013, 1, 3)
    np.testing.assert_array_equal(*(whole(a, "here_2013-01-03", "u") for a in (late, album())))


def test_an_album_holds_days_of_its_regions_whatever_their_grid() -> None:
    given, other = album(), album(cells=20, days=9)
    scenes = other.scenes()
    assert given.holds(scenes["here_2013-01-04"])
    assert not given.holds(scenes["here_2013-01-05"])
    assert not given.holds(scenes["here_2013-01-04"].model_copy(update={"group": "nowhere"}))
    raster = given.raster("here_2013-01-04", scenes["here_2013-01-04"])
    assert raster.geobox is not None
    assert raster.geobox.shape == (30, 30)


def test_a_lag_gives_the_day_before_and_nothing_before_the_first() -> None:
    given = album(lags=(0, 1, 2))
    for lag in (1, 2):
        then = whole(given, f"here_2013-01-0{4 - lag}", "sst")
        np.testing.assert_array_equal(whole(given, "here_2013-01-04", f"sst_{lag}"), then)
    assert np.isnan(whole(given, "here_2013-01-02", "sst_2")).all()
    assert not np.isnan(whole(given, "here_2013-01-02", "sst_1")).any()


def test_a_digest_knows_which_days_before_there_are() -> None:
    early, late = album(lags=(0, 1)), album(lags=(0, 1), start="2013-01-02")
    same, differs = ("here_2013-01-03", "here_2013-01-02")
    scenes = late.scenes()
    assert early.digest(same, scenes[same]) == late.digest(same, scenes[same])
    assert early.digest(differs, scenes[differs]) != late.digest(differs, scenes[differs])


@pytest.mark.parametrize("product", ["truth", "analysis"])
def test_land_is_the_same_on_all_days_and_has_its_share(product: str) -> None:
    given = album(product=product, land=0.3, cells=20)
    masks = {
        region: [np.isnan(whole(given, f"{region}_2013-01-0{day}", "sst")) for day in (1, 4)]
        for region in REGIONS
    }
    for first, last in masks.values():
        np.testing.assert_array_equal(first, last)
        assert first.mean() == pytest.approx(0.3, abs=0.03)
    if product == "truth":
        for variable in ("ssh", "u", "v"):
            missing = np.isnan(whole(given, "here_2013-01-01", variable))
            np.testing.assert_array_equal(missing, masks["here"][0])
    assert not np.isnan(whole(album(product=product), "here_2013-01-01", "sst")).any()


def test_coarse_cells_are_land_where_more_than_half_of_them_is() -> None:
    fine, coarse = (album(product=p, land=0.4, cells=20) for p in ("analysis", "reanalysis"))
    land = np.isnan(whole(fine, "here_2013-01-02", "sst"))
    found = np.isnan(whole(coarse, "here_2013-01-02", "sst"))
    assert found.shape == (12, 12)
    np.testing.assert_array_equal(found, land.reshape(12, 5, 12, 5).mean(axis=(1, 3)) > 0.5)
    assert land.reshape(12, 5, 12, 5).mean(axis=(1, 3))[~found].max() > 0


def test_the_two_analyses_differ_by_the_known_bias() -> None:
    ocean = Ocean(0, WIDE, 0.0, 6.0, 2.5)
    dates = [FIRST + timedelta(days=40 * number) for number in range(8)]
    differences = np.stack(
        [
            told.reanalysis(ocean, day, 10, 4)
            - told.analysis(ocean, day, 10).reshape(18, 4, 18, 4).mean(axis=(1, 3))
            for day in dates
        ]
    )
    known = told.bias(ocean, 10, 4)
    assert 0.3 <= known.min() < known.max() <= 0.8
    assert known.max() - known.min() > 0.2
    assert correlation(differences.mean(axis=0), known) > 0.7
    assert differences.mean() == pytest.approx(known.mean(), abs=0.05)
    assert (differences - known).std() > 0.1


def test_analyses_damp_extremes_and_stations_do_not() -> None:
    calm, wild = (Ocean(0, WIDE, 0.0, 0.0, extremes) for extremes in (0.0, 3.0))
    y, x = wild.sheet.axes(5)
    days = [FIRST + timedelta(days=number) for number in range(120)]
    most = max(days, key=lambda day: abs(wild.box(wild.event(day, y, x), 5)).max())
    event = wild.box(wild.event(most, y, x), 5)
    assert 2 < abs(event).max() < 8
    seen = told.analysis(wild, most, 5) - told.analysis(calm, most, 5)
    np.testing.assert_allclose(seen, told.DAMPED * event, atol=0.1)
    truth = wild.day(most, 5).sst - calm.day(most, 5).sst
    np.testing.assert_allclose(truth, event, atol=1e-4)
    longitude, latitude = told.stations(wild, 50)
    places = wild.sheet.places(longitude, latitude)
    at = wild.event(most, *places, scattered=True)
    measured = told.measured(wild, most, 5, 50) - told.measured(calm, most, 5, 50)
    there = ~np.isnan(measured)
    np.testing.assert_allclose(measured[there], at[there], atol=0.4)
    before = wild.event(
        most - timedelta(days=4), *wild.sheet.places(longitude, latitude), scattered=True
    )
    worst = np.argmax(abs(at))
    assert abs(before[worst]) < 0.3 * abs(at[worst])


def test_a_season_is_warm_in_august_in_the_north_and_in_february_in_the_south() -> None:
    for bounds, warm, cold in ((SMALL, 8, 2), ((150.0, -36.0, 153.0, -33.0), 2, 8)):
        ocean = Ocean(0, bounds, 0.0, 6.0)
        assert ocean.season_on(date(2013, warm, 18)) == pytest.approx(6.0, abs=0.1)
        assert ocean.season_on(date(2013, cold, 17)) == pytest.approx(-6.0, abs=0.1)
        still = Ocean(0, bounds).day(FIRST, 5).sst
        swung = ocean.day(FIRST, 5).sst - still
        np.testing.assert_allclose(swung, ocean.season_on(FIRST), atol=1e-3)


def test_stations_lie_at_sea_in_their_cells_and_tell_its_temperature() -> None:
    given = album(product="stations", stations=12, land=0.4, cells=20, days=16)
    ocean = given.oceans["here"]
    longitude, latitude = told.stations(ocean, 12)
    assert longitude.size == 12
    np.testing.assert_array_equal(told.stations(ocean, 3)[0], longitude[:3])
    rows, cols = ((36 - latitude) * 20).astype(int), ((longitude - 150) * 20).astype(int)
    cells = set(zip(rows.tolist(), cols.tolist(), strict=True))
    errors: list[float] = []
    for number in range(16):
        name = f"here_{FIRST + timedelta(days=number)}"
        scene = given.scenes()[name]
        raster = given.raster(name, scene)
        assert isinstance(raster, Sampler)
        assert raster.geobox is None
        field = raster.sample("sst", scene.geobox)
        truth = ocean.day(scene.date, 20).sst
        rows, cols = np.nonzero(~np.isnan(field))
        assert set(zip(rows.tolist(), cols.tolist(), strict=True)) <= cells
        assert not np.isnan(truth[rows, cols]).any()
        errors += list(field[rows, cols] - truth[rows, cols])
    assert 0.07 < np.std(errors) < 0.14
    assert 0.6 < len(errors) / 192 < 0.95


def test_stations_are_found_on_any_grid_and_on_either_side_of_the_circle() -> None:
    given = album(product="stations", stations=20, cells=20)
    name = "there_2013-01-01"
    raster = given.raster(name, given.scenes()[name])
    assert isinstance(raster, StationDay)
    east = GeoBox.from_bbox((178, -33, 182, -30), "EPSG:4326", shape=(3, 4))
    west = GeoBox.from_bbox((-182, -33, -178, -30), "EPSG:4326", shape=(3, 4))
    half = GeoBox.from_bbox((180, -33, 182, -30), "EPSG:4326", shape=(3, 2))
    found = raster.sample("sst", east)
    assert (~np.isnan(found)).sum() > 0
    np.testing.assert_array_equal(raster.sample("sst", west), found)
    np.testing.assert_array_equal(raster.sample("sst", half), found[:, 2:])


def test_a_cell_of_several_stations_has_their_mean_and_missing_ones_do_not_count() -> None:
    grid = GeoBox.from_bbox((0, 0, 4, 2), "EPSG:4326", shape=(2, 4))
    values = np.array([1.0, 3.0, np.nan, 5.0, 7.0, 9.0])
    longitude = np.array([0.5, 0.7, 0.6, 3.5, 361.5, 5.0])
    latitude = np.array([1.5, 1.6, 1.7, 0.5, 0.5, 0.5])
    found = told.in_cells(values, longitude, latitude, grid)
    nan = np.nan
    np.testing.assert_array_equal(found, [[2, nan, nan, nan], [nan, 7, nan, 5]])


def test_a_station_before_the_first_day_is_missing_everywhere() -> None:
    given = album(lags=(0, 1), product="stations", cells=20)
    name = "here_2013-01-01"
    scene = given.scenes()[name]
    raster = given.raster(name, scene)
    assert isinstance(raster, StationDay)
    assert np.isnan(raster.sample("sst_1", scene.geobox)).all()
    assert not np.isnan(raster.sample("sst", scene.geobox)).all()


def series(**args: Any) -> pd.DataFrame:
    return told.station_series(REGIONS, **{"days": 400, "count": 3, **args})


def test_series_are_of_the_stations_and_calendars_of_the_fields() -> None:
    found = series()
    assert list(found.columns) == ["date", "station", "lon", "lat", "sst"]
    assert sorted(found["station"].unique())[:3] == ["here_0", "here_1", "here_2"]
    ocean = Ocean(0, SMALL, 0.0, 6.0, 2.5)
    longitude, _ = told.stations(ocean, 3)
    for number, (_, one) in enumerate(found[found["station"] < "i"].groupby("station")):
        assert (one["lon"] == longitude[number]).all()
        assert 0.65 < len(one) / 400 < 0.9
        assert one["date"].is_monotonic_increasing
        kept = set(one["date"].dt.date)
        for day in (FIRST + timedelta(days=n) for n in range(0, 40, 9)):
            assert (day in kept) == (not np.isnan(told.measured(ocean, day, 5, 3)[number]))


def test_series_have_a_season_remember_and_do_not_change_with_more_days() -> None:
    found = series(days=800)
    np.testing.assert_array_equal(series()["sst"], found[found["date"] < "2014-02-05"]["sst"])
    later = series(start="2013-06-01", days=100)
    both = found.merge(later, on=["date", "station"])
    np.testing.assert_allclose(both["sst_x"], both["sst_y"], atol=0.02)
    one = found[found["station"] == "here_0"].set_index("date")["sst"].asfreq("D")
    assert one["2013-08"].mean() > one["2013-02"].mean() + 7
    rest = one - one.rolling(90, center=True, min_periods=30).mean()
    assert 0.4 < rest.autocorr(1) < 0.97


@pytest.mark.parametrize(
    ("args", "told_of"),
    [
        ({"product": "forecast"}, "truth, analysis, reanalysis, stations"),
        ({"days": 0}, "days is 0"),
        ({"cells": 0}, "cells is 0"),
        ({"coarser": -1}, "coarser is -1"),
        ({"start": "yesterday"}, "a date like"),
        ({"land": 0.9}, "a share from 0 to 0.8"),
        ({"stations": 501}, "0 to 500"),
        ({"regions": {}}, "at least one"),
        ({"regions": {"a": [1, 2, 3]}}, "left, bottom, right, top"),
        ({"regions": {"a": [1, 2, "x", 4]}}, "left, bottom, right, top"),
        ({"regions": {"a": [170, 30, -170, 40]}}, "run on over 180"),
        ({"regions": {"a": [0, 40, 10, 30]}}, "bottom < top"),
        ({"regions": {"a": [0, 70, 10, 85]}}, "80 N"),
        ({"regions": {"a": [0, 30, 10.05, 40]}}, "whole cells"),
        ({"regions": {"a": [0, 30, 10.1, 40]}, "product": "reanalysis"}, "whole cells"),
    ],
)
def test_what_cannot_be_is_refused(args: dict[str, Any], told_of: str) -> None:
    with pytest.raises(ConfigError, match=told_of):
        album(**args)


def test_variables_and_grids_that_are_not_there_are_refused() -> None:
    given = album(product="analysis")
    name, scene = next(iter(given.scenes().items()))
    with pytest.raises(SourceError, match="analysis has no variable 'ssh'"):
        given.raster(name, scene).read("ssh", Window(0, 5, 0, 5))
    stations = album(product="stations").raster(name, scene)
    assert isinstance(stations, StationDay)
    with pytest.raises(SourceError, match="no grid"):
        stations.read("sst", Window(0, 5, 0, 5))
    flat = GeoBox.from_bbox((0, 0, 5, 5), "EPSG:3031", resolution=1)
    with pytest.raises(SourceError, match="EPSG:4326"):
        stations.sample("sst", flat)


def test_a_sheet_has_a_margin_around_the_cells_of_its_box() -> None:
    sheet = Sheet(SMALL)
    y, x = sheet.axes(10)
    south, west = sheet.around(10)
    assert (y.size, x.size) == (30 + 2 * south, 30 + 2 * west)
    latitude = sheet.latitude(y)[south:-south]
    np.testing.assert_allclose(latitude, 33.05 + np.arange(30) / 10)
    for places, side in zip((y, x), sheet.size, strict=True):
        assert 0 < places[0] < places[-1] < side
        assert places[0] == pytest.approx(side - places[-1])
    found = sheet.places(np.array([150.05]), np.array([33.05]))
    assert (found[0][0], found[1][0]) == pytest.approx((y[south], x[west]))
