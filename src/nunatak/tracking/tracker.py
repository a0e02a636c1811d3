"""Whether steps of a results tree are done, and why not; it reads small files only."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nunatak.provenance import fsync_folder, write_json
from nunatak.tracking.code import Code
from nunatak.tracking.steps import Step
from nunatak.tracking.trace import Files, Read, Trace, fault, part_digest, trace_path

OWN = ".nunatak"


class Tracker:
    """A results tree, asked what its steps followed from and whether that is still so.

    Parameters
    ----------
    root
        The results root.
    data
        The folder that ``file:`` URLs are relative to.
    """

    def __init__(self, root: Path, data: Path = Path()) -> None:
        self.root, self.data = root, data
        self.code = Code(root / OWN / "code.json")
        self.files = Files(root / OWN / "files.json")
        self._manifests: dict[str, dict[str, Any] | None] = {}

    def manifest(self, path: str) -> dict[str, Any] | None:
        """The manifest of a step by its path; None if it is not there or cannot be read."""
        if path not in self._manifests:
            try:
                text = (self.root / f"{path}.json").read_text(encoding="utf-8")
                self._manifests[path] = json.loads(text)
            except (OSError, ValueError):
                self._manifests[path] = None
        return self._manifests[path]

    def current(self, read: Read) -> str | None:
        """What a read would give now; None if it is not there."""
        if read.path.startswith("file:"):
            return self.files.digest(self.data / read.path.removeprefix("file:"))
        manifest = self.manifest(read.path)
        return None if manifest is None else part_digest(manifest, read)

    def expected(self, step: Step, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """What the step would follow from now: ``values``, ``code`` and ``environment``."""
        closure = self.code.closure(step.modules(recipe))
        return {"values": step.digests(recipe), **closure}

    def why(
        self,
        trace: Trace | None,
        expected: Mapping[str, Any],
        *,
        reads: bool = True,
        identity: str | None = None,
    ) -> str:
        """Why a step is not done, in words; empty if it is.

        Parameters
        ----------
        trace
            Its trace.
        expected
            What `expected` gives for it.
        reads
            Whether to compare what it read. A job does; before jobs run, what it read may be about
            to be made again.
        identity
            What the step's environment is made of, if this process is outside of it: compared
            instead of versions of packages.
        """
        if trace is None:
            return "not made yet"
        return (
            _values(trace.values, expected["values"])
            or ("" if trace.code == expected["code"] else "its code changed")
            or _environment(trace, expected["environment"], identity)
            or (self._reads(trace) if reads else "")
            or self._lost(trace)
        )

    def _reads(self, trace: Trace) -> str:
        changed = {}
        for read, digest in trace.reads.items():
            now = self.current(read)
            if now != digest:
                changed[read.path] = "is gone" if now is None else "changed"
        if not changed:
            return ""
        first, how = next(iter(changed.items()))
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        return f"{first.removeprefix('file:')} {how}{more}"

    def _lost(self, trace: Trace) -> str:
        for name, known in trace.files.items():
            if found := fault(self.root, name, known, whole=False):
                return f"{name} {found}"
        return ""

    def restore(self, step: str, trace: Trace, mtime: float | None = None) -> None:
        """Write what can be derived from a trace: the manifest, and links to kept files.

        Parameters
        ----------
        step
            Path of the step.
        trace
            Its trace.
        mtime
            Time that the declared files get; None leaves it.
        """
        path = self.root / f"{step}.json"
        if self.manifest(step) != trace.manifest:
            write_json(path, trace.manifest, sync=False)
            self._manifests[step] = trace.manifest
        for name, kept in trace.links.items():
            link(self.root / kept, self.root / name)
        for declared in (path, *(self.root / name for name in trace.links)):
            if mtime is not None and declared.stat().st_mtime != mtime:
                os.utime(declared, (mtime, mtime))

    def forget(self, step: str, *, trace: bool = False, links: Iterable[str] = ()) -> None:
        """Remove the manifest of a step; its trace, and links to kept files, too if asked to."""
        for name in links:
            (self.root / name).unlink(missing_ok=True)
        if trace:
            trace_path(self.root, step).unlink(missing_ok=True)
        (self.root / f"{step}.json").unlink(missing_ok=True)
        self._manifests[step] = None


def link(path: Path, other: Path) -> None:
    """Make ``other`` a hard link to a file, or a copy of it where links cannot be made."""
    if other.exists() and other.samefile(path):
        return
    part = other.with_name(f".{other.name}.{os.getpid()}.tmp")
    other.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, part)
    except OSError:
        shutil.copyfile(path, part)
    part.replace(other)
    fsync_folder(other.parent)


def _values(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    changed = sorted(k for k in then.keys() | now.keys() if then.get(k) != now.get(k))
    return f"{', '.join(changed)} changed in the recipe" if changed else ""


def _environment(trace: Trace, now: Mapping[str, str], identity: str | None) -> str:
    if identity is None:
        return _versions(trace.environment, now)
    return "" if trace.identity == identity else "the files of its environment changed"


def _versions(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    changed = sorted(k for k in then.keys() | now.keys() if then.get(k) != now.get(k))
    told = (f"{then.get(k, 'no ' + k)} -> {now.get(k, 'no ' + k)}" for k in changed)
    return f"packages changed: {', '.join(told)}" if changed else ""
