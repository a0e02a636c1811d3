"""Cells on the ground, and the geostrophic velocity that follows from the slope of the sea."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import NamedTuple

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from nunatak.errors import DataError
from nunatak.metrics.accumulate import Array, Floats, Sums, ratio, same_shape
from nunatak.metrics.pointwise import gradient

GRAVITY = 9.80665
ROTATION = 7.292115e-5
_EARTH = Geod(ellps="WGS84")


class Cells(NamedTuple):
    """Where the cells of a grid lie and how large they are on the ground, each (rows, columns).

    Attributes
    ----------
    longitude, latitude
        Of their centres (degrees).
    height, width
        Along the columns and along the rows of the grid (m).
    """

    longitude: Floats
    latitude: Floats
    height: Floats
    width: Floats


@lru_cache(maxsize=4)
def cells(box: GeoBox) -> Cells:
    """Place and size of every cell of a grid, in whatever CRS, on the WGS 84 ellipsoid.

    Parameters
    ----------
    box
        The grid, north-up. In a geographic one all cells of a row are alike.

    Raises
    ------
    DataError
        If it has no CRS: nothing is known of where it lies.
    """
    if box.crs is None:
        raise DataError("days on a grid without a CRS", "a place on the Earth", "declare the crs")
    rows, cols = np.arange(box.shape[0])[:, None] + 0.5, np.arange(box.shape[1])[None, :] + 0.5
    across = cols[:, :1] if box.crs.geographic else cols
    height = _apart(box, (rows - 0.5, across), (rows + 0.5, across))
    width = _apart(box, (rows, across - 0.5), (rows, across + 0.5))
    longitude, latitude = _degrees(box, rows, cols)
    shape = tuple(box.shape)
    return Cells(longitude, latitude, *(np.broadcast_to(v, shape) for v in (height, width)))


def _apart(box: GeoBox, one: tuple[Array, Array], other: tuple[Array, Array]) -> Floats:
    """Distance on the ground (m) between points of a grid, given as rows and columns."""
    apart: Floats = _EARTH.inv(*_degrees(box, *one), *_degrees(box, *other))[2]
    return apart


def _degrees(box: GeoBox, rows: Array, cols: Array) -> tuple[Floats, Floats]:
    """Longitude and latitude of points of a grid."""
    assert box.crs is not None
    a = box.affine
    x, y = np.broadcast_arrays(a.c + a.a * cols, a.f + a.e * rows)
    if box.crs.geographic:
        return x, y
    to_degrees = Transformer.from_crs(box.crs.to_wkt(), "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(x, y)
    return longitude, latitude


def geostrophic(surface: Array, place: Cells, *, equator: float = 5.0) -> tuple[Floats, Floats]:
    """Velocity of the current that balances the slope of the sea surface.

    ``u = -g / f dh/dy`` and ``v = g / f dh/dx`` with ``f = 2 omega sin(latitude)``, by centred
    differences.

    Parameters
    ----------
    surface
        Height of the sea surface (rows, columns) in metres, rows from north to south.
    place
        Its cells.
    equator
        Latitude (degrees) below which the balance does not hold.

    Returns
    -------
    tuple
        Velocity along the rows (to the east of a geographic grid) and along the columns (to the
        north), m s-1. NaN nearer to the equator, on the outer ring of cells, and where the height
        or that of a cell beside is missing.
    """
    same_shape(surface=surface, latitude=place.latitude)
    along, across = gradient(surface, 1.0)
    away = np.abs(place.latitude) >= equator
    turning = 2 * ROTATION * np.sin(np.radians(place.latitude))
    factor = np.divide(GRAVITY, turning, out=np.full(away.shape, np.nan), where=away)
    return -factor * along / place.height, factor * across / place.width


@dataclass(eq=False)
class VelocitySums(Sums):
    """Errors of velocities: the length of the difference of two vectors.

    Attributes
    ----------
    n
        Cells where both have a velocity.
    squares
        Sum of the squared lengths.
    """

    n: int = 0
    squares: float = 0.0

    def add(self, prediction: tuple[Array, Array], truth: tuple[Array, Array]) -> None:
        """Count a day: components of the velocities, NaN where there is none."""
        u, v = (given - true for given, true in zip(prediction, truth, strict=True))
        squares = np.square(u) + np.square(v)
        known = ~np.isnan(squares)
        self.n += int(known.sum())
        self.squares += float(squares[known].sum())

    @property
    def rmse(self) -> float:
        """Root of the mean squared length; NaN if nothing was counted."""
        return sqrt(ratio(self.squares, self.n))
