"""A scene's zones and fronts as files, out of the probabilities of a method, and read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from nunatak import cog
from nunatak.content import digest_array
from nunatak.errors import ConfigError
from nunatak.geopackage import DatedFront
from nunatak.grid import Window
from nunatak.metrics.lines import unit
from nunatak.ops.fronts import Traced, drawn, from_front, from_zones, length, line
from nunatak.products import Results
from nunatak.provenance import digest_json, read_json
from nunatak.recipe import Recipe

Field = NDArray[np.float32]
UNKNOWN, TRUE = 255, "true"
NOWHERE = "none: cells of an image whose place is not known"
_COG = {"OVERVIEW_RESAMPLING": "MODE"}


def whole(recipe: Recipe) -> Window:
    """The window of a whole scene."""
    return recipe.layout.whole


def publish_fronts(
    results: Results,
    method: str,
    path: Path,
    tags: Mapping[str, str],
    *,
    glacier: str = "glacier",
    ocean: str = "ocean",
    trace: str = "classes",
    threshold: float = 0.5,
    shortest: float = 750.0,
    shortest_cells: float = 20.0,
) -> dict[str, Any]:
    """Write a scene's zones as a COG of codes, and tell its fronts.

    The fronts are where the ocean meets the glacier, or the ridge of the first line's probability.
    Of a method that tells no classes, the file holds 1 on the fronts and 0 elsewhere. A scene is
    taken as a whole, since whether cells hang together is not told by a part of it.

    Parameters
    ----------
    results
        The tree of a scene.
    method
        The method.
    path
        The file to make.
    tags
        What it says of itself.
    glacier, ocean
        Names of two classes.
    trace
        ``classes`` or ``lines``: what the fronts of a method are taken from that tells both.
    threshold
        Probability above which a cell is on the line.
    shortest
        Least length of a front (m).
    shortest_cells
        The same in cells, for scenes of which nothing tells how large these are.

    Returns
    -------
    dict
        ``front``: its units, the length of each part, and their vertices x, y; ``georeference``;
        and the digests of both products.

    Raises
    ------
    ConfigError
        If ``trace`` is neither.
    """
    if trace not in ("classes", "lines"):
        raise ConfigError(f"publish: trace {trace!r}", "classes or lines")
    recipe, names = results.recipe, results.recipe.layers(method)
    scene, classes = recipe.acquisition, recipe.target.classes
    units, factor = unit(scene.crs)
    cell = (scene.cell[0] * factor, scene.cell[1] * factor)
    least = shortest if scene.crs else shortest_cells
    layers = results.mosaic(method).read_all(whole(recipe))[: len(names)]
    count = len(recipe.told(method))
    traced = Traced([])
    if count:
        sea, ice = classes.index(ocean), classes.index(glacier)
        traced = from_zones(layers[:count], cell, shortest=least, ocean=sea, glacier=ice)
    if not count or (trace == "lines" and len(names) > count):
        ridge = from_front(layers[count], cell, threshold=threshold, shortest=least)
        traced = replace(traced, paths=ridge.paths)
    codes = _codes(traced, layers[0])
    place = scene.crs or NOWHERE
    says = {**tags, "GEOREFERENCE": place, **_legend(recipe, traced)}
    cog.write(path, lambda plain: _write_plain(codes, recipe.layout.fine, plain, says), _COG)
    parts = [line(p, scene.bounds, scene.cell).tolist() for p in traced.paths]
    front = {"units": units, "lengths": [length(p, cell) for p in traced.paths], "lines": parts}
    digests = {"front": digest_json(front), "codes": digest_array(codes)}
    variables = {name: {"digest": digest} for name, digest in digests.items()}
    return {"front": front, "georeference": place, "variables": variables}


def _codes(traced: Traced, layer: Field) -> NDArray[np.uint8]:
    field = drawn(traced.paths, layer.shape) if traced.zone is None else traced.zone
    return np.where(np.isnan(layer), UNKNOWN, np.nan_to_num(field)).astype(np.uint8)


def _legend(recipe: Recipe, traced: Traced) -> dict[str, str]:
    names = ("no front", "front") if traced.zone is None else recipe.target.classes
    return {"CODES": ", ".join(f"{code} {name}" for code, name in enumerate(names))}


def _write_plain(
    codes: NDArray[np.uint8], box: GeoBox, path: Path, tags: Mapping[str, str]
) -> None:
    profile = {
        **{"driver": "GTiff", "height": box.shape[0], "width": box.shape[1], "count": 1},
        **{"dtype": "uint8", "nodata": UNKNOWN, "tiled": True},
    }
    if box.crs is not None:
        profile |= {"crs": box.crs.to_wkt(), "transform": box.affine}
    with rasterio.open(path, "w", **profile) as out:
        out.update_tags(**tags)
        out.write(codes, 1)


def read_codes(results: Results, method: str) -> Field:
    """The zones that were published of a scene (rows, columns); NaN where missing."""
    results.note(_step(results, method), "codes")
    with rasterio.open(results.folder / "publish" / f"{method}.tif") as file:
        codes = file.read(1)
    return np.where(codes == UNKNOWN, np.nan, codes).astype(np.float32)


def read_front(results: Results, method: str) -> DatedFront:
    """The fronts that were published of a scene."""
    results.note(_step(results, method), "front")
    record = read_json(results.folder / "publish" / f"{method}.provenance.json")
    lines = [np.asarray(part, dtype=np.float64) for part in record["front"]["lines"]]
    return dated(results.recipe, method, lines)


def labels(scene: Results) -> tuple[Field | None, Field | None]:
    """The labels of a scene, None where there are none: codes of classes, and the first line."""
    recipe, target = scene.recipe, scene.role("target")
    fields = target.only(*recipe.labels).read_all(whole(recipe))
    known = [None if np.isnan(field).all() else field for field in fields]
    zone = known[0] if recipe.target.classes else None
    return zone, known[1 if recipe.target.classes else 0] if recipe.target.lines else None


def thinned(recipe: Recipe, front: Field) -> DatedFront:
    """A labelled front, which may be some cells wide, as lines."""
    scene = recipe.acquisition
    found = from_front(front, scene.cell).paths
    return dated(recipe, TRUE, [line(path, scene.bounds, scene.cell) for path in found])


def dated(recipe: Recipe, source: str, lines: list[NDArray[np.float64]]) -> DatedFront:
    """Fronts with what is known of their scene."""
    scene = recipe.acquisition
    who = (recipe.scene, scene.group, scene.date, scene.sensor)
    return DatedFront(*who, source, scene.crs, lines)


def _step(results: Results, method: str) -> str:
    return f"{results.recipe.name}/publish/{method}.provenance"
