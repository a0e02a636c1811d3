"""What it took to make a step: a record beside its benchmark, which a job that is kept leaves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nunatak.provenance import write_text

MADE = "made"


@dataclass(frozen=True)
class Attempt:
    """What one job took.

    Parameters
    ----------
    host, since
        Where and when it began.
    seconds
        How long it lasted.
    core_seconds
        Time that cores computed for it, those of all its processes together.
    gpu_seconds
        The same of GPUs that it held.
    peak
        The most memory of one of its processes (MiB).
    end
        How it ended: ``made``, ``stopped``, ``failed``; empty if it runs or was killed.
    """

    host: str
    since: str
    seconds: float
    core_seconds: float
    gpu_seconds: float
    peak: float
    end: str = ""


def path(root: Path, name: str) -> Path:
    """Where the record of a step lies, told by the name of its log."""
    return root / "benchmarks" / f"{name}.costs"


def read(file: Path) -> list[Attempt]:
    """The jobs that it took to make what is there, or that tried; none if nothing is known."""
    try:
        return [Attempt(**each) for each in json.loads(file.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def write(file: Path, attempts: Sequence[Attempt]) -> None:
    """Write the record of a step."""
    text = json.dumps([asdict(each) for each in attempts], indent=1)
    write_text(file, f"{text}\n", sync=False)
