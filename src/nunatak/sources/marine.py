"""Original files of the Copernicus Marine Service, with the user's own login.

The service's own toolbox does the same and needs far more: it logs in to know who asks, finds in
the catalogue of metadata where a dataset lies, and reads it from open object stores.
"""

from __future__ import annotations

import base64
import binascii
import configparser
import os
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from nunatak.errors import SourceError
from nunatak.sources import transport
from nunatak.sources.keys import Session, read

AUTH = "https://auth.marine.copernicus.eu/realms/MIS/protocol/openid-connect/token"
METADATA = "https://stac.marine.copernicus.eu/metadata"
LOGIN = (
    "register at https://data.marine.copernicus.eu/register, then set "
    "COPERNICUSMARINE_SERVICE_USERNAME and COPERNICUSMARINE_SERVICE_PASSWORD"
)
_PASSING = (408, 425, 429, 500, 502, 503, 504)


def locate(url: str, *, attempts: int, base_delay: float) -> str:
    """Log in, and tell the address of a file.

    Parameters
    ----------
    url
        ``copernicusmarine:PRODUCT/DATASET/PATH``, the dataset with its version, as the list of
        files on the product's page has them. Where the path holds ``*``, as for a day of
        production, it is the last one, by name, of those that are there.
    attempts, base_delay
        As of `nunatak.sources.fetch.fetch`.

    Returns
    -------
    str
        An address that needs no login.

    Raises
    ------
    SourceError
        If there is no login or it is refused, there is no such dataset or file, or the service
        cannot be reached.
    """
    product, dataset, path = _parts(url)
    try:
        _log_in(AUTH, *_login(), attempts, base_delay)
        root = _root(METADATA, product, dataset, attempts, base_delay)
        return f"{root}/{path}" if "*" not in path else _newest(root, path, attempts, base_delay)
    except requests.RequestException as error:
        what = f"{url}: {error} ({attempts} attempts)"
        raise SourceError(what, "an answer", "try again later") from error


def _parts(url: str) -> tuple[str, str, str]:
    pieces = urlsplit(url).path.split("/", 2)
    if len(pieces) != 3 or not all(pieces):
        raise SourceError(f"{url} names no file", "copernicusmarine:PRODUCT/DATASET/PATH")
    return pieces[0], pieces[1], pieces[2]


def _login() -> tuple[str, str]:
    """Name and password, where the service's toolbox looks for them."""
    user = os.environ.get("COPERNICUSMARINE_SERVICE_USERNAME")
    password = os.environ.get("COPERNICUSMARINE_SERVICE_PASSWORD")
    if user and password:
        return user, password
    home = Path(os.environ.get("COPERNICUSMARINE_CREDENTIALS_DIRECTORY") or Path.home())
    path = home / ".copernicusmarine" / ".copernicusmarine-credentials"
    text = read(path, LOGIN)
    if not text:
        raise SourceError(
            "no login of the Copernicus Marine Service", f"variables or {path}", LOGIN
        )
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(base64.b64decode(text).decode("utf-8"))
        return parser.get("credentials", "username"), parser.get("credentials", "password")
    except (binascii.Error, UnicodeDecodeError, configparser.Error):
        # Whatever the parser says may quote the password.
        raise SourceError(f"{path} cannot be read", "what its toolbox writes", LOGIN) from None


@lru_cache(maxsize=1)
def _log_in(auth: str, user: str, password: str, attempts: int, base_delay: float) -> None:
    """Have the service say that it knows the user; once, whatever is fetched."""
    form = {"client_id": "toolbox", "grant_type": "password", "scope": "openid profile email"}
    form |= {"username": user, "password": password}
    with _session(auth, attempts, base_delay) as session:
        answer = session.post(auth, form, timeout=transport.TIMEOUT, allow_redirects=False)
    host, status = urlsplit(auth).hostname, answer.status_code
    if status in (400, 401):
        what = f"{host} knows no such user and password (answer {status})"
        raise SourceError(what, "the login of the Copernicus Marine Service", LOGIN)
    if status != 200:
        raise SourceError(f"{host}: the login answers {status}", "200", "try again later")


@lru_cache(maxsize=64)
def _root(metadata: str, product: str, dataset: str, attempts: int, base_delay: float) -> str:
    """Address of the folder of a dataset's original files."""
    page = f"{metadata}/{product}/{dataset}/dataset.stac.json"
    with _session(page, attempts, base_delay) as session:
        answer = session.get(page, timeout=transport.TIMEOUT)
    if answer.status_code == 404:
        raise SourceError(
            f"copernicusmarine: no dataset {dataset} of {product}",
            "a dataset with its version, NAME_YYYYMM",
            f"look for it at https://data.marine.copernicus.eu/product/{product}/files",
        )
    answer.raise_for_status()
    try:
        return str(answer.json()["assets"]["native"]["href"]).partition("?")[0].rstrip("/")
    except (KeyError, TypeError) as error:
        raise SourceError(f"{page}: no original files", "assets.native.href") from error


def _newest(root: str, path: str, attempts: int, base_delay: float) -> str:
    """Address of the last file, by name, that a pattern matches; the bucket is asked for a list."""
    parts = urlsplit(root)
    _, bucket, folder = parts.path.split("/", 2)
    store, pattern = f"{parts.scheme}://{parts.netloc}/{bucket}", f"{folder}/{path}"
    query = {"list-type": "2", "prefix": pattern.partition("*")[0]}
    with _session(store, attempts, base_delay) as session:
        answer = session.get(store, params=query, timeout=transport.TIMEOUT)
    answer.raise_for_status()
    try:
        found = ElementTree.fromstring(answer.content)
    except ElementTree.ParseError as error:
        raise SourceError(f"{store}: its list of files is no XML ({error})", "a list") from error
    if found.findtext("{*}IsTruncated") == "true":
        raise SourceError(f"{pattern}: too many files begin so", "a narrower path before the '*'")
    keys = sorted(key.text or "" for key in found.iterfind("{*}Contents/{*}Key"))
    matching = [key for key in keys if fnmatchcase(key, pattern)]
    if not matching:
        raise SourceError(f"{pattern}: no such file", f"one of {', '.join(keys[:5]) or 'any'}")
    return f"{store}/{quote(matching[-1])}"


def _session(home: str, attempts: int, base_delay: float) -> Session:
    """A session that tries again when a fault may pass."""
    session = Session(home)
    retry = Retry(
        total=attempts - 1,
        backoff_factor=base_delay / 2,
        backoff_max=transport.LONGEST_WAIT,
        status_forcelist=_PASSING,
        allowed_methods=None,
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session
