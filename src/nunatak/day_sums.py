"""What is summed to judge days of regions: of one method, and of all methods over one region."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from nunatak.metrics.accumulate import Floats, Histogram, Sums, fixed, same_shape
from nunatak.metrics.days import DaySums, ErrorMap, PairSums, StationSums, TailSums
from nunatak.metrics.ocean import VelocitySums, cells
from nunatak.metrics.spectral import SpectrumSums
from nunatak.recipe import Recipe
from nunatak.registry import AS_IS

Field = NDArray[np.float32]
TAILS = 0.05, 0.95


class Asked(NamedTuple):
    """What is judged beside errors and spectra, which always are."""

    velocity: bool
    equator: float
    tails: bool


@dataclass(eq=False)
class Climate(Sums):
    """What is to be known of the truth of a region before its days are judged.

    Parameters
    ----------
    middle
        Values are counted from here, for the sake of a histogram that is finest about 0.
    sea
        True where there is a truth on any day; the rest is land.
    values
        Distribution of the truth.
    """

    middle: float = fixed()
    sea: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))
    values: Histogram = field(default_factory=Histogram)

    @classmethod
    def of(cls, recipe: Recipe, truth: Field) -> Climate:
        """Of one day."""
        known = ~np.isnan(truth)
        found = cls(sum(recipe.target.valid_range) / 2, known)
        found.values.add(truth[known].astype(np.float64) - found.middle)
        return found

    def merge(self, other: Climate) -> None:
        """Add what another has counted, on the same grid."""
        same_shape(days=self.sea, others=other.sea)
        super().merge(other)

    @property
    def ends(self) -> tuple[float, float]:
        """The 5th and the 95th percentile of the truth; NaN if there is none.

        Exact to 1e-4 of the distance from the middle of the valid range.
        """
        low, high = (self.values.quantile(share) + self.middle for share in TAILS)
        return low, high


@dataclass(eq=False)
class Marks(Sums):
    """Sums that add up over regions."""

    day: DaySums = field(default_factory=DaySums)
    tails: TailSums = field(default_factory=TailSums)
    velocity: VelocitySums = field(default_factory=VelocitySums)
    consistency: PairSums = field(default_factory=PairSums)


@dataclass(eq=False)
class Judged(Sums):
    """All sums of one method over days of one region."""

    spectrum: SpectrumSums
    map: ErrorMap
    marks: Marks = field(default_factory=Marks)
    stations: StationSums = field(default_factory=StationSums)

    @classmethod
    def empty(cls, recipe: Recipe) -> Judged:
        """Of no day yet."""
        box = recipe.layout.fine
        height, width = typical(box)
        spectrum = SpectrumSums(side(recipe), height / width)
        return cls(spectrum, ErrorMap((box.shape.y, box.shape.x)))

    def add_squares(self, prediction: Field, truth: Field) -> None:
        """Count the spectra of all squares in which no truth is missing."""
        for at in squares(truth, self.spectrum.size):
            self.spectrum.add(prediction[at], truth[at])


def made_coarse(recipe: Recipe) -> bool:
    """Whether the coarse field is made from the truth."""
    return recipe.coarse.degrade.op not in {"pair", *AS_IS}


def typical(box: GeoBox) -> tuple[float, float]:
    """Height and width of the cell in the middle of a grid (m)."""
    found = cells(box)
    middle = box.shape[0] // 2, box.shape[1] // 2
    return float(found.height[middle]), float(found.width[middle])


def side(recipe: Recipe) -> int:
    """Cells along the side of squares for spectra: as the recipe says, or what fits its grid."""
    rows, cols = recipe.layout.fine.shape.yx
    return min(recipe.evaluate.spectrum, rows, cols) // 2 * 2


def squares(truth: Field, size: int) -> Iterator[tuple[slice, slice]]:
    """Squares in which nothing is missing: they overlap by half, and reach all edges."""
    rows, cols = (_starts(length, size) for length in truth.shape)
    for top in rows:
        for left in cols:
            at = slice(top, top + size), slice(left, left + size)
            if not np.isnan(truth[at]).any():
                yield at


def _starts(length: int, size: int) -> list[int]:
    """Where squares begin along a side; the last two overlap by more where halves do not fit."""
    last = length - size
    return sorted({*range(0, last + 1, max(1, size // 2)), last})


@dataclass
class Region:
    """The days of one region.

    Parameters
    ----------
    name
        The group of its scenes.
    recipe
        That of one of them: all lie on one grid.
    by
        The sums of each method.
    truth
        Errors of the truth itself at stations.
    days
        One row a day and method: ``date``, ``where``, ``method``, ``rmse``.
    places
        Its scenes, in their order in time.
    """

    name: str
    recipe: Recipe
    by: dict[str, Judged]
    truth: StationSums = field(default_factory=StationSums)
    days: list[dict[str, Any]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)

    @classmethod
    def empty(cls, recipe: Recipe) -> Region:
        """Of no day yet, of the region of a scene."""
        by = {method: Judged.empty(recipe) for method in recipe.products}
        return cls(recipe.acquisition.group, recipe, by)

    def spectra(self) -> dict[str, pd.DataFrame]:
        """Spectra by method."""
        _, width = typical(self.recipe.layout.fine)
        return {method: sums.spectrum.summary(width) for method, sums in self.by.items()}

    def station(self, cell: tuple[int, int]) -> str:
        """What the station in a cell (row, column) is called: by its place."""
        found = cells(self.recipe.layout.fine)
        longitude = float(found.longitude[cell] + 180) % 360 - 180
        latitude = float(found.latitude[cell])
        return f"{self.name}: {_side(latitude, 'NS')} {_side(longitude, 'EW')}"

    @property
    def maps(self) -> dict[str, Floats]:
        """RMSE of every cell, by method."""
        return {method: sums.map.rmse for method, sums in self.by.items()}


def _side(degrees: float, letters: str) -> str:
    return f"{abs(degrees):.2f} {letters[int(degrees < 0)]}"
