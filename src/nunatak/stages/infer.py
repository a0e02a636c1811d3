"""infer: one member's field of a block, streamed through windows with bounded memory."""

from __future__ import annotations

import numpy as np

from nunatak.errors import DataError
from nunatak.grid import Block, Window
from nunatak.learn.checkpoint import load_network
from nunatak.learn.inputs import Arrays, Inputs, Statistics
from nunatak.learn.predict import predict
from nunatak.ops.blend import Lattice
from nunatak.ops.degrade import repeat
from nunatak.products import Results
from nunatak.provenance import Manifest


def infer(results: Results, method: str, member: int, block: Block) -> Manifest:
    """Write the field that one member of a method gives for one block.

    Cells whose coarse cell is missing are missing.

    Raises
    ------
    DataError
        If the measured halo reaches past the neighbouring blocks.
    """
    recipe = results.recipe
    scale, product = recipe.grid.scale, results.member(method, member).create()
    coarse = results.coarse.read(recipe.target.variable, block.core)
    if np.isnan(coarse).all():
        field = np.full(block.core.at(scale).shape, np.nan, dtype=np.float32)
        return product.write(block, {recipe.target.variable: field})
    inputs = Inputs(results, Statistics.read(results.tiles / "statistics.json"), method)
    network, halo = load_network(results, method, member)
    if halo > recipe.layout.step:
        raise DataError(
            f"{method}: a halo of {halo} coarse cells",
            f"at most a block's {recipe.layout.step} coarse cells",
            "use a larger grid.block or a model that sees less far",
        )

    def prepare(window: Window) -> Arrays:
        return inputs.prepare(inputs.read(window))

    lattice = Lattice(recipe.layout.shape, recipe.infer.window, recipe.infer.feather)
    field = predict(network, prepare, lattice, block.core, halo, scale)
    field[np.isnan(repeat(coarse, scale))] = np.nan
    return product.write(block, {recipe.target.variable: field})
