"""scan: digests of the parts of a source, so that a change reaches what reads those parts alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nunatak.content import digest_array
from nunatak.grid import Window
from nunatak.products import Results
from nunatak.provenance import SHORT, digest_json
from nunatak.sources.opening import open_source
from nunatak.sources.raster import Album, Raster
from nunatak.sources.watched import GEOMETRY
from nunatak.tracking.steps import used

LEAST, MOST = 64, 4096
_CELLS = 1 << 24


def side(shape: tuple[int, int]) -> int:
    """Side of the parts (cells): `LEAST`, doubled until there are at most `MOST` of them."""
    length = LEAST
    while -(-shape[0] // length) * -(-shape[1] // length) > MOST:
        length *= 2
    return length


def parts(size: int, length: int) -> list[int]:
    """Where a side of ``size`` cells is cut into parts of ``length``."""
    return [*range(0, size, length), size]


def digests(raster: Raster, variable: str, length: int) -> dict[str, str]:
    """Digest every part of a variable, in bands of rows so that memory stays bounded.

    Returns
    -------
    dict
        ``pieces``, the parts' digests row by row, and ``digest``, that of all of them.
    """
    assert raster.geobox is not None
    rows, cols = raster.geobox.shape
    band = max(_CELLS // cols // length, 1) * length
    pieces = []
    for top in range(0, rows, band):
        window = Window(top, min(top + band, rows), 0, cols)
        pieces += _pieces(raster.read(variable, window), length)
    return {"digest": digest_json(pieces), "pieces": "".join(pieces)}


def _pieces(values: NDArray[np.float32], length: int) -> list[str]:
    return [
        digest_array(values[top : top + length, left : left + length])[:SHORT]
        for top in range(0, values.shape[0], length)
        for left in range(0, values.shape[1], length)
    ]


def scan(results: Results, source: str, data: Path) -> dict[str, Any]:
    """Digest the parts of a source's variables that the recipe's roles take.

    Parameters
    ----------
    results
        The results tree of the recipe.
    source
        The source.
    data
        What ``file:`` URLs are relative to.

    Returns
    -------
    dict
        The manifest: where the source is cut (cells), and the digests of the parts of each
        variable. A source without a grid has one part, its files; one of scenes has its scenes.
    """
    raster = open_source(results, source, data)
    if results.recipe.scenes and isinstance(raster, Album):
        scenes = results.recipe.scenes.found
        found = {name: {"digest": raster.digest(name, scene)} for name, scene in scenes.items()}
        return {"source": source, "variables": found}
    names = used(results.recipe.model_dump(mode="json"))[source]
    if raster.geobox is None:
        files = results.ledger.note(f"download/{source}", "files") if results.ledger else ""
        return {"source": source, "variables": {name: {"digest": files} for name in names}}
    rows, cols = raster.geobox.shape
    length = side((rows, cols))
    box = [list(raster.geobox.affine)[:6], [rows, cols], str(raster.geobox.crs)]
    variables = {name: digests(raster, name, length) for name in names}
    return {
        "source": source,
        "rows": parts(rows, length),
        "cols": parts(cols, length),
        "variables": {GEOMETRY: {"digest": digest_json(box)}, **variables},
    }
