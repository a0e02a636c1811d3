"""Writing to a disk that may be full, and that may lose power."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from shutil import disk_usage

from nunatak.errors import SourceError

_FULL = (ENOSPC, EDQUOT, EFBIG)


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


def sync(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
