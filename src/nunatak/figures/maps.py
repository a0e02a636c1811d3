"""Maps: fields on one colour scale, their errors on another, and the split of the domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.axes_grid1.anchored_artists import (  # type: ignore[import-untyped]
    AnchoredSizeBar,
)

from nunatak.figures.relief import PIXELS, Drawn, Extent, Scale, draw_image, shadow
from nunatak.figures.style import (
    COLOURS,
    Array,
    figure_of,
    finish,
    lettered,
    plain_numbers,
    quantity,
    styled,
)

_SPLITS = {"train": "#56B4E9", "validation": "#E69F00", "test": "#D55E00", "buffer": "#FFFFFF"}


def _scale_bar(axes: Axes, extent: Extent) -> None:
    """A bar of a round length, about a fifth of the map's width."""
    aim = (extent[2] - extent[0]) / 5e3
    power = 10.0 ** floor(log10(aim))
    length = max(n * power for n in (1, 2, 5) if n * power <= aim)
    bar = AnchoredSizeBar(
        axes.transData,
        length,
        f"{length:g} km",
        "lower right",
        pad=0.4,
        sep=3,
        size_vertical=length / 25,
        fontproperties=FontProperties(size=8),
    )
    bar.patch.set(alpha=0.8, linewidth=0)
    axes.add_artist(bar)


