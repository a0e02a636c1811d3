"""mosaic: members to one block of the product, mean and spread, held to the constraints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nunatak.content import Manifest
from nunatak.grid import Block
from nunatak.method import Constraint
from nunatak.ops.degrade import resample
from nunatak.products import Results
from nunatak.registry import POSTPROCESS


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


def constrain(
    field: NDArray[np.float32],
    coarse: NDArray[np.float32],
    scale: int,
    constraints: Sequence[tuple[Constraint, NDArray[np.float32] | None]],
) -> NDArray[np.float32]:
    """Apply a recipe's constraints in their order, each with the field that it reads."""
    for constraint, other in constraints:
        field = POSTPROCESS.call(constraint.op, constraint.args, field, coarse, scale, other)
    return field


def mosaic(results: Results, method: str, block: Block) -> Manifest:
    """Write one block of a method's product and return its manifest."""
    recipe = results.recipe
    scale, members = recipe.grid.scale, range(recipe.members(method))
    constraints = [(c, _other(results, c, block)) for c in recipe.methods[method].constraints]
    coarse = results.coarse.read_first(block.core)
    products = [results.member(method, m) for m in members]
    fields = {}
    for name in [v.name for v in products[0].layout.variables]:
        mean, spread = combine([product.read(name, block.core) for product in products])
        fields[name] = constrain(mean, coarse, scale, constraints)
        if len(products) > 1:
            fields[f"{name}_sd"] = spread
    return results.mosaic(method).create().write(block, fields)


def _other(results: Results, constraint: Constraint, block: Block) -> NDArray[np.float32] | None:
    if constraint.role is None:
        return None
    product = results.role(constraint.role)
    field = product.read_first(block.core)
    return resample(field, product.layout.ratio, results.recipe.grid.scale)
