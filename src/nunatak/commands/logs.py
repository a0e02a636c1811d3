"""What the logs of steps tell of their last jobs: which run, and which ended without a result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nunatak.commands.tree import product, which
from nunatak.life import SILENT, alive
from nunatak.tracking.steps import Step

RUNNING, FAILED, KILLED, STOPPED = "running", "failed", "killed", "stopped"
STATES = (RUNNING, FAILED, KILLED, STOPPED)
_ON = re.compile(
    r"^on (?P<host>[^,\s]+)(, SLURM job (?P<slurm>\d+))?.*, process (?P<process>\d+),"
    r" since (?P<since>\S+)$",
    re.MULTILINE,
)
_END = re.compile(r"^(?P<word>used|failed after|stopped after) .* MiB$", re.MULTILINE)
_KEPT = re.compile(r"^kept ", re.MULTILINE)
TIME, LOST = "%Y-%m-%d %H:%M:%S", "ended without a word"
_WORDS = {"failed after": FAILED, "stopped after": STOPPED}
_HEAD, _TAIL = 1 << 12, 1 << 16
_LINES, _WIDTH = 6, 300


@dataclass(frozen=True)
class Job:
    """The last job of a step, which has not made it.

    Parameters
    ----------
    step
        The step.
    log
        Its log.
    state
        ``running``, ``failed``, ``killed`` or ``stopped``.
    host, slurm
        Where it runs or ran, and SLURM's number of it; empty if it is not known.
    since
        When it began; None if it did not get so far.
    last
        When it last gave a sign of life.
    said
        The last lines that it wrote.
    """

    step: Step
    log: Path
    state: str
    host: str
    slurm: str
    since: datetime | None
    last: datetime
    said: tuple[str, ...]

    @property
    def where(self) -> str:
        """Host and SLURM's number, as far as they are known."""
        return ", ".join(
            word for word in (self.host, self.slurm and f"SLURM job {self.slurm}") if word
        )


def jobs(steps: Iterable[Step], root: Path, *, at_work: bool) -> Iterator[Job]:
    """The last jobs of steps that are not done, as far as they run or ended without a result.

    Parameters
    ----------
    steps
        Steps that are not done.
    root
        The results root.
    at_work
        Whether a run works on the tree: then a job that has said nothing may just have begun.
    """
    for step in steps:
        log = root / "logs" / f"{step.name}.log"
        try:
            text, last = _text(log), log.stat().st_mtime
        except FileNotFoundError:
            continue
        if found := judged(step, log, text, last, at_work=at_work):
            yield found


def judged(step: Step, log: Path, text: str, last: float, *, at_work: bool) -> Job | None:
    """What a log tells; None if its job ended well.

    Parameters
    ----------
    step, log
        Of which step it is, and where it lies.
    text
        What it holds, or its begin and end.
    last
        When it was last written or touched, in seconds since 1970.
    at_work
        As in `jobs`.
    """
    begun = _ON.search(text)
    end = next(reversed([*_END.finditer(text)]), None)
    if _KEPT.search(text) or (end and end["word"] == "used"):
        return None
    moment = datetime.fromtimestamp(last).astimezone()
    since = datetime.fromisoformat(begun["since"]).astimezone() if begun else None
    if end:
        state, said = _WORDS[end["word"]], text[end.end() :]
    elif begun and since:
        lives = alive(begun["host"], int(begun["process"]), since, last)
        state, said = RUNNING if lives else KILLED, text[begun.end() :]
    else:
        fresh = at_work and datetime.now().timestamp() - last < SILENT
        state, said = RUNNING if fresh else FAILED if text.strip() else KILLED, text
    where = (begun["host"], begun["slurm"] or "") if begun else ("", "")
    # A training that was asked to stop says so before its last line.
    lines = _last(said) or _last(text[begun.end() : end.start()] if begun and end else "")
    return Job(step, log, state, *where, since, moment, lines)


def _text(log: Path) -> str:
    """A log, or the begin and the end of a long one."""
    with log.open("rb") as stream:
        raw = stream.read(_HEAD + _TAIL)
        if len(raw) == _HEAD + _TAIL:
            size = log.stat().st_size
            stream.seek(max(_HEAD, size - _TAIL))
            raw = raw[:_HEAD] + b"\n" + stream.read()
    return raw.decode("utf-8", errors="replace")


def _last(text: str) -> tuple[str, ...]:
    lines = [line.rstrip()[:_WIDTH] for line in text.splitlines() if line.strip()]
    return tuple(lines[-_LINES:])


def groups(found: Iterable[Job]) -> Iterator[list[Job]]:
    """Jobs of one product that ended alike, the last of them first."""
    alike: dict[tuple[str, ...], list[Job]] = {}
    for job in found:
        said = re.sub(r"\d+", "0", "\n".join(job.said)) if job.state == FAILED else ""
        alike.setdefault((product(job.step), job.state, said), []).append(job)
    for each in alike.values():
        yield sorted(each, key=lambda job: job.last, reverse=True)


def lines(group: list[Job]) -> Iterator[str]:
    """A group in words: what and how; then of its last job where, when, its log and its end."""
    job = group[0]
    blocks = [each.step.names["block"] for each in group if "block" in each.step.names]
    how = f"{LOST}, killed?" if job.state == KILLED else job.state
    yield f"{product(job.step)}{f' {which(blocks)}' if blocks else ''}: {how}"
    block = f"block {job.step.names['block']}" if len(blocks) > 1 else ""
    where = f"on {job.where}" if job.where else ""
    yield f"  {', '.join(filter(None, (block, where, _when(job))))}"
    yield f"  {job.log}"
    yield from (f"    {line}" for line in job.said)


def _when(job: Job) -> str:
    if job.state == RUNNING:
        return f"since {job.since:{TIME}}" if job.since else "no word yet"
    return f"{'last sign of life' if job.state == KILLED else 'at'} {job.last:{TIME}}"
