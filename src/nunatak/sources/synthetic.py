"""The synthetic world: an ice sheet whose bed is known everywhere, without a file.

Any block, of any size and in any order, comes out bit for bit as it lies in the whole, and needs
no more memory than itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from nunatak.errors import SourceError
from nunatak.grid import Window
from nunatak.source import Source
from nunatak.sources.flights import Region, crossing
from nunatak.sources.icesheet import Plan
from nunatak.sources.noise import Floats, Spline, key, modulated, noise, sampled, total
from nunatak.sources.raster import same_crs
from nunatak.sources.relief import COARSE, KM, OCTAVES, ORDERS, WAVELENGTH, octave, transfer, trough

VARIABLES = ("bed", "surface", "thickness", "vx", "vy", "accumulation")
# Cells are evaluated in strips, picks in patches, so that memory does not grow with the request.
_ROWS, _REACH = 512, 150.0 * KM
_PATCH = 50.0 * KM
_CARVED, _SNOW, _RISING = 500.0, 350.0, 2


_CHUNK = 500e3


@dataclass(frozen=True)
class World:
    """A synthetic ice sheet on a plane of metres like EPSG:3031.

    The bed is fractal (Hurst exponent 0.7 up to wavelengths of 6.5 km) and has troughs, valleys
    and highlands. The surface carries the bed's undulations, the shorter the fainter, and 0.1 m of
    noise of its own; ice flows down it. At sea it is that of the water or of the ice afloat.

    Parameters
    ----------
    seed
        Worlds of different seeds share the plan and differ in all detail.
    """

    seed: int = 0

    def evaluate(self, variable: str, x: ArrayLike, y: ArrayLike) -> NDArray[np.float32]:
        """Values (len(y), len(x)) where columns at ``x`` meet rows at ``y``; none is NaN.

        Parameters
        ----------
        variable
            ``bed``, ``surface`` (m above the geoid), ``thickness`` (surface minus bed, m; at sea
            the water counts), ``vx``, ``vy`` (m/yr) or ``accumulation`` (kg m-2 yr-1).
        x, y
            Projected coordinates (m), rounded to the millimetre, so that the rounding errors of an
            affine transform do not count.

        Raises
        ------
        SourceError
            If the variable is unknown.
        """
        if variable not in VARIABLES:
            raise SourceError(
                f"the synthetic world has no variable {variable!r}",
                f"one of {', '.join(VARIABLES)}",
                "correct the variable's name in the source",
            )
        across = np.asarray(x, np.float64).round(3)
        down = np.asarray(y, np.float64).round(3)
        values = np.empty((down.size, across.size), np.float32)
        if values.size:
            strip = max(1, min(_ROWS, int(_REACH * down.size / (np.ptp(down) + 1.0))))
            for top in range(0, down.size, strip):
                rows = slice(top, top + strip)
                values[rows] = self._values(variable, across, down[rows])
        return values

    def _values(self, variable: str, x: Floats, y: Floats) -> NDArray[np.float32]:
        plan = Plan.around(self.seed, x, y)
        if variable in ("vx", "vy", "accumulation"):
            values = plan.spline(getattr(plan, variable))(x, y)
            return values.astype(np.float32)
        ground = total(_bed(plan), x, y).astype(np.float32)
        if variable == "bed":
            return ground
        top = np.maximum(total(_surface(plan), x, y).astype(np.float32), ground)
        return top if variable == "surface" else top - ground

    def picks(self, left: float, bottom: float, right: float, top: float) -> pd.DataFrame:
        """Radar picks of the bed in a region, ``[left, right) x [bottom, top)`` (m).

        Survey lines, straight or slightly bent, sound grounded ice every 50 m. A pick is off by
        20 m (SD), one in 250 by 100 to 300 m more. The picks of a region are those of its parts.

        Returns
        -------
        pandas.DataFrame
            ``x``, ``y`` (m), ``bed`` (m above the geoid, with its error) and ``line`` (the number
            of the survey line), ordered by line and along it.
        """
        points = crossing(self.seed, Region(left, bottom, right, top))
        patch = np.floor(points["y"] / _PATCH), np.floor(points["x"] / _PATCH)
        heard = [self._sound(part) for _, part in points.groupby([*patch])]
        picks = pd.concat(heard) if heard else points.assign(bed=points["error"])
        return picks.sort_index().reset_index(drop=True)[["x", "y", "bed", "line"]]

    def _sound(self, points: pd.DataFrame) -> pd.DataFrame:
        """The bed under points that lie near each other, where ice is grounded."""
        x, y = points["x"].to_numpy(), points["y"].to_numpy()
        plan = Plan.around(self.seed, x, y)
        heights = points["error"] + sum(part.at(x, y) for part in _bed(plan))
        return points.assign(bed=heights)[plan.spline(plan.inland).at(x, y) > 0]


@dataclass(frozen=True)
class SyntheticRaster:
    """A synthetic world as a source: evaluated at the cells of any grid in the source's CRS.

    Parameters
    ----------
    world
        The world.
    source
        Its entry in the catalogue: names of variables, CRS.
    """

    world: World
    source: Source

    @property
    def geobox(self) -> GeoBox | None:
        """None: the world has no grid of its own."""
        return None

    def read(self, variable: str, window: Window) -> NDArray[np.float32]:
        """Not possible without a grid.

        Raises
        ------
        SourceError
            Always.
        """
        raise SourceError(
            f"{variable!r} was asked for by {window}, but the synthetic world has no grid",
            "a grid to evaluate it on",
            "call sample with a GeoBox",
        )

    def sample(self, variable: str, geobox: GeoBox) -> NDArray[np.float32]:
        """Values at the cell centres of a grid, of the grid's shape; none is NaN.

        Raises
        ------
        SourceError
            If the variable is unknown, the grid is rotated or its CRS is not the source's.
        """
        if not geobox.axis_aligned or not same_crs(geobox.crs, CRS(self.source.crs)):
            raise SourceError(
                f"the synthetic world cannot be evaluated on {geobox!r}",
                f"a grid along the axes of {self.source.crs}",
                "give the source the CRS of the recipe's grid",
            )
        declared = self.source.variables.get(variable)
        rows, columns = geobox.shape
        step, origin = geobox.resolution, geobox.affine * (0.0, 0.0)
        x = origin[0] + step.x * (np.arange(columns) + 0.5)
        y = origin[1] + step.y * (np.arange(rows) + 0.5)
        return self.world.evaluate((declared and declared.name) or variable, x, y)

    def chunks(self, geobox: GeoBox) -> Iterator[pd.DataFrame]:
        """Radar picks inside a grid, a square of the map at a time; see `World.picks`."""
        left, bottom, right, top = geobox.boundingbox
        for west in np.arange(left, right, _CHUNK):
            for south in np.arange(bottom, top, _CHUNK):
                east, north = min(west + _CHUNK, right), min(south + _CHUNK, top)
                yield self.world.picks(float(west), float(south), float(east), float(north))


def open_synthetic(path: Path | str, source: Source, *, seed: int = 0) -> SyntheticRaster:
    """Open the synthetic world as a source; there is no file, so ``path`` is not looked at."""
    return SyntheticRaster(World(seed), source)


def _bed(plan: Plan) -> Iterator[Spline]:
    """The splines whose sum is the bed (m above the geoid)."""
    yield plan.spline(plan.base)
    yield from (_carved(plan, order, _CARVED) for order in range(len(ORDERS)))
    roughness = plan.spline(plan.roughness)
    yield from (modulated(octave(plan.seed, number), roughness) for number in range(COARSE))
    yield from (octave(plan.seed, number) for number in range(COARSE, OCTAVES))


def _surface(plan: Plan) -> Iterator[Spline]:
    """The splines whose sum is the surface (m above the geoid), unless the bed pierces it."""
    thickness, sliding = plan.spline(plan.thickness), plan.spline(plan.sliding)
    roughness, grounded = plan.spline(plan.roughness), plan.spline(plan.grounded)

    def risen(waves: Spline, wavelength: float) -> Spline:
        def share(x: Floats, y: Floats) -> Floats:
            passed = transfer(wavelength, thickness(x, y), sliding(x, y))
            return passed * grounded(x, y)

        return modulated(waves, share)

    yield plan.spline(plan.surface)
    yield noise(key(plan.seed, "snow"), _SNOW, 0.1)
    yield risen(_carved(plan, 2, 2.0 * _CARVED), ORDERS[2].wavelength)
    for number in range(_RISING, COARSE):
        waves = modulated(octave(plan.seed, number), roughness)
        yield risen(waves, WAVELENGTH * waves.spacing)


def _carved(plan: Plan, order: int, spacing: float) -> Spline:
    """Valleys of one order, as (negative) height over the divides between them (m)."""
    winding, depth = (plan.spline(values) for values in plan.valleys[order])
    return sampled(spacing, lambda x, y: -depth(x, y) * trough(winding(x, y)))
