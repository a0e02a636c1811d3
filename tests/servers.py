"""Real servers on 127.0.0.1 that misbehave as servers of data do."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.servers import FTPServer


@dataclass
class Page:
    """What a server has at a path, and its faults; each fault in ``faults`` is met once.

    A fault is ``("status", 503)``, ``("break", 1000)`` (the connection closes after that many
    bytes), ``("stall", 1000)`` (the same, but it stays open for seconds), ``("slow", 2.0)``
    (seconds of silence before the answer), or ``("range", 5)`` (the answer to a range starts that
    many bytes too late). Before it answers so, ``turns`` are given, one a request.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    faults: list[tuple[str, Any]] = field(default_factory=list)
    ranges: bool = True
    length: int | None = None
    chunked: bool = False
    etag: str = '"v1"'
    turns: list[Page] = field(default_factory=list)


@dataclass
class Asked:
    """One request as the server saw it."""

    path: str
    headers: dict[str, str]
    method: str = "GET"
    body: bytes = b""


@dataclass
class Server:
    """A running HTTP server: its pages may be changed, its requests looked at."""

    port: int
    pages: dict[str, Page]
    asked: list[Asked]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The address of a page; ``localhost`` is another host than ``127.0.0.1``."""
        return f"http://{host}:{self.port}{path}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.close_connection = True
        headers = {key.lower(): value for key, value in self.headers.items()}
        given = self.rfile.read(int(headers.get("content-length", 0)))
        self.site.asked.append(Asked(self.path, headers, self.command, given))
        page = self.site.pages.get(self.path.partition("?")[0], Page(status=404))
        page = page.turns.pop(0) if page.turns else page
        fault, value = page.faults.pop(0) if page.faults else ("", 0)
        if fault == "slow":
            time.sleep(value)
        status = value if fault == "status" else page.status
        if status != 200:
            said = page.body if status == page.status else b""
            self._answer(status, page.headers | {"Content-Length": str(len(said))}, said)
            return
        start = self._start(page, headers)
        if start and start >= len(page.body):
            more = {"Content-Range": f"bytes */{len(page.body)}", "Content-Length": "0"}
            self._answer(416, more, b"")
            return
        begin = start + (value if fault == "range" else 0)
        body = page.body[begin:]
        more = page.headers | ({"ETag": page.etag} if page.etag else {})
        if start:
            end = len(page.body)
            more |= {"Content-Range": f"bytes {begin}-{end - 1}/{end}"}
        if not page.chunked:
            more |= {"Content-Length": str(page.length or len(body))}
        short = fault in ("break", "stall")
        self._answer(206 if start else 200, more, body[:value] if short else body)
        if fault == "stall":
            self.wfile.flush()
            time.sleep(5.0)

    do_POST = do_HEAD = do_GET  # noqa: N815

    def _start(self, page: Page, headers: dict[str, str]) -> int:
        given = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        same = headers.get("if-range", page.etag) == page.etag
        return int(given[1]) if given and page.ranges and same else 0

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        try:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except ConnectionError:
            pass


@contextmanager
def http(pages: dict[str, Page]) -> Iterator[Server]:
    """Serve pages over HTTP for as long as the block lasts."""
    handler = type("Handler", (_Handler,), {})
    daemon = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    daemon.daemon_threads = True
    site = Server(daemon.server_address[1], pages, [])
    handler.site = site  # type: ignore[attr-defined]
    thread = threading.Thread(target=daemon.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        daemon.shutdown()
        daemon.server_close()
        thread.join()


@dataclass
class FtpSite:
    """A running FTP server: how often it still breaks, and from where it was asked to resume."""

    port: int
    breaks: int
    lies: bool
    restarts: list[int]

    def url(self, path: str) -> str:
        """The address of a file."""
        return f"ftp://127.0.0.1:{self.port}{path}"


@contextmanager
def ftp(root: Path, *, breaks: int = 0, lies: bool = False) -> Iterator[FtpSite]:
    """Serve a folder over FTP, anonymously; the first ``breaks`` transfers break off half-way.

    The server says so, or with ``lies`` that the transfer is complete.
    """
    logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)
    site = FtpSite(0, breaks, lies, [])

    class Channel(DTPHandler):
        """A data channel that closes early while breaks are left."""

        def push_with_producer(self, producer: Any) -> None:
            if site.breaks > 0:
                site.breaks -= 1
                self.push(producer.file.read(1 << 14))
                if not site.lies:
                    self.close_when_done()  # once more than the server: it answers 426, not 226
                return
            super().push_with_producer(producer)

    class Handler(FTPHandler):
        """Notes where a transfer is asked to resume."""

        dtp_handler = Channel
        use_sendfile = False

        def ftp_REST(self, line: str) -> None:  # noqa: N802
            site.restarts.append(int(line))
            super().ftp_REST(line)

    Handler.authorizer = DummyAuthorizer()
    Handler.authorizer.add_anonymous(str(root))
    daemon = FTPServer(("127.0.0.1", 0), Handler)
    site.port = daemon.address[1]
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            daemon.ioloop.loop(timeout=0.02, blocking=False)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        stop.set()
        thread.join()
        daemon.close_all()
