"""Files that the Climate Data Store makes on request, with the user's own key."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from ecmwf.datastores import Client
from ecmwf.datastores.processing import LinkError, ProcessingFailedError

from nunatak.errors import SourceError
from nunatak.sources import transport
from nunatak.sources.keys import Session, read

URL = "https://cds.climate.copernicus.eu/api"
LOGIN = (
    "copy url and key from https://cds.climate.copernicus.eu/how-to-api into ~/.cdsapirc, or set "
    "CDSAPI_KEY; a key of the old form NUMBER:KEY is no longer taken"
)
# A job that failed or is forgotten, and a file that is no longer kept.
_ENDED = (400, 404, 410)
_REMOVED = (403, 404, 410)


def locate(
    url: str, request: Mapping[str, Any], job: Path, *, attempts: int, base_delay: float
) -> str:
    """Have a file made, wait until it is there, and tell its address.

    Parameters
    ----------
    url
        ``cds:DATASET``.
    request
        What is asked for, as the dataset's page shows it under "API request".
    job
        Where the name of the job is kept while it is queued, runs or its file is fetched. A later
        call goes on from there; it asks anew if the job failed or its file is no longer kept.
    attempts, base_delay
        As of `nunatak.sources.fetch.fetch`.

    Returns
    -------
    str
        An address that needs no key.

    Raises
    ------
    SourceError
        If there is no key or the store refuses it, the licence is not accepted, the request is
        refused, the job fails, or the store cannot be reached.
    """
    dataset = urlsplit(url).path
    store, key = _access()
    with Session(store, "PRIVATE-TOKEN") as session, _explained(url, store, dataset):
        client = _client(store, key, session, attempts, base_delay)
        return _earlier(client, job) or _asked(client, dataset, request, job)


def _client(store: str, key: str, session: Session, attempts: int, base_delay: float) -> Client:
    with warnings.catch_warnings():
        # It asks for news first, and warns when there are none to be had.
        warnings.simplefilter("ignore", UserWarning)
        return Client(
            url=store,
            key=key,
            timeout=transport.TIMEOUT,
            retry_after=(base_delay, transport.LONGEST_WAIT, 2),  # type: ignore[arg-type]
            maximum_tries=attempts,
            session=session,
            log_callback=_say,
        )


def _asked(client: Client, dataset: str, request: Mapping[str, Any], job: Path) -> str:
    remote = client.submit(dataset, dict(request))
    job.parent.mkdir(parents=True, exist_ok=True)
    job.write_text(remote.request_id, encoding="utf-8")
    return remote.get_results().location


def _earlier(client: Client, job: Path) -> str:
    """Where the file of an earlier call's job is; nothing if there is none any more."""
    if not job.exists():
        return ""
    try:
        location = client.get_results(job.read_text(encoding="utf-8")).location
    except ProcessingFailedError:
        return ""
    except requests.HTTPError as error:
        if error.response.status_code in _ENDED:
            return ""
        raise
    answer = client.session.head(location, timeout=transport.TIMEOUT, allow_redirects=True)
    return "" if answer.status_code in _REMOVED else location


def _access() -> tuple[str, str]:
    """Address of the store and the key, where cdsapi looks for them."""
    path = Path(os.environ.get("CDSAPI_RC") or Path.home() / ".cdsapirc")
    pairs = (line.partition(":") for line in read(path, LOGIN).splitlines())
    given = {name.strip(): value.strip() for name, _, value in pairs}
    key = os.environ.get("CDSAPI_KEY") or given.get("key")
    if not key:
        raise SourceError(
            "no key of the Climate Data Store", f"CDSAPI_KEY, or key: in {path}", LOGIN
        )
    return (os.environ.get("CDSAPI_URL") or given.get("url") or URL).rstrip("/"), key


def _say(level: int, message: object, *_: object, **__: object) -> None:
    """What the store says of a job, for the log."""
    if level >= logging.INFO:
        print(message, file=sys.stderr, flush=True)


@contextmanager
def _explained(url: str, store: str, dataset: str) -> Iterator[None]:
    """Turn what goes wrong on the way or in the store into errors for the user."""
    page = f"{store.removesuffix('/api')}/datasets/{dataset}?tab=download"
    try:
        yield
    except ProcessingFailedError as error:
        raise SourceError(f"{url}: the job failed: {error}", "a file", _change(page)) from error
    except requests.HTTPError as error:
        hints = {401: LOGIN, 403: f"accept the licence at {page}#manage-licences, or: {LOGIN}"}
        status = error.response.status_code
        later = "try again later" if status >= 500 or status == 429 else _change(page)
        raise SourceError(f"{url}: {error}", "a file", hints.get(status, later)) from error
    except (requests.JSONDecodeError, LinkError, KeyError, AssertionError) as error:
        what = f"{url}: {store} answers as no data store does ({type(error).__name__})"
        raise SourceError(what, "its API, version 1", LOGIN) from error
    except requests.RequestException as error:
        raise SourceError(f"{url}: {error}", "an answer", "try again later") from error


def _change(page: str) -> str:
    return f"correct dataset and request: {page} shows one that can be had"
