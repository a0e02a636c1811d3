"""Digests of values and files, and small files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from blake3 import blake3

from nunatak.errors import StoreError

SHORT = 16  # characters of the digest of a piece
_PIECE = 2**20


def digest_json(value: Any) -> str:
    """Digest of a JSON value: named values in a canonical order, so that swapping two shows."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return blake3(text.encode()).hexdigest()


def digest_file(path: Path) -> str:
    """Digest of a file's bytes."""
    digest = blake3()
    feed(digest, path)
    return digest.hexdigest()


def feed(digest: blake3, path: Path) -> None:
    """Add a file's bytes to a digest, read as a stream: a mapped file counts as a job's memory."""
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest of the package's source files, names and contents."""
    folder = Path(__file__).parent
    files = sorted(folder.rglob("*.py"))
    return digest_json({str(f.relative_to(folder)): digest_file(f) for f in files})


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a small file so that it is there whole or not at all: tmp, fsync, rename, fsync.

    What can be derived again need not be synced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        if sync:
            stream.flush()
            os.fsync(stream.fileno())
    part.replace(path)
    if sync:
        fsync_folder(path.parent)


def write_json(path: Path, value: Mapping[str, Any], *, sync: bool = True) -> None:
    """Write a JSON object with `write_text`, keys sorted."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n", sync=sync)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    StoreError
        If the file is not there or is not JSON.
    """
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"cannot read {path}: {error}", "a whole JSON file", "run snakemake again"
        ) from error
    return value


def fsync_folder(folder: Path) -> None:
    """Make a rename in a folder last through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
