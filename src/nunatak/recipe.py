"""A recipe as a value: everything that one product differs in from another, checked once."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from affine import Affine
from odc.geo.geobox import GeoBox
from pydantic import Field, model_validator

from nunatak import registry
from nunatak.consistency import faults
from nunatak.errors import ConfigError
from nunatak.grid import Grid
from nunatak.source import Crs, Elevation, Model, Name, Source, Units, checked, one_of

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
    """The fine grid: left, bottom, right, top, resolution (CRS units); scale, block (cells)."""

    crs: Crs
    bounds: tuple[float, float, float, float]
    resolution: Annotated[float, Field(gt=0)]
    scale: Annotated[int, Field(ge=1)]
    block: Annotated[int, Field(ge=1)]


class Target(Model):
    """What the product is: its CF name, units, vertical datum and valid range."""

    variable: Name
    standard_name: str
    long_name: str
    units: Units
    vertical_datum: str | None = None
    valid_range: tuple[float, float]

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
    """Training samples: ``size``, ``stride`` and ``context`` around inputs, in coarse cells."""

    size: Annotated[int, Field(ge=1)]
    stride: Annotated[int, Field(ge=1)]
    context: Annotated[int, Field(ge=0)]
    min_valid: Annotated[float, Field(ge=0, le=1)] = 0.25
    normalise: dict[Name, one_of(registry.NORMALISE)] = {}  # type: ignore[valid-type]


class Loss(Model):
    """One term of the loss and its weight."""

    op: str
    args: dict[str, Any] = {}
    weight: float = 1.0

    @model_validator(mode="after")
    def _known(self) -> Loss:
        checked(registry.LOSSES, self.op, self.args)
        return self


class Distort(Model):
    """How far training samples are moved (sides of a tile), scaled and rotated (degrees) at most.

    ``share`` of them are; see `nunatak.learn.augment`.
    """

    shift: Annotated[float, Field(ge=0, lt=1)] = 0.0
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class Train(Model):
    """How a model is trained; every count is in samples, so that devices do not matter.

    ``patience`` ends a training after that many validations without a better one.

    ``freeze`` keeps trained models, named by the beginnings of their digests (in the manifests
    of the stage train), one for each member, whatever becomes of data, values and code.
    """

    task: one_of(registry.TASKS)  # type: ignore[valid-type]
    losses: Annotated[tuple[Loss, ...], Field(min_length=1)]
    samples: Annotated[int, Field(gt=0)]
    batch: Annotated[int, Field(gt=0)]
    lr: Annotated[float, Field(gt=0)]
    warmup: Annotated[int, Field(ge=0)] = 0
    validate_every: Annotated[int, Field(gt=0)]
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    clip: Annotated[float, Field(gt=0)] | None = None
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augment: bool = True
    distort: Distort | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    freeze: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")], ...] = ()

    @model_validator(mode="after")
    def _known_critic(self) -> Train:
        if "critic" in self.task.args:
            checked(registry.CRITICS, self.task.args["critic"], {})
        return self


class Constraint(Model):
    """A postprocessing operation and, if it needs one, the role of the field that it reads."""

    op: str
    args: dict[str, Any] = {}
    role: Name | None = None

    @model_validator(mode="after")
    def _known(self) -> Constraint:
        checked(registry.POSTPROCESS, self.op, self.args)
        return self


class Method(Model):
    """A way to make the product: a model, and how it is trained unless it needs no training.

    ``conditions`` are the roles that the model reads beside the coarse field; by default all that
    the recipe names. ``constraints`` hold the blended field, in their order. ``members`` differ in
    the seed of their training; the product is their mean.
    """

    model: one_of(registry.MODELS)  # type: ignore[valid-type]
    conditions: tuple[Name, ...] | None = None
    constraints: tuple[Constraint, ...] = ()
    train: Train | None = None
    members: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _members_differ(self) -> Method:
        if self.members > 1 and self.train is None:
            raise ValueError(f"{self.members} members of a method without train would be equal")
        frozen = self.train.freeze if self.train else ()
        if frozen and len(frozen) != self.members:
            raise ValueError(f"freeze names {len(frozen)} models for {self.members} members")
        return self


class Infer(Model):
    """Streaming inference: ``window`` and ``feather`` in coarse cells; the halo is measured."""

    window: Annotated[int, Field(ge=1)]
    feather: Annotated[int, Field(ge=0)]
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


class Evaluate(Model):
    """What the product is judged by; cells of a class are those within all of its ranges."""

    roughness: Annotated[int, Field(ge=3)] = 5
    spectrum: Annotated[int, Field(ge=8)] = 128
    classes: dict[str, Annotated[tuple[Within, ...], Field(min_length=1)]] = {}


class Recipe(Model):
    """Everything that one product differs in from another."""

    name: Name
    title: str
    summary: str = ""
    target: Target
    grid: GridSpec
    roles: dict[Name, Role]
    conditions: tuple[Name, ...] = ()
    coarse: Coarse
    picks: Picks | None = None
    split: Split
    tiles: Tiles
    methods: dict[Name, Method]
    products: Annotated[tuple[Name, ...], Field(min_length=1)]
    infer: Infer
    mosaic: Mosaic
    evaluate: Evaluate = Evaluate()
    sources: dict[Name, Source] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        for fault in faults(self):
            raise ValueError(fault)
        return self

    @cached_property
    def layout(self) -> Grid:
        """The grid as a value.

        Raises
        ------
        ConfigError
            If the bounds are not whole cells or the scale does not divide the grid.
        """
        g = self.grid
        left, bottom, right, top = g.bounds
        cols, rows = (right - left) / g.resolution, (top - bottom) / g.resolution
        if abs(cols - round(cols)) > 1e-6 or abs(rows - round(rows)) > 1e-6 or min(cols, rows) < 1:
            raise ConfigError(
                f"grid: bounds {g.bounds} are {cols:g} x {rows:g} cells of {g.resolution:g}",
                "left < right, bottom < top, a whole number of cells",
                "move the bounds to multiples of the resolution",
            )
        affine = Affine(g.resolution, 0, left, 0, -g.resolution, top)
        box = GeoBox((round(rows), round(cols)), affine, g.crs)
        return Grid(box, g.scale, g.block)

    def ratio(self, role: str) -> int:
        """Cells of a role's field along the side of a coarse cell.

        Raises
        ------
        ConfigError
            If the resolution of the role does not divide the coarse one.
        """
        coarse = self.grid.resolution * self.grid.scale
        given = self.roles[role].resolution or self.grid.resolution
        ratio = coarse / given
        if ratio < 1 - 1e-9 or abs(ratio - round(ratio)) > 1e-9:
            raise ConfigError(
                f"roles.{role}: resolution {given:g} does not divide a coarse cell of {coarse:g}",
                f"{coarse:g} divided by a whole number",
                f"use {coarse / max(1, round(ratio)):g}; a coarser source is interpolated to it",
            )
        return round(ratio)

    def members(self, method: str) -> int:
        """Members of a method."""
        return self.methods[method].members

    def reads(self, method: str) -> tuple[str, ...]:
        """The conditions that a method reads."""
        given = self.methods[method].conditions
        return self.conditions if given is None else given
