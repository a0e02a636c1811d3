"""The lines of a log that tell where a job ran and what it used."""

from __future__ import annotations

import re
import socket

import pytest

from nunatak.usage import given, used


def test_what_slurm_gave_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SLURMD_NODENAME": "n3",
        "SLURM_JOB_ID": "17",
        "NUNATAK_ASKED": "4 cores, 2900 MB, 480 min",
        "CUDA_VISIBLE_DEVICES": "0,1",
    }.items():
        monkeypatch.setenv(name, value)
    assert [*given()] == ["n3", "SLURM job 17", "4 cores, 2900 MB, 480 min", "GPU 0,1"]


def test_without_slurm_there_is_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURMD_NODENAME", "SLURM_JOB_ID", "NUNATAK_ASKED", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    assert [*given()] == [socket.gethostname()]


def test_what_was_used_is_told_of_a_job_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        bytearray(200 << 20)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), used():
        work()
    first, last = capfd.readouterr().err.splitlines()
    assert first.startswith("on ")
    told = re.fullmatch(r"used ([\d.]+) s, ([\d.]+) s of a core, (\d+) MiB", last)
    assert told
    assert int(told[3]) >= 200
