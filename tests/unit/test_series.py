"""Where a front crosses a centre line, the area of a glacier, and the table of both."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nunatak.ops.series import Reading, area, inside, placed, position, table, trend

CENTRE = np.array([(0.0, 0.0), (30.0, 0.0), (30.0, 100.0)])


def across(y: float) -> np.ndarray:
    return np.array([(10.0, y), (50.0, y)])


@given(y=st.floats(0.01, 99.99))
def test_the_position_is_counted_along_the_line(y: float) -> None:
    assert position(CENTRE, [across(y)]) == pytest.approx(30 + y)


def test_the_first_crossing_seen_from_the_glacier_counts() -> None:
    wavy = np.array([(10.0, 60.0), (40.0, 60.0), (40.0, 20.0), (10.0, 20.0)])
    assert position(CENTRE, [wavy]) == pytest.approx(50)
    assert position(CENTRE, [across(80), across(15)]) == pytest.approx(45)
    along = np.array([(10.0, 40.0), (30.0, 40.0), (30.0, 55.0), (50.0, 55.0)])
    assert position(CENTRE, [along]) == pytest.approx(70)


def test_a_front_that_does_not_cross_has_no_position() -> None:
    assert np.isnan(position(CENTRE, []))
    assert np.isnan(position(CENTRE, [across(101)]))


def test_area_counts_cells_of_the_glacier_in_the_part() -> None:
    zone = np.full((10, 20), 3.0)
    zone[:, :12] = 2
    where = np.zeros((10, 20), bool)
    where[:5] = True
    assert area(zone, (20.0, 10.0), where) == 60 * 200
    assert area(zone, (1.0, 1.0), where) == 60


@pytest.mark.parametrize("lost", [np.nan, 0.0])
def test_area_is_missing_where_too_little_was_seen(lost: float) -> None:
    zone, where = np.full((10, 20), 2.0), np.ones((10, 20), bool)
    zone[0, :10] = lost
    assert area(zone, (1.0, 1.0), where) == 190
    zone[0, :11] = lost
    assert np.isnan(area(zone, (1.0, 1.0), where))
    assert np.isnan(area(zone, (1.0, 1.0), np.zeros((10, 20), bool)))


def test_the_part_is_the_same_ground_at_any_resolution() -> None:
    bounds = (1000.0, -200.0, 1200.0, -100.0)
    triangle = np.array([(1020.0, -180.0), (1180.0, -180.0), (1020.0, -110.0)])
    for rows, cols in ((100, 200), (50, 80)):
        found = inside(triangle, bounds, (rows, cols))
        assert found.sum() * (100 / rows) * (200 / cols) == pytest.approx(5600, rel=0.03)
        assert not found[: rows // 20].any()
    assert inside(triangle, bounds, (100, 200))[75, 25]
    assert not inside(triangle, bounds, (100, 200))[15, 175]


def test_relative_places_count_from_the_top_left() -> None:
    found = placed([(0, 0), (0.5, 0.25), (1, 1)], (100.0, 0.0, 300.0, 40.0))
    np.testing.assert_allclose(found, [(100, 40), (200, 30), (300, 0)])


def reading(day: str, position: float, source: str = "true", group: str = "north") -> Reading:
    when = date.fromisoformat(day)
    return Reading(group, f"{group}_{day}", when, "TSX", source, "m", position, 10 * position)


def test_changes_are_since_the_first_that_is_known_of_glacier_and_source() -> None:
    found = table(
        [
            reading("2012-01-01", 80.0),
            reading("2010-01-01", np.nan),
            reading("2011-01-01", 100.0),
            reading("2011-01-01", 90.0, "unet"),
            reading("2011-01-01", 5.0, group="south"),
            reading("2012-01-01", 95.0, "unet"),
        ]
    )
    assert list(found["group"]) == ["north"] * 5 + ["south"]
    assert list(found["source"][:5]) == ["true"] * 3 + ["unet"] * 2
    np.testing.assert_array_equal(found["position_change"], [np.nan, 0, -20, 0, 5, 0])
    np.testing.assert_array_equal(found["area_change"], [np.nan, 0, -200, 0, 50, 0])


def test_changes_in_cells_are_not_counted_from_metres() -> None:
    lost = Reading("north", "lost", date(2013, 1, 1), "TSX", "true", "cells", 7.0, 70.0)
    found = table([reading("2011-01-01", 100.0), reading("2012-01-01", 80.0), lost])
    np.testing.assert_array_equal(found["position_change"], [0, -20, 0])
    np.testing.assert_array_equal(found["area_change"], [0, -200, 0])


def test_a_table_of_nothing_has_its_columns() -> None:
    assert list(table([]))[-2:] == ["position_change", "area_change"]


@given(rate=st.floats(-900, 900))
def test_the_trend_is_the_rate_of_a_steady_retreat(rate: float) -> None:
    start = date(2010, 1, 1)
    days = [start + timedelta(days=40 * n) for n in range(20)]
    values = np.array([rate * (day - start).days / 365.25 for day in days])
    values[3] = np.nan
    assert trend(pd.Series(pd.to_datetime(days)), values) == pytest.approx(rate, abs=1e-6)
    assert np.isnan(trend(pd.Series(pd.to_datetime(days[:1])), values[:1]))
