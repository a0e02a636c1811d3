"""Writing to a disk that may be full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from shutil import disk_usage

from nunatak.errors import NunatakError, SourceError

_FULL = (ENOSPC, EDQUOT, EFBIG)
_NOTHING = 1 << 20


class DiskFullError(SourceError):
    """The disk is full, so that another mirror would not help."""


def check_room(what: str, size: int, folder: Path) -> None:
    """Check that ``size`` bytes fit into a folder.

    Raises
    ------
    DiskFullError
        If they do not.
    """
    free = disk_usage(folder).free
    if size > free:
        raise DiskFullError(
            f"{what}: {size} bytes to write, {free} bytes free in {folder}",
            "room for the file",
            "free some disk, or choose another folder",
        )


@contextmanager
def filling(what: str, path: Path) -> Iterator[None]:
    """Turn a disk that fills up while ``path`` is written into a clear error.

    Raises
    ------
    DiskFullError
        If the disk, the quota or the largest file size is exhausted.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(
            f"{what}: no room for {path}: {error.strerror}",
            "room for the file",
            "free some disk, or choose another folder: what has arrived is kept and resumed",
        ) from error


@contextmanager
def room(what: str, folder: Path) -> Iterator[None]:
    """Turn whatever is raised because a folder's disk fills up into a clear error.

    Some libraries do not say what went wrong; then it tells that next to nothing is free.

    Raises
    ------
    DiskFullError
        If the disk, the quota or the largest file size is exhausted.
    """
    try:
        yield
    except NunatakError:
        raise
    except Exception as error:
        free = disk_usage(folder).free
        if getattr(error, "errno", None) not in _FULL and free > _NOTHING:
            raise
        raise DiskFullError(
            f"{what}: no room in {folder}: {error} ({free} bytes free)",
            "room for what this step writes",
            "free some disk, or set results: to another folder, and run snakemake again: what is"
            " done is kept",
        ) from error
