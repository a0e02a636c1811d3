"""The recipe of calving fronts on synthetic glaciers, in files as a user has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import rasterio

from nunatak.sources.glacier import Glacier
from tests.integration.album import SEED, SOURCE, Taken
from tests.integration.world import COMPUTED, Project, Tree

pytestmark = pytest.mark.slow

LEARNT = [
    *(Taken(0, number, "tif" if number % 2 else "png") for number in range(4)),
    *(Taken(1, number) for number in range(2, 6)),
]
LOST = Taken(2, 0, located=False)
UNLABELLED = Taken(2, 3, labelled=False)
KNOWN = [Taken(2, 1, "tif"), Taken(2, 2, "tif"), Taken(2, 4), Taken(2, 5)]
MAPPED = [LOST, UNLABELLED, *KNOWN]
LATER = Taken(2, 6)
GLACIER = Glacier(SEED, 2)
TRAIN = {"samples": 320, "batch": 8, "warmup": 40, "validate_every": 160, "lr": 3e-3}
SET: dict[str, Any] = {
    "grid": {"block": 192},
    "scenes": {"source": "glaciers", "mapped": ["glacier2"]},
    "roles": {"target": {"source": "glaciers"}},
    "split": {"by": {"args": {"test": ["glacier2"], "validation_from": "2013-01-01"}}},
    "tiles": {"size": 64, "stride": 40},
    "methods": {
        "aspp_unet": {"model": {"args": {"width": 4}}, "train": TRAIN},
        "two_head": {"model": {"args": {"width": 4}}, "train": TRAIN},
    },
    "infer": {"window": 96, "stride": 48},
    "publish": {"args": {"shortest": 750, "shortest_cells": 10}},
    "series": {
        "group": "glacier2",
        "line": GLACIER.centre[::20].round(1).tolist(),
        "within": None,
    },
    "evaluate": {"judge": {"args": {"hemisphere": "south"}}},
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
        scene.write(tree.folder / "data" / "glaciers")
    tree.configure({"recipe": "calving_front", "set": SET})
    done = tree.run()
    assert done.returncode == 0, done.stdout
    return tree


def test_it_runs(mapped: Tree) -> None:
    assert (mapped.results / "calving_front" / "evaluate" / "metrics.csv").is_file()


RUN = "calving_front"


def again(tree: Tree) -> set[str]:
    """What a run computes."""
    done = tree.run()
    assert done.returncode == 0, done.stdout
    return set(tree.told(COMPUTED))


def of(scene: Taken, steps: set[str]) -> set[str]:
    """The steps of a scene, told from its folder on."""
    start = f"{RUN}/scenes/{scene.name}/"
    return {step.removeprefix(start) for step in steps if step.startswith(start)}


def others(scene: Taken, steps: set[str]) -> set[str]:
    """The steps of all other scenes."""
    start = f"{RUN}/scenes/"
    return {s for s in steps if s.startswith(start) and not s.startswith(start + scene.name + "/")}


def test_a_scene_that_is_added_redoes_no_other_and_no_training(
    mapped: Tree, tmp_path: Path
) -> None:
    tree = mapped.copy(tmp_path / "tree")
    LATER.write(tree.folder / "data" / "glaciers")
    steps = again(tree)
    assert others(LATER, steps) == set()
    assert not any("/train/" in step for step in steps)
    print(sorted(steps))


def test_a_replaced_image(mapped: Tree, tmp_path: Path) -> None:
    tree = mapped.copy(tmp_path / "tree")
    scene = KNOWN[2]
    path = tree.folder / "data" / "glaciers" / "images" / f"{scene.name}.png"
    with rasterio.open(path) as file:
        v = file.read(1)
    v[0, 0] ^= 3
    with rasterio.open(
        path, "w", driver="PNG", width=v.shape[1], height=v.shape[0], count=1, dtype="uint8"
    ) as file:
        file.write(v, 1)
    steps = again(tree)
    print(sorted(steps))
    assert others(scene, steps) == set()
    assert not any("/train/" in step for step in steps)
