"""Where the cells of a grid lie in a source, and which cells of the source they need."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import ceil, floor

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from nunatak.grid import Window
from nunatak.ops.resample import REACH, Positions
from nunatak.sources.raster import at, crs_of, geographic, same_crs

_LATTICE = 64
ALIGNED = 1e-3
_DEGREE = 111_195.0


def coincident(box: GeoBox, to: GeoBox) -> Window | None:
    """The window of ``box`` that ``to`` is, cell for cell; None if the cells do not coincide.

    Cells coincide if no edge is off by more than a thousandth of a cell. The window may reach
    beyond the box.
    """
    if not same_crs(box.crs, to.crs):
        return None
    move = ~box.affine * to.affine
    rows, cols = to.shape
    left, top = round(move.c), round(move.f)
    corners = np.array([[0, cols, 0, cols], [0, 0, rows, rows]])
    off = np.subtract(at(move, *corners), corners + np.array([[left], [top]]))
    return Window(top, top + rows, left, left + cols) if np.abs(off).max() <= ALIGNED else None


def parallel(box: GeoBox, to: GeoBox) -> bool:
    """Whether rows and columns of two grids run the same way in the same CRS."""
    move = ~box.affine * to.affine
    rows, cols = to.shape
    turned_by = max(abs(move.b) * rows, abs(move.d) * cols)
    return same_crs(box.crs, to.crs) and turned_by < ALIGNED and min(move.a, move.e) > 0


def shift(box: GeoBox, to: GeoBox) -> tuple[float, float]:
    """How far cells of ``to`` lie from those of a grid of as large cells, in parts of a cell.

    Across and down, at most a half; none where cells are of another size or turned.
    """
    move = ~box.affine * to.affine
    alike = max(abs(move.a - 1), abs(move.e - 1)) * max(to.shape) <= ALIGNED
    if not (alike and parallel(box, to)):
        return 0.0, 0.0
    return abs(move.c - round(move.c)), abs(move.f - round(move.f))


def needed(box: GeoBox, to: GeoBox, resampling: str) -> Window:
    """The cells of ``box`` on which the values at ``to`` depend; of no area if there are none.

    The window reaches beyond the box where kernels do, but no further. Columns of a full circle may
    count on around it.
    """
    row, col, slack = _hull(box, to)
    usable = np.isfinite(row) & np.isfinite(col)
    if not usable.any():
        return Window(0, 0, 0, 0)
    row, col = row[usable], col[usable]
    reach = [ceil(REACH[resampling] / share) + 1 for share in scale(box, to)]
    rows, cols = box.shape
    top, bottom = floor(row.min() - slack[0]) - reach[1], ceil(row.max() + slack[0]) + reach[1]
    left, right = floor(col.min() - slack[1]) - reach[0], ceil(col.max() + slack[1]) + reach[0]
    around, alike = turn(box), same_crs(box.crs, to.crs)
    if around and not alike and cols >= around:
        left, right = _arc(col, around, slack[1] + reach[0])
    elif not (around and alike):
        left, right = max(left, -reach[0]), min(right, cols + reach[0])
    return Window(max(top, -reach[1]), min(bottom, rows + reach[1]), left, right)


def meets(box: GeoBox, to: GeoBox) -> bool:
    """Whether centres of cells of one grid lie in the other, as far as a lattice of them tells."""
    return _reaches(box, to) or _reaches(to, box)


def _reaches(box: GeoBox, to: GeoBox) -> bool:
    lines = (np.linspace(0, n - 1, min(n, _LATTICE)).round() + 0.5 for n in reversed(to.shape))
    near = turned(box, to)
    row, col = positions(near, to, *np.meshgrid(*lines))
    around = turn(near)
    col = col % around if around else col
    rows, cols = box.shape
    return bool(((row >= 0) & (row < rows) & (col >= 0) & (col < cols)).any())


def positions(box: GeoBox, to: GeoBox, col: Positions, row: Positions) -> tuple[Positions, ...]:
    """Rows and columns of ``box`` at columns and rows of ``to``; around a circle, the nearest."""
    x, y = at(to.affine, col, row)
    if not same_crs(box.crs, to.crs):
        x, y = _transformer(crs_of(to).to_wkt(), crs_of(box).to_wkt()).transform(x, y)
    with np.errstate(invalid="ignore"):
        there, down = at(~box.affine, x, y)
        if geographic(box) and not same_crs(box.crs, to.crs):
            there = _near(there, box.shape[1] / 2, 360 / box.affine.a)
    return down, there


def points(box: GeoBox, to: GeoBox, count: int) -> Iterator[tuple[Positions, ...]]:
    """Positions in ``box`` of ``count`` x ``count`` points in every cell of ``to``.

    One point is the centre, exactly; more are interpolated between the exact corners of the cell,
    which is rough only in the cells that touch a pole of a geographic box.
    """
    rows, cols = to.shape
    if count == 1:
        yield positions(box, to, *np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5))
        return
    row, col = positions(box, to, *np.meshgrid(np.arange(cols + 1.0), np.arange(rows + 1.0)))
    circle = 360 / box.affine.a if geographic(box) else np.inf
    corners = [(slice(i, rows + i), slice(j, cols + j)) for i in (0, 1) for j in (0, 1)]
    first = col[corners[0]]
    ends = [(row[c], _near(col[c], first, circle) if circle < np.inf else col[c]) for c in corners]
    for v in (np.arange(count) + 0.5) / count:
        for u in (np.arange(count) + 0.5) / count:
            weights = ((1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u)
            pairs = list(zip(weights, ends, strict=True))
            yield sum(w * e[0] for w, e in pairs), sum(w * e[1] for w, e in pairs)


def turned(box: GeoBox, to: GeoBox) -> GeoBox:
    """A geographic box whose longitudes are counted so that it is nearest to ``to``."""
    if not (geographic(box) and same_crs(box.crs, to.crs)):
        return box
    middle, wanted = ((b.boundingbox.left + b.boundingbox.right) / 2 for b in (box, to))
    turns = round((wanted - middle) / 360)
    return GeoBox(box.shape, Affine.translation(360.0 * turns, 0.0) * box.affine, box.crs)


def turn(box: GeoBox) -> int | None:
    """Columns of the full circle of a geographic grid; None if there is no such whole number."""
    if not geographic(box):
        return None
    columns = 360 / box.affine.a
    return round(columns) if abs(columns - round(columns)) < 0.01 else None


def scale(box: GeoBox, to: GeoBox) -> tuple[float, float]:
    """Target cells along a source cell in x and y, at most 1; a degree counts as on the equator."""
    source, target = (
        np.abs([b.affine.a, b.affine.e]) * (_DEGREE if geographic(b) else 1.0) for b in (box, to)
    )
    x, y = np.minimum(source / target, 1.0)
    return float(x), float(y)


def _near(position: Positions, place: Positions | float, circle: float) -> Positions:
    """The same positions on the circle, counted so that they are nearest to a place."""
    return position - circle * np.round((position - place) / circle)


def _hull(box: GeoBox, to: GeoBox) -> tuple[Positions, Positions, tuple[float, float]]:
    """Positions in ``box`` of a lattice over ``to``, and how far cells between its nodes stray.

    They stray from the hull of the nodes by less than the largest step between neighbours; not at
    all if the CRS is the same.
    """
    lines = (np.linspace(0, n, min(n, _LATTICE) + 1) for n in reversed(to.shape))
    row, col = positions(box, to, *np.meshgrid(*lines))
    if same_crs(box.crs, to.crs):
        return row, col, (0.0, 0.0)
    circle = 360 / box.affine.a if geographic(box) else np.inf
    return row, col, (_step(row), _step(col, circle))


def _step(position: Positions, circle: float = np.inf) -> float:
    """The largest step between neighbours of a lattice, the short way around the circle."""
    with np.errstate(invalid="ignore"):
        steps = np.concatenate([np.diff(position, axis=axis).ravel() for axis in (0, 1)])
    steps = np.abs(steps[np.isfinite(steps)])
    return float(np.minimum(steps, np.abs(circle - steps)).max(initial=0.0))


def _arc(col: Positions, around: int, slack: float) -> tuple[int, int]:
    """The shortest run of columns around the circle that holds ``col``, and ``slack`` beside it."""
    place = np.sort(col % around)
    gaps = np.diff(place, append=place[0] + around)
    widest = int(gaps.argmax())
    start, length = place[(widest + 1) % place.size], around - gaps[widest]
    if length + 2 * slack >= around - 1:
        return 0, around
    return floor(start - slack), ceil(start + length + slack)


@lru_cache(maxsize=16)
def _transformer(given: str, wanted: str) -> Transformer:
    return Transformer.from_crs(given, wanted, always_xy=True)
