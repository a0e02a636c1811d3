"""rescale: a method's map at any scale, asked for by name, window by window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from nunatak import cog, origin
from nunatak.ahead import one_ahead
from nunatak.constraints import Held, constrain, held
from nunatak.content import digest_array
from nunatak.errors import ConfigError
from nunatak.grid import Window
from nunatak.learn.anyscale import Member, answers
from nunatak.learn.predict import keep_memory
from nunatak.ops.blend import Lattice
from nunatak.ops.rescale import Cells
from nunatak.products import Results
from nunatak.provenance import digest_json
from nunatak.registry import MASKS, MODELS


def rescale(results: Results, method: str, scale: str) -> dict[str, Any]:
    """Write the mean of a method's members at a scale as ``rescale/METHOD/SCALE.tif``.

    It follows from the coarse field and the conditions of the recipe, whatever the scale.
    Constraints that only mask hold it, by the fine cell that a cell's centre lies in; others, which
    are of the recipe's own fine grid, do not. Cells whose centre lies in a coarse cell that is
    missing are missing.

    Parameters
    ----------
    results
        The results tree of one place.
    method
        The method, whose network gives values at any point.
    scale
        Cells along the side of a coarse cell, a number above 0, as the file is named.

    Returns
    -------
    dict
        The manifest: the record of its origin, ``scale`` and ``shape`` (rows, columns).

    Raises
    ------
    ConfigError
        If the method's network gives one grid alone, the scale is no positive number, or nothing
        would be left of the map.
    """
    _refuse(results, method)
    cells = Cells.at(results.recipe.layout.shape, _number(scale))
    members = [Member.load(results, method, m) for m in range(results.recipe.members(method))]
    path = results.folder / "rescale" / method / f"{scale}.tif"
    digests: list[str] = []
    keep_memory()

    def fill(plain: Path) -> None:
        nodata, variables = results.recipe.mosaic.nodata, results.mosaic(method).layout.variables
        box = cells.geobox(results.recipe.layout)
        with cog.plain(plain, box, variables[:1], nodata) as out:
            for part, values in _fields(results, method, members, cells):
                digests.append(digest_array(values))
                rows, columns = part.shape
                place = RasterWindow(part.left, part.top, columns, rows)
                out.write(np.where(np.isnan(values), np.float32(nodata), values), 1, window=place)
            out.update_tags(**origin.tags(results, method, digest_json(digests)))

    cog.write(path, fill, cog.MAP)
    results.keep(path)
    told = origin.record(results, method, digest_json(digests))
    variables = {"content": {"digest": told["content"]}}
    return {**told, "scale": scale, "shape": list(cells.shape), "variables": variables}


def _fields(
    results: Results, method: str, members: list[Member], cells: Cells
) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """The cells of each window and their values, NaN where missing."""
    recipe, shape = results.recipe, results.recipe.layout.shape
    whole = Window(0, shape[0], 0, shape[1])
    masks = [c for c in recipe.methods[method].constraints if c.op in MASKS]

    def known(window: Window) -> tuple[Window, NDArray[np.float32], list[Held]]:
        return window, results.coarse.read_first(window), held(results, masks, window)

    windows = Lattice(shape, recipe.infer.window, 0).windows(whole)
    for window, coarse, masked in one_ahead(known, windows):
        part = cells.of(window)
        if min(part.shape) < 1:
            continue
        around = _nearest(coarse, cells, window, 1)
        values = np.full(part.shape, np.nan, dtype=np.float32)
        if not np.isnan(around).all():
            fields = [member.field(window, cells) for member in members]
            mean = np.sum(fields, axis=0, dtype=np.float64) / len(fields)
            values = np.where(np.isnan(around), np.nan, mean).astype(np.float32)
        fine = ((c, other) for c, other in masked if other is not None)
        there = [(c, _nearest(other, cells, window, recipe.grid.scale)) for c, other in fine]
        yield part, constrain(values, around, 1, there)


def _nearest(
    field: NDArray[np.float32], cells: Cells, window: Window, ratio: int
) -> NDArray[np.float32]:
    """A window's field, ``ratio`` cells a coarse cell, at the centres of the cells of it."""
    part, finer, within = cells.of(window), cells.over(ratio), window.at(ratio)
    down = finer.owners(0, part.top, part.bottom) - within.top
    right = finer.owners(1, part.left, part.right) - within.left
    return field[np.ix_(down, right)]


def _refuse(results: Results, method: str) -> None:
    """Refuse a method that the recipe does not map, or whose network gives one grid alone."""
    methods = results.recipe.methods
    able = [m for m in results.recipe.products if answers(MODELS.resolve(methods[m].model.op))]
    if method not in able:
        raise ConfigError(
            f"rescale: the method {method!r} gives its own scale alone"
            if method in methods
            else f"rescale: no method {method!r}",
            f"a method whose network gives values at any point: {', '.join(able) or 'none is one'}",
            "use a method with the model liif, jiif or interpolate",
        )


def _number(scale: str) -> float:
    try:
        return float(scale)
    except ValueError as error:
        raise ConfigError(f"rescale: scale {scale!r}", "a number above 0") from error
