"""The recipe of calving fronts on synthetic glaciers, in files as a user has them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
from numpy.typing import NDArray
from scipy.spatial import KDTree

from nunatak.ops.series import trend
from nunatak.sources.glacier import Glacier
from tests.integration.album import SEED, SOURCE, Taken
from tests.integration.world import COMPUTED, Project, Tree

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]

RUN, METHODS = "calving_front", ("aspp_unet", "two_head")
LEARNT = [
    *(Taken(0, number, "tif" if number % 2 else "png") for number in range(4)),
    *(Taken(1, number) for number in range(2, 6)),
]
LOST = Taken(2, 0, located=False)
UNLABELLED = Taken(2, 3, labelled=False)
KNOWN = [Taken(2, 5), Taken(2, 2, "tif"), Taken(2, 4), Taken(2, 1, "tif")]
MAPPED = [LOST, UNLABELLED, *KNOWN]
LATER = Taken(2, 6)
GLACIER = Glacier(SEED, 2)
TRAIN = {"samples": 320, "batch": 8, "warmup": 40, "validate_every": 160, "lr": 3e-3, "ema": 0.5}
SET: dict[str, Any] = {
    "grid": {"block": 272},
    "scenes": {"source": "glaciers", "mapped": ["glacier2"]},
    "roles": {"target": {"source": "glaciers"}},
    "split": {"by": {"args": {"test": ["glacier2"], "validation_from": "2013-01-01"}}},
    "tiles": {"size": 64, "stride": 40},
    "methods": {method: {"model": {"args": {"width": 4}}, "train": TRAIN} for method in METHODS},
    "infer": {"window": 96, "stride": 48},
    "publish": {"args": {"shortest_cells": 10}},
    "series": {
        "group": "glacier2",
        "line": GLACIER.centre[::20].round(1).tolist(),
        "within": None,
    },
}


@pytest.fixture(scope="module")
def mapped(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A finished tree of three glaciers; leave it as it is."""
    folder = tmp_path_factory.mktemp("fronts")
    other = project.edited(folder / "project", "stages/scan")
    with (other.folder / "config" / "sources.yaml").open("a", encoding="utf-8") as catalogue:
        catalogue.write(SOURCE)
    tree = Tree(folder / "tree", other)
    for scene in (*LEARNT, *MAPPED):
        scene.write(album(tree))
    tree.configure({"recipe": RUN, "set": SET})
    done = tree.run()
    assert done.returncode == 0, done.stdout
    return tree


def album(tree: Tree) -> Path:
    """The folder of the scenes."""
    return tree.folder / "data" / "glaciers"


def place(tree: Tree, scene: Taken) -> Path:
    """The folder of a scene's results."""
    return tree.results / RUN / "scenes" / scene.name


def record(tree: Tree, scene: Taken, method: str) -> dict[str, Any]:
    """The provenance record of a product."""
    path = place(tree, scene) / "publish" / f"{method}.provenance.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def diagonal(scene: Taken) -> float:
    """Of a cell (m)."""
    left, bottom, right, top = scene.acquisition.bounds
    rows, cols = scene.acquisition.shape
    return float(np.hypot((right - left) / cols, (top - bottom) / rows))


@pytest.mark.parametrize("scene", MAPPED, ids=lambda scene: scene.name)
def test_zones_lie_where_the_scene_lies_and_where_it_lies_nowhere_they_say_so(
    mapped: Tree, scene: Taken
) -> None:
    taken = scene.acquisition
    with rasterio.open(album(mapped) / "images" / f"{scene.name}.{scene.suffix}") as image:
        seen = image.read(1) > 0
    with rasterio.open(place(mapped, scene) / "publish" / "two_head.tif") as file:
        codes, tags = file.read(1), file.tags()
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (file.shape, file.dtypes[0], file.nodata) == (taken.shape, "uint8", 255)
        assert tags["CODES"] == "0 no_data, 1 rock, 2 glacier, 3 ocean"
        if scene.located:
            assert (file.crs.to_epsg(), tags["GEOREFERENCE"]) == (3031, "EPSG:3031")
            np.testing.assert_allclose(file.bounds, taken.bounds)
        else:
            assert file.crs is None
            assert file.transform.is_identity
            assert tags["GEOREFERENCE"].startswith("none")
    assert set(np.unique(codes[seen])) <= {0, 1, 2, 3}
    assert (codes[~seen] == 255).all()
    with rasterio.open(place(mapped, scene) / "publish" / "aspp_unet.tif") as file:
        assert set(np.unique(file.read(1))) <= {0, 1, 255}
        assert file.tags()["CODES"] == "0 no front, 1 front"
    units = {record(mapped, scene, method)["front"]["units"] for method in METHODS}
    assert units == {"m" if scene.located else "cells"}


