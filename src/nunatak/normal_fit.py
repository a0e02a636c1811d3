"""The normals of every cell, of the days that train."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nunatak.crew import ALONE, Crew
from nunatak.errors import DataError
from nunatak.grid import Block
from nunatak.normals import LEAST, TARGET, fields, path
from nunatak.ops.split import TRAIN
from nunatak.products import Results

# Cells that hardly vary, under ice for one, vary by so much of what the field does.
_FLOOR = 0.01

_Item = tuple[str, tuple[str, ...], Block]


def fit(
    results: Results, index: pd.DataFrame, fitted: dict[str, Any], crew: Crew = ALONE
) -> list[str]:
    """Write the normals of every region, block by block.

    Parameters
    ----------
    results
        The tree of all scenes.
    index
        Columns place, split.
    fitted
        The statistics of the training tiles: they tell how little a cell may vary.
    crew
        Who works on the blocks.

    Returns
    -------
    list of str
        The files, below the folder of the stage `tile`.

    Raises
    ------
    DataError
        If a region has less than `LEAST` days of training.
    """
    days = _days(results, index)
    items = [(name, places) for places in days.values() for name in fields(results)]
    whole: list[_Item] = [
        (name, places, block)
        for name, places in items
        for _, block in results.everywhere(places[:1])
    ]
    found = crew.each(_of_block, results, whole)
    for (name, places, block), values in zip(whole, found, strict=True):
        count = len(values) // 2
        floor = _FLOOR * _deviation(fitted, name, count)
        values[count:] = np.maximum(values[count:], floor[:, None, None])
        _write(results.at(places[0]), name, block, values)
    return [path(results, group, name) for group in days for name in fields(results)]


def _days(results: Results, index: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """The scenes of each region that train."""
    scenes = results.recipe.scenes
    assert scenes is not None
    train = set(index.loc[index["split"] == TRAIN, "place"])
    groups = sorted({scene.group for scene in scenes.found.values()})
    found = {
        group: tuple(n for n, s in scenes.found.items() if s.group == group and n in train)
        for group in groups
    }
    if few := [group for group, places in found.items() if len(places) < LEAST]:
        raise DataError(
            f"{', '.join(few)}: less than {LEAST} days of training",
            "in every region days that train: normals are those of its own cells",
            "split by days, or set tiles.normals to false",
        )
    return found


def _of_block(results: Results, item: _Item) -> NDArray[np.float32]:
    """Means, then standard deviations, of a block: (2 C, rows, columns)."""
    name, places, block = item
    read = (results.at(place).fed(name).read_all(block.core) for place in places)
    return moments(read)


def moments(days: Iterator[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Means, then standard deviations, of fields (C, rows, columns): (2 C, rows, columns).

    NaN where fewer than `LEAST` of them are known.
    """
    first = next(days).astype(np.float64)
    base = np.nan_to_num(first)
    count, total, square = np.isfinite(first) * 1, np.zeros_like(base), np.zeros_like(base)
    for day in days:
        known = np.isfinite(day)
        about = np.where(known, day - base, 0)
        count, total, square = count + known, total + about, square + about**2
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        spread = np.sqrt(np.maximum(square / count - mean**2, 0))
    found = np.where(count >= LEAST, np.stack([base + mean, spread]), np.nan)
    return found.reshape(-1, *base.shape[1:]).astype(np.float32)


def _deviation(fitted: dict[str, Any], name: str, count: int) -> NDArray[np.float64]:
    if name == TARGET:
        return np.full(count, fitted["deviation"])
    return np.asarray(fitted["transforms"][name]["scale"])


def _write(scene: Results, name: str, block: Block, values: NDArray[np.float32]) -> None:
    product = scene.fed(name)
    file = scene.tiles / path(scene, scene.recipe.acquisition.group, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (len(values), *product.shape)
    first = block.core.top == block.core.left == 0
    whole = np.lib.format.open_memmap(file, "w+" if first else "r+", np.float32, shape=shape)
    whole[(slice(None), *block.core.at(product.layout.ratio).slices)] = values
