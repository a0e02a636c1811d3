"""The split of a recipe, by window: what is trained on, validated on and tested on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nunatak.grid import Window
from nunatak.products import Results
from nunatak.registry import SCENE_READERS, SPLITS


def labels(results: Results, window: Window) -> NDArray[np.uint8]:
    """Split of each coarse cell of a window: 0 training, 1 validation, 2 test, 255 none."""
    recipe = results.recipe
    by, box = recipe.split.by, recipe.layout.geobox(1, window)
    found: NDArray[np.uint8] = SPLITS.call(by.op, by.args, box, _read(results, window))
    return found


def _read(results: Results, window: Window) -> Any:
    """What an operation splits by, besides the place: a role's field, the scene, or nothing."""
    recipe = results.recipe
    if recipe.split.by.op in SCENE_READERS:
        return recipe.acquisition
    if not recipe.split.role:
        return None
    role = results.role(recipe.split.role)
    ratio = role.layout.ratio
    return role.read_first(window)[ratio // 2 :: ratio, ratio // 2 :: ratio]
