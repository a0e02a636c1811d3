"""Recipes of days: joined by date, split by time, normalised by cell, masked on land."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from tests import sea

from nunatak import normal_fit, normals
from nunatak.config import merge, values
from nunatak.errors import ConfigError, DataError
from nunatak.grid import Window
from nunatak.learn.dataset import SYMMETRIES, Chunks, Tiles, turned
from nunatak.learn.inputs import Inputs, Statistics
from nunatak.learn.models.interpolate import corrected, upsample
from nunatak.learn.models.sst_attention import SstAttention
from nunatak.learn.spec import InputSpec, ModelSpec
from nunatak.ops import postprocess
from nunatak.ops.split import NONE, TEST, TRAIN, VALIDATION
from nunatak.ops.split import days as by_days
from nunatak.products import Results
from nunatak.recipe import Recipe
from nunatak.scene import Scene
from nunatak.stages.infer import infer
from nunatak.stages.tile import tile
from nunatak.tracking.steps import Step

LEARNS: dict[str, Any] = {
    "task": {"op": "supervised"},
    "losses": [{"op": "l1"}],
    **{"samples": 8, "batch": 2, "lr": 0.01, "validate_every": 4},
}
PERIODS = sea.BASE["split"]["by"]["args"]


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A tree with normals, tiled; leave it as it is."""
    results = sea.tree(tmp_path_factory.mktemp("normal"), tiles={"normals": True})
    tile(results)
    return results


