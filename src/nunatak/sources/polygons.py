"""Polygons on their way to a grid: cut to what a tile needs, moved to its CRS."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from nunatak.errors import DataError
from nunatak.grid import Window

Shapes = NDArray[Any]
Numbers = NDArray[np.float64]
Bounds = tuple[float, float, float, float]

TURNS = (-360.0, 0.0, 360.0)
_TILE = 512
_MARGIN = 2
_PLANE = 1e12
# Positions of cells are rounded to this share of one, so that all blocks have the same lattice.
_FINEST = 1 << 16
# The longest piece of an edge that stays straight when it is reprojected, in a geographic CRS and
# in others.
_LONGEST = {True: 0.1, False: 10e3}


def lattice_of(grid: GeoBox) -> tuple[Affine, Window]:
    """The lattice that all grids of the same cells share, and the window of it that a grid is."""
    a, _, c, _, e, f = tuple(grid.affine)[:6]
    left, u = divmod(round(c / a * _FINEST), _FINEST)
    top, v = divmod(round(f / e * _FINEST), _FINEST)
    rows, cols = grid.shape
    origin = Affine(a, 0.0, u / _FINEST * a, 0.0, e, v / _FINEST * e)
    return origin, Window(top, top + rows, left, left + cols)


def tiles(whole: Window) -> Iterator[Window]:
    """The tiles of a lattice that a window meets."""
    for top in range(whole.top // _TILE * _TILE, whole.bottom, _TILE):
        for left in range(whole.left // _TILE * _TILE, whole.right, _TILE):
            yield Window(top, top + _TILE, left, left + _TILE)


def bounds(box: GeoBox) -> Bounds:
    """Left, bottom, right, top of a grid with a margin."""
    left, bottom, right, top = box.pad(_MARGIN).boundingbox
    return left, bottom, right, top


def any_longitude(bounds: Bounds) -> Bounds:
    """The same latitudes, at any longitude."""
    return -_PLANE, bounds[1], _PLANE, bounds[3]


def seen(near: Bounds, wanted: CRS, given: CRS) -> Bounds:
    """Bounds in the file's CRS that hold bounds in a grid's."""
    if wanted.geographic and not given.geographic:
        raise DataError(
            f"polygons in {given} may meet a pole or the end of the circle on a grid in {wanted}",
            "a projected grid, or polygons in longitude and latitude",
            f"convert the file with ogr2ogr -wrapdateline -t_srs {wanted}",
        )
    there = _transformer(wanted.to_wkt(), given.to_wkt())
    left, bottom, right, top = there.transform_bounds(*near, densify_pts=_TILE)
    if not np.isfinite([left, bottom, right, top]).all():
        return -_PLANE, -_PLANE, _PLANE, _PLANE
    longest = _LONGEST[given.geographic]
    x, y = (0.05 * abs(end - start) + longest for start, end in ((left, right), (bottom, top)))
    seen = left - x, bottom - y, right + x, top + y
    return any_longitude(seen) if given.geographic else seen


def moved(shapes: Shapes, near: Bounds, given: CRS, wanted: CRS) -> Shapes:
    """What lies in bounds of polygons in one CRS, in another; long edges bend as they should."""
    move = _transformer(given.to_wkt(), wanted.to_wkt())
    fine = shapely.segmentize(shapely.clip_by_rect(shapes, *near), _LONGEST[given.geographic])
    moved = shapely.transform(fine, lambda xy: np.column_stack(move.transform(*xy.T)))
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise DataError(
            f"polygons in {given} reach to where {wanted} has no coordinates",
            "polygons that the grid's CRS can express",
            "cut the file with ogr2ogr -clipsrc first, or use another CRS for the grid",
        )
    return np.asarray(moved)


def shifted(shapes: Shapes, turn: float) -> Shapes:
    """Polygons moved around the circle of longitudes."""
    return np.asarray(shapely.transform(shapes, lambda xy: xy + np.array([turn, 0.0])))


def parts(shapes: Shapes) -> tuple[Shapes, NDArray[np.intp]]:
    """The single polygons of geometries of any kind, and the index of that of each."""
    owner = np.arange(len(shapes))
    for _ in range(2):
        shapes, index = shapely.get_parts(shapes, return_index=True)
        owner = owner[index]
    kept = (shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(shapes)
    return shapes[kept], owner[kept]


@lru_cache(maxsize=16)
def _transformer(given: str, wanted: str) -> Transformer:
    return Transformer.from_crs(given, wanted, always_xy=True)
