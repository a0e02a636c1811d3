"""infer: one member's field of a block, streamed through windows with bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nunatak.content import Manifest
from nunatak.errors import DataError
from nunatak.grid import Block, Window
from nunatak.learn.checkpoint import load_network
from nunatak.learn.inputs import Arrays, Inputs
from nunatak.learn.predict import keep_memory, predict, predict_whole
from nunatak.ops.blend import Lattice, Overlap
from nunatak.ops.degrade import repeat
from nunatak.ops.normalise import REACH
from nunatak.products import Results
from nunatak.store import Product


@dataclass(frozen=True)
class Held:
    """Reads windows of products out of one window, of which each cell is read once.

    Rows are read when a window asks for them, whole chunks at a time, so that the first window
    waits for its own rows alone.

    Parameters
    ----------
    window
        What is read and kept (coarse cells).
    """

    window: Window
    fields: dict[Path, NDArray[np.float32]] = field(default_factory=dict)
    ends: dict[Path, int] = field(default_factory=dict)

    def read(self, product: Product, window: Window) -> NDArray[np.float32]:
        """Read every variable of a part of the window, as `Product.read_all` does."""
        layout, end = product.layout, self.ends.get(product.path, self.window.top)
        if product.path not in self.fields:
            shape = len(layout.variables), *self.window.at(layout.ratio).shape
            self.fields[product.path] = np.empty(shape, np.float32)
        if window.bottom > end:
            chunk = max(1, layout.chunk // layout.ratio)
            bottom = min(-(-window.bottom // chunk) * chunk, self.window.bottom)
            self._add(product, replace(self.window, top=end, bottom=bottom))
        rows, cols = window.within(self.window).at(layout.ratio).slices
        return self.fields[product.path][:, rows, cols]

    def _add(self, product: Product, strip: Window) -> None:
        rows, cols = strip.within(self.window).at(product.layout.ratio).slices
        self.fields[product.path][:, rows, cols] = product.read_all(strip)
        self.ends[product.path] = strip.bottom


def infer(results: Results, method: str, member: int, block: Block) -> Manifest:
    """Write the field that one member of a method gives for one block.

    Cells whose coarse cell is missing are missing.

    Raises
    ------
    DataError
        If what is read around the block reaches past the neighbouring blocks.
    """
    recipe = results.recipe
    scale, product = recipe.grid.scale, results.member(method, member).create()
    coarse = results.coarse.read_first(block.core)
    names = [variable.name for variable in product.layout.variables]
    if np.isnan(coarse).all():
        empty = np.full(block.core.at(scale).shape, np.nan, dtype=np.float32)
        return product.write(block, dict.fromkeys(names, empty))
    fine = _predicted(results, method, member, block)
    fine[:, np.isnan(repeat(coarse, scale))] = np.nan
    return product.write(block, dict(zip(names, fine, strict=True)))


def _predicted(results: Results, method: str, member: int, block: Block) -> NDArray[np.float32]:
    """(layers, rows, columns), streamed through windows."""
    recipe, scale = results.recipe, results.recipe.grid.scale
    network, halo, statistics = load_network(results, method, member)
    inputs = Inputs(results, statistics, method)
    around = recipe.infer.window if network.whole else halo
    if around + REACH > recipe.layout.step and recipe.layout.tiling != (1, 1):
        raise DataError(
            f"{method}: {around} coarse cells around a block, and {REACH} more to fill gaps from",
            f"at most a block's {recipe.layout.step} coarse cells",
            "use a larger grid.block or a model that sees less far",
        )
    held = Held(block.core.pad(around + REACH))

    def prepare(window: Window) -> Arrays:
        return inputs.prepare(inputs.read(window, held.read))

    keep_memory()
    shape, settings = recipe.layout.shape, recipe.infer
    if network.whole:
        overlap = Overlap(shape, settings.window, settings.stride or settings.window)
        return predict_whole(network, prepare, overlap, block.core, scale)
    lattice = Lattice(shape, settings.window, settings.feather)
    return predict(network, prepare, lattice, block.core, halo, scale)
