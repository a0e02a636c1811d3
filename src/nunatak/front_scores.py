"""How well zones and fronts are told: by method, and by glacier, sensor and season."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nunatak import figures, front_gallery, splits
from nunatak.crew import Crew
from nunatak.dag import mapped
from nunatak.errors import DataError
from nunatak.figures import markdown_table
from nunatak.fronts import Field, labels, read_codes, read_front, thinned, whole
from nunatak.metrics.lines import DistanceSums, season, southern, unit
from nunatak.metrics.segmentation import BoxSums, ConfusionSums
from nunatak.ops.fronts import dilated, drawn, vertices
from nunatak.ops.split import TEST
from nunatak.products import Results

EVERYWHERE = "test scenes"
NOTHING = "background alone"


@dataclass
class Marks:
    """What is summed of a method over some scenes.

    Parameters
    ----------
    zones
        Cells by true and predicted class; None of a method that tells none.
    box
        Cells told right in the boxes of true fronts.
    apart
        Distances between fronts.
    """

    zones: ConfusionSums | None
    box: BoxSums
    apart: DistanceSums

    @classmethod
    def empty(cls, results: Results, method: str, units: str, size: int) -> Marks:
        """Of no scene yet."""
        recipe = results.recipe
        classes = recipe.target.classes
        zoned = bool(classes if method == NOTHING else recipe.told(method))
        zones = ConfusionSums(classes) if zoned else None
        return cls(zones, BoxSums(size), DistanceSums(units))

    def merge(self, other: Marks) -> None:
        """Add what another has summed."""
        if self.zones and other.zones:
            self.zones.merge(other.zones)
        self.box.merge(other.box)
        self.apart.merge(other.apart)

    def summary(self) -> dict[str, Any]:
        """The figures of a table."""
        zones = self.zones.summary() if self.zones else {}
        kept = {name: value for name, value in zones.items() if "iou" in name}
        return {**self.apart.summary(), **self.box.summary(), **kept}


@dataclass(frozen=True)
class Marked:
    """The marks of one scene, by method, and what the scene belongs to."""

    scene: str
    places: tuple[str, ...]
    units: str
    marks: dict[str, Marks]


def judge_fronts(
    results: Results,
    data: Path,
    crew: Crew,
    folder: Path,
    *,
    dilate: int = 1,
    hemisphere: str = "",
) -> tuple[pd.DataFrame, str]:
    """Judge every method on the labelled test scenes, and draw the figures.

    Parameters
    ----------
    results
        The tree of all scenes.
    data
        Not used.
    crew
        Who works on the scenes.
    folder
        Where the figures go.
    dilate
        Side (cells) of the square that fronts, true and predicted, are widened by before the
        accuracy in the boxes of the true ones is told.
    hemisphere
        ``north`` or ``south``: where scenes lie that have no georeference, for the season.

    Returns
    -------
    DataFrame, str
        The table, and the page that shows it.
    """
    del data
    recipe = results.recipe
    items = [(place, dilate, hemisphere) for place in mapped(recipe)]
    marked = [found for found in crew.each(_of_scene, results, items) if found]
    if not marked:
        raise DataError(
            "no scene that is mapped is labelled and in the test",
            "labelled scenes of a group that split.by tests on, among scenes.mapped",
            "change one of them",
        )
    frame = table(results, marked, dilate)
    _draw(results, marked, folder)
    return frame, _page(results, frame, dilate)


def _of_scene(results: Results, given: tuple[str, int, str]) -> Marked | None:
    """The marks of a scene; None if it is no test scene or has no labels."""
    place, size, hemisphere = given
    scene = results.at(place)
    if not (splits.labels(scene, whole(scene.recipe)) == TEST).all():
        return None
    zone, front = labels(scene)
    if front is None:
        return None
    recipe, acquired = scene.recipe, scene.recipe.acquisition
    units, factor = unit(acquired.crs)
    true = vertices(thinned(recipe, front).lines) * factor
    marks = {}
    for method in recipe.products:
        found = Marks.empty(scene, method, units, size)
        if found.zones and zone is not None:
            found.zones.add(read_codes(scene, method), zone)
        found.box.add(_widened(scene, method, size), front)
        found.apart.add(vertices(read_front(scene, method).lines) * factor, true)
        marks[method] = found
    marks[NOTHING] = _nothing(scene, units, size, zone, front, true)
    return Marked(place, _places(scene, hemisphere), units, marks)


def _widened(scene: Results, method: str, size: int) -> Field:
    """The published front as wide as the true one is made: 1 on it, 0 elsewhere, NaN if missing."""
    codes = read_codes(scene, method)
    cells = [_cells(scene, part) for part in read_front(scene, method).lines]
    return dilated(np.where(np.isnan(codes), np.nan, drawn(cells, codes.shape)), size)


def _cells(scene: Results, part: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows and columns of the vertices of a line."""
    acquired = scene.recipe.acquisition
    left, top = acquired.bounds[0], acquired.bounds[3]
    down, across = (top - part[:, 1]) / acquired.cell[0], (part[:, 0] - left) / acquired.cell[1]
    return np.floor(np.stack([down, across], axis=1)).astype(np.int64)


