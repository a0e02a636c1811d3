"""What a job reads and writes, noted as it happens; what it reads is checked first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import RLock
from typing import Any

from nunatak.errors import StoreError
from nunatak.tracking.trace import Read, Span, fault, read_trace
from nunatak.tracking.tracker import Tracker, link

KEPT = ".kept"


class Ledger:
    """The reads and writes of one job.

    Every shard is compared with its trace when it is first read. Any number of threads may use it.

    Parameters
    ----------
    tracker
        The results tree.
    recording
        Whether windows that are read are noted. Training notes the digests of its tiles instead.
    """

    def __init__(self, tracker: Tracker, *, recording: bool = True) -> None:
        self.tracker, self.recording = tracker, recording
        self._spans: dict[tuple[str, str], Span | None] = {}
        self.files: list[Path] = []
        self.links: dict[str, str] = {}
        self._lock = RLock()
        self._checked: set[tuple[str, str]] = set()
        self._traces: dict[str, dict[str, Any]] = {}

    def note(self, path: str, variable: str, span: Span | None = None) -> str:
        """Note that a variable of a step's manifest is read, and return its digest.

        Raises
        ------
        StoreError
            If the step has no manifest, or one without that variable.
        """
        found = self.tracker.current(Read(path, variable, span))
        if found is None:
            raise StoreError(
                f"{path} is not made, or holds no {variable!r}",
                "a step that is done",
                "run snakemake: it makes what is missing",
            )
        self.take_over({(path, variable): span})
        return found

    def hand_over(self) -> dict[tuple[str, str], Span | None]:
        """What was read since this was last asked, for the ledger that `take_over` is called of."""
        with self._lock:
            spans, self._spans = self._spans, {}
        return spans

    def take_over(self, spans: Mapping[tuple[str, str], Span | None]) -> None:
        """Note what another process has read for this job."""
        with self._lock:
            for key, span in spans.items():
                self._spans[key] = _join(self._spans.get(key, span), span)

    @property
    def reads(self) -> dict[Read, str]:
        """What was read, and its digest; of several spans of a variable, the one around them."""
        reads = [Read(path, variable, span) for (path, variable), span in self._spans.items()]
        return {read: self.tracker.current(read) or "" for read in reads}

    def reading(self, path: str, variable: str, span: Span | None, name: str) -> None:
        """Check a file of a step and note that a part of its variable is read."""
        self.check(path, name)
        if self.recording:
            self.note(path, variable, span)

    def check(self, path: str, name: str) -> None:
        """Compare a file that a step left with the step's trace, once.

        Parameters
        ----------
        path
            Path of the step.
        name
            The file below the results root.

        Raises
        ------
        StoreError
            Naming the step, the file and what is wrong with it.
        """
        with self._lock:
            if (path, name) in self._checked:
                return
            known = self._files(path).get(name)
            wrong = (
                "is not in the trace" if known is None else fault(self.tracker.root, name, known)
            )
            if wrong:
                raise StoreError(
                    f"{path}: {name} {wrong}",
                    "the file that this step's job wrote",
                    "run `nunatak repair` and then snakemake: it makes this block again",
                )
            self._checked.add((path, name))

    def _files(self, path: str) -> dict[str, Any]:
        if path not in self._traces:
            trace = read_trace(self.tracker.root, path)
            if trace is None or trace.manifest != self.tracker.manifest(path):
                raise StoreError(
                    f"{path}: its trace is missing or disagrees with its manifest",
                    "a step that is done",
                    "run `nunatak repair` and then snakemake: it makes this block again",
                )
            self._traces[path] = trace.files
        return self._traces[path]

    def wrote(self, *paths: Path) -> None:
        """Note files that the job left."""
        self.files += paths

    def keep(self, *declared: Path) -> None:
        """Note files that the job left under their declared names, and link them to kept ones.

        Snakemake removes declared files before it runs their job again; the kept ones stay.
        """
        root = self.tracker.root
        for path in declared:
            kept = path.parent / KEPT / path.name
            link(path, kept)
            self.wrote(kept)
            self.links[str(path.relative_to(root))] = str(kept.relative_to(root))


def _join(one: Span | None, other: Span | None) -> Span | None:
    """The least span around two; None is all."""
    if one is None or other is None:
        return None
    return (
        min(one[0], other[0]),
        max(one[1], other[1]),
        min(one[2], other[2]),
        max(one[3], other[3]),
    )
