"""The recipe of the sea's temperature, its stations and its forecast, on files of days."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
from numpy.typing import NDArray

from nunatak.sources import ocean
from tests.integration import waters
from tests.integration.world import COMPUTED, Project, Tree

pytestmark = pytest.mark.slow

RUN, METHODS = "sst", ("bilinear", "corrected", "l1", "wgan_frechet")
# Through a year: z-scores of one season would mean nothing in another.
LEARNT = [dt.date(2012, 2, 12) + dt.timedelta(50 * n) for n in range(6)]
CHECKED = [dt.date(2012, 12, 20)]
TESTED = [dt.date(2013, 2, 1), dt.date(2013, 2, 2)]
LATER = dt.date(2013, 2, 3)
PAST = sorted({day - dt.timedelta(n) for day in [*LEARNT, *CHECKED, *TESTED] for n in range(7)})
WEIGHTLESS = ("persistence", "climatology", "anomaly_persistence")
TRAIN = {"samples": 320, "batch": 4, "warmup": 10, "validate_every": 160, "lr": 2e-3, "ema": 0.9}
GENERATOR = {"model": {"args": {"width": 4}}, "train": TRAIN}
SET: dict[str, Any] = {
    "scenes": {"source": "fine_days", "since": "2013-02-01", "until": None},
    "roles": {
        "target": {"source": "fine_days"},
        "past": {"source": "coarse_days"},
        "stations": {"source": "buoys"},
    },
    "split": {
        "by": {
            "args": {
                "test": [["2013-02-01", "2013-02-03"]],
                "validation": [["2012-12-20", "2012-12-20"]],
            }
        }
    },
    "tiles": {"size": 8, "stride": 4},
    "methods": {
        "l1": GENERATOR,
        "wgan_mse": None,
        "wgan_gumbel": None,
        "wgan_frechet": {
            **GENERATOR,
            "train": {**TRAIN, "task": {"args": {"critic_args": {"width": 4}}}},
        },
    },
    "products": list(METHODS),
    "infer": {"window": 8, "stride": 4},
    "evaluate": {"judge": {"args": {"station_days": 1}}, "spectrum": 20},
    "forecast": {
        "source": "moorings",
        "split": {
            "train": [["2013-01-01", "2014-12-31"]],
            "validation": [["2015-01-22", "2015-04-30"]],
            "test": [["2015-05-22", "2016-05-21"]],
        },
        "methods": {
            "lstm": {
                "forecaster": {"args": {"width": 16, "head": 16}},
                "train": {"samples": 1600, "validate_every": 400},
            },
            "transformer": None,
            "lstm_gumbel": None,
            "lstm_frechet": None,
        },
    },
}


def prepared(tree: Tree, years: int = 0) -> Tree:
    """Files and a configuration of a run, the coarse product some years later than it is."""
    data = tree.folder / "data"
    for day in (*LEARNT, *CHECKED, *TESTED):
        waters.write_fine(data, day)
    for day in PAST:
        waters.write_coarse(data, day, day.replace(year=day.year + years))
    waters.write_buoys(data, [*LEARNT, *CHECKED, *TESTED, LATER])
    tree.configure({"recipe": RUN, "set": SET})
    return tree


@pytest.fixture(scope="module")
def ocean_project(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project, whose catalogue has the files of days."""
    other = project.edited(tmp_path_factory.mktemp("sea") / "project", "stages/scan")
    with (other.folder / "config" / "sources.yaml").open("a", encoding="utf-8") as catalogue:
        catalogue.write(waters.SOURCES)
    return other


