"""One Zarr v3 store a product; one block is exactly one shard of each variable.

Writers of different blocks touch different files, so any number of jobs may write one store.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from filelock import FileLock
from numpy.typing import NDArray
from odc.geo.crs import CRS
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec

from nunatak.content import Manifest
from nunatak.errors import StoreError
from nunatak.grid import Block, Grid, Window
from nunatak.provenance import digest_json, fsync_folder
from nunatak.tracking.ledger import Ledger

CHUNK = 256
CODECS = "blosc-lz4-5-shuffle, crc32c"

# A thread keeps some memory of its own: their number is that of a job, not of a machine's cores.
zarr.config.set({"array.write_empty_chunks": True, "threading.max_workers": 2})


@dataclass(frozen=True)
class Variable:
    """A variable of a product: CF names and units, and the vertical datum if it is a height."""

    name: str
    units: str = "1"
    standard_name: str = ""
    long_name: str = ""
    vertical_datum: str | None = None

    def attributes(self) -> dict[str, Any]:
        """CF attributes, without those that are empty."""
        given = {k: v for k, v in asdict(self).items() if v and k != "name"}
        return {**given, "grid_mapping": "spatial_ref"}


@dataclass(frozen=True)
class Layout:
    """All that a store's metadata follow from.

    Parameters
    ----------
    product
        Name of the product, for manifests and messages.
    grid
        The grid of the recipe.
    ratio
        Cells of this product along the side of a coarse cell.
    variables
        What it holds; every variable is float32 with NaN for missing.
    attributes
        Global attributes.
    """

    product: str
    grid: Grid
    ratio: int
    variables: Sequence[Variable]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Digest of all above but the attributes, and of the way it is stored.

        A store of another digest is made anew, and its blocks with it; a title costs no block.
        """
        box = self.grid.geobox(self.ratio)
        return digest_json(
            {
                "crs": box.crs.wkt if box.crs else "",
                "affine": list(box.affine)[:6],
                "shape": list(box.shape),
                "shard": self.grid.step * self.ratio,
                "chunk": self.chunk,
                "codecs": CODECS,
                "variables": [asdict(v) for v in self.variables],
            }
        )

    @property
    def chunk(self) -> int:
        """Side of an inner chunk: the largest divisor of the shard's side up to CHUNK."""
        shard = self.grid.step * self.ratio
        return next(n for n in range(min(CHUNK, shard), 0, -1) if shard % n == 0)