def _frame(axes: Axes, extent: Extent, lines: Sequence[Array]) -> None:
    """Limits, ticks and overlaid lines of a map."""
    left, bottom, right, top = (each / 1e3 for each in extent)
    for line in lines:
        axes.plot(*(np.asarray(line).T / 1e3), color="black", linewidth=0.7)
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.spines[:].set_visible(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(plain_numbers())


@styled
def panels(
    fields: Mapping[str, Any],
    errors: Mapping[str, Any],
    path: Path | None = None,
    *,
    extent: Extent,
    label: str,
    units: str,
    datum: str = "",
    title: str = "",
    lines: Sequence[Array] = (),
    colours: str = "relief",
) -> Figure:
    """Compare maps of one area: shaded fields on one colour scale, errors on another.

    Give coarse field, baselines and prediction, then the truth, and as many errors as there are
    baselines and predictions: then each error stands below the map that it is of.

    Parameters
    ----------
    fields
        Title to field, in order; they may differ in resolution, not in extent.
    errors
        Title to difference; drawn on one scale symmetric about 0 that holds 95 % of all.
    path
        File to write.
    extent
        Left, bottom, right, top of every field (m).
    label, units, datum
        What the fields are, for the colour bars.
    title
        Heading of the figure.
    lines
        Coordinates (vertex, 2) in metres of lines to draw over every map.
    colours
        "relief", blue below zero and brown above, or the name of a matplotlib colour map.
    """
    shown = {name: Drawn.of(field, extent) for name, field in fields.items()}
    wrong = {name: Drawn.of(field, extent) for name, field in errors.items()}
    count = len(shown) + len(wrong)
    cols = count if count <= 3 else ceil(count / 2)
    figure, grid = _map_grid(count, cols, extent, title)
    scale = Scale.of(list(shown.values()), colours)
    for axes, drawn in zip(grid, shown.values(), strict=False):
        scale.draw(axes, drawn)
    bad = Normalize(*_symmetric([m.values for m in wrong.values()]))
    for axes, drawn in zip(grid[len(shown) :], wrong.values(), strict=True):
        draw_image(axes, drawn, drawn.values, norm=bad, cmap="RdBu_r")
    for i, (axes, name) in enumerate(zip(grid, [*shown, *wrong], strict=True)):
        _frame(axes, extent, lines)
        axes.set_title(lettered(i, name))
    _scale_bar(grid[0], extent)
    bar: dict[str, Any] = {"extend": "both", "shrink": 0.9, "pad": 0.02, "aspect": 28}
    first = cols if count > cols else len(shown)
    figure.colorbar(scale.mappable, ax=grid[:first], label=quantity(label, units, datum), **bar)
    if wrong:
        text = quantity("Difference", units)
        figure.colorbar(ScalarMappable(bad, "RdBu_r"), ax=grid[first:], label=text, **bar)
    return finish(figure, path)


def _map_grid(count: int, cols: int, extent: Extent, title: str) -> tuple[Figure, list[Axes]]:
    """Axes of equal maps, row by row, labelled at the left and at the bottom."""
    left, bottom, right, top = extent
    aspect = (top - bottom) / (right - left)
    rows = ceil(count / cols)
    side = (3.1 if cols > 1 else 6.5) / max(1.0, aspect) ** 0.5
    height = rows * (side * aspect + 0.25) + 0.35 + 0.3 * bool(title)
    figure = figure_of(cols * side + 1.2, height, title, "compressed")
    axes = figure.subplots(rows, cols, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    for extra in axes[count:]:
        extra.remove()
    for i in range(count):
        axes[i].set_xlabel("x (km)" if i + cols >= count else "")
        axes[i].set_ylabel("y (km)" if i % cols == 0 else "")
        axes[i].tick_params(labelbottom=i + cols >= count)
    return figure, axes[:count]


def _symmetric(fields: Sequence[Array]) -> tuple[float, float]:
    """Limits about 0 that hold 95 % of all values."""
    values = np.abs(np.concatenate([f[~np.isnan(f)] for f in fields] or [np.zeros(0)]))
    reach = float(np.percentile(values, 95)) if values.size else 0.0
    return (-reach, reach) if reach > 0 else (-1.0, 1.0)


@styled
def overview(
    field: Any,
    path: Path | None = None,
    *,
    extent: Extent,
    label: str,
    units: str,
    datum: str = "",
    title: str = "",
    lines: Sequence[Array] = (),
    colours: str = "relief",
) -> Figure:
    """Map of a whole product, coloured and shaded; arguments as of :func:`panels`.

    The field may be a Zarr array: it is read in strips and never held whole.
    """
    drawn = Drawn.of(field, extent)
    figure, (axes,) = _map_grid(1, 1, extent, title)
    scale = Scale.of([drawn], colours)
    scale.draw(axes, drawn)
    _frame(axes, extent, lines)
    _scale_bar(axes, extent)
    name = quantity(label, units, datum)
    figure.colorbar(scale.mappable, ax=axes, label=name, extend="both", shrink=0.8, pad=0.02)
    return finish(figure, path)


@styled
def split_map(
    labels: Any,
    names: Mapping[int, str],
    path: Path | None = None,
    *,
    extent: Extent,
    title: str = "",
    relief: Any = None,
) -> Figure:
    """Map of how the domain is cut into training, validation and test, with the share of each.

    Parameters
    ----------
    labels
        Array (row, col) of numbers; those that have no name are left grey, as missing.
    names
        Number to name. "train", "validation", "test" and "buffer" have colours of their own.
    path
        File to write.
    extent
        Left, bottom, right, top (m).
    title
        Heading of the figure.
    relief
        A field to shade the map with, on any grid of the same extent.
    """
    codes, step = np.asarray(labels), ceil(max(labels.shape) / PIXELS)
    drawn = Drawn.of(codes, extent)
    figure, (axes,) = _map_grid(1, 1, extent, title)
    rgba = np.zeros((*drawn.values.shape, 4))
    known = max(1, sum(int(np.count_nonzero(codes == code)) for code in names))
    legend = []
    for i, (code, name) in enumerate(names.items()):
        colour = _SPLITS.get(name.removesuffix("ing"), COLOURS[i % len(COLOURS)])
        rgba[codes[::step, ::step] == code] = to_rgba(colour)
        text = f"{name} {np.count_nonzero(codes == code) / known:.0%}"
        legend.append(Patch(facecolor=colour, edgecolor="0.4", linewidth=0.4, label=text))
    draw_image(axes, drawn, rgba)
    if relief is not None:
        shadow(axes, Drawn.of(relief, extent))
    _frame(axes, extent, ())
    _scale_bar(axes, extent)
    figure.legend(handles=legend, loc="outside lower center", ncols=len(legend))
    return finish(figure, path)
