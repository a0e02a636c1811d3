"""Values in nested mappings and lists, told by dotted paths like ``train.losses.0.weight``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def take(tree: Any, path: str) -> Any:
    """The value at a path.

    Raises
    ------
    KeyError
        Naming the first part of the path that is not there.
    """
    for key in path.split("."):
        tree = _inner(tree, key)
    return tree


def put(tree: Any, path: str, value: Any) -> Any:
    """A copy of a tree with another value at a path.

    Parameters
    ----------
    tree
        JSON value.
    path
        All parts but the last must be there; the last may be a new key of a mapping.
    value
        What to put there.

    Raises
    ------
    KeyError
        Naming the first part of the path that is not there.
    """
    key, _, rest = path.partition(".")
    if not rest and isinstance(tree, Mapping):
        return {**tree, key: value}
    inner = put(_inner(tree, key), rest, value) if rest else value
    if isinstance(tree, Mapping):
        return {**tree, key: inner}
    _inner(tree, key)
    return [*tree[: int(key)], inner, *tree[int(key) + 1 :]]


def _inner(tree: Any, key: str) -> Any:
    if isinstance(tree, Mapping) and key in tree:
        return tree[key]
    if isinstance(tree, list | tuple) and key.isdigit() and int(key) < len(tree):
        return tree[int(key)]
    raise KeyError(key)
