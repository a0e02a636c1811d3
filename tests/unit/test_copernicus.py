"""Copernicus Marine, as a local server with its faults: a file, or what to do."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from urllib.parse import parse_qs

import netCDF4
import numpy as np
import pytest
from tests.servers import Page, Server, http

from nunatak.errors import SourceError
from nunatak.ops.warp import warp
from nunatak.registry import READERS
from nunatak.source import File, Source
from nunatak.sources import marine, transport
from nunatak.sources.catalogue import load_sources, local_paths
from nunatak.sources.fetch import fetch
from nunatak.stages.download import fetched

DATA = bytes(range(256)) * 1024
USER, PASSWORD = "somebody", "pass-not-to-be-told"
AUTH = "/realms/MIS/protocol/openid-connect/token"
META = "/metadata/PRODUCT/DATASET_202411/dataset.stac.json"
FOLDER = "/bucket/native/PRODUCT/DATASET_202411/2012/01"
EXACT = File(url="copernicusmarine:PRODUCT/DATASET_202411/2012/01/sst_20120101.nc")
GUESSED = File(
    url="copernicusmarine:PRODUCT/DATASET_202411/2012/01/l4_20120101_*.nc", name="20120101.nc"
)


def listed(*names: str, more: bool = False, folder: str = FOLDER) -> Page:
    """What an object store answers when it is asked for a list."""
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    keys = (f"{folder.removeprefix('/bucket/')}/{name}" for name in names)
    found = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
    body = f"<IsTruncated>{str(more).lower()}</IsTruncated>{found}"
    return Page(f'<ListBucketResult xmlns="{space}">{body}</ListBucketResult>'.encode())


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """The service's three servers in one; its objects are those of another host than the login."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COPERNICUSMARINE_SERVICE_USERNAME", USER)
    monkeypatch.setenv("COPERNICUSMARINE_SERVICE_PASSWORD", PASSWORD)
    monkeypatch.setenv("COPERNICUSMARINE_CREDENTIALS_DIRECTORY", str(tmp_path / "home"))
    monkeypatch.setattr(transport, "TIMEOUT", 5.0)
    marine._log_in.cache_clear()
    marine._root.cache_clear()
    with http({}) as server:
        native = server.url("/bucket/native/PRODUCT/DATASET_202411", "localhost")
        server.pages |= {
            AUTH: Page(json.dumps({"access_token": "t"}).encode()),
            META: Page(json.dumps({"assets": {"native": {"href": native}}}).encode()),
            "/bucket": listed("l4_20120101_20180115.nc", "l4_20120101_20241017.nc"),
            f"{FOLDER}/sst_20120101.nc": Page(DATA),
            f"{FOLDER}/l4_20120101_20180115.nc": Page(DATA[::-1]),
            f"{FOLDER}/l4_20120101_20241017.nc": Page(DATA),
        }
        monkeypatch.setattr(marine, "AUTH", server.url(AUTH))
        monkeypatch.setattr(marine, "METADATA", server.url("/metadata"))
        yield server


@pytest.fixture
def get(tmp_path: Path) -> Callable[..., Path]:
    def get(file: File = EXACT, attempts: int = 3) -> Path:
        folder = tmp_path / "folder"
        return fetch(file, folder, data_root=tmp_path, attempts=attempts, base_delay=0.001)

    return get


def lying(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "folder").glob("*"))


def test_a_file_is_found_by_its_dataset_after_a_login(site: Server, get, tmp_path: Path) -> None:
    assert get().read_bytes() == DATA
    assert lying(tmp_path) == ["sst_20120101.nc"]
    form = parse_qs(site.asked[0].body.decode())
    assert (site.asked[0].method, form["client_id"]) == ("POST", ["toolbox"])
    assert (form["username"], form["password"]) == ([USER], [PASSWORD])


def test_of_a_pattern_the_file_produced_last_is_taken(site: Server, get, tmp_path: Path) -> None:
    assert get(GUESSED).read_bytes() == DATA
    assert lying(tmp_path) == ["20120101.nc"]
    query = next(a.path for a in site.asked if a.path.startswith("/bucket?"))
    prefix = "native/PRODUCT/DATASET_202411/2012/01/l4_20120101_"
    assert parse_qs(query.partition("?")[2])["prefix"] == [prefix]


