"""Synthetic scenes of glaciers: their fronts are where they are said to be."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from nunatak.errors import SourceError
from nunatak.grid import Window
from nunatak.ops import fronts, series
from nunatak.source import Source
from nunatak.sources.album import SyntheticAlbum, open_synthetic_scenes
from nunatak.sources.glacier import (
    DAYS,
    GLACIER,
    NO_DATA,
    OCEAN,
    ROCK,
    SENSORS,
    START,
    Glacier,
    zones,
)
from nunatak.sources.radar import image, speckled
from nunatak.sources.raster import Album

COARSE = 5.0


def crossing(glacier: Glacier, number: int, coarsening: float = COARSE) -> tuple[float, float]:
    """Where the traced true front crosses the centre line, and the diagonal of a cell."""
    taken = glacier.acquisition(number, coarsening)
    left, bottom, right, top = taken.bounds
    cell = (top - bottom) / taken.shape[0], (right - left) / taken.shape[1]
    front = image(glacier, number, coarsening).front
    lines = [fronts.line(p, taken.bounds, cell) for p in fronts.paths(front == 1, cell)]
    return series.position(glacier.centre, lines), float(np.hypot(*cell))


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("coarsening", [3.0, 8.0])
def test_the_front_crosses_the_centre_line_where_it_is_known_to(
    number: int, coarsening: float
) -> None:
    glacier = Glacier(1, number)
    day = glacier.acquisition(number).date
    found, cell = crossing(glacier, number, coarsening)
    assert found == pytest.approx(glacier.position(day), abs=1.5 * cell)


def test_a_series_finds_the_known_retreat() -> None:
    glacier = Glacier(0, 1)
    numbers = range(24)
    days = pd.Series(pd.to_datetime([glacier.acquisition(n).date for n in numbers]))
    found = np.array([crossing(glacier, n)[0] for n in numbers])
    assert not np.isnan(found).any()
    assert series.trend(days, found) == pytest.approx(-glacier.rate, rel=0.05)


def test_a_glacier_retreats_by_its_rate_a_year() -> None:
    glacier = Glacier(0, 2)
    year = glacier.position(START + timedelta(days=1461)) - glacier.position(START)
    assert year == pytest.approx(-4 * glacier.rate, abs=1)
    assert 300 < glacier.rate < 500
    assert glacier.rate != Glacier(0, 3).rate != Glacier(1, 3).rate


def test_scenes_do_not_depend_on_how_many_there_are() -> None:
    glacier = Glacier(4, 0)
    some, many = ([glacier.acquisition(n).name for n in range(count)] for count in (5, 300))
    assert many[:5] == some
    assert len(set(many)) == 300
    days = sorted(glacier.acquisition(n).date for n in range(300))
    assert days[0] - START < timedelta(days=30)
    assert START + timedelta(days=DAYS) - days[-1] < timedelta(days=30)
    assert max(np.diff(days)) < timedelta(days=30)


def test_a_scene_is_a_function_of_its_number() -> None:
    one, again = (image(Glacier(4, 0), 3, 8.0) for _ in range(2))
    other = image(Glacier(5, 0), 3, 8.0)
    for a, b, c in zip(one, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape != c.shape or not np.array_equal(a, c)


def test_frames_of_glaciers_are_apart_and_of_one_shape_a_sensor() -> None:
    boxes = [Glacier(0, n).bounds for n in range(12)]
    for i, (left, bottom, _, _) in enumerate(boxes):
        assert not any(
            left < r and left + 12.8e3 > x and bottom < t and bottom + 11.2e3 > y
            for x, y, r, t in boxes[:i]
        )
    shapes = {}
    for number in range(40):
        taken = Glacier(0, 0).acquisition(number)
        assert shapes.setdefault(taken.sensor, taken.shape) == taken.shape
    assert len(set(shapes.values())) == len({s.resolution for s in SENSORS})


@pytest.fixture(scope="module", params=range(5))
def taken(request: pytest.FixtureRequest) -> tuple[Glacier, int]:
    return Glacier(0, request.param), 2 + request.param


def test_a_scene_has_all_zones_and_its_front_is_in_the_ocean(taken: tuple[Glacier, int]) -> None:
    amplitude, zone, front = image(*taken, COARSE)
    share = np.bincount(zone.astype(int).ravel(), minlength=4) / zone.size
    assert (share > [0.01, 0.08, 0.3, 0.08]).all()
    assert (zone[np.isnan(amplitude)] == NO_DATA).all()
    seen = amplitude[~np.isnan(amplitude)]
    assert seen.min() >= 0
    assert seen.max() <= 255
    np.testing.assert_array_equal(seen, np.rint(seen))
    assert (zone[front == 1] == OCEAN).all()
    (path, *_) = fronts.paths(front == 1, (1.0, 1.0))
    assert len(path) > 0.85 * front.sum()


def test_shadow_is_dark_and_unseen(taken: tuple[Glacier, int]) -> None:
    amplitude, zone, _ = image(*taken, COARSE)
    shadow = (zone == NO_DATA) & ~np.isnan(amplitude)
    assert shadow.any()
    assert np.median(amplitude[shadow]) < 0.4 * np.median(amplitude[zone == GLACIER])


def test_zones_are_the_same_ground_at_any_resolution() -> None:
    glacier, day = Glacier(0, 3), START + timedelta(days=900)
    fine, rough = (zones(glacier, glacier.places(shape), day) for shape in ((280, 320), (56, 64)))
    assert set(np.unique(rough)) == {ROCK, GLACIER, OCEAN}
    assert (fine[2::5, 2::5] == rough).mean() > 0.999


def test_brightness_alone_does_not_part_ice_from_melange() -> None:
    parted = []
    for number in range(12):
        amplitude, zone, _ = image(Glacier(0, number % 4), number, COARSE)
        ice, sea = amplitude[zone == GLACIER], amplitude[zone == OCEAN]
        ice, sea = ice[~np.isnan(ice)], sea[~np.isnan(sea)]
        ranks = rankdata(np.concatenate([ice, sea]))[: ice.size].sum()
        parted.append((ranks - ice.size * (ice.size + 1) / 2) / (ice.size * sea.size))
    assert 0.5 < np.mean(parted) < 0.93
    assert min(parted) < 0.75


def test_speckle_is_that_of_the_looks_of_the_sensor() -> None:
    glacier = Glacier(0, 0)
    for number in range(4):
        sensor = glacier.sensor(number)
        grey = speckled(glacier, number, np.full((400, 400), 80.0))
        intensity = grey**2
        assert intensity.std() / intensity.mean() == pytest.approx(sensor.looks**-0.5, rel=0.06)
        twice = speckled(glacier, number, np.full((400, 400), 40.0))
        assert not np.array_equal(grey, 2 * twice)
        np.testing.assert_array_equal(grey, speckled(glacier, number, np.full((400, 400), 80.0)))


def album(scenes: int = 4, **more: Any) -> SyntheticAlbum:
    source = Source.model_validate(
        {
            "title": "Synthetic glaciers",
            "reader": {"op": "synthetic_scenes"},
            "files": [{"url": "synthetic:glaciers"}],
            "crs": "EPSG:3031",
            "citation": "none",
            "licence": "CC0-1.0",
            "variables": {"grey": {"name": "amplitude", "units": "1"}, "zone": {"units": "1"}},
        }
    )
    return open_synthetic_scenes("", source, glaciers=2, scenes=scenes, coarsening=8.0, **more)


def test_an_album_holds_the_scenes_of_its_glaciers_and_more_change_none() -> None:
    few, many = album(), album(7)
    assert isinstance(few, Album)
    found = few.scenes()
    assert list(found) == sorted(found)
    assert [scene.group for scene in found.values()].count("glacier1") == 4
    assert found.items() <= many.scenes().items()
    assert len(many.scenes()) == 14
    assert {few.digest(*one) for one in found.items()} == {
        many.digest(*one) for one in found.items()
    }
    assert len({few.digest(*one) for one in found.items()}) == 8
    assert few.digest(*next(iter(found.items()))) != album(seed=1).digest(
        *next(iter(album(seed=1).scenes().items()))
    )


def test_windows_of_an_album_are_those_of_its_scenes() -> None:
    given = album()
    name, scene = next(iter(given.scenes().items()))
    number = next(n for n in range(4) if Glacier(0, 0).acquisition(n).name == name)
    raster, whole = given.raster(name, scene), image(Glacier(0, 0), number, 8.0)
    assert raster.geobox is not None
    assert raster.geobox.shape == scene.shape
    assert tuple(raster.geobox.boundingbox) == pytest.approx(scene.bounds)
    part = raster.read("grey", Window(3, 20, 5, 31))
    np.testing.assert_array_equal(part, whole.amplitude[3:20, 5:31])
    np.testing.assert_array_equal(raster.read("zone", Window(0, 9, 0, 9)), whole.zone[:9, :9])
    with pytest.raises(SourceError, match="amplitude, zone, front"):
        raster.read("height", Window(0, 9, 0, 9))
