"""What is summed to judge a product: blocks, patches and picks each have theirs, which merge."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

import numpy as np
from numpy.typing import NDArray

from nunatak.grid import Grid, Window
from nunatak.metrics.accumulate import Sums
from nunatak.metrics.pointwise import ErrorSums, SlopeSums
from nunatak.metrics.roughness import RoughnessSums, SeamSums
from nunatak.metrics.spectral import SpectrumSums, effective_resolution
from nunatak.recipe import Recipe
from nunatak.registry import DEGRADE

Field = NDArray[np.float32]


@dataclass(eq=False)
class Scores(Sums):
    """All sums of one method.

    Parameters
    ----------
    recipe
        Gives resolution, scale, operator, and the sizes of windows and patches.
    """

    recipe: Recipe = field(metadata={"fixed": True})
    cells: ErrorSums = field(default_factory=ErrorSums)
    picks: ErrorSums = field(default_factory=ErrorSums)
    consistency: ErrorSums = field(default_factory=ErrorSums)
    slope: SlopeSums = field(init=False)
    roughness: RoughnessSums = field(init=False)
    spectrum: SpectrumSums = field(init=False)
    seams: SeamSums = field(init=False)

    def __post_init__(self) -> None:
        resolution = self.recipe.grid.resolution
        self.slope = SlopeSums(resolution, minimum=0.01)
        self.roughness = RoughnessSums(self.recipe.evaluate.roughness)
        self.spectrum = SpectrumSums(self.recipe.evaluate.spectrum)
        self.seams = SeamSums(resolution)

    def add(
        self, core: Window, prediction: Field, truth: Field, coarse: Field, mask: NDArray[np.bool_]
    ) -> None:
        """Count one block.

        Parameters
        ----------
        core
            The block (coarse cells).
        prediction, truth
            The block with `halo` coarse cells around it, NaN where missing.
        coarse
            The coarse field of the block itself.
        mask
            True at the fine cells, halo included, that are judged.
        """
        scale, edge = self.recipe.grid.scale, halo(self.recipe) * self.recipe.grid.scale
        self.cells.add(prediction, truth, mask)
        self.slope.add(prediction, truth, mask)
        self.roughness.add(prediction, truth, mask)
        inner = prediction[edge:-edge, edge:-edge]
        judged = mask[edge:-edge, edge:-edge][::scale, ::scale]
        degrade = self.recipe.coarse.degrade
        if degrade.op != "pair":
            again = DEGRADE.call(degrade.op, degrade.args, inner, scale)
            self.consistency.add(again, coarse, judged)
        ring = slice(edge - 1, 1 - edge or None)
        self.seams.add(prediction[ring, ring], *_lines(core, self.recipe.layout))

    def row(self) -> dict[str, float]:
        """The figures of one line of the table, in units of the target and in metres."""
        rough = self.roughness.summary()
        spectra = self.spectrum.summary(self.recipe.grid.resolution)
        reach = effective_resolution(
            spectra["wavelength"].to_numpy(), spectra["coherence"].to_numpy()
        )
        return {
            **self.cells.summary(),
            "slope_rmse": self.slope.summary()["slope_rmse"],
            "roughness": rough["prediction"],
            "roughness_truth": rough["truth"],
            "roughness_rmse": rough["rmse"],
            "effective_resolution": reach,
            "consistency": self.consistency.summary()["rmse"],
            "seam_ratio": self.seams.summary()["ratio"],
        }


def halo(recipe: Recipe) -> int:
    """Coarse cells around a block that its scores read."""
    return max(1, ceil((recipe.evaluate.roughness // 2 + 1) / recipe.grid.scale))


Lines = tuple[range | list[int], range | list[int]]


def _lines(core: Window, grid: Grid) -> tuple[Lines, Lines]:
    """Lines between blocks, and those between coarse cells, in a block with a halo of one cell.

    At the edge of the domain the halo is missing, and no line is counted.
    """
    rows, cols = core.at(grid.scale).shape
    seams = ([1, rows + 1], [1, cols + 1])
    interior = (range(1 + grid.scale, rows, grid.scale), range(1 + grid.scale, cols, grid.scale))
    return seams, interior
