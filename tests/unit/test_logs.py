"""What logs tell of jobs that run, failed, were stopped or killed: here, and on other hosts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from nunatak.commands import logs
from nunatak.commands.logs import FAILED, KILLED, RUNNING, STOPPED, Job, judged
from nunatak.life import SILENT, host, now
from nunatak.tracking.steps import Step

STEP = Step("infer", "small", {"method": "net", "member": "0", "block": "1_2"})
ON = "on {}, 4 cores, 2900 MB, 480 min, GPU 0,1, process {}, since {}\n"


def judge(text: str, *, ago: float = 0.0, at_work: bool = False) -> Job | None:
    return judged(STEP, Path("a.log"), text, time.time() - ago, at_work=at_work)


def state(text: str, *, ago: float = 0.0, at_work: bool = False) -> str | None:
    job = judge(text, ago=ago, at_work=at_work)
    return job and job.state


@contextmanager
def job(root: Path, code: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs some code as a job runs, with the log of the step."""
    log = root / "logs" / f"{STEP.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    text = f"import sys, time\nfrom nunatak.usage import used\nwith used():\n  {code}"
    with log.open("wb") as out, subprocess.Popen([sys.executable, "-c", text], stderr=out) as run:
        yield run


def look(root: Path) -> Job | None:
    found = list(logs.jobs([STEP], root, at_work=False))
    return found[0] if found else None


def until_running(root: Path, *said: str) -> Job:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = look(root)
        if found and found.state == RUNNING and (not said or found.said == said):
            return found
        time.sleep(0.02)
    raise AssertionError(found)


def test_a_job_that_runs_and_is_killed(tmp_path: Path) -> None:
    with job(tmp_path, "print('half', file=sys.stderr, flush=True); time.sleep(60)") as run:
        found = until_running(tmp_path, "half")
        assert found.host == host()
        assert found.since is not None
        run.send_signal(signal.SIGKILL)
        # It is a zombie as long as nobody asked for its end.
        while psutil.Process(run.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert getattr(look(tmp_path), "state", None) == KILLED
    found = look(tmp_path)
    assert found is not None
    assert (found.state, found.said) == (KILLED, ("half",))
    assert "ended without a word" in next(logs.lines([found]))


def test_jobs_that_end(tmp_path: Path) -> None:
    with job(tmp_path, "pass"):
        pass
    assert look(tmp_path) is None
    with job(tmp_path, "raise ValueError('the bed is not there')"):
        pass
    found = look(tmp_path)
    assert found is not None
    assert found.state == FAILED
    assert found.said[-1] == "ValueError: the bed is not there"
    with job(tmp_path, "print('after 8 samples', file=sys.stderr); sys.exit(75)"):
        pass
    found = look(tmp_path)
    assert found is not None
    assert (found.state, found.said) == (STOPPED, ("after 8 samples",))


def test_a_later_process_of_that_number_is_another_one() -> None:
    mine = ON.format(host(), os.getpid(), now())
    assert state(mine) == RUNNING
    assert state(ON.format(host(), os.getpid(), "2001-01-01T00:00:00+00:00")) == KILLED


def test_on_another_host_the_log_is_touched_while_a_job_lives() -> None:
    text = ON.format("elsewhere", os.getpid(), now())
    assert state(text, ago=SILENT / 2) == RUNNING
    assert state(text, ago=2 * SILENT) == KILLED


def test_a_job_touches_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import time, nunatak.life\nfrom nunatak.usage import used\nnunatak.life.BEAT = 0.01\n"
    command = [sys.executable, "-c", f"{code}with used(): time.sleep(60)"]
    with log.open("wb") as out, subprocess.Popen(command, stderr=out) as run:
        end = time.monotonic() + 30
        while not log.stat().st_size and time.monotonic() < end:
            time.sleep(0.01)
        os.utime(log, (0, 0))
        while not log.stat().st_mtime and time.monotonic() < end:
            time.sleep(0.01)
        run.kill()
    assert log.stat().st_mtime > 0


@pytest.mark.parametrize(
    ("text", "at_work", "found"),
    [
        ("", True, RUNNING),
        ("", False, KILLED),
        ("ModuleNotFoundError: No module named 'zarr'\n", False, FAILED),
        ("kept small/infer/net/0/1_2: nothing that it follows from changed\n", False, None),
        ("on n1\ncomputing a: b\nused 1.0 s, 0.5 s of a core, 9 MiB\ncomputed a\n", False, None),
    ],
)
def test_logs_without_a_begin(text: str, at_work: bool, found: str | None) -> None:
    assert state(text, at_work=at_work) == found


def test_slurm_is_told() -> None:
    line = (
        f"on n3, SLURM job 17, 1 cores, process 4, since {now()}\nfailed after 1.0 s, 9 MiB\nno\n"
    )
    found = judge(line)
    assert found is not None
    assert (found.host, found.slurm, found.said) == ("n3", "17", ("no",))
    assert [*logs.lines([found])][1].startswith("  on n3, SLURM job 17, at 20")


def test_of_a_long_log_the_begin_and_the_end_are_read(tmp_path: Path) -> None:
    log = tmp_path / "logs" / f"{STEP.name}.log"
    log.parent.mkdir(parents=True)
    begun = ON.format("elsewhere", 1, now())
    end = "failed after 1.0 s, 0.5 s of a core, 9 MiB\nerror: full\n"
    log.write_text(begun + "step\n" * 100_000 + end, encoding="utf-8")
    found = look(tmp_path)
    assert found is not None
    assert (found.host, found.state, found.said) == ("elsewhere", FAILED, ("error: full",))


def test_jobs_of_one_product_that_ended_alike_are_told_together() -> None:
    def failed(block: str, said: str) -> Job:
        step = Step("infer", "small", {**STEP.names, "block": block})
        text = f"{ON.format('n1', 1, now())}failed after 1 s, 9 MiB\n{said} {block}\n"
        found = judged(step, Path(f"{block}.log"), text, time.time(), at_work=False)
        assert found is not None
        return found

    jobs = [failed("0_0", "full"), failed("0_1", "full"), failed("1_0", "damaged")]
    one, other = logs.groups(jobs)
    assert [job.step.names["block"] for job in one + other] == ["0_1", "0_0", "1_0"]
    told = list(logs.lines(one))
    assert told[0] == "small/infer/net/0 blocks 0_0, 0_1: failed"
    assert told[1].startswith("  block 0_1, on n1, at 20")
    assert told[2:] == ["  0_1.log", "    full 0_1"]
