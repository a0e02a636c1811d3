"""The recipe of ice thickness on a synthetic one, stored as the real one is, at two scales."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from numpy.typing import NDArray
from scipy import ndimage

from nunatak.config import merge
from nunatak.sources.synthetic import World
from tests.integration.world import COMPUTED, Project, Tree

pytestmark = pytest.mark.slow

CELLS, FINE, BLOCK, NO_ICE = 384, 250, 128, -16.5
SIDE = CELLS * FINE
CATALOGUE = """
thick:
  title: A synthetic ice thickness, negative where there is no ice
  files: [{ url: "file:thick.zarr" }]
  reader: { op: zarr }
  crs: EPSG:3031
  resolution: 250
  variables:
    thickness: { units: m, standard_name: land_ice_thickness, floor: 0 }
    beta: { units: Pa s m-1 }
  licence: CC0-1.0
"""
TRAIN = {"samples": 64, "batch": 4, "warmup": 0, "validate_every": 64}
FOUR: dict[str, Any] = {
    "grid": {"bounds": [0, 0, SIDE, SIDE], "resolution": FINE, "scale": 4, "block": BLOCK},
    "roles": {
        "target": {"source": "thick"},
        "sliding": {"source": "thick", "resolution": FINE},
        "velocity": None,
    },
    "split": {"by": {"args": {"size": 16000, "period": 5}}, "buffer": 5000},
    "tiles": {"size": 4, "stride": 2, "context": 2},
    "methods": {
        "bilinear": None,
        "bicubic_conserving": None,
        "residual": None,
        "srcnn": {"train": TRAIN},
        "srcnn_conserving": {"train": TRAIN},
    },
    "products": ["srcnn_conserving"],
    "infer": {"window": 32, "feather": 2},
    "evaluate": {
        "spectrum": 32,
        "classes": {
            "slow ice": None,
            "fast ice": None,
            "sticky ice": [{"role": "target", "least": 1}, {"role": "sliding", "least": 1e9}],
        },
    },
}
EIGHT: dict[str, Any] = merge(
    FOUR,
    {
        "grid": {"scale": 8, "block": CELLS},
        "split": {"buffer": 6000},
        "tiles": {"size": 2, "stride": 1, "context": 1},
        "infer": {"window": 16, "feather": 1},
        "products": ["srcnn"],
    },
)
RUNS = {4: FOUR, 8: EIGHT}
# As the original counts, at scale 1: tiles of 32 x 32 cells, drawn at random.
LEAKY: dict[str, Any] = {
    **FOUR,
    "grid": {**FOUR["grid"], "scale": 1, "block": CELLS},
    "coarse": {"degrade": {"op": "tile_zoom", "args": {"tile": 32, "cells": 8}}},
    "split": {
        "by": {
            "op": "leaky_tiles",
            "args": {
                **{"period": None, "left": 0, "top": SIDE, "size": 32 * FINE},
                **{"rows": 12, "cols": 12, "test": 43, "validation": 14},
            },
        },
        "buffer": 0,
    },
    "tiles": {"size": 32, "stride": 32, "context": 0},
    "methods": {
        **FOUR["methods"],
        "srcnn_conserving": None,
        "srcnn": {"model": {"args": {"ladder": "level", "stages": 2}}, "train": TRAIN},
    },
    "infer": {"window": 64, "feather": 0},
    "products": ["bicubic", "srcnn"],
    "evaluate": {
        **FOUR["evaluate"],
        "published": {"source": "a paper", "mse_over_max": {"bicubic": 2.6e-4}},
    },
}


def thickness() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Thickness with mountains that stand out of it, and sliding; rows from the north."""
    at = (np.arange(CELLS) + 0.5) * FINE
    bed, surface = (World(0).evaluate(name, at, at[::-1]) for name in ("bed", "surface"))
    bare = bed > np.quantile(bed, 0.9)
    thick = np.where(bare, NO_ICE, surface - bed).astype(np.float32)
    return thick, np.where(bare, 3154, 1e9 * np.exp(bed / 500)).astype(np.float32)


def write(path: Path) -> None:
    """Write both as Zarr 2, row 0 in the south, as the real data are."""
    at = (np.arange(CELLS) + 0.5) * FINE
    group = zarr.open_group(path, mode="w", zarr_format=2)
    fields = dict(zip(("thickness", "beta"), thickness(), strict=True))
    named = {name: (("y", "x"), field[::-1].astype(float)) for name, field in fields.items()}
    for name, (dims, values) in {**named, "x": (("x",), at), "y": (("y",), at)}.items():
        array = group.create_array(name, data=values, chunks=(64,) * values.ndim)
        array.attrs["_ARRAY_DIMENSIONS"] = list(dims)


