"""Judging days of regions whose fields are known: made by hand, without a workflow."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from tests import days, scenes

from nunatak import dag, day_gallery
from nunatak.crew import ALONE, Crew
from nunatak.day_scores import judge_days
from nunatak.day_sums import squares
from nunatak.day_table import EVERYWHERE, STATIONS, TRUTH
from nunatak.errors import ConfigError, DataError
from nunatak.metrics.ocean import geostrophic
from nunatak.products import Results

FOUND = {**days.found("north", "south"), **days.found("learnt", days=days.DAYS[:1])}
TESTED = [name for name in FOUND if not name.startswith("learnt")]
ASKED = {"velocity": True, "tails": True, "station_days": 3}
BUOY, FLOAT = (3, 20), (12, 30)


def sea(index: int) -> days.Field:
    """The true height of a day: eddies that drift, and land at the left."""
    rows, cols = np.mgrid[: days.ROWS, : days.COLS]
    waves = np.sin((cols - 2 * index) / 4) * np.cos(rows / 5) + 0.3 * np.sin((rows + index) / 1.7)
    return days.coast((0.5 * waves).astype(np.float32))


def given(index: int, method: str) -> days.Field:
    """What a method makes of it: the first is off by 20 cm and more on later days."""
    size = {"bilinear": 0.2 + 0.05 * index, "bicubic": 0.1}[method]
    return sea(index) + days.noise(index + 10 * len(method), size) + np.float32(0.05)


def measured(index: int) -> days.Field:
    """A buoy that always measures, and a float on one day."""
    field = np.full((days.ROWS, days.COLS), np.nan, np.float32)
    field[BUOY] = sea(index)[BUOY] + 0.02 * (index - 1)
    if index == 4:
        field[FLOAT] = sea(index)[FLOAT] - 0.5
    return field


def fill(results: Results) -> Results:
    stations = bool(results.recipe.insitu)
    for index, name in enumerate(TESTED):
        products = {method: given(index, method) for method in results.recipe.products}
        days.write(results, name, sea(index), products, measured(index) if stations else None)
    return results


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, pd.DataFrame, str, Path]:
    folder = tmp_path_factory.mktemp("days")
    results = fill(days.tree(folder, FOUND, **days.STATIONS))
    return (results, *judge_days(results, folder, ALONE, folder, **ASKED), folder)


Judged = tuple[Results, pd.DataFrame, str, Path]


def row(frame: pd.DataFrame, method: str, where: str = EVERYWHERE) -> pd.Series:
    (found,) = (
        r for _, r in frame[(frame["method"] == method) & (frame["where"] == where)].iterrows()
    )
    return found


def errors(method: str, which: slice = slice(None)) -> list[Any]:
    """Errors of some test days, in float64."""
    chosen = list(range(len(TESTED)))[which]
    return [given(i, method).astype(float) - sea(i).astype(float) for i in chosen]


NORTH, SOUTH = slice(0, 3), slice(3, 6)


@pytest.mark.parametrize(
    ("where", "which"), [(EVERYWHERE, slice(None)), ("north", NORTH), ("south", SOUTH)]
)
@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_errors_are_those_of_numpy(judged: Judged, method: str, where: str, which: slice) -> None:
    found = row(judged[1], method, where)
    error = errors(method, which)
    images = [np.sqrt(np.nanmean(e**2)) for e in error]
    first = [np.sqrt(np.nanmean(e**2)) for e in errors("bilinear", which)]
    pooled = np.stack(error)
    assert (found["days"], found["missing"], found["land_values"]) == (len(error), 0, 0)
    assert found["n"] == len(error) * days.ROWS * (days.COLS - 5)
    assert found["mrmse"] == pytest.approx(np.mean(images), rel=1e-6)
    assert found["rmse"] == pytest.approx(np.sqrt(np.nanmean(pooled**2)), rel=1e-6)
    assert found["mae"] == pytest.approx(np.nanmean(np.abs(pooled)), rel=1e-6)
    assert found["bias"] == pytest.approx(np.nanmean(pooled), rel=1e-5)
    assert found["skill"] == pytest.approx(1 - np.mean(images) / np.mean(first), rel=1e-5, abs=1e-9)


def test_tails_are_by_the_percentiles_of_the_truth_of_each_region(judged: Judged) -> None:
    warm, cold = [], []
    for part in (NORTH, SOUTH):
        indices = list(range(len(TESTED)))[part]
        truth = np.stack([sea(i) for i in indices]).astype(float)
        error = np.stack(errors("bicubic", part))
        low, high = np.nanquantile(truth, [0.05, 0.95])
        warm.append(error[truth > high])
        cold.append(error[truth < low])
        where = ("north", "south")[part == SOUTH]
        found = row(judged[1], "bicubic", where)
        assert found["warm_bias"] == pytest.approx(warm[-1].mean(), rel=0.05)
    found = row(judged[1], "bicubic")
    for name, tail in (("warm", warm), ("cold", cold)):
        values = np.concatenate(tail)
        assert found[f"{name}_rmse"] == pytest.approx(np.sqrt(np.mean(values**2)), rel=0.02)
        assert found[f"{name}_bias"] == pytest.approx(values.mean(), rel=0.05)


def test_velocities_are_compared_as_vectors(judged: Judged) -> None:
    results, frame, *_ = judged
    squares = []
    for index, name in enumerate(TESTED):
        place = days.place(results, name)
        u, v = geostrophic(given(index, "bicubic").astype(float), place)
        x, y = geostrophic(sea(index).astype(float), place)
        squares.append((u - x) ** 2 + (v - y) ** 2)
    expected = np.sqrt(np.nanmean(np.stack(squares)))
    assert row(frame, "bicubic")["velocity_rmse"] == pytest.approx(expected, rel=1e-6)


def test_consistency_is_with_the_coarse_field(judged: Judged) -> None:
    scale, squares = days.SCALE, []
    for index in range(len(TESTED)):
        # The coast cuts the second column of coarse cells: three of its four columns are wet.
        wet = errors("bicubic")[index][:, 5:]
        shape = (days.ROWS // scale, scale)
        cut = wet[:, :3].reshape(*shape, 3).mean(axis=(1, 2))
        whole = wet[:, 3:].reshape(*shape, -1, scale).mean(axis=(1, 3))
        squares += [*cut**2, *whole.ravel() ** 2]
    found = row(judged[1], "bicubic")["consistency"]
    assert found == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-5)


def test_stations_are_told_by_their_place_and_the_truth_stands_beside_them(judged: Judged) -> None:
    _, frame, page, _ = judged
    # The buoy is at the same cell of both regions, which makes it two stations.
    left, top = days.NORTH[0], days.NORTH[1] + days.ROWS * days.CELL
    north = f"north: {top - 3.5 * days.CELL:.2f} N {left + 20.5 * days.CELL:.2f} E"
    places = frame[frame["days"].isna()]["where"].unique()
    assert list(places)[:2] == [STATIONS, north]
    assert places[2].startswith("south: ")
    assert " S " in places[2]
    assert len(places) == 3
    gaps = np.array([0.02 * (i - 1) for i in range(6)] + [-0.5])
    own = row(frame, TRUTH, STATIONS)
    assert own["n"] == 7
    assert own["rmse"] == pytest.approx(np.sqrt(np.mean(gaps**2)), rel=1e-4)
    product = np.array([given(i, "bicubic")[BUOY] - measured(i)[BUOY] for i in range(3)], float)
    found = row(frame, "bicubic", north)
    assert found["n"] == 3
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(product**2)), rel=1e-5)
    pairs = [(given(i, "bicubic")[BUOY], measured(i)[BUOY]) for i in range(3)]
    assert found["correlation"] == pytest.approx(np.corrcoef(np.array(pairs).T)[0, 1], rel=1e-4)
    first = row(frame, "bilinear", north)["rmse"]
    assert found["skill"] == pytest.approx(1 - found["rmse"] / first)
    assert "## At stations" in page


def test_the_correlation_of_all_stations_is_the_mean_of_theirs(judged: Judged) -> None:
    """The float, which measured once, has none."""
    frame = judged[1]
    each = frame[(frame["method"] == "bicubic") & frame["days"].isna()].set_index("where")
    own = each["correlation"].drop(STATIONS)
    assert len(own) == 2
    assert each.loc[STATIONS, "correlation"] == pytest.approx(own.mean())
    pairs = [(given(i, "bicubic")[BUOY], measured(i)[BUOY]) for i in range(6)]
    pooled = np.corrcoef(np.array(pairs).T)[0, 1]
    assert each.loc[STATIONS, "correlation"] != pytest.approx(pooled, rel=1e-3)


@pytest.mark.parametrize("method", ["bicubic", TRUTH])
def test_tails_at_stations_are_by_their_own_percentiles(judged: Judged, method: str) -> None:
    """Of three measurements, the highest and the lowest; the float has measured too little."""
    frame = judged[1]
    warm, cold = [], []
    for part, where in ((NORTH, "north"), (SOUTH, "south")):
        days_ = range(6)[part]
        told = np.array([measured(i)[BUOY] for i in days_], float)
        field = [sea(i) if method == TRUTH else given(i, method) for i in days_]
        error = np.array([f[BUOY] for f in field], float) - told
        warm.append(error[told.argmax()])
        cold.append(error[told.argmin()])
        found = frame[(frame["method"] == method) & frame["where"].str.startswith(f"{where}: ")]
        assert found["warm_bias"].item() == pytest.approx(warm[-1])
        assert found["cold_rmse"].item() == pytest.approx(abs(cold[-1]))
    found = row(frame, method, STATIONS)
    for name, tail in (("warm", warm), ("cold", cold)):
        assert found[f"{name}_bias"] == pytest.approx(np.mean(tail))
        assert found[f"{name}_rmse"] == pytest.approx(np.sqrt(np.mean(np.square(tail))))


def test_the_page_says_how_tails_are_taken(judged: Judged) -> None:
    page = judged[2]
    assert "mostly the warm and the cold parts\nof the region" in page
    assert "its own measurements on the test days, if there are 3 or more" in page


@pytest.mark.usefixtures("undrawn")
def test_stations_have_tails_only_if_asked_for_and_where_enough_was_measured(
    judged: Judged, tmp_path: Path
) -> None:
    results = judged[0]
    frame, page = judge(tmp_path, results, station_days=3)
    assert not {"warm_rmse", "cold_bias"} & set(frame.columns)
    assert "percentile" not in page
    frame, _ = judge(tmp_path, results, station_days=4, tails=True)
    assert list(frame[frame["days"].isna()]["where"].unique()) == [STATIONS]
    tails = ["warm_rmse", "warm_bias", "cold_rmse", "cold_bias"]
    found = row(frame, "bicubic", STATIONS)
    assert found[tails].isna().all()
    assert found["n"] == 7
    assert found["correlation"] == pytest.approx(row(judged[1], "bicubic", STATIONS)["correlation"])


def test_the_figures_are_drawn_and_the_page_shows_the_table(judged: Judged) -> None:
    _, frame, page, folder = judged
    for name in ("panels.png", "map.png", "charts.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert "By wavelength" in page
    assert list(frame.columns[:8]) == [
        *("method", "where", "skill", "days", "n", "missing", "land_values", "mrmse"),
    ]
    assert frame[frame["where"] == "north"]["effective_resolution_km"].notna().any()
    counts = frame.groupby("where")["squares"].unique().drop([STATIONS], errors="ignore")
    assert counts[EVERYWHERE] == counts["north"] + counts["south"]
    assert counts["north"] > 0


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the figures, which take most of the time."""
    monkeypatch.setattr(day_gallery, "draw", lambda *_: None)


