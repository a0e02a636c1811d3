"""The split of a recipe, by window: what is trained on, validated on and tested on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nunatak.grid import Window
from nunatak.products import Results
from nunatak.registry import SPLITS


def labels(results: Results, window: Window) -> NDArray[np.uint8]:
    """Split of each coarse cell of a window: 0 training, 1 validation, 2 test, 255 none."""
    recipe = results.recipe
    field = None
    if recipe.split.role:
        role = results.role(recipe.split.role)
        ratio = role.layout.ratio
        field = role.read_first(window)[ratio // 2 :: ratio, ratio // 2 :: ratio]
    by, box = recipe.split.by, recipe.layout.geobox(1, window)
    found: NDArray[np.uint8] = SPLITS.call(by.op, by.args, box, field)
    return found
