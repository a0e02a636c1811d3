from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nunatak.config import merge
from nunatak.errors import ConfigError, DataError, StoreError
from nunatak.grid import Window
from nunatak.learn.augment import Distortion
from nunatak.learn.dataset import (
    SYMMETRIES,
    Chunks,
    Draw,
    Minibatch,
    Tiles,
    components,
    draw,
    prefetch,
    training,
    turned,
    validation,
)
from nunatak.ops.degrade import repeat
from nunatak.ops.split import TEST, TRAIN, VALIDATION
from nunatak.products import Results
from nunatak.recipe import Recipe
from nunatak.store import Variable


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return tiny.world(tmp_path_factory.mktemp("results"))


@pytest.fixture
def tiles(results: Results) -> Tiles:
    return Tiles.open(results, "net", TRAIN, Chunks())


def flow() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(2, 6, 6)).astype(np.float32)


class TestOrder:
    @given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 5))
    @settings(max_examples=30, deadline=None)
    def test_every_epoch_takes_every_tile_once(self, seed: int, n: int, epoch: int) -> None:
        drawn = [draw(seed, i, n, True)[0] for i in range(epoch * n, (epoch + 1) * n)]
        assert sorted(drawn) == list(range(n))

    def test_epochs_and_seeds_differ_in_order(self) -> None:
        orders = [
            tuple(draw(seed, i, 40, False)[0] for i in range(e * 40, (e + 1) * 40))
            for seed in (0, 1)
            for e in (0, 1)
        ]
        assert len(set(orders)) == 4

    def test_samples_follow_from_their_number_alone(self) -> None:
        whole = list(islice(training(7, 0, 4, 11, True), 10))
        assert list(islice(training(7, 24, 4, 11, True), 4)) == whole[6:]

    def test_all_symmetries_are_drawn_and_none_without_augmentation(self) -> None:
        assert {draw(0, i, 5, True)[1] for i in range(200)} == set(range(SYMMETRIES))
        assert {draw(0, i, 5, False)[1] for i in range(200)} == {0}

    def test_validation_takes_tiles_once_spread_evenly_and_never_turned(self) -> None:
        assert list(chain(*validation(4, 10, 100))) == [Draw(i, 0, None) for i in range(10)]
        assert [drawn.position for drawn in chain(*validation(4, 1001, 5))] == [
            0,
            250,
            500,
            750,
            1000,
        ]


class TestTurned:
    def test_eight_symmetries_differ_and_each_can_be_undone(self) -> None:
        field = flow()
        images = [turned(field, s, [(0, 1)]) for s in range(SYMMETRIES)]
        assert len({image.tobytes() for image in images}) == SYMMETRIES
        for image in images:
            back = [turned(image, s, [(0, 1)]) for s in range(SYMMETRIES)]
            assert sum(np.array_equal(b, field) for b in back) == 1

    @pytest.mark.parametrize("symmetry", range(SYMMETRIES))
    def test_fields_of_every_ratio_turn_alike(self, symmetry: int) -> None:
        coarse = flow()
        fine = turned(repeat(coarse, 3), symmetry)
        np.testing.assert_array_equal(fine, repeat(turned(coarse, symmetry), 3))

    def test_flow_to_the_east_turned_once_is_flow_to_the_north(self) -> None:
        east = np.stack([np.full((4, 4), 5.0), np.zeros((4, 4))])
        north = turned(east, 1, [(0, 1)])
        np.testing.assert_array_equal(north, np.stack([np.zeros((4, 4)), np.full((4, 4), 5.0)]))

    def test_a_swap_of_east_and_west_turns_eastward_flow_only(self) -> None:
        both = turned(np.ones((2, 3, 3)), 4, [(0, 1)])
        assert (both[0] == -1).all()
        assert (both[1] == 1).all()

    @pytest.mark.parametrize("symmetry", range(SYMMETRIES))
    def test_the_turned_gradient_is_the_gradient_of_the_turned_field(self, symmetry: int) -> None:
        field = tiny.relief(12, 5).astype(np.float64)[None]

        def gradient(values: NDArray[Any]) -> NDArray[Any]:
            by_row, by_col = np.gradient(values[0])
            return np.stack([by_col, -by_row])

        expected = gradient(turned(field, symmetry))
        np.testing.assert_allclose(turned(gradient(field), symmetry, [(0, 1)]), expected)

    def test_the_input_is_left_alone(self) -> None:
        field = flow()
        before = field.copy()
        turned(field, 4, [(0, 1)])
        np.testing.assert_array_equal(field, before)


