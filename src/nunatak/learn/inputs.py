"""What a model sees of a window: the same path for training and inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nunatak import normals
from nunatak.grid import Window
from nunatak.learn.models.interpolate import refined
from nunatak.learn.spec import InputSpec, ModelSpec
from nunatak.ops.normalise import REACH, Transform, fill_gaps
from nunatak.products import Results
from nunatak.provenance import read_json
from nunatak.store import Product

# So many cells around a window tell all that its neighbours are filled from.
_AROUND = REACH + 1

Arrays = dict[str, NDArray[np.float32]]
Read = Callable[[Product, Window], NDArray[np.float32]]


@dataclass(frozen=True)
class Statistics:
    """What was fitted on training tiles: a transform an input, the target's mean, SD and detail.

    ``detail`` is the SD of the target about its coarse cells, the relief that a model must add.
    """

    transforms: Mapping[str, Transform]
    mean: float
    deviation: float
    detail: float

    @classmethod
    def read(cls, path: Path) -> Statistics:
        """Read what the stage `tile` wrote."""
        return cls.of(read_json(path))

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Statistics:
        """Parse the JSON value of the stage `tile`."""
        transforms = {name: Transform.from_json(t) for name, t in raw["transforms"].items()}
        return cls(transforms, raw["mean"], raw["deviation"], raw["detail"])


def _is(codes: NDArray[np.float32], code: int) -> NDArray[np.float32]:
    return np.where(np.isnan(codes), np.nan, codes == code).astype(np.float32)


@dataclass(frozen=True)
class Inputs:
    """The open products that the models of a recipe read.

    Parameters
    ----------
    results
        The results tree of the recipe.
    statistics
        What normalises them.
    method
        The method whose conditions are read.
    """

    results: Results
    statistics: Statistics
    method: str

    def at(self, place: str) -> Inputs:
        """The same of one of the recipe's places."""
        return self._places(place) if place else self

    @cached_property
    def _places(self) -> Callable[[str], Inputs]:
        return lru_cache(lambda place: replace(self, results=self.results.at(place)))

    @cached_property
    def products(self) -> dict[str, Product]:
        """The product behind each input."""
        names = ("coarse", *self.results.recipe.reads(self.method))
        return {name: self.results.typical.fed(name) for name in names}

    @cached_property
    def spec(self) -> ModelSpec:
        """What the model is fed: the coarse field first, then the conditions."""
        inputs = {
            name: InputSpec(len(p.layout.variables), p.layout.ratio)
            for name, p in self.products.items()
        }
        recipe = self.results.recipe
        classes = len(recipe.told(self.method))
        lines = len(recipe.layers(self.method)) - classes
        return ModelSpec(recipe.grid.scale, inputs, classes, lines)

    def read(self, window: Window, read: Read = Product.read_all) -> Arrays:
        """Read every input of a window of coarse cells, raw: name -> (channels, rows, columns).

        NaN where missing or beyond the domain. The coarse field comes with `REACH` more cells on
        every side, which the filling of its gaps needs. Where the recipe has normals, those of
        each input and of the target come with them, as ``normals/<name>``; those of the coarse
        field with one cell more on every side than it, so that they can be interpolated.
        """
        wide = {name: window.pad(REACH) if name == "coarse" else window for name in self.products}
        raw = {name: read(product, wide[name]) for name, product in self.products.items()}
        if self.results.recipe.tiles.normals:
            wide |= {normals.TARGET: window, "coarse": window.pad(_AROUND)}
            found = {n: normals.read(self.results, n, part) for n, part in wide.items()}
            raw |= {f"normals/{name}": values for name, values in found.items()}
        return raw

    def truth(self, window: Window, read: Read = Product.read_all) -> NDArray[np.float32]:
        """Read what the method learns: (layers, rows, columns); NaN where there is no truth.

        It is the target's first variable; of a target of classes and lines, 1 where a cell is of
        the layer and 0 elsewhere.
        """
        values, recipe = read(self._target, window), self.results.recipe
        layers, classes = recipe.layers(self.method), recipe.target.classes
        if not layers:
            return values[:1]
        lines = values[1 if classes else 0 :]
        known = dict(zip(recipe.target.lines, lines, strict=False))
        known |= {name: _is(values[0], code) for code, name in enumerate(classes)}
        return np.stack([known[name] for name in layers])

    def observed(self, window: Window, read: Read = Product.read_all) -> NDArray[np.float32] | None:
        """Read what stations measured: (1, rows, columns), NaN in all other cells.

        None where the recipe has no stations.
        """
        role = self.results.recipe.insitu
        return read(self.results.role(role), window)[:1] if role else None

    @cached_property
    def _target(self) -> Product:
        target, names = self.results.role("target"), self.results.recipe.labels
        return target.only(*names) if names else target

    def prepare(self, raw: Arrays) -> Arrays:
        """Normalise, fill gaps with 0 (the training mean), and add the gap-filled ``prior``.

        ``prior`` is the coarse field in physical units, (1, rows, columns). Where the recipe has
        normals, ``normals`` are the target's mean and standard deviation, (2, rows * scale, columns
        * scale), and ``prior_normal`` is the mean of the prior, (1, rows, columns), all physical.
        Where the target has no mean, it is that of the prior, interpolated; no anomaly of the prior
        has a bias there.
        """
        filled = fill_gaps(raw["coarse"][0], self.statistics.mean)[None]
        whole = {name: filled if name == "coarse" else raw[name] for name in self.products}
        ready = {
            name: np.nan_to_num(self._normal(name, values, raw), nan=0.0)
            for name, values in whole.items()
        }
        prior = {"coarse": ready["coarse"], "prior": filled}
        if "normals/coarse" in raw:
            mean = fill_gaps(raw["normals/coarse"][0], self.statistics.mean)[None]
            usual = mean[:, REACH:-REACH, REACH:-REACH], self.statistics.deviation
            ready["normals"] = _completed(raw["normals/target"], *usual)
            prior["prior_normal"] = mean[:, 1:-1, 1:-1]
        inner = slice(REACH, -REACH)
        cut = {n: np.ascontiguousarray(values[:, inner, inner]) for n, values in prior.items()}
        return {**ready, **cut}

    def _normal(self, name: str, values: NDArray[np.float32], raw: Arrays) -> NDArray[np.float32]:
        if f"normals/{name}" not in raw:
            return self.statistics.transforms[name].apply(values)
        given = raw[f"normals/{name}"]
        mean, deviation = np.split(given[:, 1:-1, 1:-1] if name == "coarse" else given, 2)
        return (values - mean) / deviation


def _completed(
    values: NDArray[np.float32], mean: NDArray[np.float32], deviation: float
) -> NDArray[np.float32]:
    """Normals whose missing cells have the coarse mean, interpolated, and the usual deviation.

    Parameters
    ----------
    values
        (2, rows * scale, columns * scale), NaN where missing.
    mean
        (1, rows + 2, columns + 2), coarse cells, without NaN.
    deviation
        Of the target, over all cells.
    """
    fine = refined(mean[0], values.shape[-1] // (mean.shape[-1] - 2))
    usual = np.stack([fine, np.full_like(fine, deviation)])
    return np.where(np.isnan(values), usual, values)
