"""What is normal where: mean and standard deviation of every cell over the days of training.

A region's file of a field is (2 C, rows, columns), float32: the means of its C variables, then
their standard deviations; NaN where fewer than `LEAST` days are known. `nunatak.normal_fit` writes
it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nunatak.grid import Window
from nunatak.products import Results
from nunatak.store import Product

TARGET = "target"
LEAST = 2


def fields(results: Results) -> tuple[str, ...]:
    """The fields that have normals: the target, the coarse field and the conditions."""
    return (TARGET, "coarse", *results.recipe.conditions)


def path(results: Results, group: str, name: str) -> str:
    """Where the normals of a region's field lie, below the folder of the stage `tile`."""
    return f"normals/{group}/{name}.npy"


def read(results: Results, name: str, window: Window) -> NDArray[np.float32]:
    """The normals of a window of a scene, as the file holds them; NaN beyond the domain.

    Parameters
    ----------
    results
        The tree of the scene.
    name
        The field: ``target``, ``coarse`` or a condition.
    window
        Coarse cells.
    """
    product: Product = results.fed(name)
    file = results.tiled(path(results, results.recipe.acquisition.group, name))
    whole = np.load(file, mmap_mode="r")
    cells = window.at(product.layout.ratio)
    inside = cells.clip(product.shape)
    values = np.full((len(whole), *cells.shape), np.nan, np.float32)
    values[(slice(None), *inside.within(cells).slices)] = whole[(slice(None), *inside.slices)]
    return values