class TestComponents:
    @pytest.mark.parametrize(
        ("x", "y"),
        [
            ("land_ice_surface_x_velocity", "land_ice_surface_y_velocity"),
            ("eastward_sea_water_velocity", "northward_sea_water_velocity"),
            ("x_wind", "y_wind"),
        ],
    )
    def test_pairs_are_known_by_standard_name_in_any_order(self, x: str, y: str) -> None:
        names = [y, "air_temperature", x, "wind_speed"]
        assert components([Variable(f"v{i}", "1", n) for i, n in enumerate(names)]) == [(2, 0)]

    def test_components_of_several_days_pair_day_by_day(self) -> None:
        u, v = "eastward_wind", "northward_wind"
        names = [u, v, v, u]
        given = [Variable(f"v{i}", "m s-1", n) for i, n in enumerate(names)]
        assert components(given) == [(0, 1), (3, 2)]
        with pytest.raises(ConfigError, match="'v2'"):
            components(given[:3])

    @pytest.mark.parametrize("name", ["sea_water_x_velocity", "northward_wind"])
    def test_a_lone_component_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigError, match="one component of a vector"):
            components([Variable("vx", "m s-1", name)])


class TestChunks:
    @pytest.mark.parametrize("budget", [1, 40_000, 1 << 30])
    def test_windows_are_what_the_store_holds_within_the_budget(
        self, results: Results, budget: int
    ) -> None:
        product, chunks, rng = results.role("velocity"), Chunks(budget), np.random.default_rng(1)
        for _ in range(40):
            top, left = (int(n) for n in rng.integers(-12, 50, 2))
            height, width = (int(n) for n in rng.integers(1, 40, 2))
            window = Window(top, top + height, left, left + width)
            np.testing.assert_array_equal(chunks.read(product, window), product.read_all(window))
            assert chunks.held <= max(budget, 32 * 32 * 4)

    def test_each_chunk_is_decoded_once(
        self, results: Results, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Any] = []
        chunks, product = Chunks(), results.role("target")
        opened = chunks._array

        def counting(*args: Any) -> Any:
            seen.append(args)
            return opened(*args)

        monkeypatch.setattr(chunks, "_array", counting)
        for top in range(0, 40, 3):
            chunks.read(product, Window(top, top + 8, 5, 13))
        assert len(seen) == 3

    def test_a_missing_store_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="reproject/velocity"):
            Chunks().read(Results(tiny.recipe(), tmp_path).role("velocity"), Window(0, 2, 0, 2))


class TestTiles:
    def test_a_sample_is_prepared_as_in_inference(self, tiles: Tiles) -> None:
        for position in range(len(tiles)):
            row, col = (int(n) for n in tiles.corners[position])
            window = Window(row, row + tiny.SIZE, col, col + tiny.SIZE).pad(tiny.CONTEXT)
            expected = tiles.inputs.prepare(tiles.inputs.read(window))
            found = tiles.read(position).inputs
            assert found.keys() == expected.keys()
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values)

    @pytest.mark.parametrize("symmetry", range(1, SYMMETRIES))
    def test_vectors_turn_in_physical_units_before_they_are_normalised(
        self, tiles: Tiles, symmetry: int
    ) -> None:
        transform = tiles.inputs.statistics.transforms["velocity"]
        plain = transform.invert(tiles.read(9).inputs["velocity"])
        expected = turned(plain, symmetry, [(0, 1)])
        found = transform.invert(tiles.read(9, symmetry).inputs["velocity"])
        np.testing.assert_allclose(found, expected, atol=1e-3)

    @pytest.mark.parametrize("symmetry", range(SYMMETRIES))
    def test_inputs_and_target_turn_together(self, tiles: Tiles, symmetry: int) -> None:
        sample, inner = tiles.read(8, symmetry), slice(tiny.CONTEXT, -tiny.CONTEXT)
        means = sample.target.reshape(tiny.SIZE, 4, tiny.SIZE, 4).mean(axis=(1, 3))
        whole = sample.mask.reshape(tiny.SIZE, 4, tiny.SIZE, 4).all(axis=(1, 3))
        assert whole.any()
        prior = sample.inputs["prior"][0, inner, inner]
        np.testing.assert_allclose(means[whole], prior[whole], atol=1e-3)

    def test_missing_truth_and_missing_coarse_cells_are_masked(
        self, tiles: Tiles, results: Results
    ) -> None:
        partial = [tiles.read(p) for p in range(len(tiles))]
        shares = {float(sample.mask.mean()) for sample in partial}
        assert min(shares) < 1 == max(shares)
        for position, sample in enumerate(partial):
            row, col = (int(n) for n in tiles.corners[position])
            core = Window(row, row + tiny.SIZE, col, col + tiny.SIZE)
            truth = results.role("target").read("bed", core)
            known = np.isfinite(repeat(results.coarse.read("bed", core), tiny.SCALE))
            np.testing.assert_array_equal(sample.mask[0], np.isfinite(truth) & known)
            assert (sample.target[~sample.mask] == 0).all()
            np.testing.assert_array_equal(sample.target[0][sample.mask[0]], truth[sample.mask[0]])

    def test_without_stations_nothing_is_observed(self, tiles: Tiles) -> None:
        assert tiles.read(0).observed is None
        batch = Minibatch.of([tiles.read(0), tiles.read(1)], tiny.SCALE)
        assert batch.observed is batch.to(torch.device("cpu")).observed is None

    def test_splits_share_no_tile(self, results: Results) -> None:
        corners = [
            {tuple(c) for c in Tiles.open(results, "net", s, Chunks()).corners.tolist()}
            for s in (TRAIN, VALIDATION, TEST)
        ]
        assert sum(len(c) for c in corners) == len(set.union(*corners)) == 36

    @pytest.mark.parametrize("split", [TRAIN, VALIDATION])
    def test_an_empty_split_is_named(self, tmp_path: Path, split: int) -> None:
        results = tiny.world(tmp_path)
        path = results.tiles / "tiles.parquet"
        frame = pd.read_parquet(path)
        frame[frame["split"] != split].to_parquet(path)
        with pytest.raises(DataError, match=r"no (training|validation) tile"):
            Tiles.open(results, "net", split, Chunks())

    def test_a_missing_index_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"tiles\.parquet"):
            Tiles.open(Results(tiny.recipe(), tmp_path), "net", TRAIN, Chunks())


