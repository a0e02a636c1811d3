"""Configuration as values: Source, Recipe and their parts, parsed and checked once, at the edge."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pyproj.exceptions import CRSError

from nunatak import registry, units
from nunatak.errors import ConfigError, NunatakError
from nunatak.grid import Grid

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def _plain(name: str) -> str:
    """Names reach shell commands and file names: letters, digits and underscores only."""
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"{name!r} is not a plain identifier: a letter, then letters, digits or _")
    return name


def _crs(text: str) -> str:
    try:
        CRS(text)
    except CRSError as error:
        raise ValueError(
            "unknown CRS; give a code like 'EPSG:3031', well-known text or a PROJ string"
        ) from error
    return text


Name = Annotated[str, AfterValidator(_plain)]
Units = Annotated[str, AfterValidator(units.check)]
Crs = Annotated[str, AfterValidator(_crs)]
Resampling = Literal["nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode"]


class Model(BaseModel):
    """Base of every configuration value: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Op(Model):
    """The universal plug: a registered operation and its arguments."""

    op: str
    args: dict[str, Any] = {}


def _checked(kind: registry.Registry, op: str, args: dict[str, Any]) -> None:
    try:
        kind.check(op, args)
    except ConfigError as error:
        raise ValueError(str(error)) from error


def _op(kind: registry.Registry) -> Any:
    def check(op: Op) -> Op:
        _checked(kind, op.op, op.args)
        return op

    return Annotated[Op, AfterValidator(check)]


class File(Model):
    """One file of a source: where it is, and how to know that it is whole.

    ``url`` is http(s), ftp, ``file:`` (relative paths are below the data root) or ``synthetic:``.
    """

    url: str
    mirrors: tuple[str, ...] = ()
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    bytes: Annotated[int, Field(gt=0)] | None = None
    member: str | None = None


class Variable(Model):
    """A variable of a source: what it is called in the file, its units and its valid range.

    ``units`` are those of the file; data are converted to ``to`` on reading. ``nodata`` adds to
    what the file itself declares; values outside ``valid_range`` (in the file's units) are missing.
    """

    name: str = ""
    units: Units
    to: Units | None = None
    standard_name: str = ""
    nodata: float | None = None
    valid_range: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _convertible(self) -> Variable:
        units.factor(self.units, self.to or self.units)
        return self


Elevation = Literal["bedrock_altitude", "surface_altitude"]


class Source(Model):
    """What and where a data set is, its units, CRS, vertical datum, reader, licence, citation."""

    title: str
    files: tuple[File, ...]
    reader: _op(registry.READERS)  # type: ignore[valid-type]
    variables: dict[Name, Variable]
    crs: Crs
    resolution: float | None = None
    vertical_datum: str | None = None
    licence: str
    citation: str = ""
    auth: Literal["none", "earthdata"] = "none"

    @model_validator(mode="after")
    def _datum_of_heights(self) -> Source:
        heights = [n for n, v in self.variables.items() if v.standard_name in get_args(Elevation)]
        if heights and not self.vertical_datum:
            raise ValueError(f"{', '.join(heights)} are heights, but vertical_datum is not given")
        return self


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
    degrade: _op(registry.DEGRADE)  # type: ignore[valid-type]


class Split(Model):
    """How the map is cut into training, validation and test; ``buffer`` in metres.

    ``role`` names a field of region numbers, for the operations that need one.
    """

    by: _op(registry.SPLITS)  # type: ignore[valid-type]
    role: Name | None = None
    buffer: Annotated[float, Field(ge=0)]


class Tiles(Model):
    """Training samples: ``size``, ``stride`` and ``context`` around inputs, in coarse cells."""

    size: Annotated[int, Field(ge=1)]
    stride: Annotated[int, Field(ge=1)]
    context: Annotated[int, Field(ge=0)]
    min_valid: Annotated[float, Field(ge=0, le=1)] = 0.25
    normalise: dict[Name, _op(registry.NORMALISE)] = {}  # type: ignore[valid-type]


class Loss(Model):
    """One term of the loss and its weight."""

    op: str
    args: dict[str, Any] = {}
    weight: float = 1.0

    @model_validator(mode="after")
    def _known(self) -> Loss:
        _checked(registry.LOSSES, self.op, self.args)
        return self


class Train(Model):
    """How a model is trained; every count is in samples, so that devices do not matter."""

    task: _op(registry.TASKS)  # type: ignore[valid-type]
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
    seed: Annotated[int, Field(ge=0)] = 0
    members: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _known_critic(self) -> Train:
        if "critic" in self.task.args:
            _checked(registry.CRITICS, self.task.args["critic"], {})
        return self


class Constraint(Model):
    """A postprocessing operation and, if it needs one, the role of the field that it reads."""

    op: str
    args: dict[str, Any] = {}
    role: Name | None = None

    @model_validator(mode="after")
    def _known(self) -> Constraint:
        _checked(registry.POSTPROCESS, self.op, self.args)
        return self


