"""Charts of a search for hyper-parameters: how its trials went, and which values mattered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nunatak.figures.style import COLOURS, figure_of, finish, plain_numbers, quantity, styled

_MARKS = {"complete": "o", "pruned": "x", "diverged": "v"}


@styled
def history(
    frame: pd.DataFrame,
    path: Path | None = None,
    *,
    label: str,
    units: str = "1",
    title: str = "",
) -> Figure:
    """Every trial's score, and the best complete one so far.

    Parameters
    ----------
    frame
        Columns ``trial``, ``state`` (complete, pruned, diverged) and ``score``, the lower the
        better; NaN where a trial has none, which is drawn at the top.
    path
        File to write.
    label, units
        What the score is.
    title
        Heading of the figure.
    """
    figure = figure_of(5.6, 3.4, title, "constrained")
    axes = figure.subplots()
    top = frame["score"].max() if frame["score"].notna().any() else 1.0
    for (state, mark), colour in zip(_MARKS.items(), COLOURS, strict=False):
        part = frame[frame["state"] == state]
        if len(part):
            shown = part["score"].fillna(top)
            name = f"{state} ({len(part)})"
            axes.plot(part["trial"], shown, mark, color=colour, label=name, markersize=5)
    done = frame[frame["state"] == "complete"]
    best = done["score"].cummin()
    axes.step(done["trial"], best, where="post", color=COLOURS[0], linewidth=1.0, label="best")
    values = frame["score"].to_numpy(dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size and 0 < 5 * values.min() < values.max():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(plain_numbers())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Trial")
    axes.set_ylabel(quantity(label, units))
    axes.grid(axis="y", color="0.92", linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=4)
    return finish(figure, path)


@styled
def importances(
    shares: Mapping[str, float], path: Path | None = None, *, title: str = ""
) -> Figure:
    """Share of the score's variance that each value explains, the largest at the top.

    Parameters
    ----------
    shares
        Name to share, which sum to 1; empty if too few trials tell.
    path
        File to write.
    title
        Heading of the figure.
    """
    figure = figure_of(5.6, 1.3 + 0.3 * max(1, len(shares)), title, "constrained")
    axes = figure.subplots()
    if not shares:
        axes.set_axis_off()
        axes.text(0, 0.5, "Too few trials are complete to tell", va="center")
        return finish(figure, path)
    ordered = dict(sorted(shares.items(), key=lambda item: (item[1], item[0])))
    bars = axes.barh(list(ordered), list(ordered.values()), color=COLOURS[0], height=0.6)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.set_xlim(0, 1.1)
    axes.set_xlabel("Importance (share, PED-ANOVA)")
    return finish(figure, path)
