"""Cloud-Optimized GeoTIFFs: whole or not there at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetWriter

from nunatak.provenance import fsync_folder
from nunatak.sources.disk import room
from nunatak.store import Variable

# Of a field that varies smoothly.
MAP = {
    "LEVEL": "3",
    "PREDICTOR": "YES",
    "OVERVIEW_RESAMPLING": "AVERAGE",
    "BIGTIFF": "IF_SAFER",
}
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


@contextmanager
def plain(
    path: Path, box: GeoBox, variables: Sequence[Variable], nodata: float
) -> Iterator[DatasetWriter]:
    """Open a plain raster of float32 for writing, window by window: one band a variable.

    Parameters
    ----------
    path
        The file to make.
    box
        Its grid.
    variables
        What its bands hold.
    nodata
        Stands for missing.
    """
    profile = {
        "driver": "GTiff",
        "height": box.shape[0],
        "width": box.shape[1],
        "count": len(variables),
        "dtype": "float32",
        "crs": box.crs.to_wkt() if box.crs else None,
        "transform": box.affine,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "BIGTIFF": "IF_SAFER",
    }
    with rasterio.open(path, "w", **profile) as out:
        for i, variable in enumerate(variables, start=1):
            out.set_band_description(i, variable.long_name or variable.name)
            out.set_band_unit(i, variable.units)
            out.update_tags(i, **{k: str(v) for k, v in variable.attributes().items()})
        yield out
