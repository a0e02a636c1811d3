"""A Python that is started once: jobs of a test's workflow are forks of it.

A job imports torch, zarr and the rest for seconds and then computes for a tenth of one. Here a
process imports these packages, none of ours, and forks for every ``python -m nunatak`` that the
rules call: same command line, folder, environment and output, and in the same process group, so
that a kill reaches it.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

PACKAGES = (
    *("numpy", "zarr", "pandas", "pyarrow.parquet", "rasterio.shutil", "odc.geo.geobox"),
    *("scipy.spatial", "torch", "lightning_fabric", "matplotlib.pyplot", "pydantic", "typer"),
    *("optuna", "filelock", "pint", "pooch", "pyproj", "yaml", "blake3", "rich.console", "netCDF4"),
)
CALL = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:3] != ["-m", "nunatak"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
line.connect({address!r})
call = {{"arguments": sys.argv[3:], "folder": os.getcwd(), "environment": dict(os.environ)}}
told = json.dumps({{**call, "group": os.getpgrp()}}).encode()
socket.send_fds(line, [told], [1, 2])
sys.exit((line.recv(1) or b"\\x89")[0])
"""


def serve(address: str) -> None:
    """Fork for every call that comes in, until the process is ended or its parent is gone."""
    parent = os.getppid()
    for name in PACKAGES:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(64)
    listener.settimeout(5)
    print("ready", flush=True)
    while os.getppid() == parent:
        try:
            line, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listener.close()
            _answer(line)
        line.close()


def _answer(line: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    told, outputs, *_ = socket.recv_fds(line, 1 << 20, 2)
    call = json.loads(told)
    os.setpgid(0, call["group"])
    for number, output in enumerate(outputs, start=1):
        os.dup2(output, number)
    code = _run(call)
    sys.stdout.flush()
    sys.stderr.flush()
    line.send(bytes([code]))
    os._exit(code)


def _run(call: dict[str, Any]) -> int:
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.path[:0] = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    sys.argv = ["nunatak", *call["arguments"]]
    try:
        runpy.run_module("nunatak", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


@contextmanager
def python(folder: Path) -> Iterator[Path]:
    """A folder, to be the first of PATH, whose ``python`` calls a Python that is already up."""
    address, call = folder / "line", folder / "bin" / "python"
    call.parent.mkdir(parents=True)
    call.write_text(CALL.format(python=sys.executable, address=str(address)), encoding="utf-8")
    call.chmod(0o755)
    command = [sys.executable, __file__, str(address)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        try:
            yield call.parent
        finally:
            server.kill()


if __name__ == "__main__":
    serve(sys.argv[1])
