"""degrade: the coarse field of a block, from the fine truth or from a real coarse source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nunatak.content import Manifest
from nunatak.grid import Block
from nunatak.products import Results
from nunatak.recipe import Coarse
from nunatak.registry import DEGRADE


def coarsen(fine: NDArray[np.float32], scale: int, by: Coarse) -> NDArray[np.float32]:
    """Apply a recipe's operator to (rows * scale, columns * scale); NaN is missing."""
    coarse: NDArray[np.float32] = DEGRADE.call(by.degrade.op, by.degrade.args, fine, scale)
    return coarse


def degrade(results: Results, block: Block) -> Manifest:
    """Write the coarse field of one block and return its manifest."""
    recipe = results.recipe
    source = results.role(recipe.coarse.role)
    field = source.read_first(block.core)
    coarse = coarsen(field, recipe.grid.scale, recipe.coarse)
    return results.coarse.create().write(block, {recipe.target.variable: coarse})
