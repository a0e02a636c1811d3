"""The pictures of a finished recipe, from its stores."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nunatak import figures
from nunatak.crew import ALONE, Crew
from nunatak.grid import Block, Window
from nunatak.ops.split import NAMES, TEST
from nunatak.products import Results
from nunatak.recipe import Recipe
from nunatak.scores import Scores
from nunatak.splits import labels
from nunatak.store import Product

PIXELS = 1200
PANEL = 256


def draw(results: Results, scores: Mapping[str, Scores], folder: Path, crew: Crew = ALONE) -> None:
    """Draw panels.png, map.png and charts.png of a recipe into a folder."""
    panels(results, folder / "panels.png")
    whole(results, folder / "map.png", crew)
    resolution = results.recipe.resolution
    spectra = {method: s.spectrum.summary(resolution) for method, s in scores.items()}
    nyquist = 2 * resolution * results.recipe.grid.scale
    units = results.recipe.target.units
    figures.spectra(spectra, folder / "charts.png", coarse_nyquist=nyquist, units=units)


def showcase(results: Results) -> Window:
    """A window of the test region to look at: around the median one of its fullest tiles."""
    recipe = results.recipe
    index = pd.read_parquet(results.tiled("tiles.parquet"))
    test = index[index["split"] == TEST]
    full = test[test["valid"] >= test["valid"].max() - 0.01]
    tile = full.iloc[len(full) // 2]
    half = PANEL // recipe.grid.scale // 2
    rows, cols = recipe.layout.shape
    middle = recipe.tiles.size // 2
    row = min(max(int(tile["row"]) + middle, half), max(rows - half, half))
    col = min(max(int(tile["col"]) + middle, half), max(cols - half, half))
    return Window(row - half, row + half, col - half, col + half).clip((rows, cols))


def panels(results: Results, path: Path) -> None:
    """Coarse field, products and truth on one colour scale, and the error of each product."""
    recipe, window = results.recipe, showcase(results)
    name = recipe.target.variable
    target = results.role("target")
    truth = target.read_first(window)
    shown = dict.fromkeys((recipe.products[0], recipe.products[-1]))
    fields = {m: results.mosaic(m).read(name, window) for m in shown}
    coarse = results.coarse.read(name, window)
    figures.panels(
        {"coarse": coarse, **fields, "truth": truth},
        {f"{m} - truth": f - truth for m, f in fields.items()},
        path,
        extent=_extent(results, window),
        label=recipe.target.long_name,
        units=recipe.target.units,
        datum=recipe.target.vertical_datum or "",
        title=f"{recipe.title}: a test region",
    )


def whole(results: Results, path: Path, crew: Crew = ALONE) -> None:
    """The whole product of the last method, block by block onto at most `PIXELS` pixels."""
    recipe, method = results.recipe, results.recipe.products[-1]
    rows, cols = recipe.layout.shape
    figures.overview(
        thumbnail(results, method, crew),
        path,
        extent=_extent(results, Window(0, rows, 0, cols)),
        label=recipe.target.long_name,
        units=recipe.target.units,
        datum=recipe.target.vertical_datum or "",
        title=f"{recipe.title}: {method}",
    )


def split(results: Results, index: pd.DataFrame, path: Path) -> None:
    """The map of the split, with the tiles that are used over it; of scenes, their calendar."""
    recipe = results.recipe
    if recipe.scenes:
        _calendar(recipe, index, path)
        return
    rows, cols = recipe.layout.shape
    step = ceil(max(rows, cols) / PIXELS)
    codes = np.full((ceil(rows / step), ceil(cols / step)), 255, dtype=np.uint8)
    for block in recipe.layout.blocks():
        first, corner = -(-block.core.top // step), -(-block.core.left // step)
        offset = first * step - block.core.top, corner * step - block.core.left
        part = labels(results, block.core)[offset[0] :: step, offset[1] :: step]
        codes[first : first + part.shape[0], corner : corner + part.shape[1]] = part
    used = np.zeros_like(codes, dtype=bool)
    size = recipe.tiles.size
    for row, col in zip(index["row"], index["col"], strict=True):
        used[row // step : -(-(row + size) // step), col // step : -(-(col + size) // step)] = True
    codes[~used & (codes != 255)] = 254
    figures.split_map(
        codes,
        {**{c: n.replace("training", "train") for c, n in NAMES.items()}, 254: "buffer"},
        path,
        extent=_extent(results, Window(0, rows, 0, cols)),
        title="Cells that tiles use; the rest is buffer or missing",
    )


def _calendar(recipe: Recipe, index: pd.DataFrame, path: Path) -> None:
    assert recipe.scenes is not None
    found = recipe.scenes.found
    used = index.drop_duplicates("place")[["place", "split"]]
    frame = pd.DataFrame(
        {
            "date": [found[name].date for name in used["place"]],
            "group": [found[name].group for name in used["place"]],
            "split": [NAMES[split].replace("training", "train") for split in used["split"]],
        }
    )
    figures.calendar(frame, path, title="Scenes that tiles are cut from")


def thumbnail(results: Results, method: str, crew: Crew = ALONE) -> NDArray[np.float32]:
    """A product averaged to at most about `PIXELS` cells a side, read block by block.

    The side of a pixel is a whole number of coarse cells, so pixels that straddle blocks are
    the only ones averaged in parts; NaN where no cell of a pixel is valid.
    """
    product = results.mosaic(method)
    step = _step(product)
    sums: NDArray[np.float64] = np.zeros((2, *(ceil(n / step) for n in product.shape)))
    items = [(method, block) for block in product.layout.grid.blocks()]
    for rows, cols, part in crew.each(_pixels, results, items):
        sums[:, rows, cols] += part
    total, count = sums
    mean = np.full(total.shape, np.nan, dtype=np.float32)
    np.divide(total, count, out=mean, where=count > 0, casting="same_kind")
    return mean


def _step(product: Product) -> int:
    scale = product.layout.ratio
    return ceil(max(product.shape) / PIXELS / scale) * scale


def _pixels(results: Results, given: tuple[str, Block]) -> tuple[slice, slice, NDArray[np.float64]]:
    """Where a block lies among the pixels, and sum and number of its valid cells in each."""
    method, block = given
    product = results.mosaic(method)
    step, cells = _step(product), block.core.at(product.layout.ratio)
    field = product.read(results.recipe.target.variable, block.core)
    down = np.arange(cells.top, cells.bottom) // step
    across = np.arange(cells.left, cells.right) // step
    valid = np.isfinite(field)
    parts = []
    for values in (np.where(valid, field, 0), valid):
        narrow = np.add.reduceat(values, _starts(across), axis=1, dtype=np.float64)
        parts.append(np.add.reduceat(narrow, _starts(down), axis=0))
    return slice(down[0], down[-1] + 1), slice(across[0], across[-1] + 1), np.stack(parts)


def _starts(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.flatnonzero(np.diff(groups, prepend=-1))


def _extent(results: Results, window: Window) -> tuple[float, float, float, float]:
    box = results.recipe.layout.geobox(1, window).boundingbox
    return box.left, box.bottom, box.right, box.top
