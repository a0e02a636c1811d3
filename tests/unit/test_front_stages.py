"""Publishing, judging and the series of scenes whose fronts are known: made by hand, no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
from pyogrio.raw import read
from tests import scenes

from nunatak import front_gallery
from nunatak.crew import ALONE
from nunatak.errors import ConfigError, DataError
from nunatak.front_scores import NOTHING, judge_fronts
from nunatak.fronts import NOWHERE, publish_fronts, read_codes, read_front
from nunatak.grid import Window
from nunatak.products import Results
from nunatak.provenance import write_json
from nunatak.stages.infer import infer
from nunatak.stages.mosaic import mosaic
from nunatak.stages.series import series

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

FOUND = {
    "early": scenes.scene("2010-07-01"),
    "late": scenes.scene("2012-01-15", sensor="ERS"),
    "bare": scenes.scene("2013-06-01"),
    "nowhere": scenes.lost("2014-02-01"),
    "other": scenes.scene("2010-07-01", "south"),
}
TRUE = {"early": 40, "late": 30, "bare": None, "nowhere": 20}
GIVEN = {"early": 42, "late": 28, "bare": 25, "nowhere": 23}


def publish(results: Results, name: str, method: str) -> dict[str, Any]:
    scene = results.at(name)
    path = scene.folder / "publish" / f"{method}.tif"
    args = results.recipe.publish.args
    record = publish_fronts(scene, method, path, {"TITLE": "by hand"}, **args)
    write_json(path.with_suffix(".provenance.json"), record)
    return record


def made(folder: Path, given: dict[str, int | None], **change: Any) -> Results:
    """A tree as far as the stage `publish`."""
    names = [name for name in FOUND if name in given]
    kept = {name: FOUND[name] for name in (*names, "other")}
    results = scenes.tree(folder, kept, **change)
    for name in names:
        scenes.label(results, name, TRUE[name])
        scenes.predict(results, name, given[name])
        for method in results.recipe.products:
            publish(results, name, method)
    return results


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return made(tmp_path_factory.mktemp("fronts"), GIVEN)


def test_zones_and_fronts_are_those_of_the_probabilities(finished: Results) -> None:
    scene = finished.at("early")
    np.testing.assert_array_equal(read_codes(scene, "zones"), scenes.fjord(42))
    np.testing.assert_array_equal(read_codes(scene, "line"), scenes.line(42))
    for method in ("zones", "line"):
        (found,) = read_front(scene, method).lines
        x = scenes.BOUNDS[0] + 42.5 * scenes.CELL
        tops = scenes.BOUNDS[3] - (np.arange(5, 35) + 0.5) * scenes.CELL
        np.testing.assert_allclose(found, np.stack([np.full(30, x), tops], axis=1))


@pytest.mark.parametrize(("trace", "column"), [("classes", 40), ("lines", 43)])
def test_a_method_that_tells_both_has_its_fronts_from_one_and_its_zones_anyway(
    tmp_path: Path, trace: str, column: int
) -> None:
    change = {"publish": {"args": {"trace": trace}}}
    results = scenes.tree(tmp_path, {"early": FOUND["early"]}, **change)
    scenes.label(results, "early", 40)
    layers = scenes.chances(scenes.fjord(40), scenes.line(43))
    scenes.write(results.at("early").mosaic("zones"), layers)
    publish(results, "early", "zones")
    (found,) = read_front(results.at("early"), "zones").lines
    assert (found[:, 0] == scenes.BOUNDS[0] + (column + 0.5) * scenes.CELL).all()
    np.testing.assert_array_equal(read_codes(results.at("early"), "zones"), scenes.fjord(40))


def test_a_wrong_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="classes or lines"):
        made(tmp_path, {"early": 30}, publish={"args": {"trace": "both"}})


def test_missing_cells_stay_missing_in_the_file(tmp_path: Path) -> None:
    results = scenes.tree(tmp_path, {"early": FOUND["early"]})
    scenes.label(results, "early", 40)
    layers = scenes.chances(scenes.fjord(40), scenes.line(40))
    layers[:, :3] = np.nan
    scenes.write(results.at("early").mosaic("zones"), layers)
    publish(results, "early", "zones")
    with rasterio.open(tmp_path / "fronts/scenes/early/publish/zones.tif") as file:
        codes = file.read(1)
        assert file.tags()["TITLE"] == "by hand"
    assert (codes[:3] == 255).all()
    assert (codes[3:] < 4).all()
    codes = read_codes(results.at("early"), "zones")
    assert np.isnan(codes[:3]).all()


def test_a_scene_that_lies_nowhere_says_so_and_counts_cells(finished: Results) -> None:
    path = finished.at("nowhere").folder / "publish" / "zones.tif"
    record = json.loads(path.with_suffix(".provenance.json").read_text())
    assert record["georeference"] == NOWHERE
    assert record["front"]["units"] == "cells"
    assert record["front"]["lengths"] == [29]
    with rasterio.open(path) as file:
        assert file.crs is None
        assert file.transform.is_identity
        assert file.tags()["GEOREFERENCE"] == NOWHERE


@pytest.mark.parametrize(("name", "least"), [("early", "shortest"), ("nowhere", "shortest_cells")])
def test_short_fronts_are_none_by_metres_or_where_these_are_unknown_by_cells(
    tmp_path: Path, name: str, least: str
) -> None:
    length = 2900 if least == "shortest" else 29
    for shortest, count in ((length, 1), (length + 1, 0)):
        change = {"publish": {"args": {"shortest": 0, "shortest_cells": 0, least: shortest}}}
        results = made(tmp_path / str(shortest), {name: 30}, **change)
        assert len(read_front(results.at(name), "zones").lines) == count


def test_the_mean_distance_is_in_metres_and_the_trivial_stands_beside_it(
    finished: Results, tmp_path: Path
) -> None:
    frame, page = judge_fronts(finished, Path(), ALONE, tmp_path, dilate=3)
    rows = frame.set_index(["where", "units", "method"])
    for method in ("zones", "line"):
        assert rows.loc[("test scenes", "m", method), "mde"] == pytest.approx(200)
        assert rows.loc[("test scenes", "cells", method), "mde"] == pytest.approx(3)
        assert rows.loc[("ERS", "m", method), "images"] == 1
    trivial = rows.loc[("test scenes", "m", NOTHING)]
    assert (trivial["images"], trivial["missed"]) == (2, 2), "the scene without labels is not told"
    assert np.isnan(trivial["mde"])
    assert trivial["box_accuracy"] == trivial["box_background"] == 0
    winter = rows.loc[("winter", "m", "zones")]
    assert winter["images"] == 1
    assert winter["box_accuracy"] == pytest.approx(1 / 3), "of three columns in the box one is met"
    assert rows.loc[("north", "m", "zones"), "iou_ocean"] == pytest.approx(48 / 52)
    assert np.isnan(rows.loc[("north", "m", "line"), "mean_iou"])
    assert ("summer", "cells", "zones") not in rows.index, "no season where no place is known"
    assert {p.name for p in tmp_path.iterdir()} == {"panels.png", "map.png", "charts.png"}
    assert "mean distance" in page


def test_the_front_between_zones_is_widened_as_the_true_one_is(tmp_path: Path) -> None:
    classes = list(scenes.BASE["target"]["classes"])
    change = {"methods": {"zones": {"layers": classes}}, "products": ["zones"]}
    results = made(tmp_path, {"early": 42}, **change)
    frame, _ = judge_fronts(results, Path(), ALONE, tmp_path, dilate=3)
    row = frame.set_index(["where", "method"]).loc[("test scenes", "zones")]
    assert row["box_accuracy"] == pytest.approx(1 / 3), "of three columns in the box one is met"
    assert row["mde"] == pytest.approx(200)


def test_the_season_of_a_scene_that_lies_nowhere_is_that_of_the_hemisphere(
    tmp_path: Path,
) -> None:
    results = made(tmp_path, {"nowhere": 23})
    frame, _ = judge_fronts(results, Path(), ALONE, tmp_path, hemisphere="south")
    assert "summer" in set(frame["where"])
    frame, _ = judge_fronts(results, Path(), ALONE, tmp_path, hemisphere="north")
    assert "winter" in set(frame["where"])


def test_a_front_that_is_not_found_is_counted_and_has_no_distance(tmp_path: Path) -> None:
    results = made(tmp_path, {"early": None, "late": 28})
    frame, _ = judge_fronts(results, Path(), ALONE, tmp_path)
    row = frame.set_index(["where", "method"]).loc[("test scenes", "zones")]
    assert (row["images"], row["missed"], row["mde"]) == (2, 1, pytest.approx(200))


def test_nothing_to_judge_is_refused(tmp_path: Path) -> None:
    for name, change in (("bare", {}), ("early", {"split": {"by": {"args": {"test": ["west"]}}}})):
        results = made(tmp_path / name, {name: 30}, **change)
        with pytest.raises(DataError, match=r"labelled and in the test"):
            judge_fronts(results, Path(), ALONE, tmp_path)


def test_the_series_reads_the_retreat_of_the_labels_and_of_a_method(
    finished: Results, tmp_path: Path
) -> None:
    told = series(finished)
    folder = finished.folder / "series"
    assert {p.name for p in folder.glob("*.*")} == set(told["variables"])
    frame = pd.read_csv(folder / "series.csv").set_index(["source", "scene"])
    assert frame.loc[("true", "early"), "position"] == pytest.approx(4050)
    assert frame.loc[("true", "late"), "position_change"] == pytest.approx(-1000)
    assert frame.loc[("line", "late"), "position_change"] == pytest.approx(-1400)
    assert frame.loc[("zones", "late"), "area_change"] == pytest.approx(-14 * 30 * 1e4)
    assert frame.loc[("true", "nowhere"), "units"] == "cells"
    assert frame.loc[("true", "nowhere"), "area"] == 20 * 30
    assert frame.loc[("true", "nowhere"), "area_change"] == 0
    assert ("true", "bare") not in frame.index
    assert frame["area"]["line"].isna().all()


def test_fronts_of_two_dates_can_be_told_apart_in_the_file(finished: Results) -> None:
    """The original's stack in time gave the first date the number of the background."""
    series(finished)
    path = finished.folder / "series" / "fronts.gpkg"
    meta, _, _, columns = read(path, layer="fronts_epsg_3031")
    known = pd.DataFrame(dict(zip(meta["fields"], columns, strict=True)))
    true = known[known["source"] == "true"].set_index("scene")["date"].astype(str)
    assert true.to_dict() == {"early": "2010-07-01", "late": "2012-01-15"}


