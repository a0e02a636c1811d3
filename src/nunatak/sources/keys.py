"""A session for servers that are given somebody's own keys."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import requests

from nunatak.errors import SourceError
from nunatak.sources import earthdata

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Session(earthdata.Session):
    """An HTTP session that keeps a header to one server, whatever redirects and links say.

    Logins of ``~/.netrc`` are not used.

    Parameters
    ----------
    home
        Any address of the server.
    secret
        The header.

    Raises
    ------
    SourceError
        If what is sent to the server could be read on its way: see `refuse_open`.
    """

    def __init__(self, home: str, secret: str = "") -> None:
        super().__init__(False)
        refuse_open(home)
        self._home, self._secret = _origin(home), secret

    def send(self, request: requests.PreparedRequest, **kwargs: object) -> requests.Response:
        """Send a request; to another server without the header."""
        if _origin(str(request.url)) != self._home:
            request.headers.pop(self._secret, None)
        return super().send(request, **kwargs)  # type: ignore[arg-type]


def refuse_open(url: str) -> None:
    """Refuse an address that would carry a key openly: neither https nor this very machine.

    Raises
    ------
    SourceError
        If it is.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise SourceError(f"{url}: a key would go there openly", "an https address", "correct it")


def read(path: Path, hint: str) -> str:
    """The text of a file of keys; none if there is no such file.

    Raises
    ------
    SourceError
        If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read", "a text file", hint) from error


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
