"""Calving fronts: scenes beside their zones, and fronts coloured by date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from nunatak.figures.relief import Extent
from nunatak.figures.style import (
    Array,
    date_axis,
    figure_of,
    finish,
    lettered,
    plain_numbers,
    styled,
)

ZONES = {0: ("no data", "#202020"), 1: ("rock", "#b08d57"), 2: ("glacier", "#cfe6f5")} | {
    3: ("ocean and melange", "#2b5f8f")
}
_TRUE, _GIVEN = "#E69F00", "#D81B60"
_MISSING = "0.86"
# Colours of dates stand out from greys that are never dark.
_DATES = ListedColormap(colormaps["plasma"](np.linspace(0.0, 0.88, 256)), name="dates")
_PALE = ListedColormap(colormaps["gray"](np.linspace(0.35, 1.0, 256)), name="pale")


@dataclass(frozen=True)
class Shown:
    """A scene to draw.

    Attributes
    ----------
    name
        Title of its row.
    amplitude
        Grey values (rows, cols), NaN where missing.
    extent
        Left, bottom, right, top: metres, or cells where there is no CRS.
    located
        Whether the extent is on the map.
    true_zone, zone
        Codes of zones, true and predicted; None if there are none.
    true_front, front
        Vertices x, y (n, 2) of the parts of the fronts, true and predicted.
    """

    name: str
    amplitude: Array
    extent: Extent
    located: bool
    true_zone: Array | None = None
    zone: Array | None = None
    true_front: Sequence[Array] = field(default_factory=tuple)
    front: Sequence[Array] = field(default_factory=tuple)


@styled
def scene_panels(scenes: Sequence[Shown], path: Path | None = None, *, title: str = "") -> Figure:
    """Draw a row a scene: radar image, true zones, predicted zones, and where these differ.

    Fronts are drawn over all: true ones dark yellow, predicted ones pink. All images have one scale
    of grey. Axes are in km of the map, or in cells where a scene has no georeference.

    Parameters
    ----------
    scenes
        What to draw, one or more; a column that no scene has anything for is left out.
    path
        File to write.
    title
        Heading of the figure.
    """
    zoned = any(s.zone is not None for s in scenes)
    columns = ["Radar image", "True zones"] + ["Predicted zones", "Predicted − true"] * zoned
    aspect = max((s.extent[3] - s.extent[1]) / (s.extent[2] - s.extent[0]) for s in scenes)
    side = 2.6
    height = len(scenes) * (side * aspect + 0.28) + 0.75 + 0.3 * bool(title)
    figure = figure_of(side * len(columns) + 0.7, height, title, "constrained")
    grid = figure.subplots(len(scenes), len(columns), squeeze=False)
    grey = _greys([s.amplitude for s in scenes])
    for row, (line, scene) in enumerate(zip(grid, scenes, strict=True)):
        for axes, name in zip(line, columns, strict=True):
            _draw(axes, scene, name, grey)
            axes.set_title(name if row == 0 else "")
        line[0].set_title(f"{lettered(row, scene.name)}" if row else _first(columns[0], scene.name))
        line[0].set_ylabel("y (km)" if scene.located else "row from below")
    for axes, scene in zip(grid[-1], [scenes[-1]] * len(columns), strict=True):
        axes.set_xlabel("x (km)" if scene.located else "column")
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4)
    return finish(figure, path)


def _first(column: str, name: str) -> str:
    return f"{column}\n{lettered(0, name)}"


def _draw(axes: Axes, scene: Shown, name: str, grey: Normalize) -> None:
    """One panel of a scene."""
    if name == "Radar image":
        _cells(axes, scene, scene.amplitude, cmap="gray", norm=grey)
    elif name == "Predicted − true":
        _difference(axes, scene)
    else:
        zone = scene.true_zone if name == "True zones" else scene.zone
        if zone is not None:
            colours = ListedColormap([colour for _, colour in ZONES.values()])
            _cells(axes, scene, zone, cmap=colours, norm=Normalize(-0.5, 3.5))
    if name != "Predicted zones":
        _lines(axes, scene, scene.true_front, _TRUE)
    if name != "True zones":
        _lines(axes, scene, scene.front, _GIVEN)
    _frame(axes, scene)


def _difference(axes: Axes, scene: Shown) -> None:
    """Cells that are told wrong, in the colour of what is predicted; the others pale."""
    if scene.zone is None or scene.true_zone is None:
        return
    known = ~(np.isnan(scene.zone) | np.isnan(scene.true_zone))
    wrong = known & (scene.zone != scene.true_zone)
    _cells(axes, scene, np.where(known, 0.0, np.nan), cmap=ListedColormap(["0.97"]))
    colours = ListedColormap([colour for _, colour in ZONES.values()])
    codes = np.where(wrong, scene.zone, np.nan)
    _cells(axes, scene, codes, cmap=colours, norm=Normalize(-0.5, 3.5))
    share = int(wrong.sum()) / max(1, int(known.sum()))
    white = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    text = f"{share:.1%} wrong"
    axes.text(0.03, 0.96, text, transform=axes.transAxes, va="top", fontsize=8, bbox=white)


def _cells(axes: Axes, scene: Shown, values: Array, **options: Any) -> None:
    left, bottom, right, top = _scaled(scene)
    edges = (left, right, bottom, top)
    axes.imshow(values, extent=edges, interpolation="nearest", **options)
    axes.set_facecolor(_MISSING)


def _scaled(scene: Shown) -> Extent:
    factor = 1e-3 if scene.located else 1.0
    left, bottom, right, top = scene.extent
    return left * factor, bottom * factor, right * factor, top * factor


def _lines(axes: Axes, scene: Shown, lines: Sequence[Array], colour: str) -> None:
    factor = 1e-3 if scene.located else 1.0
    for line in lines:
        axes.plot(*(np.asarray(line).T * factor), color=colour, linewidth=1.3)


def _frame(axes: Axes, scene: Shown) -> None:
    left, bottom, right, top = _scaled(scene)
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.spines[:].set_visible(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(plain_numbers())


def _greys(images: Sequence[Array]) -> Normalize:
    """One scale of grey that saturates the brightest 2 % of all cells."""
    values = np.concatenate([image[~np.isnan(image)].ravel()[::7] for image in images])
    high = float(np.percentile(values, 98)) if values.size else 1.0
    return Normalize(0.0, high if high > 0 else 1.0)


def _legend() -> list[Any]:
    patches = [
        Patch(facecolor=colour, edgecolor="0.4", linewidth=0.4, label=name)
        for name, colour in ZONES.values()
    ]
    lines = [Line2D([], [], color=_TRUE, label="true front")]
    lines += [Line2D([], [], color=_GIVEN, label="predicted front")]
    return [*patches, *lines]


@styled
def front_map(
    background: Shown,
    fronts: Sequence[tuple[date, Sequence[Array]]],
    path: Path | None = None,
    *,
    centre: Array | None = None,
    title: str = "",
) -> Figure:
    """Map of fronts over one image, each in the colour of its date, early dark and late bright.

    Parameters
    ----------
    background
        The scene to draw below; its own fronts are not drawn.
    fronts
        Dates, and the parts of the front on each: vertices x, y (n, 2) in its coordinates.
    path
        File to write.
    centre
        Vertices (n, 2) of the centre line, drawn dashed.
    title
        Heading of the figure.
    """
    left, bottom, right, top = background.extent
    aspect = (top - bottom) / (right - left)
    figure = figure_of(6.6, 4.9 * aspect + 0.6 + 0.3 * bool(title), title, "constrained")
    axes = figure.subplots()
    _cells(axes, background, background.amplitude, cmap=_PALE, norm=_greys([background.amplitude]))
    days = [_number(day) for day, _ in fronts] or [0.0, 1.0]
    norm = Normalize(min(days), max(max(days), min(days) + 1.0))
    factor = 1e-3 if background.located else 1.0
    for day, lines in sorted(fronts, key=lambda each: each[0]):
        colour = _DATES(norm(_number(day)))
        parts = [np.asarray(line) * factor for line in lines]
        axes.add_collection(LineCollection(parts, colors=[colour], linewidths=1.2))
    if centre is not None:
        axes.plot(*(np.asarray(centre).T * factor), color="white", linewidth=0.9, linestyle="--")
    _frame(axes, background)
    axes.set(
        xlabel="x (km)" if background.located else "column",
        ylabel="y (km)" if background.located else "row from below",
    )
    mappable = ScalarMappable(norm, _DATES)
    bar = figure.colorbar(mappable, ax=axes, label="Date of the front", shrink=0.85, pad=0.02)
    date_axis(bar.ax.yaxis)
    return finish(figure, path)


def _number(day: date) -> float:
    return float(date2num(day))  # type: ignore[no-untyped-call]
