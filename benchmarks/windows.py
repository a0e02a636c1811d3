"""Random windows from one store: tiles per second of nunatak's reader and of xbatcher, in one run.

``python benchmarks/windows.py [--side 4096] [--windows 3000]`` prints a table. Both read the same
overlapping windows in the same random order from the same store, in one thread, as float32 arrays.
*Cold*: nothing decoded yet, and the files dropped from the system's cache. *Warm*: a second pass.
xbatcher is run twice: reading lazily, as for stores of any size, and over a dataset that was loaded
whole into memory, where the cold pass includes the loading. The best of some repeats is shown.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import xarray as xr
import xbatcher
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from nunatak.grid import Grid, Window
from nunatak.learn.dataset import Chunks
from nunatak.store import Layout, Product, Variable

SIZES = {48: 36, 128: 96}
Reader = Callable[[int], NDArray[np.float32]]
Pair = tuple[float, float]


def make_store(folder: Path, side: int) -> Product:
    """Write a rough random surface, (side, side), in blocks of 2048 and inner chunks of 256."""
    box = GeoBox((side, side), Affine(250, 0, 0, 0, -250, 0), "EPSG:3031")
    product = Product(folder / "a.zarr", Layout("a", Grid(box, 1, 2048), 1, [Variable("z", "m")]))
    product.create()
    rng = np.random.default_rng(0)
    field = rng.normal(size=(side, side)).cumsum(0).cumsum(1).astype(np.float32)
    for block in product.layout.grid.blocks():
        product.write(block, {"z": field[block.core.slices]})
    return product


def drop_cache(folder: Path) -> None:
    """Ask the system to forget the files of a folder."""
    os.sync()
    for path in (p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def ours(product: Product, size: int, stride: int) -> Reader:
    """Our reader of window ``i`` of the lattice, row by row, with a cache of its own."""
    chunks, across = Chunks(), (product.shape[1] - size) // stride + 1

    def read(i: int) -> NDArray[np.float32]:
        top, left = i // across * stride, i % across * stride
        window = Window(top, top + size, left, left + size)
        values: NDArray[np.float32] = chunks.read(product, window)[0]
        return values

    return read


def theirs(data: xr.Dataset, size: int, stride: int) -> Reader:
    """The reader of the same window by xbatcher."""
    dims = {"y": size, "x": size}
    overlap = dict.fromkeys(dims, size - stride)
    batches = xbatcher.BatchGenerator(data[["z"]], dims, input_overlap=overlap)

    def read(i: int) -> NDArray[np.float32]:
        values: NDArray[np.float32] = batches[i]["z"].values
        return values

    return read


def passed(read: Reader, order: Iterable[int]) -> tuple[float, float]:
    """Seconds of a pass, and a sum over what was read."""
    start, total = time.perf_counter(), 0.0
    for i in order:
        total += float(read(i)[::7, ::5].sum(dtype=np.float64))
    return time.perf_counter() - start, total


def timed(product: Product, size: int, stride: int, order: list[int]) -> dict[str, Pair]:
    """Tiles per second, cold and warm, of every reader on one size of window."""
    lazy = xr.open_zarr(product.path, chunks=None, consolidated=False, mask_and_scale=False)
    found, sums = {}, set()
    for name in ("nunatak", "xbatcher, lazy", "xbatcher, in memory"):
        drop_cache(product.path)
        start = time.perf_counter()
        data = lazy.compute() if name == "xbatcher, in memory" else lazy
        loading = time.perf_counter() - start
        mine = name == "nunatak"
        read = ours(product, size, stride) if mine else theirs(data, size, stride)
        (cold, first), (warm, second) = passed(read, order), passed(read, order)
        sums |= {first, second}
        found[name] = (len(order) / (loading + cold), len(order) / warm)
    assert len(sums) == 1, "the readers disagree"
    return found


def best(runs: list[dict[str, Pair]]) -> dict[str, Pair]:
    """The best of several runs, for each reader, cold and warm."""
    return {n: (max(r[n][0] for r in runs), max(r[n][1] for r in runs)) for n in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--windows", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    head = ("window", "stride", "reader", "cold, tiles/s", "warm, tiles/s", "ours x, cold")
    print("| " + " | ".join((*head, "ours x, warm")) + " |\n|" + " --- |" * 7)
    with tempfile.TemporaryDirectory() as folder:
        product = make_store(Path(folder), given.side)
        for size, stride in SIZES.items():
            lattice = (given.side - size) // stride + 1
            order = np.random.default_rng(1).permutation(lattice**2)[: given.windows].tolist()
            found = best([timed(product, size, stride, order) for _ in range(given.repeats)])
            mine = found["nunatak"]
            for name, (cold, warm) in found.items():
                speeds = f"{cold:.0f} | {warm:.0f} | {mine[0] / cold:.1f} | {mine[1] / warm:.1f}"
                print(f"| {size} | {stride} | {name} | {speeds} |")


if __name__ == "__main__":
    main()