class TestStations:
    """Every measured cell holds the truth at that cell, which turns and moves as the truth does."""

    @pytest.fixture(scope="class")
    def stations(self, tmp_path_factory: pytest.TempPathFactory) -> Tiles:
        plain = tiny.recipe().model_dump(mode="json")
        change = {"insitu": "stations", "roles": {"stations": plain["roles"]["target"]}}
        spec = Recipe.model_validate(merge(plain, change))
        results = tiny.world(tmp_path_factory.mktemp("stations"), spec)
        product = results.role("stations").create()
        for block in results.recipe.layout.blocks():
            truth = results.role("target").read("bed", block.core)
            kept = np.full_like(truth, np.nan)
            kept[1::5, 3::7] = truth[1::5, 3::7]
            product.write(block, {"bed": kept})
        return Tiles.open(results, "net", TRAIN, Chunks())

    @pytest.mark.parametrize("symmetry", range(SYMMETRIES))
    def test_turned_as_the_target_is(self, stations: Tiles, symmetry: int) -> None:
        sample = stations.read(0, symmetry)
        assert sample.observed is not None
        assert sample.observed.shape == sample.target.shape
        there = np.isfinite(sample.observed) & sample.mask
        assert 0 < there.sum() < 0.1 * there.size
        np.testing.assert_array_equal(sample.observed[there], sample.target[there])

    def test_moved_as_the_target_is_without_a_loss_between_missing_cells(
        self, stations: Tiles
    ) -> None:
        moved = stations.read(0, 0, Distortion(down=0.25, right=-0.125, scale=1.0, angle=0.0))
        plain = stations.read(0)
        assert moved.observed is not None
        assert plain.observed is not None
        down, left = tiny.SIZE * tiny.SCALE // 4, tiny.SIZE * tiny.SCALE // 8
        np.testing.assert_array_equal(
            moved.observed[:, down:, :-left], plain.observed[:, :-down, left:]
        )

    def test_batches_hold_what_samples_do(self, stations: Tiles) -> None:
        samples = [stations.read(p) for p in (0, 1)]
        batch = Minibatch.of(samples, tiny.SCALE).to(torch.device("cpu"))
        assert batch.observed is not None
        expected = np.stack([s.observed for s in samples if s.observed is not None])
        np.testing.assert_array_equal(batch.observed.numpy(), expected)


class TestPrefetch:
    def test_threads_and_readahead_do_not_change_what_is_read(self, tiles: Tiles) -> None:
        plans = list(islice(training(1, 0, 3, len(tiles), True), 6))
        plain = [[tiles.read(*sample) for sample in plan] for plan in plans]
        for workers, ahead in ((1, 0), (3, 2)):
            batches = list(prefetch(tiles, plans, workers=workers, ahead=ahead))
            assert len(batches) == len(plain)
            for batch, samples in zip(batches, plain, strict=True):
                for j, sample in enumerate(samples):
                    np.testing.assert_array_equal(batch.target[j].numpy(), sample.target)
                    np.testing.assert_array_equal(batch.mask[j].numpy(), sample.mask)
                    for name, values in sample.inputs.items():
                        np.testing.assert_array_equal(batch.inputs[name][j].numpy(), values)

    def test_no_more_batches_are_asked_for_than_may_wait(self, tiles: Tiles) -> None:
        asked = 0

        def plans() -> Any:
            nonlocal asked
            while True:
                asked += 1
                yield [Draw(0)]

        batches = prefetch(tiles, plans(), ahead=2)
        next(batches)
        assert asked == 3
        batches.close()
