"""The pictures of days of regions, from their stores and sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from nunatak import figures
from nunatak.day_sums import Region, typical
from nunatak.figures import Sheet
from nunatak.products import Results
from nunatak.recipe import Recipe

ROWS = 4


def draw(
    results: Results, regions: Sequence[Region], spectra: Mapping[str, pd.DataFrame], folder: Path
) -> None:
    """Draw panels.png, map.png and charts.png of a recipe into a folder, of at most `ROWS` regions.

    Parameters
    ----------
    results
        The tree of all scenes.
    regions
        The sums of each region.
    spectra
        Those of all regions together, by method.
    folder
        Where the figures go.
    """
    target, shown = results.recipe.target, regions[:ROWS]
    title, units = results.recipe.title, target.units
    figures.field_sheets(
        [_fields(results.at(region.places[len(region.places) // 2])) for region in shown],
        folder / "panels.png",
        label=target.long_name.capitalize(),
        units=units,
        title=f"{title}: a test day of each region",
    )
    figures.field_sheets(
        [_sheet(region.recipe, _named(region), region.maps) for region in shown],
        folder / "map.png",
        label="RMSE",
        units=units,
        errors=True,
        title=f"{title}: error over test days",
    )
    figures.day_charts(
        spectra,
        pd.DataFrame([day for region in regions for day in region.days]),
        folder / "charts.png",
        coarse_nyquist=2 * _largest(regions),
        units=units,
        title=title,
    )


def _fields(scene: Results) -> Sheet:
    """Truth, coarse field and products of a day."""
    recipe, window = scene.recipe, scene.recipe.layout.whole
    fields = {"truth": scene.role("target").read_first(window)}
    fields["coarse"] = scene.coarse.read_first(window)
    for method in recipe.products:
        fields[method] = scene.mosaic(method).read(recipe.target.variable, window)
    acquired = recipe.acquisition
    return _sheet(recipe, f"{acquired.group}, {acquired.date}", fields)


def _named(region: Region) -> str:
    count = len(region.places)
    return f"{region.name}, {count} {'day' if count == 1 else 'days'}"


def _sheet(recipe: Recipe, name: str, fields: Mapping[str, NDArray[Any]]) -> Sheet:
    box = recipe.layout.fine
    left, bottom, right, top = box.boundingbox.bbox
    degrees = box.crs is not None and box.crs.geographic
    return Sheet(name, (left, bottom, right, top), degrees, fields)


def _largest(regions: Sequence[Region]) -> float:
    """Side of the largest coarse cell of all regions (m)."""
    return max(max(typical(r.recipe.layout.fine)) * r.recipe.grid.scale for r in regions)
