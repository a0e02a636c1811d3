"""Metrics of zones and fronts against references, and the laws that let them add up."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from nunatak.errors import DataError
from nunatak.metrics.lines import DistanceSums, distances, season, southern, unit
from nunatak.metrics.segmentation import BoxSums, ConfusionSums

NAMES = ("no_data", "rock", "glacier", "ocean")
codes = arrays(np.float32, (8, 9), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan]))


def confusion(prediction: Any, truth: Any) -> dict[str, float]:
    sums = ConfusionSums(NAMES)
    sums.add(prediction, truth)
    return sums.summary()


def test_intersection_over_union_by_hand() -> None:
    truth = np.array([1, 1, 1, 2, 2, 2, 2, np.nan])
    given = np.array([1, 1, 2, 2, 2, np.nan, 1, 2])
    found = confusion(given, truth)
    assert (found["n"], found["missing"]) == (6, 1)
    assert found["iou_rock"] == pytest.approx(2 / 4)
    assert found["iou_glacier"] == pytest.approx(2 / 4)
    assert found["accuracy"] == pytest.approx(4 / 6)


def test_a_class_that_is_nowhere_is_nan_and_not_in_the_mean() -> None:
    found = confusion(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    assert np.isnan(found["iou_ocean"])
    assert np.isnan(found["iou_no_data"])
    assert found["iou_glacier"] == 0
    assert found["mean_iou"] == pytest.approx((0.5 + 0) / 2)


def test_nothing_counted_is_nan() -> None:
    found = confusion(np.full(3, np.nan), np.ones(3))
    assert found["missing"] == 3
    assert all(np.isnan(v) for k, v in found.items() if k not in {"n", "missing"})


@settings(max_examples=30, deadline=None)
@given(truth=codes, prediction=codes, cut=st.integers(0, 8))
def test_confusion_sums_merge(truth: Any, prediction: Any, cut: int) -> None:
    whole, one, other = (ConfusionSums(NAMES) for _ in range(3))
    whole.add(prediction, truth)
    one.add(prediction[:cut], truth[:cut])
    other.add(prediction[cut:], truth[cut:])
    one.merge(other)
    np.testing.assert_array_equal(one.counts, whole.counts)
    assert one.missing == whole.missing
    assert whole.counts.sum() + whole.missing == np.count_nonzero(~np.isnan(truth))


def test_codes_beyond_the_classes_are_an_error() -> None:
    for code in (4.0, -1.0, 0.5):
        with pytest.raises(DataError, match="glacier"):
            confusion(np.array([code]), np.array([1.0]))


def test_sums_of_other_classes_do_not_merge() -> None:
    with pytest.raises(DataError, match="names"):
        ConfusionSums(NAMES).merge(ConfusionSums(("background", "front")))


def box(prediction: Any, truth: Any, size: int = 1) -> dict[str, float]:
    sums = BoxSums(size)
    sums.add(prediction, truth)
    return sums.summary()


def test_the_box_is_tight_and_nothing_predicted_scores_high_in_it() -> None:
    truth = np.zeros((50, 60))
    truth[10:20, 30], truth[19, 30:40] = 1, 1
    nothing = box(np.zeros_like(truth), truth)
    assert nothing["box_accuracy"] == nothing["box_background"] == pytest.approx(81 / 100)
    assert box(truth, truth)["box_accuracy"] == 1
    outside = truth.copy()
    outside[:9], outside[21:] = 1, 1
    assert box(outside, truth)["box_accuracy"] == 1


def test_the_box_is_of_the_widened_front() -> None:
    truth = np.zeros((50, 60))
    truth[20, 20:31] = 1
    found = box(np.zeros_like(truth), truth, size=5)
    assert found["box_background"] == 0
    assert box(truth, truth, size=5)["box_accuracy"] == pytest.approx(11 / (5 * 15))


def test_images_without_a_front_have_no_box_and_gaps_are_not_counted() -> None:
    sums = BoxSums(1)
    sums.add(np.zeros((5, 5)), np.zeros((5, 5)))
    assert sums.images == 0
    truth, given = np.zeros((5, 5)), np.zeros((5, 5))
    truth[0, 0] = truth[2, 2] = 1
    truth[1, 1], given[0, 1] = np.nan, np.nan
    sums.add(given, truth)
    assert (sums.images, sums.n, sums.missing) == (1, 7, 1)
    assert np.isnan(BoxSums(1).summary()["box_accuracy"])


def test_boxes_of_images_pool() -> None:
    truth = np.zeros((12, 12))
    truth[3:6, 3:9] = 1
    one, other = BoxSums(3), BoxSums(3)
    one.add(np.zeros_like(truth), truth)
    other.add(truth.T, truth.T)
    cells = one.n + other.n
    right = one.right + other.right
    one.merge(other)
    assert one.summary()["box_accuracy"] == pytest.approx(right / cells)
    assert one.images == 2
    with pytest.raises(DataError, match="size"):
        one.merge(BoxSums(1))


def mde(*pairs: tuple[Any, Any]) -> dict[str, float]:
    sums = DistanceSums("m")
    for prediction, truth in pairs:
        sums.add(prediction, truth)
    return sums.summary()


@settings(max_examples=40, deadline=None)
@given(shift=st.floats(0, 400), angle=st.floats(0, 3.1))
def test_the_distance_of_a_shifted_line_is_the_shift(shift: float, angle: float) -> None:
    along = np.linspace(0, 50e3, 5001)[:, np.newaxis] * [[np.cos(angle), np.sin(angle)]]
    moved = along + shift * np.array([-np.sin(angle), np.cos(angle)])
    assert mde((moved, along))["mde"] == pytest.approx(shift, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    arrays(float, st.tuples(st.integers(1, 20), st.just(2)), elements=st.floats(-1e3, 1e3)),
    arrays(float, st.tuples(st.integers(1, 20), st.just(2)), elements=st.floats(-1e3, 1e3)),
)
def test_distances_go_both_ways(one: Any, other: Any) -> None:
    table = cdist(one, other)
    exact = np.concatenate([table.min(axis=1), table.min(axis=0)])
    np.testing.assert_allclose(distances(one, other), exact, atol=1e-9)
    assert distances(one, other).mean() == pytest.approx(distances(other, one).mean())


def test_images_are_pooled_by_cells_and_missed_ones_told() -> None:
    short = np.zeros((1, 2)), np.array([[0.0, 10.0]])
    long = np.stack([np.arange(9.0) * 100, np.zeros(9)], axis=1)
    none = np.empty((0, 2))
    found = mde(short, (long, long), (none, long), (long, none), (none, none))
    assert found["mde"] == pytest.approx(2 * 10 / (2 + 18))
    assert (found["images"], found["missed"], found["invented"]) == (5, 1, 1)
    assert np.isnan(mde((none, long))["mde"])


def test_metres_and_cells_do_not_add_up() -> None:
    with pytest.raises(DataError, match="units"):
        DistanceSums("m").merge(DistanceSums("cells"))


def test_metres_need_a_georeference() -> None:
    assert unit(None) == ("cells", 1.0)
    assert unit("EPSG:3031") == ("m", 1.0)
    assert unit("EPSG:2225") == ("m", pytest.approx(0.3048, rel=1e-5))
    with pytest.raises(DataError, match="projected"):
        unit("EPSG:4326")


@pytest.mark.parametrize("month", range(1, 13))
def test_seasons_are_those_of_the_benchmark_and_turn_over_at_the_equator(month: int) -> None:
    day = date(2012, month, 1)
    assert season(day, south=False) == ("summer" if 4 <= month <= 8 else "winter")
    assert season(day, south=True) != season(day, south=False)


def test_the_hemisphere_is_that_of_the_middle_of_a_scene() -> None:
    assert southern("EPSG:3031", (-2.4e6, 1.2e6, -2.3e6, 1.3e6))
    assert not southern("EPSG:32622", (500e3, 7_650e3, 600e3, 7_750e3))
