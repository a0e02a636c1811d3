"""Observations at points, block by block, whatever source they are from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nunatak.errors import SourceError
from nunatak.grid import Block, Grid
from nunatak.products import Results
from nunatak.sources.opening import open_source


@dataclass(frozen=True)
class Observations:
    """The picks of a recipe.

    Parameters
    ----------
    points
        An open source with ``chunks(geobox)``: frames with x, y (CRS of the grid) and variables.
    variable
        Which of its variables is compared.
    """

    points: Any
    variable: str

    @classmethod
    def open(cls, results: Results, data: Path) -> Observations:
        """Open the picks that a recipe names.

        Raises
        ------
        SourceError
            If the source is not one of points.
        """
        picks = results.recipe.picks
        assert picks is not None, "asked for only where the recipe has picks"
        points = open_source(results, picks.source, data)
        if not hasattr(points, "chunks"):
            raise SourceError(
                f"picks.source {picks.source!r} is read by a reader of grids",
                "a source whose reader gives points",
                "use reader: {op: points} for it",
            )
        return cls(points, picks.variable)

    def by_block(self, grid: Grid) -> Iterator[tuple[Block, pd.DataFrame]]:
        """The points of each block; a block may come several times, with different points.

        Yields
        ------
        Block
            Where the points lie.
        DataFrame
            Columns row and col (fine cells, from the block's corner) and value.
        """
        inverse = ~grid.fine.affine
        for chunk in self.points.chunks(grid.fine):
            col, row = inverse @ (chunk["x"].to_numpy(), chunk["y"].to_numpy())
            frame = pd.DataFrame(
                {
                    "row": np.floor(row),
                    "col": np.floor(col),
                    "value": chunk[self.variable].to_numpy(),
                }
            ).dropna()
            frame = frame.astype({"row": np.int64, "col": np.int64})
            for block in grid.blocks():
                cells = block.core.at(grid.scale)
                inside = frame["row"].between(cells.top, cells.bottom - 1)
                inside &= frame["col"].between(cells.left, cells.right - 1)
                if inside.any():
                    here = frame[inside]
                    row, col = here["row"] - cells.top, here["col"] - cells.left
                    yield block, here.assign(row=row, col=col)
