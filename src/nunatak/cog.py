"""Cloud-Optimized GeoTIFFs: whole or not there at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import rasterio
import rasterio.shutil

from nunatak.provenance import fsync_folder
from nunatak.sources.disk import room

OPTIONS = {
    "driver": "COG",
    "COMPRESS": "ZSTD",
    "BLOCKSIZE": "512",
    "NUM_THREADS": "ALL_CPUS",
}


def write(path: Path, fill: Callable[[Path], None], options: Mapping[str, str]) -> None:
    """Make a COG with overviews out of a plain raster, which lies beside it until it is whole.

    Parameters
    ----------
    path
        The file to make.
    fill
        Writes the plain raster to the path that it is given.
    options
        Creation options of GDAL's COG driver, beside those that all have.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".publish-", dir=path.parent) as folder:
        plain, cog = Path(folder) / "plain.tif", Path(folder) / "cog.tif"
        # In bytes: every block is written and read once, so that a cache only holds memory.
        with room(path.name, path.parent), rasterio.Env(GDAL_CACHEMAX=128):
            fill(plain)
            rasterio.shutil.copy(plain, cog, **OPTIONS, **options)
        cog.replace(path)
    fsync_folder(path.parent)
