"""What a job was given and what it used: lines of its log, and a record of its costs."""

from __future__ import annotations

import os
import resource
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nunatak import costs
from nunatak.life import age, beating, host, now

_LOG = 2
_NO_GPU = ("", "-1", "NoDevFiles")


class Usage:
    """What a job uses, from now on.

    Parameters
    ----------
    processes, nodes
        Over how many processes and hosts it is spread, of which this is the first.
    """

    def __init__(self, processes: int = 1, nodes: int = 1) -> None:
        self.processes, self.nodes, self.since = processes, nodes, now()
        self._begun = time.monotonic() - (age() or 0.0)
        self._record: Path | None = None
        self._earlier: list[costs.Attempt] = []
        self._anew = False

    def computing(self, record: Path) -> None:
        """Note the costs from now on, with those of attempts since the step was last made."""
        self._earlier = costs.read(record)
        self._anew = bool(self._earlier) and self._earlier[-1].end == costs.MADE
        self._record = record

    def keeps(self) -> None:
        """Note the costs of what was there before as well: it was not made anew."""
        self._anew = False

    def so_far(self, end: str = "") -> costs.Attempt:
        """What it used until now, with processes that it started and that are over.

        All processes of a training do the same: the first tells for them.
        """
        mine = resource.getrusage(resource.RUSAGE_SELF)
        started = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = (mine.ru_utime + mine.ru_stime) * self.processes
        if self.processes == 1:
            busy += started.ru_utime + started.ru_stime
        unit = 1 << (20 if sys.platform == "darwin" else 10)
        seconds = time.monotonic() - self._begun
        return costs.Attempt(
            host(),
            self.since,
            round(seconds, 2),
            round(busy, 2),
            round(seconds * self._gpus(), 2),
            round(max(mine.ru_maxrss, started.ru_maxrss) / unit),
            end,
        )

    def _gpus(self) -> int:
        """GPUs that were given to it; where all may be used, those that it does use."""
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        if given is not None:
            return 0 if given in _NO_GPU else self.nodes * len(given.split(","))
        torch = sys.modules.get("torch")
        return self.processes if torch is not None and torch.cuda.is_initialized() else 0

    def note(self, end: str = "") -> None:
        """Write the record, and give the log the time of now: both tell that the job lives."""
        if stat.S_ISREG(os.fstat(_LOG).st_mode):
            os.utime(_LOG)
        if self._record is not None:
            earlier = [] if self._anew else self._earlier
            costs.write(self._record, [*earlier, self.so_far(end)])


@contextmanager
def used(processes: int = 1, nodes: int = 1) -> Iterator[Usage]:
    """Say on stderr where a job runs and what it was given, and at its end what it used.

    Seconds of a core are those of the process and of workers that it started here, the peak is that
    of the largest of them; beside them, on a cluster, stand two Snakemakes.
    """
    usage = Usage(processes, nodes)
    _say(f"on {', '.join(given())}, process {os.getpid()}, since {usage.since}")
    word, end = "failed after", "failed"
    try:
        with beating(usage.note):
            yield usage
        word, end = "used", costs.MADE
    except (SystemExit, KeyboardInterrupt):
        word, end = "stopped after", "stopped"
        raise
    finally:
        last = usage.so_far()
        busy = last.core_seconds / usage.processes
        _say(f"{word} {last.seconds:.1f} s, {busy:.1f} s of a core, {last.peak:.0f} MiB")
        with suppress(OSError):
            usage.note(end)


def given() -> Iterator[str]:
    """The host, SLURM's job if it is one, and what was asked for, as far as the rule told it."""
    env = os.environ
    yield host()
    if "SLURM_JOB_ID" in env:
        yield f"SLURM job {env['SLURM_JOB_ID']}"
    if "NUNATAK_ASKED" in env:
        yield env["NUNATAK_ASKED"]
    if env.get("CUDA_VISIBLE_DEVICES"):
        yield f"GPU {env['CUDA_VISIBLE_DEVICES']}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
