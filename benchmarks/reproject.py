"""Reprojecting a continent: nunatak's blocks into Zarr shards beside gdalwarp into a GeoTIFF.

``python benchmarks/reproject.py [--side 6667] [--workers 2]`` prints a table. One tiled GeoTIFF,
float32 at 1 km with a sea of missing cells, is resampled bilinearly to 500 m in the same CRS.
nunatak warps blocks of 2048 and writes them as shards of one Zarr v3 store (zstd 3 with shuffle and
CRC-32C, synced to disk, each with its digest), in as many processes as gdalwarp has threads. A run
starts with cold Python and ends with the last file written; the best of some repeats is shown.
*Peak* is the largest resident memory of gdalwarp, and the sum over nunatak's processes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import rasterio.windows
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import zoom

from nunatak.grid import Grid, Window
from nunatak.recipe import Role, Source
from nunatak.sources.readers import open_raster
from nunatak.stages.reproject import onto
from nunatak.store import Layout, Product, Variable

CRS = "EPSG:3031"
PLAIN = ["-co", "COMPRESS=ZSTD"]
TUNED = ["-co", "COMPRESS=ZSTD", "-co", "ZSTD_LEVEL=3", "-co", "PREDICTOR=3"]


def make_source(path: Path, side: int) -> None:
    """Write rough relief, (side, side) at 1 km, missing where it is low and smooth."""
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


def work(folder: Path, side: int, worker: int, workers: int) -> None:
    """Reproject every ``workers``-th block, as a job of the workflow would."""
    source = Source.model_validate(
        {
            "title": "benchmark",
            "files": [{"url": "file:source.tif"}],
            "reader": {"op": "raster"},
            "variables": {"bed": {"units": "m"}},
            "crs": CRS,
            "licence": "none",
        }
    )
    store = product(folder, side)
    store.create()
    raster, role = open_raster(folder / "source.tif", source), Role(source="a", variables=("bed",))
    for number, block in enumerate(store.layout.grid.blocks()):
        if number % workers == worker:
            box = store.layout.grid.geobox(1, block.core)
            store.write(block, onto(raster, source, role, None, box))


def measure(commands: list[list[str]]) -> tuple[float, float]:
    """Run commands side by side: seconds until the last ends, and the sum of their peaks (MB)."""
    start = time.perf_counter()
    running = [subprocess.Popen(c, stdout=subprocess.DEVNULL) for c in commands]
    ends = [os.wait4(process.pid, 0) for process in running]
    seconds = time.perf_counter() - start
    if any(status for _, status, _ in ends):
        raise RuntimeError(f"{commands[0][0]} failed")
    return seconds, sum(usage.ru_maxrss for _, _, usage in ends) / 1000


def gdalwarp(folder: Path, side: int, workers: int, options: list[str]) -> tuple[float, float]:
    """Seconds and peak memory of gdalwarp."""
    out = folder / "gdal.tif"
    out.unlink(missing_ok=True)
    corners = [str(v) for v in target(side).boundingbox.bbox]
    fixed = ["-q", "-r", "bilinear", "-tr", "500", "500", "-te", *corners, "-dstnodata", "nan"]
    fixed += ["-co", "TILED=YES", "-multi", "-wo", f"NUM_THREADS={workers}", *options]
    return measure([["gdalwarp", *fixed, str(folder / "source.tif"), str(out)]])


def ours(folder: Path, side: int, workers: int) -> tuple[float, float]:
    """Seconds and peak memory of nunatak."""
    shutil.rmtree(folder / "ours.zarr", ignore_errors=True)
    base = [sys.executable, __file__, "--side", str(side), "--workers", str(workers)]
    base += ["--folder", str(folder), "--worker"]
    return measure([[*base, str(worker)] for worker in range(workers)])


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
    """Measure and print the table, or be one of the workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=6667)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--worker", type=int)
    args = parser.parse_args()
    if args.worker is not None:
        work(args.folder, args.side, args.worker, args.workers)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        make_source(folder / "source.tif", args.side)
        threads = ["-co", f"NUM_THREADS={args.workers}"]
        runs = {
            "gdalwarp, ZSTD": lambda: gdalwarp(folder, args.side, args.workers, PLAIN),
            "gdalwarp, threaded ZSTD 3": lambda: gdalwarp(
                folder, args.side, args.workers, TUNED + threads
            ),
            "nunatak": lambda: ours(folder, args.side, args.workers),
        }
        results = {key: [run() for _ in range(args.repeats)] for key, run in runs.items()}
        largest, odd = difference(folder, args.side)
    rows, cols = target(args.side).shape
    print(f"{args.side} x {args.side} at 1 km -> {rows} x {cols} at 500 m, {args.workers} workers")
    print(f"{'':27}{'seconds':>9}{'speed':>8}{'peak MB':>9}")
    first = min(results["gdalwarp, ZSTD"])[0]
    for key, pairs in results.items():
        seconds, peak = min(pairs)[0], max(memory for _, memory in pairs)
        print(f"{key:27}{seconds:9.1f}{first / seconds:7.1f}x{peak:9.0f}")
    print(f"largest difference {largest:.2g} m, cells missing in one only: {odd}")


if __name__ == "__main__":
    main()