class Method(Model):
    """A way to make the product: a model, and how it is trained unless it needs no training.

    ``conditions`` are the roles that the model reads beside the coarse field; by default all that
    the recipe names. ``constraints`` hold the blended field, in their order.
    """

    model: _op(registry.MODELS)  # type: ignore[valid-type]
    conditions: tuple[Name, ...] | None = None
    constraints: tuple[Constraint, ...] = ()
    train: Train | None = None


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


class Evaluate(Model):
    """What the product is judged by."""

    roughness: Annotated[int, Field(ge=3)] = 5
    spectrum: Annotated[int, Field(ge=8)] = 128
    seed: int = 0


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
        for fault in _faults(self):
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
        """Members of a method: 1 for those that need no training."""
        train = self.methods[method].train
        return train.members if train else 1

    def reads(self, method: str) -> tuple[str, ...]:
        """The conditions that a method reads."""
        given = self.methods[method].conditions
        return self.conditions if given is None else given


def _faults(recipe: Recipe) -> Iterator[str]:
    """What pydantic cannot see: names that must exist, grids that must fit, values out of range."""
    yield from _dangling(recipe)
    try:
        recipe.layout  # noqa: B018
        for role in recipe.roles:
            recipe.ratio(role)
    except NunatakError as error:
        yield str(error)
    low, high = recipe.target.valid_range
    if low <= recipe.mosaic.nodata <= high:
        yield (
            f"mosaic.nodata {recipe.mosaic.nodata:g} is a valid value: expected one outside of"
            f" target.valid_range, {low:g} to {high:g}"
        )
    if recipe.coarse.degrade.op != "pair" and recipe.coarse.role != "target":
        yield f"coarse.role {recipe.coarse.role!r} is a real coarse source: degrade must be 'pair'"
    if recipe.coarse.degrade.op == "pair" and recipe.ratio(recipe.coarse.role) != 1:
        yield f"roles.{recipe.coarse.role}: the coarse field needs the resolution of a coarse cell"
    yield from _incomparable(recipe)


def _incomparable(recipe: Recipe) -> Iterator[str]:
    """What meets the target has its units; picks that are heights have its vertical datum too."""
    meeting = ["target", recipe.coarse.role]
    meeting += [c.role for m in recipe.methods.values() for c in m.constraints if c.role]
    meeting += [recipe.picks.below] if recipe.picks and recipe.picks.below else []
    found = [(f"roles.{r}", recipe.roles[r].source, recipe.roles[r].variables[0]) for r in meeting]
    if recipe.picks:
        found += [("picks", recipe.picks.source, recipe.picks.variable)]
    for key, source, name in found:
        variable = recipe.sources[source].variables[name]
        given, wanted = variable.to or variable.units, recipe.target.units
        if given != wanted:
            yield f"{key}: {name} is in {given!r}: expected the target's units, to: {wanted!r}"
    if recipe.picks and variable.standard_name in get_args(Elevation):
        datum, needed = recipe.sources[source].vertical_datum, recipe.target.vertical_datum
        if datum != needed:
            yield f"picks: {name} is above {datum!r}: expected heights above {needed!r}"


def _dangling(recipe: Recipe) -> Iterator[str]:
    known: dict[str, Mapping[str, Any]] = {
        "role": recipe.roles,
        "method": recipe.methods,
        "source": recipe.sources,
    }
    named = [("role", f"conditions.{i}", name) for i, name in enumerate(recipe.conditions)]
    for method, m in recipe.methods.items():
        held = [c.role for c in m.constraints if c.role]
        named += [("role", f"methods.{method}.constraints", name) for name in held]
        named += [("role", f"methods.{method}.conditions", name) for name in m.conditions or ()]
    named += [("role", "roles", "target"), ("role", "coarse.role", recipe.coarse.role)]
    named += [("method", f"products.{i}", name) for i, name in enumerate(recipe.products)]
    named += [("role", "split.role", recipe.split.role)] if recipe.split.role else []
    named += [
        ("role", "tiles.normalise", name) for name in recipe.tiles.normalise if name != "coarse"
    ]
    named += [("source", f"roles.{name}.source", r.source) for name, r in recipe.roles.items()]
    named += [("source", f"roles.{n}.geoid", r.geoid) for n, r in recipe.roles.items() if r.geoid]
    if recipe.picks:
        named += [("source", "picks.source", recipe.picks.source)]
        named += [("role", "picks.below", recipe.picks.below)] if recipe.picks.below else []
    for kind, key, name in named:
        if name not in known[kind]:
            yield f"{key}: no {kind} {name!r}; there are {', '.join(known[kind])}"
    read = [(f"roles.{n}", r.source, v) for n, r in recipe.roles.items() for v in r.variables]
    read += [("picks", recipe.picks.source, recipe.picks.variable)] if recipe.picks else []
    for key, source, variable in read:
        have = recipe.sources[source].variables
        if variable not in have:
            yield f"{key}: {source!r} has no {variable!r}, but {', '.join(have)}"
