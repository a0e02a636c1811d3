"""Distorted samples: all fields alike, what is missing stays so, and never in validation."""

from __future__ import annotations

from math import cos, radians, sin
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nunatak.learn.augment import Distortion, distorted, drawn
from nunatak.learn.dataset import Chunks, Draw, Tiles, draw, training, turned
from nunatak.learn.loop import Run, fit
from nunatak.method import Distort
from nunatak.ops.split import TRAIN
from nunatak.products import Results
from nunatak.stages.train import train

SIDE = 40
STILL = Distortion(0.0, 0.0, 1.0, 0.0)


def square(top: int, bottom: int, left: int, right: int, side: int = SIDE) -> NDArray[np.float32]:
    field = np.zeros((1, side, side), dtype=np.float32)
    field[:, top:bottom, left:right] = 1
    return field


def bump(side: int, down: float, right: float) -> NDArray[np.float32]:
    """A smooth bump at a place counted from the centre, in sides, its width a 16th of a side."""
    at = (np.arange(side) + 0.5) / side - 0.5
    away = ((at[:, None] - down) ** 2 + (at[None] - right) ** 2) * 16**2
    return np.exp(-away)[None].astype(np.float32)


def place(field: NDArray[np.float32]) -> NDArray[np.float64]:
    """Centre of mass, counted from the centre, in sides."""
    weight = np.nan_to_num(field[0].astype(float))
    at = (np.arange(len(weight)) + 0.5) / len(weight) - 0.5
    return np.array([at @ weight.sum(axis=1), at @ weight.sum(axis=0)]) / weight.sum()


BOTH = pytest.mark.parametrize("nearest", [True, False])


@BOTH
def test_a_shifted_square_lands_where_it_should(nearest: bool) -> None:
    by = Distortion(down=0.1, right=-0.05, scale=1.0, angle=0.0)
    found = distorted(square(10, 14, 20, 24), by, SIDE, nearest=nearest)
    expected = square(14, 18, 18, 22)
    expected[:, :4] = expected[:, :, -2:] = np.nan
    np.testing.assert_allclose(found, expected, atol=1e-6)


@BOTH
def test_a_square_in_the_centre_grows_by_the_scale(nearest: bool) -> None:
    found = distorted(square(17, 23, 18, 22), Distortion(0, 0, 2.0, 0), SIDE, nearest=nearest)
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(4 * 6 * 4)
    np.testing.assert_allclose(found, found[:, ::-1, ::-1], atol=1e-6)
    assert (found[:, 15:25, 17:23] == 1).all()


@BOTH
def test_a_quarter_turn_is_that_of_the_symmetries(nearest: bool) -> None:
    field = np.random.default_rng(0).normal(size=(3, 20, 20)).astype(np.float32)
    inner = (slice(None), slice(1, -1), slice(1, -1))
    by = Distortion(0, 0, 1.0, 90.0)
    found = distorted(field, by, 20, nearest=nearest, vectors=[(2, 0)])
    np.testing.assert_allclose(found[inner], turned(field, 1, [(2, 0)])[inner], atol=1e-5)


@BOTH
def test_nothing_changes_without_a_distortion(nearest: bool) -> None:
    field = np.random.default_rng(0).normal(size=(2, 15, 15)).astype(np.float32)
    field[0, 3, 4] = np.nan
    np.testing.assert_array_equal(distorted(field, STILL, 15, nearest=nearest), field)


DISTORTIONS = st.builds(
    Distortion,
    down=st.floats(-0.1, 0.1),
    right=st.floats(-0.1, 0.1),
    scale=st.floats(0.8, 1.25),
    angle=st.floats(-30, 30),
)


@given(by=DISTORTIONS, down=st.floats(-0.15, 0.15), right=st.floats(-0.15, 0.15))
@settings(max_examples=40, deadline=None)
def test_fields_of_every_resolution_move_alike(by: Distortion, down: float, right: float) -> None:
    # Counter-clockwise on the map, where rows count downwards.
    c, s = by.scale * cos(radians(by.angle)), by.scale * sin(radians(by.angle))
    expected = [c * down - s * right + by.down, s * down + c * right + by.right]
    for side, nearest in ((48, False), (48, True), (96, False), (192, True)):
        found = place(distorted(bump(side, down, right), by, side, nearest=nearest))
        np.testing.assert_allclose(found, expected, atol=0.6 / side if nearest else 4e-3)


