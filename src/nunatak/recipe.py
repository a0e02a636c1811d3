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
from nunatak.forecast import Forecast
from nunatak.grid import Grid
from nunatak.scene import FOLDER, Scene, Scenes
from nunatak.search import Search
from nunatak.search import faults as unsearchable
from nunatak.source import Crs, Elevation, Model, Name, Op, Source, Units, checked, one_of

RUN = rf"^[A-Za-z][A-Za-z0-9_]*(/{FOLDER}/[A-Za-z0-9_-]+)?$"
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
    def _known_parts(self) -> Train:
        args, conditioned = self.task.args, registry.CONDITIONED
        if "critic" in args:
            critic = args["critic"]
            checked(registry.CRITICS, critic, args.get("critic_args", {}))
            sees, shown = critic in conditioned, self.task.op in registry.CONDITIONING
            if critic in registry.CRITICS.table and sees != shown:
                raise ValueError(f"critic {critic}: not one of those of the task {self.task.op}")
        if "insitu" in args:
            loss = Op.model_validate(args["insitu"])
            checked(registry.INSITU, loss.op, loss.args)
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
    the seed of their training; the product is their mean. ``layers`` are those of the target's
    classes and lines that the model tells, by default all: all classes or none, then lines.
    ``search`` tries other values for it.
    """

    model: one_of(registry.MODELS)  # type: ignore[valid-type]
    conditions: tuple[Name, ...] | None = None
    layers: tuple[Name, ...] | None = None
    constraints: tuple[Constraint, ...] = ()
    train: Train | None = None
    members: Annotated[int, Field(ge=1)] = 1
    search: Search | None = None

    @model_validator(mode="after")
    def _members_differ(self) -> Method:
        if self.members > 1 and self.train is None:
            raise ValueError(f"{self.members} members of a method without train would be equal")
        frozen = self.train.freeze if self.train else ()
        if frozen and len(frozen) != self.members:
            raise ValueError(f"freeze names {len(frozen)} models for {self.members} members")
        for fault in unsearchable(self):
            raise ValueError(fault)
        return self


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


class Recipe(Model):
    """Everything that one product differs in from another.

    ``insitu`` names a role of stations: its fields hold what was measured, in the cells that the
    stations lie in, and are missing elsewhere.
    """

    name: Annotated[str, Field(pattern=RUN)]
    title: str
    summary: str = ""
    target: Target
    grid: GridSpec
    scenes: Scenes | None = None
    roles: dict[Name, Role]
    conditions: tuple[Name, ...] = ()
    coarse: Coarse
    picks: Picks | None = None
    insitu: Name | None = None
    split: Split
    tiles: Tiles
    methods: dict[Name, Method]
    products: Annotated[tuple[Name, ...], Field(min_length=1)]
    infer: Infer
    mosaic: Mosaic
    publish: one_of(registry.PUBLISH) = Op(op="map")  # type: ignore[valid-type]
    series: Series | None = None
    forecast: Forecast | None = None
    evaluate: Evaluate = Evaluate()
    sources: dict[Name, Source] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        for fault in faults(self):
            raise ValueError(fault)
        return self

    @cached_property
    def layout(self) -> Grid:
        """The grid as a value; a recipe of scenes has none, but each of its scenes has.

        Raises
        ------
        ConfigError
            If the bounds are not whole cells or the scale does not divide the grid.
        """
        return Grid(self.grid.box, self.grid.scale, self.grid.block)

    @property
    def resolution(self) -> float:
        """Side of a fine cell (CRS units); of a scene's, the mean of both sides."""
        if self.grid.resolution is not None or self.grid.bounds is None:
            return self.grid.resolution or 1.0
        x, y = self.grid.box.resolution.xy
        return float(abs(x * y) ** 0.5)

    @property
    def coarse_resolution(self) -> float:
        """Side of a coarse cell (CRS units)."""
        return self.resolution * self.grid.scale

    @property
    def family(self) -> str:
        """Name of the run in results: its own, or of a scene, that of the run it belongs to."""
        return self.name.partition("/")[0]

    @property
    def scene(self) -> str:
        """Name of the scene that this is the recipe of; empty if it is of none."""
        return self.name.rpartition("/")[2] if "/" in self.name else ""

    @property
    def acquisition(self) -> Scene:
        """What is known of the scene that this is the recipe of."""
        assert self.scenes is not None
        return self.scenes.found[self.scene]

    @property
    def places(self) -> tuple[str, ...]:
        """The scenes that it is made of; a recipe of one grid has one place, without a name."""
        return tuple(self.scenes.found) if self.scenes and not self.scene else ("",)

    def of(self, scene: str) -> Recipe:
        """The recipe of one scene, on its own grid; without a name, this recipe."""
        if not scene or self.scenes is None:
            return self
        found = self.scenes.found[scene]
        given = {"crs": found.crs, "bounds": found.bounds, "shape": found.shape}
        change = {
            "name": f"{self.name}/{FOLDER}/{scene}",
            "grid": self.grid.model_copy(update=given),
            "scenes": self.scenes.model_copy(update={"found": {scene: found}}),
        }
        return self.model_copy(update=change)

    def ratio(self, role: str) -> int:
        """Cells of a role's field along the side of a coarse cell.

        Raises
        ------
        ConfigError
            If the resolution of the role does not divide the coarse one.
        """
        coarse, given = self.coarse_resolution, self.roles[role].resolution or self.resolution
        ratio = coarse / given
        if ratio < 1 - 1e-9 or abs(ratio - round(ratio)) > 1e-9:
            raise ConfigError(
                f"roles.{role}: resolution {given:g} does not divide a coarse cell of {coarse:g}",
                f"{coarse:g} divided by a whole number",
                f"use {coarse / max(1, round(ratio)):g}; a coarser source is interpolated to it",
            )
        return round(ratio)

    @property
    def origins(self) -> tuple[str, ...]:
        """The sources that a product is from, sorted: all but one that is only forecast."""
        read = {s for role in self.roles.values() for s in (role.source, role.geoid)}
        aside = {self.forecast.source} - read if self.forecast else set()
        return tuple(sorted(self.sources.keys() - aside))

    def members(self, method: str) -> int:
        """Members of a method."""
        return self.methods[method].members

    @property
    def labels(self) -> tuple[str, ...]:
        """The target's variables that classes and lines are read from."""
        count = bool(self.target.classes) + len(self.target.lines)
        return self.roles["target"].variables[:count]

    def layers(self, method: str) -> tuple[str, ...]:
        """The classes and lines that a method tells; none where the target is measured."""
        given = self.methods[method].layers
        return self.target.layers if given is None else given

    def told(self, method: str) -> tuple[str, ...]:
        """The classes that a method tells: all, or none if it tells lines alone."""
        return tuple(name for name in self.layers(method) if name in self.target.classes)

    def reads(self, method: str) -> tuple[str, ...]:
        """The conditions that a method reads."""
        given = self.methods[method].conditions
        return self.conditions if given is None else given
