"""From a catalogue entry to a file that is whole: names, checks, archives, mirrors."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import pooch
from blake3 import blake3

from nunatak.errors import SourceError
from nunatak.provenance import feed, fsync_folder
from nunatak.source import File
from nunatak.sources import cds, marine
from nunatak.sources.archive import extract
from nunatak.sources.disk import DiskFullError
from nunatak.sources.places import SYNTHETIC, archive_place, local_place, place
from nunatak.sources.transport import Transfer

_BY_HAND = "compare the file with its provider's; correct sha256 and bytes, or remove the file"


def fetch(
    file: File,
    folder: Path,
    *,
    data_root: Path,
    auth: str = "none",
    attempts: int = 5,
    base_delay: float = 1.0,
) -> Path:
    """Have a file of a source: from the disk if it is there and right, else from its addresses.

    Nothing incomplete or wrong is ever found under the returned name; what broke off and can be
    resumed is kept under ``<name>.part``. With ``member``, the checksum and the size are those of
    the member; its archive stays in ``folder`` for other members of it.

    Parameters
    ----------
    file
        Its URL and mirrors (http, https, ftp, `nunatak.sources.cds`, `nunatak.sources.marine`; or a
        ``file:`` or ``synthetic:`` URL), and how to know that it is whole. A ``file:`` URL may name
        a folder, such as a Zarr store.
    folder
        Where to put it; it is made if it is not there.
    data_root
        The folder that relative ``file:`` URLs start from; such files are used in place.
    auth
        "earthdata" to log in at NASA Earthdata, with EARTHDATA_TOKEN or ``~/.netrc``.
    attempts, base_delay
        How often each address is tried, and the seconds before the second attempt; the wait
        doubles each time.

    Returns
    -------
    Path
        The file; ``Path("synthetic")`` if there is nothing to fetch.

    Raises
    ------
    SourceError
        If the file cannot be had or is not what the catalogue says: what was found, what was
        expected, what to do.
    """
    target = place(file, folder, data_root)
    if target == SYNTHETIC:
        return target
    local = urlsplit(file.url).scheme == "file"
    if local and not file.member:
        check(target, file)
        return target
    if _is_right(target, file):
        return target
    if local:
        archive = local_place(file.url, data_root)
        check(archive, File(url=file.url))
        _extract(archive, file, target)
        return target
    failures: list[SourceError] = []
    for url in (file.url, *file.mirrors):
        try:
            _from(url, file, target, auth, attempts, base_delay)
            return target
        except DiskFullError:
            raise
        except SourceError as failure:
            failures.append(failure)
    raise _all(failures)


def check(path: Path, file: File) -> None:
    """Check a file against its catalogue entry.

    Raises
    ------
    SourceError
        If it is not there, is empty, or differs in size or checksum; or if a folder, which has
        no sha256, is given one.
    """
    if not path.exists():
        raise SourceError(
            f"{file.url}: there is no {path}", "a file", "correct the URL, or the data root"
        )
    if path.is_dir():
        if file.sha256 or file.bytes:
            raise SourceError(f"{path} is a folder", "no sha256 or bytes for it", "leave them out")
        return
    size = path.stat().st_size
    if size == 0 or (file.bytes and size != file.bytes):
        wanted = f"{file.bytes} bytes" if file.bytes else "data"
        raise SourceError(f"{path} has {size} bytes", wanted, _BY_HAND)
    if file.sha256 and (found := sha256(path)) != file.sha256:
        raise SourceError(f"{path} has sha256 {found}", file.sha256, _BY_HAND)


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal; the file is streamed."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_folder(folder: Path) -> tuple[str, int]:
    """Digest a folder, such as a Zarr store, by the names and contents of all its files.

    Returns
    -------
    str
        blake3, in hexadecimal, over every file in the order of its relative POSIX name: the name,
        a zero byte, the size as eight bytes (little-endian), the content.
    int
        The bytes of all its files.
    """
    digest, total = blake3(), 0
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    for name, path in sorted(files.items()):
        if not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(name.encode() + b"\0" + size.to_bytes(8, "little"))
        feed(digest, path)
        total += size
    return digest.hexdigest(), total


def _is_right(target: Path, file: File) -> bool:
    if target.is_file():
        try:
            check(target, file)
        except SourceError:
            target.unlink()
    return target.is_file()


def _from(url: str, file: File, target: Path, auth: str, attempts: int, base_delay: float) -> None:
    """Fetch from one address through pooch, which checks the sha256 before the file is named."""
    arrival = archive_place(file, target.parent)
    job = arrival.with_name(f"{arrival.name}.job")
    address = _address(url, file, job, attempts, base_delay)
    whole = file.model_copy(update={"sha256": None, "bytes": None}) if file.member else file
    transfer = Transfer(
        arrival.with_name(f"{arrival.name}.part"),
        size=whole.bytes,
        certain=whole.sha256 is not None,
        auth=auth,
        attempts=attempts,
        base_delay=base_delay,
    )
    known = f"sha256:{whole.sha256}" if whole.sha256 else None
    pooch.get_logger().setLevel("WARNING")
    for orphan in arrival.parent.glob("tmp????????"):  # where pooch was killed
        orphan.unlink()
    try:
        pooch.retrieve(address, known, arrival.name, arrival.parent, downloader=transfer)
        job.unlink(missing_ok=True)
        fsync_folder(arrival.parent)
    except ValueError as error:
        raise SourceError(f"{url}: {error}", f"sha256 {file.sha256}", _BY_HAND) from error
    except OSError as error:
        raise SourceError(f"{url}: {error}", f"a folder to write to: {arrival.parent}") from error
    if file.member:
        try:
            _extract(arrival, file, target)
        except DiskFullError:
            raise
        except SourceError:
            arrival.unlink()
            raise


def _address(url: str, file: File, job: Path, attempts: int, base_delay: float) -> str:
    """The plain address of what a URL names, for which a provider may have to make it first."""
    scheme = urlsplit(url).scheme
    if scheme == "cds":
        return cds.locate(url, file.request, job, attempts=attempts, base_delay=base_delay)
    if scheme == "copernicusmarine":
        return marine.locate(url, attempts=attempts, base_delay=base_delay)
    if scheme not in ("http", "https", "ftp"):
        raise SourceError(f"{url}: cannot be fetched", "an http, https or ftp address")
    return url


def _extract(archive: Path, file: File, target: Path) -> None:
    extract(archive, file.member or "", target, lambda part: check(part, file))


def _all(failures: list[SourceError]) -> SourceError:
    """One error of the failures of every address; what to do is said of the first."""
    first = failures[0]
    what = "\n".join(failure.what for failure in failures)
    return SourceError(what, first.expected, first.do)
