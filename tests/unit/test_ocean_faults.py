"""Faults of earlier work on the ocean that have no place among the tests of one part.

Of the others: the guide at the query and the softmax are in test_jiif.py, pairs of two years and
normals in test_day_recipes.py, one day against seven and cells that were not observed in
test_insitu_losses.py, resolutions of one operator in test_fno.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import yaml
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError
from tests import sea

from nunatak.config import merge
from nunatak.grid import Window
from nunatak.learn.dataset import Chunks, Tiles
from nunatak.learn.inputs import Inputs, Statistics
from nunatak.ops.split import TEST, TRAIN, VALIDATION
from nunatak.products import Results
from nunatak.recipe import Recipe
from nunatak.stages.tile import tile
from nunatak.stages.train import train

RECIPES = Path(__file__).resolve().parents[2] / "config" / "recipes"
WHOLE = Window(0, 4, 0, 6)
LEARNS: dict[str, Any] = {
    "task": {"op": "supervised"},
    "losses": [{"op": "l1"}],
    **{"samples": 8, "batch": 2, "lr": 0.01, "validate_every": 4},
}


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Days of a small sea, tiled; leave it as it is."""
    results = sea.tree(tmp_path_factory.mktemp("sea"))
    tile(results)
    return results


# A guide loader that gave day 0 at every time


def test_every_time_step_differs_in_the_sampled_set(tiled: Results) -> None:
    days: dict[str, tuple[bytes, bytes]] = {}
    for split in (TRAIN, VALIDATION, TEST):
        tiles = Tiles.open(tiled, "bilinear", split, Chunks())
        for position, place in enumerate(tiles.places):
            if tiles.corners[position].tolist() == [0, 0]:
                sample = tiles.read(position)
                days[place] = sample.inputs["past"][0].tobytes(), sample.target.tobytes()
    assert len(days) > 10
    for kind in zip(*days.values(), strict=True):
        assert len(set(kind)) == len(days)


def test_a_sample_holds_guide_and_target_of_its_own_day(tiled: Results) -> None:
    tiles = Tiles.open(tiled, "bilinear", TRAIN, Chunks())
    statistics = Statistics.read(tiled.tiles / "statistics.json")
    for position, place in enumerate(tiles.places):
        number = (tiled.at(place).recipe.acquisition.date - sea.FIRST).days
        row, col = (int(n) for n in tiles.corners[position])
        cut = Window(row, row + 4, col, col + 4)
        sample = tiles.read(position)
        truth = sea.day(number)[cut.at(sea.SCALE).slices]
        assert_array_equal(sample.target[0], np.where(sample.mask[0], truth, 0))
        guide = (sea.means(sea.day(number)) + sea.bias())[cut.slices]
        stack = np.stack([guide] * 3).astype(np.float32)
        expected = np.nan_to_num(statistics.transforms["past"].apply(stack))[0]
        assert_allclose(sample.inputs["past"][0], expected, atol=1e-4)


# Missing values replaced by the image's mean


@pytest.mark.parametrize("shift", [0.0, 40.0])
def test_missing_cells_of_a_guide_are_the_training_mean_whatever_the_image(
    tiled: Results, shift: float
) -> None:
    statistics = Statistics.read(tiled.tiles / "statistics.json")
    inputs = Inputs(tiled.at("line_2016-01-07"), statistics, "bilinear")
    raw = inputs.read(WHOLE)
    raw["past"] = raw["past"] + np.float32(shift)
    raw["past"][:, 1:3, 2:4] = np.nan
    ready = inputs.prepare(raw)
    assert (ready["past"][:, 1:3, 2:4] == 0).all()
    known = np.isfinite(raw["past"])
    wanted = statistics.transforms["past"].apply(raw["past"])
    assert_array_equal(ready["past"][known], wanted[known])


def test_missing_truth_teaches_nothing_and_is_no_mean(tiled: Results) -> None:
    tiles = Tiles.open(tiled, "bilinear", TRAIN, Chunks())
    sample = tiles.read(tiles.corners.tolist().index([0, 0]))
    land = np.isnan(sea.day(0))[:16, :16]
    assert land.any()
    assert not sample.mask[0][land].any()
    assert (sample.target[0][land] == 0).all()


# Degradation operators mixed within a table


def test_every_method_of_a_table_sees_the_same_coarse_field(tiled: Results) -> None:
    statistics = Statistics.read(tiled.tiles / "statistics.json")
    at = tiled.at("line_2016-01-07")
    priors = [Inputs(at, statistics, m).read(WHOLE)["coarse"] for m in tiled.recipe.methods]
    for prior in priors[1:]:
        assert_array_equal(prior, priors[0])


@pytest.mark.parametrize("key", ["coarse", "degrade"])
def test_no_method_has_a_coarse_field_of_its_own(key: str) -> None:
    own = {"bilinear": {key: {"degrade": {"op": "block_mean"}}}}
    with pytest.raises(ValidationError, match=rf"methods\.bilinear\.{key}"):
        Recipe.model_validate(merge(sea.BASE, {"methods": own}))


# Test data used for early stopping


def test_what_is_in_the_test_changes_neither_the_training_nor_when_it_stops(tmp_path: Path) -> None:
    plain, other = (tiny.world(tmp_path / name) for name in ("plain", "other"))
    held = Tiles.open(other, "net", TEST, Chunks())
    before, target = held.read(0), other.role("target")
    field = target.read("bed", Window(0, tiny.CELLS, 0, tiny.CELLS))
    for row, col in held.corners.tolist():
        field[Window(row, row + tiny.SIZE, col, col + tiny.SIZE).at(tiny.SCALE).slices] += 500
    for block in other.recipe.layout.blocks():
        target.write(block, {"bed": field[block.core.at(tiny.SCALE).slices]})
    changed = Tiles.open(other, "net", TEST, Chunks()).read(0).target
    assert_allclose(changed, before.target + 500 * before.mask, rtol=1e-4)
    assert train(other, "net", 0, key="k") == train(plain, "net", 0, key="k")


# No pixel loss at all


@pytest.mark.parametrize(
    "task",
    [
        {"op": "supervised"},
        {"op": "wgan_gp", "args": {"condition": "past", "insitu_weight": 0.0}},
    ],
)
def test_a_training_without_a_loss_against_the_product_is_refused(task: dict[str, Any]) -> None:
    given = merge(sea.BASE, {"methods": {"bilinear": {"train": {**LEARNS, "task": task}}}})
    assert Recipe.model_validate(given).methods["bilinear"].train
    given["methods"]["bilinear"]["train"]["losses"] = []
    with pytest.raises(ValidationError, match=r"train\.losses"):
        Recipe.model_validate(given)


@pytest.mark.parametrize("name", ["ssh", "sst"])
def test_every_network_of_the_recipes_learns_from_the_product(name: str) -> None:
    given = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
    trained = [m["train"] for m in given["methods"].values() if "train" in m]
    assert len(trained) > 3
    for spec in trained:
        assert sum(loss.get("weight", 1.0) for loss in spec["losses"]) > 0
