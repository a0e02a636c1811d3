"""The recipe of sea-surface height on a synthetic sea, in files of days as a user has them."""

from __future__ import annotations

import datetime as dt
import json
from functools import cache
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
import rasterio
import zarr
from numpy.typing import NDArray

from nunatak.config import merge
from nunatak.content import digest_array
from tests.integration import sea
from tests.integration.world import COMPUTED, Project, Tree

pytestmark = pytest.mark.slow

RUN, SCALE = "ssh", 9
METHODS = ("bicubic", "resac_ssh", "resac", "resac_subpixel", "liif", "jiif", "fno")
GUIDED = ("resac", "resac_subpixel", "jiif", "fno")
# Of all guided methods this one is trained until it has skill.
BEST = "resac_subpixel"
LEARNT = [dt.date(2013, 1, 5) + dt.timedelta(4 * number) for number in range(6)]
VALIDATED = LEARNT[-1] + dt.timedelta(8)
TESTED = [VALIDATED + dt.timedelta(8 + number) for number in range(2)]
ADDED = TESTED[-1] + dt.timedelta(1)
HELD = [*LEARNT, VALIDATED, *TESTED]
BRIEF = {"samples": 16, "batch": 4, "warmup": 4, "validate_every": 16}
LONG = {"samples": 1200, "batch": 8, "warmup": 80, "validate_every": 400, "lr": 3e-3, "ema": 0.95}
POINTS: dict[str, Any] = {
    "model": {"args": {"width": 8, "blocks": 1, "hidden": [16, 16]}},
    "train": {**BRIEF, "task": {"args": {"points": 64}}},
}
SET: dict[str, Any] = {
    "target": {"vertical_datum": "geoid:synthetic"},
    "grid": {"scale": SCALE, "block": 144},
    "scenes": {"source": "heights", "mapped": None, "since": str(TESTED[0])},
    "roles": {"target": {"source": "heights"}, "sst": {"source": "temperatures"}},
    "split": {
        "by": {
            "op": "days",
            "args": {
                "test": [[str(TESTED[0]), str(ADDED)]],
                "validation": [[str(VALIDATED), str(VALIDATED)]],
                "gap": 5,
            },
        }
    },
    "tiles": {"size": 6, "stride": 1, "context": 2},
    "methods": {
        "resac_ssh": {"train": BRIEF},
        "resac": {"train": BRIEF},
        BEST: {"model": {"args": {"width": 32, "depth": 1}}, "train": LONG},
        "liif": POINTS,
        "jiif": POINTS,
        "fno": {"model": {"args": {"width": 8, "modes": 6, "layers": 2}}, "train": BRIEF},
    },
    "evaluate": {"spectrum": 54},
}


