"""series: the fronts of all scenes in one file, and those of one group in their order in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nunatak import figures
from nunatak.dag import SERIES, mapped
from nunatak.fronts import dated, read_codes, read_front, whole
from nunatak.geopackage import DatedFront, write_fronts
from nunatak.metrics.lines import unit
from nunatak.ops.fronts import line, paths
from nunatak.ops.series import Reading, area, inside, placed, position, table
from nunatak.products import Results
from nunatak.provenance import digest_file, write_text
from nunatak.recipe import Series

TRUE = "true"
Line = NDArray[np.float64]


def series(results: Results) -> dict[str, Any]:
    """Write fronts.gpkg, series.csv, series.png and map.png below ``series/``.

    Parameters
    ----------
    results
        The tree of all scenes, as far as the stage `publish`.

    Returns
    -------
    dict
        The manifest: the digest of each file.
    """
    recipe, folder = results.recipe, results.folder / "series"
    assert recipe.series is not None
    scenes = [results.at(place) for place in mapped(recipe)]
    fronts = [front for scene in scenes for front in known(scene)]
    folder.mkdir(parents=True, exist_ok=True)
    write_fronts(folder / "fronts.gpkg", fronts)
    chosen = [s for s in scenes if s.recipe.acquisition.group == recipe.series.group]
    frame = table([reading for scene in chosen for reading in readings(scene, recipe.series)])
    write_text(folder / "series.csv", frame.to_csv(index=False, date_format="%Y-%m-%d"))
    _draw(chosen, frame, [f for f in fronts if f.group == recipe.series.group], folder)
    files = [folder / name for name in SERIES]
    results.keep(*files)
    return {"variables": {path.name: {"digest": digest_file(path)} for path in files}}


def known(scene: Results) -> Iterator[DatedFront]:
    """The fronts of a scene: the labelled one, if it has labels, and that of every method."""
    recipe = scene.recipe
    label = _label(scene, 1 if recipe.target.classes else 0)
    if label is not None:
        acquired = recipe.acquisition
        found = paths(label == 1, acquired.cell)
        yield dated(recipe, TRUE, [line(p, acquired.bounds, acquired.cell) for p in found])
    for method in recipe.products:
        yield read_front(scene, method)


def readings(scene: Results, given: Series) -> Iterator[Reading]:
    """Where the front crosses the centre line and how large the glacier is, by label and method."""
    recipe, acquired = scene.recipe, scene.recipe.acquisition
    centre = _placed(scene, given.line)
    units, factor = unit(acquired.crs)
    cell = (acquired.cell[0] * factor, acquired.cell[1] * factor)
    ring = _placed(scene, given.within) if given.within else None
    where = inside(ring, acquired.bounds, acquired.shape) if ring is not None else None
    code = recipe.target.classes.index(given.area)
    who = (acquired.group, recipe.scene, acquired.date, acquired.sensor)
    for front in known(scene):
        zone = _zone(scene, front.source)
        seen = np.ones(acquired.shape, bool) if where is None else where
        size = float("nan") if zone is None else area(zone, cell, seen, glacier=code)
        along = position(centre, front.lines) * factor
        yield Reading(*who, front.source, units, along, size)


def _placed(scene: Results, points: tuple[tuple[float, float], ...]) -> Line:
    """Points of the recipe in the coordinates of a scene."""
    acquired = scene.recipe.acquisition
    return np.asarray(points) if acquired.crs else placed(points, acquired.bounds)


def _zone(scene: Results, source: str) -> NDArray[np.float32] | None:
    """Codes of the classes, by label or by a method; None if it tells none."""
    recipe = scene.recipe
    if source == TRUE:
        return _label(scene, 0)
    return read_codes(scene, source) if recipe.target.classes[0] in recipe.layers(source) else None


def _label(scene: Results, number: int) -> NDArray[np.float32] | None:
    """A variable of the target over a whole scene; None if nothing of it is labelled."""
    target = scene.role("target")
    values = target.read(target.layout.variables[number].name, whole(scene.recipe))
    return None if np.isnan(values).all() else values


def _draw(
    scenes: list[Results], frame: pd.DataFrame, fronts: list[DatedFront], folder: Path
) -> None:
    ...
