"""series: the fronts of all scenes in one file, and those of one group in their order in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nunatak import figures, front_gallery
from nunatak.dag import SERIES, mapped
from nunatak.fronts import TRUE, labels, read_codes, read_front, thinned
from nunatak.geopackage import DatedFront, write_fronts
from nunatak.metrics.lines import unit
from nunatak.ops.series import Reading, area, inside, placed, position, table
from nunatak.products import Results
from nunatak.provenance import digest_file, write_text
from nunatak.sections import Series

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
    found = {scene.recipe.scene: [*known(scene)] for scene in scenes}
    fronts = [front for one in found.values() for front in one]
    folder.mkdir(parents=True, exist_ok=True)
    write_fronts(folder / "fronts.gpkg", fronts)
    chosen = [s for s in scenes if s.recipe.acquisition.group == recipe.series.group]
    each = (readings(s, recipe.series, found[s.recipe.scene]) for s in chosen)
    frame = table([reading for scene in each for reading in scene])
    write_text(folder / "series.csv", frame.to_csv(index=False, date_format="%Y-%m-%d"))
    _draw(chosen, frame, [f for f in fronts if f.group == recipe.series.group], folder)
    files = [folder / name for name in SERIES]
    results.keep(*files)
    return {"variables": {path.name: {"digest": digest_file(path)} for path in files}}


def known(scene: Results) -> Iterator[DatedFront]:
    """The fronts of a scene: the labelled one, if it has labels, and that of every method."""
    _, label = labels(scene)
    if label is not None:
        yield thinned(scene.recipe, label)
    for method in scene.recipe.products:
        yield read_front(scene, method)


def readings(scene: Results, given: Series, fronts: Sequence[DatedFront]) -> Iterator[Reading]:
    """Where each front of a scene crosses the centre line, and how large the glacier is by it."""
    recipe, acquired = scene.recipe, scene.recipe.acquisition
    centre = _placed(scene, given.line)
    units, factor = unit(acquired.crs)
    cell = (acquired.cell[0] * factor, acquired.cell[1] * factor)
    ring = _placed(scene, given.within) if given.within else None
    seen = np.ones(acquired.shape, bool)
    seen = seen if ring is None else inside(ring, acquired.bounds, acquired.shape)
    code = recipe.target.classes.index(given.area)
    who = (acquired.group, recipe.scene, acquired.date, acquired.sensor)
    for front in fronts:
        zone = _zone(scene, front.source)
        size = float("nan") if zone is None else area(zone, cell, seen, glacier=code)
        along = position(centre, front.lines) * factor
        yield Reading(*who, front.source, units, along, size)


def _placed(scene: Results, points: tuple[tuple[float, float], ...]) -> Line:
    """Points of the recipe in the coordinates of a scene."""
    acquired = scene.recipe.acquisition
    return np.asarray(points) if acquired.crs else placed(points, acquired.bounds)


def _zone(scene: Results, source: str) -> NDArray[np.float32] | None:
    """Codes of the classes, by label or by a method; None if it tells none."""
    if source == TRUE:
        return labels(scene)[0]
    return read_codes(scene, source) if scene.recipe.told(source) else None


def _draw(
    scenes: list[Results], frame: pd.DataFrame, found: list[DatedFront], folder: Path
) -> None:
    """series.png, and map.png with the fronts of the last method."""
    recipe = scenes[0].recipe
    assert recipe.series is not None
    group, method = recipe.series.group, recipe.products[-1]
    figures.front_series(frame, folder / "series.png", title=f"{recipe.title}: {group}")
    chosen = [front for front in found if front.source == method]
    centre = _placed(front_gallery.comparable(scenes)[0], recipe.series.line)
    title = f"{group}: fronts by {method}"
    front_gallery.fronts(scenes, chosen, folder / "map.png", centre=centre, title=title)
