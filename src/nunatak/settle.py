"""What Snakemake's main process does with a results tree before and while it schedules."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from nunatak import dag
from nunatak.config import values
from nunatak.life import alive, beating, host, now
from nunatak.provenance import write_json
from nunatak.recipe import Recipe
from nunatak.tracking.reconcile import Finding, hold, reconcile
from nunatak.tracking.steps import ASKED, STAGES, Step
from nunatak.tracking.tracker import OWN

_TRACE = ".provenance.trace"


@dataclass(frozen=True)
class Run:
    """The last run of a results tree that began to run jobs.

    Parameters
    ----------
    host, process, since
        Its Snakemake.
    until
        When it ended; empty if it has not, or not by itself.
    well
        Whether all its jobs ended well.
    """

    host: str
    process: int
    since: str
    until: str = ""
    well: bool = False

    @classmethod
    def last(cls, root: Path) -> Run | None:
        """The last one of a results tree; None if there is none that is known."""
        try:
            return cls(**json.loads(_record(root).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def lives(self, root: Path) -> bool:
        """Whether it works on its tree still."""
        beat, since = _record(root).stat().st_mtime, datetime.fromisoformat(self.since)
        return not self.until and alive(self.host, self.process, since, beat)


def _record(root: Path) -> Path:
    return root / OWN / "run.json"


def steps(recipes: Iterable[Recipe], root: Path) -> list[Step]:
    """Every step of some recipes, and those asked for by name, each after those that it reads."""
    found = [step for r in recipes for step in (*dag.steps(r), *asked(r, root))]
    return sorted(found, key=lambda step: STAGES.index(step.stage))


def asked(recipe: Recipe, root: Path) -> Iterator[Step]:
    """The steps of a recipe that were asked for by name, told by the traces that they left."""
    for stage in ASKED:
        for trace in sorted((root / recipe.name / stage).glob(f"*/*{_TRACE}")):
            method, scale = trace.parent.name, trace.name.removesuffix(_TRACE)
            if method in recipe.products:
                yield Step(stage, recipe.name, {"method": method, "scale": scale})


def look(recipes: Mapping[str, Recipe], root: Path, data: Path) -> list[Finding]:
    """Find out which steps must or may run, and change nothing."""
    raw = {name: values(recipe) for name, recipe in recipes.items()}
    return reconcile(raw, steps(recipes.values(), root), root, data=data, change=False)


class Settled:
    """A results tree whose manifests say what is done.

    If another run holds the tree, nothing is changed.

    Parameters
    ----------
    recipes
        The recipes by their names.
    root
        The results root.
    data
        The folder that ``file:`` URLs are relative to.
    identities
        What the environments of stages are made of, if they have environments of their own.
    """

    def __init__(
        self,
        recipes: Mapping[str, Recipe],
        root: Path,
        data: Path,
        identities: Mapping[str, str] | None = None,
    ) -> None:
        self.recipes, self.root = recipes, root
        self.data, self.identities = data, identities
        self.lock = hold(root)
        self._values = {name: values(recipe) for name, recipe in recipes.items()}
        self._steps = steps(recipes.values(), root)
        self._open = {finding.step.path for finding in self._reconcile(self.lock is not None)}
        self._run, self._beating = Run(host(), os.getpid(), now()), ExitStack()

    def begin(self) -> None:
        """Note for `nunatak status` that jobs are run from now on."""
        path = _record(self.root)
        write_json(path, asdict(self._run), sync=False)
        self._beating.enter_context(beating(lambda: os.utime(path)))

    def end(self, *, well: bool) -> None:
        """Note that the run is over, and whether all its jobs ended well."""
        self._beating.close()
        ended = {**asdict(self._run), "until": now(), "well": well}
        write_json(_record(self.root), ended, sync=False)

    def waits(self, stage: str) -> bool:
        """Whether jobs may wait for a gate of a stage."""
        return any(step.stage == stage and step.path in self._open for step in self._steps)

    def gates(self, recipe: Recipe, stage: str, names: Mapping[str, str]) -> Iterator[Step]:
        """The gates that a job waits for, because what they tell is not known yet."""
        for gate in dag.gates(recipe, stage, **names):
            if gate.path in self._open:
                yield gate

    def passed(self, gate: Step) -> None:
        """Settle the tree again after a gate: what it leaves as it is, needs no job."""
        if gate.path not in self._open or self.lock is None:
            return
        self._open.remove(gate.path)

        def waited(step: Step) -> bool:
            return gate in dag.gates(self.recipes[step.run], step.stage, **step.names)

        self._reconcile(True, waited)

    def _reconcile(
        self, change: bool, forget: Callable[[Step], bool] = lambda step: True
    ) -> list[Finding]:
        return reconcile(
            self._values,
            self._steps,
            self.root,
            data=self.data,
            identities=self.identities,
            change=change,
            forget=forget,
        )
