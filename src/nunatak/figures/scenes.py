"""Charts of scenes: when they were taken, and how well each is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nunatak.figures.style import COLOURS, figure_of, finish, quantity, styled


@styled
def calendar(frame: pd.DataFrame, path: Path | None = None, *, title: str = "") -> Figure:
    """The dates of scenes, one row a group, coloured by what they are used for.

    Parameters
    ----------
    frame
        Columns ``date``, ``group`` and ``split``, one row a scene.
    path
        File to write.
    title
        Heading of the figure.
    """
    groups = sorted(frame["group"].unique())
    figure = figure_of(8, 1.4 + 0.35 * len(groups), title, "constrained")
    axes = figure.add_subplot()
    for colour, split in zip(COLOURS, ("train", "validation", "test"), strict=False):
        part = frame[frame["split"] == split]
        place = part["group"].map({group: i for i, group in enumerate(groups)})
        axes.plot(
            np.asarray(pd.to_datetime(part["date"])),
            np.asarray(place),
            "|",
            color=colour,
            markersize=14,
            label=f"{split} ({len(part)})",
        )
    axes.set_yticks(range(len(groups)), groups)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.xaxis.axis_date()
    axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return finish(figure, path)


@styled
def marks(frame: pd.DataFrame, path: Path | None = None, *, title: str = "") -> Figure:
    """How far each scene's front is off, how well its zones are told, and where fronts are missed.

    Parameters
    ----------
    frame
        Columns ``date``, ``method``, ``units``, ``mde`` and, if any method tells zones,
        ``mean_iou``; one row a scene and method. A scene without a predicted front has an ``mde``
        of NaN and is marked at the bottom. Beside distances in metres, those in cells are left out.
    path
        File to write.
    title
        Heading of the figure.
    """
    columns = {"mde": "Mean distance of fronts", "mean_iou": "Mean IoU of zones"}
    units = "m" if (frame["units"] == "m").any() else "cells"
    kept = [name for name in columns if name in frame and frame[name].notna().any()] or ["mde"]
    figure = figure_of(8, 0.6 + 2.4 * len(kept), title, "constrained")
    for axes, name in zip(figure.subplots(len(kept), 1, squeeze=False)[:, 0], kept, strict=True):
        shown = frame[frame["units"] == units] if name == "mde" else frame
        for colour, (method, part) in zip(COLOURS, shown.groupby("method"), strict=False):
            dates, values = pd.to_datetime(part["date"]).to_numpy(), part[name].to_numpy(float)
            if np.isnan(values).all() and name != "mde":
                continue
            axes.plot(dates, values, "o", color=colour, markersize=3.5, label=str(method))
            if name == "mde":
                lost = dates[np.isnan(values)]
                low = np.zeros(len(lost))
                axes.plot(lost, low, "x", color=colour, label=f"{method}: no front ({len(lost)})")
        axes.set_ylabel(quantity(columns[name], units) if name == "mde" else columns[name])
        axes.set_ylim(bottom=0 if name == "mean_iou" else None)
        axes.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
        axes.xaxis.axis_date()
    return finish(figure, path)
