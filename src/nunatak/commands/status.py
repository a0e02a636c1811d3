"""status: how the last run stands, what the next one makes and why, and what may follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nunatak import settle
from nunatak.commands.logs import STATES, TIME, Job, groups, jobs, lines
from nunatak.commands.tree import product, which
from nunatak.dag import SOUGHT
from nunatak.recipe import Recipe
from nunatak.tracking.reconcile import Finding
from nunatak.tracking.steps import ASKED, STAGES

_LINES = 10


@dataclass(frozen=True)
class Status:
    """How the last run stands, what must run, and what may.

    Parameters
    ----------
    steps
        How many steps each stage has.
    findings
        Those that are not done, or that read of such.
    run
        The last run in words; empty if there is none.
    jobs
        Jobs that run, or that ended and did not make their step.
    """

    steps: Mapping[str, int]
    findings: list[Finding]
    run: str = ""
    jobs: Sequence[Job] = ()

    def last(self) -> Iterator[str]:
        """The last run and its jobs in words, those that run first."""
        if self.run:
            yield self.run
        told = list(groups(sorted(self.jobs, key=lambda job: STATES.index(job.state))))
        for group in told[:_LINES]:
            yield from lines(group)
        if len(told) > _LINES:
            yield f"and {sum(map(len, told[_LINES:]))} more jobs"

    def lines(self) -> Iterator[str]:
        """What must and may run in words, block by block as far as that is short."""
        found = [f for f in self.findings if f.step.stage not in (*SOUGHT, *ASKED)]
        if not found:
            count = sum(n for stage, n in self.steps.items() if stage not in (*SOUGHT, *ASKED))
            yield f"everything is done: {count} steps"
        for stage in self.steps:
            yield from _few(_told(f for f in found if f.step.stage == stage and f.reason))
        follow = [f for f in found if not f.reason]
        if follow:
            yield "then may follow, where what these make comes out different:"
        for stage in self.steps:
            yield from _few(_told(f for f in follow if f.step.stage == stage), "  ")
        asked = [f for f in self.findings if f.step.stage in ASKED]
        if asked:
            yield "when asked for by name:"
            yield from _few(_told(asked), "  ")
        sought = [f for f in self.findings if f.step.stage in SOUGHT]
        if sought:
            yield "when asked, by `snakemake tune`:"
            yield from _few(_counted(sought), "  ")

    def table(self) -> Iterator[tuple[str, int, int, int, int]]:
        """Of each stage: its name, its steps, and how many are done, must run and may follow."""
        must = Counter(f.step.stage for f in self.findings if f.reason)
        may = Counter(f.step.stage for f in self.findings if not f.reason)
        for stage, count in self.steps.items():
            done = count - must[stage] - may[stage]
            yield stage, count, done, must[stage], may[stage]


def status(recipes: Mapping[str, Recipe], root: Path, data: Path) -> Status:
    """Find out how the last run stands and what the next would do; nothing is changed.

    Parameters
    ----------
    recipes
        The configured recipes by name.
    root
        The results root.
    data
        The folder that ``file:`` URLs are relative to.
    """
    paths = {step.path: step.stage for step in settle.steps(recipes.values(), root)}
    counts = Counter(paths.values())
    steps = {stage: counts[stage] for stage in STAGES if counts[stage]}
    findings, run = settle.look(recipes, root, data), settle.Run.last(root)
    at_work = run is not None and run.lives(root)
    open_ = (finding.step for finding in findings)
    told = _run(run, at_work=at_work) if run else ""
    return Status(steps, findings, told, [*jobs(open_, root, at_work=at_work)])


def _run(run: settle.Run, *, at_work: bool) -> str:
    since = datetime.fromisoformat(run.since).astimezone()
    named = f"run of {since:{TIME}} on {run.host}"
    if at_work:
        return f"{named}: at work, process {run.process}"
    if not run.until:
        return f"{named}: broken off; its jobs may go on"
    until = datetime.fromisoformat(run.until).astimezone()
    return f"{named}: ended {'well' if run.well else 'with failed jobs'} at {until:%H:%M:%S}"


def _told(findings: Iterable[Finding]) -> list[str]:
    """One line for each product and reason, the blocks that share it together."""
    groups: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        blocks = groups.setdefault((product(finding.step), finding.reason), [])
        blocks += [finding.step.names["block"]] if "block" in finding.step.names else []
    return [
        f"{name}{f' {which(blocks)}' if blocks else ''}{f': {reason}' if reason else ''}"
        for (name, reason), blocks in groups.items()
    ]


def _counted(findings: Iterable[Finding]) -> list[str]:
    """Steps of searches by method and reason: how many of each."""
    found = Counter(
        (f.step.run, f.step.stage, f.step.names["method"], f.reason or "may follow")
        for f in findings
    )
    return [f"{run}/{s}/{m}: {n}, {reason}" for (run, s, m, reason), n in found.items()]


def _few(lines: list[str], indent: str = "") -> Iterator[str]:
    yield from (f"{indent}{line}" for line in lines[:_LINES])
    if len(lines) > _LINES:
        yield f"{indent}and {len(lines) - _LINES} more of this stage"
