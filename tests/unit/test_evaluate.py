"""evaluate: errors that are known beforehand come out in the table, wherever blocks are cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from tests import small

from nunatak.errors import SourceError
from nunatak.grid import Window
from nunatak.ops.split import TEST
from nunatak.products import Results
from nunatak.sources.observations import Observations
from nunatak.splits import labels
from nunatak.stages.degrade import degrade
from nunatak.stages.evaluate import evaluate, score, table

SHAPE = (64, 96)
MODEL = {"model": {"op": "interpolate"}, "conditions": []}
SPLIT = {"by": {"args": {"size": 8000, "period": 3}}}
PICKS = {"picks": {"source": "world", "variable": "bed"}}
Field = NDArray[np.float32]


def relief(seed: int = 0) -> Field:
    """Detail over a slope."""
    rng = np.random.default_rng(seed)
    field = rng.normal(0, 50, SHAPE) + np.linspace(-900, 300, SHAPE[1])
    return field.astype(np.float32)


def judged(folder: Path, truth: Field, products: dict[str, Field], **change: Any) -> Results:
    """A tree whose products are given."""
    methods = dict.fromkeys(products, MODEL)
    given = {"methods": methods, "products": list(products), "evaluate": {"spectrum": 16}}
    results = small.tree(folder, **{**given, "split": SPLIT, **change})
    small.fill(results, "target", truth)
    small.fill(results, "surface", np.full(SHAPE, 2000, np.float32))
    for block in results.recipe.layout.blocks():
        degrade(results, block)
        for method, field in products.items():
            part = field[block.core.at(4).slices]
            results.mosaic(method).create().write(block, {"bed": part})
    return results


def held(results: Results) -> NDArray[np.bool_]:
    """The fine cells of the test region."""
    rows, cols = results.recipe.layout.shape
    return (labels(results, Window(0, rows, 0, cols)) == TEST).repeat(4, 0).repeat(4, 1)


def written(results: Results) -> Path:
    """The folder of what `evaluate` writes, with an index of one test tile to show."""
    row, col = (int(n[0]) // 4 for n in np.nonzero(held(results)))
    results.tiles.mkdir(parents=True)
    index = pd.DataFrame({"row": [row], "col": [col], "split": [2], "valid": [1.0]})
    index.to_parquet(results.tiles / "tiles.parquet")
    evaluate(results, results.root)
    return results.folder / "evaluate"


@dataclass
class Points:
    """Points at the centres of fine cells, with what they tell."""

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    values: Field

    def chunks(self, geobox: GeoBox) -> Iterator[pd.DataFrame]:
        x, y = geobox.affine * (self.cols + 0.5, self.rows + 0.5)
        frame = pd.DataFrame({"x": x, "y": y, "bed": self.values})
        yield frame.iloc[::2]
        yield frame.iloc[1::2]


def test_a_perfect_product_has_no_error_and_full_skill(tmp_path: Path) -> None:
    truth = relief()
    results = judged(tmp_path, truth, {"base": truth + 10, "perfect": truth})
    base, perfect = table(score(results, None)).to_dict("records")
    for name in ("rmse", "mae", "bias", "nmad", "le90", "slope_rmse", "roughness_rmse"):
        assert perfect[name] == 0, name
    assert perfect["consistency"] < 1e-4
    assert perfect["roughness"] == perfect["roughness_truth"] > 20
    assert (perfect["skill"], base["skill"]) == (1, 0)


def test_a_shift_is_the_bias_and_nothing_else(tmp_path: Path) -> None:
    truth = relief()
    results = judged(tmp_path, truth, {"base": truth + 10, "low": truth - 5})
    rows = table(score(results, None)).set_index("method")
    assert rows.loc["base", "bias"] == pytest.approx(10, abs=1e-4)
    assert rows.loc["low", "bias"] == pytest.approx(-5, abs=1e-4)
    for name in ("rmse", "mae", "le90", "consistency"):
        assert rows.loc["low", name] == pytest.approx(5, rel=1e-3), name
    assert rows.loc["low", "nmad"] < 1e-3
    assert rows.loc["low", "slope_rmse"] < 1e-5
    assert rows.loc["low", "skill"] == pytest.approx(0.5, abs=1e-4)


def test_only_test_cells_are_judged(tmp_path: Path) -> None:
    truth = relief()
    results = judged(tmp_path, truth, {"base": truth})
    inside = held(results)
    wrong = np.where(inside, truth, truth + 1000).astype(np.float32)
    row = table(score(judged(tmp_path / "b", truth, {"base": wrong}), None)).iloc[0]
    assert row["n"] == inside.sum()
    assert row["rmse"] == 0


VELOCITY = {"velocity": {"source": "world", "variables": ["vx", "vy"], "resolution": 500}}
CLASSES = {
    "slow": [{"role": "target", "least": -500}, {"role": "velocity", "below": 100}],
    "fast": [{"role": "target", "least": -500}, {"role": "velocity", "least": 100}],
}


def test_classes_have_lines_of_their_own_by_all_of_their_ranges(tmp_path: Path) -> None:
    truth, rng = relief(), np.random.default_rng(5)
    speed = rng.choice([10.0, 80.0, np.nan], (32, 48)).astype(np.float32)
    fine = np.hypot(speed, speed).repeat(2, 0).repeat(2, 1)
    error = np.where(fine < 100, 3, 7).astype(np.float32)
    products = {"base": truth + error, "half": truth + error / 2}
    results = judged(tmp_path, truth, products, roles=VELOCITY, evaluate={"classes": CLASSES})
    small.fill(results, "velocity", speed)
    frame = table(score(results, None)).set_index(["where", "method"])
    assert list(dict.fromkeys(frame.index.get_level_values(0))) == ["test cells", "slow", "fast"]
    high = held(results) & (truth >= -500)
    assert frame.loc[("slow", "base"), "n"] == (high & (fine < 100)).sum() > 0
    assert frame.loc[("fast", "base"), "n"] == (high & (fine >= 100)).sum() > 0
    for where, size in (("slow", 3), ("fast", 7)):
        assert frame.loc[(where, "base"), "bias"] == pytest.approx(size, abs=1e-3)
        assert frame.loc[(where, "half"), "rmse"] == pytest.approx(size / 2, abs=1e-3)
        assert frame.loc[(where, "half"), "skill"] == pytest.approx(0.5, abs=1e-3)


PUBLISHED = {"published": {"source": "a paper", "mse_over_max": {"net": 1e-4, "base": 4e-4}}}


def test_the_metric_of_the_original_is_the_mean_square_over_the_greatest_truth(
    tmp_path: Path,
) -> None:
    truth, rng = relief() + 1500, np.random.default_rng(3)
    peak = np.unravel_index(np.argmin(held(judged(tmp_path / "a", truth, {"base": truth}))), SHAPE)
    truth[peak] = 4000
    products = {n: truth + rng.normal(0, sd, SHAPE) for n, sd in (("base", 90), ("net", 60))}
    products = {n: field.astype(np.float32) for n, field in products.items()}
    results = judged(tmp_path / "b", truth, products, evaluate=PUBLISHED)
    frame = pd.read_csv(written(results) / "metrics.csv").set_index("method")
    inside = held(results)
    assert not inside[peak], "the greatest truth need not be test"
    for name, field in products.items():
        over = field.astype(float)[inside] / 4000 - truth.astype(float)[inside] / 4000
        assert frame.loc[name, "mse_over_max"] == pytest.approx(np.mean(over**2), rel=1e-6)


def test_published_figures_stand_in_a_second_table_and_change_nothing_else(tmp_path: Path) -> None:
    truth = relief()
    products = {"base": truth + 20, "net": truth + 10, "other": truth}
    pages, frames = [], []
    for name, change in (("plain", {}), ("beside", PUBLISHED)):
        results = judged(tmp_path / name, truth, products, evaluate=change)
        folder = written(results)
        pages.append((folder / "metrics.md").read_text())
        frames.append(pd.read_csv(folder / "metrics.csv"))
    assert pages[1].startswith(pages[0] + "\n## Beside published figures\n")
    assert "published: a paper" in pages[1]
    cells = [line.strip("| ").split("|") for line in pages[1].splitlines()[-3:]]
    assert [[cell.strip() for cell in line][2:] for line in cells] == [
        ["0.000400", "1.000", "1.000"],
        ["0.000100", "0.250", "0.250"],
        ["–", "0.000", "–"],
    ]
    pd.testing.assert_frame_equal(frames[1].drop(columns="mse_over_max"), frames[0])


def test_a_page_warns_of_a_split_that_is_not_fair(tmp_path: Path) -> None:
    truth = relief()
    args = {"period": None, "left": 0, "top": 16000, "size": 4000, "rows": 4, "cols": 6}
    by = {"op": "leaky_tiles", "args": {**args, "test": 8, "validation": 4}}
    for split, warned in ((SPLIT, False), ({"by": by}, True)):
        results = judged(tmp_path / by["op"] / str(warned), truth, {"base": truth}, split=split)
        page = (written(results) / "metrics.md").read_text()
        assert ("Not a fair test" in page) == warned


def test_consistency_with_a_spline_is_that_of_the_whole_field(tmp_path: Path) -> None:
    truth = relief()
    change = {"coarse": {"degrade": {"op": "spline"}}, "products": ["base"]}
    results = small.tree(
        tmp_path, **change, methods={"base": MODEL}, split=SPLIT, evaluate={"spectrum": 16}
    )
    small.fill(results, "target", truth)
    for block in results.recipe.layout.blocks():
        degrade(results, block)
        part = truth[block.core.at(4).slices]
        results.mosaic("base").create().write(block, {"bed": part})
    assert table(score(results, None)).iloc[0]["consistency"] < 1e-4


def test_missing_truth_is_not_counted_and_a_missing_product_is_told(tmp_path: Path) -> None:
    truth, product = relief(), relief()
    inside = held(judged(tmp_path, truth, {"base": product}))
    rows, cols = np.nonzero(inside)
    truth[rows[:7], cols[:7]] = np.nan
    product[rows[-5:], cols[-5:]] = np.nan
    row = table(score(judged(tmp_path / "b", truth, {"base": product}), None)).iloc[0]
    assert row["n"] == inside.sum() - 12
    assert row["missing"] == 5


@pytest.mark.parametrize("below", [False, True])
def test_picks_count_in_test_cells_only(tmp_path: Path, below: bool) -> None:
    truth = relief()
    picks = (
        {"picks": {"source": "world", "variable": "bed", "below": "surface"}} if below else PICKS
    )
    results = judged(tmp_path, truth, {"base": truth + 3, "other": truth}, **picks)
    inside = held(results)
    rows, cols = (n.ravel() for n in np.mgrid[1:64:3, 1:96:3])
    told = truth[rows, cols] + np.where(inside[rows, cols], 0, 500)
    points = Points(rows, cols, 2000 - told if below else told)
    frame = table(score(results, Observations(points, "bed")))
    found = frame[frame["where"] == "radar picks"].set_index("method")
    assert (found["n"] == inside[rows, cols].sum()).all()
    assert found.loc["base", "bias"] == pytest.approx(3, abs=1e-3)
    assert found.loc["other", "rmse"] < 1e-3
    assert found.loc["other", "skill"] == pytest.approx(1, abs=1e-3)


def test_picks_beside_the_domain_or_without_a_value_are_left_out(tmp_path: Path) -> None:
    truth = relief()
    results = judged(tmp_path, truth, {"base": truth}, **PICKS)
    rows, cols = np.nonzero(held(results))
    at = np.array([rows[0], rows[1], -1, 64, rows[2]]), np.array([cols[0], cols[1], 3, 3, 96])
    values = np.array([1, np.nan, 1, 1, 1], np.float32) + truth[rows[0], cols[0]]
    scores = score(results, Observations(Points(*at, values), "bed"))
    assert scores["base"].picks.n == 1
    assert scores["base"].picks.total == pytest.approx(-1, abs=1e-3)


def test_the_result_does_not_depend_on_the_blocks(tmp_path: Path) -> None:
    truth, product = relief(), relief(1)
    truth[9:20, 30:41] = np.nan
    rows, cols = (n.ravel() for n in np.mgrid[0:64:3, 1:96:2])
    points = Observations(Points(rows, cols, relief(2)[rows, cols]), "bed")
    frames = []
    for block in (32, 40, 96):
        given = {"base": product, "other": truth + 1}
        results = judged(tmp_path / str(block), truth, given, **PICKS, grid={"block": block})
        frames.append(table(score(results, points)).drop(columns="seam_ratio"))
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame, frames[0], rtol=1e-9, atol=1e-9)


def test_a_seam_between_blocks_shows(tmp_path: Path) -> None:
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    smooth = (rows**2 + cols**2).astype(np.float32)
    seamed = smooth + 50 * ((rows // 32 + cols // 32) % 2).astype(np.float32)
    results = judged(tmp_path, smooth, {"smooth": smooth, "seamed": seamed})
    found = table(score(results, None)).set_index("method")["seam_ratio"]
    assert found["smooth"] == pytest.approx(1, abs=1e-6)
    assert found["seamed"] > 10


def test_the_table_and_the_figures_are_written(tmp_path: Path) -> None:
    truth = relief()
    results = judged(tmp_path, truth, {"base": truth + 10, "other": truth + 1}, **PICKS)
    row, col = (int(n[0]) // 4 for n in np.nonzero(held(results)))
    results.tiles.mkdir(parents=True)
    index = pd.DataFrame({"row": [row], "col": [col], "split": [2], "valid": [1.0]})
    index.to_parquet(results.tiles / "tiles.parquet")
    manifest = evaluate(results, tmp_path)
    folder = results.folder / "evaluate"
    frame = pd.read_csv(folder / "metrics.csv")
    assert list(frame.columns) == [
        *("method", "where", "skill", "n", "missing", "rmse", "mae", "bias", "nmad", "le90"),
        *("slope_rmse", "roughness", "roughness_truth", "roughness_rmse"),
        *("effective_resolution", "consistency", "seam_ratio"),
    ]
    assert list(frame["method"]) == ["base", "other"] * 2
    assert list(frame["where"]) == ["test cells"] * 2 + ["radar picks"] * 2
    assert set(manifest["variables"]) == {path.name for path in folder.iterdir()}
    page = (folder / "metrics.md").read_text(encoding="utf-8")
    assert "Errors are product minus truth in m, heights above geoid:synthetic." in page
    assert "RMSE of base" in page
    assert {path.name for path in folder.glob("*.png")} == {"panels.png", "map.png", "charts.png"}


def test_picks_from_a_grid_are_refused(tmp_path: Path) -> None:
    bed = {"bed": small.SOURCE["variables"]["bed"]}
    entry = {"reader": {"op": "raster"}, "files": [{"url": "file:x.tif"}], "variables": bed}
    picks = {"source": "grid", "variable": "bed"}
    results = small.tree(tmp_path, sources={"grid": {**small.SOURCE, **entry}}, picks=picks)
    box = results.recipe.layout.fine
    profile = {"height": 64, "width": 96, "count": 1, "dtype": "float32", "driver": "GTiff"}
    place = {"crs": "EPSG:3031", "transform": box.affine}
    with rasterio.open(tmp_path / "x.tif", "w", **profile, **place) as file:
        file.write(relief(), 1)
    with pytest.raises(SourceError, match="reader of grids"):
        Observations.open(results, tmp_path)
