"""What is summed to judge a product: blocks, patches and picks each have theirs, which merge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from numpy.typing import NDArray

from nunatak.grid import Grid, Window
from nunatak.metrics.accumulate import Sums
from nunatak.metrics.pointwise import ErrorSums, SlopeSums
from nunatak.metrics.roughness import RoughnessSums, SeamSums
from nunatak.metrics.spectral import SpectrumSums, effective_resolution
from nunatak.ops.degrade import degraded, surroundings
from nunatak.recipe import Recipe

Field = NDArray[np.float32]


@dataclass(eq=False)
class ClassSums(Sums):
    """Sums of errors of classes of cells, by their names."""

    by: dict[str, ErrorSums] = field(default_factory=dict)

    def merge(self, other: ClassSums) -> None:
        """Add what another accumulator has counted."""
        for name, sums in other.by.items():
            self.by.setdefault(name, ErrorSums()).merge(sums)


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
    classes: ClassSums = field(default_factory=ClassSums)
    slope: SlopeSums = field(init=False)
    roughness: RoughnessSums = field(init=False)
    spectrum: SpectrumSums = field(init=False)
    seams: SeamSums = field(init=False)

    def __post_init__(self) -> None:
        resolution = self.recipe.resolution
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
        judged = mask[edge:-edge, edge:-edge][::scale, ::scale]
        by = self.recipe.coarse.degrade
        if by.op != "pair":
            far = edge - surroundings(by.op, scale) * scale
            inner = prediction[far:-far, far:-far] if far else prediction
            self.consistency.add(degraded(inner, scale, by.op, by.args), coarse, judged)
        ring = slice(edge - 1, 1 - edge or None)
        self.seams.add(prediction[ring, ring], *_lines(core, self.recipe.layout))

    def add_classes(
        self, prediction: Field, truth: Field, classes: Mapping[str, NDArray[np.bool_]]
    ) -> None:
        """Count the cells of classes in one block, all on the fine grid of the block itself."""
        for name, mask in classes.items():
            self.classes.by.setdefault(name, ErrorSums()).add(prediction, truth, mask)

    def row(self) -> dict[str, float]:
        """The figures of one line of the table, in units of the target and in metres."""
        rough = self.roughness.summary()
        spectra = self.spectrum.summary(self.recipe.resolution)
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
    scale = recipe.grid.scale
    window = ceil((recipe.evaluate.roughness // 2 + 1) / scale)
    return max(1, window, surroundings(recipe.coarse.degrade.op, scale))


Lines = tuple[range | list[int], range | list[int]]


def _lines(core: Window, grid: Grid) -> tuple[Lines, Lines]:
    """Lines between blocks, and those between coarse cells, in a block with a halo of one cell.

    At the edge of the domain the halo is missing, and no line is counted.
    """
    rows, cols = core.at(grid.scale).shape
    seams = ([1, rows + 1], [1, cols + 1])
    interior = (range(1 + grid.scale, rows, grid.scale), range(1 + grid.scale, cols, grid.scale))
    return seams, interior
