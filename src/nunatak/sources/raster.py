"""What every gridded source looks like to the pipeline, and how coordinates become a GeoBox."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import ArrayLike, NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from pyproj.exceptions import CRSError

from nunatak import units
from nunatak.errors import DataError
from nunatak.grid import Window
from nunatak.scene import Scene


class Raster(Protocol):
    """A gridded source: where its cells lie, and the values of a window of them."""

    @property
    def geobox(self) -> GeoBox | None:
        """The grid, north-up; None if the source can be evaluated anywhere (see `Sampler`)."""

    def read(self, variable: str, window: Window) -> NDArray[np.float32]:
        """Values of a window (cells of ``geobox``, inside it), in the file's units.

        NaN where missing; row 0 is the northernmost.
        """


@runtime_checkable
class Sampler(Protocol):
    """A source that is evaluated on any grid, like the synthetic world."""

    def sample(self, variable: str, geobox: GeoBox) -> NDArray[np.float32]:
        """Values at the cells of a grid, in the source's units; NaN where missing."""


@runtime_checkable
class Album(Protocol):
    """A source of scenes."""

    def scenes(self) -> dict[str, Scene]:
        """What is known of every scene, by name, without its cells."""

    def raster(self, name: str, scene: Scene) -> Raster:
        """One scene, to be read."""

    def holds(self, scene: Scene) -> bool:
        """Whether it has something of a scene that another album tells of."""

    def digest(self, name: str, scene: Scene) -> str:
        """Digest of all that a scene is read from."""


@dataclass(frozen=True)
class MemoryRaster:
    """A raster held in memory.

    Parameters
    ----------
    geobox
        The grid of the fields, north-up.
    fields
        Variable to values, rows and columns of ``geobox``; NaN where missing.
    """

    geobox: GeoBox
    fields: Mapping[str, NDArray[np.float32]]

    def read(self, variable: str, window: Window) -> NDArray[np.float32]:
        """Values of a window (cells of ``geobox``, inside it); NaN where missing."""
        return np.ascontiguousarray(self.fields[variable][window.slices], np.float32)


@dataclass(frozen=True)
class Axis:
    """A regular coordinate: its cells run from ``edge`` in steps of ``step`` (either sign)."""

    edge: float
    step: float
    size: int

    @classmethod
    def of(cls, centres: ArrayLike, name: str) -> Axis:
        """The axis of given cell centres (CRS units).

        Raises
        ------
        DataError
            If there are fewer than two centres, one is not finite, or the spacing varies by more
            than a hundredth of a cell (beyond the rounding of 32-bit coordinates).
        """
        given = np.asarray(centres)
        values = given.astype(np.float64)
        if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
            raise DataError(
                f"coordinate {name!r} has shape {values.shape} or is not finite",
                "one dimension of at least two finite values",
            )
        step = float(values[-1] - values[0]) / (values.size - 1)
        rounding = np.finfo(np.float32).eps * np.abs(values).max() if given.dtype == "f4" else 0.0
        off = np.abs(values - (values[0] + step * np.arange(values.size))).max()
        if step == 0 or off > 0.01 * abs(step) + rounding:
            steps = np.diff(values)
            raise DataError(
                f"coordinate {name!r} is irregular: steps from {steps.min():g} to {steps.max():g}",
                "equal steps",
                "regrid the source onto a regular grid first, or read it as points",
            )
        return cls(float(values[0]) - step / 2, step, values.size)

    def scaled(self, factor: float) -> Axis:
        """The same axis in another unit."""
        return Axis(self.edge * factor, self.step * factor, self.size)

    @property
    def least(self) -> float:
        """The smaller end of the axis."""
        return min(self.edge, self.edge + self.step * self.size)


def north_up(x: Axis, y: Axis, crs: CRS) -> GeoBox:
    """The GeoBox of two axes, rows from north to south and columns from west to east.

    A geographic grid that repeats its first column at the end of the circle, as global gridline
    grids do, loses the repetition.
    """
    width, top = abs(x.step), y.least + abs(y.step) * y.size
    circle = 360 / width if crs.geographic else np.inf
    columns = round(circle) if x.size > circle + 0.5 else x.size
    affine = Affine(width, 0.0, x.least, 0.0, -abs(y.step), top)
    return GeoBox((y.size, columns), affine, crs)


