"""degrade: the coarse field of a block, from the fine truth or from a real coarse source."""

from __future__ import annotations

from nunatak.content import Manifest
from nunatak.errors import DataError
from nunatak.grid import Block
from nunatak.ops.degrade import degraded, surroundings
from nunatak.products import Results


def degrade(results: Results, block: Block) -> Manifest:
    """Write the coarse field of one block and return its manifest.

    Raises
    ------
    DataError
        If the operation reads past the neighbouring blocks.
    """
    recipe = results.recipe
    by, scale = recipe.coarse.degrade, recipe.grid.scale
    around = surroundings(by.op, scale)
    if around > recipe.layout.step:
        raise DataError(
            f"{by.op} reads {around} coarse cells around a block",
            f"at most a block's {recipe.layout.step} coarse cells",
            "use a larger grid.block",
        )
    field = results.role(recipe.coarse.role).read_first(block.core.pad(around))
    coarse = degraded(field, scale, by.op, by.args)
    return results.coarse.create().write(block, {recipe.target.variable: coarse})
