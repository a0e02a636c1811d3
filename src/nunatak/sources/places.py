"""Where the files of a source lie once they are there; nothing is fetched or looked at."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from nunatak.errors import SourceError
from nunatak.provenance import digest_json
from nunatak.source import File
from nunatak.sources.archive import bare_name

SYNTHETIC = Path("synthetic")


def place(file: File, folder: Path, data_root: Path) -> Path:
    """Where a file lies once it is there: in ``folder``, or in place for a local file.

    Parameters
    ----------
    file
        The file.
    folder
        Where fetched files and members of archives go.
    data_root
        The folder that relative ``file:`` URLs start from.

    Returns
    -------
    Path
        The path, whether or not it exists; ``Path("synthetic")`` if there is no file.

    Raises
    ------
    SourceError
        If the URL names no file or leaves the data root, or the member leaves the folder.
    """
    scheme = urlsplit(file.url).scheme
    if scheme == "synthetic":
        return SYNTHETIC
    if file.member:
        return folder / bare_name(file.member)
    return local_place(file.url, data_root) if scheme == "file" else archive_place(file, folder)


def archive_place(file: File, folder: Path) -> Path:
    """Where what is downloaded goes: the file itself, or the archive of a member.

    What is made by a request has a digest of it in its name, so that what another request made is
    never taken for it.
    """
    name = file.name or PurePosixPath(unquote(urlsplit(file.url).path)).name
    if PurePosixPath(name).name != name or name in ("", "..") or "\\" in name or "\0" in name:
        raise SourceError(f"{file.name or file.url} names no file", "a name, or a URL that has one")
    if not file.request:
        return folder / name
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    return folder / f"{stem}_{digest_json([file.url, file.request])[:8]}{suffix}"


def local_place(url: str, data_root: Path) -> Path:
    """Where the file of a ``file:`` URL lies."""
    path = Path(unquote(urlsplit(url).path))
    if path.is_absolute():
        return path
    if ".." in path.parts or path == Path():
        raise SourceError(f"{url} leaves the data root", "a path below it, or an absolute one")
    return data_root / path
