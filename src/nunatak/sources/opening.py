"""From the name of a source to something that can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nunatak.products import Results
from nunatak.registry import READERS
from nunatak.sources.catalogue import local_paths


def open_source(results: Results, key: str, data: Path) -> Any:
    """Open a downloaded source of a recipe with the reader that the catalogue names.

    Parameters
    ----------
    results
        The results tree; files lie below its ``download/`` folder.
    key
        Name of the source.
    data
        What ``file:`` URLs are relative to.
    """
    source = results.recipe.sources[key]
    paths = local_paths(source, key, results.root / "download" / key, data)
    return READERS.call(source.reader.op, source.reader.args, paths[0], source)
