"""What a job tells of where it ran and what it used: lines of its log, a record of its costs."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nunatak import costs
from nunatak.costs import Attempt
from nunatak.usage import Usage, given, used


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
    told = re.fullmatch(r"failed after ([\d.]+) s, ([\d.]+) s of a core, (\d+) MiB", last)
    assert told
    assert int(told[3]) >= 200


RECORD = """
import os, sys, time
from pathlib import Path
import nunatak.life
from nunatak.usage import used
nunatak.life.BEAT = 0.01
record = Path(sys.argv[1])
with used() as usage:
    usage.computing(record)
    {}
"""


def attempts(record: Path, code: str) -> list[Attempt]:
    """The record that a job leaves in a process of its own, which it adds to what is there."""
    subprocess.run([sys.executable, "-c", RECORD.format(code), str(record)], check=False)
    return costs.read(record)


def test_a_record_holds_what_it_took_until_a_step_was_made(tmp_path: Path) -> None:
    record = tmp_path / "a" / "b.costs"
    broken = attempts(record, "raise ValueError")
    assert [each.end for each in broken] == ["failed"]
    stopped = attempts(record, "sys.exit(75)")
    assert [each.end for each in stopped] == ["failed", "stopped"]
    busy = "while os.times().user < 0.5: pass"
    (*earlier, last) = attempts(record, busy)
    assert earlier == stopped
    assert last.end == "made"
    assert last.seconds >= last.core_seconds >= 0.5
    assert last.peak > 5
    # The next one starts anew, unless it keeps what the others made.
    (again,) = attempts(record, "pass")
    beat = "then = record.stat().st_ino\n    while record.stat().st_ino == then: pass"
    kept = attempts(record, f"{beat}\n    usage.keeps()")
    assert kept[:1] == [again]
    assert [each.end for each in kept] == ["made", "made"]


def test_of_a_killed_job_is_known_what_it_took_until_it_last_noted_it(tmp_path: Path) -> None:
    wait = "while not record.exists(): time.sleep(0.01)"
    kill = f"os.kill(os.getpid(), {int(signal.SIGKILL)})"
    (found,) = attempts(tmp_path / "a.costs", f"{wait}\n    {kill}")
    assert found.end == ""
    assert found.core_seconds > 0


def test_a_record_that_cannot_be_written_fails_no_job(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert attempts(tmp_path / "file" / "a.costs", "pass") == []
    with used() as usage:
        usage.computing(tmp_path / "file" / "a.costs")


def test_a_record_of_something_else_tells_nothing(tmp_path: Path) -> None:
    for text in ("", "{", "[1]", '[{"host": "a"}]'):
        (tmp_path / "a.costs").write_text(text, encoding="utf-8")
        assert costs.read(tmp_path / "a.costs") == []


@pytest.mark.parametrize(
    ("given", "used", "gpus"),
    [("0", False, 2), ("0,1", False, 4), ("", True, 0), (None, True, 8), (None, False, 0)],
)
def test_gpus_count_as_given_or_where_all_may_be_used_as_used(
    monkeypatch: pytest.MonkeyPatch, given: str | None, used: bool, gpus: int
) -> None:
    cuda = SimpleNamespace(is_initialized=lambda: used)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    found = Usage(processes=8, nodes=2).so_far()
    assert found.gpu_seconds == pytest.approx(gpus * found.seconds, rel=1e-2)


def test_workers_that_a_job_started_are_counted(tmp_path: Path) -> None:
    code = "import os\nlarge = bytearray(200 << 20)\nwhile os.times().user < 0.5: pass"
    call = f"import subprocess; subprocess.run([sys.executable, '-c', {code!r}])"
    (found,) = attempts(tmp_path / "a.costs", call)
    assert found.core_seconds >= 0.5
    assert found.peak >= 200


def test_a_training_counts_the_cores_of_all_its_processes() -> None:
    two, four = (Usage(processes=number).so_far().core_seconds for number in (2, 4))
    assert four == pytest.approx(2 * two, rel=0.05)
