"""trial: one training of a search, with values drawn in view of all trials so far."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pandas as pd

from nunatak.errors import ConfigError, DivergedError
from nunatak.learn.loop import Stop, fit, over
from nunatak.learn.prepare import prepare
from nunatak.learn.spread import Spread
from nunatak.learn.study import Attempt, Study, distributions
from nunatak.learn.tasks import Supervised
from nunatak.method import Method, Train
from nunatak.products import Results
from nunatak.provenance import SHORT, digest_json, write_text
from nunatak.registry import TASKS

_log = logging.getLogger(__name__)
_CHECKPOINTS = ("last.pt", "best.pt", "loss.csv")


class _Trying(Stop):
    """Asks for an end, too, when the study gives a trial up.

    Parameters
    ----------
    attempt
        The trial.
    samples
        Of its whole training, whose end is none to give up at.
    after
        Seconds from now, if any.
    """

    def __init__(self, attempt: Attempt, samples: int, after: float | None) -> None:
        super().__init__(after)
        self.attempt, self.samples, self.pruned = attempt, samples, False

    def report(self, samples: int, score: float) -> None:
        """Note a validation."""
        self.pruned = self.attempt.report(samples, score) and samples < self.samples

    @property
    def due(self) -> bool:
        """Whether to end after the step at hand."""
        return self.pruned or super().due


def shortened(train: Train, samples: int | None) -> Train:
    """A training on fewer samples, with its warm-up and validations in proportion."""
    if samples is None:
        return train
    share = samples / train.samples
    every = max(1, round(train.validate_every * share))
    warmup = round(train.warmup * share)
    return train.changed({"samples": samples, "warmup": warmup, "validate_every": every})


def trial(
    results: Results,
    method: str,
    trial: int,
    *,
    key: str,
    stop_after: float | None = None,
    spread: Spread | None = None,
) -> dict[str, Any]:
    """Make one trial of a method's search, or go on with it; write curve.csv.

    Parameters
    ----------
    results
        The results tree of the recipe.
    method, trial
        Which search, and which of its trials.
    key
        What the search follows from: trials of another key, or on other tiles, are another study.
    stop_after
        Seconds after which to stop cleanly, as on SIGTERM and SIGUSR1.
    spread
        What of a batch is taken at once, and how often checkpoints are written; of one process.

    Returns
    -------
    dict
        The manifest: method, trial, state (complete, pruned or diverged), score (by what the task
        is judged), best of all validations (RMSE in the target's units), samples seen at the last,
        the values tried, and the study. Of a trial that was stopped, only method, trial, samples
        and ``unfinished``: it wants to be called again.

    Raises
    ------
    ConfigError
        If the method is not searched, or as for a training; if weights of losses are searched
        where the loss is the score.
    DataError
        If a split is empty.
    StoreError
        If the trial's checkpoint is damaged.
    """
    spec = results.recipe.methods[method]
    score = _score(method, spec)
    name = digest_json([key, results.seen(method)])[:SHORT]
    attempt = _study(results, method, spec, name).begin(trial)
    folder = results.trial(method, trial)
    if not attempt.over:
        changed = _changed(results, method, attempt.values)
        own = digest_json([name, attempt.values])
        _log.info("trying %s", attempt.values)
        seen = _try(changed, method, own, folder, attempt, stop_after, spread or Spread())
        if not attempt.over:
            return {"method": method, "trial": trial, "samples": seen, "unfinished": True}
    for file in _CHECKPOINTS:
        (folder / file).unlink(missing_ok=True)
    frame = pd.DataFrame(attempt.curve.items(), columns=["samples", f"validation_{score}"])
    write_text(folder / "curve.csv", frame.to_csv(index=False))
    results.wrote(folder / "curve.csv")
    who = {"method": method, "trial": trial, "study": name, "score": score}
    return {**who, **_found(attempt)}


def _score(method: str, spec: Method) -> str:
    """By what a method that is searched is judged."""
    if spec.search is None or spec.train is None:
        raise ConfigError(f"method {method!r} is not searched", "a method with a section search")
    score = cast(type[Supervised], TASKS.resolve(spec.train.task.op)).score
    if score == "loss" and any(path.startswith("train.losses.") for path in spec.search.space):
        raise ConfigError(
            f"methods.{method}.search: losses are searched, but the task"
            f" {spec.train.task.op!r} is judged by them",
            "places that leave the score what it is",
            "take train.losses out of search.space",
        )
    return score


def _study(results: Results, method: str, spec: Method, name: str) -> Study:
    assert spec.search
    assert spec.train
    train = shortened(spec.train, spec.search.samples)
    least = min(train.validate_every, train.samples)
    journal = results.study(method) / "journal.log"
    return Study(journal, name, distributions(spec), spec.search.seed, least, train.samples)


def _changed(results: Results, method: str, values: dict[str, Any]) -> Results:
    """The results tree of a recipe in which a method has the values of a trial."""
    search = results.recipe.methods[method].search
    spec = results.recipe.methods[method].changed({"search": None, **values})
    assert search
    assert spec.train
    spec = spec.model_copy(update={"train": shortened(spec.train, search.samples)})
    methods = {**results.recipe.methods, method: spec}
    return replace(results, recipe=results.recipe.model_copy(update={"methods": methods}))


def _try(
    results: Results,
    method: str,
    key: str,
    folder: Path,
    attempt: Attempt,
    stop_after: float | None,
    spread: Spread,
) -> int:
    """Train until the end, or until the study gives it up or it diverges; return samples seen."""
    train = results.recipe.methods[method].train
    assert train
    with _Trying(attempt, train.samples, stop_after) as stop:
        run, state = prepare(results, method, 0, key, spread, folder)
        try:
            state = fit(replace(run, report=stop.report), state, stop)
        except DivergedError as error:
            _log.warning("%s", error)
            attempt.diverge()
            return state.samples_seen
    if stop.pruned or over(state, train):
        attempt.end(pruned=stop.pruned)
    return state.samples_seen


def _found(attempt: Attempt) -> dict[str, Any]:
    """How it ended, and the digest of that."""
    found = {
        "state": attempt.state,
        "best": min(attempt.curve.values(), default=None),
        "samples": max(attempt.curve, default=0),
        "values": attempt.values,
    }
    return {**found, "variables": {"trial": {"digest": digest_json(found)}}}
