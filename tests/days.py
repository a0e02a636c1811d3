"""A recipe of days of regions and its results tree by hand: a height of the sea, half a degree."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nunatak.config import merge
from nunatak.metrics.ocean import Cells, cells
from nunatak.ops.degrade import block_mean
from nunatak.products import Results
from nunatak.recipe import Recipe
from tests import scenes

Field = NDArray[np.float32]
ROWS, COLS, SCALE, CELL = 32, 40, 4, 0.5
NORTH, SOUTH, CENTRE = ((150, 30), (20, -45), (-30, -6))
GROUPS = {"north": NORTH, "south": SOUTH, "centre": CENTRE, "learnt": (0, 40)}
DAYS = ("2018-12-29", "2018-12-30", "2018-12-31")

BASE: dict[str, Any] = {
    "name": "sea",
    "title": "A sea by hand",
    "target": {
        "variable": "height",
        "standard_name": "sea_surface_height_above_geoid",
        "long_name": "sea surface height",
        "units": "m",
        "vertical_datum": "geoid:model",
        "valid_range": [-3, 3],
    },
    "grid": {"scale": SCALE, "block": 20},
    "scenes": {"source": "album"},
    "roles": {"target": {"source": "album", "variables": ["height"]}},
    "coarse": {"degrade": {"op": "block_mean"}},
    "split": {
        "by": {"op": "groups", "args": {"test": ["north", "south", "centre"]}},
        "buffer": 0,
    },
    "tiles": {"size": 4, "stride": 4, "context": 0},
    "methods": {
        "bicubic": {"model": {"op": "interpolate", "args": {"mode": "bicubic"}}},
        "bilinear": {"model": {"op": "interpolate", "args": {"mode": "bilinear"}}},
    },
    "products": ["bilinear", "bicubic"],
    "infer": {"window": 8},
    "mosaic": {},
    "evaluate": {"judge": {"op": "days"}, "spectrum": 16},
    "sources": {
        "album": {**scenes.SOURCE, "variables": {name: {"units": "m"} for name in ("height", "at")}}
    },
}
STATIONS = {
    "roles": {"stations": {"source": "album", "variables": ["at"]}},
    "insitu": "stations",
}


def scene(group: str, day: str, **change: Any) -> dict[str, Any]:
    """What is known of a day of a region."""
    left, bottom = GROUPS[group]
    bounds = (left, bottom, left + COLS * CELL, bottom + ROWS * CELL)
    given = {"group": group, "date": dt.date.fromisoformat(day), "shape": (ROWS, COLS)}
    return {**given, "crs": "EPSG:4326", "bounds": bounds, **change}


def found(*groups: str, days: tuple[str, ...] = DAYS) -> dict[str, Any]:
    """All days of some regions, by the names of their scenes."""
    return {f"{group}_{day}": scene(group, day) for group in groups for day in days}


def recipe(known: Mapping[str, Any], **change: Any) -> Recipe:
    """The recipe, with its scenes, and with some values changed as an overlay changes them."""
    return Recipe.model_validate(merge(merge(BASE, {"scenes": {"found": dict(known)}}), change))


def tree(folder: Path, known: Mapping[str, Any], **change: Any) -> Results:
    """A results tree of the recipe below a folder."""
    return Results(recipe(known, **change), folder)


def noise(seed: int, size: float = 0.1) -> Field:
    """White noise on the grid of a day."""
    drawn = np.random.default_rng(seed).normal(0, size, (ROWS, COLS))
    return drawn.astype(np.float32)


def coast(field: Field) -> Field:
    """A field with land along its left side."""
    wet = field.copy()
    wet[:, :5] = np.nan
    return wet


def place(results: Results, name: str) -> Cells:
    """The cells of a day."""
    return cells(results.at(name).recipe.layout.fine)


def write(
    results: Results,
    name: str,
    truth: Field,
    products: Mapping[str, Field],
    stations: Field | None = None,
) -> None:
    """Write a day as far as the stage `mosaic`."""
    at = results.at(name)
    scenes.write(at.role("target"), truth[None])
    by = at.recipe.coarse.degrade
    if by.op == "block_mean":
        write_coarse(at, block_mean(truth, at.recipe.grid.scale))
    for method, field in products.items():
        scenes.write(at.mosaic(method), field[None])
    if stations is not None:
        scenes.write(at.role("stations"), stations[None])


def write_coarse(at: Results, field: Field) -> None:
    """Write the coarse field of a day."""
    scenes.write(at.coarse, field[None])
