"""The sections of a recipe that are not its methods: grid, target, roles, split, tiles, judging."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal, get_args

from affine import Affine
from odc.geo.geobox import GeoBox
from pydantic import Field, model_validator

from nunatak import registry
from nunatak.errors import ConfigError
from nunatak.source import Crs, Elevation, Model, Name, Op, Units, one_of

Resampling = Literal["nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode"]


class Role(Model):
    """One part that a source plays in a recipe, on a grid of its own resolution (m).

    Heights above another vertical datum than the product's are converted by the field of a
    ``geoid`` source, or by a declared constant ``datum_offset`` (units of the variable, added);
    without either they are refused.
    """

    source: Name
    variables: Annotated[tuple[Name, ...], Field(min_length=1)]
    resolution: Annotated[float, Field(gt=0)] | None = None
    resampling: Resampling | dict[Name, Resampling] = "bilinear"
    geoid: Name | None = None
    datum_offset: float | None = None


class GridSpec(Model):
    """The fine grid: left, bottom, right, top, resolution (CRS units); scale, block (cells).

    In a recipe of scenes, a scene brings CRS and bounds, and its shape (rows, columns) unless a
    resolution is given.
    """

    crs: Crs | None = None
    bounds: tuple[float, float, float, float] | None = None
    resolution: Annotated[float, Field(gt=0)] | None = None
    shape: tuple[int, int] | None = None
    scale: Annotated[int, Field(ge=1)]
    block: Annotated[int, Field(ge=1)]

    @cached_property
    def box(self) -> GeoBox:
        """The fine grid as a value.

        Raises
        ------
        ConfigError
            If the bounds are not whole cells.
        """
        assert self.bounds is not None
        left, bottom, right, top = self.bounds
        if self.resolution is not None:
            x = y = self.resolution
            shape = self._cells(right - left, top - bottom, self.resolution)
        else:
            assert self.shape is not None
            shape = self.shape
            x, y = (right - left) / shape[1], (top - bottom) / shape[0]
        return GeoBox(shape, Affine(x, 0, left, 0, -y, top), self.crs)

    def _cells(self, width: float, height: float, resolution: float) -> tuple[int, int]:
        cols, rows = width / resolution, height / resolution
        if abs(cols - round(cols)) > 1e-6 or abs(rows - round(rows)) > 1e-6 or min(cols, rows) < 1:
            raise ConfigError(
                f"grid: bounds {self.bounds} are {cols:g} x {rows:g} cells of {resolution:g}",
                "left < right, bottom < top, a whole number of cells",
                "move the bounds to multiples of the resolution",
            )
        return round(rows), round(cols)


class Target(Model):
    """What the product is: its CF name, units, vertical datum and valid range.

    Where cells are told apart instead of measured, ``classes`` are what a cell can be, by the codes
    0, 1, ... of the target's first variable, and ``lines`` the names of further variables that are
    1 on a line and 0 elsewhere. The product then holds the probability of each.
    """

    variable: Name
    standard_name: str
    long_name: str
    units: Units
    vertical_datum: str | None = None
    valid_range: tuple[float, float]
    classes: tuple[Name, ...] = ()
    lines: tuple[Name, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """Classes, then lines; none where the target is measured."""
        return (*self.classes, *self.lines)

    @model_validator(mode="after")
    def _meaningful(self) -> Target:
        if self.standard_name in get_args(Elevation) and not self.vertical_datum:
            raise ValueError(f"{self.standard_name} is a height, but vertical_datum is not given")
        if not self.valid_range[0] < self.valid_range[1]:
            raise ValueError(f"valid_range {self.valid_range} is not the least and the largest")
        return self


class Coarse(Model):
    """How the coarse field is made: from the target by an operator, or it is a real source."""

    role: Name = "target"
    degrade: one_of(registry.DEGRADE)  # type: ignore[valid-type]


class Split(Model):
    """How the map is cut into training, validation and test; ``buffer`` in metres.

    ``role`` names a field of region numbers, for the operations that need one.
    """

    by: one_of(registry.SPLITS)  # type: ignore[valid-type]
    role: Name | None = None
    buffer: Annotated[float, Field(ge=0)]


class Tiles(Model):
    """Training samples: ``size``, ``stride`` and ``context`` around inputs, in coarse cells.

    With ``normals`` the fields of scenes are normalised cell by cell, by the mean and standard
    deviation that each cell of a region has over the days of training.
    """

    size: Annotated[int, Field(ge=1)]
    stride: Annotated[int, Field(ge=1)]
    context: Annotated[int, Field(ge=0)]
    min_valid: Annotated[float, Field(ge=0, le=1)] = 0.25
    normalise: dict[Name, one_of(registry.NORMALISE)] = {}  # type: ignore[valid-type]
    normals: bool = False


class Infer(Model):
    """Streaming inference: ``window`` and ``feather`` in coarse cells; the halo is measured.

    A model that sees its window as a whole has no halo: with ``stride`` its windows begin that
    many cells apart, and overlap with Gaussian weights.
    """

    window: Annotated[int, Field(ge=1)]
    feather: Annotated[int, Field(ge=0)] = 0
    stride: Annotated[int, Field(ge=1)] | None = None
    energy: Annotated[float, Field(gt=0, le=1)] = 0.999


class Mosaic(Model):
    """How the product is stored: the value that stands for missing in files that need one."""

    nodata: float = -9999.0


class Picks(Model):
    """Observations at points, from a source of points.

    ``variable`` is the target itself or, if ``below`` names a role, the depth below that role's
    field (bed = surface - thickness).
    """

    source: Name
    variable: Name
    below: Name | None = None


class Within(Model):
    """A range of a role's field: ``least`` <= value < ``below``; of vectors, of their length."""

    role: Name
    least: float | None = None
    below: float | None = None


class Published(Model):
    """Figures of an earlier work and where they are from, to be printed beside those of products.

    ``mse_over_max`` are mean squares of the error over the greatest truth, by product.
    """

    source: str
    mse_over_max: dict[Name, Annotated[float, Field(gt=0)]]


class Evaluate(Model):
    """What the product is judged by; cells of a class are those within all of its ranges."""

    judge: one_of(registry.JUDGES) = Op(op="field")  # type: ignore[valid-type]
    roughness: Annotated[int, Field(ge=3)] = 5
    spectrum: Annotated[int, Field(ge=8)] = 128
    classes: dict[str, Annotated[tuple[Within, ...], Field(min_length=1)]] = {}
    published: Published | None = None


class Series(Model):
    """The scenes of one group in time: how far a front reaches along a line, and what it encloses.

    ``line`` are points (x, y), from inside to outside: in units of the scenes' CRS or, where they
    have none, in shares of their width and height from the upper left corner. ``area`` is the
    class whose cells are counted, ``within`` the corners of the part in which they are, by default
    everywhere.
    """

    group: str
    line: Annotated[tuple[tuple[float, float], ...], Field(min_length=2)]
    area: Name
    within: Annotated[tuple[tuple[float, float], ...], Field(min_length=3)] | None = None
