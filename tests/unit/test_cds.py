"""The Climate Data Store, as a local server with its faults: a file, or what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import netCDF4
import numpy as np
import pytest
from ecmwf.datastores import processing
from tests.servers import Page, Server, http

from nunatak.errors import SourceError
from nunatak.ops.warp import warp
from nunatak.registry import READERS
from nunatak.source import File, Source
from nunatak.sources import transport
from nunatak.sources.catalogue import load_sources, local_paths
from nunatak.sources.fetch import fetch
from nunatak.stages.download import fetched

DATA = bytes(range(256)) * 1024
KEY = "11111111-not-to-be-told"
API = "/api/retrieve/v1"
RUN = f"{API}/processes/era5/execution"
JOB = f"{API}/jobs/j1"
RESULTS = f"{JOB}/results"
ASSET = "/cache/a1b2.nc"
FILE = File(url="cds:era5", name="sst_2012.nc", request={"variable": ["sst"], "date": "2012-01-01"})


def told(value: object, status: int = 200) -> Page:
    return Page(json.dumps(value).encode(), status=status)


def state(site: Server, status: str) -> Page:
    links = [{"rel": "self", "href": site.url(JOB)}, {"rel": "results", "href": site.url(RESULTS)}]
    return told({"jobID": "j1", "status": status, "links": links})


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited for, not waited for."""
    found: list[float] = []
    monkeypatch.setattr(processing.time, "sleep", found.append)
    return found


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A store that makes one file, which lies on another host than its API."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "CDSAPI_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transport, "TIMEOUT", 5.0)
    with http({}) as server:
        rc = tmp_path / "cdsapirc"
        rc.write_text(f"url: {server.url('/api')}\nkey: {KEY}\n")
        monkeypatch.setenv("CDSAPI_RC", str(rc))
        monitor = [{"rel": "monitor", "href": server.url(JOB)}]
        asset = {"value": {"href": server.url(ASSET, "localhost"), "file:size": len(DATA)}}
        server.pages |= {
            "/api/catalogue/v1/messages": told({"messages": []}),
            f"{API}/processes/era5": told({"id": "era5"}),
            RUN: told({"jobID": "j1", "status": "accepted", "links": monitor}, 201),
            JOB: state(server, "successful"),
            RESULTS: told({"asset": asset}),
            ASSET: Page(DATA),
        }
        yield server


@pytest.fixture
def get(tmp_path: Path) -> Callable[..., Path]:
    def get(file: File = FILE, attempts: int = 3) -> Path:
        folder = tmp_path / "folder"
        return fetch(file, folder, data_root=tmp_path, attempts=attempts, base_delay=0.001)

    return get


def lying(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "folder").glob("*"))


def asked(site: Server) -> list[dict[str, object]]:
    """What jobs were asked for."""
    return [json.loads(a.body)["inputs"] for a in site.asked if a.path == RUN]


def test_a_queued_job_is_waited_for_and_its_file_fetched(
    site: Server, get, tmp_path: Path, waits: list[float]
) -> None:
    site.pages[JOB].turns = [state(site, "accepted"), state(site, "running")]
    path = get()
    assert path.read_bytes() == DATA
    assert lying(tmp_path) == [path.name]
    assert asked(site) == [FILE.request]
    assert len(waits) == 2
    assert get() == path
    assert len(asked(site)) == 1