def test_a_product_tells_which_scene_and_model_it_is_from(mapped: Tree) -> None:
    found = [record(mapped, scene, "two_head") for scene in MAPPED]
    assert [each["sources"]["glaciers"]["scene"] for each in found] == [s.name for s in MAPPED]
    assert len({each["sources"]["glaciers"]["digest"] for each in found}) == len(MAPPED)
    assert len({each["models"][0]["model"] for each in found}) == 1
    assert {each["sources"]["glaciers"]["licence"] for each in found} == {"CC0-1.0"}
    kept = (mapped.results / RUN / "train").rglob("*.pt")
    assert sorted(path.name for path in kept) == ["best.pt"] * 2 + ["last.pt"] * 2


def test_fronts_are_dated_lines_in_layers_by_crs(mapped: Tree) -> None:
    path = mapped.results / RUN / "series" / "fronts.gpkg"
    layers = dict(pyogrio.list_layers(path))
    assert layers == {"fronts_epsg_3031": "LineString", "fronts_no_crs": "LineString"}
    meta, _, _, columns = pyogrio.raw.read(path, layer="fronts_epsg_3031")
    known = dict(zip(meta["fields"], columns, strict=True))
    true = known["source"] == "true"
    assert set(known["scene"][true]) == {scene.name for scene in KNOWN}
    days = dict(zip(known["scene"], known["date"].astype(str), strict=True))
    assert all(days[scene.name] == str(scene.acquisition.date) for scene in KNOWN)
    assert set(known["units"]) == {"m"}
    assert known["length"][true & (known["part"] == 0)].min() > 2000
    meta, _, _, columns = pyogrio.raw.read(path, layer="fronts_no_crs")
    known = dict(zip(meta["fields"], columns, strict=True))
    assert set(known["scene"]) == {LOST.name}
    assert set(known["units"]) == {"cells"}


def test_the_true_series_reads_the_known_retreat_in_metres(mapped: Tree) -> None:
    frame = pd.read_csv(mapped.results / RUN / "series" / "series.csv", parse_dates=["date"])
    assert set(frame["source"]) == {"true", *METHODS}
    true = frame[(frame["source"] == "true") & (frame["units"] == "m")].set_index("scene")
    assert set(true.index) == {scene.name for scene in KNOWN}
    for scene in KNOWN:
        known = GLACIER.position(scene.acquisition.date)
        assert true.loc[scene.name, "position"] == pytest.approx(known, abs=1.5 * diagonal(scene))
    first, last = (GLACIER.position(s.acquisition.date) for s in (KNOWN[0], KNOWN[-1]))
    change = true.loc[KNOWN[-1].name, "position_change"]
    assert change == pytest.approx(last - first, abs=3 * max(map(diagonal, KNOWN)))
    rate = trend(true["date"], true["position"].to_numpy())
    assert rate == pytest.approx(-GLACIER.rate, abs=60)
    seen = true["area_change"].dropna()
    assert len(seen) > 2
    assert seen.iloc[-1] < -1e6
    lost = frame[frame["scene"] == LOST.name]
    assert set(lost["units"]) == {"cells"}
    assert lost["position"].isna().all()
    assert lost["area_change"].dropna().eq(0).all(), "cells are not set against square metres"


