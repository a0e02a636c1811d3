"""Digests of content and manifests: what says that a block is done, and what is in it.

A manifest holds nothing of time, host or path: the same content gives the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from nunatak.errors import StoreError


def digest_json(value: Any) -> str:
    """Digest of a JSON value: named values in a canonical order, so that swapping two shows."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return blake3(text.encode()).hexdigest()


def digest_array(array: NDArray[Any]) -> str:
    """Digest of decoded content: type, shape and little-endian C-order values.

    Every NaN counts as the same NaN and -0.0 as 0.0.
    """
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if plain.dtype.kind == "f":
        plain = plain + plain.dtype.type(0)
        plain[np.isnan(plain)] = np.nan
    hasher = blake3(f"{plain.dtype.str}{plain.shape}".encode())
    hasher.update(plain.view(np.uint8).data)
    return hasher.hexdigest()


def digest_file(path: Path) -> str:
    """Digest of a file's bytes, read as a stream."""
    return blake3().update_mmap(path).hexdigest()


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest of the package's source files, names and contents."""
    folder = Path(__file__).parent
    files = sorted(folder.rglob("*.py"))
    return digest_json({str(f.relative_to(folder)): digest_file(f) for f in files})


@dataclass(frozen=True)
class Content:
    """What one variable of a block holds: its digest, valid cells and range (None if empty)."""

    digest: str
    cells: int
    valid: int
    minimum: float | None
    maximum: float | None

    @classmethod
    def of(cls, array: NDArray[Any]) -> Content:
        """Describe an array; NaN means missing."""
        valid = np.isfinite(array)
        count = int(valid.sum())
        low, high = (
            (float(array[valid].min()), float(array[valid].max())) if count else (None, None)
        )
        return cls(digest_array(array), int(array.size), count, low, high)


@dataclass(frozen=True)
class Manifest:
    """The commitment of one block of one product."""

    product: str
    block: str
    variables: dict[str, Content]

    def to_json(self) -> str:
        """Canonical JSON text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parse what `to_json` wrote."""
        raw = json.loads(text)
        variables = {name: Content(**content) for name, content in raw["variables"].items()}
        return cls(raw["product"], raw["block"], variables)


def write_text(path: Path, text: str) -> None:
    """Write a small file so that it is there whole or not at all: tmp, fsync, rename, fsync."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
    fsync_folder(path.parent)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object with `write_text`, keys sorted."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


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
