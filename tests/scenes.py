"""A recipe of scenes and its results tree by hand: a straight front in a fjord, cells of 100 m."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nunatak.config import merge
from nunatak.products import Results
from nunatak.recipe import Recipe
from nunatak.store import Product

ROWS, COLS, CELL = 40, 60, 100.0
BOUNDS = (-2.4e6, 1.2e6, -2.4e6 + COLS * CELL, 1.2e6 + ROWS * CELL)
ROCK, GLACIER, OCEAN = 1, 2, 3

SOURCE: dict[str, Any] = {
    "title": "made for a test",
    "files": [{"url": "synthetic://glaciers"}],
    "reader": {"op": "synthetic_scenes", "args": {"glaciers": 2, "scenes": 2, "coarsening": 8}},
    "variables": {name: {"units": "1"} for name in ("amplitude", "zone", "front")},
    "licence": "MIT",
}
TRAIN: dict[str, Any] = {
    "task": {"op": "segmentation"},
    "losses": [{"op": "front_dice"}],
    **{"samples": 8, "batch": 2, "lr": 0.01, "validate_every": 4},
}
BASE: dict[str, Any] = {
    "name": "fronts",
    "title": "Fronts by hand",
    "target": {
        "variable": "zone",
        "standard_name": "area_type",
        "long_name": "zone",
        "units": "1",
        "valid_range": [0, 3],
        "classes": ["no_data", "rock", "glacier", "ocean"],
        "lines": ["front"],
    },
    "grid": {"scale": 1, "block": 32},
    "scenes": {"source": "album", "mapped": ["north"]},
    "roles": {"target": {"source": "album", "variables": ["zone", "front", "amplitude"]}},
    "coarse": {"degrade": {"op": "identity", "args": {"variable": "amplitude"}}},
    "split": {"by": {"op": "groups", "args": {"test": ["north"]}}, "buffer": 0},
    "tiles": {"size": 8, "stride": 8, "context": 0},
    "methods": {
        "zones": {"model": {"op": "two_head", "args": {"width": 2}}, "train": TRAIN},
        "line": {
            "model": {"op": "aspp_unet", "args": {"width": 2}},
            "layers": ["front"],
            "train": TRAIN,
        },
    },
    "products": ["zones", "line"],
    "infer": {"window": 16, "stride": 8},
    "mosaic": {},
    "publish": {"op": "fronts", "args": {"shortest": 500, "shortest_cells": 5}},
    "series": {
        "group": "north",
        "line": [[BOUNDS[0], 1.202e6], [BOUNDS[2], 1.202e6]],
        "area": "glacier",
    },
    "evaluate": {"judge": {"op": "fronts", "args": {"dilate": 3}}},
    "sources": {"album": SOURCE},
}


def scene(day: str, group: str = "north", **change: Any) -> dict[str, Any]:
    """What is known of a scene."""
    given = {"group": group, "date": dt.date.fromisoformat(day), "sensor": "TSX"}
    return {**given, "shape": (ROWS, COLS), "crs": "EPSG:3031", "bounds": BOUNDS, **change}


def lost(day: str, **change: Any) -> dict[str, Any]:
    """What is known of a scene that lies nowhere."""
    return scene(day, crs=None, bounds=(0, 0, COLS, ROWS), **change)


def recipe(found: Mapping[str, Any], **change: Any) -> Recipe:
    """The recipe, with its scenes, and with some values changed as an overlay changes them."""
    return Recipe.model_validate(merge(merge(BASE, {"scenes": {"found": dict(found)}}), change))


def fjord(front: int) -> NDArray[np.float32]:
    """Codes of zones: rock above and below, glacier to the left of a column, ocean from it on."""
    zone = np.full((ROWS, COLS), ROCK, np.float32)
    zone[5:-5, :front], zone[5:-5, front:] = GLACIER, OCEAN
    return zone


def line(front: int) -> NDArray[np.float32]:
    """1 where the ocean meets the glacier."""
    field = np.zeros((ROWS, COLS), np.float32)
    field[5:-5, front] = 1
    return field


def chances(zone: NDArray[np.float32], front: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of all layers, none of them near 0 or 1."""
    classes = [np.where(zone == code, 0.7, 0.1) for code in range(4)]
    return np.stack([*classes, np.where(front == 1, 0.6, 0.05)]).astype(np.float32)


def write(product: Product, fields: NDArray[np.float32]) -> None:
    """Write whole fields (variables, rows, columns) of a product, block by block."""
    product.create()
    for block in product.layout.grid.blocks():
        parts = fields[(slice(None), *block.core.at(product.layout.ratio).slices)]
        names = [variable.name for variable in product.layout.variables]
        product.write(block, dict(zip(names, parts, strict=True)))


def label(results: Results, name: str, front: int | None) -> None:
    """Write a scene as the stage `reproject` does; without a front it has no labels."""
    grey = np.random.default_rng(1).uniform(20, 200, (ROWS, COLS)).astype(np.float32)
    none = np.full((ROWS, COLS), np.nan, np.float32)
    zone, at = (none, none) if front is None else (fjord(front), line(front))
    write(results.at(name).role("target"), np.stack([zone, at, grey]))


def predict(results: Results, name: str, front: int | None) -> None:
    """Write what the stage `mosaic` does of a scene: a front in a column, or none."""
    zone = fjord(COLS) if front is None else fjord(front)
    at = np.zeros((ROWS, COLS), np.float32) if front is None else line(front)
    layers = chances(zone, at)
    known = dict(zip(results.recipe.target.layers, layers, strict=True))
    for method in results.recipe.products:
        told = [known[layer] for layer in results.recipe.layers(method)]
        write(results.at(name).mosaic(method), np.stack(told))


def tree(folder: Path, found: Mapping[str, Any], **change: Any) -> Results:
    """A results tree of the recipe below a folder."""
    return Results(recipe(found, **change), folder)
