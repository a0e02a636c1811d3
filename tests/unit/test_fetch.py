"""Fetching over servers that misbehave: what arrives is whole, or nothing is there."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.servers import Page, Server, ftp, http

from nunatak.errors import SourceError
from nunatak.source import File, Source
from nunatak.sources import disk, earthdata, transport
from nunatak.sources.fetch import digest_folder, fetch, sha256
from nunatak.sources.places import SYNTHETIC, place
from nunatak.stages.download import fetched

DATA = bytes(range(256)) * 4096
SHA = hashlib.sha256(DATA).hexdigest()
BREAK = 600_000


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, proxies or patience of the machine reach a test."""
    for name in ("EARTHDATA_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setattr(transport, "TIMEOUT", 0.5)


@pytest.fixture
def site() -> Iterator[Server]:
    with http({"/data.bin": Page(DATA)}) as server:
        yield server


@pytest.fixture
def get(tmp_path: Path) -> Callable[..., Path]:
    def get(file: File, attempts: int = 3, auth: str = "none") -> Path:
        folder, root = tmp_path / "folder", tmp_path / "root"
        return fetch(file, folder, data_root=root, auth=auth, attempts=attempts, base_delay=0.001)

    return get


def lying(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.glob("*")) if folder.exists() else []


def test_a_whole_file_arrives_and_is_not_asked_for_again(site: Server, get, tmp_path: Path) -> None:
    file = File(url=site.url("/data.bin"), sha256=SHA, bytes=len(DATA))
    assert get(file).read_bytes() == DATA
    assert get(file) == tmp_path / "folder" / "data.bin"
    assert len(site.asked) == 1
    assert lying(tmp_path / "folder") == ["data.bin"]


def test_a_file_on_disk_that_is_not_the_one_is_fetched_anew(site: Server, get) -> None:
    file = File(url=site.url("/data.bin"), sha256=SHA)
    path = get(file)
    path.write_bytes(DATA[:-1] + b"x")
    assert get(file).read_bytes() == DATA


def test_a_break_is_resumed_from_where_it_was_and_ends_with_the_same_bytes(
    site: Server, get
) -> None:
    site.pages["/data.bin"].faults = [("break", BREAK), ("break", 200_000)]
    assert get(File(url=site.url("/data.bin"))).read_bytes() == DATA
    starts = [int(a.headers["range"][6:-1]) for a in site.asked[1:]]
    assert 0 < starts[0] <= BREAK
    assert starts[0] < starts[1] <= BREAK + 200_000
    assert [a.headers["if-range"] for a in site.asked[1:]] == ['"v1"', '"v1"']


def test_a_later_run_resumes_what_an_earlier_one_left(site: Server, get, tmp_path: Path) -> None:
    site.pages["/data.bin"].faults = [("break", BREAK)]
    file = File(url=site.url("/data.bin"), sha256=SHA)
    with pytest.raises(SourceError, match=r"resumed"):
        get(file, attempts=1)
    assert lying(tmp_path / "folder") == ["data.bin.part", "data.bin.part.from"]
    assert get(file).read_bytes() == DATA
    assert "range" in site.asked[-1].headers


def test_a_killed_download_leaves_no_file_and_is_resumed(site: Server, get, tmp_path: Path) -> None:
    site.pages["/data.bin"].faults = [("stall", BREAK)]
    url, folder = site.url("/data.bin"), tmp_path / "folder"
    program = (
        "from pathlib import Path; from nunatak.source import File; "
        "from nunatak.sources.fetch import fetch; "
        f"fetch(File(url={url!r}), Path({str(folder)!r}), data_root=Path())"
    )
    child = subprocess.Popen([sys.executable, "-c", program])
    part = folder / "data.bin.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert not (folder / "data.bin").exists()
    assert get(File(url=url)).read_bytes() == DATA
    assert "range" in site.asked[-1].headers
    assert lying(folder) == ["data.bin"]


def test_a_part_that_is_already_whole_is_taken(site: Server, get, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "data.bin.part").write_bytes(DATA)
    (folder / "data.bin.part.from").write_text(f'{site.url("/data.bin")}\n"v1"')
    assert get(File(url=site.url("/data.bin"))).read_bytes() == DATA


def test_a_file_that_changed_meanwhile_is_not_joined_to_the_old_part(site: Server, get) -> None:
    page = site.pages["/data.bin"]
    page.faults = [("break", BREAK)]
    file = File(url=site.url("/data.bin"))
    with pytest.raises(SourceError):
        get(file, attempts=1)
    page.body, page.etag = DATA[::-1], '"v2"'
    assert get(file).read_bytes() == DATA[::-1]


@pytest.mark.parametrize("known", [SHA, None])
def test_without_a_version_a_part_is_resumed_only_if_a_checksum_will_tell(
    site: Server, get, known: str | None
) -> None:
    page = site.pages["/data.bin"]
    page.etag, page.faults = "", [("break", BREAK)]
    assert get(File(url=site.url("/data.bin"), sha256=known)).read_bytes() == DATA
    assert ("range" in site.asked[1].headers) == (known is not None)


def test_a_server_that_ignores_range_is_read_from_the_start(site: Server, get) -> None:
    page = site.pages["/data.bin"]
    page.ranges, page.faults = False, [("break", BREAK)]
    assert get(File(url=site.url("/data.bin"), sha256=SHA)).read_bytes() == DATA
    assert "range" in site.asked[1].headers


def test_the_wrong_range_is_never_appended(site: Server, get) -> None:
    site.pages["/data.bin"].faults = [("break", BREAK), ("range", 5)]
    assert get(File(url=site.url("/data.bin"))).read_bytes() == DATA


@pytest.mark.parametrize("status", [500, 503, 429])
def test_faults_that_pass_are_retried(site: Server, get, status: int) -> None:
    site.pages["/data.bin"].faults = [("status", status)] * 2
    assert get(File(url=site.url("/data.bin"), sha256=SHA)).read_bytes() == DATA
    assert len(site.asked) == 3


def test_the_wait_doubles_and_respects_what_the_server_asks(
    site: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(transport.time, "sleep", waits.append)
    page = site.pages["/data.bin"]
    page.faults = [("status", 503)] * 3
    fetch(File(url=site.url("/data.bin")), tmp_path / "a", data_root=tmp_path, base_delay=0.5)
    page.faults, page.headers = [("status", 429)], {"Retry-After": "7"}
    fetch(File(url=site.url("/data.bin")), tmp_path / "b", data_root=tmp_path, base_delay=0.5)
    assert waits == [0.5, 1.0, 2.0, 7.0]


def test_a_silent_server_is_tried_again(site: Server, get) -> None:
    site.pages["/data.bin"].faults = [("slow", 1.5)]
    assert get(File(url=site.url("/data.bin"), sha256=SHA)).read_bytes() == DATA
    assert len(site.asked) == 2


def test_retries_end(site: Server, get, tmp_path: Path) -> None:
    site.pages["/data.bin"].status = 503
    with pytest.raises(SourceError, match=r"503.*3 attempts"):
        get(File(url=site.url("/data.bin")))
    assert len(site.asked) == 3
    assert lying(tmp_path / "folder") == []


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Page(status=404), "404"),
        (Page(status=403), "403"),
        (Page(status=401), "401"),
        (Page(b""), "0 bytes"),
        (Page(b"", chunked=True), "0 bytes"),
        (Page(DATA, headers={"Content-Type": "text/html; charset=utf-8"}), "web page"),
        (Page(b"\xef\xbb\xbf\n <!DOCTYPE HTML><p>Log in"), "web page"),
        (Page(b"<html>Log in", chunked=True), "web page"),
        (Page(DATA[:-1]), f"{len(DATA) - 1} bytes"),
        (Page(DATA + b"x", chunked=True), f"{len(DATA) + 1} bytes"),
    ],
)
def test_what_is_not_the_file_is_refused_and_leaves_nothing(
    site: Server, get, tmp_path: Path, page: Page, said: str
) -> None:
    site.pages["/data.bin"] = page
    with pytest.raises(SourceError) as caught:
        get(File(url=site.url("/data.bin"), bytes=len(DATA)))
    assert said in caught.value.what
    assert caught.value.expected
    assert caught.value.do
    assert len(site.asked) == 1
    assert lying(tmp_path / "folder") == []


