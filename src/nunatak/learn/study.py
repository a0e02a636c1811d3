"""A study of trials in a journal that processes share, each of which has a trial of its own.

A job's trial is known by the job's number, so that a job which is run again goes on with it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.pruners import HyperbandPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from nunatak.method import Method
from nunatak.search import Choices, Range, ends

JOB = "job"
# Trials that are drawn at random before the sampler models what they gave.
STARTUP = 5


class _Lock(JournalFileOpenLock):
    """A lock that also cuts off the line which a writer that was killed has left unfinished."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def acquire(self) -> bool:
        """Wait for the lock, then mend the end of the file."""
        held = super().acquire()
        with self._path.open("r+b") as journal:
            end = whole = journal.seek(0, os.SEEK_END)
            while whole:
                journal.seek(whole - 1)
                if journal.read(1) == b"\n":
                    break
                whole -= 1
            if whole < end:
                journal.truncate(whole)
        return held


def storage(journal: Path) -> JournalStorage:
    """The studies in a journal, which is made if it is not there.

    The lock is a file that is there or not, which holds on network file systems without `flock`
    too; one that a killed process left is removed after half a minute.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(journal), lock_obj=_Lock(journal)))


def distributions(method: Method) -> dict[str, BaseDistribution]:
    """What a method's search draws from, by dotted path."""
    assert method.search is not None
    given = sorted(method.search.space.items())
    return {path: _of(space, ends(method, path, space)) for path, space in given}


def _of(space: Range | Choices, values: tuple[Any, ...]) -> BaseDistribution:
    if isinstance(space, Choices):
        return CategoricalDistribution(values)
    kind = IntDistribution if isinstance(values[0], int) else FloatDistribution
    return kind(values[0], values[1], log=space.log)


def _draw(trial: Trial, path: str, given: BaseDistribution) -> None:
    """Draw a value for a trial; one that it has, stays."""
    if isinstance(given, CategoricalDistribution):
        trial.suggest_categorical(path, given.choices)
    elif isinstance(given, IntDistribution):
        trial.suggest_int(path, given.low, given.high, log=given.log)
    elif isinstance(given, FloatDistribution):
        trial.suggest_float(path, given.low, given.high, log=given.log)


@dataclass(frozen=True)
class Study:
    """A study, as one job sees it.

    Parameters
    ----------
    journal
        The file of the journal; other studies may be in it.
    name
        Tells the study: what its trials follow from.
    space
        What is drawn, by dotted path.
    seed
        Of what is random, together with the number of a job.
    least, most
        Samples before the first validation, and of a whole training: a trial may be given up after
        so many, three times as many, and so on.
    """

    journal: Path
    name: str
    space: Mapping[str, BaseDistribution]
    seed: int
    least: int
    most: int

    def begin(self, job: int) -> Attempt:
        """The trial of a job: the one that it began before, or a new one with values drawn for it.

        Trials are drawn one at a time, each in view of all others, finished or not.
        """
        with FileLock(self.journal.with_suffix(".turn")):
            shared = storage(self.journal)
            study = self._open(shared, job)
            mine = [
                t.number for t in study.get_trials(deepcopy=False) if t.user_attrs.get(JOB) == job
            ]
            known = shared.get_study_id_from_name(self.name)
            if mine:
                number = shared.get_trial_id_from_study_id_trial_number(known, mine[0])
            else:
                # With its job from the start: killed at any moment, it is found again.
                new = create_trial(state=TrialState.RUNNING, user_attrs={JOB: job})
                number = shared.create_new_trial(known, new)
            attempt = Attempt(Trial(study, number))
            if not attempt.over:
                for path, distribution in self.space.items():
                    _draw(attempt.trial, path, distribution)
            return attempt

    def _open(self, shared: JournalStorage, job: int) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = int(np.random.SeedSequence([self.seed, job]).generate_state(1)[0])
        return optuna.create_study(
            storage=shared,
            study_name=self.name,
            load_if_exists=True,
            sampler=TPESampler(n_startup_trials=STARTUP, constant_liar=True, seed=seed),
            pruner=HyperbandPruner(min_resource=self.least, max_resource=self.most),
        )


@dataclass(frozen=True)
class Attempt:
    """The trial of a job.

    Parameters
    ----------
    trial
        The study's.
    """

    trial: Trial

    @property
    def record(self) -> FrozenTrial:
        """What the journal has of it."""
        study = self.trial.study
        return study.get_trials(deepcopy=False)[self.trial.number]

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.record.state.is_finished()

    @property
    def values(self) -> dict[str, Any]:
        """What was drawn, by dotted path."""
        return dict(sorted(self.trial.params.items()))

    @property
    def curve(self) -> dict[int, float]:
        """Samples seen, and the score that was reported then; none that is not finite."""
        found = sorted(self.record.intermediate_values.items())
        return {step: value for step, value in found if math.isfinite(value)}

    @property
    def state(self) -> str:
        """``complete``, ``pruned`` or ``diverged``; ``running`` if it is not over."""
        diverged = len(self.curve) < len(self.record.intermediate_values)
        return "diverged" if diverged else self.record.state.name.lower()

    def report(self, samples: int, score: float) -> bool:
        """Note a score, the lower the better; tell whether to give up."""
        if samples not in self.curve:
            self.trial.report(score, samples)
        return self.trial.should_prune()

    def end(self, *, pruned: bool = False) -> None:
        """Note that it is over: its value is its best score, or its last if it was given up."""
        if pruned:
            self.trial.study.tell(self.trial, state=TrialState.PRUNED)
        else:
            self.trial.study.tell(self.trial, min(self.curve.values()))

    def diverge(self) -> None:
        """Note that it is over and led to nothing, so that trials keep away from its values."""
        self.trial.report(math.inf, max(self.curve, default=0) + 1)
        self.end(pruned=True)
