"""Where a product is from, told without times, hosts or paths."""

from __future__ import annotations

from typing import Any

from nunatak import __version__
from nunatak.products import Results
from nunatak.provenance import code_digest, read_json
from nunatak.registry import ALBUMS


def record(results: Results, method: str, content: str) -> dict[str, Any]:
    """Tell where a product is from: recipe, code, sources, model, and the digest of its content.

    Parameters
    ----------
    results
        The results tree of the recipe.
    method
        What made it.
    content
        Digest of what it holds.

    Returns
    -------
    dict
        JSON value: the same product gives the same record.
    """
    recipe = results.recipe
    return {
        "product": f"{recipe.name}/{method}",
        "title": recipe.title,
        "content": content,
        "code": {"version": __version__, "digest": code_digest()},
        "sources": {key: _source(results, key) for key in recipe.origins},
        "models": [_model(results, method, m) for m in range(recipe.members(method))],
        "recipe": _followed(results, method),
    }


def tags(results: Results, method: str, content: str) -> dict[str, str]:
    """What a file of a product says of itself; the parameters are those of `record`."""
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
    judged = dict.fromkeys(("sources", "products", "picks", "evaluate", "forecast"), True)
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
