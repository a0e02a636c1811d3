"""How well series are forecast, by lead."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nunatak.figures.style import COLOURS, figure_of, finish, lettered, quantity, styled

_PARTS = {"all": "all test days", "warm": "warm tail", "cold": "cold tail"}
_LINES = ("-", "--", ":")
_MARKS = ("o", "s", "^", "D", "v", "P")


@styled
def forecast_skill(
    table: pd.DataFrame, path: Path | None = None, *, units: str, title: str = ""
) -> Figure:
    """RMSE and correlation against lead, a line a method; on all days and in both tails.

    Panels of RMSE share a scale from 0; those of correlation do not: within a tail it is small.

    Parameters
    ----------
    table
        Of :func:`nunatak.ops.forecast.scores`; of all stations together.
    path
        File to write.
    units
        Of the series.
    title
        Heading of the figure.
    """
    given = table[(table["station"] == "all") & (table["lead"] != "all")]
    given = given.assign(lead=given["lead"].astype(int))
    figure = figure_of(9.6, 5.6 + 0.3 * bool(title), title, "constrained")
    grid = figure.subplots(2, len(_PARTS), sharex=True)
    for axes in grid[0, 1:]:
        axes.sharey(grid[0, 0])
    for column, (where, means) in enumerate(_PARTS.items()):
        for axes, name in zip(grid[:, column], ("rmse", "correlation"), strict=True):
            part = given[given["where"] == where]
            for i, method in enumerate(table["method"].unique()):
                one = part[part["method"] == method].sort_values("lead")
                look = {"color": COLOURS[i % 6], "linestyle": _LINES[i // 6 % 3]}
                axes.plot(
                    *(one["lead"], one[name]), label=method, marker=_MARKS[i % 6], ms=3.5, **look
                )
            axes.grid(axis="y", color="0.92", linewidth=0.6)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        grid[0, column].set_title(lettered(column, f"RMSE, {means}"))
        grid[1, column].set_title(lettered(column + 3, f"Correlation, {means}"))
        grid[1, column].set_xlabel("Lead (days)")
    grid[0, 0].set_ylabel(quantity("RMSE", units))
    grid[0, 0].set_ylim(bottom=0)
    grid[1, 0].set_ylabel("Correlation, mean of stations")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, max(1, len(labels))))
    return finish(figure, path)
