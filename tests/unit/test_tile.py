from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests import small

from nunatak.apart import gap, overlap
from nunatak.errors import DataError
from nunatak.grid import Window
from nunatak.ops.split import NAMES, TEST, TRAIN, VALIDATION
from nunatak.products import Results
from nunatak.provenance import read_json
from nunatak.sources.synthetic import World
from nunatak.splits import labels
from nunatak.stages.degrade import degrade
from nunatak.stages.tile import tile
from nunatak.statistics import statistics

BIG = {
    "grid": {"bounds": [0, 0, 96000, 64000], "block": 128},
    "split": {"by": {"args": {"size": 16000, "period": 5}}, "buffer": 3000},
    "tiles": {"size": 4, "stride": 3, "context": 1},
}


def prepared(folder: Path, **change: object) -> Results:
    results = small.tree(folder, **{**BIG, **change})
    box, world = results.recipe.layout.fine, World(0)
    xs, ys = box.coordinates["x"].values, box.coordinates["y"].values
    bed = world.evaluate("bed", xs, ys)
    bed[40:44] = np.nan
    small.fill(results, "target", bed)
    small.fill(results, "surface", world.evaluate("surface", xs, ys))
    for block in results.recipe.layout.blocks():
        degrade(results, block)
    return results


def test_splits_do_not_touch_halos_included(tmp_path: Path) -> None:
    results = prepared(tmp_path)
    report = tile(results)
    index = pd.read_parquet(results.tiles / "tiles.parquet")
    tiles = results.recipe.tiles
    used = {}
    for split, rows in index.groupby("split"):
        mask = np.zeros(results.recipe.layout.shape, bool)
        for row, col in zip(rows["row"], rows["col"], strict=True):
            core = Window(row, row + tiles.size, col, col + tiles.size).pad(tiles.context)
            mask[core.clip(mask.shape).slices] = True
        used[split] = mask
    assert set(used) == {TRAIN, VALIDATION, TEST}
    assert not (used[TRAIN] & used[VALIDATION]).any()
    assert not (used[TRAIN] & used[TEST]).any()
    assert not (used[VALIDATION] & used[TEST]).any()
    assert min(pair["targets"] for pair in report["gaps"].values()) >= 3
    assert read_json(results.tiles / "overlap.json") == {
        k: v for k, v in report.items() if k != "variables"
    }
    assert (results.tiles / "split.png").stat().st_size > 10_000


def test_a_tile_lies_in_one_split_and_the_index_does_not_depend_on_blocks(tmp_path: Path) -> None:
    results, other = (
        prepared(tmp_path / "a"),
        prepared(tmp_path / "b", grid={**BIG["grid"], "block": 48}),
    )
    tile(results), tile(other)
    keys = ["row", "col", "split", "valid"]
    first, second = (
        pd.read_parquet(r.tiles / "tiles.parquet")[keys].sort_values(keys, ignore_index=True)
        for r in (results, other)
    )
    pd.testing.assert_frame_equal(first, second)
    size = results.recipe.tiles.size
    for row, col, split in zip(first["row"], first["col"], first["split"], strict=True):
        assert (labels(results, Window(row, row + size, col, col + size)) == split).all()


def test_partial_tiles_are_kept_and_empty_ones_are_not(tmp_path: Path) -> None:
    results = prepared(tmp_path)
    tile(results)
    valid = pd.read_parquet(results.tiles / "tiles.parquet")["valid"]
    assert valid.min() >= results.recipe.tiles.min_valid
    assert (valid < 1).any()


def test_the_overlap_report_fails_on_tiles_that_touch() -> None:
    tiles = pd.DataFrame({"row": [0, 0], "col": [0, 6], "split": [TRAIN, TEST]})
    assert overlap(tiles, 4, 0, 2)["gaps"]["training-test"]["targets"] == 2
    with pytest.raises(DataError, match="training-test: two tiles lie 2 coarse cells apart"):
        overlap(tiles, 4, 0, 3)
    with pytest.raises(DataError, match="both halos"):
        overlap(tiles, 4, 1, 0)


def test_the_gap_is_at_least_the_buffer_and_both_halos() -> None:
    assert gap(small.recipe(split={"buffer": 2500})) == 3
    assert gap(small.recipe(split={"buffer": 2500}, tiles={"context": 4})) == 9


