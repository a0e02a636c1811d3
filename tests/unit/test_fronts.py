"""Fronts read off probabilities: zones, thin lines, longest paths, places on the map."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import dijkstra
from skimage.draw import line as cells_between

from nunatak.ops import fronts
from nunatak.ops.fronts import from_front, from_zones

Field = np.ndarray[Any, np.dtype[np.float32]]
ROCK, GLACIER, OCEAN = 1, 2, 3
SQUARE = (1.0, 1.0)


def one_hot(zone: Any) -> Field:
    return np.stack([np.asarray(zone) == code for code in range(4)]).astype(np.float32)


def fjord(rows: int = 30, cols: int = 40, front: int = 20) -> Field:
    """Rock above and below, glacier to the left of a straight front, ocean to the right."""
    zone = np.full((rows, cols), ROCK, np.float32)
    zone[5:-5, :front], zone[5:-5, front:] = GLACIER, OCEAN
    return zone


def test_a_class_is_its_index_and_a_missing_cell_has_none() -> None:
    probabilities = one_hot(fjord())
    probabilities[2, 3, 4] = np.nan
    zone = fronts.most_likely(probabilities)
    assert np.isnan(zone[3, 4])
    zone[3, 4] = ROCK
    np.testing.assert_array_equal(zone, fjord())


def test_the_front_is_where_the_ocean_meets_the_glacier_and_not_the_rock() -> None:
    traced = from_zones(one_hot(fjord()), SQUARE)
    (path,) = traced.paths
    np.testing.assert_array_equal(path, [(row, 20) for row in range(5, 25)])
    assert traced.zone is not None
    np.testing.assert_array_equal(traced.zone, fjord())


def test_holes_of_the_ocean_are_filled_and_lakes_are_none() -> None:
    zone = fjord()
    zone[12:15, 30:33] = GLACIER
    zone[12:16, 4:9] = OCEAN
    found = from_zones(one_hot(zone), SQUARE)
    assert found.zone is not None
    np.testing.assert_array_equal(found.zone, fjord())
    assert len(found.paths) == 1


def test_a_gap_in_the_ocean_stays_a_gap() -> None:
    zone = fjord()
    zone[12:15, 30:33] = np.nan
    np.testing.assert_array_equal(fronts.filled(zone, OCEAN), zone)


def test_what_is_more_likely_makes_a_front_not_only_what_is_almost_sure() -> None:
    """Probabilities cut to whole numbers lose all but those close to 1."""
    zones = 0.6 * one_hot(fjord()) + 0.1
    assert len(from_zones(zones, SQUARE).paths) == 1
    assert not from_zones(np.floor(zones), SQUARE).paths
    ridge = np.zeros((20, 20), np.float32)
    ridge[:, 7:10] = 0.6
    assert len(from_front(ridge, SQUARE).paths) == 1
    assert not from_front(np.floor(ridge), SQUARE).paths


@pytest.mark.parametrize("value", [np.nan, 0.0, 1.0])
def test_a_scene_of_nothing_has_no_front_and_is_no_error(value: float) -> None:
    assert from_front(np.full((9, 12), value if value != 1 else 0.4), SQUARE).paths == []
    found = from_zones(np.full((4, 9, 12), value, np.float32), SQUARE)
    assert found.paths == []
    assert found.zone is not None
    assert np.isnan(found.zone).all() == np.isnan(value)


def test_fronts_are_looked_for_within_a_mask() -> None:
    probability = np.zeros((20, 20), np.float32)
    probability[:, 5], probability[:, 15] = 1, 1
    within = np.zeros((20, 20), bool)
    within[:, 10:] = True
    (path,) = from_front(probability, SQUARE, within).paths
    assert set(path[:, 1]) == {15}


@pytest.mark.parametrize(("cell", "kept"), [((1.0, 1.0), 0), ((40.0, 40.0), 1), ((80.0, 5.0), 1)])
def test_short_fronts_are_dropped_by_their_length_not_their_cells(
    cell: tuple[float, float], kept: int
) -> None:
    assert len(from_zones(one_hot(fjord()), cell, shortest=750.0).paths) == kept
    assert len(from_zones(one_hot(fjord()), cell).paths) == 1


def test_a_wide_front_is_thinned_and_its_branches_are_cut() -> None:
    probability = np.zeros((60, 60), np.float32)
    probability[28:33, 5:55] = 0.9
    probability[20:28, 30:32] = 0.9
    (path,) = from_front(probability, SQUARE).paths
    assert abs(path[:, 0] - 30).max() <= 2
    assert fronts.length(path, SQUARE) == pytest.approx(49, abs=5)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(-6, 6), st.integers(3, 9)), min_size=1, max_size=8),
    cell=st.sampled_from([(1.0, 1.0), (2.0, 1.0), (7.0, 20.0)]),
)
def test_the_longest_path_of_a_drawn_line_is_the_line(
    steps: list[tuple[int, int]], cell: tuple[float, float]
) -> None:
    corners = np.cumsum([(60, 2), *steps], axis=0)
    field = np.zeros((120, 80), np.float32)
    for (row, col), (next_row, next_col) in pairwise(corners):
        field[cells_between(row, col, next_row, next_col)] = 1
    (path,) = fronts.paths(field > 0, cell)
    drawn = sum(np.hypot(*((b - a) * cell)) for a, b in pairwise(corners))
    found = fronts.length(path, cell)
    # Cells take corners at 45 degrees, and a way cuts corners of less than a cell.
    slack = 2 * len(corners) * max(cell)
    assert found == pytest.approx(drawn, rel=0.09 if cell[0] == cell[1] else 0.3, abs=slack)
    assert {tuple(path[0]), tuple(path[-1])} <= {tuple(c) for c in np.argwhere(field)}
    assert np.abs(np.diff(path, axis=0)).max() == 1
    assert len({tuple(c) for c in path}) == len(path)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**16), size=st.integers(2, 40))
def test_the_path_is_the_longest_there_is_through_a_tree(seed: int, size: int) -> None:
    """Against the distances between all pairs, in a tree that grows without loops."""
    rng = np.random.default_rng(seed)
    grid = np.zeros((90, 90), bool)
    grid[45, 45] = True
    for _ in range(size):
        row, col = rng.choice(np.argwhere(grid))
        down, across = rng.integers(-1, 2, 2)
        around = grid[row + down - 1 : row + down + 2, col + across - 1 : col + across + 2]
        if not grid[row + down, col + across] and around.sum() == 1:
            grid[row + down, col + across] = True
    if grid.sum() < 2:
        return
    cell = (1.0, 1.5)
    (path,) = fronts.paths(grid, cell)
    between = dijkstra(fronts._graph(np.argwhere(grid), cell), directed=False)
    assert fronts.length(path, cell) == pytest.approx(between.max())


def test_a_ring_gives_half_of_it_and_single_cells_nothing() -> None:
    field = np.zeros((20, 20), bool)
    field[5, 5:15] = field[14, 5:15] = field[5:15, 5] = field[5:15, 14] = True
    field[18, 18] = True
    (path,) = fronts.paths(field, SQUARE)
    assert fronts.length(path, SQUARE) == pytest.approx(18, abs=2)


def test_the_longest_front_comes_first() -> None:
    field = np.zeros((20, 30), bool)
    field[2, 3:9], field[10, 3:25], field[15, 3:15] = True, True, True
    assert [len(path) for path in fronts.paths(field, SQUARE)] == [22, 12, 6]


def test_vertices_are_the_centres_of_cells_on_the_map() -> None:
    path = np.array([(0, 0), (1, 1), (1, 2)])
    bounds, cell = (1000.0, -160.0, 1040.0, -100.0), (20.0, 10.0)
    found = fronts.line(path, bounds, cell)
    np.testing.assert_allclose(found, [(1005, -110), (1015, -130), (1025, -130)])


def test_without_a_georeference_vertices_are_cells_and_none_is_invented() -> None:
    path = np.array([(0, 0), (9, 4)])
    found = fronts.line(path, (0.0, 0.0, 12.0, 10.0), SQUARE)
    np.testing.assert_allclose(found, [(0.5, 9.5), (4.5, 0.5)])


def test_a_drawn_path_is_found_again() -> None:
    (path,) = from_zones(one_hot(fjord()), SQUARE).paths
    field = fronts.drawn([path], (30, 40))
    assert field.sum() == len(path)
    bounds = (0.0, 0.0, 40.0, 30.0)
    again = fronts.line(np.argwhere(field == 1), bounds, SQUARE)
    np.testing.assert_allclose(again, fronts.line(path, bounds, SQUARE))
    assert fronts.vertices([]).shape == (0, 2)


def test_a_front_is_widened_to_a_square_and_missing_cells_stay_missing() -> None:
    field = np.zeros((30, 30), np.float32)
    field[15, 15] = 1
    field[14, 14] = np.nan
    wide = fronts.dilated(field, 10)
    assert np.isnan(wide[14, 14])
    assert np.nansum(wide) == 10 * 10 - 1
    np.testing.assert_array_equal(fronts.dilated(field, 1), field)
