"""repair: what is damaged goes, so that the next run makes it again; what is derived comes back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from nunatak.commands.tree import held, told
from nunatak.commands.verify import Fault, verify
from nunatak.tracking.steps import Step
from nunatak.tracking.trace import Trace, read_trace
from nunatak.tracking.tracker import Tracker


def repair(root: Path, *, dry: bool = False) -> Iterator[str]:
    """Find what `verify` finds, and mend or remove it.

    The trace goes first: whenever this is stopped, a step is whole or not done.

    Parameters
    ----------
    root
        The results root.
    dry
        Whether to tell only what would be done.

    Yields
    ------
    str
        What was done to a step, and why.

    Raises
    ------
    StoreError
        If a run holds the tree.
    """
    with held(root):
        tracker, faults = Tracker(root), verify(root).faults
        for _, group in groupby(faults, key=lambda fault: fault.step.path):
            yield _mend(tracker, list(group), dry=dry)
        if not faults:
            yield "nothing to repair"


def _mend(tracker: Tracker, faults: list[Fault], *, dry: bool) -> str:
    root, step = tracker.root, faults[0].step
    why = "; ".join(f"{fault.file} {fault.what}" for fault in faults)
    trace = read_trace(root, step.path)
    if trace is not None and all(fault.derived for fault in faults):
        if not dry:
            tracker.restore(step.path, trace)
        return f"{told(step)}: {'to be ' * dry}written again from its trace ({why})"
    wrong = {fault.file for fault in faults}
    if trace is not None and trace.manifest.get("frozen"):
        return f"{told(step)}: left as it is, for a frozen model is not trained again ({why})"
    if not dry:
        tracker.forget(step.path, trace=True)
        for name in _spoilt(step, trace, wrong):
            (root / name).unlink(missing_ok=True)
    return f"{told(step)}: {'to be ' * dry}removed, the next run makes it ({why})"


def _spoilt(step: Step, trace: Trace | None, wrong: set[str]) -> set[str]:
    """The files to remove with a step's trace.

    Of a download, the whole files stay. A training begins anew if its weights or its losses are
    damaged; for its figure alone it does not.
    """
    if trace is None:
        return set()
    files = {*trace.files, *trace.links}
    if step.stage == "download":
        return files & wrong
    if step.stage == "train":
        drawn = {*trace.links, *trace.links.values()}
        folder = step.path.rpartition("/")[0]
        return files | {f"{folder}/last.pt"} if wrong - drawn else drawn
    return files
