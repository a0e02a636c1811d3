"""Running a job: kept if nothing that it follows from changed, else computed and committed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nunatak.provenance import digest_json
from nunatak.tracking.steps import Step
from nunatak.tracking.trace import Trace, physical, read_trace, write_trace
from nunatak.tracking.tracker import Tracker

if TYPE_CHECKING:
    from nunatak.products import Results

_log = logging.getLogger(__name__)
Work = Callable[["Results", str], dict[str, Any]]


def run(step: Step, recipe: Path, root: Path, work: Work) -> bool:
    """Run a step, unless what it follows from is as it was.

    The trace and the manifest go before anything is computed, and come back, in this order, when
    all files of the step are on the disk: whenever a job dies, its step is not done.

    Parameters
    ----------
    step
        The step.
    recipe
        The checked recipe of the run (JSON).
    root
        The results root.
    work
        Computes: takes the results tree and the digest of what does not depend on other steps,
        and returns the manifest.

    Returns
    -------
    bool
        Whether it was computed.
    """
    tracker, values = Tracker(root), json.loads(recipe.read_text(encoding="utf-8"))
    trace, expected = read_trace(root, step.path), tracker.expected(step, values)
    reason = tracker.why(trace, expected)
    if trace is not None and not reason:
        tracker.restore(step.path, trace)
        _log.info("kept %s: nothing that it follows from changed", step.path)
        return False
    _log.info("computing %s: %s", step.path, reason)
    tracker.forget(step.path, trace=True)
    _compute(step, recipe, tracker, expected, work)
    _log.info("computed %s", step.path)
    return True


def _compute(
    step: Step, recipe: Path, tracker: Tracker, expected: dict[str, Any], work: Work
) -> None:
    from nunatak.config import saved
    from nunatak.products import Results
    from nunatak.tracking.ledger import Ledger

    ledger = Ledger(tracker, recording=step.stage != "train")
    manifest = work(Results(saved(recipe), tracker.root, ledger), digest_json(expected))
    files = physical(tracker.root, ledger.files)
    trace = Trace(
        **expected, reads=ledger.reads, files=files, links=ledger.links, manifest=manifest
    )
    write_trace(tracker.root, step.path, trace)
    tracker.restore(step.path, trace)