def judge(folder: Path, results: Results, **args: Any) -> tuple[pd.DataFrame, str]:
    return judge_days(results, folder, ALONE, folder, **args)


def one(folder: Path, truth: days.Field, product: days.Field, **change: Any) -> Results:
    """A tree of one test day, with the same product of both methods."""
    results = days.tree(folder, days.found("north", days=days.DAYS[:1]), **change)
    days.write(
        results, f"north_{days.DAYS[0]}", truth, dict.fromkeys(days.BASE["products"], product)
    )
    return results


class Far(Crew):
    """Works on the days as processes elsewhere do: what goes there and comes back is pickled."""

    def each(self, work: Any, results: Results, items: Any) -> Iterator[Any]:
        for item in items:
            yield pickle.loads(pickle.dumps(work(results, pickle.loads(pickle.dumps(item)))))


@pytest.mark.usefixtures("undrawn")
def test_who_works_on_the_days_makes_no_difference(judged: Judged, tmp_path: Path) -> None:
    results, frame, page, _ = judged
    again, told = judge_days(results, tmp_path, Far(), tmp_path, **ASKED)
    pd.testing.assert_frame_equal(again, frame)
    assert told == page


def test_a_region_on_a_projected_grid_is_judged_in_its_metres(tmp_path: Path) -> None:
    width, height = 20e3 * days.COLS, 20e3 * days.ROWS
    polar = {"crs": "EPSG:3413", "bounds": (-1e6, -2e6, -1e6 + width, -2e6 + height)}
    results = days.tree(tmp_path, {"a": days.scene("north", days.DAYS[0], **polar)})
    fields = {method: given(0, method) for method in results.recipe.products}
    days.write(results, "a", sea(0), fields)
    found = row(judge(tmp_path, results, velocity=True)[0], "bicubic")
    assert 40 < found["effective_resolution_km"] < 320
    assert found["velocity_rmse"] > 0
    assert (tmp_path / "map.png").exists()


