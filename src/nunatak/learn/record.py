"""What a training shows and writes step by step: its table of losses, and a progress bar."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nunatak.provenance import write_text


class Table:
    """The losses of every step, as CSV; nothing in it depends on the time that a step takes.

    Parameters
    ----------
    path
        The file; on resuming, rows beyond ``samples_seen`` are cut off.
    samples_seen
        Where the training goes on.
    """

    def __init__(self, path: Path, samples_seen: int) -> None:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines[1:] if int(line.split(",")[0]) <= samples_seen]
        self._empty = not kept
        write_text(path, "".join(f"{line}\n" for line in (lines[:1] + kept if kept else [])))
        self._stream = path.open("a", encoding="utf-8")

    def add(self, row: Mapping[str, float | int | None]) -> None:
        """Append a row; None is an empty cell."""
        if self._empty:
            self._stream.write(",".join(row) + "\n")
            self._empty = False
        self._stream.write(",".join("" if v is None else repr(v) for v in row.values()) + "\n")

    def flush(self) -> None:
        """Make all rows last."""
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class Unwritten:
    """The table of a process that is not the first: nothing."""

    def add(self, row: Mapping[str, float | int | None]) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def table(path: Path, samples_seen: int, *, writes: bool) -> Table | Unwritten:
    """The table of a training, which the first of its processes writes."""
    return Table(path, samples_seen) if writes else Unwritten()


@contextmanager
def progress(samples: int, seen: int, *, shows: bool) -> Iterator[Progress]:
    """A progress bar on stderr, if that is a terminal, of the first of a training's processes."""
    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
    loss = TextColumn("loss {task.fields[loss]}")
    hidden = not (shows and sys.stderr.isatty())
    console = Console(stderr=True)
    with Progress(*columns, loss, TimeRemainingColumn(), console=console, disable=hidden) as bar:
        bar.add_task("samples", total=samples, completed=seen, loss="")
        yield bar
