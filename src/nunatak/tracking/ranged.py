"""What a search follows from: its method with ranges in place of the values that it tries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nunatak.dotted import put

SEARCH = "search"


def ranged(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The methods of a recipe that are searched, by name, as all their trials have them.

    The best values may come back into the same recipe by an overlay: a search does not follow from
    the values that it varies, nor from the number of its trials.

    Parameters
    ----------
    recipe
        JSON value of a checked recipe.
    """
    return {name: _ranged(m) for name, m in recipe["methods"].items() if m.get(SEARCH)}


def _ranged(method: Mapping[str, Any]) -> dict[str, Any]:
    search = method[SEARCH]
    found: Any = {"model": method["model"], "train": {**method["train"], "freeze": []}}
    for path, space in search["space"].items():
        # Choices as a plain list: operations among them are found by the key that they stand at.
        found = put(found, path, space.get("choices", space))
    return {**found, SEARCH: {"seed": search["seed"], "samples": search["samples"]}}


def trials(recipe: Mapping[str, Any]) -> dict[str, int]:
    """The number of trials of each method that is searched."""
    return {n: m[SEARCH]["trials"] for n, m in recipe["methods"].items() if m.get(SEARCH)}


def unsearched(methods: Mapping[str, Any]) -> dict[str, Any]:
    """Methods without their searches, which no map follows from."""
    return {n: {k: v for k, v in m.items() if k != SEARCH} for n, m in methods.items()}
