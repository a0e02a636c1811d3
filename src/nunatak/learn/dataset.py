"""Training samples: which tile, turned how, cut from the stores without decoding anything twice.

Sample ``i`` of a training is a function of the seed and ``i`` alone, so that a training may stop
and go on anywhere.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import count
from math import ceil
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import zarr
from numpy.typing import NDArray
from torch import Tensor

from nunatak.errors import ConfigError, DataError, StoreError
from nunatak.grid import Window
from nunatak.learn.augment import Distortion, distorted, drawn
from nunatak.learn.inputs import Arrays, Inputs, Statistics
from nunatak.learn.spec import Batch
from nunatak.method import Distort
from nunatak.ops.degrade import repeat
from nunatak.ops.normalise import REACH
from nunatak.ops.split import NAMES
from nunatak.products import Results
from nunatak.store import Product, Variable

SYMMETRIES = 8
# What tells the components of a vector in CF standard names.
_PAIRS = (("x_velocity", "y_velocity"), ("x_wind", "y_wind"), ("eastward", "northward"))
_Key = tuple[Path, str, int, int]


class Chunks:
    """Decoded inner chunks of stores; beyond a budget the least recently used are dropped.

    Any number of threads may read.

    Parameters
    ----------
    budget
        Bytes to hold; stores that fit are decoded once.
    """

    def __init__(self, budget: int = 1 << 30) -> None:
        self.budget, self.held = budget, 0
        self._chunks: OrderedDict[_Key, NDArray[np.float32]] = OrderedDict()
        self._arrays: dict[tuple[Path, str], zarr.Array[Any]] = {}
        self._lock = Lock()

    def read(self, product: Product, window: Window) -> NDArray[np.float32]:
        """Read every variable of a window of coarse cells, as `Product.read_all` does.

        Returns
        -------
        ndarray
            (variables, rows * ratio, columns * ratio), float32, NaN where missing or beyond the
            domain.
        """
        cells = window.at(product.layout.ratio)
        inside = cells.clip(product.shape)
        variables = product.layout.variables
        for variable in variables:
            product.check(variable.name, window)
        values = np.full((len(variables), *cells.shape), np.nan, dtype=np.float32)
        side = product.layout.chunk
        for row in range(inside.top // side, ceil(inside.bottom / side)):
            for col in range(inside.left // side, ceil(inside.right / side)):
                whole = Window(row * side, (row + 1) * side, col * side, (col + 1) * side)
                part = whole.common(inside)
                into, source = part.within(cells).slices, part.within(whole).slices
                for channel, variable in enumerate(variables):
                    chunk = self._chunk(product, variable.name, row, col)
                    values[channel][into] = chunk[source]
        return values

    def _chunk(self, product: Product, variable: str, row: int, col: int) -> NDArray[np.float32]:
        key = (product.path, variable, row, col)
        with self._lock:
            if key in self._chunks:
                self._chunks.move_to_end(key)
                return self._chunks[key]
        side = product.layout.chunk
        rows, cols = (slice(n * side, (n + 1) * side) for n in (row, col))
        values = np.asarray(self._array(product, variable)[rows, cols], dtype=np.float32)
        with self._lock:
            if key not in self._chunks:
                self._chunks[key] = values
                self.held += values.nbytes
            while self.held > self.budget and len(self._chunks) > 1:
                self.held -= self._chunks.popitem(last=False)[1].nbytes
        return values

    def _array(self, product: Product, variable: str) -> zarr.Array[Any]:
        key = (product.path, variable)
        if key not in self._arrays:
            try:
                self._arrays[key] = zarr.open_array(product.path / variable, mode="r")
            except FileNotFoundError as error:
                raise StoreError(
                    f"{product.layout.product}: no variable {variable!r} in {product.path}",
                    "a store made by this workflow",
                    "run snakemake again",
                ) from error
        return self._arrays[key]


def components(variables: Sequence[Variable]) -> list[tuple[int, int]]:
    """Find the vectors among variables: positions of their x and y components.

    Components are known by their CF standard names: ``..._x_velocity`` and ``..._y_velocity``,
    ``x_wind`` and ``y_wind``, ``eastward_...`` and ``northward_...``.

    Of several of one name, as those of several days, the first belong together, and so on.

    Raises
    ------
    ConfigError
        If a component has no partner: a field that holds one alone cannot be turned.
    """
    names = [v.standard_name for v in variables]
    found = []
    for position, name in enumerate(names):
        pair = next((pair for pair in _PAIRS if any(part in name for part in pair)), None)
        if pair is None:
            continue
        x, y = pair
        partner = name.replace(x, y) if x in name else name.replace(y, x)
        places = [place for place, other in enumerate(names) if other == partner]
        number = names[:position].count(name)
        if number >= len(places):
            raise ConfigError(
                f"variable {variables[position].name!r} ({name}) is one component of a vector",
                f"a variable of standard name {partner} for each in the same role",
                "add it to the role's variables, or set augment: false in the method's train",
            )
        if x in name:
            found.append((position, places[number]))
    return found


def turned(
    values: NDArray[Any], symmetry: int, vectors: Iterable[tuple[int, int]] = ()
) -> NDArray[Any]:
    """Turn a field by one of the eight symmetries of the square, its vectors with it.

    Parameters
    ----------
    values
        (channels, rows, columns), rows from north to south, vectors in physical units.
    symmetry
        0 to 7: quarter turns counter-clockwise on the map, from 4 on followed by a swap of east
        and west.
    vectors
        Channels of x (eastward in the grid) and y (northward) components.

    Returns
    -------
    ndarray
        Of the same shape, if the field is square; NaN stays NaN.
    """
    quarters, mirrored = symmetry % 4, symmetry >= 4
    result = np.rot90(values, quarters, axes=(-2, -1))
    result = (result[..., ::-1] if mirrored else result).copy()
    for x, y in vectors:
        east, north = result[x].copy(), result[y].copy()
        for _ in range(quarters):
            east, north = -north, east
        result[x], result[y] = -east if mirrored else east, north
    return result


@dataclass(frozen=True)
class Sample:
    """One tile: prepared inputs; target and mask (layers, size * scale, size * scale).

    The target is 0 where the mask is False: where it, or the coarse field, is missing. Where the
    recipe has stations, ``observed`` (1, size * scale, size * scale) is what they measured, in the
    target's units, and NaN in all other cells.
    """

    inputs: Arrays
    target: NDArray[np.float32]
    mask: NDArray[np.bool_]
    observed: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Minibatch:
    """Samples stacked: inputs (B, C, h, w) by name, target and mask (B, layers, H, W).

    Besides, the scale, how many of the first layers are classes (a map has one layer), in training
    the number of the first sample, and where the recipe has stations, what they measured
    (B, 1, H, W), NaN in all other cells.
    """

    inputs: Batch
    target: Tensor
    mask: Tensor
    scale: int
    classes: int = 0
    first: int = 0
    observed: Tensor | None = None

    @classmethod
    def of(cls, samples: Sequence[Sample], scale: int, classes: int = 0) -> Minibatch:
        """Stack samples."""
        inputs = {
            name: torch.from_numpy(np.stack([s.inputs[name] for s in samples]))
            for name in samples[0].inputs
        }
        target, mask = (
            torch.from_numpy(np.stack(arrays))
            for arrays in ([s.target for s in samples], [s.mask for s in samples])
        )
        found = [s.observed for s in samples if s.observed is not None]
        observed = torch.from_numpy(np.stack(found)) if found else None
        return cls(inputs, target, mask, scale, classes, observed=observed)

    def to(self, device: torch.device) -> Minibatch:
        """Copy to a device."""
        inputs = {name: t.to(device, non_blocking=True) for name, t in self.inputs.items()}
        target, mask = (t.to(device, non_blocking=True) for t in (self.target, self.mask))
        observed = None
        if self.observed is not None:
            observed = self.observed.to(device, non_blocking=True)
        return replace(self, inputs=inputs, target=target, mask=mask, observed=observed)

    @property
    def context(self) -> Batch:
        """What losses may read besides prediction, target and mask.

        The inputs, ``scale`` and ``classes``.
        """
        counts = {"scale": self.scale, "classes": self.classes}
        return {**self.inputs, **{name: torch.tensor(n) for name, n in counts.items()}}


class Draw(NamedTuple):
    """A sample of a plan: which tile, turned by which symmetry, and distorted by what, if at all.

    Plans of validation neither turn nor distort.
    """

    position: int
    symmetry: int = 0
    distortion: Distortion | None = None


@dataclass(frozen=True)
class Tiles:
    """The tiles of one split.

    Parameters
    ----------
    inputs
        What the method reads, and the path by which it is normalised.
    corners
        (tiles, 2): row and column of the corner of each tile's core (coarse cells).
    places
        Of each tile, the place it lies at: the scene, or nothing.
    chunks
        Holds what was decoded.
    """

    inputs: Inputs
    corners: NDArray[np.int64]
    places: Sequence[str]
    chunks: Chunks

    @classmethod
    def open(cls, results: Results, method: str, split: int, chunks: Chunks) -> Tiles:
        """Open the tiles of a split (0 training, 1 validation, 2 test) for a method.

        Raises
        ------
        DataError
            If the split has no tile.
        StoreError
            If the stage `tile` has not run.
        """
        index = _index(results.tiled("tiles.parquet"))
        chosen = index[index["split"] == split]
        if chosen.empty:
            raise DataError(
                f"no {NAMES[split]} tile among the {len(index)} tiles of {results.recipe.name}",
                "at least one tile in training and one in validation",
                "change split.by, or make tiles.size, tiles.stride or tiles.min_valid smaller",
            )
        statistics = Statistics.read(results.tiled("statistics.json"))
        corners = chosen[["row", "col"]].to_numpy(np.int64)
        places = chosen["place"].tolist()
        return cls(Inputs(results, statistics, method), corners, places, chunks)

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.corners)

    @cached_property
    def vectors(self) -> dict[str, list[tuple[int, int]]]:
        """Channels of x and y components, by input."""
        return {n: components(p.layout.variables) for n, p in self.inputs.products.items()}

    def read(
        self, position: int, symmetry: int = 0, distortion: Distortion | None = None
    ) -> Sample:
        """Read one tile, turn and distort it, and prepare it as inference does."""
        inputs, recipe = self.inputs.at(self.places[position]), self.inputs.results.recipe
        size, context, scale = recipe.tiles.size, recipe.tiles.context, recipe.grid.scale
        row, col = (int(n) for n in self.corners[position])
        core = Window(row, row + size, col, col + size)
        raw = inputs.read(core.pad(context), self.chunks.read)
        truth = inputs.truth(core, self.chunks.read)
        observed = inputs.observed(core, self.chunks.read)
        if symmetry:
            raw = {n: self._turned(n, values, symmetry) for n, values in raw.items()}
            truth = turned(truth, symmetry)
            observed = None if observed is None else turned(observed, symmetry)
        if distortion:
            raw = {n: self._distorted(n, values, distortion) for n, values in raw.items()}
            codes = self.inputs.spec.segments
            truth = distorted(truth, distortion, size * scale, nearest=codes)
            if observed is not None:
                # Single cells would be lost between others that are missing.
                observed = distorted(observed, distortion, size * scale, nearest=True)
        inner = slice(context + REACH, context + REACH + size)
        known = np.isfinite(raw["coarse"][:1, inner, inner])
        mask = np.isfinite(truth) & repeat(known, scale)
        target = np.where(mask, truth, np.float32(0))
        return Sample(inputs.prepare(raw), target, mask, observed)

    def _turned(self, name: str, values: NDArray[np.float32], symmetry: int) -> NDArray[np.float32]:
        given = self.vectors.get(name.removeprefix("normals/"), ())
        if name in self.inputs.products:
            return turned(values, symmetry, given)
        # Means turn as what they are of; deviations change places, but have no sign.
        mean, deviation = (turned(half, symmetry, given) for half in np.split(values, 2))
        return np.concatenate([mean, np.abs(deviation)])

    def _distorted(
        self, name: str, values: NDArray[np.float32], by: Distortion
    ) -> NDArray[np.float32]:
        side = self.inputs.results.recipe.tiles.size * self.inputs.spec.inputs[name].ratio
        return distorted(values, by, side, nearest=False, vectors=self.vectors[name])


def _index(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, columns=["place", "row", "col", "split"])
    except (OSError, ValueError) as error:
        raise StoreError(
            f"cannot read {path}: {error}", "the index of tiles", "run snakemake again"
        ) from error


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, tiles: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 0, epoch]).permutation(tiles)


def draw(seed: int, i: int, tiles: int, augment: bool, distort: Distort | None = None) -> Draw:
    """What sample ``i`` is: each epoch takes every tile once, in a new order."""
    position = int(_order(seed, i // tiles, tiles)[i % tiles])
    symmetry = int(np.random.default_rng([seed, 1, i]).integers(SYMMETRIES)) if augment else 0
    if distort is None:
        return Draw(position, symmetry)
    limits = distort.model_dump()
    return Draw(position, symmetry, drawn(np.random.default_rng([seed, 3, i]), **limits))


def training(
    seed: int, start: int, size: int, tiles: int, augment: bool, distort: Distort | None = None
) -> Iterator[list[Draw]]:
    """Every batch from sample ``start`` on, without end."""
    for first in count(start, size):
        yield [draw(seed, i, tiles, augment, distort) for i in range(first, first + size)]


def validation(size: int, tiles: int, most: int) -> list[list[Draw]]:
    """At most ``most`` tiles, evenly spaced in the index, as they are, in batches of ``size``."""
    chosen = np.unique(np.linspace(0, tiles - 1, min(most, tiles)).astype(int))
    plain = [Draw(int(position)) for position in chosen]
    return [plain[first : first + size] for first in range(0, len(plain), size)]


def prefetch(
    tiles: Tiles,
    plans: Iterable[list[Draw]],
    *,
    workers: int = 4,
    ahead: int = 2,
) -> Generator[Minibatch, None, None]:
    """Read batches in order while earlier ones are used.

    Parameters
    ----------
    tiles
        What to read from.
    plans
        The samples of each batch.
    workers
        Threads that read; they do not change what is read.
    ahead
        Batches that may wait; bounds the memory.
    """
    spec = tiles.inputs.spec
    pool = ThreadPoolExecutor(workers, thread_name_prefix="tiles")
    waiting: deque[list[Future[Sample]]] = deque()

    def batch() -> Minibatch:
        samples = [future.result() for future in waiting.popleft()]
        return Minibatch.of(samples, spec.scale, spec.classes)

    try:
        for plan in plans:
            waiting.append([pool.submit(tiles.read, *sample) for sample in plan])
            if len(waiting) > ahead:
                yield batch()
        while waiting:
            yield batch()
    finally:
        pool.shutdown(cancel_futures=True)
