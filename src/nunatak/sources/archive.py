"""One member of a zip or tar archive, taken out safely."""

from __future__ import annotations

import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from nunatak.errors import SourceError
from nunatak.provenance import fsync_folder
from nunatak.sources.disk import check_room, filling

_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,
)
_ELSEWHERE = re.compile(r"\\|\0|^[A-Za-z]:")


def extract(archive: Path, member: str, target: Path, accept: Callable[[Path], None]) -> None:
    """Take one member out of an archive, whole or not at all.

    Parameters
    ----------
    archive
        A zip, or a tar compressed in any way.
    member
        Its path in the archive, or its bare name where only one member has it.
    target
        Where it goes; the path inside the archive plays no part in that.
    accept
        Called with the extracted file before it has its name; it raises if the file is wrong.

    Raises
    ------
    SourceError
        If the archive is damaged, has no such member, or the member is no regular file or leads
        out of its folder.
    DiskFullError
        If the member, as large as it says it is, does not fit on the disk.
    """
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _open(archive, member) as (stream, size), filling(archive.name, part):
            check_room(f"{archive.name}: {member}", size, target.parent)
            with part.open("wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)
                out.flush()
                os.fsync(out.fileno())
        accept(part)
        part.replace(target)
    except _DAMAGED as error:
        why = str(error) or type(error).__name__
        raise SourceError(f"{archive.name}: {why}", "an undamaged zip or tar archive") from error
    finally:
        part.unlink(missing_ok=True)
    fsync_folder(target.parent)


def bare_name(member: str) -> str:
    """The last part of a member's path.

    Raises
    ------
    SourceError
        If the path is absolute or leads out of its folder.
    """
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or _ELSEWHERE.search(member) or not path.name:
        raise SourceError(f"member {member!r} leaves the folder", "a relative path without '..'")
    return path.name


@contextmanager
def _open(archive: Path, member: str) -> Iterator[tuple[IO[bytes], int]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            info = packed.getinfo(_choose(archive, member, packed.namelist()))
            _refuse(archive, info.filename, info.is_dir() or stat.S_ISLNK(info.external_attr >> 16))
            _refuse(archive, info.filename, bool(info.flag_bits & 1))
            with packed.open(info) as stream:
                yield stream, info.file_size
    else:
        with tarfile.open(archive) as packed:
            names = packed.getnames()
            while packed.fileobj and packed.fileobj.read(1 << 20):
                pass  # the checksum of a compressed archive is looked at only at its very end
            entry = packed.getmember(_choose(archive, member, names))
            _refuse(archive, entry.name, not entry.isreg())
            yield packed.extractfile(entry), entry.size  # type: ignore[misc]


def _choose(archive: Path, member: str, names: list[str]) -> str:
    exact = {name for name in names if name.removeprefix("./") == member}
    bare = {name for name in names if name.split("/")[-1] == member}
    for found in (exact, bare):
        if len(found) == 1:
            return found.pop()
    shown = ", ".join(sorted(names)[:10]) + (", ..." if len(names) > 10 else "")
    raise SourceError(f"{archive.name} has no single member {member!r}", f"one of {shown}")


def _refuse(archive: Path, name: str, special: bool) -> None:
    bare_name(name)
    if special:
        raise SourceError(
            f"{archive.name}: {name} is a link, a folder, a device or encrypted", "a regular file"
        )