@pytest.fixture(scope="module")
def mapped(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A finished tree of nine days, the last two in the test; leave it as it is."""
    folder = tmp_path_factory.mktemp("sea")
    other = project.edited(folder / "project", "stages/scan")
    with (other.folder / "config" / "sources.yaml").open("a", encoding="utf-8") as catalogue:
        catalogue.write(sea.SOURCES)
    tree = Tree(folder / "tree", other)
    write(tree, HELD)
    tree.configure({"recipe": RUN, "set": SET})
    done = tree.run()
    assert done.returncode == 0, done.stdout
    return tree


def write(tree: Tree, dates: list[dt.date]) -> None:
    """Write what there is of some days."""
    for date in dates:
        sea.write_heights(data(tree), date)
    sea.write_temperatures(data(tree), dates)


def data(tree: Tree) -> Path:
    """The data root."""
    return tree.folder / "data"


def scene(date: dt.date) -> str:
    """The name of a day's scene."""
    return f"strait_{date}"


@cache
def truth(date: dt.date) -> NDArray[np.float32]:
    """The height of the sea (m) on a day, north-up."""
    return sea.day(date).ssh


def product(tree: Tree, date: dt.date, method: str) -> NDArray[np.float32]:
    """What was published of a day (m)."""
    path = place(tree, date) / "publish" / f"{method}.tif"
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 4326
        np.testing.assert_allclose(file.bounds, sea.BOX)
        return np.asarray(file.read(1, masked=True).filled(np.nan), np.float32)


def place(tree: Tree, date: dt.date) -> Path:
    """The folder of a day's results."""
    return tree.results / RUN / "scenes" / scene(date)


def stored(tree: Tree, date: dt.date, name: str) -> NDArray[np.float32]:
    """A field of a day as the workflow holds it: ``reproject/sst/sst``."""
    stage, step, variable = name.split("/")
    array = zarr.open_array(place(tree, date) / stage / f"{step}.zarr" / variable, mode="r")
    return np.asarray(array[...], np.float32)


def covered(date: dt.date) -> NDArray[np.bool_]:
    """Cells of sea whose coarse cell is half sea at least."""
    sea_cells = np.isfinite(truth(date))
    rows, cols = (n // SCALE for n in sea_cells.shape)
    share = sea_cells.reshape(rows, SCALE, cols, SCALE).mean(axis=(1, 3))
    return sea_cells & (share >= 0.5).repeat(SCALE, 0).repeat(SCALE, 1)


def metrics(tree: Tree) -> pd.DataFrame:
    """The table of all test days, by method."""
    frame = pd.read_csv(tree.results / RUN / "evaluate" / "metrics.csv")
    return frame[frame["where"] == "test days"].set_index("method")


# What comes of it


def test_every_method_is_in_the_table_and_none_says_anything_of_land(mapped: Tree) -> None:
    frame = metrics(mapped)
    assert tuple(frame.index) == METHODS
    assert (frame["days"] == len(TESTED)).all()
    assert (frame["land_values"] == 0).all()
    cells = sum(int(covered(date).sum()) for date in TESTED)
    sea_cells = sum(int(np.isfinite(truth(date)).sum()) for date in TESTED)
    assert 0 < sea_cells - cells < 0.03 * sea_cells
    assert (frame["n"] == cells).all()
    assert (frame["missing"] == sea_cells - cells).all()
    figures = ["mrmse", "rmse", "mae", "bias", "velocity_rmse", "consistency"]
    assert np.isfinite(frame[figures].to_numpy()).all()


@pytest.mark.parametrize("method", METHODS)
def test_products_lie_on_the_sea_and_on_all_of_it_that_is_known(mapped: Tree, method: str) -> None:
    for date in TESTED:
        known = np.isfinite(product(mapped, date, method))
        np.testing.assert_array_equal(known, covered(date))


def test_the_guided_cascade_beats_bicubic_by_a_quarter_and_resolves_more(mapped: Tree) -> None:
    frame = metrics(mapped)
    best, usual = frame.loc[BEST], frame.loc["bicubic"]
    assert best["rmse"] < 0.75 * usual["rmse"]
    assert best["mrmse"] < 0.75 * usual["mrmse"]
    assert best["effective_resolution_km"] < usual["effective_resolution_km"]
    assert best["velocity_rmse"] < usual["velocity_rmse"]


def test_the_errors_of_the_table_are_those_of_the_products(mapped: Tree) -> None:
    frame = metrics(mapped)
    for method in ("bicubic", BEST):
        apart = [product(mapped, date, method) - truth(date) for date in TESTED]
        by_day = [float(np.sqrt(np.nanmean(each.astype(float) ** 2))) for each in apart]
        assert frame.loc[method, "mrmse"] == pytest.approx(np.mean(by_day), rel=1e-4)


def test_figures_are_drawn(mapped: Tree) -> None:
    learnt = [method for method in METHODS if method != "bicubic"]
    names = ["evaluate/panels", "evaluate/map", "evaluate/charts", "tile/split"]
    for name in (*names, *(f"train/{method}/0/loss" for method in learnt)):
        path = mapped.results / RUN / f"{name}.png"
        assert path.read_bytes().startswith(b"\x89PNG"), name


def test_days_of_two_splits_lie_apart(mapped: Tree) -> None:
    told = json.loads((mapped.results / RUN / "tile" / "overlap.json").read_text())
    assert told["scenes"] == {
        "training": {"strait": len(LEARNT)},
        "validation": {"strait": 1},
        "test": {"strait": len(TESTED)},
    }
    assert told["days"] == {
        "required": 6,
        "training-validation": 8,
        "training-test": 16,
        "validation-test": 8,
    }


def test_every_day_has_the_height_and_the_guide_of_that_day(mapped: Tree) -> None:
    for date in HELD:
        day = sea.day(date)
        np.testing.assert_array_equal(stored(mapped, date, "reproject/target/adt"), day.ssh)
        np.testing.assert_array_equal(stored(mapped, date, "reproject/sst/sst"), day.sst)
    guides = {digest_array(stored(mapped, date, "reproject/sst/sst")) for date in HELD}
    assert len(guides) == len(HELD)


# Across the date line


def steps(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """The typical step from each coarse column to the next."""
    found: NDArray[np.float32] = np.sqrt(np.nanmean(np.diff(field, axis=1) ** 2, axis=0))
    return found[SCALE - 1 :: SCALE]


@pytest.mark.parametrize("method", METHODS)
def test_a_product_steps_no_more_at_the_date_line_than_elsewhere(mapped: Tree, method: str) -> None:
    at = round((180 - sea.LEFT) * sea.CELLS) // SCALE - 1
    for date in TESTED:
        given = product(mapped, date, method)
        # The sea's own steps aside: they differ from eddy to eddy.
        found = steps(given - truth(date))
        assert found[at] < 1.5 * np.median(np.delete(found, at))
        given[:, (at + 1) * SCALE :] += 0.15
        assert steps(given - truth(date))[at] > 1.5 * np.median(np.delete(found, at))


def test_longitudes_below_minus_180_tell_of_the_same_sea(mapped: Tree, tmp_path: Path) -> None:
    tree, date = Tree(tmp_path / "tree", mapped.project), TESTED[0]
    write(tree, [date])
    source = "heights_from_the_east"
    change = {"scenes": {"source": source}, "roles": {"target": {"source": source}}}
    tree.configure({"recipe": RUN, "set": merge(SET, change)})
    fields = ("reproject/target/adt", "reproject/sst/sst", "degrade/coarse/ssh")
    folder = place(tree, date).relative_to(tree.folder)
    done = tree.run(*(str(folder / Path(field).parent / "0_0.json") for field in fields))
    assert done.returncode == 0, done.stdout
    for field in fields:
        np.testing.assert_array_equal(stored(tree, date, field), stored(mapped, date, field))


# What follows from what


def again(tree: Tree) -> set[str]:
    """What a run computes."""
    done = tree.run()
    assert done.returncode == 0, done.stdout
    return set(tree.told(COMPUTED))


def day_steps(date: dt.date, *stages: str) -> set[str]:
    """Some steps of a day."""
    return {f"{RUN}/scenes/{scene(date)}/{stage}" for stage in stages}


def made(date: dt.date, methods: tuple[str, ...]) -> set[str]:
    """The steps that make the products of some methods."""
    blocks = [f"{step}/0_0" for m in methods for step in (f"infer/{m}/0", f"mosaic/{m}")]
    return day_steps(date, *blocks, *(f"publish/{method}.provenance" for method in methods))


HEIGHTS, GUIDE = ("reproject/target/0_0", "degrade/coarse/0_0"), "reproject/sst/0_0"
WHOLE = {
    "download/heights",
    "download/temperatures",
    f"{RUN}/scan/heights",
    f"{RUN}/scan/temperatures",
    f"{RUN}/tile/manifest",
    f"{RUN}/evaluate/manifest",
}


def change(path: Path, variable: str, index: int, by: float) -> None:
    """Raise one value in a file, in the middle of the box."""
    with netCDF4.Dataset(path, "r+") as file:
        column = round((182 - float(file["longitude"][0])) % 360 * sea.CELLS)
        row = file[variable].shape[1] // 2
        file[variable][index, row, column] = float(file[variable][index, row, column]) + by


def test_a_new_day_is_computed_alone(mapped: Tree, tmp_path: Path) -> None:
    tree = mapped.copy(tmp_path / "tree")
    write_anew(tree, [*HELD, ADDED])
    assert again(tree) == WHOLE | day_steps(ADDED, *HEIGHTS, GUIDE) | made(ADDED, METHODS)
    assert (metrics(tree)["days"] == len(TESTED) + 1).all()
    assert again(tree) == set()


def test_a_changed_value_redoes_its_day_alone_and_test_days_are_never_learnt_from(
    mapped: Tree, tmp_path: Path
) -> None:
    tree, (one, other) = mapped.copy(tmp_path / "tree"), TESTED
    write_anew(tree, HELD)
    change(sea.heights(data(tree), one), "adt", 0, 0.5)
    change(sea.temperatures(data(tree)), "analysed_sst", HELD.index(other), 2.0)
    found = again(tree)
    assert not [step for step in found if "/train/" in step]
    assert {step for step in found if f"/{scene(one)}/" in step} == (
        day_steps(one, *HEIGHTS) | made(one, METHODS)
    )
    # Of a method without the guide the products stay; their records name the guide's digest.
    told = [f"publish/{method}.provenance" for method in METHODS]
    assert {step for step in found if f"/{scene(other)}/" in step} == (
        made(other, GUIDED) | day_steps(other, GUIDE, *told)
    )
    assert {step for step in found if "/scenes/" not in step} == WHOLE


def write_anew(tree: Tree, dates: list[dt.date]) -> None:
    """Write files in place of those that a copied tree shares with the first one."""
    for path in data(tree).rglob("*.nc"):
        path.unlink()
    write(tree, dates)


# Any scale


def test_a_map_of_any_scale_is_made_when_it_is_asked_for_and_once(
    mapped: Tree, tmp_path: Path
) -> None:
    tree, date = mapped.copy(tmp_path / "tree"), TESTED[0]
    path = place(tree, date) / "rescale" / "liif" / "13.5.tif"
    wanted = str(path.relative_to(tree.folder))
    done = tree.run(wanted)
    assert done.returncode == 0, done.stdout
    assert tree.told(COMPUTED) == [f"{RUN}/scenes/{scene(date)}/rescale/liif/13.5.provenance"]
    with rasterio.open(path) as file:
        assert file.shape == (108, 216)
        np.testing.assert_allclose(file.bounds, sea.BOX)
        values = file.read(1, masked=True).filled(np.nan)
    # The centre of cell i lies at (i + 1/2) / 1.5 fine cells.
    owners = [(2 * np.arange(n) + 1) // 3 for n in values.shape]
    np.testing.assert_array_equal(np.isfinite(values), covered(date)[np.ix_(*owners)])
    done = tree.run(wanted)
    assert done.returncode == 0, done.stdout
    assert not tree.told(COMPUTED)