@pytest.mark.usefixtures("undrawn")
def test_what_is_not_asked_for_has_no_column(tmp_path: Path) -> None:
    role = {"source": "album", "variables": ["height"], "resolution": days.SCALE}
    degree = days.scene("north", days.DAYS[0], bounds=(100, 0, 100 + days.COLS, days.ROWS))
    change = {"roles": {"other": role}, "coarse": {"role": "other", "degrade": {"op": "pair"}}}
    results = days.tree(tmp_path, {"a": degree}, **change)
    days.write(results, "a", sea(0), dict.fromkeys(results.recipe.products, sea(0)))
    coarse = np.zeros((days.ROWS // days.SCALE, days.COLS // days.SCALE), np.float32)
    days.write_coarse(results.at("a"), coarse)
    frame, page = judge(tmp_path, results)
    assert not {"velocity_rmse", "warm_rmse", "consistency", "correlation"} & set(frame.columns)
    assert "velocity" not in page
    assert "stations" not in page


@pytest.mark.usefixtures("undrawn")
def test_values_on_land_and_missing_cells_are_told(tmp_path: Path) -> None:
    product = sea(0)
    product[2, :2], product[4:6, 20] = 1.0, np.nan
    frame, _ = judge(tmp_path, one(tmp_path, sea(0), product))
    found = row(frame, "bicubic")
    assert (found["land_values"], found["missing"]) == (2, 2)
    assert found["n"] == days.ROWS * (days.COLS - 5) - 2
    assert found["mrmse"] == 0


@pytest.mark.usefixtures("undrawn")
def test_a_gap_of_one_day_is_no_land(tmp_path: Path) -> None:
    known = days.found("north", days=days.DAYS[:2])
    results = days.tree(tmp_path, known)
    for name, hole in zip(known, (True, False), strict=True):
        truth = sea(0)
        truth[10:12, 20] = np.nan if hole else truth[10:12, 20]
        days.write(results, name, truth, dict.fromkeys(results.recipe.products, sea(0)))
    found = row(judge(tmp_path, results)[0], "bicubic")
    assert (found["land_values"], found["missing"]) == (0, 0)
    assert found["n"] == 2 * days.ROWS * (days.COLS - 5) - 2


@pytest.mark.parametrize(("shape", "number"), [((8, 8), 1), ((12, 8), 2), ((9, 21), 10)])
def test_squares_overlap_and_reach_all_edges(shape: tuple[int, int], number: int) -> None:
    field, seen = np.zeros(shape, np.float32), np.zeros(shape, int)
    found = list(squares(field, 8))
    for at in found:
        assert field[at].shape == (8, 8)
        seen[at] += 1
    assert seen.all()
    assert len(found) == number
    field[-1, 0] = np.nan
    assert len(list(squares(field, 8))) == number - 1


def test_a_sea_full_of_islands_has_no_spectra_and_says_so(tmp_path: Path) -> None:
    truth = sea(0)
    truth[::6, ::6] = np.nan
    frame, page = judge(tmp_path, one(tmp_path, truth, truth))
    assert row(frame, "bicubic")[["effective_resolution_km", "error_resolution_km"]].isna().all()
    assert "–" in page
    assert (tmp_path / "charts.png").exists()


@pytest.mark.usefixtures("undrawn")
def test_at_the_equator_there_is_no_velocity(tmp_path: Path) -> None:
    known = days.found("centre", days=days.DAYS[:1])
    results = days.tree(tmp_path, known)
    fields = {method: given(0, method) for method in results.recipe.products}
    days.write(results, next(iter(known)), sea(0), fields)
    wide, none = (
        row(judge(tmp_path, results, velocity=True, equator=e)[0], "bicubic") for e in (5.0, 20.0)
    )
    assert wide["velocity_rmse"] > 0
    assert np.isnan(none["velocity_rmse"])


def test_a_target_that_is_no_height_has_no_velocity(tmp_path: Path) -> None:
    source = {"variables": {"height": {"units": "K"}}}
    change = {"target": {"units": "K"}, "sources": {"album": source}}
    results = days.tree(tmp_path, days.found("north"), **change)
    with pytest.raises(ConfigError, match="velocity of sea surface height in 'K'"):
        judge(tmp_path, results, velocity=True)


def test_without_a_test_day_there_is_nothing_to_judge(tmp_path: Path) -> None:
    results = days.tree(tmp_path, days.found("learnt"))
    with pytest.raises(DataError, match="no day that is mapped is in the test"):
        judge(tmp_path, results)


def test_days_of_a_region_lie_on_one_grid(tmp_path: Path) -> None:
    moved = days.scene("north", days.DAYS[1], bounds=(100, 0, 120, 16))
    known = {"a": days.scene("north", days.DAYS[0]), "b": moved}
    results = days.tree(tmp_path, known)
    for name in known:
        days.write(results, name, sea(0), dict.fromkeys(results.recipe.products, sea(0)))
    with pytest.raises(DataError, match="north: days on different grids"):
        judge(tmp_path, results)


def test_stations_are_in_the_units_of_the_target() -> None:
    source = {"variables": {"at": {"units": "K"}}}
    with pytest.raises(ValidationError, match=r"roles.stations: at is in 'K'"):
        days.recipe(FOUND, sources={"album": source}, **days.STATIONS)


def test_evaluate_reads_all_that_days_are_judged_by() -> None:
    recipe = days.recipe(days.found("north", days=days.DAYS[:1]), **days.STATIONS)
    read = dag.inputs(recipe, "evaluate")
    assert len(read) == len(set(read))
    for product in (
        *("reproject/target", "reproject/stations", "degrade/coarse"),
        *("mosaic/bilinear", "mosaic/bicubic"),
    ):
        at = f"sea/scenes/north_{days.DAYS[0]}/{product}"
        assert {f"{at}/{block.name}" for block in recipe.of(recipe.places[0]).layout.blocks()} <= {
            *read
        }


def test_evaluate_of_fronts_reads_what_is_published_and_the_labels_alone() -> None:
    recipe = scenes.recipe({"a": scenes.scene("2010-07-01")})
    read = dag.inputs(recipe, "evaluate")
    assert {path.split("/a/")[-1].rpartition("/")[0] for path in read[1:]} == {
        *("publish", "reproject/target"),
    }
