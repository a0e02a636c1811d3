"""A finished product as a Cloud-Optimized GeoTIFF: nunatak beside GDAL's own tools, in one run.

``python benchmarks/publish.py [--side 16384] [--repeats 2]`` prints a table. Both turn the same
blocks of 2048 x 2048 cells of the synthetic bed, float32, into one COG with overviews: nunatak from
the Zarr store of a mosaic, GDAL (``gdalbuildvrt`` and ``gdal_translate -of COG``) from one tiled
GeoTIFF a block, made beforehand with the same compression. Compression, predictor, tiles, overviews
and threads are those of nunatak's products. A run starts with a cold process and ends with the file
on disk; the best of some repeats is shown, and the largest peak of a process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from nunatak.cog import MAP
from nunatak.cog import OPTIONS as EVERY
from nunatak.grid import Block, Grid
from nunatak.sources.synthetic import World
from nunatak.stages.publish import write_cog
from nunatak.store import Layout, Product, Variable

NODATA = -9999.0
WORKERS = 2
OPTIONS = [f"{name}={value}" for name, value in {**EVERY, **MAP}.items() if name != "driver"]


def product(folder: Path, side: int) -> Product:
    """The store of a mosaic of a side in cells of 250 m, around the pole."""
    affine = Affine(250, 0, -125 * side, 0, -250, 125 * side)
    grid = Grid(GeoBox((side, side), affine, "EPSG:3031"), 4, 2048)
    return Product(folder / "bed.zarr", Layout("bed", grid, 4, [Variable("bed", "m")]))


def write_block(folder: Path, side: int, block: Block) -> None:
    """Write a block of the bed into the store and as a GeoTIFF."""
    store = product(folder, side)
    box = store.layout.grid.geobox(4, block.core)
    x, y = (box.coordinates[dimension].values for dimension in ("x", "y"))
    field = World(0).evaluate("bed", x, y)
    store.write(block, {"bed": field})
    profile = {
        "driver": "GTiff",
        "height": field.shape[0],
        "width": field.shape[1],
        "count": 1,
        "dtype": "float32",
        "crs": "EPSG:3031",
        "transform": box.affine,
        "nodata": NODATA,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "zstd",
        "zstd_level": 3,
        "predictor": 3,
    }
    with rasterio.open(folder / f"{block.name}.tif", "w", **profile) as file:
        file.write(np.ascontiguousarray(field), 1)


def prepare(folder: Path, side: int) -> None:
    """Write all blocks in other processes: a child's peak counts that of its parent."""
    blocks = list(product(folder, side).create().layout.grid.blocks())
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=spawn) as pool:
        list(pool.map(write_block, repeat(folder), repeat(side), blocks))
    names = [str(folder / f"{block.name}.tif") for block in blocks]
    (folder / "blocks.txt").write_text("\n".join(names), encoding="utf-8")


def run(commands: list[list[str]], out: Path) -> tuple[float, float, float]:
    """Run commands one after the other: seconds until the file is on disk, of CPU, peak (MiB)."""
    out.unlink(missing_ok=True)
    os.sync()
    start, busy, peak = time.perf_counter(), 0.0, 0
    for command in commands:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f"{' '.join(command)} failed")
        busy += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss)
    with out.open("rb") as stream:
        os.fsync(stream.fileno())
    return time.perf_counter() - start, busy, peak / 1024


def gdal(folder: Path, out: Path) -> list[list[str]]:
    """What one runs by hand."""
    options = [word for option in OPTIONS for word in ("-co", option)]
    mosaic = str(folder / "mosaic.vrt")
    return [
        ["gdalbuildvrt", "-q", "-input_file_list", str(folder / "blocks.txt"), mosaic],
        ["gdal_translate", "-q", "-of", "COG", *options, mosaic, str(out)],
    ]


def checked(ours: Path, theirs: Path) -> None:
    """Fail unless the two maps hold the same cells and as many overviews."""
    with rasterio.open(ours) as one, rasterio.open(theirs) as other:
        if one.overviews(1) != other.overviews(1):
            raise RuntimeError(f"overviews {one.overviews(1)} and {other.overviews(1)}")
        for _, window in one.block_windows(1):
            np.testing.assert_array_equal(one.read(1, window=window), other.read(1, window=window))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--side", type=int, default=16384)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the files lie, some 6 GB")
    parser.add_argument("--worker", action="store_true", help="only publish what is in the folder")
    given = parser.parse_args()
    if given.worker:
        write_cog(product(given.folder, given.side), given.folder / "ours.tif", NODATA, {})
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        prepare(folder, given.side)
        ours, theirs = folder / "ours.tif", folder / "gdal.tif"
        us = [sys.executable, __file__, "--side", str(given.side), "--folder", name, "--worker"]
        runs = {
            "GDAL": [run(gdal(folder, theirs), theirs) for _ in range(given.repeats)],
            "nunatak": [run([us], ours) for _ in range(given.repeats)],
        }
        checked(ours, theirs)
        sizes = {"GDAL": theirs.stat().st_size, "nunatak": ours.stat().st_size}
    first = min(runs["GDAL"])[0]
    print("| | s | speed | CPU, s | peak, MiB | file, MB |\n| --- |" + " ---: |" * 5)
    for key, found in runs.items():
        seconds, busy = min(found)[:2]
        peak = max(peak for *_, peak in found)
        figures = f"{seconds:.1f} | {first / seconds:.2f} | {busy:.1f} | {peak:,.0f}"
        print(f"| {key} | {figures} | {sizes[key] / 1e6:,.0f} |")


if __name__ == "__main__":
    main()
