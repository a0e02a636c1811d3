"""Download: every file of a source on disk, checked, and a manifest of what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nunatak.products import Results
from nunatak.provenance import digest_file, digest_json
from nunatak.source import File, Source
from nunatak.sources.catalogue import local_paths
from nunatak.sources.fetch import digest_folder, fetch, sha256
from nunatak.sources.places import SYNTHETIC, archive_place


def download(results: Results, key: str, data: Path) -> dict[str, Any]:
    """Fetch all files of a source, and describe them.

    Parameters
    ----------
    results
        The results tree: the files lie in ``download/<key>``.
    key
        The source's key in the catalogue.
    data
        The folder that relative ``file:`` URLs start from.

    Returns
    -------
    dict
        The manifest: what `fetched` gives, ``contents``, the digest of each file by its name, and
        ``variables.files``, that of all.

    Raises
    ------
    SourceError
        If a file cannot be had or is not what the catalogue says.
    """
    source, folder = results.recipe.sources[key], results.root / "download" / key
    found = fetched(source, key, folder, data_root=data)
    contents = {}
    for path in local_paths(source, key, folder, data):
        if path != SYNTHETIC:
            contents[path.name] = _note(results, path, data)
    files = digest_json(contents or source.model_dump(mode="json", include={"files"}))
    return {**found, "contents": contents, "variables": {"files": {"digest": files}}}


def _note(results: Results, path: Path, data: Path) -> str:
    """Note a fetched file as written, one of the user's as read; return its digest."""
    if results.ledger is None:
        return digest_file(path)
    if path.is_relative_to(results.root):
        members = (p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        results.ledger.wrote(*members)
        return results.ledger.tracker.files.digest(path) or ""
    name = path.relative_to(data) if path.is_relative_to(data) else path.absolute()
    return results.ledger.note(f"file:{name}", "")


def fetched(source: Source, key: str, folder: Path, *, data_root: Path) -> dict[str, Any]:
    """Fetch all files of a source into a folder.

    Parameters
    ----------
    source
        The source; local files are checked and used in place.
    key
        Its key in the catalogue.
    folder
        The folder of this source's files; it is made if it is not there.
    data_root
        The folder that relative ``file:`` URLs start from.

    Returns
    -------
    dict
        ``{"source": key, "files": [...]}``: for each file its name, bytes and sha256 (for a folder
        blake3, see `digest_folder`). It depends on the content alone: it holds no path, host or
        time. A synthetic source has no files.

    Raises
    ------
    SourceError
        If a file cannot be had or is not what the catalogue says.
    """
    paths = [fetch(f, folder, data_root=data_root, auth=source.auth) for f in source.files]
    for file in source.files:
        _remove_archive(file, folder)
    pairs = zip(source.files, paths, strict=True)
    return {"source": key, "files": [_entry(f, p) for f, p in pairs if p != SYNTHETIC]}


def _entry(file: File, path: Path) -> dict[str, Any]:
    if path.is_dir():
        digest, size = digest_folder(path)
        return {"name": path.name, "bytes": size, "blake3": digest}
    return {
        "name": path.name,
        "bytes": path.stat().st_size,
        "sha256": file.sha256 or sha256(path),
    }


def _remove_archive(file: File, folder: Path) -> None:
    """Once every member is out, its archive is only a second copy."""
    if file.member and not file.url.startswith("file:"):
        archive_place(file, folder).unlink(missing_ok=True)
