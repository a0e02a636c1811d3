"""Series of a glacier against date."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nunatak.figures.style import (
    COLOURS,
    TRUTH,
    date_axis,
    figure_of,
    finish,
    lettered,
    plain_numbers,
    styled,
)

_LABELS = {
    "position": ("Front, advance up", 1e-3, "km", "cells"),
    "area": ("Area of the glacier", 1e-6, "km²", "cells"),
}
_TRUTH = "true"


@styled
def front_series(table: pd.DataFrame, path: Path | None = None, *, title: str = "") -> Figure:
    """Front position and glacier area against date, a column a glacier; up is advance.

    All are counted from the first true value (without truth, from the first value), so that errors
    show: thin lines join what is predicted to the truth of the same scene. Beside scenes that are
    told in metres, those in cells are left out.

    Parameters
    ----------
    table
        Of :func:`nunatak.ops.series.table`; the source ``true`` is the truth.
    path
        File to write.
    title
        Heading of the figure.
    """
    everything, table = table, metric(table)
    lost = everything["scene"].nunique() - table["scene"].nunique()
    groups = sorted(table["group"].unique())
    count = max(1, len(groups))
    figure = figure_of(1.0 + 4.6 * count, 4.8 + 0.3 * bool(title), title, "constrained")
    grid = figure.subplots(2, count, squeeze=False, sharex="col")
    given = sorted(set(table["source"]) - {_TRUTH})
    colours = {_TRUTH: TRUTH, **dict(zip(given, COLOURS, strict=False))}
    for i, group in enumerate(groups):
        part = table[table["group"] == group]
        for axes, name in zip(grid[:, i], _LABELS, strict=True):
            _series(axes, part, name, colours)
        grid[0, i].set_title(lettered(i, group))
        date_axis(grid[1, i].xaxis)
    marks = [_mark(source, colours[source]) for source in colours if source in set(table["source"])]
    handles = [Line2D([], [], label=m.pop("label"), **m) for m in marks]
    handles += [Line2D([], [], linestyle="", label=f"without a place: {lost}")] if lost else []
    figure.legend(handles=handles, loc="outside lower center", ncols=max(1, len(handles)))
    return finish(figure, path)


def metric(table: pd.DataFrame) -> pd.DataFrame:
    """The rows in metres; all if none are."""
    found = table[table["units"] == "m"]
    return found if len(found) else table


def _mark(source: str, colour: str) -> dict[str, Any]:
    true = source == _TRUTH
    return {
        "label": source,
        "color": colour,
        "marker": "o" if true else "D",
        "markersize": 3.2,
        "markerfacecolor": colour if true else "white",
        "linewidth": 1.0 if true else 0.7,
        "zorder": 2 if true else 3,
    }


def _series(axes: Axes, table: pd.DataFrame, name: str, colours: Mapping[str, str]) -> None:
    """One quantity of one glacier, by source."""
    metres = bool((table["units"] == "m").all())
    label, factor, kilometres, cells = _LABELS[name]
    axes.set_ylabel(f"{label} ({kilometres if metres else cells})")
    true = table[table["source"] == _TRUTH].dropna(subset=[name])
    first = (true if len(true) else table.dropna(subset=[name]))[name].head(1)
    if first.empty:
        axes.text(0.5, 0.5, "none measured", transform=axes.transAxes, ha="center")
        return
    values = (table[name] - first.iloc[0]) * (factor if metres else 1.0)
    there = table.assign(value=values).dropna(subset=["value"])
    wanted = there[there["source"] == _TRUTH].set_index("scene")["value"]
    for source, part in there.groupby("source"):
        axes.plot(part["date"], part["value"], **_mark(str(source), colours[str(source)]))
        both = part[part["scene"].isin(wanted.index)]
        axes.vlines(both["date"], both["value"], wanted[both["scene"]], color="0.5", linewidth=0.7)
    axes.axhline(0.0, color="0.6", linewidth=0.6, zorder=1)
    axes.grid(axis="y", color="0.92", linewidth=0.6)
    axes.yaxis.set_major_formatter(plain_numbers())