def test_scenes_that_do_not_compare_are_not_drawn_over_each_other(finished: Results) -> None:
    every = [finished.at(name) for name in GIVEN]
    names = [scene.recipe.scene for scene in front_gallery.comparable(every)]
    assert names == ["early", "late", "bare"]
    nowhere = front_gallery.comparable(every[-1:])
    assert [scene.recipe.scene for scene in nowhere] == ["nowhere"]


def test_a_line_of_shares_is_placed_in_a_scene_that_lies_nowhere(tmp_path: Path) -> None:
    change = {"series": {"line": [[0, 0.5], [1, 0.5]], "within": [[0, 0], [0.5, 0], [0.5, 1]]}}
    results = made(tmp_path, {"nowhere": 23}, **change)
    series(results)
    frame = pd.read_csv(results.folder / "series" / "series.csv").set_index("source")
    assert frame.loc["true", "position"] == pytest.approx(20.5)
    assert frame.loc["zones", "position"] == pytest.approx(23.5)
    assert 0 < frame.loc["true", "area"] < 20 * 30


@pytest.mark.parametrize("block", [22, 32, 48])
def test_a_scene_in_blocks_is_the_scene_in_one(tmp_path: Path, block: int) -> None:
    plain = {"curve": "linear", "width": 1.0, "fitted": True, "offset": [110.0], "scale": [50.0]}
    method = {"model": {"op": "tests.identity:Relative", "args": None}, "train": None}
    found = []
    for side in (block, 64):
        change = {"grid": {"block": side}, "methods": {"zones": method}, "products": ["zones"]}
        results = scenes.tree(tmp_path / str(side), {"early": FOUND["early"]}, **change)
        scenes.label(results, "early", 40)
        numbers = {"mean": 0.0, "deviation": 1.0, "detail": 1.0}
        write_json(results.tiles / "statistics.json", {"transforms": {"coarse": plain}, **numbers})
        scene = results.at("early")
        for each in scene.recipe.layout.blocks():
            infer(scene, "zones", 0, each)
            mosaic(scene, "zones", each)
        found.append(scene.mosaic("zones").read_all(Window(0, 40, 0, 60)))
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0][:4].sum(axis=0), 1, atol=1e-5)
    assert found[0][0].std() > 0.1
    assert np.unique(found[0][4]).size == 1