@pytest.fixture(scope="module")
def mapped(ocean_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A finished tree of a sea of nine days; leave it as it is."""
    tree = prepared(Tree(tmp_path_factory.mktemp("days") / "tree", ocean_project))
    done = tree.run()
    assert done.returncode == 0, done.stdout
    return tree


def name(day: dt.date) -> str:
    """The name of a day's scene."""
    return f"line_{day}"


def metrics(tree: Tree) -> pd.DataFrame:
    """The table of the maps."""
    return pd.read_csv(tree.results / RUN / "evaluate" / "metrics.csv")


def product(tree: Tree, day: dt.date, method: str) -> NDArray[np.float32]:
    """What is published of a day, NaN where it is missing."""
    path = tree.results / RUN / "scenes" / name(day) / "publish" / f"{method}.tif"
    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        np.testing.assert_allclose(file.bounds, waters.BOX)
        field = file.read(1)
        return np.where(field == file.nodata, np.float32(np.nan), field)


def test_every_baseline_is_in_the_table_with_its_tails(mapped: Tree) -> None:
    frame = metrics(mapped)
    cells = frame[frame["where"].isin(["test days", "line"])]
    for _, part in cells.groupby("where"):
        assert list(part["method"]) == list(METHODS)
    of = frame[frame["where"] == "test days"].set_index("method")
    assert (of["days"] == len(TESTED)).all()
    assert (of["land_values"] == 0).all()
    assert of[["warm_rmse", "cold_rmse"]].notna().all(axis=None)
    assert abs(of.loc["corrected", "bias"]) < abs(of.loc["bilinear", "bias"])
    assert of.loc["l1", "mrmse"] < of.loc["bilinear", "mrmse"]
    assert of.loc["wgan_frechet", "mrmse"] < 1


def test_the_figures_follow_from_what_is_published(mapped: Tree) -> None:
    of = metrics(mapped).set_index(["where", "method"])
    truth = np.stack([ocean.analysis(waters.SEA, day, waters.CELLS) for day in TESTED])
    for method in METHODS:
        fields = np.stack([product(mapped, day, method) for day in TESTED])
        assert (np.isnan(fields) >= np.isnan(truth)).all(), "no value on land"
        error = np.sqrt(np.nanmean(np.square(fields - truth), axis=(1, 2)))
        assert of.loc[("test days", method), "mrmse"] == pytest.approx(error.mean(), rel=1e-3)


def test_stations_that_miss_a_day_are_in_no_figure_of_it(mapped: Tree) -> None:
    frame, told = (
        metrics(mapped),
        [ocean.measured(waters.SEA, day, waters.CELLS, waters.STATIONS) for day in TESTED],
    )
    counts = np.isfinite(told).sum(axis=0)
    assert set(counts) == {1, 2}, "some miss a day"
    of = frame[frame["where"] == "stations"].set_index("method")
    assert set(of.index) == {*METHODS, "truth"}
    assert set(of["n"] + of["missing"]) == {counts.sum()}
    assert of.loc["truth", "rmse"] > 0.05
    each = frame[frame["where"].str.startswith("line: ") & (frame["method"] == "truth")]
    assert sorted(each["n"] + each["missing"]) == sorted(counts)
    assert of["rmse"].idxmin() == "truth"
    tails = ["warm_rmse", "warm_bias", "cold_rmse", "cold_bias"]
    assert of[tails].notna().all(axis=None)
    told_twice = each["n"] + each["missing"] == 2
    assert each.loc[told_twice, tails].notna().all(axis=None)
    assert each.loc[~told_twice, tails].isna().all(axis=None), "one measurement is no extreme"


def test_forecasts_are_told_by_lead_beside_persistence_and_climatology(mapped: Tree) -> None:
    frame = pd.read_csv(mapped.results / RUN / "evaluate" / "forecast.csv")
    assert set(frame["method"]) == {*WEIGHTLESS, "lstm"}
    assert set(frame["where"]) == {"all", "warm", "cold"}
    whole = frame[(frame["station"] == "all") & (frame["where"] == "all")]
    leads = whole.pivot(index="lead", columns="method", values="rmse")
    assert set(leads.index) == {"all", *map(str, range(1, 8))}
    assert leads.loc["1", "persistence"] < leads.loc["7", "persistence"]
    assert leads.loc["all", "lstm"] < leads.loc["all", "climatology"]
    assert set(whole.groupby("lead")["n"].nunique()) == {1}, "all forecast the same days"


def test_figures_are_drawn_and_splits_told(mapped: Tree) -> None:
    folder = mapped.results / RUN
    names = ("panels", "map", "charts", "forecast")
    trained = (f"train/{method}/0/loss" for method in ("l1", "wgan_frechet"))
    for path in (*(f"evaluate/{name}" for name in names), "tile/split", *trained):
        assert (folder / f"{path}.png").read_bytes().startswith(b"\x89PNG"), path
    told = json.loads((folder / "tile" / "overlap.json").read_text(encoding="utf-8"))
    assert told["days"]["training-validation"] > told["days"]["required"] == 8


def again(tree: Tree) -> set[str]:
    """What a run computes."""
    done = tree.run()
    assert done.returncode == 0, done.stdout
    return set(tree.told(COMPUTED))


def chain(
    day: dt.date, *stages: str, roles: tuple[str, ...] = ("target", "past", "stations")
) -> set[str]:
    """The steps of a day."""
    paths = {
        "reproject": [f"reproject/{role}/0_0" for role in roles],
        "degrade": ["degrade/coarse/0_0"],
        "infer": [f"infer/{method}/0/0_0" for method in METHODS],
        "mosaic": [f"mosaic/{method}/0_0" for method in METHODS],
        "publish": [f"publish/{method}.provenance" for method in METHODS],
    }
    return {f"{RUN}/scenes/{name(day)}/{path}" for stage in stages for path in paths[stage]}


def whole(*sources: str) -> set[str]:
    """The steps of all days together that read what changed of some sources."""
    return {f"{RUN}/tile/manifest", f"{RUN}/evaluate/manifest"} | {
        path for source in sources for path in (f"download/{source}", f"{RUN}/scan/{source}")
    }


def test_a_new_day_computes_that_day_alone(mapped: Tree, tmp_path: Path) -> None:
    tree = mapped.copy(tmp_path / "tree")
    waters.write_fine(tree.folder / "data", LATER)
    waters.write_coarse(tree.folder / "data", LATER)
    made = chain(LATER, "reproject", "degrade", "infer", "mosaic", "publish")
    scanned = {f"{RUN}/scan/buoys"}
    assert again(tree) == made | scanned | whole("fine_days", "coarse_days")


def test_a_changed_day_reaches_the_days_that_look_back_to_it(mapped: Tree, tmp_path: Path) -> None:
    tree = mapped.copy(tmp_path / "tree")
    waters.write_coarse(tree.folder / "data", TESTED[0] - dt.timedelta(6), by=0.5)
    steps = again(tree)
    assert steps >= chain(TESTED[0], "infer", "publish") | chain(
        TESTED[0], "reproject", roles=("past",)
    )
    assert not {step for step in steps if name(TESTED[0]) not in step} - whole("coarse_days")


def test_products_of_other_years_are_refused_before_any_job(
    ocean_project: Project, tmp_path: Path
) -> None:
    tree = prepared(Tree(tmp_path / "tree", ocean_project), years=1)
    done = tree.run()
    assert done.returncode != 0
    assert "2013-02-06 to 2014-02-02 beside 2012-02-12 to 2013-02-02" in done.stdout
    assert "joined by date" in done.stdout
    assert not tree.told(COMPUTED)