class Product:
    """An open store.

    Parameters
    ----------
    path
        The folder of the store.
    layout
        What it is expected to be. `create` makes it so.
    ledger
        Notes what is read and written, and checks what is read; None does neither.
    name
        Path of the product below the results root, as in the names of its steps.
    """

    def __init__(
        self, path: Path, layout: Layout, ledger: Ledger | None = None, name: str = ""
    ) -> None:
        self.path, self.layout = path, layout
        self.ledger, self.name = ledger, name or layout.product
        self._arrays: dict[str, zarr.Array[Any]] = {}

    def only(self, *variables: str) -> Product:
        """The same store, of which some variables are seen."""
        chosen = [v for v in self.layout.variables if v.name in variables]
        return Product(self.path, replace(self.layout, variables=chosen), self.ledger, self.name)

    def create(self) -> Product:
        """Make the store if it is not there or is of another layout; safe beside other jobs.

        A store of another layout is removed: none of its blocks can be part of this product.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            if self._digest() == self.layout.digest:
                return self
            made = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
            _write_metadata(made, self.layout)
            made.chmod(0o755)
            shutil.rmtree(self.path, ignore_errors=True)
            made.replace(self.path)
            fsync_folder(self.path.parent)
        return self

    def _digest(self) -> str | None:
        try:
            group = zarr.open_group(self.path, mode="r", use_consolidated=False)
        except FileNotFoundError:
            return None
        return str(group.attrs.get("layout_digest"))

    def _array(self, variable: str) -> zarr.Array[Any]:
        if variable not in self._arrays:
            try:
                self._arrays[variable] = zarr.open_array(self.path / variable, mode="r+")
            except FileNotFoundError as error:
                raise StoreError(
                    f"{self.layout.product}: no variable {variable!r} in {self.path}",
                    "a store made by this workflow",
                    "run snakemake again",
                ) from error
        return self._arrays[variable]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the whole product."""
        rows, cols = self.layout.grid.shape
        return rows * self.layout.ratio, cols * self.layout.ratio

    def write(self, block: Block, fields: Mapping[str, NDArray[np.float32]]) -> Manifest:
        """Write one block, all variables, and return the manifest that commits it.

        Raises
        ------
        StoreError
            If the block is not one of the grid's, or the fields are not exactly the block: only a
            whole shard may be written.
        """
        if block != (whole := self.layout.grid.at(block.row, block.col)):
            raise StoreError(
                f"{self.layout.product}: block {block.name} given as {block.core}",
                f"{whole.core}, exactly one shard",
            )
        cells = block.core.at(self.layout.ratio)
        expected = {v.name for v in self.layout.variables}
        if set(fields) != expected or any(a.shape != cells.shape for a in fields.values()):
            given = {name: array.shape for name, array in fields.items()}
            raise StoreError(
                f"{self.layout.product}: block {block.name} given as {given}",
                f"{sorted(expected)} of shape {cells.shape}, exactly one shard each",
            )
        who, shape = (self.layout.product, block.name), block.core.shape
        with ThreadPoolExecutor(1) as pool:
            manifest = pool.submit(Manifest.of, *who, shape, dict(fields))
            for name, values in fields.items():
                shard = self._shard(name, block)
                shard.unlink(missing_ok=True)
                self._array(name)[cells.slices] = values
                _fsync(shard)
                fsync_folder(shard.parent)
                if self.ledger is not None:
                    self.ledger.wrote(shard)
            return manifest.result()

    def _shard(self, variable: str, block: Block) -> Path:
        return self.path / variable / "c" / str(block.row) / str(block.col)

    def check(self, variable: str, window: Window) -> None:
        """Note that a window of coarse cells is read, and check the shards that it lies in.

        Raises
        ------
        StoreError
            If a shard is not what its job wrote; the message names product, block and what to run.
        """
        if self.ledger is None:
            return
        for block in self.layout.grid.meeting(window):
            part = window.common(block.core).within(block.core)
            whole = part.shape == block.core.shape
            span = None if whole else (part.top, part.bottom, part.left, part.right)
            file = f"{self.name}.zarr/{variable}/c/{block.row}/{block.col}"
            self.ledger.reading(f"{self.name}/{block.name}", variable, span, file)

    def read(self, variable: str, window: Window) -> NDArray[np.float32]:
        """Read a window of coarse cells; what lies beyond the domain is NaN.

        Returns
        -------
        ndarray
            (rows * ratio, columns * ratio), float32, NaN where missing.

        Raises
        ------
        StoreError
            If what is read is not what was written; see `check`.
        """
        self.check(variable, window)
        cells = window.at(self.layout.ratio)
        inside = cells.clip(self.shape)
        array = self._array(variable)
        if inside == cells:
            return np.asarray(array[cells.slices], dtype=np.float32)
        values = np.full(cells.shape, np.nan, dtype=np.float32)
        if cells.meets(Window(0, self.shape[0], 0, self.shape[1])):
            values[inside.within(cells).slices] = array[inside.slices]
        return values

    def read_first(self, window: Window) -> NDArray[np.float32]:
        """Read the first variable, which is the field itself where a product holds one field."""
        return self.read(self.layout.variables[0].name, window)

    def read_all(self, window: Window) -> NDArray[np.float32]:
        """Read every variable of a window, stacked: (variables, rows * ratio, columns * ratio)."""
        return np.stack([self.read(v.name, window) for v in self.layout.variables])


def _fsync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _write_metadata(path: Path, layout: Layout) -> None:
    """Write everything of a store but its blocks: arrays, coordinates, the CF grid mapping."""
    box = layout.grid.geobox(layout.ratio)
    shard = layout.grid.step * layout.ratio
    group = zarr.create_group(path, attributes={"Conventions": "CF-1.11", **layout.attributes})
    for variable in layout.variables:
        group.create_array(
            variable.name,
            shape=box.shape,
            dtype="float32",
            chunks=(layout.chunk, layout.chunk),
            shards=(shard, shard),
            serializer=BytesCodec(endian="little"),
            compressors=(BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec()),
            fill_value=np.nan,
            dimension_names=("y", "x"),
            attributes={**variable.attributes(), "_FillValue": "AAAAAAAA+H8="},
        )
    for axis, attributes in _coordinates(box.crs).items():
        values = np.asarray(box.coordinates[box.dimensions["yx".index(axis)]].values)
        group.create_array(
            axis, data=values, chunks=values.shape, dimension_names=(axis,), attributes=attributes
        )
    reference = group.create_array("spatial_ref", shape=(), dtype="int32", fill_value=0)
    reference[...] = 0
    if box.crs is not None:
        reference.attrs.update(_grid_mapping(box))
    group.attrs["layout_digest"] = layout.digest


def _coordinates(crs: CRS | None) -> dict[str, dict[str, Any]]:
    if crs is None:
        unknown = "cells from the corner of a grid whose place is not known"
        return {axis: {"long_name": unknown, "units": "1"} for axis in "yx"}
    if crs.geographic:
        return {
            "y": {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
            "x": {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
        }
    return {
        "y": {"standard_name": "projection_y_coordinate", "units": "m", "axis": "Y"},
        "x": {"standard_name": "projection_x_coordinate", "units": "m", "axis": "X"},
    }


def _grid_mapping(box: Any) -> dict[str, Any]:
    a = box.affine
    transform = " ".join(repr(float(v)) for v in (a.c, a.a, a.b, a.f, a.d, a.e))
    cf = {
        k: v for k, v in box.crs.proj.to_cf().items() if not isinstance(v, float) or np.isfinite(v)
    }
    return {**cf, "spatial_ref": box.crs.wkt, "GeoTransform": transform}