def test_the_key_goes_to_the_store_alone_and_is_told_to_nobody(
    site: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = Source.model_validate(
        {
            "title": "t",
            "files": [FILE],
            "reader": {"op": "netcdf"},
            "variables": {},
            "crs": "EPSG:4326",
            "licence": "l",
        }
    )
    manifest = fetched(source, "era5", tmp_path / "folder", data_root=tmp_path)
    given = {a.path.partition("?")[0]: a.headers.get("private-token") for a in site.asked}
    assert given.pop(ASSET) is None
    assert set(given.values()) == {KEY}
    assert KEY not in "".join(capfd.readouterr()) + str(manifest) + source.model_dump_json()


def test_the_key_follows_no_link_to_another_host(site: Server, get) -> None:
    away = [{"rel": "monitor", "href": site.url(JOB, "localhost")}]
    site.pages[RUN] = told({"jobID": "j1", "links": away}, 201)
    site.pages[JOB] = Page(status=307, headers={"Location": site.url(RESULTS, "localhost")})
    with pytest.raises(SourceError):
        get()
    hosts = {(a.headers["host"].split(":")[0], "private-token" in a.headers) for a in site.asked}
    assert hosts == {("127.0.0.1", True), ("localhost", False)}


@pytest.mark.parametrize("url", ["http://example.org/api", "ftp://example.org", "cds"])
def test_the_key_never_goes_openly(
    site: Server, get, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("CDSAPI_URL", url)
    with pytest.raises(SourceError, match="openly"):
        get()


def test_without_a_key_it_is_said_where_to_get_one(
    site: Server, get, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "none"))
    with pytest.raises(SourceError, match="no key") as caught:
        get()
    assert "CDSAPI_KEY" in caught.value.expected
    assert "how-to-api" in caught.value.do
    monkeypatch.setenv("CDSAPI_KEY", KEY)
    monkeypatch.setenv("CDSAPI_URL", site.url("/api"))
    assert get().read_bytes() == DATA


@pytest.mark.parametrize(
    ("status", "said", "do"),
    [
        (401, "Authentication required", "CDSAPI_KEY"),
        (403, "please visit https://x/#manage-licences", "accept the licence"),
        (400, "invalid combination of values", "correct dataset and request"),
        (422, "no such key", "correct dataset and request"),
    ],
)
def test_what_the_store_refuses_is_told_with_what_to_do(
    site: Server, get, tmp_path: Path, status: int, said: str, do: str
) -> None:
    site.pages[RUN] = told({"title": "refused", "detail": said}, status)
    with pytest.raises(SourceError) as caught:
        get()
    assert said in caught.value.what
    assert do in caught.value.do
    assert caught.value.expected
    assert lying(tmp_path) == []


def test_a_dataset_that_is_not_there_is_said_to_be(site: Server, get) -> None:
    with pytest.raises(SourceError, match="404") as caught:
        get(FILE.model_copy(update={"url": "cds:era6"}))
    assert "/datasets/era6" in caught.value.do


def test_a_failed_job_tells_why_and_is_asked_for_anew(site: Server, get) -> None:
    whole = site.pages[RESULTS]
    site.pages[JOB] = state(site, "failed")
    site.pages[RESULTS] = told({"title": "The job has failed", "traceback": "cost limits"}, 400)
    for count in (1, 2):
        with pytest.raises(SourceError, match=r"(?s)has failed.*cost limits"):
            get()
        assert len(asked(site)) == count
    site.pages[JOB].turns = [site.pages[JOB]]
    site.pages[JOB].turns += [state(site, "successful")] * 9
    site.pages[RESULTS].turns = [whole, whole]
    assert get().read_bytes() == DATA


def test_a_job_that_was_dismissed_is_said_to_be(site: Server, get) -> None:
    site.pages[JOB] = state(site, "dismissed")
    with pytest.raises(SourceError, match="dismissed"):
        get()


def test_what_was_killed_in_the_queue_goes_on_with_its_job(
    site: Server, get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(seconds: float) -> None:
        raise KeyboardInterrupt

    site.pages[JOB].turns = [state(site, "accepted")]
    with monkeypatch.context() as patch:
        patch.setattr(processing.time, "sleep", killed)
        with pytest.raises(KeyboardInterrupt):
            get()
    assert [name.rpartition(".")[2] for name in lying(tmp_path)] == ["job"]
    assert get().read_bytes() == DATA
    assert len(asked(site)) == 1
    assert len(lying(tmp_path)) == 1


def test_a_broken_download_is_resumed_from_the_same_job(site: Server, get, tmp_path: Path) -> None:
    site.pages[ASSET].faults = [("break", 100_000)]
    with pytest.raises(SourceError, match="resumed"):
        get(attempts=1)
    assert get().read_bytes() == DATA
    assert len(asked(site)) == 1
    assert "range" in site.asked[-1].headers
    assert len(lying(tmp_path)) == 1


@pytest.mark.parametrize("gone", [ASSET, RESULTS])
def test_a_result_that_is_no_longer_kept_is_asked_for_anew(
    site: Server, get, tmp_path: Path, gone: str
) -> None:
    site.pages[ASSET].faults = [("break", 100_000)]
    with pytest.raises(SourceError):
        get(attempts=1)
    site.pages[gone].turns = [told({"title": "not found"}, 404)]
    assert get().read_bytes() == DATA
    assert len(asked(site)) == 2


def test_faults_that_pass_are_retried_and_end(site: Server, get, waits: list[float]) -> None:
    site.pages[RUN].turns = [Page(status=503)] * 2
    assert get().read_bytes() == DATA
    assert waits == [0.001, 0.002]
    site.pages[RUN].status = 503
    with pytest.raises(SourceError, match="503") as caught:
        get(FILE.model_copy(update={"request": {"variable": ["u10"]}}))
    assert "later" in caught.value.do


def test_what_is_no_store_is_said_to_be_none(
    site: Server, get, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages[f"{API}/processes/era5"] = Page(b"<html>Welcome</html>")
    site.pages[RUN] = Page(b"<html>Welcome</html>")
    with pytest.raises(SourceError, match="answers as no data store does"):
        get()


def test_a_store_that_is_not_there_is_said_to_be(
    site: Server, get, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http({}) as other:
        monkeypatch.setenv("CDSAPI_URL", other.url("/api"))
    with pytest.raises(SourceError, match="refused"):
        get()


def test_another_request_is_another_file(site: Server, get) -> None:
    other = FILE.model_copy(update={"request": {"variable": ["sst"], "date": "2012-01-02"}})
    assert get(other) != get()
    assert len(asked(site)) == 2


def era5(day: str, kelvin: float) -> bytes:
    """A day around Korea as the store's converter writes it: from the north, land is NaN."""
    file = netCDF4.Dataset("era5", "w", memory=1024)
    lines = {"latitude": 60 - 0.25 * np.arange(201), "longitude": 100 + 0.25 * np.arange(201)}
    for name, values in lines.items():
        file.createDimension(name, len(values))
        axis = file.createVariable(name, "f8", (name,))
        axis.units, axis[:] = f"degrees_{'north' if name == 'latitude' else 'east'}", values
    file.createDimension("valid_time", 1)
    time = file.createVariable("valid_time", "i8", ("valid_time",))
    time.units, time[:] = f"seconds since {day}", 12 * 3600
    file.createVariable("number", "i8")[...] = 0
    file.createVariable("expver", str, ("valid_time",))[0] = "0001"
    dims = ("valid_time", "latitude", "longitude")
    sst = file.createVariable("sst", "f4", dims, fill_value=np.nan)
    sst.units, sst[:] = "K", kelvin
    sst[0, :, :100] = np.nan
    return bytes(file.close())


def test_the_entry_of_era5_is_fetched_by_day_and_read(
    site: Server, root: Path, tmp_path: Path
) -> None:
    entry = load_sources(root / "config" / "sources.yaml")["era5_sst"]
    source = entry.model_copy(update={"files": entry.files[58:60]})
    process = f"{API}/processes/reanalysis-era5-single-levels"
    site.pages[process] = told({"id": "reanalysis-era5-single-levels"})
    site.pages[f"{process}/execution"] = site.pages[RUN]
    site.pages[ASSET].turns = [
        Page(era5("2012-02-28", 280.0)),
        Page(era5("2012-02-29", 281.0)),
    ]
    fetched(source, "era5_sst", tmp_path / "got", data_root=tmp_path)
    posted = [json.loads(a.body)["inputs"]["date"] for a in site.asked if a.method == "POST"]
    assert posted == ["2012-02-28/2012-02-28", "2012-02-29/2012-02-29"]
    path = local_paths(source, "era5_sst", tmp_path / "got", tmp_path)[0]
    album = READERS.call(source.reader.op, source.reader.args, path, source)
    for (name, scene), kelvin in zip(album.scenes().items(), (280.0, 281.0), strict=True):
        field = warp(album.raster(name, scene), "sst", scene.geobox, "nearest")
        assert field.shape == (120, 120)
        assert np.isnan(field[:, :49]).all()
        assert (field[:, 51:] == kelvin).all()
