"""Grids of any scale over a coarse one: which of their cells lie where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from nunatak.errors import ConfigError
from nunatak.grid import Grid, Window


@dataclass(frozen=True)
class Cells:
    """Equal cells that cover a coarse grid.

    Parameters
    ----------
    coarse
        Rows and columns of the coarse grid.
    shape
        Rows and columns of these cells.
    """

    coarse: tuple[int, int]
    shape: tuple[int, int]

    @classmethod
    def at(cls, coarse: tuple[int, int], scale: float) -> Cells:
        """Those of a scale, as many as come nearest to it.

        Raises
        ------
        ConfigError
            If the scale is not positive, or leaves no cell.
        """
        rows, columns = (round(n * scale) if 0 < scale < np.inf else 0 for n in coarse)
        if min(rows, columns) < 1:
            raise ConfigError(
                f"rescale: scale {scale:g} of {coarse[0]} x {coarse[1]} coarse cells",
                "a scale above 0 that leaves a row and a column: cells along the side of a coarse"
                " one",
            )
        return cls(coarse, (rows, columns))

    def over(self, ratio: int) -> Cells:
        """The same cells, over a grid of ``ratio`` cells along the side of a coarse cell."""
        rows, columns = self.coarse
        return Cells((rows * ratio, columns * ratio), self.shape)

    @property
    def size(self) -> tuple[float, float]:
        """Height and width of a cell, in coarse cells."""
        (rows, columns), (h, w) = self.shape, self.coarse
        return h / rows, w / columns

    def of(self, window: Window) -> Window:
        """The cells whose centres lie in a window of coarse cells, or on its edge above or left.

        Windows that share no coarse cell share none of these, and each is in one of them.
        """
        top, bottom = (self._first(0, n) for n in (window.top, window.bottom))
        left, right = (self._first(1, n) for n in (window.left, window.right))
        return Window(top, bottom, left, right)

    def _first(self, axis: int, edge: int) -> int:
        """The first cell whose centre lies at or behind an edge between coarse cells."""
        wanted, given = self.shape[axis], self.coarse[axis]
        return -((given - 2 * edge * wanted) // (2 * given))

    def centres(self, axis: int, start: int, stop: int) -> NDArray[np.float64]:
        """Where the centres of some rows (axis 0) or columns (1) lie, in coarse cells."""
        return (np.arange(start, stop) + 0.5) * self.coarse[axis] / self.shape[axis]

    def owners(self, axis: int, start: int, stop: int) -> NDArray[np.int64]:
        """The coarse rows or columns in which the centres of some of these cells lie."""
        wanted, given = self.shape[axis], self.coarse[axis]
        return (2 * np.arange(start, stop) + 1) * given // (2 * wanted)

    def geobox(self, grid: Grid) -> GeoBox:
        """Their GeoBox, whose bounds are those of a grid of these coarse cells."""
        box, (height, width) = grid.geobox(1), self.size
        return GeoBox(self.shape, box.affine @ Affine.scale(width, height), box.crs)