@pytest.fixture(scope="module")
def mapped(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A finished tree of both scales, and of the original's way."""
    folder = tmp_path_factory.mktemp("thick")
    other = project.edited(folder / "project", "stages/scan")
    with (other.folder / "config" / "sources.yaml").open("a", encoding="utf-8") as catalogue:
        catalogue.write(CATALOGUE)
    tree = Tree(folder / "tree", other)
    (tree.folder / "data").mkdir(parents=True)
    write(tree.folder / "data" / "thick.zarr")
    runs = [{"recipe": "ice_thickness", "name": f"thick_{s}", "set": r} for s, r in RUNS.items()]
    runs.append({"recipe": "ice_thickness", "name": "thick_tiles", "set": LEAKY})
    tree.configure(*runs)
    done = tree.run()
    assert done.returncode == 0, done.stdout
    return tree


def product(tree: Tree, path: str) -> NDArray[np.float32]:
    store = zarr.open_group(tree.results / f"{path}.zarr", mode="r")
    return np.asarray(store["thickness"], dtype=np.float32)


def means(field: NDArray[np.float32], scale: int) -> NDArray[np.float64]:
    side = CELLS // scale
    cells = field.reshape(side, scale, side, scale).mean((1, 3), dtype=np.float64)
    return np.asarray(cells)


@pytest.mark.parametrize("scale", RUNS)
def test_the_coarse_field_is_the_mean_of_the_whole_fine_one_without_negative_ice(
    mapped: Tree, scale: int
) -> None:
    truth = np.maximum(thickness()[0], 0)
    assert (truth == 0).mean() == pytest.approx(0.1, abs=0.01)
    np.testing.assert_array_equal(product(mapped, f"thick_{scale}/reproject/target"), truth)
    coarse = product(mapped, f"thick_{scale}/degrade/coarse")
    np.testing.assert_allclose(coarse, means(truth, scale), rtol=1e-6, atol=1e-3)


def test_the_conserving_product_keeps_means_and_is_nowhere_negative(mapped: Tree) -> None:
    found, coarse = (
        product(mapped, f"thick_4/{p}") for p in ("mosaic/srcnn_conserving", "degrade/coarse")
    )
    assert found.min() == 0
    np.testing.assert_allclose(means(found, 4), coarse, rtol=1e-6, atol=2e-3)
    bare = (coarse == 0).repeat(4, 0).repeat(4, 1)
    assert bare.sum() > 100
    assert not found[bare].any()
    raw = product(mapped, "thick_4/infer/srcnn_conserving/0")
    assert raw.min() < 0, "the network by itself is held to nothing"


@pytest.mark.parametrize("scale", RUNS)
def test_errors_are_in_metres_and_classes_have_lines(mapped: Tree, scale: int) -> None:
    folder = mapped.results / f"thick_{scale}" / "evaluate"
    frame = pd.read_csv(folder / "metrics.csv").set_index("where")
    assert list(frame.index) == ["test cells", "ice", "sticky ice"]
    assert frame.loc["test cells", "rmse"] > 5
    assert "Errors are product minus truth in m." in (folder / "metrics.md").read_text()
    assert frame.loc["ice", "n"] > frame.loc["sticky ice", "n"] > 0


def test_the_original_is_counted_in_its_own_way_beside_its_figures(mapped: Tree) -> None:
    folder = mapped.results / "thick_tiles"
    report = json.loads((folder / "tile" / "overlap.json").read_text())
    assert report["leaky"] is True
    assert report["tiles"] == {"training": 87, "validation": 14, "test": 43}
    assert report["gaps"]["training-test"]["targets"] == 0
    zoomed, truth = (
        product(mapped, f"thick_tiles/{p}") for p in ("mosaic/bicubic", "reproject/target")
    )
    inner = truth[32:64, 32:64].astype(float)
    back = ndimage.zoom(ndimage.zoom(inner, 1 / 4, mode="mirror"), 4, mode="mirror")
    np.testing.assert_allclose(zoomed[32:64, 32:64], back, atol=1e-2)
    frame = pd.read_csv(folder / "evaluate" / "metrics.csv").set_index(["method", "where"])
    row = frame.loc[("bicubic", "test cells")]
    assert row["n"] == 43 * 32 * 32
    assert row["mse_over_max"] == pytest.approx((row["rmse"] / truth.max()) ** 2)
    page = (folder / "evaluate" / "metrics.md").read_text()
    assert "Not a fair test" in page
    assert "| bicubic | " in page.partition("## Beside published figures")[2]


def test_two_checkpoints_are_kept_however_long_the_training(mapped: Tree) -> None:
    """The best and the last, of 16 steps in two validations."""
    (folder,) = (mapped.results / "thick_8" / "train" / "srcnn").iterdir()
    assert sorted(p.name for p in folder.glob("*.pt")) == ["best.pt", "last.pt"]


def test_a_changed_block_reruns_its_neighbours_only(mapped: Tree, tmp_path: Path) -> None:
    tree = mapped.copy(tmp_path / "tree")
    group = zarr.open_group(tree.folder / "data" / "thick.zarr", mode="r+")
    # The north-western block, at its corner in the middle of the map.
    row, col = CELLS - 1 - (BLOCK - 2), BLOCK - 2
    group["thickness"][row, col] = group["thickness"][row, col] + 500
    done = tree.run()
    assert done.returncode == 0, done.stdout
    again = {step for step in tree.told(COMPUTED) if step.startswith("thick_4/infer/")}
    near = {f"thick_4/infer/srcnn_conserving/0/{r}_{c}" for r in (0, 1) for c in (0, 1)}
    assert near == again
    reprojected = sorted(step for step in tree.told(COMPUTED) if "/reproject/target/" in step)
    runs = ("thick_4", "thick_8", "thick_tiles")
    assert reprojected == [f"{run}/reproject/target/0_0" for run in runs]