@pytest.fixture(scope="module")
def flowing(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The same, as if two of the variables of an input were the components of a current."""
    rough = {
        "sst": {"standard_name": "sea_water_x_velocity"},
        "sst_1": {"standard_name": "sea_water_y_velocity"},
    }
    change = {"tiles": {"normals": True}, "sources": {"rough": {"variables": rough}}}
    results = sea.tree(tmp_path_factory.mktemp("flowing"), **change)
    tile(results)
    return results


# Joined by date


def test_scenes_are_the_days_that_all_products_have(tmp_path: Path) -> None:
    data = sea.sea(tmp_path, count=12)
    (data / "sea" / "rough_1.nc").unlink()
    rough = [sea.means(sea.day(n)) for n in range(5)]
    sea.write(data / "sea" / "rough_1.nc", sea.FIRST + dt.timedelta(9), rough)
    found = sea.recipe(data).scenes
    assert found is not None
    assert [scene.date.day for scene in found.found.values()] == [29, 30, 31]


def test_pairs_that_are_a_year_apart_are_refused(tmp_path: Path) -> None:
    data = sea.sea(tmp_path, shift=366)
    with pytest.raises(ConfigError, match="joined by date") as caught:
        sea.recipe(data)
    assert "2016-12-20 to 2017-01-12 beside 2015-12-20 to 2016-01-12" in str(caught.value)


def test_a_pair_holds_one_day_of_both_products(normal: Results) -> None:
    for place in normal.recipe.places:
        at = normal.at(place)
        number = (at.recipe.acquisition.date - sea.FIRST).days
        whole = Window(0, 4, 0, 6)
        assert_array_equal(at.role("target").read_first(whole), sea.day(number))
        wanted = sea.means(sea.day(number)) + sea.bias()
        past = at.role("past").read_all(whole)
        assert_array_equal(past[0], wanted.astype(np.float32))
        assert_array_equal(at.coarse.read_first(whole), past[0])
        for lag in (1, 2):
            earlier = sea.means(sea.day(number - lag)) + sea.bias()
            known = number >= lag
            expected = earlier.astype(np.float32) if known else np.full_like(wanted, np.nan)
            assert_array_equal(past[lag], expected)


def test_days_from_and_to_a_date_are_mapped(tmp_path: Path) -> None:
    given = {"scenes": {"since": "2016-01-02", "until": "2016-01-03"}}
    found = sea.recipe(sea.sea(tmp_path), **given)
    assert found.scenes is not None
    assert [p for p in found.places if found.scenes.maps(p)] == [
        "line_2016-01-02",
        "line_2016-01-03",
    ]


def test_days_of_no_split_are_left_out_unless_they_are_mapped(tmp_path: Path) -> None:
    data = sea.sea(tmp_path)
    split = {"by": {"op": "days", "args": PERIODS}}
    everything = sea.recipe(data, split=split)
    unused = {p for p in everything.places if label(date_of(p)) == NONE}
    day, *others = sorted(unused)
    assert others
    mapped = {"since": str(date_of(day)), "until": str(date_of(day))}
    found = sea.recipe(data, split=split, scenes=mapped)
    assert set(found.places) == {*everything.places} - {*others}


def date_of(place: str) -> dt.date:
    return dt.date.fromisoformat(place.rsplit("_", 1)[1])


def test_a_scan_follows_from_the_scenes_that_there_are(tmp_path: Path) -> None:
    """A day that one source adds is a scene of the others too."""
    data = sea.sea(tmp_path, count=12)
    mapped = {"scenes": {"since": "2015-12-22"}}
    before, same = sea.recipe(data), sea.recipe(data, **mapped)
    sea.write(data / "sea" / "fine_2.nc", sea.FIRST + dt.timedelta(10), [sea.day(10)])
    after = sea.recipe(data)
    scan = Step("scan", "sea", {"source": "rough"})
    first, again, fewer = (scan.digests(values(recipe)) for recipe in (before, same, after))
    assert first == again
    assert {key for key in first if first[key] != fewer[key]} == {"scenes.found"}


# A history


HISTORY = {"model": {"op": "sst_attention", "args": {"history": "past", "width": 2}}}
ASIDE = {"role": "target", "degrade": {"op": "block_mean"}}


def ordered(*variables: str, **change: Any) -> dict[str, Any]:
    """The recipe, its coarse days in some order."""
    return merge(merge(sea.BASE, {"roles": {"past": {"variables": list(variables)}}}), change)


@pytest.mark.parametrize(
    ("variables", "days"),
    [
        (("sst_2", "sst_1", "sst"), "2, 1, 0"),
        (("sst_1", "sst", "sst_2"), "1, 0, 2"),
        (("sst", "sst_2", "sst_1"), "0, 2, 1"),
        (("sst_1", "sst_2"), "1, 2"),
    ],
)
@pytest.mark.parametrize("change", [{}, {"coarse": ASIDE, "methods": {"l": HISTORY}}])
def test_days_that_do_not_go_back_in_order_are_refused(
    variables: tuple[str, ...], days: str, change: dict[str, Any]
) -> None:
    said = rf"roles\.past: {', '.join(variables)} lie {days} days back.*lag 0\) first"
    with pytest.raises(ValueError, match=said) as caught:
        Recipe.model_validate(ordered(*variables, **change))
    assert f"of these {', '.join(sorted(variables))}" in str(caught.value)


def test_days_in_order_and_guides_that_no_network_takes_by_place_are_taken() -> None:
    Recipe.model_validate(ordered("sst", "sst_2", methods={"l": HISTORY}))
    Recipe.model_validate(ordered("sst_2", "sst", coarse=ASIDE))


# Split by time


def label(date: dt.date, **args: Any) -> int:
    box = Scene(group="", date=date, shape=(2, 3), bounds=(0, 0, 3, 2))
    (found,) = set(by_days(box.geobox, box, **{**PERIODS, **args}).flatten().tolist())
    return int(found)


def test_periods_test_and_validate_and_a_gap_lies_between() -> None:
    start = dt.date(2015, 12, 26)
    found = [label(start + dt.timedelta(number)) for number in range(20)]
    before = [TRAIN] * 2 + [NONE] * 2 + [VALIDATION] * 2 + [NONE] * 4
    assert found == [*before, *[TEST] * 6, *[NONE] * 2, *[TRAIN] * 2]


@given(st.integers(0, 10), st.lists(st.integers(0, 200), min_size=2, max_size=2, unique=True))
def test_two_splits_never_come_closer_than_the_gap(gap: int, numbers: list[int]) -> None:
    first, second = (dt.date(2015, 10, 1) + dt.timedelta(number) for number in numbers)
    labels = {label(day, gap=gap) for day in (first, second)}
    if len(labels) == 2 and NONE not in labels:
        assert abs((first - second).days) > gap


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"test": []}, "no period"),
        ({"test": [["2016-01-05"]]}, "its first and its last day"),
        ({"validation": [["2016-01-05", "2016-01-01"]]}, "its first and its last day"),
    ],
)
def test_a_period_that_is_none_is_refused(args: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        label(sea.FIRST, **args)


def test_the_report_tells_the_days_between_splits(normal: Results) -> None:
    found = json.loads((normal.tiles / "overlap.json").read_text())["days"]
    assert found == {
        "required": 3,
        "training-validation": 3,
        "training-test": 9,
        "validation-test": 5,
    }


def test_a_gap_shorter_than_inputs_look_back_is_refused(normal: Results, tmp_path: Path) -> None:
    shutil.copytree(normal.folder / "scenes", tmp_path / "sea" / "scenes")
    split = normal.recipe.split.changed({"by.args.gap": 1})
    narrow = replace(normal, recipe=normal.recipe.model_copy(update={"split": split}))
    with pytest.raises(DataError, match="inputs reach 2 days back"):
        tile(replace(narrow, root=tmp_path))


# Normals


def test_normals_are_those_of_the_training_days_cell_by_cell(normal: Results) -> None:
    index = pd.read_parquet(normal.tiles / "tiles.parquet")
    train = sorted(set(index.loc[index["split"] == TRAIN, "place"]))
    numbers = [(normal.at(p).recipe.acquisition.date - sea.FIRST).days for p in train]
    assert numbers == list(range(8))
    fine = np.stack([sea.day(number) for number in numbers])
    found = normals.read(normal.at(train[0]), normals.TARGET, Window(0, 4, 0, 6))
    assert_allclose(found[0], fine.mean(0), rtol=1e-6)
    assert_allclose(found[1], fine.std(0), rtol=1e-3)
    rough = np.stack([sea.means(sea.day(number)) + sea.bias() for number in numbers])
    around = normals.read(normal.at(train[0]), "past", Window(-1, 4, 0, 7))
    assert around.shape == (6, 5, 7)
    assert_allclose(around[0, 1:, :-1], rough.mean(0), rtol=1e-6)
    assert np.isnan(around[:, 0]).all()


def test_inputs_are_normal_cell_by_cell_and_missing_days_are_the_mean(normal: Results) -> None:
    place = "line_2015-12-21"
    statistics = Statistics.read(normal.tiles / "statistics.json")
    inputs = Inputs(normal.at(place), statistics, "bilinear")
    window = Window(0, 4, 0, 6)
    ready = inputs.prepare(inputs.read(window))
    mean, deviation = np.split(normals.read(normal.at(place), "past", window), 2)
    values = sea.means(sea.day(1)) + sea.bias()
    expected = np.nan_to_num((values - mean[0]) / deviation[0])
    assert_allclose(ready["past"][0], expected, atol=1e-4)
    assert (ready["past"][2] == 0).all(), "there is no day two days before"
    assert ready["normals"].shape == (2, 16, 24)
    land = np.isnan(sea.day(1))
    around = torch.from_numpy(inputs.prepare(inputs.read(window.pad(2)))["prior_normal"])[None]
    between = upsample(around, 4, "bilinear")[0, 0, 8:-8, 8:-8].numpy()
    assert_allclose(ready["normals"][0][land], between[land], rtol=1e-6)
    assert (ready["normals"][1][land] == np.float32(statistics.deviation)).all()
    assert all(np.isfinite(values).all() for values in ready.values())


def completed(
    normal: Results, coarse: np.ndarray, prior: np.ndarray, target: np.ndarray
) -> dict[str, np.ndarray]:
    """What is made of a window of 4 x 4 cells, given its coarse normals, prior and target's mean.

    The coarse fields have so many cells more on every side as are read.
    """
    statistics = replace(Statistics.read(normal.tiles / "statistics.json"), mean=288.0)
    inputs = Inputs(normal.at("line_2015-12-21"), statistics, "bilinear")
    raw = inputs.read(Window(0, 4, 0, 4))
    assert raw["normals/coarse"].shape == (2, 10, 10)
    fine = np.stack([target, np.where(np.isnan(target), np.nan, 1.0)])
    given = {"normals/coarse": np.stack([coarse, np.ones_like(coarse)]), "normals/target": fine}
    return inputs.prepare({**raw, **given, "coarse": prior[None]})


def test_a_cell_without_a_normal_takes_that_of_the_coarse_product(normal: Results) -> None:
    coarse, prior = np.full((10, 10), 272.0, "f4"), np.full((8, 8), 271.5, "f4")
    target = np.full((16, 16), np.nan, "f4")
    target[:, :8] = 271.9
    ready = completed(normal, coarse, prior, target)
    given = {name: torch.from_numpy(values)[None] for name, values in ready.items()}
    for mode in ("bilinear", "bicubic"):
        base = corrected(given, (16, 16), mode)[0, 0].numpy()
        assert_allclose(base[:, 8:], 271.5, atol=1e-3)
        assert_allclose(base[:, :8], 271.4, atol=1e-3)
    assert_allclose(ready["normals"][0][:, 8:], 272.0)
    assert (ready["normals"][1][:, :8] == 1).all()
    # With a new network's z-scores, of which 0 is the mean, and as the base of a residual one.
    args = {"history": "past", "width": 2}
    spec = ModelSpec(4, {"coarse": InputSpec(1, 1), "past": InputSpec(7, 1)})
    given["past"] = torch.zeros(1, 7, 4, 4)
    with torch.no_grad():
        l1 = SstAttention(spec, **args, residual=True)(given)[0, 0].numpy()
        zero = SstAttention(spec, **args).physical(torch.zeros(1, 1, 16, 16), given)[0, 0]
    assert_allclose(l1, base, atol=1e-3)
    assert np.abs(np.diff(l1)).max() < 0.2
    assert np.abs(np.diff(zero)).max() < 0.2


def test_where_the_coarse_product_has_no_normal_either_it_is_the_mean_of_all(
    normal: Results,
) -> None:
    coarse, prior = np.full((10, 10), np.nan, "f4"), np.full((8, 8), 271.5, "f4")
    ready = completed(normal, coarse, prior, np.full((16, 16), np.nan, "f4"))
    assert (ready["normals"][0] == 288).all()
    assert (ready["prior_normal"] == 288).all()


def test_completed_normals_do_not_depend_on_the_window(normal: Results) -> None:
    rng = np.random.default_rng(0)
    statistics = Statistics.read(normal.tiles / "statistics.json")
    inputs = Inputs(normal.at("line_2015-12-21"), statistics, "bilinear")
    field = np.where(rng.random((30, 30)) < 0.5, rng.normal(280, 5, (30, 30)), np.nan)

    def at(top: int, size: int) -> np.ndarray:
        wide = field[top - 3 : top + size + 3, top - 3 : top + size + 3].astype("f4")
        raw = inputs.read(Window(0, size, 0, size))
        raw["normals/coarse"] = np.stack([wide, np.ones_like(wide)])
        raw["normals/target"] = np.full((2, size * 4, size * 4), np.nan, "f4")
        return inputs.prepare(raw)["normals"][0]

    assert_allclose(at(10, 4), at(6, 12)[16:32, 16:32], rtol=1e-6)


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_normals_of_currents_turn_with_them(flowing: Results, symmetry: int) -> None:
    tiles = Tiles.open(flowing, "bilinear", TRAIN, Chunks())
    plain, found = tiles.read(3), tiles.read(3, symmetry)
    for name, field in plain.inputs.items():
        expected = turned(field, symmetry, [(0, 1)] if name == "past" else ())
        assert_allclose(found.inputs[name], expected, atol=1e-6)
    assert plain.inputs["past"][:2].std() > 0.1


def products(results: Results) -> dict[str, np.ndarray]:
    """What the methods make of a day of the test, as far as the truth is known."""
    place, truth = "line_2016-01-07", sea.day(18)
    at = results.at(place)
    found = {}
    for method in results.recipe.products:
        for block in at.recipe.layout.blocks():
            infer(at, method, 0, block)
        field = at.member(method, 0).read_first(Window(0, 4, 0, 6))
        found[method] = (field - truth)[np.isfinite(truth)]
    return found


def test_the_bias_of_every_cell_is_corrected(normal: Results) -> None:
    error = products(normal)
    bias = {method: abs(float(np.nanmean(values))) for method, values in error.items()}
    spread = {method: float(np.nanstd(values)) for method, values in error.items()}
    assert bias["bilinear"] > 0.3
    assert bias["corrected"] < 0.1
    assert spread["corrected"] < 0.5 * spread["bilinear"]
    assert 0.5 < spread["climatology"] < 3


def test_normals_of_a_region_without_training_days_are_refused(normal: Results) -> None:
    index = pd.read_parquet(normal.tiles / "tiles.parquet")
    few = index[~index["place"].str.contains("2015-12-2")]
    with pytest.raises(DataError, match="line: less than 2 days of training"):
        normal_fit.fit(normal, few, {})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": {"lines": ["front"]}}, "expected scenes of days"),
        ({"tiles": {"normalise": {"past": {"op": "asinh"}}}}, "expected the operation standard"),
        (
            {"methods": {"corrected": {"train": {**LEARNS, "distort": {"shift": 0.1}}}}},
            r"corrected\.train\.distort: normals are of the cells as they lie",
        ),
    ],
)
def test_normals_of_what_has_none_are_refused(change: dict[str, Any], said: str) -> None:
    given = merge(merge(sea.BASE, {"tiles": {"normals": True}}), change)
    with pytest.raises(ValueError, match=said):
        Recipe.model_validate(given)


# Land


def test_a_field_is_missing_where_another_is() -> None:
    field = np.arange(16, dtype=np.float32).reshape(4, 4)
    other = np.where(field % 3 == 0, np.nan, 300).astype(np.float32)
    found = postprocess.known(field, field[:1, :1], 4, other)
    assert_array_equal(np.isnan(found), field % 3 == 0)
    assert_array_equal(found[field % 3 > 0], field[field % 3 > 0])


def test_a_mask_may_have_other_units_than_the_target() -> None:
    held = {"constraints": [{"op": "known", "role": "past"}]}
    variables = sea.BASE["sources"]["rough"]["variables"]
    change = {
        "methods": {"bilinear": held},
        "sources": {"rough": {"variables": {key: {"units": "degC"} for key in variables}}},
        "coarse": {"role": "target", "degrade": {"op": "block_mean"}},
    }
    Recipe.model_validate(merge(sea.BASE, change))
