"""publish: the finished product as a Cloud-Optimized GeoTIFF, with the record of its origin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.windows import Window as RasterWindow

from nunatak import cog, origin
from nunatak.ahead import one_ahead
from nunatak.grid import Block
from nunatak.products import Results
from nunatak.provenance import digest_json, read_json
from nunatak.registry import PUBLISH
from nunatak.store import Product


def write_cog(product: Product, path: Path, nodata: float, tags: Mapping[str, str]) -> None:
    """Write a product as a Cloud-Optimized GeoTIFF with overviews, one band a variable.

    Blocks stream through an uncompressed file beside the product, so memory stays that of a
    block; the product itself appears whole or not at all.

    Parameters
    ----------
    product
        The finished store.
    path
        The file to make.
    nodata
        Stands for missing; outside the valid range of every variable.
    tags
        Metadata of the file.
    """
    cog.write(path, lambda plain: _write_plain(product, plain, nodata, tags), cog.MAP)


def _write_plain(product: Product, path: Path, nodata: float, tags: Mapping[str, str]) -> None:
    layout = product.layout

    def filled(block: Block) -> tuple[Block, Any]:
        values = product.read_all(block.core)
        values[np.isnan(values)] = nodata
        return block, values

    with cog.plain(path, layout.grid.geobox(layout.ratio), layout.variables, nodata) as out:
        out.update_tags(**tags)
        for block, values in one_ahead(filled, layout.grid.blocks()):
            cells = block.core.at(layout.ratio)
            rows, cols = cells.shape
            out.write(values, window=RasterWindow(cells.left, cells.top, cols, rows))


def provenance(results: Results, method: str) -> dict[str, Any]:
    """Tell where a product is from: recipe, code, sources, model, and the digest of its content.

    Returns
    -------
    dict
        JSON value without times, hosts or paths: the same product gives the same record.
    """
    blocks = results.recipe.layout.blocks()
    manifests = {b.name: read_json(results.manifest(f"mosaic/{method}", b.name)) for b in blocks}
    content = digest_json({name: m["variables"] for name, m in manifests.items()})
    return origin.record(results, method, content)


def publish(results: Results, method: str) -> dict[str, Any]:
    """Write the product of a method for people to ``publish/``, by the recipe's operation.

    Returns
    -------
    dict
        Its provenance record, and what the operation adds to it.
    """
    record, by = provenance(results, method), results.recipe.publish
    path = results.folder / "publish" / f"{method}.tif"
    told = origin.tags(results, method, record["content"])
    added: dict[str, Any] = PUBLISH.call(by.op, by.args, results, method, path, told)
    results.keep(path)
    variables = {"content": {"digest": record["content"]}, **added.pop("variables", {})}
    return {**record, **added, "variables": variables}


def publish_map(
    results: Results, method: str, path: Path, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Write the product as a COG with overviews, one band a variable."""
    write_cog(results.mosaic(method), path, results.recipe.mosaic.nodata, tags)
    return {}
