"""Which product lies where and what it holds: the one place that knows the results tree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

from nunatak.recipe import Recipe
from nunatak.source import Elevation
from nunatak.store import Layout, Product, Variable


@dataclass(frozen=True)
class Results:
    """The results tree of one recipe: ``<root>/<recipe>/<stage>/...``."""

    recipe: Recipe
    root: Path

    @property
    def folder(self) -> Path:
        """The folder of the recipe."""
        return self.root / self.recipe.name

    def manifest(self, product: str, block: str) -> Path:
        """Where the manifest of a block lies."""
        return self.folder / product / f"{block}.json"

    @cached_property
    def coarse(self) -> Product:
        """The coarse field of the target."""
        return self._product("degrade/coarse", 1, [self._target()])

    def role(self, role: str) -> Product:
        """A reprojected source."""
        spec, source = self.recipe.roles[role], self.recipe.sources[self.recipe.roles[role].source]
        variables = []
        for name in spec.variables:
            given = source.variables[name]
            height = given.standard_name in get_args(Elevation)
            datum = self.recipe.target.vertical_datum if height else None
            variables.append(
                Variable(name, given.to or given.units, given.standard_name, "", datum)
            )
        return self._product(f"reproject/{role}", self.recipe.ratio(role), variables)

    def member(self, method: str, member: int) -> Product:
        """What one member of a method inferred."""
        return self._product(f"infer/{method}/{member}", self.recipe.grid.scale, [self._target()])

    def mosaic(self, method: str) -> Product:
        """The product of a method: mean over members, and their SD where there are several."""
        variables = [self._target()]
        if self.recipe.members(method) > 1:
            target = self.recipe.target
            long_name = f"standard deviation of {target.long_name} over members"
            variables.append(Variable(f"{target.variable}_sd", target.units, "", long_name))
        return self._product(f"mosaic/{method}", self.recipe.grid.scale, variables)

    def train(self, method: str, member: int) -> Path:
        """The folder of a trained member."""
        return self.folder / "train" / method / str(member)

    @property
    def tiles(self) -> Path:
        """The folder of the training samples' index, the overlap report and the transforms."""
        return self.folder / "tile"

    def _target(self) -> Variable:
        t = self.recipe.target
        return Variable(t.variable, t.units, t.standard_name, t.long_name, t.vertical_datum)

    def _product(self, name: str, ratio: int, variables: list[Variable]) -> Product:
        attributes = {"title": self.recipe.title, "product": f"{self.recipe.name}/{name}"}
        layout = Layout(name, self.recipe.layout, ratio, variables, attributes)
        return Product(self.folder / f"{name}.zarr", layout)
