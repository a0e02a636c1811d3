"""What a job was given and what it used, as lines of its log."""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def used() -> Iterator[None]:
    """Say on stderr where a job runs and what it was given, and at its end what it used.

    The peak is of the process alone; beside it, on a cluster, stand two Snakemakes.
    """
    _say(f"on {', '.join(given())}")
    started = time.monotonic()
    try:
        yield
    finally:
        mine = resource.getrusage(resource.RUSAGE_SELF)
        unit = 1 << (20 if sys.platform == "darwin" else 10)
        seconds, busy = time.monotonic() - started, mine.ru_utime + mine.ru_stime
        _say(f"used {seconds:.1f} s, {busy:.1f} s of a core, {mine.ru_maxrss / unit:.0f} MiB")


def given() -> Iterator[str]:
    """The host, SLURM's job if it is one, and what was asked for, as far as the rule told it."""
    env = os.environ
    yield env.get("SLURMD_NODENAME") or socket.gethostname()
    if "SLURM_JOB_ID" in env:
        yield f"SLURM job {env['SLURM_JOB_ID']}"
    if "NUNATAK_ASKED" in env:
        yield env["NUNATAK_ASKED"]
    if env.get("CUDA_VISIBLE_DEVICES"):
        yield f"GPU {env['CUDA_VISIBLE_DEVICES']}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
