"""How far fronts lie apart, in what units, and the season that this is told for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from pyproj import CRS, Transformer
from scipy.spatial import KDTree

from nunatak.errors import DataError
from nunatak.metrics.accumulate import Array, Floats, Sums, fixed, ratio

_SUMMER = range(4, 9)


@dataclass(eq=False)
class DistanceSums(Sums):
    """Distances between true and predicted fronts, pooled over images.

    Parameters
    ----------
    units
        What the distances are in: ``m``, or ``cells`` where images have no georeference. The two
        do not add up.

    Attributes
    ----------
    total, n
        Sum and number of the distances.
    images
        All images.
    missed
        Images whose front the prediction lacks; they are not in the distances.
    invented
        Images where a front is predicted and none is true; not in the distances either.
    """

    units: str = fixed()
    total: float = 0.0
    n: int = 0
    images: int = 0
    missed: int = 0
    invented: int = 0

    def add(self, prediction: Array, truth: Array) -> None:
        """Count an image.

        Parameters
        ----------
        prediction, truth
            Centres of the cells of the fronts (n, 2) in the units of the sums; may be empty.
        """
        self.images += 1
        self.missed += int(len(truth) > 0 and len(prediction) == 0)
        self.invented += int(len(truth) == 0 and len(prediction) > 0)
        apart = distances(prediction, truth)
        self.total += float(apart.sum())
        self.n += apart.size

    def summary(self) -> dict[str, float]:
        """The figures of a table.

        Returns
        -------
        dict
            ``images``, ``missed``, ``invented``; ``mde``, the mean distance error of Gourmelon et
            al. 2022, doi 10.5194/essd-14-4287-2022: the mean over all cells of all fronts, true and
            predicted, of the distance to the nearest cell of the other front. NaN if no image has
            both. Long fronts weigh more; read it beside the number of missed ones.
        """
        return {
            "images": self.images,
            "missed": self.missed,
            "invented": self.invented,
            "mde": ratio(self.total, self.n),
        }


def distances(prediction: Array, truth: Array) -> Floats:
    """Distance from every point of either set (n, 2) to the nearest of the other.

    Returns
    -------
    ndarray
        (n + m,), from the prediction first; empty if one of the sets is.
    """
    if not (len(prediction) and len(truth)):
        return np.empty(0)
    there, _ = KDTree(truth).query(prediction)
    back, _ = KDTree(prediction).query(truth)
    return np.concatenate([there, back])


def unit(crs: str | None) -> tuple[str, float]:
    """What distances on a grid are in, and how many of these a unit of its CRS is.

    Returns
    -------
    tuple
        ``m`` and metres in a unit of the CRS; ``cells`` and 1 if there is no CRS, as nothing is
        known of the size of cells then.

    Raises
    ------
    DataError
        If the CRS is geographic: its degrees are no distances.
    """
    if crs is None:
        return "cells", 1.0
    axis = CRS(crs).axis_info[0]
    if axis.unit_name.startswith("degree"):
        raise DataError(f"distances in {crs}", "a projected CRS, or none", "project the scenes")
    return "m", float(axis.unit_conversion_factor)


def southern(crs: str, bounds: tuple[float, float, float, float]) -> bool:
    """Whether the middle of a scene lies south of the equator."""
    x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    return bool(to_degrees.transform(x, y)[1] < 0)


def season(day: date, south: bool) -> str:
    """``summer`` or ``winter``, as Gourmelon et al. 2022 part them: April to August, and the rest.

    In the south April to August is winter.
    """
    return "summer" if (day.month in _SUMMER) != south else "winter"