def _nothing(
    scene: Results, units: str, size: int, zone: Field | None, front: Field, true: Any
) -> Marks:
    """What no front and the scene's own commonest class would score: the trivial prediction."""
    marks = Marks.empty(scene, NOTHING, units, size)
    marks.box.add(np.where(np.isnan(front), np.nan, 0).astype(np.float32), front)
    marks.apart.add(np.empty((0, 2)), true)
    if marks.zones and zone is not None and not np.isnan(zone).all():
        codes, counts = np.unique(zone[~np.isnan(zone)], return_counts=True)
        constant = np.full(zone.shape, codes[np.argmax(counts)], np.float32)
        marks.zones.add(constant, zone)
    return marks


def _places(scene: Results, hemisphere: str) -> tuple[str, ...]:
    """What a scene belongs to: all, its glacier, its sensor, its season."""
    acquired = scene.recipe.acquisition
    south = southern(acquired.crs, acquired.bounds) if acquired.crs else hemisphere == "south"
    known = bool(acquired.crs or hemisphere)
    seasons = (season(acquired.date, south),) if known else ()
    sensors = (acquired.sensor,) if acquired.sensor else ()
    return (EVERYWHERE, acquired.group, *sensors, *seasons)


def table(results: Results, marked: list[Marked], size: int) -> pd.DataFrame:
    """One row a place and method: the trivial prediction first."""
    sums: dict[tuple[str, str, str], Marks] = {}
    for found in marked:
        for where in found.places:
            for method in (NOTHING, *results.recipe.products):
                key = where, found.units, method
                if key not in sums:
                    sums[key] = Marks.empty(results, method, found.units, size)
                sums[key].merge(found.marks[method])
    return pd.DataFrame(
        {"method": method, "where": where, "units": units, **marks.summary()}
        for (where, units, method), marks in sums.items()
    )


def _scenes(results: Results, marked: list[Marked]) -> Iterator[dict[str, Any]]:
    """One row a scene and method."""
    found = results.recipe.scenes.found if results.recipe.scenes else {}
    for one in marked:
        scene = found[one.scene]
        for method in results.recipe.products:
            yield {
                **{"scene": one.scene, "date": scene.date, "sensor": scene.sensor},
                **{"method": method, "units": one.units, **one.marks[method].summary()},
            }


def _page(results: Results, frame: pd.DataFrame, size: int) -> str:
    lines = [
        f"# {results.recipe.title}: scenes held out",
        "",
        "mde is the mean distance between predicted and true fronts, both ways, in the units of",
        "the row (cells where nothing tells how large these are); missed counts scenes without a",
        "predicted front, which have no distance. box_accuracy is the share of cells told right",
        f"in the box of the true front, both fronts {size} cells wide; box_background is what no",
        f"front at all scores there. {NOTHING!r} has each scene's commonest class and no front.",
        "",
        markdown_table(frame),
        "",
    ]
    return "\n".join(lines)


def _draw(results: Results, marked: list[Marked], folder: Path) -> None:
    """panels.png, map.png and charts.png."""
    method, scenes = results.recipe.products[-1], [results.at(one.scene) for one in marked]
    front_gallery.panels(scenes, method, folder / "panels.png")
    group = scenes[0].recipe.acquisition.group
    alike = [scene for scene in scenes if scene.recipe.acquisition.group == group]
    found = [read_front(scene, method) for scene in alike]
    title = f"{group}: fronts by {method}"
    front_gallery.fronts(alike, found, folder / "map.png", title=title)
    figures.marks(pd.DataFrame(_scenes(results, marked)), folder / "charts.png")
