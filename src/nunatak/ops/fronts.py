"""Calving fronts out of probabilities: zones, thin lines of cells, and those lines on the map.

The steps are those of the baseline of Gourmelon et al. 2022, doi 10.5194/essd-14-4287-2022. Each is
a function; `from_zones` and `from_front` join them. A scene without a front gives no path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra
from skimage.morphology import skeletonize

Array: TypeAlias = NDArray[Any]
Field: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]
Path: TypeAlias = NDArray[np.int64]
Line: TypeAlias = NDArray[np.float64]
Bounds: TypeAlias = tuple[float, float, float, float]
Cell: TypeAlias = tuple[float, float]

_TOUCHING = np.ones((3, 3), dtype=int)
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True)
class Traced:
    """What is read off the probabilities of a scene.

    Attributes
    ----------
    paths
        Fronts as rows and columns (n, 2) of touching cells, the longest first; none if there is no
        front.
    zone
        Codes of zones (rows, cols), NaN where missing; None if the method predicts none.
    """

    paths: list[Path]
    zone: Field | None = None


def from_zones(
    probabilities: Array,
    cell: Cell,
    within: Mask | None = None,
    *,
    ocean: int = 3,
    glacier: int = 2,
    shortest: float = 0.0,
) -> Traced:
    """Zones from probabilities of classes, and the fronts where their ocean meets the glacier.

    Parameters
    ----------
    probabilities
        (classes, rows, cols); a class is its index. Cells with a NaN are missing.
    cell
        Height and width of a cell: metres, or 1 where there is no georeference.
    within
        True where fronts are looked for; by default everywhere.
    ocean, glacier
        Indices of two classes.
    shortest
        Least length of a front, in units of the cell: 750 m in the baseline.
    """
    zone = one_ocean(filled(most_likely(probabilities), ocean), ocean, glacier)
    front = boundary(zone, ocean, glacier)
    return Traced(paths(front if within is None else front & within, cell, shortest), zone)


def from_front(
    probability: Array,
    cell: Cell,
    within: Mask | None = None,
    *,
    threshold: float = 0.5,
    shortest: float = 0.0,
) -> Traced:
    """Fronts from the probability of a cell to be on one.

    Parameters
    ----------
    probability
        (rows, cols), NaN where missing.
    cell, within, shortest
        As of `from_zones`.
    threshold
        Cells above it make the front, thinned to its skeleton.
    """
    ridge = skeleton(probability, threshold)
    return Traced(paths(ridge if within is None else ridge & within, cell, shortest))


def most_likely(probabilities: Array) -> Field:
    """Index of the most likely class (rows, cols) out of (classes, rows, cols); NaN stays NaN."""
    missing = np.isnan(probabilities).any(axis=0)
    codes = np.argmax(np.where(missing, 0.0, probabilities), axis=0)
    return np.where(missing, np.float32(np.nan), codes).astype(np.float32)


def filled(zone: Array, code: int) -> Field:
    """Give a class the holes in it: known cells from which no edge is reached but through it."""
    holes = ndimage.binary_fill_holes(zone == code) & ~np.isnan(zone)
    return np.where(holes, np.float32(code), zone).astype(np.float32)


def one_ocean(zone: Array, ocean: int, glacier: int) -> Field:
    """Keep the largest part of the ocean, of cells that touch; what else is ocean turns glacier."""
    parts, count = ndimage.label(zone == ocean, structure=_TOUCHING)
    if count < 2:
        return zone.astype(np.float32)
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    lost = (parts > 0) & (parts != largest)
    return np.where(lost, np.float32(glacier), zone).astype(np.float32)


def boundary(zone: Array, ocean: int, glacier: int) -> Mask:
    """Cells of the ocean that share a side with the glacier: a line one cell wide."""
    beside: Mask = ndimage.binary_dilation(zone == glacier) & (zone == ocean)
    return beside


def skeleton(probability: Array, threshold: float) -> Mask:
    """Cells above a threshold, thinned to lines one cell wide; missing cells are none."""
    thin: Mask = skeletonize(np.greater(probability, threshold))
    return thin


def dilated(front: Array, size: int) -> Field:
    """Widen a front by a square of ``size`` cells a side: 1 near it, 0 elsewhere, NaN kept."""
    wide = ndimage.maximum_filter(np.nan_to_num(front), size=size)
    return np.where(np.isnan(front), np.nan, wide).astype(np.float32)


def paths(front: Mask, cell: Cell, shortest: float = 0.0) -> list[Path]:
    """Longest path through each part of a thin line, the longest part first.

    Parameters
    ----------
    front
        (rows, cols), True on the line. Cells that touch, also by a corner, are one part.
    cell
        Height and width of a cell.
    shortest
        Paths that are shorter (in units of the cell) are left out; so are single cells.

    Returns
    -------
    list
        Rows and columns (n, 2) of cells in order, from the end that is nearer to the first row.
    """
    parts, _ = ndimage.label(front, structure=_TOUCHING)
    found = []
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        corner = [side.start for side in box]
        cells = np.argwhere(parts[box] == number) + corner
        if len(cells) > 1:
            found.append(_longest(cells, cell))
    kept = [path for path in found if length(path, cell) >= shortest]
    return sorted(kept, key=lambda path: -length(path, cell))


def length(path: Path, cell: Cell) -> float:
    """Length of a path from centre to centre of its cells, in units of the cell."""
    steps = np.diff(path, axis=0) * np.asarray(cell)
    return float(np.hypot(*steps.T).sum())


def drawn(traced: Iterable[Path], shape: tuple[int, int]) -> Field:
    """Paths as a field: 1 on their cells, 0 elsewhere."""
    field = np.zeros(shape, dtype=np.float32)
    for path in traced:
        field[tuple(path.T)] = 1
    return field


def line(path: Path, bounds: Bounds, cell: Cell) -> Line:
    """Centres of cells as x and y (n, 2), in units of the CRS or, where there is none, in cells.

    Parameters
    ----------
    path
        Rows and columns (n, 2).
    bounds
        Left, bottom, right, top of the scene.
    cell
        Height and width of a cell.
    """
    left, _, _, top = bounds
    down, across = (path.T + 0.5) * np.asarray(cell)[:, np.newaxis]
    return np.stack([left + across, top - down], axis=1)


def vertices(lines: Sequence[Line]) -> Line:
    """All vertices of some lines (n, 2); of none, an empty array."""
    return np.concatenate(lines) if lines else np.empty((0, 2))


def _longest(cells: Path, cell: Cell) -> Path:
    """The longest of the shortest ways between two of some cells that hang together.

    From any cell the farthest is an end of it, where there are no loops; with loops, ends are
    taken anew until the way grows no more.
    """
    graph, start, reach = _graph(cells, cell), 0, -1.0
    way = [0]
    while True:
        far, before = dijkstra(graph, directed=False, indices=[start], return_predecessors=True)
        end = int(np.argmax(far[0]))
        if far[0, end] <= reach * (1 + 1e-9):
            break
        way, reach, start = _way(before[0], end), float(far[0, end]), end
    found = cells[way]
    return found if tuple(found[0]) <= tuple(found[-1]) else found[::-1]


def _way(before: NDArray[np.int32], end: int) -> list[int]:
    way = [end]
    while before[way[-1]] >= 0:
        way.append(int(before[way[-1]]))
    return way


def _graph(cells: Path, cell: Cell) -> csr_array:
    """Distances between neighbours, each pair once."""
    corner = cells.min(axis=0) - 1
    places = np.full(np.ptp(cells, axis=0) + 3, -1)
    rows, cols = (cells - corner).T
    places[rows, cols] = np.arange(len(cells))
    one, other, far = [], [], []
    for down, across in _STEPS:
        beside = places[rows + down, cols + across]
        there = np.flatnonzero(beside >= 0)
        one.append(there)
        other.append(beside[there])
        far.append(np.full(there.size, np.hypot(down * cell[0], across * cell[1])))
    links = (np.concatenate(one), np.concatenate(other))
    return coo_array((np.concatenate(far), links), shape=(len(cells), len(cells))).tocsr()