def test_a_page_is_data_where_a_page_is_expected(site: Server, get) -> None:
    body = b"<html>a table of stations</html>"
    site.pages["/table.html"] = Page(body, headers={"Content-Type": "text/html"})
    assert get(File(url=site.url("/table.html"))).read_bytes() == body


def test_a_body_shorter_than_announced_never_gets_the_name(
    site: Server, get, tmp_path: Path
) -> None:
    site.pages["/data.bin"].length = len(DATA) + 7
    with pytest.raises(SourceError, match="3 attempts"):
        get(File(url=site.url("/data.bin")))
    assert "data.bin" not in lying(tmp_path / "folder")


def test_a_wrong_checksum_names_both_and_leaves_nothing(site: Server, get, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        get(File(url=site.url("/data.bin"), sha256="0" * 64))
    assert SHA in caught.value.what
    assert "0" * 64 in caught.value.expected
    assert lying(tmp_path / "folder") == []


def test_after_a_wrong_checksum_the_next_mirror_is_tried(site: Server, get, tmp_path: Path) -> None:
    site.pages["/bad/data.bin"] = Page(DATA[::-1])
    mirrors = (site.url("/gone.bin"), site.url("/data.bin"))
    file = File(url=site.url("/bad/data.bin"), mirrors=mirrors, sha256=SHA)
    assert get(file).read_bytes() == DATA
    assert [a.path for a in site.asked] == ["/bad/data.bin", "/gone.bin", "/data.bin"]
    assert lying(tmp_path / "folder") == ["data.bin"]


def test_when_every_mirror_fails_each_is_named(site: Server, get) -> None:
    file = File(url=site.url("/a.bin"), mirrors=(site.url("/b.bin"), "gopher://x/y.bin"))
    with pytest.raises(SourceError, match=r"(?s)/a\.bin.*404.*/b\.bin.*404.*gopher"):
        get(file)


def test_a_server_that_is_not_there_is_said_to_be(get) -> None:
    with http({}) as server:
        port = server.port
    for scheme in ("http", "ftp"):
        with pytest.raises(SourceError, match=r"refused.*3 attempts"):
            get(File(url=f"{scheme}://127.0.0.1:{port}/data.bin"))


def test_a_folder_that_cannot_be_made_is_said_clearly(site: Server, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SourceError, match="taken"):
        fetch(File(url=site.url("/data.bin")), tmp_path / "taken" / "x", data_root=tmp_path)


def test_the_token_goes_to_the_host_that_is_asked(
    site: Server, get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    monkeypatch.setattr(earthdata, "trusted", lambda url: True)
    get(File(url=site.url("/data.bin")), auth="earthdata")
    assert site.asked[0].headers["authorization"] == "Bearer secret"


def test_the_token_never_goes_along_to_another_host_or_back(
    site: Server, get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    monkeypatch.setattr(earthdata, "trusted", lambda url: True)
    other = {"Location": site.url("/away", host="localhost")}
    site.pages["/first.bin"] = Page(status=302, headers=other)
    site.pages["/away"] = Page(status=302, headers={"Location": site.url("/data.bin")})
    assert get(File(url=site.url("/first.bin")), auth="earthdata").read_bytes() == DATA
    given = [a.headers.get("authorization") for a in site.asked]
    assert given == ["Bearer secret", None, None]


@pytest.mark.parametrize("auth", ["none", "earthdata"])
def test_strangers_and_open_sources_get_no_credentials(
    site: Server, get, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, auth: str
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\ndefault login c")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    monkeypatch.setattr(earthdata, "trusted", earthdata.trusted if auth != "none" else lambda u: 1)
    get(File(url=site.url("/data.bin")), auth=auth)
    assert "authorization" not in site.asked[0].headers


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://data.nsidc.earthdatacloud.nasa.gov/x", True),
        ("https://urs.earthdata.nasa.gov/oauth", True),
        ("https://nasa.gov/", True),
        ("http://urs.earthdata.nasa.gov/oauth", False),
        ("https://urs.earthdata.nasa.gov.evil.org/", False),
        ("https://evilnasa.gov/", False),
        ("https://evil.org/?x=.nasa.gov", False),
        ("https://urs.earthdata.nasa.gov@evil.org/", False),
        ("file:x", False),
    ],
)
def test_only_encrypted_addresses_of_nasa_are_trusted(url: str, expected: bool) -> None:
    assert earthdata.trusted(url) is expected


def test_the_login_of_netrc_goes_to_the_login_page_alone(
    site: Server, get, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine localhost login me password pw\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(earthdata, "trusted", lambda url: True)
    login = {"Location": site.url("/login", host="localhost")}
    back = {"Location": site.url("/data.bin"), "Set-Cookie": "session=1"}
    site.pages["/first.bin"] = Page(status=302, headers=login)
    site.pages["/login"] = Page(status=302, headers=back)
    assert get(File(url=site.url("/first.bin")), auth="earthdata").read_bytes() == DATA
    given = [a.headers.get("authorization", "")[:5] for a in site.asked]
    assert given == ["", "Basic", ""]


@pytest.mark.parametrize("page", [Page(status=401), Page(status=403), Page(b"<html>Log in")])
def test_a_refused_login_says_how_to_log_in(site: Server, get, page: Page) -> None:
    site.pages["/data.bin"] = page
    with pytest.raises(SourceError) as caught:
        get(File(url=site.url("/data.bin")), auth="earthdata")
    for word in ("EARTHDATA_TOKEN", ".netrc", "licence"):
        assert word in caught.value.do


def test_a_login_that_goes_round_in_circles_says_how_to_log_in(site: Server, get) -> None:
    site.pages["/data.bin"] = Page(status=302, headers={"Location": site.url("/data.bin")})
    with pytest.raises(SourceError) as caught:
        get(File(url=site.url("/data.bin")), auth="earthdata")
    assert "EARTHDATA_TOKEN" in caught.value.do


def test_a_broken_netrc_is_said_to_be_broken(
    site: Server, get, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("nonsense\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(SourceError, match="netrc cannot be read"):
        get(File(url=site.url("/data.bin")), auth="earthdata")


@pytest.mark.parametrize("lies", [False, True])
def test_ftp_resumes_a_break_whatever_the_server_says(get, tmp_path: Path, lies: bool) -> None:
    root = tmp_path / "ftp" / "pub"
    root.mkdir(parents=True)
    (root / "data.bin").write_bytes(DATA)
    with ftp(tmp_path / "ftp", breaks=1, lies=lies) as site:
        file = File(url=site.url("/pub/data.bin"), sha256=SHA, bytes=len(DATA))
        assert get(file).read_bytes() == DATA
        assert len(site.restarts) == 1
        assert 0 < site.restarts[0] < len(DATA)
        with pytest.raises(SourceError, match="550"):
            get(File(url=site.url("/pub/none.bin")))
    assert lying(tmp_path / "folder") == ["data.bin"]


def test_ftp_does_not_join_a_changed_file_to_the_old_part(get, tmp_path: Path) -> None:
    (tmp_path / "ftp").mkdir()
    served = tmp_path / "ftp" / "data.bin"
    served.write_bytes(DATA)
    with ftp(tmp_path / "ftp", breaks=1) as site:
        file = File(url=site.url("/data.bin"))
        with pytest.raises(SourceError, match="1 attempts"):
            get(file, attempts=1)
        served.write_bytes(DATA[::-1])
        os.utime(served, (1, 1))
        assert get(file).read_bytes() == DATA[::-1]
        assert site.restarts == []


def test_a_file_larger_than_the_free_disk_is_refused_before_a_byte_is_written(
    site: Server, get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(disk, "disk_usage", lambda folder: Usage)
    file = File(url=site.url("/data.bin"), mirrors=(site.url("/mirror.bin"),))
    with pytest.raises(disk.DiskFullError, match="1000 bytes free") as caught:
        get(file)
    assert "free some disk" in caught.value.do
    assert len(site.asked) == 1
    assert lying(tmp_path / "folder") == []


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no permission to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_leaves_no_file(site: Server, tiny: Path) -> None:
    site.pages["/data.bin"].chunked = True
    with pytest.raises(disk.DiskFullError, match="No space left"):
        fetch(File(url=site.url("/data.bin")), tiny, data_root=tiny)
    assert "data.bin" not in lying(tiny)


@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_or_quota_is_told_from_a_broken_connection(
    site: Server, get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    def full(handle: int) -> None:
        raise OSError(kind, os.strerror(kind))

    monkeypatch.setattr(transport.os, "fsync", full)
    with pytest.raises(disk.DiskFullError, match="no room"):
        get(File(url=site.url("/data.bin")))
    assert len(site.asked) == 1
    assert "data.bin" not in lying(tmp_path / "folder")


def packed(kind: str, members: dict[str, bytes]) -> bytes:
    """An archive of some members."""
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, body in members.items():
                archive.writestr(name, body)
    else:
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name, body in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(body)
                archive.addfile(info, io.BytesIO(body))
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("member", ["deep/data.bin", "data.bin"])
def test_a_member_is_taken_out_and_checked(
    site: Server, get, tmp_path: Path, kind: str, member: str
) -> None:
    body = packed(kind, {"./readme": b"x", "deep/data.bin": DATA})
    site.pages[f"/a.{kind}"] = Page(body)
    file = File(url=site.url(f"/a.{kind}"), member=member, sha256=SHA, bytes=len(DATA))
    assert get(file).read_bytes() == DATA
    assert lying(tmp_path / "folder") == [f"a.{kind}", "data.bin"]
    assert get(File(url=file.url, member="readme")).read_bytes() == b"x"
    assert len(site.asked) == 1


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_a_member_that_leaves_the_folder_is_refused(
    site: Server, get, tmp_path: Path, kind: str, name: str
) -> None:
    site.pages[f"/a.{kind}"] = Page(packed(kind, {name: b"evil"}))
    for member in {name, name.split("/")[-1]}:
        with pytest.raises(SourceError, match="leaves the folder"):
            get(File(url=site.url(f"/a.{kind}"), member=member))
    assert lying(tmp_path / "folder") == []
    assert "evil" not in lying(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_tar_member_that_is_no_regular_file_is_refused(
    site: Server, get, tmp_path: Path, kind: bytes
) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("data.bin")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    site.pages["/a.tar"] = Page(stream.getvalue())
    with pytest.raises(SourceError, match="is a link"):
        get(File(url=site.url("/a.tar"), member="data.bin"))
    assert lying(tmp_path / "folder") == []


def test_a_zip_member_that_is_a_link_is_refused(site: Server, get) -> None:
    info = zipfile.ZipInfo("data.bin")
    info.external_attr = 0o120777 << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    site.pages["/a.zip"] = Page(stream.getvalue())
    with pytest.raises(SourceError, match="is a link"):
        get(File(url=site.url("/a.zip"), member="data.bin"))


def test_a_member_that_unpacks_beyond_the_disk_is_refused(
    site: Server, get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1 << 20

    monkeypatch.setattr(disk, "disk_usage", lambda folder: Usage)
    site.pages["/bomb.zip"] = Page(packed("zip", {"data.bin": bytes(4 << 20)}))
    with pytest.raises(disk.DiskFullError, match="4194304 bytes to write"):
        get(File(url=site.url("/bomb.zip"), member="data.bin"))
    assert "data.bin" not in lying(tmp_path / "folder")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_damaged_or_false_archive_is_refused_and_not_kept(
    site: Server, get, tmp_path: Path, kind: str
) -> None:
    whole = packed(kind, {"data.bin": os.urandom(100_000)})
    flipped = bytearray(whole)
    flipped[50_000] ^= 1
    for body in (bytes(flipped), b"not an archive at all", whole[:60_000]):
        site.pages[f"/a.{kind}"] = Page(body)
        with pytest.raises(SourceError, match=f"a.{kind}"):
            get(File(url=site.url(f"/a.{kind}"), member="data.bin"))
        assert lying(tmp_path / "folder") == []


def test_a_missing_member_is_answered_with_those_there_are(site: Server, get) -> None:
    site.pages["/a.zip"] = Page(packed("zip", {"data.bin": b"x", "b/n": b"", "c/n": b""}))
    for member in ("date.bin", "n"):
        with pytest.raises(SourceError, match=r"b/n, c/n, data\.bin"):
            get(File(url=site.url("/a.zip"), member=member))


def test_a_local_file_is_checked_and_used_in_place(get, tmp_path: Path) -> None:
    path = tmp_path / "root" / "a b" / "data.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    for url in ("file:a%20b/data.bin", "file:a b/data.bin", f"file://{path}", f"file:{path}"):
        assert get(File(url=url, sha256=SHA, bytes=len(DATA))) == path
    assert lying(tmp_path / "folder") == []
    for wrong in ({"sha256": "0" * 64}, {"bytes": 3}):
        with pytest.raises(SourceError):
            get(File(url="file:a%20b/data.bin", **wrong))
    assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    "url", ["file:../x.nc", "file:a/../../x.nc", "file:", "http://h/", "file:no"]
)
def test_urls_that_name_no_file_are_refused(get, url: str) -> None:
    with pytest.raises(SourceError):
        get(File(url=url))


@given(name=st.text(st.sampled_from("ab./\\\\:%2Fe~ \0"), max_size=12), member=st.booleans())
def test_nothing_is_ever_placed_outside_its_folder(name: str, member: bool) -> None:
    url, inner = ("http://h/a.zip", name) if member else (f"http://h/{name}", None)
    try:
        path = place(File(url=url, member=inner), Path("folder"), Path("root"))
    except SourceError:
        return
    assert path.parent == Path("folder")
    assert path.name not in ("", ".", "..")


def test_a_member_of_a_local_archive_is_taken_out(get, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.zip").write_bytes(packed("zip", {"data.bin": DATA}))
    path = get(File(url="file:a.zip", member="data.bin", sha256=SHA))
    assert path == tmp_path / "folder" / "data.bin"
    assert path.read_bytes() == DATA
    with pytest.raises(SourceError, match=r"there is no .*b\.zip"):
        get(File(url="file:b.zip", member="other.bin"))


def test_a_folder_is_digested_by_names_and_contents(get, tmp_path: Path) -> None:
    store = tmp_path / "root" / "a.zarr"
    (store / "c" / "0").mkdir(parents=True)
    (store / "zarr.json").write_text("{}")
    (store / "c" / "0" / "1").write_bytes(DATA)
    assert get(File(url="file:a.zarr")) == store
    first, size = digest_folder(store)
    assert size == len(DATA) + 2
    os.utime(store / "zarr.json", (1, 1))
    assert digest_folder(store) == (first, size)
    (store / "c" / "0" / "1").rename(store / "c" / "0" / "2")
    assert digest_folder(store)[0] != first
    with pytest.raises(SourceError, match="is a folder"):
        get(File(url="file:a.zarr", sha256=SHA))


def test_a_synthetic_source_needs_no_file(get) -> None:
    assert get(File(url="synthetic://world")) == SYNTHETIC


def source(*files: File) -> Source:
    """A source of some files."""
    checked = {"title": "t", "variables": {}, "crs": "EPSG:3031", "licence": "CC0-1.0"}
    reader = {"op": "synthetic"}
    return Source(**checked, files=files, reader=reader)  # type: ignore[arg-type]


def test_the_manifest_is_of_the_content_alone(site: Server, tmp_path: Path) -> None:
    site.pages["/a.zip"] = Page(packed("zip", {"x": b"xx", "y": b"y"}))
    store = tmp_path / "data" / "s.zarr"
    store.mkdir(parents=True)
    (store / "zarr.json").write_text("{}")
    files = (
        File(url=site.url("/data.bin"), sha256=SHA),
        File(url=site.url("/a.zip"), member="x"),
        File(url=site.url("/a.zip"), member="y"),
        File(url="file:s.zarr"),
        File(url="synthetic://world"),
    )
    one = fetched(source(*files), "key", tmp_path / "1", data_root=tmp_path / "data")
    two = fetched(source(*files), "key", tmp_path / "2", data_root=tmp_path / "data")
    assert one == two
    assert one == {
        "source": "key",
        "files": [
            {"name": "data.bin", "bytes": len(DATA), "sha256": SHA},
            {"name": "x", "bytes": 2, "sha256": hashlib.sha256(b"xx").hexdigest()},
            {"name": "y", "bytes": 1, "sha256": hashlib.sha256(b"y").hexdigest()},
            {"name": "s.zarr", "bytes": 2, "blake3": digest_folder(store)[0]},
        ],
    }
    assert lying(tmp_path / "1") == ["data.bin", "x", "y"]
    assert sha256(tmp_path / "1" / "x") == one["files"][1]["sha256"]


def test_a_bar_is_shown_to_a_person_and_nothing_to_a_log(
    site: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        folder = tmp_path / type(stream).__name__
        fetch(File(url=site.url("/data.bin")), folder, data_root=tmp_path)
        assert ("data.bin" in stream.getvalue()) == stream.isatty()
        assert stream.isatty() or stream.getvalue() == ""
