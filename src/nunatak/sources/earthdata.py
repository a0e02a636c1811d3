"""Credentials of NASA Earthdata: who is given them, and who never is."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

import requests

from nunatak.errors import SourceError

LOGIN = (
    "set EARTHDATA_TOKEN to a token from https://urs.earthdata.nasa.gov, or add 'machine "
    "urs.earthdata.nasa.gov login NAME password PASSWORD' to ~/.netrc; then accept the licence of "
    "the data set (or approve its application) at https://urs.earthdata.nasa.gov/approve_app"
)


class Session(requests.Session):
    """An HTTP session that gives Earthdata credentials to NASA's own hosts over https, only.

    The token of ``EARTHDATA_TOKEN`` goes to the host that was asked and never along a redirect to
    another; the logins of ``~/.netrc`` (or of the file that ``NETRC`` names) go to the very host
    that they name, as Earthdata's login page needs it. Other hosts get no credentials at all.

    Parameters
    ----------
    earthdata
        Whether to use credentials.

    Raises
    ------
    SourceError
        If the netrc file cannot be read.
    """

    def __init__(self, earthdata: bool) -> None:
        super().__init__()
        self._token = os.environ.get("EARTHDATA_TOKEN", "") if earthdata else ""
        self._logins = _netrc() if earthdata else {}
        self.auth = self._authorise

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Choose the credentials anew at every redirect."""
        came, goes = str(response.request.url), str(prepared_request.url)
        if self.should_strip_auth(came, goes):  # type: ignore[no-untyped-call]
            self._token = ""
        self._authorise(prepared_request)

    def _authorise(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        url = str(request.url)
        request.headers.pop("Authorization", None)
        login = self._logins.get(urlsplit(url).hostname or "")
        if trusted(url) and self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        elif trusted(url) and login:
            requests.auth.HTTPBasicAuth(*login)(request)
        return request


def trusted(url: str) -> bool:
    """Whether an address is NASA's own and encrypted, so that it may be given credentials."""
    parts = urlsplit(url)
    return parts.scheme == "https" and f".{parts.hostname}".endswith(".nasa.gov")


def _netrc() -> dict[str, tuple[str, str]]:
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        hosts = netrc.netrc(str(path)).hosts if path.is_file() else {}
    except (netrc.NetrcParseError, OSError) as error:
        raise SourceError(f"{path} cannot be read: {error}", "a netrc file", LOGIN) from error
    return {host: (user, password) for host, (user, _, password) in hosts.items()}