def crs_of(grid: GeoBox) -> CRS:
    """The CRS of a grid that is not known by its own cells alone."""
    assert grid.crs is not None
    return grid.crs


def geographic(grid: GeoBox) -> bool:
    """Whether a grid is known to be one of longitudes and latitudes."""
    return grid.crs is not None and grid.crs.geographic


def at(
    affine: Affine, col: NDArray[Any], row: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Apply an affine transform to arrays of columns and rows."""
    a, b, c, d, e, f = tuple(affine)[:6]
    return a * col + b * row + c, d * col + e * row + f


@lru_cache(maxsize=64)
def _equal(one: str, other: str) -> bool:
    return pyproj.CRS(one).equals(pyproj.CRS(other), ignore_axis_order=True)


def same_crs(one: CRS | None, other: CRS | None) -> bool:
    """Whether two CRSs are the same system, whatever authority code or text they came with.

    A grid without one is only the same as another without one: the scene's own.
    """
    if one is None or other is None:
        return one is other
    return str(one) == str(other) or _equal(one.to_wkt(), other.to_wkt())


def parse_crs(text: Any) -> pyproj.CRS | None:
    """A horizontal CRS from whatever a file says; None if it says nothing that can be used."""
    try:
        crs = pyproj.CRS.from_user_input(text)
    except CRSError:
        return None
    crs = crs.sub_crs_list[0] if crs.is_compound else crs
    return crs if crs.is_projected or crs.is_geographic else None


def cf_crs(attributes: Mapping[str, Any]) -> pyproj.CRS | None:
    """The CRS of a CF grid mapping; None if it is incomplete.

    Well-known text and PROJ strings are preferred to the CF parameters, which often leave the
    ellipsoid out.
    """
    for key in ("crs_wkt", "spatial_ref", "proj4", "proj4_string", "proj4text"):
        if text := attributes.get(key):
            return parse_crs(str(text))
    try:
        return parse_crs(pyproj.CRS.from_cf(dict(attributes)))
    except (CRSError, KeyError, ValueError, TypeError):
        return None


def check_crs(found: pyproj.CRS | None, catalogue: str, grid: GeoBox, where: str) -> None:
    """Refuse a file whose CRS is not the catalogue's.

    Two CRSs agree if pyproj says that they are equal, or if they place the corners and the middle
    of the grid within a hundredth of a cell of each other (CF grid mappings name no datum).

    Parameters
    ----------
    found
        What the file says; None (nothing) agrees with everything.
    catalogue
        What the catalogue says.
    grid
        The file's grid.
    where
        The file, for the message.

    Raises
    ------
    DataError
        If the two disagree; the message names both.
    """
    wanted = pyproj.CRS.from_user_input(catalogue)
    if found is None or found.equals(wanted, ignore_axis_order=True):
        return
    rows, cols = grid.shape
    col, row = np.array([[0, 0], [cols, 0], [0, rows], [cols, rows], [cols / 2, rows / 2]]).T
    x, y = at(grid.affine, col, row)
    there = Transformer.from_crs(found, wanted, always_xy=True).transform(x, y)
    shift = np.hypot(there[0] - x, there[1] - y).max()
    if not shift <= 0.01 * abs(grid.affine.a):
        raise DataError(
            f"{where}: the file's CRS is {_label(found)}, the catalogue's {_label(wanted)}",
            "the same CRS",
            "correct crs in the source's entry, or set the reader's ignore_crs if the file errs",
        )


def _label(crs: pyproj.CRS) -> str:
    code = crs.to_authority()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return ":".join(code) if code else crs.to_proj4()


def unit_factor(given: str, crs: CRS, where: str) -> float:
    """What coordinates in units ``given`` are multiplied with to be in those of the CRS.

    Units that are not given are the CRS's.

    Raises
    ------
    DataError
        If the units do not fit the CRS.
    """
    expected = crs.proj.axis_info[0].unit_name
    if not given or given == expected or (crs.geographic and given.startswith("deg")):
        return 1.0
    try:
        return units.factor(given, expected)[0]
    except ValueError as error:
        raise DataError(
            f"{where}: coordinates are in {given!r}, but the CRS {crs} is in {expected}",
            "coordinates in units of the CRS, or a multiple of them",
            "correct crs in the source's entry, or set the reader's coordinate_units",
        ) from error