def test_one_login_serves_all_days_and_new_days_alone_are_fetched(
    site: Server, tmp_path: Path
) -> None:
    def days(last: int) -> Source:
        file = {
            "url": "copernicusmarine:PRODUCT/DATASET_202411/{date:%Y/%m}/sst_{date:%Y%m%d}.nc",
            "days": [date(2012, 1, 1), date(2012, 1, last)],
        }
        kind = {"reader": {"op": "netcdf"}, "variables": {}, "crs": "EPSG:4326"}
        return Source.model_validate({"title": "t", "licence": "l", "files": [file], **kind})

    for day in (2, 3):
        site.pages[f"{FOLDER}/sst_2012010{day}.nc"] = Page(DATA)
    fetched(days(2), "sst", tmp_path / "folder", data_root=tmp_path)
    before = len(site.asked)
    found = fetched(days(3), "sst", tmp_path / "folder", data_root=tmp_path)
    assert [a.path for a in site.asked[before:]] == [f"{FOLDER}/sst_20120103.nc"]
    assert [f["name"] for f in found["files"]] == [f"sst_2012010{d}.nc" for d in (1, 2, 3)]
    assert [a.path for a in site.asked].count(AUTH) == 1


def test_the_password_goes_to_the_login_alone_and_is_told_to_nobody(
    site: Server, get, capfd: pytest.CaptureFixture[str]
) -> None:
    get(GUESSED)
    for asked in site.asked[1:]:
        text = asked.path + str(asked.headers) + asked.body.decode()
        assert USER not in text
        assert PASSWORD not in text
        assert "authorization" not in asked.headers
    assert PASSWORD not in "".join(capfd.readouterr())


def test_the_password_follows_no_redirect(site: Server, get) -> None:
    away = site.url("/elsewhere", "localhost")
    site.pages[AUTH] = Page(status=307, headers={"Location": away})
    with pytest.raises(SourceError, match="login answers 307"):
        get()
    assert [a.path for a in site.asked] == [AUTH]


def test_the_password_never_goes_openly(site: Server, get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marine, "AUTH", "http://auth.example.org/token")
    with pytest.raises(SourceError, match="openly"):
        get()
    assert site.asked == []


def test_without_a_login_it_is_said_how_to_have_one(
    site: Server, get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COPERNICUSMARINE_SERVICE_PASSWORD")
    with pytest.raises(SourceError, match="no login") as caught:
        get()
    assert ".copernicusmarine-credentials" in caught.value.expected
    assert "register" in caught.value.do
    assert site.asked == []


def test_the_toolbox_s_own_file_of_credentials_serves(
    site: Server, get, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("COPERNICUSMARINE_SERVICE_USERNAME")
    folder = tmp_path / "home" / ".copernicusmarine"
    folder.mkdir(parents=True)
    path = folder / ".copernicusmarine-credentials"
    text = "[credentials]\nusername = other\npassword = p%w:=1\n"
    path.write_bytes(base64.b64encode(text.encode()))
    get()
    form = parse_qs(site.asked[0].body.decode())
    assert (form["username"], form["password"]) == (["other"], ["p%w:=1"])
    secret = base64.b64encode(f"[credentials\npassword = {PASSWORD}".encode())
    for broken in (secret, b"\xff", b"===", base64.b64encode(b"[credentials]\nusername = a")):
        path.write_bytes(broken)
        with pytest.raises(SourceError, match="cannot be read") as caught:
            marine.locate(EXACT.url, attempts=1, base_delay=0.001)
        assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, b'{"error": "invalid_grant"}'), (401, b'{"error": "invalid_grant"}')],
)
def test_a_refused_login_is_said_to_be_and_tells_no_password(
    site: Server, get, tmp_path: Path, status: int, body: bytes
) -> None:
    site.pages[AUTH] = Page(body, status=status)
    with pytest.raises(SourceError, match=f"no such user and password .*{status}") as caught:
        get()
    assert "register" in caught.value.do
    assert PASSWORD not in str(caught.value)
    assert lying(tmp_path) == []


def test_a_dataset_that_is_not_there_is_said_to_be(site: Server, get) -> None:
    del site.pages[META]
    with pytest.raises(SourceError, match="no dataset DATASET_202411 of PRODUCT") as caught:
        get()
    assert "product/PRODUCT/files" in caught.value.do


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"assets": {"native": null}}'])
def test_a_dataset_without_original_files_is_said_to_be(site: Server, get, body: bytes) -> None:
    site.pages[META] = Page(body)
    with pytest.raises(SourceError, match="no original files"):
        get()


def test_a_pattern_that_matches_nothing_or_too_much_is_refused(site: Server, get) -> None:
    site.pages["/bucket"] = listed("l4_20120101_20180115.nc.md5")
    with pytest.raises(SourceError, match="no such file") as caught:
        get(GUESSED)
    assert "20180115.nc.md5" in caught.value.expected
    site.pages["/bucket"] = listed("l4_20120101_20180115.nc", more=True)
    with pytest.raises(SourceError, match="too many"):
        get(GUESSED)
    site.pages["/bucket"] = Page(b"<html><p>Not a list")
    with pytest.raises(SourceError, match="no XML"):
        get(GUESSED)


def test_a_file_that_is_not_there_is_said_to_be(site: Server, get) -> None:
    with pytest.raises(SourceError, match=r"sst_20120109\.nc.*404"):
        get(File(url="copernicusmarine:PRODUCT/DATASET_202411/2012/01/sst_20120109.nc"))


