"""What all figures share: type, colours, labels, and no state of pyplot's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
TRUTH = "0.15"
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}

styled = rc_context(_STYLE)


def figure_of(
    width: float, height: float, title: str, layout: Literal["constrained", "compressed"]
) -> Figure:
    """An empty figure (inches), its title at the top left."""
    figure = Figure(figsize=(width, height), dpi=150, layout=layout)
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return figure


def finish(figure: Figure, path: Path | None) -> Figure:
    """Write a figure if there is a path, and return it."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, bbox_inches="tight", pad_inches=0.08)
    return figure


def quantity(label: str, units: str, datum: str = "") -> str:
    """A label with units and vertical datum: ``Bed elevation (m, EGM2008)``."""
    inside = ", ".join(part for part in ("" if units == "1" else units, datum) if part)
    return f"{label} ({inside})" if inside else label


def lettered(index: int, name: str) -> str:
    """The title of a panel: its letter, bold, and its name."""
    return f"$\\bf{{{chr(97 + index)}}}$  {name}"


def line_of(index: int) -> dict[str, Any]:
    """Colour and dashes of the line of a method: where colours are used up, dashes tell it."""
    turn, place = divmod(index, len(COLOURS))
    return {"color": COLOURS[place], "linestyle": ("-", "--", ":")[turn % 3]}


def plain_numbers() -> FuncFormatter:
    """Ticks as 0.5, 1, 2000 and never as powers of ten."""
    return FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−"))


def date_axis(axis: Axis) -> None:
    """Ticks at round dates, each no longer than it must be."""
    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axis.set_major_locator(locator)
    axis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
