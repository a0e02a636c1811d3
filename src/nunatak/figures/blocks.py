"""Maps of blocks: which of them are the same in two results trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from nunatak.figures.style import COLOURS, figure_of, finish, lettered, styled

_PALE, _LETTERS = "0.88", 26
_COLOURS = (_PALE, COLOURS[1], COLOURS[0], COLOURS[2])


@styled
def block_maps(
    products: Mapping[str, Sequence[str]],
    names: Mapping[str, str],
    path: Path | None = None,
    *,
    title: str = "",
) -> Figure:
    """Draw a panel a product, a square a block.

    Parameters
    ----------
    products
        Title of each panel to its rows from north to south, one character a block.
    names
        Four characters and what they mean, in the order of the legend; the first is drawn pale.
        Blocks of other characters are left white.
    path
        File to write.
    title
        Heading of the figure.
    """
    cols = min(3, len(products))
    shapes = [(len(rows), len(rows[0])) for rows in products.values()]
    side = 3.0
    height = side * max(0.3, min(1.5, max(down / across for down, across in shapes))) + 0.45
    count = ceil(len(products) / cols)
    figure = figure_of(cols * side + 0.3, count * height + 0.7, title, "constrained")
    grid = figure.subplots(count, cols, squeeze=False).ravel().tolist()
    colours = dict(zip(names, _COLOURS, strict=True))
    for i, (axes, (name, rows)) in enumerate(zip(grid, products.items(), strict=False)):
        _draw(axes, rows, colours)
        axes.set_title(lettered(i, name) if i < _LETTERS else name)
        axes.set_xlabel("block column")
        axes.set_ylabel("block row" if i % cols == 0 else "")
    for extra in grid[len(products) :]:
        extra.remove()
    legend = [
        Patch(facecolor=colours[mark], edgecolor="0.4", linewidth=0.4, label=word)
        for mark, word in names.items()
    ]
    figure.legend(handles=legend, loc="outside lower center", ncols=len(legend))
    return finish(figure, path)


def _draw(axes: Axes, rows: Sequence[str], colours: Mapping[str, str]) -> None:
    white = to_rgba("white")
    cells = [[to_rgba(colours[mark]) if mark in colours else white for mark in row] for row in rows]
    axes.imshow(np.array(cells), interpolation="nearest")
    down, across = len(rows), len(rows[0])
    axes.hlines(np.arange(1, down) - 0.5, -0.5, across - 0.5, color="white", linewidth=0.6)
    axes.vlines(np.arange(1, across) - 0.5, -0.5, down - 0.5, color="white", linewidth=0.6)
    axes.spines[:].set_visible(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