@pytest.mark.parametrize("path", [AUTH, META, "/bucket"])
def test_faults_that_pass_are_retried_and_a_break_is_told(site: Server, get, path: str) -> None:
    site.pages[path].faults = [("status", 503), ("status", 429)]
    assert get(GUESSED).read_bytes() == DATA
    site.pages[path].faults = [("break", 3)]
    marine._log_in.cache_clear()
    marine._root.cache_clear()
    with pytest.raises(SourceError, match="IncompleteRead") as caught:
        marine.locate(GUESSED.url, attempts=1, base_delay=0.001)
    assert "later" in caught.value.do


def test_a_login_that_stays_down_says_to_try_later(site: Server, get) -> None:
    site.pages[AUTH].status = 503
    with pytest.raises(SourceError, match="503") as caught:
        get()
    assert "later" in caught.value.do
    assert [a.path for a in site.asked] == [AUTH] * 3


def test_a_service_that_is_not_there_is_said_to_be(
    site: Server, get, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http({}) as other:
        monkeypatch.setattr(marine, "METADATA", other.url("/metadata"))
    with pytest.raises(SourceError, match=r"refused.*3 attempts"):
        get()


def test_a_broken_download_is_resumed(site: Server, get, tmp_path: Path) -> None:
    site.pages[f"{FOLDER}/sst_20120101.nc"].faults = [("break", 100_000)]
    with pytest.raises(SourceError, match="resumed"):
        get(attempts=1)
    assert get().read_bytes() == DATA
    assert "range" in site.asked[-1].headers
    assert lying(tmp_path) == ["sst_20120101.nc"]


@pytest.mark.parametrize("url", ["copernicusmarine:PRODUCT/x.nc", "copernicusmarine:A//x.nc"])
def test_a_url_that_is_not_all_there_is_refused(site: Server, get, url: str) -> None:
    with pytest.raises(SourceError, match="PRODUCT/DATASET/PATH"):
        get(File(url=url))


def analysis(name: str, size: int, value: float, packing: tuple[float, float]) -> bytes:
    """29 February 2012 as the providers pack it, from the south; 0 degrees east is missing."""
    file = netCDF4.Dataset("day", "w", memory=1024)
    for axis, unit, begin, count in (
        ("lat", "degrees_north", -90, size),
        ("lon", "degrees_east", -180, 2 * size),
    ):
        file.createDimension(axis, count)
        line = file.createVariable(axis, "f4", (axis,))
        line.units, line[:] = unit, begin + (np.arange(count) + 0.5) * 180 / size
    file.createDimension("time", 1)
    time = file.createVariable("time", "i4", ("time",))
    time.units, time[:] = "days since 2012-02-01", 28
    field = file.createVariable(name, "i2", ("time", "lat", "lon"), fill_value=-32768, zlib=True)
    field.scale_factor, field.add_offset = packing
    field[0] = np.full((size, 2 * size), value)
    field[0, :, size] = np.ma.masked
    return bytes(file.close())


@pytest.mark.parametrize(
    ("key", "variable", "name", "size", "value", "packing", "missing"),
    [
        ("ostia", "sst", "analysed_sst", 3600, 290.0, (0.01, 273.15), 0),
        ("duacs", "adt", "adt", 1440, 0.5, (0.0001, 0.0), 1),  # Agulhas begins west of 0 degrees
    ],
)
def test_an_entry_of_the_catalogue_is_fetched_by_day_and_read(
    site: Server,
    root: Path,
    tmp_path: Path,
    key: str,
    variable: str,
    name: str,
    size: int,
    value: float,
    packing: tuple[float, float],
    missing: int,
) -> None:
    entry = load_sources(root / "config" / "sources.yaml")[key]
    source = entry.model_copy(update={"files": entry.files[59:60]})
    product, dataset, path = entry.files[59].url.partition(":")[2].split("/", 2)
    folder = f"/bucket/native/{product}/{dataset}"
    href = {"assets": {"native": {"href": site.url(folder)}}}
    site.pages[f"/metadata/{product}/{dataset}/dataset.stac.json"] = Page(json.dumps(href).encode())
    found = path.replace("*", "20241017")
    site.pages["/bucket"] = listed(found, folder=folder)
    site.pages[f"{folder}/{found}"] = Page(analysis(name, size, value, packing))
    fetched(source, key, tmp_path / "got", data_root=tmp_path)
    local = local_paths(source, key, tmp_path / "got", tmp_path)[0]
    album = READERS.call(source.reader.op, source.reader.args, local, source)
    place, scene = next(iter(album.scenes().items()))
    assert scene.date == date(2012, 2, 29)
    field = warp(album.raster(place, scene), variable, scene.geobox, "nearest")
    assert np.nanmax(abs(field - value)) < 1e-3
    assert np.isnan(field).all(axis=0).sum() == missing
