"""Time series of a glacier: where its front crosses a centre line, and how large it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from nunatak.ops.fronts import Array, Bounds, Cell, Line, Mask

COLUMNS = ("group", "scene", "date", "sensor", "source", "units", "position", "area")


@dataclass(frozen=True)
class Reading:
    """What one scene tells of a glacier, by truth or by a method.

    Attributes
    ----------
    group, scene, sensor
        The glacier, the name of the scene and what took it.
    date
        When.
    source
        ``true``, or the method.
    units
        ``m``, or ``cells`` where there is no georeference.
    position
        Of the front along the centre line (units); NaN if it does not cross.
    area
        Of the glacier (units squared); NaN if too little of it was seen.
    """

    group: str
    scene: str
    date: date
    sensor: str
    source: str
    units: str
    position: float
    area: float


def position(centre: Line, fronts: Sequence[Line]) -> float:
    """Distance along a centre line at which it first meets a front; NaN if it meets none.

    Parameters
    ----------
    centre
        Vertices (n, 2) from the glacier to the sea.
    fronts
        Vertices (m, 2) of each part of the front, in the same coordinates.
    """
    along = shapely.LineString(centre)
    met = shapely.intersection(along, [shapely.LineString(front) for front in fronts])
    places = shapely.line_locate_point(along, shapely.points(shapely.get_coordinates(met)))
    return float(np.min(places)) if places.size else float("nan")


def inside(polygon: Line, bounds: Bounds, shape: tuple[int, int]) -> Mask:
    """Cells (rows, cols) of a scene whose centres lie in a polygon (n, 2) of its coordinates."""
    left, bottom, right, top = bounds
    rows, cols = shape
    x = left + (np.arange(cols) + 0.5) * (right - left) / cols
    y = top - (np.arange(rows) + 0.5) * (top - bottom) / rows
    found: Mask = shapely.contains_xy(shapely.Polygon(polygon), *np.meshgrid(x, y))
    return found


def area(
    zone: Array, cell: Cell, where: Mask, *, glacier: int = 2, unseen: int = 0, most: float = 0.05
) -> float:
    """Area of the glacier within a part of a scene, in squared units of the cell.

    Parameters
    ----------
    zone
        Codes of zones (rows, cols), NaN where missing.
    cell
        Height and width of a cell.
    where
        True in the part; the same piece of ground in all scenes, or areas do not compare.
    glacier, unseen
        Codes of the glacier, and of what no class is known of.
    most
        Share of the part that may be missing or unseen; with more the area is NaN.
    """
    values = zone[where]
    lost = np.count_nonzero(np.isnan(values) | (values == unseen))
    if values.size == 0 or lost > most * values.size:
        return float("nan")
    return float(np.count_nonzero(values == glacier) * cell[0] * cell[1])


def placed(relative: Sequence[tuple[float, float]], bounds: Bounds) -> Line:
    """Vertices given as shares of width and height, from the top left corner, in coordinates."""
    left, bottom, right, top = bounds
    across, down = np.asarray(relative, dtype=np.float64).T
    return np.stack([left + across * (right - left), top - down * (top - bottom)], axis=1)


def table(readings: Sequence[Reading]) -> pd.DataFrame:
    """Readings by glacier, source and date, with what has changed since the first.

    Returns
    -------
    pandas.DataFrame
        The fields of `Reading`, then ``position_change`` and ``area_change``: the value minus the
        first one of the same glacier, source and units that is not NaN. Advance is positive.
    """
    frame = pd.DataFrame(readings, columns=list(COLUMNS))
    frame["date"] = pd.to_datetime(frame["date"])
    frame = frame.sort_values(["group", "source", "date", "scene"], ignore_index=True)
    for name in ("position", "area"):
        first = frame.groupby(["group", "source", "units"])[name].transform("first")
        frame[f"{name}_change"] = frame[name] - first
    return frame


def trend(dates: pd.Series, values: NDArray[Any]) -> float:
    """Slope of the least-squares line through values against dates, per year; NaN of one date."""
    years = (dates - dates.min()).dt.days.to_numpy() / 365.25
    known = ~np.isnan(values)
    if np.unique(years[known]).size < 2:
        return float("nan")
    return float(np.polyfit(years[known], values[known], 1)[0])