def test_normalisation_is_unchanged_when_test_data_change(tmp_path: Path) -> None:
    results = prepared(tmp_path)
    tile(results)
    before = read_json(results.tiles / "statistics.json")
    rows, cols = results.recipe.layout.shape
    held = labels(results, Window(0, rows, 0, cols)) == TEST
    changed = results.role("target").read("bed", Window(0, rows, 0, cols))
    changed[held.repeat(4, 0).repeat(4, 1)] += 500
    small.fill(results, "target", changed)
    index = pd.read_parquet(results.tiles / "tiles.parquet")
    for block in results.recipe.layout.blocks():
        degrade(results, block)
    after = statistics(results, index)
    assert json.loads(json.dumps(after)) == before


@pytest.mark.parametrize("change", [{"tiles": {"size": 40}}, {"split": {"buffer": 90000}}])
def test_an_empty_split_says_what_to_change(tmp_path: Path, change: dict[str, object]) -> None:
    results = prepared(tmp_path, **change)
    with pytest.raises(DataError, match=r"no tile for (.|\n)*split.buffer smaller"):
        tile(results)


def test_an_empty_domain_is_refused(tmp_path: Path) -> None:
    results = prepared(tmp_path)
    small.fill(results, "target", np.full(results.recipe.layout.fine.shape, np.nan))
    for block in results.recipe.layout.blocks():
        degrade(results, block)
    with pytest.raises(DataError, match=f"no tile for {NAMES[TRAIN]}"):
        tile(results)


def stationed(folder: Path, value: float, row: int, col: int) -> dict[str, str]:
    """The digests of a tile manifest, with one measurement in a coarse cell."""
    role = {"source": "world", "variables": ["bed"]}
    results = prepared(folder, insitu="stations", roles={"stations": role})
    field = np.full(results.recipe.layout.fine.shape, np.nan)
    field[4 * row + 1, 4 * col + 2] = value
    small.fill(results, "stations", field)
    return {name: v["digest"] for name, v in tile(results)["variables"].items()}


def test_training_sees_what_stations_measured_in_its_tiles(tmp_path: Path) -> None:
    plain = {n: v["digest"] for n, v in tile(prepared(tmp_path / "plain"))["variables"].items()}
    index = pd.read_parquet(prepared(tmp_path / "plain").tiles / "tiles.parquet")
    corner = {
        split: tuple(int(n) for n in rows.iloc[0][["row", "col"]])
        for split, rows in index.groupby("split")
    }
    first, again, other, tested = (
        stationed(tmp_path / name, value, *corner[split])
        for name, value, split in (
            ("first", 1.0, TRAIN),
            ("again", 1.0, TRAIN),
            ("other", 2.0, TRAIN),
            ("tested", 1.0, TEST),
        )
    )
    assert first == again
    assert {name for name in first if first[name] != other[name]} == {"training/stations"}
    assert {n: d for n, d in first.items() if n != "training/stations"} == plain
    assert tested["training/stations"] != first["training/stations"]


def test_a_measurement_outside_of_training_tiles_is_not_seen(tmp_path: Path) -> None:
    index = prepared(tmp_path / "plain")
    tile(index)
    tested = pd.read_parquet(index.tiles / "tiles.parquet").query(f"split == {TEST}").iloc[0]
    row, col = int(tested["row"]) + 1, int(tested["col"]) + 1
    found = [stationed(tmp_path / str(v), v, row, col)["training/stations"] for v in (1.0, 2.0)]
    assert found[0] == found[1]


LEAKY = {
    "split": {
        "by": {
            "op": "leaky_tiles",
            "args": {
                **{"period": None, "size": 4000, "left": 0, "top": 64000, "rows": 16, "cols": 24},
                **{"test": 100, "validation": 40},
            },
        },
        "buffer": 0,
    },
    "tiles": {"size": 4, "stride": 4, "context": 1},
}


def test_leaky_tiles_touch_and_the_report_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = prepared(tmp_path, **LEAKY)
    report = tile(results)
    assert report["leaky"] is True
    assert report["tiles"] == {"training": 244, "validation": 40, "test": 100}
    gaps = report["gaps"]["training-test"]
    assert gaps == {"targets": 0, "inputs": -2, "required": 0}
    assert "leaky_tiles: training touches test" in caplog.text


def test_a_split_that_keeps_its_parts_apart_is_not_called_leaky(tmp_path: Path) -> None:
    assert "leaky" not in tile(prepared(tmp_path))