@given(by=DISTORTIONS)
@settings(max_examples=25, deadline=None)
def test_a_window_around_a_tile_moves_as_the_tile(by: Distortion) -> None:
    window = np.random.default_rng(0).normal(size=(1, 36, 36)).astype(np.float32)
    whole = distorted(window, by, 24, nearest=False)[:, 6:-6, 6:-6]
    tile = distorted(window[:, 6:-6, 6:-6], by, 24, nearest=False)
    known = np.isfinite(tile)
    np.testing.assert_allclose(whole[known], tile[known], atol=1e-4)
    assert np.isfinite(whole).sum() > known.sum() or known.all()


@given(by=DISTORTIONS)
@settings(max_examples=25, deadline=None)
def test_missing_stays_missing_and_does_not_spread(by: Distortion) -> None:
    field = np.ones((1, 30, 30), dtype=np.float32)
    field[:, 10:20, 10:20] = np.nan
    field[:, 3, 3] = 1e30
    mask = np.isfinite(field).astype(np.float32)
    linear, near = (distorted(field, by, 30, nearest=n) for n in (False, True))
    share = distorted(mask, by, 30, nearest=False)
    np.testing.assert_array_equal(np.isfinite(linear), np.nan_to_num(share) > 1 - 1e-6)
    # The nearest cell is one of those that count.
    assert np.isfinite(near[np.isfinite(linear)]).all()
    assert np.isnan(near[:, 14:16, 14:16]).any()
    assert set(np.unique(near[np.isfinite(near)])) <= {np.float32(1), np.float32(1e30)}


@given(by=DISTORTIONS)
@settings(max_examples=25, deadline=None)
def test_codes_stay_codes(by: Distortion) -> None:
    codes = np.random.default_rng(0).integers(0, 4, (1, 24, 24)).astype(np.float32)
    found = distorted(codes, by, 24, nearest=True)
    assert set(np.unique(found[np.isfinite(found)])) <= {0.0, 1.0, 2.0, 3.0}


def test_vectors_turn_with_the_field() -> None:
    east = np.stack([np.full((9, 9), 2.0), np.zeros((9, 9))]).astype(np.float32)
    found = distorted(east, Distortion(0, 0, 1.1, 30.0), 9, nearest=False, vectors=[(0, 1)])
    inner = found[:, 3:6, 3:6]
    np.testing.assert_allclose(inner[0], 2 * cos(radians(30)), rtol=1e-5)
    np.testing.assert_allclose(inner[1], 2 * sin(radians(30)), rtol=1e-5)


class TestDrawn:
    def test_parts_lie_within_their_limits_on_both_sides(self) -> None:
        rng = np.random.default_rng(0)
        found = [drawn(rng, shift=0.06, scale=0.1, rotate=15) for _ in range(400)]
        parts = np.array([[d.down, d.right, d.scale - 1, d.angle] for d in found if d])
        assert len(parts) == 400
        limits = [0.06, 0.06, 0.1, 15]
        assert (abs(parts) <= limits).all()
        assert (parts.max(axis=0) > np.multiply(limits, 0.9)).all()
        assert (parts.min(axis=0) < np.multiply(limits, -0.9)).all()

    def test_a_share_of_the_samples_is_distorted(self) -> None:
        rng = np.random.default_rng(0)
        found = [drawn(rng, shift=0.1, scale=0, rotate=0, share=0.3) for _ in range(1000)]
        assert sum(d is not None for d in found) / 1000 == pytest.approx(0.3, abs=0.05)

    def test_no_limits_are_no_distortion(self) -> None:
        assert drawn(np.random.default_rng(0), shift=0, scale=0, rotate=0) == STILL


LIMITS = Distort(shift=0.06, scale=0.1, rotate=15)