def test_metrics_are_told_by_glacier_sensor_and_season_beside_the_trivial(mapped: Tree) -> None:
    frame = pd.read_csv(mapped.results / RUN / "evaluate" / "metrics.csv")
    metres, cells = (frame[frame["units"] == units] for units in ("m", "cells"))
    assert set(metres["where"]) == {
        *("test scenes", "glacier2", "summer", "winter"),
        *(scene.acquisition.sensor for scene in KNOWN),
    }
    assert set(cells["where"]) == {"test scenes", "glacier2", "RSAT", "summer"}
    assert list(frame["method"][:3]) == ["background alone", *METHODS]
    of = metres[metres["where"] == "test scenes"].set_index("method")
    assert (of["images"] == len(KNOWN)).all()
    trivial = of.loc["background alone"]
    assert trivial["missed"] == len(KNOWN)
    assert np.isnan(trivial["mde"])
    assert trivial["box_accuracy"] == trivial["box_background"] > 0.5
    assert trivial["iou_ocean"] == 0
    assert of.loc["two_head", "mean_iou"] > trivial["mean_iou"]
    assert np.isnan(of.loc["aspp_unet", "mean_iou"])


def test_the_mean_distance_error_is_that_of_the_published_front_in_metres(mapped: Tree) -> None:
    (scene,) = (s for s in KNOWN if s.acquisition.sensor == "PALSAR")
    frame = pd.read_csv(mapped.results / RUN / "evaluate" / "metrics.csv")
    row = frame[(frame["where"] == "PALSAR") & (frame["method"] == "aspp_unet")].iloc[0]
    given = np.concatenate(record(mapped, scene, "aspp_unet")["front"]["lines"])
    with rasterio.open(album(mapped) / "fronts" / f"{scene.name}_front.png") as file:
        rows, cols = np.nonzero(file.read(1))
    left, bottom, right, top = scene.acquisition.bounds
    height, width = scene.acquisition.shape
    x = left + (cols + 0.5) * (right - left) / width
    y = top - (rows + 0.5) * (top - bottom) / height
    true = np.stack([x, y], axis=1)
    apart = [KDTree(a).query(b)[0] for a, b in ((true, given), (given, true))]
    assert row["mde"] == pytest.approx(np.concatenate(apart).mean(), abs=diagonal(scene))
    assert row["mde"] > 0


def test_figures_are_drawn(mapped: Tree) -> None:
    folder = mapped.results / RUN
    names = ("series/series", "series/map", "evaluate/panels", "evaluate/map", "evaluate/charts")
    for name in (*names, "tile/split", *(f"train/{m}/0/loss" for m in METHODS)):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
    used = json.loads((folder / "tile" / "overlap.json").read_text())["scenes"]
    assert used["test"] == {"glacier2": 5}, "the scene without labels has no tile"
    assert used["training"].keys() == used["validation"].keys() == {"glacier0", "glacier1"}


def test_commands_know_the_scenes(mapped: Tree) -> None:
    assert any(line.startswith("everything is done") for line in mapped.status())
    checked = mapped.nunatak("verify")
    assert checked.returncode == 0, checked.stdout
    assert "no faults" in checked.stdout
    told = mapped.nunatak("costs", "--configfile", "config.yaml", "--csv", "costs.csv")
    assert told.returncode == 0, told.stdout
    costs = pd.read_csv(mapped.folder / "costs.csv").set_index("stage")
    assert set(costs["run"]) == {"(shared)", RUN}
    assert costs.loc["publish", "steps"] == len(MAPPED) * len(METHODS)
    assert costs.loc["publish", "disk_bytes"] > 1e4
    left = mapped.nunatak("gc", "--configfile", "config.yaml")
    assert left.stdout.strip() == "nothing to remove"


def again(tree: Tree) -> set[str]:
    """What a run computes."""
    done = tree.run()
    assert done.returncode == 0, done.stdout
    return set(tree.told(COMPUTED))


