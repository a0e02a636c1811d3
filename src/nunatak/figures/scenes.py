"""Charts of scenes: when they were taken, and how well each is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nunatak.figures.style import COLOURS, figure_of, finish, styled


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
