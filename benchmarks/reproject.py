"""Reprojecting a continent: nunatak's blocks into Zarr shards beside gdalwarp into a GeoTIFF.

``python benchmarks/reproject.py [--side 6667] [--workers 2]`` prints a table. One tiled GeoTIFF,
float32 at 1 km with a sea of missing cells, is resampled bilinearly to 500 m in the same CRS.
nunatak warps blocks of 2048 and writes them as shards of one Zarr v3 store (LZ4 with shuffle and
CRC-32C, synced to disk, each with its digest), in one process of as many threads as gdalwarp has. A
run starts with cold Python and ends with the last file written. Runs take turns, and the best times
are shown. *CPU* is that of all threads; *peak* the largest resident memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
import rasterio.windows
from affine import Affine
from odc.geo.geobox import GeoBox

from nunatak.grid import Grid, Window
from nunatak.sections import Role
from nunatak.source import Source
from nunatak.sources.readers import open_raster
from nunatak.stages.reproject import onto
from nunatak.store import Layout, Product, Variable

Figures = tuple[float, float, float]

CRS = "EPSG:3031"
PLAIN = ["-co", "COMPRESS=ZSTD"]
SOURCE = Source.model_validate(
    {
        "title": "benchmark",
        "files": [{"url": "file:source.tif"}],
        "reader": {"op": "raster"},
        "variables": {"bed": {"units": "m"}},
        "crs": CRS,
        "licence": "none",
    }
)
TUNED = ["-co", "COMPRESS=ZSTD", "-co", "ZSTD_LEVEL=3", "-co", "PREDICTOR=3"]


def make_source(path: Path, side: int) -> None:
    """Write rough relief, (side, side) at 1 km, missing where it is low."""
    from scipy.ndimage import zoom

    rng = np.random.default_rng(0)
    field = rng.normal(0, 2, (side, side)).astype(np.float32)
    for step, height in ((16, 60), (64, 200), (512, 900)):
        nodes = rng.normal(0, height, (side // step + 2, side // step + 2)).astype(np.float32)
        field += zoom(nodes, step, order=1)[:side, :side]
    field[field < -800] = np.nan
    half = side * 500.0
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=side,
        width=side,
        count=1,
        dtype="float32",
        crs=CRS,
        transform=Affine(1000, 0, -half, 0, -1000, half),
        nodata=np.nan,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="zstd",
    ) as dataset:
        dataset.write(field, 1)


def target(side: int) -> GeoBox:
    """The grid at 500 m, as much of the source as whole chunks of 256 cells cover."""
    cells = 2 * side // 256 * 256
    return GeoBox((cells, cells), Affine(500, 0, -500.0 * side, 0, -500, 500.0 * side), CRS)


def product(folder: Path, side: int) -> Product:
    """The store that nunatak writes."""
    grid = Grid(target(side), 1, 2048)
    return Product(folder / "ours.zarr", Layout("bed", grid, 1, [Variable("bed", "m")]))


def work(folder: Path, side: int, workers: int) -> None:
    """Reproject every block, as jobs of the workflow would, in threads."""
    store = product(folder, side).create()
    blocks = list(store.layout.grid.blocks())

    def some(worker: int) -> None:
        raster, role = (
            open_raster(folder / "source.tif", SOURCE),
            Role(source="a", variables=("bed",)),
        )
        share = slice(*(len(blocks) * n // workers for n in (worker, worker + 1)))
        for block in blocks[share]:
            box = store.layout.grid.geobox(1, block.core)
            store.write(block, onto(raster, SOURCE, role, None, box))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(some, range(workers)))


def measure(command: list[str]) -> Figures:
    """Run a command: seconds, CPU seconds, peak memory (MB)."""
    start = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(running.pid, 0)
    if status:
        raise RuntimeError(f"{command[0]} failed")
    seconds = time.perf_counter() - start
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def gdalwarp(folder: Path, side: int, workers: int, options: list[str]) -> Figures:
    """Run gdalwarp."""
    out = folder / "gdal.tif"
    out.unlink(missing_ok=True)
    corners = [str(v) for v in target(side).boundingbox.bbox]
    fixed = ["-q", "-r", "bilinear", "-tr", "500", "500", "-te", *corners, "-dstnodata", "nan"]
    fixed += ["-co", "TILED=YES", "-multi", "-wo", f"NUM_THREADS={workers}", *options]
    return measure(["gdalwarp", *fixed, str(folder / "source.tif"), str(out)])


def ours(folder: Path, side: int, workers: int) -> Figures:
    """Run nunatak."""
    shutil.rmtree(folder / "ours.zarr", ignore_errors=True)
    base = [sys.executable, __file__, "--side", str(side), "--workers", str(workers)]
    return measure([*base, "--work", str(folder)])


def difference(folder: Path, side: int) -> tuple[float, int]:
    """Largest difference of the two results (m), and the cells missing in one only."""
    store, largest, odd = product(folder, side), 0.0, 0
    with rasterio.open(folder / "gdal.tif") as dataset:
        for block in store.layout.grid.blocks():
            cells: Window = block.core
            window = rasterio.windows.Window.from_slices(*cells.slices)
            one, other = store.read("bed", cells), dataset.read(1, window=window)
            largest = max(largest, float(np.nanmax(np.abs(one - other), initial=0.0)))
            odd += int((np.isnan(one) != np.isnan(other)).sum())
    return largest, odd


def main() -> None:
    """Measure and print the table, or be the measured process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=6667)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    if args.work:
        work(args.work, args.side, args.workers)
        return
    # A child's peak counts that of its parent before it, which must therefore stay small.
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        maker = spawn.Process(target=make_source, args=(folder / "source.tif", args.side))
        maker.start()
        maker.join()
        threads = ["-co", f"NUM_THREADS={args.workers}"]
        runs = {
            "gdalwarp, ZSTD": lambda: gdalwarp(folder, args.side, args.workers, PLAIN),
            "gdalwarp, threaded ZSTD 3": lambda: gdalwarp(
                folder, args.side, args.workers, TUNED + threads
            ),
            "nunatak": lambda: ours(folder, args.side, args.workers),
        }
        turns = [{key: run() for key, run in runs.items()} for _ in range(args.repeats)]
        largest, odd = difference(folder, args.side)
    rows, cols = target(args.side).shape
    print(f"{args.side} x {args.side} at 1 km -> {rows} x {cols} at 500 m, {args.workers} workers")
    print(f"{'':27}{'seconds':>9}{'speed':>8}{'CPU s':>8}{'peak MB':>9}")
    best = {
        key: [min(column) for column in zip(*(t[key] for t in turns), strict=True)]
        for key in turns[0]
    }
    for key, (seconds, cpu, _) in best.items():
        peak = max(turn[key][2] for turn in turns)
        speed = best["gdalwarp, ZSTD"][0] / seconds
        print(f"{key:27}{seconds:9.1f}{speed:7.1f}x{cpu:8.1f}{peak:9.0f}")
    print(f"largest difference {largest:.2g} m, cells missing in one only: {odd}")


if __name__ == "__main__":
    main()
