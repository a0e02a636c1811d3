"""Before Snakemake schedules: manifests are made to say what is done; nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nunatak.tracking.steps import ASKED, STAGES, Step
from nunatak.tracking.trace import read_trace
from nunatak.tracking.tracker import OWN, Tracker

# Any time long past: inputs are never newer than outputs, whoever copied or touched the tree.
_EPOCH = 1_000_000_000


@dataclass(frozen=True)
class Finding:
    """A step that is not done, or that reads of one.

    Parameters
    ----------
    step
        The step.
    reason
        Why it must run; empty if it only reads of steps that must, and may come out the same.
    """

    step: Step
    reason: str


def reconcile(
    recipes: Mapping[str, Mapping[str, Any]],
    steps: Iterable[Step],
    root: Path,
    *,
    data: Path = Path(),
    identities: Mapping[str, str] | None = None,
    change: bool = True,
    forget: Callable[[Step], bool] = lambda step: True,
) -> list[Finding]:
    """Remove the manifests of steps that are not done, and restore those of steps that are.

    Of a step that only reads of such, it goes too: Snakemake makes nothing that is missing between
    a source and a target that is there.

    Only manifests and links to kept files change, all of which can be had back from the traces.
    Restored files get one time a stage, so that Snakemake never finds an input newer than an
    output.

    Parameters
    ----------
    recipes
        The recipes as JSON values, by their names.
    steps
        All steps, each after those that it reads.
    root
        The results root.
    data
        The folder that ``file:`` URLs are relative to.
    identities
        What the environments of steps are made of, by stage; None if this process is in them.
    change
        Whether anything is changed; else it is only found out.
    forget
        Of which steps manifests may be removed: while jobs run, not of those that may be running.

    Returns
    -------
    list of Finding
        The steps that must or may run, in their order.
    """
    tracker, findings = Tracker(root, data), []
    open_: set[str] = set()
    expected: dict[Any, dict[str, Any]] = {}
    seen: set[str] = set()
    for step in steps:
        if step.path in seen:
            continue
        seen.add(step.path)
        kind = (step.stage, step.run, *(v for k, v in step.names.items() if k != "block"))
        if kind not in expected:
            expected[kind] = tracker.expected(step, recipes[step.run])
        trace = read_trace(root, step.path)
        follows = trace is not None and any(read.path in open_ for read in trace.reads)
        identity = identities.get(step.stage, "") if identities else None
        reason = tracker.why(trace, expected[kind], reads=not follows, identity=identity)
        if reason or follows:
            open_.add(step.path)
            findings.append(Finding(step, reason))
            if change and forget(step):
                # Snakemake makes what is asked for by name if that very file is missing.
                links = trace.links if trace and step.stage in ASKED else ()
                tracker.forget(step.path, links=links)
        elif change and trace is not None:
            tracker.restore(step.path, trace, _EPOCH + 1000.0 * STAGES.index(step.stage))
    return findings


def hold(root: Path) -> FileLock | None:
    """Hold the results tree while the lock or the process lasts; None if another run holds it."""
    path = root / OWN / "run.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock
