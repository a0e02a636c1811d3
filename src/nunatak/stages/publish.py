"""publish: the finished product as a Cloud-Optimized GeoTIFF, with the record of its origin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window as RasterWindow

from nunatak import __version__, cog
from nunatak.ahead import one_ahead
from nunatak.grid import Block
from nunatak.products import Results
from nunatak.provenance import code_digest, digest_json, read_json
from nunatak.registry import ALBUMS, PUBLISH
from nunatak.store import Product

COG = {
    "LEVEL": "3",
    "PREDICTOR": "YES",
    "OVERVIEW_RESAMPLING": "AVERAGE",
    "BIGTIFF": "IF_SAFER",
}


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
    cog.write(path, lambda plain: _write_plain(product, plain, nodata, tags), COG)


def _write_plain(product: Product, path: Path, nodata: float, tags: Mapping[str, str]) -> None:
    layout = product.layout
    box = layout.grid.geobox(layout.ratio)
    profile = {
        "driver": "GTiff",
        "height": box.shape[0],
        "width": box.shape[1],
        "count": len(layout.variables),
        "dtype": "float32",
        "crs": box.crs.to_wkt() if box.crs else None,
        "transform": box.affine,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "BIGTIFF": "IF_SAFER",
    }

    def filled(block: Block) -> tuple[Block, Any]:
        values = product.read_all(block.core)
        values[np.isnan(values)] = nodata
        return block, values

    with rasterio.open(path, "w", **profile) as out:
        out.update_tags(**tags)
        for i, variable in enumerate(layout.variables, start=1):
            out.set_band_description(i, variable.long_name or variable.name)
            out.set_band_unit(i, variable.units)
            out.update_tags(i, **{k: str(v) for k, v in variable.attributes().items()})
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
    recipe = results.recipe
    blocks = recipe.layout.blocks()
    manifests = {b.name: read_json(results.manifest(f"mosaic/{method}", b.name)) for b in blocks}
    return {
        "product": f"{recipe.name}/{method}",
        "title": recipe.title,
        "content": digest_json({name: m["variables"] for name, m in manifests.items()}),
        "code": {"version": __version__, "digest": code_digest()},
        "sources": {key: _source(results, key) for key in sorted(recipe.sources)},
        "models": [_model(results, method, m) for m in range(recipe.members(method))],
        "recipe": _followed(results, method),
    }


def _source(results: Results, key: str) -> dict[str, Any]:
    """What of a source the product is from: its files, or of many scenes the digest of one."""
    recipe, source = results.recipe, results.recipe.sources[key]
    owed = {"citation": source.citation, "licence": source.licence}
    if recipe.scene and source.reader.op in ALBUMS:
        digest = results.note(f"{recipe.family}/scan/{key}", recipe.scene)
        return {"source": key, "scene": recipe.scene, "digest": digest, **owed}
    results.note(f"download/{key}", "files")
    return {**read_json(results.root / "download" / f"{key}.json"), **owed}


def _followed(results: Results, method: str) -> dict[str, Any]:
    """What of the recipe the product follows from: not the other methods, nor how it is judged."""
    judged = dict.fromkeys(("sources", "products", "picks", "evaluate"), True)
    searches = {"__all__": {"search": True}}
    recipe = results.recipe.model_dump(mode="json", exclude={**judged, "methods": searches})
    return {**recipe, "methods": {method: recipe["methods"][method]}}


def _model(results: Results, method: str, member: int) -> dict[str, Any]:
    if results.recipe.methods[method].train is None:
        return {"method": method, "trained": False}
    results.trained(method, member)
    model = read_json(results.train(method, member) / "manifest.json")
    if model.get("frozen"):
        model["older_than_its_data"] = model["tiles"] != results.seen(method)
    return {"trained": True, **model}


def publish(results: Results, method: str) -> dict[str, Any]:
    """Write the product of a method for people to ``publish/``, by the recipe's operation.

    Returns
    -------
    dict
        Its provenance record, and what the operation adds to it.
    """
    record, by = provenance(results, method), results.recipe.publish
    path = results.folder / "publish" / f"{method}.tif"
    told = tags(results, method, record["content"])
    added: dict[str, Any] = PUBLISH.call(by.op, by.args, results, method, path, told)
    results.keep(path)
    variables = {"content": {"digest": record["content"]}, **added.pop("variables", {})}
    return {**record, **added, "variables": variables}


def tags(results: Results, method: str, content: str) -> dict[str, str]:
    """What a file of a product says of itself."""
    recipe, target = results.recipe, results.recipe.target
    return {
        "TITLE": f"{recipe.title} ({method})",
        "STANDARD_NAME": target.standard_name,
        "UNITS": target.units,
        "VERTICAL_DATUM": target.vertical_datum or "none",
        "VALID_RANGE": f"{target.valid_range[0]:g} {target.valid_range[1]:g}",
        "CONTENT": content,
        "NUNATAK_VERSION": __version__,
    }


def publish_map(
    results: Results, method: str, path: Path, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Write the product as a COG with overviews, one band a variable."""
    write_cog(results.mosaic(method), path, results.recipe.mosaic.nodata, tags)
    return {}
