"""The trace of a step: what its result followed from, and what files it left.

It lies beside the manifest, and Snakemake does not know of it. A step is done while everything
that its trace tells of is as it was; its manifest can be written from the trace at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nunatak.provenance import SHORT, digest_file, digest_json, write_json

Span = tuple[int, int, int, int]


@dataclass(frozen=True, order=True)
class Read:
    """Something that a step read of another one's result.

    Parameters
    ----------
    path
        Path of the step that made it, or ``file:`` and the path of a file of the user's, from the
        folder of the data.
    variable
        Which variable of its manifest.
    span
        top, bottom, left, right: the part of it (coarse cells from the block's corner, or cells of
        the source); None for all.
    """

    path: str
    variable: str = ""
    span: Span | None = None


@dataclass(frozen=True)
class Trace:
    """What a step's result followed from, and what it left.

    Parameters
    ----------
    values
        Digest of each value of the recipe that the step reads, by dotted path.
    code
        Digest of the code that it runs.
    environment
        Versions of the packages that this code imports.
    reads
        What it read, and its digest then.
    files
        Every file that it left but the manifest, below the results root: bytes and digest.
    links
        Declared files that are links to kept ones, both below the results root.
    manifest
        Its manifest.
    identity
        What its environment was made of, if it had one of its own (`nunatak.tracking.environment`).
    """

    values: dict[str, str]
    code: str
    environment: dict[str, str]
    reads: dict[Read, str]
    files: dict[str, dict[str, Any]]
    links: dict[str, str]
    manifest: dict[str, Any]
    identity: str = ""

    @property
    def key(self) -> str:
        """One digest of all that the result followed from."""
        reads = sorted([asdict(read), digest] for read, digest in self.reads.items())
        return digest_json([self.values, self.code, self.environment, reads])

    def to_dict(self) -> dict[str, Any]:
        """As a JSON value."""
        reads = [
            [r.path, r.variable, *([] if r.span is None else r.span), self.reads[r]]
            for r in sorted(self.reads, key=lambda r: (r.path, r.variable, r.span or ()))
        ]
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "reads": reads}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Trace:
        """Parse what `to_dict` gave."""
        reads = {
            Read(path, variable, tuple(rest[:-1]) or None): rest[-1]
            for path, variable, *rest in raw["reads"]
        }
        return cls(**{**raw, "reads": reads})


def trace_path(root: Path, step: str) -> Path:
    """Where the trace of a step lies."""
    return root / f"{step}.trace"


def read_trace(root: Path, step: str) -> Trace | None:
    """The trace of a step; None if there is none that can be read."""
    try:
        return Trace.from_dict(json.loads(trace_path(root, step).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_trace(root: Path, step: str, trace: Trace) -> None:
    """Write the trace of a step, whole or not at all."""
    path = trace_path(root, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, trace.to_dict())


def part_digest(manifest: Mapping[str, Any], read: Read) -> str | None:
    """Digest of what a read takes of a manifest; None if the manifest does not hold it.

    Of a span, it is that of the pieces which the span touches.
    """
    content = manifest.get("variables", {}).get(read.variable)
    if content is None:
        return None
    if read.span is None:
        return str(content["digest"])
    rows, cols = manifest["rows"], manifest["cols"]
    pieces, width = content["pieces"], len(cols) - 1
    top, bottom, left, right = read.span
    touched = [
        pieces[SHORT * (row * width + col) : SHORT * (row * width + col + 1)]
        for row in _between(rows, top, bottom)
        for col in _between(cols, left, right)
    ]
    return digest_json(touched)


def _between(at: list[int], start: int, stop: int) -> list[int]:
    """Which intervals of a sequence of cuts meet ``[start, stop)``."""
    return [i for i in range(len(at) - 1) if at[i] < stop and start < at[i + 1]]


class Files:
    """Digests of a user's files, remembered while size, times and inode stay.

    Parameters
    ----------
    cache
        Where they are remembered; it may be lost at any time.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        try:
            self._known: dict[str, Any] = json.loads(cache.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def digest(self, path: Path) -> str | None:
        """Digest of a file or a folder's files; None if it is not there."""
        if not path.exists():
            return None
        members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        found = {str(member.relative_to(path)): self._one(member) for member in members}
        return digest_json(found) if path.is_dir() else found["."]

    def _one(self, path: Path) -> str:
        stat, key = path.stat(), str(path.resolve())
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        known = self._known.get(key)
        if known is None or known["stamp"] != stamp:
            known = {"stamp": stamp, "digest": digest_file(path)}
            self._known[key] = known
            write_json(self.cache, self._known)
        return str(known["digest"])


def physical(root: Path, paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Bytes and digest of files, by their paths below a root."""
    return {
        str(path.relative_to(root)): {"bytes": path.stat().st_size, "digest": digest_file(path)}
        for path in paths
    }


def fault(root: Path, name: str, known: Mapping[str, Any], *, whole: bool = True) -> str:
    """What is wrong with a file that a trace tells of; empty if nothing is.

    Parameters
    ----------
    root, name
        The file.
    known
        Its bytes and digest.
    whole
        Whether its content is read, not its size alone.
    """
    try:
        size = (root / name).stat().st_size
    except FileNotFoundError:
        return "is missing"
    if size != known["bytes"]:
        return f"has {size} bytes instead of {known['bytes']}"
    if whole and digest_file(root / name) != known["digest"]:
        return "differs from what was written"
    return ""
