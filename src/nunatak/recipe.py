"""A recipe as a value: everything that one product differs in from another, checked once."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from pydantic import Field, model_validator

from nunatak import registry
from nunatak.consistency import faults
from nunatak.errors import ConfigError
from nunatak.forecast import Forecast
from nunatak.grid import Grid
from nunatak.method import Method
from nunatak.scene import FOLDER, Scene, Scenes
from nunatak.sections import (
    Coarse,
    Evaluate,
    GridSpec,
    Infer,
    Mosaic,
    Picks,
    Role,
    Series,
    Split,
    Target,
    Tiles,
)
from nunatak.source import Model, Name, Op, Source, one_of

RUN = rf"^[A-Za-z][A-Za-z0-9_]*(/{FOLDER}/[A-Za-z0-9_-]+)?$"


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
