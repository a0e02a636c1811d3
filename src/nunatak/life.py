"""Whether a process lives, here or on another host: by its number, or by a file that it touches."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

BEAT = 15.0
# A network file system may show times that are a minute old.
SILENT = 120.0
# Times are told in whole seconds, and that of a process follows from the time of the boot.
_SLACK = 5.0
_OVER = ("Z", "X")
_BEGUN = 18  # where /proc tells when a process began, counted behind its state


def host() -> str:
    """The name of this host, as SLURM has it if it runs here."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def now() -> str:
    """The time, to the second, as it is written in logs."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def age(process: int | None = None) -> float | None:
    """Seconds since a process began, this one if none is given.

    None if it is over, or if the system does not tell.
    """
    try:
        text = (Path("/proc") / str(process or "self") / "stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = text.rpartition(")")[2].split()
    up = time.clock_gettime(time.CLOCK_BOOTTIME)
    return None if state in _OVER else up - int(fields[_BEGUN]) / os.sysconf("SC_CLK_TCK")


@contextmanager
def beating(beat: Callable[[], None]) -> Iterator[None]:
    """Call something every few seconds beside the work; that it fails does no harm."""
    over = Event()

    def run() -> None:
        while not over.wait(BEAT):
            with suppress(OSError):
                beat()

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def alive(where: str, process: int, since: datetime, beat: float) -> bool:
    """Whether a process lives.

    Parameters
    ----------
    where
        Its host; of another one than this, only its beat can be seen.
    process, since
        Its number, and when it had begun: a later process of that number is another one.
    beat
        When it last touched its file.
    """
    if where != host():
        return time.time() - beat < SILENT
    if not Path("/proc/self/stat").exists():
        return _answers(process)
    found = age(process)
    return found is not None and time.time() - found <= since.timestamp() + _SLACK


def _answers(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
