"""Noise and smooth fields on the plane, defined per coordinate.

A field is a cubic B-spline: a number at every node of a square lattice that is fixed to the plane
(node ``i`` lies at ``i * spacing``), each spread by the same smooth bump. Where the numbers are a
hash of the node, the field is noise that needs no memory: its value at a place depends on the seed
and the place alone. On a grid of cells the sum is a product of two sparse matrices, one for each
axis; every cell adds its terms in the same order whatever else is asked for, and only arithmetic
and square roots are used, so that a cell is the same, bit for bit, in any block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Nodes = NDArray[np.int64]
Coefficients = Callable[[Nodes, Nodes], Floats]
Field = Callable[[Floats, Floats], Floats]

_MIX = np.uint64(0x9E3779B97F4A7C15)
_MIX_ROW = np.uint64(0xC2B2AE3D27D4EB4F)
_MIX_LAST = np.uint64(0xD6E8FEB86659FD93)
# A uniform number in (-1, 1) has variance 1/3; the bump squared integrates to 151/315 on each axis.
_UNIT = 3.0**0.5 * 315 / 151


def key(*parts: object) -> np.uint64:
    """A 64-bit key that depends on all its parts, the same on every machine."""
    digest = blake2b(repr(parts).encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _scramble(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    numbers = (numbers ^ (numbers >> np.uint64(32))) * _MIX_LAST
    return (numbers ^ (numbers >> np.uint64(29))) * _MIX


def uniform(seed: np.uint64, column: Nodes, row: Nodes) -> Floats:
    """Uniform random numbers in [-1, 1) that are a hash of a place in a table.

    Parameters
    ----------
    seed
        Which table.
    column, row
        Places, of shapes that broadcast.
    """
    across = _scramble(column.astype(np.uint64) * _MIX ^ seed)
    down = _scramble(row.astype(np.uint64) * _MIX_ROW + seed)
    mixed = across ^ down
    mixed ^= mixed >> np.uint64(32)
    mixed *= _MIX_LAST
    mixed >>= np.uint64(11)
    numbers = mixed.astype(np.float64)
    numbers *= 2.0**-52
    numbers -= 1.0
    return numbers


@dataclass(frozen=True)
class Spline:
    """A smooth field: numbers at the nodes of a lattice, spread by the cubic B-spline.

    Parameters
    ----------
    spacing
        Distance between nodes (m).
    coefficients
        Function of node columns (n,) and rows (m,) that gives the numbers there, (m, n).
    """

    spacing: float
    coefficients: Coefficients

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Values (len(y), len(x)) where columns at ``x`` meet rows at ``y`` (m)."""
        across, columns = _basis(x, self.spacing)
        down, rows = _basis(y, self.spacing)
        widened = np.ascontiguousarray((across @ self.coefficients(columns, rows).T).T)
        values: Floats = down @ widened
        return values

    def at(self, x: Floats, y: Floats) -> Floats:
        """Values at scattered points; ``x`` and ``y`` (m) have one shape, not empty."""
        (i, across), (j, down) = _bump(x / self.spacing), _bump(y / self.spacing)
        left, top = i.min(), j.min()
        columns, rows = np.arange(left, i.max() + 4), np.arange(top, j.max() + 4)
        table = self.coefficients(columns, rows).ravel()
        corner = (j - top) * columns.size + (i - left)
        values = np.zeros(x.shape)
        for row in range(4):
            line = np.zeros(x.shape)
            for column in range(4):
                line += across[..., column] * table[corner + (row * columns.size + column)]
            values += down[..., row] * line
        return values


def noise(seed: np.uint64, spacing: float, amplitude: float = 1.0) -> Spline:
    """Noise of mean 0 and SD ``amplitude``, white above wavelengths of about 2.5 spacings (m)."""

    def coefficients(columns: Nodes, rows: Nodes) -> Floats:
        numbers = uniform(seed, columns, rows[:, np.newaxis])
        numbers *= amplitude * _UNIT
        return numbers

    return Spline(spacing, coefficients)


def table(spacing: float, columns: Nodes, rows: Nodes, values: Floats) -> Spline:
    """The spline of known numbers (len(rows), len(columns)) at consecutive nodes of a lattice."""

    def coefficients(some_columns: Nodes, some_rows: Nodes) -> Floats:
        return values[np.ix_(some_rows - rows[0], some_columns - columns[0])]

    return Spline(spacing, coefficients)


def sampled(spacing: float, field: Field) -> Spline:
    """The spline that takes its numbers from a field at the nodes, and so smooths it."""

    def coefficients(columns: Nodes, rows: Nodes) -> Floats:
        return field(*_places(spacing, columns, rows))

    return Spline(spacing, coefficients)


def modulated(spline: Spline, factor: Field) -> Spline:
    """A spline whose numbers are multiplied by a field at the nodes."""

    def coefficients(columns: Nodes, rows: Nodes) -> Floats:
        numbers = factor(*_places(spline.spacing, columns, rows))
        numbers *= spline.coefficients(columns, rows)
        return numbers

    return Spline(spline.spacing, coefficients)


def total(splines: Iterable[Spline], x: Floats, y: Floats) -> Floats:
    """The sum of splines (len(y), len(x)) where columns at ``x`` meet rows at ``y`` (m)."""
    values = np.zeros((y.size, x.size))
    for spline in splines:
        values += spline(x, y)
    return values


def _places(spacing: float, columns: Nodes, rows: Nodes) -> tuple[Floats, Floats]:
    return columns.astype(np.float64) * spacing, rows.astype(np.float64) * spacing


def _bump(places: Floats) -> tuple[Nodes, Floats]:
    """First of the four nodes around each place (in spacings) and their weights, (..., 4)."""
    floor = np.floor(places)
    t = places - floor
    s = 1.0 - t
    weights = np.stack(
        [s * s * s, 4.0 - 3.0 * t * t * (1.0 + s), 4.0 - 3.0 * s * s * (1.0 + t), t * t * t],
        axis=-1,
    )
    return floor.astype(np.int64) - 1, weights / 6.0


def _basis(places: Floats, spacing: float) -> tuple[csr_array, Nodes]:
    """Matrix from the nodes that places (n,) need to the places, and those nodes, ascending."""
    first, weights = _bump(places / spacing)
    nodes, which = np.unique(first[:, np.newaxis] + np.arange(4), return_inverse=True)
    starts = np.arange(0, 4 * places.size + 1, 4)
    shape = (places.size, nodes.size)
    return csr_array((weights.ravel(), which.ravel(), starts), shape=shape), nodes
