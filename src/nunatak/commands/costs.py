"""costs: what it took to make what a results tree holds, summed by run and stage."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rich.filesize import decimal

from nunatak import costs as records
from nunatak import settle
from nunatak.commands.tree import size
from nunatak.recipe import Recipe
from nunatak.tracking.steps import STAGES, Step
from nunatak.tracking.trace import read_trace

SHARED = "(shared)"
HEADS = ("run", "stage", "steps", "jobs", "h", "core h", "GPU h", "MiB", "written", "on disk")
_HOUR = 3600.0


@dataclass(frozen=True)
class Row:
    """What a stage of a run took.

    Parameters
    ----------
    run, stage
        Which. Downloads are of all runs; what a run does for each of its scenes is one row.
    steps
        Steps that are made, or that a job tried to make.
    jobs
        Jobs that this took, those included that failed or were stopped or killed.
    hours, core_hours, gpu_hours
        How long they lasted, added up; how long cores computed; how long they held GPUs.
    peak_mib
        The most memory of a process.
    written_bytes
        Bytes of the files that the steps left, by their traces.
    disk_bytes
        Bytes below the folder of the stage now, a file of several links once.
    unknown
        Steps that are made, of whose jobs there is no record.
    """

    run: str
    stage: str
    steps: int = 0
    jobs: int = 0
    hours: float = 0.0
    core_hours: float = 0.0
    gpu_hours: float = 0.0
    peak_mib: float = 0.0
    written_bytes: int = 0
    disk_bytes: int = 0
    unknown: int = 0

    def cells(self) -> tuple[str, ...]:
        """As people read it, in the order of `HEADS`."""
        hours = map(_hours, (self.hours, self.core_hours, self.gpu_hours))
        sizes = (decimal(self.written_bytes), decimal(self.disk_bytes))
        counts = (str(self.steps), str(self.jobs))
        return (self.run, self.stage, *counts, *hours, f"{self.peak_mib:.0f}", *sizes)


def _hours(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def costs(recipes: Mapping[str, Recipe], root: Path) -> list[Row]:
    """Sum what jobs noted of themselves, for the steps of some recipes and those asked for by name.

    Parameters
    ----------
    recipes
        The configured recipes by name.
    root
        The results root.

    Returns
    -------
    list of Row
        One for each run and stage of which something is there, in the order of the workflow.
    """
    found: dict[tuple[str, str], dict[str, Step]] = {}
    for step in settle.steps(recipes.values(), root):
        run = SHARED if step.path.startswith(f"{step.stage}/") else step.run.partition("/")[0]
        found.setdefault((run, step.stage), {})[step.path] = step
    order = sorted(found, key=lambda key: (key[0] != SHARED, key[0], STAGES.index(key[1])))
    rows = [_row(root, run, stage, found[run, stage].values()) for run, stage in order]
    return [row for row in rows if row.steps]


def _row(root: Path, run: str, stage: str, steps: Iterable[Step]) -> Row:
    written = count = unknown = 0
    folders: set[Path] = set()
    attempts: list[records.Attempt] = []
    for step in steps:
        folders.add(root / stage if run == SHARED else root / step.run / stage)
        mine, trace = records.read(records.path(root, step.name)), read_trace(root, step.path)
        attempts += mine
        count += bool(mine or trace)
        unknown += not mine and trace is not None
        written += sum(file["bytes"] for file in trace.files.values()) if trace else 0
    seen: set[tuple[int, int]] = set()
    return Row(
        run,
        stage,
        count,
        len(attempts),
        sum(each.seconds for each in attempts) / _HOUR,
        sum(each.core_seconds for each in attempts) / _HOUR,
        sum(each.gpu_seconds for each in attempts) / _HOUR,
        max((each.peak for each in attempts), default=0.0),
        written,
        sum(size(folder, seen) for folder in sorted(folders) if folder.exists()),
        unknown,
    )


def total(rows: Sequence[Row]) -> Row:
    """The sum of some rows; of memory, the largest."""
    added = {f.name: sum(getattr(row, f.name) for row in rows) for f in fields(Row)[2:]}
    return Row("", "all", **{**added, "peak_mib": max((row.peak_mib for row in rows), default=0)})


def write(rows: Sequence[Row], file: Path) -> None:
    """Write rows as CSV, in hours and bytes."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, [f.name for f in fields(Row)])
        table.writeheader()
        table.writerows(asdict(row) for row in rows)
