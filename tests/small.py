"""Small recipes and results trees for tests, without a download or a workflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nunatak.config import merge
from nunatak.products import Results
from nunatak.recipe import Recipe

SOURCE = {
    "title": "made for a test",
    "files": [{"url": "synthetic://world"}],
    "reader": {"op": "synthetic", "args": {"seed": 0}},
    "variables": {
        "bed": {"units": "m", "standard_name": "bedrock_altitude"},
        "surface": {"units": "m", "standard_name": "surface_altitude"},
        "vx": {"units": "m yr-1", "standard_name": "land_ice_surface_x_velocity"},
        "vy": {"units": "m yr-1", "standard_name": "land_ice_surface_y_velocity"},
        "accumulation": {"units": "kg m-2 yr-1"},
        "basin": {"units": "1"},
    },
    "crs": "EPSG:3031",
    "vertical_datum": "geoid:synthetic",
    "licence": "MIT",
}

BASE: dict[str, Any] = {
    "name": "small",
    "title": "A small recipe",
    "target": {
        "variable": "bed",
        "standard_name": "bedrock_altitude",
        "long_name": "bed topography",
        "units": "m",
        "vertical_datum": "geoid:synthetic",
        "valid_range": [-8000, 5000],
    },
    "grid": {
        "crs": "EPSG:3031",
        "bounds": [0, 0, 24000, 16000],
        "resolution": 250,
        "scale": 4,
        "block": 32,
    },
    "roles": {
        "target": {"source": "world", "variables": ["bed"]},
        "surface": {"source": "world", "variables": ["surface"], "resolution": 250},
    },
    "conditions": ["surface"],
    "coarse": {"degrade": {"op": "block_mean"}},
    "split": {"by": {"op": "squares", "args": {"size": 8000, "period": 3}}, "buffer": 0},
    "tiles": {"size": 2, "stride": 2, "context": 0},
    "methods": {
        "bicubic": {
            "model": {"op": "interpolate", "args": {"mode": "bicubic"}},
            "conditions": [],
        }
    },
    "products": ["bicubic"],
    "infer": {"window": 8, "feather": 1},
    "mosaic": {},
    "sources": {"world": SOURCE},
}


def recipe(**change: Any) -> Recipe:
    """The small recipe with some values changed, as an overlay changes them."""
    return Recipe.model_validate(merge(BASE, change))


def fill(results: Results, role: str, field: np.ndarray) -> None:
    """Write a whole field (rows, columns) as a role's reprojected product."""
    product = results.role(role).create()
    for block in results.recipe.layout.blocks():
        part = field[block.core.at(product.layout.ratio).slices].astype(np.float32)
        product.write(block, {v.name: part for v in product.layout.variables})


def tree(folder: Path, **change: Any) -> Results:
    """A results tree of the small recipe below a folder."""
    return Results(recipe(**change), folder)
