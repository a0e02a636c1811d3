"""Which product lies where and what it holds: the one place that knows the results tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import get_args

from nunatak.grid import Block
from nunatak.provenance import digest_file, digest_json
from nunatak.recipe import Recipe
from nunatak.registry import AS_IS
from nunatak.source import Elevation
from nunatak.store import Layout, Product, Variable
from nunatak.tracking.ledger import Ledger


@dataclass(frozen=True)
class Results:
    """The results tree of one recipe: ``<root>/<recipe>/<stage>/...``.

    Parameters
    ----------
    recipe, root
        The recipe, and the results root.
    ledger
        Notes what a job reads and writes; None where no job runs.
    """

    recipe: Recipe
    root: Path
    ledger: Ledger | None = field(default=None, compare=False, repr=False)

    @property
    def folder(self) -> Path:
        """The folder of the recipe."""
        return self.root / self.recipe.name

    @property
    def family(self) -> Path:
        """The folder of the run: of a scene, that of all its scenes together."""
        return self.root / self.recipe.family

    def at(self, place: str) -> Results:
        """The tree of one of the recipe's places: of a scene by its name, or this one."""
        return self._scenes(place) if place else self

    @property
    def typical(self) -> Results:
        """The tree of one place, for what is the same at all of them."""
        return self.at(self.recipe.places[0])

    @cached_property
    def _scenes(self) -> Callable[[str], Results]:
        return lru_cache(lambda place: replace(self, recipe=self.recipe.of(place)))

    def everywhere(self, places: Iterable[str] | None = None) -> Iterator[tuple[str, Block]]:
        """Every block of every place, or of some."""
        for place in self.recipe.places if places is None else places:
            for block in self.recipe.of(place).layout.blocks():
                yield place, block

    def manifest(self, product: str, block: str) -> Path:
        """Where the manifest of a block lies."""
        return self.folder / product / f"{block}.json"

    @cached_property
    def coarse(self) -> Product:
        """The coarse field of the target, or what is taken for it as it lies in its role."""
        by = self.recipe.coarse
        if by.degrade.op in AS_IS:
            return self.role(by.role).only(by.degrade.args["variable"])
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

    def fed(self, name: str) -> Product:
        """What feeds a model: ``coarse``, or a role."""
        return self.coarse if name == "coarse" else self.role(name)

    def member(self, method: str, member: int) -> Product:
        """What one member of a method inferred."""
        variables = self._predicted(method)
        return self._product(f"infer/{method}/{member}", self.recipe.grid.scale, variables)

    def mosaic(self, method: str) -> Product:
        """The product of a method: mean over members, and their SD where there are several."""
        variables = self._predicted(method)
        if self.recipe.members(method) > 1:
            long_name = "standard deviation of {} over members"
            variables += [
                Variable(f"{v.name}_sd", v.units, "", long_name.format(v.long_name))
                for v in variables
            ]
        return self._product(f"mosaic/{method}", self.recipe.grid.scale, variables)

    def train(self, method: str, member: int) -> Path:
        """The folder of a trained member."""
        return self.family / "train" / method / str(member)

    def trial(self, method: str, trial: int) -> Path:
        """The folder of a trial of a method's search."""
        return self.family / "trial" / method / str(trial)

    def study(self, method: str) -> Path:
        """The folder of a method's search: its journal, and what it came to."""
        return self.family / "study" / method

    @property
    def tiles(self) -> Path:
        """The folder of the training samples' index, the overlap report and the transforms."""
        return self.family / "tile"

    def tiled(self, name: str) -> Path:
        """A file of the stage `tile`; if a job runs, the file is checked and its read noted.

        Training notes more finely what it sees (`seen`), so that of its reads here only the check
        is left.
        """
        return self._read(self._tiling, name, self.tiles / name)

    def trained(self, method: str, member: int) -> Path:
        """The best checkpoint of a trained member, checked and noted as `tiled` does."""
        step = f"{self.recipe.family}/train/{method}/{member}/manifest"
        return self._read(step, "model", self.train(method, member) / "best.pt")

    @property
    def stations(self) -> Path:
        """The folder of the daily series of stations."""
        return self.folder / "stations"

    @property
    def series(self) -> Path:
        """The daily series of stations, checked and noted as `tiled` does."""
        step = f"{self.recipe.name}/stations/manifest"
        return self._read(step, "series", self.stations / "series.csv")

    def forecast(self, method: str) -> Path:
        """The folder of a method that forecasts series."""
        return self.folder / "forecast" / method

    def forecasts(self, method: str) -> Path:
        """What such a method has forecast, checked and noted as `tiled` does."""
        step = f"{self.recipe.name}/forecast/{method}/manifest"
        return self._read(step, "predictions", self.forecast(method) / "predictions.parquet")

    def _read(self, step: str, variable: str, path: Path) -> Path:
        if self.ledger is not None:
            self.ledger.reading(step, variable, None, str(path.relative_to(self.root)))
        return path

    @property
    def _tiling(self) -> str:
        return f"{self.recipe.family}/tile/manifest"

    def wrote(self, *paths: Path) -> None:
        """Note files that a job left beside its manifest."""
        if self.ledger is not None:
            self.ledger.wrote(*paths)

    def keep(self, *declared: Path) -> None:
        """Note files that a job left and that Snakemake knows of."""
        if self.ledger is not None:
            self.ledger.keep(*declared)

    def seen(self, method: str) -> str:
        """Digest of all that a training of a method sees of the tiles.

        Where no job runs, it is that of the index alone.
        """
        if self.ledger is None:
            return digest_file(self.tiles / "tiles.parquet")
        products = ("target", "coarse", *self.recipe.reads(method))
        stations = self.recipe.insitu
        products += (stations,) if stations and stations not in products else ()
        products += ("normals",) if self.recipe.tiles.normals else ()
        names = ("statistics.json", "training", *(f"training/{name}" for name in products))
        return digest_json([self.note(self._tiling, n) for n in names])

    def _target(self) -> Variable:
        t = self.recipe.target
        return Variable(t.variable, t.units, t.standard_name, t.long_name, t.vertical_datum)

    def _predicted(self, method: str) -> list[Variable]:
        """What a method's product holds: the target, or the probability of each layer."""
        layers = self.recipe.layers(method)
        title = self.recipe.target.long_name
        return [Variable(n, "1", "", f"probability of {n} ({title})") for n in layers] or [
            self._target()
        ]

    def _product(self, name: str, ratio: int, variables: list[Variable]) -> Product:
        attributes = {"title": self.recipe.title, "product": f"{self.recipe.name}/{name}"}
        if self.recipe.scene:
            attributes["date"] = self.recipe.acquisition.date.isoformat()
        layout = Layout(name, self.recipe.layout, ratio, variables, attributes)
        return Product(
            self.folder / f"{name}.zarr", layout, self.ledger, f"{self.recipe.name}/{name}"
        )

    def note(self, step: str, variable: str) -> str:
        """Note that a step's variable is read, if a job runs, and return its digest."""
        return "" if self.ledger is None else self.ledger.note(step, variable)
