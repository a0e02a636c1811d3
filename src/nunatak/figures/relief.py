"""Relief: fields made small, coloured by value and shaded by slope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, Normalize

from nunatak.figures.style import Array, Floats

Extent = tuple[float, float, float, float]

PIXELS = 1200
_MISSING = "0.86"
_BELOW = ("#16264c", "#27497f", "#4a7fb0", "#8db8d3", "#d6e8ea")
_ABOVE = ("#f3ecd2", "#d8c08a", "#b08d57", "#85603a", "#553a24")
_RELIEF = LinearSegmentedColormap.from_list("relief", _BELOW + _ABOVE, N=1024)


def hillshade(
    field: Array,
    resolution: float,
    *,
    azimuth: float = 315.0,
    altitude: float = 45.0,
    exaggeration: float = 1.0,
) -> Floats:
    """Light on a relief: the cosine of the angle between its normal and the sun.

    Parameters
    ----------
    field
        Heights, in the units of length of the resolution.
    resolution
        Side of a cell.
    azimuth, altitude
        Where the light comes from: degrees clockwise from the top of the map, and above it.
    exaggeration
        Factor on the heights.

    Returns
    -------
    ndarray
        0 in the dark to 1 facing the light; ``sin(altitude)`` on the flat. NaN where the field or
        a neighbour is missing.
    """
    south, east = np.gradient(np.asarray(field, dtype=np.float64) * exaggeration, resolution)
    bearing, height = np.radians(azimuth), np.radians(altitude)
    towards = np.sin(bearing) * east - np.cos(bearing) * south
    light = (np.sin(height) - np.cos(height) * towards) / np.sqrt(1 + south**2 + east**2)
    shade: Floats = np.where(np.isnan(field), np.nan, np.clip(light, 0.0, 1.0))
    return shade


def decimate(field: Any, pixels: int = PIXELS) -> tuple[Floats, int]:
    """Mean of blocks of cells, so that neither side has more than ``pixels``.

    Parameters
    ----------
    field
        Array (row, col), or anything that is sliced like one: a Zarr array is read in strips.
    pixels
        Longest side of the result.

    Returns
    -------
    tuple
        The means of the cells that are not NaN, and how many cells a side were joined. The last
        row and column may stand for fewer.
    """
    rows, cols = field.shape
    step = ceil(max(rows, cols) / pixels)
    height = max(1, 256 // step) * step
    found = []
    for first in range(0, rows, height):
        strip = np.asarray(field[first : first + height], dtype=np.float64)
        valid = ~np.isnan(strip)
        starts = [np.arange(0, n, step) for n in strip.shape]
        total, count = (
            np.add.reduceat(np.add.reduceat(each, starts[0], axis=0), starts[1], axis=1)
            for each in (np.where(valid, strip, 0.0), valid.astype(np.float64))
        )
        found.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    return np.concatenate(found), step


@dataclass(frozen=True)
class Drawn:
    """A field as it is drawn: decimated, with the place of its cells in kilometres."""

    values: Floats
    resolution: float
    edges: tuple[float, float, float, float]

    @classmethod
    def of(cls, field: Any, extent: Extent) -> Drawn:
        """Decimate a field that covers an extent (m)."""
        left, _, right, top = (each / 1e3 for each in extent)
        values, step = decimate(field)
        cell = (right - left) / field.shape[1] * step
        rows, cols = values.shape
        return cls(values, cell * 1e3, (left, left + cols * cell, top - rows * cell, top))

    @property
    def exaggeration(self) -> float:
        """The factor on heights that makes a tenth of the slopes steep enough to see."""
        slope = np.hypot(*np.gradient(self.values, self.resolution))
        slope = slope[slope > 0]
        return 0.6 / float(np.percentile(slope, 90)) if slope.size else 1.0


@dataclass(frozen=True)
class Scale:
    """One colour scale and one light for several maps."""

    norm: Normalize
    colours: Colormap
    exaggeration: float

    @classmethod
    def of(cls, maps: Sequence[Drawn], colours: str) -> Scale:
        """The scale from 0.5 to 99.5 % of the values, with the light of the finest map."""
        values = np.concatenate([m.values[~np.isnan(m.values)] for m in maps] or [np.zeros(1)])
        low, high = np.percentile(values, [0.5, 99.5]) if values.size else (0.0, 1.0)
        low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
        chosen = _relief(low, high) if colours == "relief" else colormaps[colours]
        finest = min(maps, key=lambda m: m.resolution)
        return cls(Normalize(low, high), chosen, finest.exaggeration)

    def draw(self, axes: Axes, drawn: Drawn) -> None:
        """Draw a map, coloured and shaded."""
        rgba = self.colours(self.norm(drawn.values))
        light = hillshade(drawn.values, drawn.resolution, exaggeration=self.exaggeration)
        soft = np.where(np.isnan(light), 0.5, light * np.sqrt(0.5))[..., None]
        rgb = rgba[..., :3]
        rgba[..., :3] = 2 * soft * rgb + (1 - 2 * soft) * rgb**2
        rgba[..., 3] = ~np.isnan(drawn.values)
        draw_image(axes, drawn, rgba, norm=self.norm, cmap=self.colours)

    @property
    def mappable(self) -> ScalarMappable:
        """What a colour bar is made from."""
        return ScalarMappable(self.norm, self.colours)


def _relief(low: float, high: float) -> Colormap:
    """Blue below zero, brown above, alike in strength at equal distance from it."""
    if low >= 0 or high <= 0:
        ends = (0.5, 1.0) if low >= 0 else (0.0, 0.5)
    else:
        reach = 2 * max(-low, high)
        ends = (0.5 + low / reach, 0.5 + high / reach)
    return ListedColormap(_RELIEF(np.linspace(*ends, 512)), name="relief")


def draw_image(axes: Axes, drawn: Drawn, pixels: Array, **options: Any) -> None:
    """Place pixels where a map's cells are, on the grey of what is missing."""
    axes.imshow(pixels, extent=drawn.edges, interpolation="nearest", **options)
    axes.set_facecolor(_MISSING)


def shadow(axes: Axes, drawn: Drawn) -> None:
    """Lay the shades of a relief over a map."""
    light = hillshade(drawn.values, drawn.resolution, exaggeration=drawn.exaggeration)
    dark = np.zeros((*light.shape, 4))
    dark[..., 3] = np.clip(0.5 - 0.5 * np.sqrt(2) * np.nan_to_num(light, nan=1.0), 0.0, 0.4)
    axes.imshow(dark, extent=drawn.edges, interpolation="nearest")
