"""From the name of a source to something that can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nunatak.errors import SourceError
from nunatak.products import Results
from nunatak.registry import READERS
from nunatak.sources.catalogue import local_paths
from nunatak.sources.raster import Album, Raster
from nunatak.sources.watched import WatchedRaster, WatchedSampler
from nunatak.tracking.tracker import Tracker


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

    Raises
    ------
    SourceError
        If a file is not the one that the source's download looked at.
    """
    results.note(f"download/{key}", "files")
    return _opened(results, key, data)


def open_raster(results: Results, key: str, data: Path) -> Raster:
    """Open a gridded source; where a job runs, the parts that it reads are noted.

    A change elsewhere in the source's files is then no reason to run the job again.

    Raises
    ------
    SourceError
        If a file is not the one that the source's download looked at.
    """
    opened: Any = _opened(results, key, data)
    step = f"{results.recipe.family}/scan/{key}"
    scene = results.recipe.scene
    if scene and isinstance(opened, Album):
        known = results.recipe.acquisition
        if results.ledger and results.ledger.note(step, scene) != opened.digest(scene, known):
            raise _changed(key, scene)
        return opened.raster(scene, known)
    if results.ledger is None:
        raster: Raster = opened
        return raster
    if opened.geobox is None:
        return WatchedSampler(opened, results.ledger, step)
    return WatchedRaster(opened, results.ledger, step)


def _opened(results: Results, key: str, data: Path) -> Any:
    source = results.recipe.sources[key]
    paths = local_paths(source, key, results.root / "download" / key, data)
    if results.ledger is not None and not results.recipe.scene:
        _refuse_changed(results.ledger.tracker, key, paths)
    return READERS.call(source.reader.op, source.reader.args, paths[0], source)


def _refuse_changed(tracker: Tracker, key: str, paths: list[Path]) -> None:
    known = (tracker.manifest(f"download/{key}") or {}).get("contents", {})
    for path in paths:
        if path.name in known and tracker.files.digest(path) != known[path.name]:
            raise _changed(key, path)


def _changed(key: str, what: object) -> SourceError:
    return SourceError(
        f"{key}: {what} is not what it was when the source was looked at",
        "a file that does not change while snakemake runs",
        "run `nunatak repair` if it was downloaded, and snakemake again",
    )
