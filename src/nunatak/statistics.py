"""What is fitted on training tiles: the transforms of the inputs, and the target's moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nunatak.crew import ALONE, Crew
from nunatak.grid import Window
from nunatak.ops.degrade import repeat
from nunatak.ops.normalise import Transform, fill_gaps, standard
from nunatak.ops.split import TRAIN
from nunatak.products import Results
from nunatak.registry import NORMALISE

FITTED = 1000
# Tiles that are summed at once, whoever does it: the sums do not depend on how many do.
_LOT = 50

Sums = dict[str, NDArray[np.float64]]


def statistics(results: Results, index: pd.DataFrame, crew: Crew = ALONE) -> dict[str, Any]:
    """Fit the transforms and the target's moments on training tiles, and on no others.

    At most `FITTED` tiles, evenly spaced in the index, are read.

    Parameters
    ----------
    results
        The results tree.
    index
        Columns place, row, col, split.
    crew
        Who reads the tiles.

    Returns
    -------
    dict
        As `nunatak.learn.inputs.Statistics` reads it.
    """
    size, train = results.recipe.tiles.size, index[index["split"] == TRAIN]
    rows = np.unique(np.linspace(0, len(train) - 1, min(FITTED, len(train))).astype(int))
    corners = train.iloc[rows][["place", "row", "col"]].itertuples(index=False, name=None)
    windows = [(place, Window(row, row + size, col, col + size)) for place, row, col in corners]
    lots = [windows[first : first + _LOT] for first in range(0, len(windows), _LOT)]
    total: Sums = {}
    for part in crew.each(_sums, results, lots):
        total = {name: total.get(name, 0.0) + sums for name, sums in part.items()}
    target, starts = total.pop("target"), _starts(results)
    fitted = {name: start.fit(total[name]).to_json() for name, start in starts.items()}
    return {"transforms": fitted, **_moments(target)}


def _starts(results: Results) -> dict[str, Transform]:
    recipe, found = results.recipe, {}
    for name in ("coarse", *recipe.conditions):
        given = recipe.tiles.normalise.get(name)
        found[name] = NORMALISE.call(given.op, given.args) if given else standard()
    return found


def _sums(results: Results, windows: list[tuple[str, Window]]) -> Sums:
    found = {"target": np.sum([_target(results.at(p), window) for p, window in windows], axis=0)}
    for name, start in _starts(results).items():
        read = (results.at(place).fed(name).read_all(window) for place, window in windows)
        found[name] = start.sums(read)
    return found


def _target(results: Results, window: Window) -> NDArray[np.float64]:
    """Of the valid cells: their number, sum, sum of squares, and that about the coarse cells."""
    coarse = results.coarse.read_first(window)
    prior = repeat(fill_gaps(coarse, np.nan), results.recipe.grid.scale)
    fine = results.role("target").read_first(window)
    valid = np.isfinite(fine) & np.isfinite(prior)
    values = fine[valid].astype(np.float64)
    about = ((values - prior[valid]) ** 2).sum()
    return np.array([values.size, values.sum(), (values**2).sum(), about])


def _moments(sums: NDArray[np.float64]) -> dict[str, float]:
    total, square, detail = (sums[1:] / max(sums[0], 1)).tolist()
    return {
        "mean": total,
        "deviation": max(square - total**2, 0) ** 0.5 or 1.0,
        "detail": detail**0.5 or 1.0,
    }
