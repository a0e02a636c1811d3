"""Days of regions: fields and error maps on one colour scale, spectra, and errors in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, cos, radians
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nunatak.figures.charts import draw_spectra
from nunatak.figures.relief import Extent, decimate
from nunatak.figures.style import (
    Array,
    date_axis,
    figure_of,
    finish,
    lettered,
    line_of,
    plain_numbers,
    quantity,
    styled,
)

_COLUMNS, _SIDE, _PIXELS = 5, 2.3, 700
_MISSING = "0.86"
_FEW, _MANY = 7, 60


@dataclass(frozen=True)
class Sheet:
    """Fields of one region.

    Attributes
    ----------
    name
        Its title.
    extent
        Left, bottom, right, top: degrees or metres.
    degrees
        Whether the extent is in degrees.
    fields
        Title to field (rows, columns), NaN where missing; they may differ in resolution.
    """

    name: str
    extent: Extent
    degrees: bool
    fields: Mapping[str, Array]

    @property
    def stretch(self) -> float:
        """Height of a unit of the extent over its width, as drawn: degrees as at mid latitude."""
        _, bottom, _, top = self.extent
        return 1 / max(0.2, cos(radians((bottom + top) / 2))) if self.degrees else 1.0

    @property
    def aspect(self) -> float:
        """Height over width, as drawn."""
        left, bottom, right, top = self.extent
        return (top - bottom) / (right - left) * self.stretch


@styled
def field_sheets(
    sheets: Sequence[Sheet],
    path: Path | None = None,
    *,
    label: str,
    units: str,
    errors: bool = False,
    title: str = "",
) -> Figure:
    """Draw the fields of regions, all of them on one colour scale.

    Parameters
    ----------
    sheets
        What to draw, one or more; a region takes a row, or more than one if it has many fields.
    path
        File to write.
    label, units
        What the fields are, for the colour bar.
    errors
        Whether they are sizes of errors: the scale begins at 0 then and holds 98 % of all; else it
        holds 99 % of the first field of each region, which is the truth.
    title
        Heading of the figure.
    """
    most = max(len(sheet.fields) for sheet in sheets)
    columns = ceil(most / ceil(most / _COLUMNS))
    rows = [sheet for sheet in sheets for _ in range(ceil(len(sheet.fields) / columns))]
    heights = [_SIDE * min(sheet.aspect, 1.6) for sheet in rows]
    high = sum(heights) + 0.5 * len(rows) + 0.4 + 0.3 * bool(title)
    figure = figure_of(_SIDE * columns + 1.5, high, title, "constrained")
    grid = figure.subplots(
        len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    limits, colours = _limits(sheets, errors), "magma_r" if errors else "viridis"
    free = grid.ravel().tolist()
    for i, sheet in enumerate(sheets):
        count = ceil(len(sheet.fields) / columns) * columns
        own, free = free[:count], free[count:]
        for j, (name, values) in enumerate(sheet.fields.items()):
            _draw(own[j], sheet, values, norm=limits, cmap=colours)
            _label(own[j], sheet, left=j % columns == 0, low=j + columns >= len(sheet.fields))
            own[j].set_title(f"{lettered(i, sheet.name)}\n{name}" if j == 0 else name)
        for extra in own[len(sheet.fields) :]:
            extra.remove()
    bar: dict[str, Any] = {"extend": "max" if errors else "both", "pad": 0.02, "aspect": 30}
    bar |= {"label": quantity(label, units), "shrink": min(1.0, max(0.5, 4.0 / high))}
    figure.colorbar(ScalarMappable(limits, colours), ax=figure.axes, **bar)
    return finish(figure, path)


def _limits(sheets: Sequence[Sheet], errors: bool) -> Normalize:
    count = None if errors else 1
    found = [np.asarray(values) for s in sheets for values in [*s.fields.values()][:count]]
    values = np.concatenate([each[~np.isnan(each)] for each in found])
    if not values.size:
        return Normalize(0.0, 1.0)
    low, high = np.percentile(values, [0.0, 98.0] if errors else [0.5, 99.5])
    low = 0.0 if errors else low
    return Normalize(low, high if high > low else low + 1.0)


def _draw(axes: Axes, sheet: Sheet, values: Array, **colours: Any) -> None:
    """One field; the cells at its right and lower edge may reach beyond the extent."""
    shown, step = decimate(values, _PIXELS)
    factor = 1.0 if sheet.degrees else 1e-3
    left, bottom, right, top = (each * factor for each in sheet.extent)
    width, height = (right - left) / values.shape[1], (top - bottom) / values.shape[0]
    edges = left, left + shown.shape[1] * step * width, top - shown.shape[0] * step * height, top
    axes.imshow(shown, extent=edges, interpolation="nearest", **colours)
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect=sheet.stretch)
    axes.set_facecolor(_MISSING)
    axes.spines[:].set_visible(True)


def _label(axes: Axes, sheet: Sheet, *, left: bool, low: bool) -> None:
    names = ("Longitude (°E)", "Latitude (°N)") if sheet.degrees else ("x (km)", "y (km)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(plain_numbers())
    axes.set(xlabel=names[0] if low else "", ylabel=names[1] if left else "")
    axes.tick_params(labelbottom=low, labelleft=left)


@styled
def day_charts(
    spectra: Mapping[str, pd.DataFrame],
    days: pd.DataFrame,
    path: Path | None = None,
    *,
    coarse_nyquist: float | None = None,
    units: str,
    title: str = "",
) -> Figure:
    """Spectra by wavelength, and below them the errors of every day where there are several.

    Parameters
    ----------
    spectra
        As of :func:`nunatak.figures.spectra`.
    days
        Columns ``date``, ``where``, ``method`` and ``rmse``, one row a day, region and method; the
        mean over the regions of a day is drawn, lines broken where days are missing.
    path
        File to write.
    coarse_nyquist
        The shortest wave that the coarsest grid holds (m), to be marked.
    units
        Units of the field.
    title
        Heading of the figure.
    """
    several = days["date"].nunique() > 1
    figure = figure_of(10.2, 3.6 + 2.4 * several + 0.3 * bool(title), title, "constrained")
    top, *below = figure.subfigures(1 + several, 1, squeeze=False, height_ratios=_ratios(several))
    draw_spectra(top[0], spectra, coarse_nyquist=coarse_nyquist, units=units)
    for (part,) in below:
        _series(part.subplots(), days, list(spectra), units)
    return finish(figure, path)


def _ratios(several: bool) -> list[float]:
    return [3.6, 2.4] if several else [3.6]


def _series(axes: Axes, days: pd.DataFrame, methods: Sequence[str], units: str) -> None:
    """RMSE by day."""
    found = days.assign(date=pd.to_datetime(days["date"]))
    every = pd.date_range(found["date"].min(), found["date"].max())
    for i, method in enumerate(methods):
        mean = found[found["method"] == method].groupby("date")["rmse"].mean().reindex(every)
        marker = "o" if len(every) < _MANY else ""
        look = {**line_of(i), "marker": marker, "markersize": 3.5, "linewidth": 1.1}
        axes.plot(every.to_numpy(), mean.to_numpy(), **look)
    regions = found["where"].nunique()
    of = f", mean of {regions} regions" if regions > 1 else ""
    axes.set_title(lettered(3, f"Error of every test day{of}"))
    axes.set_ylabel(quantity("RMSE", units))
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="0.92", linewidth=0.6)
    if len(every) > _FEW:
        date_axis(axes.xaxis)
    else:
        axes.set_xticks(every.to_numpy(), [f"{day:%-d %b %Y}" for day in every])
