"""verify: every file of a results tree against what its job wrote."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import track

from nunatak.commands.tree import Found, steps, told
from nunatak.tracking.steps import Step
from nunatak.tracking.trace import Trace, fault, read_trace


@dataclass(frozen=True)
class Fault:
    """Something wrong with a file of a step.

    Parameters
    ----------
    step
        The step.
    file
        The file, below the results root.
    what
        What is wrong with it.
    derived
        Whether the step's trace tells what it should be, so that nothing need be computed.
    """

    step: Step
    file: str
    what: str
    derived: bool = False

    def __str__(self) -> str:
        return f"{told(self.step)}: {self.file} {self.what}"


@dataclass
class Report:
    """What was looked at, and what is wrong with it.

    Parameters
    ----------
    steps, files, bytes
        How many steps, files of theirs, and bytes of these files.
    pending
        How many steps have a trace and no manifest: the next run writes or makes it.
    faults
        What is wrong, step by step.
    """

    steps: int = 0
    files: int = 0
    bytes: int = 0
    pending: int = 0
    faults: list[Fault] = field(default_factory=list)

    def __str__(self) -> str:
        pending = f"{self.pending} of them without a manifest, " if self.pending else ""
        return (
            f"{self.steps} steps, {pending}{self.files} files, {decimal(self.bytes)}, "
            f"{len(self.faults) or 'no'} fault{'s' if len(self.faults) != 1 else ''}"
        )


def verify(root: Path, jobs: int | None = None) -> Report:
    """Compare every file that a trace tells of with it, every manifest and link too.

    A person who watches sees a progress bar.

    Parameters
    ----------
    root
        The results root.
    jobs
        How many threads read; None is one a core.
    """
    found, report = steps(root), Report()
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        checked = pool.map(lambda each: _check(root, each), found)
        console = Console(stderr=True)
        shown = sys.stderr.isatty()
        for one in track(checked, "verify", len(found), console=console, disable=not shown):
            report.steps += one.steps
            report.files += one.files
            report.bytes += one.bytes
            report.pending += one.pending
            report.faults += one.faults
    return report


def _check(root: Path, found: Found) -> Report:
    step, trace = found.step, read_trace(root, found.step.path)
    if not found.trace:
        return Report(1, faults=[Fault(step, f"{step.path}.json", "has no trace")])
    if trace is None:
        return Report(1, faults=[Fault(step, f"{step.path}.trace", "cannot be read")])
    faults = [*_files(root, step, trace), *_derived(root, found, trace)]
    size = sum(known["bytes"] for known in trace.files.values())
    return Report(1, len(trace.files), size, not found.manifest, faults)


def _files(root: Path, step: Step, trace: Trace) -> Iterator[Fault]:
    for name, known in trace.files.items():
        if wrong := _wrong(root, name, known):
            yield Fault(step, name, wrong)


def _derived(root: Path, found: Found, trace: Trace) -> Iterator[Fault]:
    """What is wrong with the manifest, and with links to files whose own faults are told above.

    Where a run is to make the step again, both may be missing.
    """
    step, name = found.step, f"{found.step.path}.json"
    if found.manifest and _json(root / name) != trace.manifest:
        yield Fault(step, name, "differs from the trace's", derived=True)
    for name, kept in trace.links.items():
        path = root / name
        if not path.exists():
            if found.manifest:
                yield Fault(step, name, "is missing", derived=True)
        elif not ((root / kept).exists() and path.samefile(root / kept)) and (
            wrong := _wrong(root, name, trace.files[kept])
        ):
            yield Fault(step, name, wrong, derived=True)


def _wrong(root: Path, name: str, known: dict[str, object]) -> str:
    try:
        return fault(root, name, known)
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
