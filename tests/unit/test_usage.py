"""The lines of a log that tell where a job ran and what it used."""

from __future__ import annotations

import re

import pytest

from nunatak.usage import given, used


def test_what_slurm_gave_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SLURMD_NODENAME": "n3",
        "SLURM_JOB_ID": "17",
        "SLURM_CPUS_PER_TASK": "4",
        "NUNATAK_ASKED": "2900 MB, 480 minutes",
        "CUDA_VISIBLE_DEVICES": "0,1",
    }.items():
        monkeypatch.setenv(name, value)
    assert [*given()] == ["n3", "SLURM job 17", "4 cores", "2900 MB, 480 minutes", "GPU 0,1"]


def test_without_slurm_there_are_a_host_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURMD_NODENAME", "SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "NUNATAK_ASKED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    host, cores = given()
    assert host
    assert re.fullmatch(r"\d+ cores", cores)


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
