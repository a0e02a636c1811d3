"""status: what the next run makes and why, and what may follow from that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nunatak import settle
from nunatak.commands.tree import product, which
from nunatak.recipe import Recipe
from nunatak.tracking.reconcile import Finding
from nunatak.tracking.steps import STAGES

_LINES = 10


@dataclass(frozen=True)
class Status:
    """What must run, and what may.

    Parameters
    ----------
    steps
        How many steps each stage has.
    findings
        Those that are not done, or that read of such.
    """

    steps: Mapping[str, int]
    findings: list[Finding]

    def lines(self) -> Iterator[str]:
        """In words, block by block as far as that is short."""
        if not self.findings:
            yield f"everything is done: {sum(self.steps.values())} steps"
            return
        for stage in self.steps:
            yield from _few(_told(f for f in self.findings if f.step.stage == stage and f.reason))
        follow = [f for f in self.findings if not f.reason]
        if follow:
            yield "then may follow, where what these make comes out different:"
        for stage in self.steps:
            yield from _few(_told(f for f in follow if f.step.stage == stage), "  ")

    def table(self) -> Iterator[tuple[str, int, int, int, int]]:
        """Of each stage: its name, its steps, and how many are done, must run and may follow."""
        must = Counter(f.step.stage for f in self.findings if f.reason)
        may = Counter(f.step.stage for f in self.findings if not f.reason)
        for stage, count in self.steps.items():
            done = count - must[stage] - may[stage]
            yield stage, count, done, must[stage], may[stage]


def status(recipes: Mapping[str, Recipe], root: Path, data: Path) -> Status:
    """Find out what the next run would do; nothing is computed or changed.

    Parameters
    ----------
    recipes
        The configured recipes by name.
    root
        The results root.
    data
        The folder that ``file:`` URLs are relative to.
    """
    paths = {step.path: step.stage for step in settle.steps(recipes.values())}
    counts = Counter(paths.values())
    steps = {stage: counts[stage] for stage in STAGES if counts[stage]}
    return Status(steps, settle.look(recipes, root, data))


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


def _few(lines: list[str], indent: str = "") -> Iterator[str]:
    yield from (f"{indent}{line}" for line in lines[:_LINES])
    if len(lines) > _LINES:
        yield f"{indent}and {len(lines) - _LINES} more of this stage"
