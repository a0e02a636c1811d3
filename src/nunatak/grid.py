"""Geometry as values: the grid of a recipe, its blocks, their halos. Pure index algebra, no I/O.

Every window of the pipeline is a rectangle of **coarse** cells; a field with ``ratio`` cells along
the side of a coarse cell has that rectangle times ``ratio``. So blocks, windows and halos of a
source at 100 m, a prior at 1 km and a product at 250 m always fit each other exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil

from affine import Affine
from odc.geo.geobox import GeoBox

from nunatak.errors import ConfigError


@dataclass(frozen=True)
class Window:
    """A rectangle of cells ``[top, bottom) x [left, right)``; it may reach beyond the domain."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices; meaningful only inside the domain."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def pad(self, halo: int) -> Window:
        """Grow by ``halo`` cells on every side (shrink if negative)."""
        return Window(self.top - halo, self.bottom + halo, self.left - halo, self.right + halo)

    def clip(self, shape: tuple[int, int]) -> Window:
        """The part inside a domain of ``shape``."""
        return self.common(Window(0, shape[0], 0, shape[1]))

    def at(self, ratio: int) -> Window:
        """The same rectangle in cells ``ratio`` times finer."""
        return Window(self.top * ratio, self.bottom * ratio, self.left * ratio, self.right * ratio)

    def within(self, outer: Window) -> Window:
        """The same rectangle, counted from the corner of ``outer``."""
        return Window(
            self.top - outer.top,
            self.bottom - outer.top,
            self.left - outer.left,
            self.right - outer.left,
        )

    def common(self, other: Window) -> Window:
        """The rectangle that both share; empty, with a side of 0 or less, if they do not meet."""
        return Window(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )

    def meets(self, other: Window) -> bool:
        """Whether the two rectangles share a cell."""
        return (
            self.top < other.bottom
            and other.top < self.bottom
            and self.left < other.right
            and other.left < self.right
        )


@dataclass(frozen=True)
class Block:
    """One block of the tiling: its place and its core, in coarse cells."""

    row: int
    col: int
    core: Window

    @property
    def name(self) -> str:
        """``row_col``, as in the names of manifests."""
        return f"{self.row}_{self.col}"


@dataclass(frozen=True)
class Grid:
    """The grids of a recipe: fine, coarse, and anything commensurate, cut into blocks.

    Parameters
    ----------
    fine
        The target grid, rows from north to south.
    scale
        Fine cells along the side of a coarse cell.
    block
        Fine cells along the side of a block.

    Raises
    ------
    ConfigError
        If the scale does not divide the grid or the block.
    """

    fine: GeoBox
    scale: int
    block: int

    def __post_init__(self) -> None:
        rows, cols = self.fine.shape
        if rows % self.scale or cols % self.scale:
            fits = tuple(max(1, round(n / self.scale)) * self.scale for n in (rows, cols))
            raise ConfigError(
                f"grid: scale {self.scale} does not divide the grid of {rows} x {cols} fine cells",
                "a grid of whole coarse cells",
                f"change the bounds or the shape to {fits[0]} x {fits[1]} cells, or the scale",
            )
        if self.block % self.scale:
            raise ConfigError(
                f"grid: scale {self.scale} does not divide the block of {self.block} cells",
                "a block of whole coarse cells",
                f"use a block of {max(1, round(self.block / self.scale)) * self.scale}",
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the coarse grid."""
        rows, cols = self.fine.shape
        return rows // self.scale, cols // self.scale

    @property
    def whole(self) -> Window:
        """All of it (coarse cells)."""
        rows, cols = self.shape
        return Window(0, rows, 0, cols)

    @property
    def step(self) -> int:
        """Coarse cells along the side of a block."""
        return self.block // self.scale

    @property
    def coarse_resolution(self) -> float:
        """Side of a coarse cell (CRS units)."""
        return float(abs(self.fine.resolution.x)) * self.scale

    @cached_property
    def tiling(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return ceil(self.shape[0] / self.step), ceil(self.shape[1] / self.step)

    def geobox(self, ratio: int, window: Window | None = None) -> GeoBox:
        """The GeoBox with ``ratio`` cells a coarse cell, of a window (coarse cells) or of all.

        The window may reach beyond the domain.
        """
        rows, cols = self.shape
        window = window or Window(0, rows, 0, cols)
        factor = self.scale / ratio
        cells = window.at(ratio)
        affine = self.fine.affine @ Affine.scale(factor) @ Affine.translation(cells.left, cells.top)
        return GeoBox(cells.shape, affine, self.fine.crs)

    def blocks(self) -> Iterator[Block]:
        """All blocks, row by row; their cores cover every cell exactly once."""
        rows, cols = self.tiling
        yield from (self.at(row, col) for row in range(rows) for col in range(cols))

    def at(self, row: int, col: int) -> Block:
        """The block in a row and column of the tiling."""
        step = self.step
        core = Window(row * step, (row + 1) * step, col * step, (col + 1) * step)
        return Block(row, col, core.clip(self.shape))

    def named(self, name: str) -> Block:
        """The block called ``row_col``."""
        row, col = (int(part) for part in name.split("_"))
        return self.at(row, col)

    def meeting(self, window: Window) -> Iterator[Block]:
        """The blocks whose cores share a cell with a window (coarse cells)."""
        inside, step = window.clip(self.shape), self.step
        if min(inside.shape) <= 0:
            return
        for row in range(inside.top // step, ceil(inside.bottom / step)):
            for col in range(inside.left // step, ceil(inside.right / step)):
                yield self.at(row, col)

    def neighbours(self, block: Block) -> Iterator[Block]:
        """The block and the up to eight around it."""
        yield from self.meeting(block.core.pad(1))
