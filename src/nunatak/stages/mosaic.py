"""mosaic: members to one block of the product, mean and spread, held to the constraints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nunatak.constraints import constrain, held
from nunatak.content import Manifest
from nunatak.grid import Block
from nunatak.products import Results


def combine(
    members: Sequence[NDArray[np.float32]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and sample SD over members of equal shape; NaN where any member is missing.

    The mean of a single member is that member, bit for bit; its SD is 0.
    """
    count = len(members)
    mean = sum(m.astype(np.float64) for m in members) / count
    square = sum((m - mean) ** 2 for m in members) / max(count - 1, 1)
    return np.asarray(mean, dtype=np.float32), np.sqrt(square).astype(np.float32)


def mosaic(results: Results, method: str, block: Block) -> Manifest:
    """Write one block of a method's product and return its manifest.

    Where a constraint leaves no value, the spread is missing too.
    """
    recipe = results.recipe
    scale, members = recipe.grid.scale, range(recipe.members(method))
    constraints = held(results, recipe.methods[method].constraints, block.core)
    coarse = results.coarse.read_first(block.core)
    products = [results.member(method, m) for m in members]
    fields = {}
    for name in [v.name for v in products[0].layout.variables]:
        mean, spread = combine([product.read(name, block.core) for product in products])
        fields[name] = constrain(mean, coarse, scale, constraints)
        if len(products) > 1:
            fields[f"{name}_sd"] = np.where(np.isnan(fields[name]), np.float32(np.nan), spread)
    return results.mosaic(method).create().write(block, fields)