def chain(scene: Taken, blocks: list[str], *stages: str) -> set[str]:
    """The steps of a scene."""
    paths = {
        "reproject": [f"reproject/target/{block}" for block in blocks],
        "infer": [f"infer/{method}/0/{block}" for method in METHODS for block in blocks],
        "mosaic": [f"mosaic/{method}/{block}" for method in METHODS for block in blocks],
        "publish": [f"publish/{method}.provenance" for method in METHODS],
    }
    return {f"{RUN}/scenes/{scene.name}/{path}" for stage in stages for path in paths[stage]}


WHOLE = {"download/glaciers", f"{RUN}/scan/glaciers", f"{RUN}/tile/manifest"}
JUDGED = {f"{RUN}/series/manifest", f"{RUN}/evaluate/manifest"}
MADE = ("reproject", "infer", "mosaic", "publish")


def test_an_added_scene_redoes_no_other_and_no_training(mapped: Tree, tmp_path: Path) -> None:
    tree = mapped.copy(tmp_path / "tree")
    for path in sorted(album(tree).rglob("*.*")):
        shutil.copyfile(path, tmp_path / "same")
        path.unlink()
        shutil.copyfile(tmp_path / "same", path)
        os.utime(path, (2e9, 2e9))
    assert again(tree) == set(), "copied files are the same files"
    LATER.write(album(tree))
    blocks = ["0_0", "0_1"]
    assert again(tree) == WHOLE | JUDGED | chain(LATER, blocks, *MADE)
    for path in album(tree).rglob(f"{LATER.name}*"):
        path.unlink()
    told = tree.nunatak("gc", "--configfile", "config.yaml").stdout
    assert f"{RUN}/scenes/{LATER.name}: no run of this name" in told
    assert len(told.splitlines()) == 2
    removed = tree.nunatak("gc", "--configfile", "config.yaml", "--delete")
    assert removed.returncode == 0, removed.stdout
    assert not place(tree, LATER).exists()
    assert place(tree, LOST).exists()


def edit(path: Path, change: Any) -> None:
    """Change an image in place, what lies beside it and in its header left as it is."""
    with rasterio.open(path) as file:
        values, profile = file.read(1), file.profile
    change(values)
    kept = ("driver", "width", "height", "count", "dtype", "crs", "transform", "nodata")
    with rasterio.open(path, "w", **{key: profile[key] for key in kept}) as file:
        file.write(values, 1)


def speck(values: NDArray[np.uint8]) -> None:
    """Brighten some cells in the middle."""
    rows, cols = values.shape
    values[rows // 2 : rows // 2 + 9, cols // 2 : cols // 2 + 9] = 250


def shorten(values: NDArray[np.uint8]) -> None:
    """Take away the southern half of a front."""
    rows = np.nonzero(values)[0]
    values[int(rows.mean()) :] = 0


def test_a_replaced_test_scene_redoes_itself_and_no_training(mapped: Tree, tmp_path: Path) -> None:
    tree = mapped.copy(tmp_path / "tree")
    image, label = KNOWN[1], KNOWN[3]
    edit(album(tree) / "images" / f"{image.name}.tif", speck)
    edit(album(tree) / "fronts" / f"{label.name}_front.png", shorten)
    assert "download/glaciers: glaciers changed" in tree.status()
    expected = chain(image, ["0_0"], *MADE) | chain(label, ["0_0"], "reproject", "publish")
    assert again(tree) == WHOLE | JUDGED | expected


def test_a_replaced_training_scene_trains_again(mapped: Tree, tmp_path: Path) -> None:
    tree = mapped.copy(tmp_path / "tree")
    scene = LEARNT[3]
    edit(scene.zones(album(tree)), lambda values: values.__setitem__(slice(0, 20), 64))
    steps = again(tree)
    reprojected = {step for step in steps if "/reproject/" in step}
    assert reprojected == chain(scene, ["0_0"], "reproject")
    assert {step for step in steps if "/scenes/" not in step} == WHOLE | JUDGED | {
        f"{RUN}/train/two_head/0/manifest",
        f"{RUN}/train/aspp_unet/0/manifest",
    }
    for each in MAPPED:
        assert chain(each, ["0_0"], "infer", "publish") <= steps
