"""One file over http(s) or ftp into a ``.part``: resumed, retried, and never taken for another."""

from __future__ import annotations

import ftplib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests
import urllib3
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from nunatak.errors import SourceError
from nunatak.sources.disk import check_room, filling
from nunatak.sources.earthdata import LOGIN, Session

TIMEOUT = 60.0
LONGEST_WAIT = 300.0
_CHUNK = 1 << 16
_PASSING = (408, 425, 429)
_BROWSER = (
    "open the address in a browser: if it moved, correct the URL in the catalogue or add a "
    "mirror; if it asks for a login, fetch the file by hand and give it as a 'file:' URL"
)


class _PassingError(Exception):
    """A fault that may pass; ``wait`` is how many seconds the server asks for."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass(frozen=True)
class Transfer:
    """A pooch downloader that resumes, retries and says clearly what went wrong.

    What has arrived lies in ``part``; beside it ``<part>.from`` says from where, which version it
    was (ETag or date) and how long, so that only the rest of the very same file is asked for.

    Parameters
    ----------
    part
        The ``.part`` file; it survives what can be resumed and nothing else.
    size
        The size of the whole file in bytes, if known.
    certain
        Whether a checksum will be checked, so that a part may be resumed even where the server
        does not say which version its file is.
    auth
        "none" or "earthdata".
    attempts
        How often a fault that may pass is tried.
    base_delay
        Seconds before the second attempt; doubled for each further one.
    """

    part: Path
    size: int | None = None
    certain: bool = False
    auth: str = "none"
    attempts: int = 5
    base_delay: float = 1.0

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Fetch ``url`` and move it to ``output_file``.

        Raises
        ------
        SourceError
            If the file cannot be had, or what came is not it.
        """
        get = self._ftp if urlsplit(url).scheme == "ftp" else self._http
        for attempt in range(1, self.attempts + 1):
            try:
                get(url)
                break
            except _PassingError as fault:
                if attempt == self.attempts:
                    raise SourceError(
                        f"{url}: {fault} ({self.attempts} attempts)",
                        "the whole file",
                        "try again later: what has arrived is kept and resumed",
                    ) from fault
                delay = self.base_delay * 2 ** (attempt - 1)
                time.sleep(max(delay, min(fault.wait, LONGEST_WAIT)))
        self._judge(url, self.part.stat().st_size)
        self.part.replace(output_file)
        self._origin.unlink(missing_ok=True)

    @property
    def _origin(self) -> Path:
        return self.part.with_name(f"{self.part.name}.from")

    @property
    def _hint(self) -> str:
        return LOGIN if self.auth == "earthdata" else _BROWSER

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self._origin.unlink(missing_ok=True)

    def _judge(self, url: str, size: int) -> None:
        """Refuse a whole file that cannot be the one; the checksum is left to pooch."""
        if size == 0 or (self.size and size != self.size):
            self._discard()
            wanted = f"{self.size} bytes" if self.size else "data"
            raise SourceError(f"{url}: the server's file has {size} bytes", wanted, _BROWSER)

    def _start(self, url: str) -> tuple[int, str, str]:
        """How many bytes to resume from; the version of the file that they are of, and its size."""
        if not self.part.exists() or not self._origin.exists():
            return 0, "", ""
        known, version, total = f"{self._origin.read_text(encoding='utf-8')}\n\n".split("\n")[:3]
        resumable = known == url and (version or self.certain)
        return (self.part.stat().st_size, version, total) if resumable else (0, "", "")

    def _http(self, url: str) -> None:
        start, version, total = self._start(url)
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-"} | ({"If-Range": version} if version else {})
        try:
            with (
                Session(self.auth == "earthdata") as session,
                session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response,
            ):
                if start and response.status_code == 416:
                    self._beyond(response, start, total)
                else:
                    self._save(response, url, start)
        except requests.TooManyRedirects as error:
            raise SourceError(f"{url}: {error}", "the file", self._hint) from error
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            raise _PassingError(str(error)) from error
        except requests.RequestException as error:
            raise SourceError(f"{url}: {error}", "an http(s) or ftp address", _BROWSER) from error

    def _beyond(self, response: requests.Response, start: int, total: str) -> None:
        """The server has nothing after ``start``: the part is whole, or of another version."""
        said = response.headers.get("Content-Range")
        if said != f"bytes */{start}" or total not in ("", str(start)):
            self._discard()
            raise _PassingError("the file on the server changed")

    def _save(self, response: requests.Response, url: str, start: int) -> None:
        self._check_status(response, url)
        if "text/html" in response.headers.get("Content-Type", "").lower() and not _is_page(url):
            raise self._page(url)
        begin = start if _continues(response, start) else 0
        length = response.headers.get("Content-Length", "")
        total = begin + int(length) if length.isdigit() else None
        body = response.raw.stream(_CHUNK, decode_content=False)
        first = next(body, b"")
        if begin == 0 and _looks_like_page(first) and not _is_page(url):
            raise self._page(url)
        with self._writer(url, begin, total, _version(response)) as write:
            write(first)
            for chunk in body:
                write(chunk)

    def _check_status(self, response: requests.Response, url: str) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        said = f"the server answers {status} {response.reason}"
        if status >= 500 or status in _PASSING:
            wait = response.headers.get("Retry-After", "")
            raise _PassingError(said, float(wait) if wait.isdigit() else 0.0)
        hint = self._hint if status in (401, 403) else _BROWSER
        raise SourceError(f"{url}: {said}", "the file", hint)

    def _page(self, url: str) -> SourceError:
        return SourceError(f"{url}: a web page came instead of the file", "data", self._hint)

    def _ftp(self, url: str) -> None:
        parts = urlsplit(url)
        path = unquote(parts.path)
        try:
            with closing(ftplib.FTP(timeout=TIMEOUT)) as ftp:
                ftp.connect(parts.hostname or "", parts.port or ftplib.FTP_PORT)
                ftp.login()
                ftp.voidcmd("TYPE I")
                size = _ask(ftp, f"SIZE {path}")
                total = int(size) if size.isdigit() else None
                changed = _ask(ftp, f"MDTM {path}")
                start, version, _ = self._start(url)
                begin = start if version == changed and start <= (total or 0) else 0
                with (
                    ftp.transfercmd(f"RETR {path}", begin or None) as channel,
                    self._writer(url, begin, total, changed) as write,
                ):
                    while chunk := channel.recv(_CHUNK):
                        write(chunk)
                ftp.voidresp()
        except ftplib.error_perm as error:
            raise SourceError(f"{url}: the server answers {error}", "the file", _BROWSER) from error
        except (ftplib.Error, EOFError, OSError) as error:
            raise _PassingError(f"{type(error).__name__}: {error}") from error

    @contextmanager
    def _writer(
        self, url: str, start: int, total: int | None, version: str
    ) -> Iterator[Callable[[bytes], None]]:
        """Append to the part from ``start``; on leaving, all of ``total`` is there and on disk."""
        self._make_room(url, start, total)
        with filling(url, self.part), self.part.open("ab" if start else "wb") as part:
            length = "" if total is None else str(total)
            self._origin.write_text("\n".join((url, version, length)), encoding="utf-8")
            with _progress() as progress:
                task = progress.add_task(self.part.stem, total=total, completed=start)

                def write(chunk: bytes) -> None:
                    part.write(chunk)
                    progress.advance(task, len(chunk))

                yield write
            part.flush()
            os.fsync(part.fileno())
            arrived = part.tell()
        if total is not None and arrived < total:
            raise _PassingError(f"{arrived} of {total} bytes came")

    def _make_room(self, url: str, start: int, total: int | None) -> None:
        """Refuse at once what cannot be the file or cannot fit."""
        if total is None:
            return
        self._judge(url, total)
        check_room(url, total - start, self.part.parent)


def _continues(response: requests.Response, start: int) -> bool:
    """Whether the answer is the rest from ``start`` on, not the whole file again."""
    if response.status_code != 206:
        return False
    given = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if not given or int(given[1]) != start:
        raise _PassingError(f"the server sent the wrong range of bytes, not that from {start}")
    return True


def _version(response: requests.Response) -> str:
    """What names this version of the file for If-Range: a strong ETag, or the date."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _ask(ftp: ftplib.FTP, command: str) -> str:
    """What an FTP server says of a file; nothing if it does not know the command."""
    try:
        return ftp.sendcmd(command).partition(" ")[2].strip()
    except ftplib.error_perm:
        return ""


def _is_page(url: str) -> bool:
    return urlsplit(url).path.lower().endswith((".html", ".htm"))


def _looks_like_page(chunk: bytes) -> bool:
    text = chunk[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith((b"<!doctype html", b"<html"))


def _progress() -> Progress:
    """A progress bar on the screen of whoever watches; silent in a log."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