class TestPlans:
    def test_a_distortion_follows_from_the_number_of_the_sample_alone(self) -> None:
        plans = training(7, 0, 4, 11, True, LIMITS)
        whole = [next(plans) for _ in range(10)]
        later = training(7, 24, 4, 11, True, LIMITS)
        assert [next(later) for _ in range(4)] == whole[6:]
        assert len({sample.distortion for plan in whole for sample in plan}) == 40
        assert draw(8, 0, 11, True, LIMITS) != whole[0][0]

    def test_tiles_and_symmetries_are_those_without_distortion(self) -> None:
        plain, moved = ([draw(3, i, 11, True, d) for i in range(40)] for d in (None, LIMITS))
        assert [sample[:2] for sample in plain] == [sample[:2] for sample in moved]
        assert {sample.distortion for sample in plain} == {None}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return tiny.world(tmp_path_factory.mktemp("results"))


class TestTiles:
    @pytest.fixture
    def tiles(self, results: Results) -> Tiles:
        return Tiles.open(results, "net", TRAIN, Chunks())

    def test_inputs_and_truth_of_a_shifted_tile_shift_alike(self, tiles: Tiles) -> None:
        plain, moved = (tiles.read(9, 3, d) for d in (None, Distortion(0.25, -0.125, 1.0, 0.0)))
        down, left = 2, 1
        size, scale, context = tiny.SIZE, tiny.SCALE, tiny.CONTEXT
        np.testing.assert_allclose(
            moved.target[:, down * scale :, : (size - left) * scale],
            plain.target[:, : (size - down) * scale, left * scale :],
            atol=1e-3,
        )
        assert not moved.mask[:, : down * scale].any()
        assert not moved.target[:, : down * scale].any()
        wide = size + 2 * context
        for name, ratio in (("prior", 1), ("coarse", 1), ("velocity", 2)):
            found, given_ = moved.inputs[name], plain.inputs[name]
            np.testing.assert_allclose(
                found[:, down * ratio :, : (wide - left) * ratio],
                given_[:, : (wide - down) * ratio, left * ratio :],
                atol=2e-3,
                err_msg=name,
            )

    def test_vectors_turn_in_physical_units(self, tiles: Tiles) -> None:
        inner = (slice(None), slice(4, -4), slice(4, -4))
        turn = tiles.read(9, 0, Distortion(0, 0, 1.0, 90.0)).inputs["velocity"][inner]
        np.testing.assert_allclose(turn, tiles.read(9, 1).inputs["velocity"][inner], atol=1e-3)

    def test_cells_from_beyond_the_tile_are_not_judged(self, tiles: Tiles) -> None:
        sample = tiles.read(9, 0, Distortion(0.1, 0.1, 0.9, 10.0))
        assert np.isfinite(sample.target).all()
        assert all(np.isfinite(values).all() for values in sample.inputs.values())
        assert 0.3 < sample.mask.mean() < tiles.read(9).mask.mean()
        assert not sample.target[~sample.mask].any()


def test_validation_is_never_augmented(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, list[Draw]] = {}
    read = Tiles.read
    runs: list[Run] = []

    def spying(self: Tiles, *sample: Any) -> Any:
        seen.setdefault(id(self), []).append(Draw(*sample))
        return read(self, *sample)

    def kept(run: Run, *rest: Any) -> Any:
        runs.append(run)
        return fit(run, *rest)

    monkeypatch.setattr(Tiles, "read", spying)
    monkeypatch.setattr("nunatak.stages.train.fit", kept)
    monkeypatch.setattr("nunatak.stages.train.curves", lambda frame, path: None)
    distort = {"shift": 0.06, "scale": 0.1, "rotate": 15}
    made = tiny.world(tmp_path_factory.mktemp("augmented"), tiny.recipe(distort=distort))
    train(made, "net", 0, key="k")
    learnt, judged = seen[id(runs[0].tiles)], seen[id(runs[0].checks)]
    assert len(learnt) >= 40
    assert all(sample.distortion for sample in learnt)
    assert len({sample.symmetry for sample in learnt}) > 4
    assert len(judged) == 4 * len(runs[0].checks)
    assert {(s.symmetry, s.distortion) for s in judged} == {(0, None)}
