"""train: one member of a method, stopped and resumed at will."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from nunatak.errors import ConfigError
from nunatak.figures import curves
from nunatak.learn.checkpoint import Checkpoint, digest_state, load, reach, save
from nunatak.learn.loop import Run, Stop, fit, over
from nunatak.learn.prepare import prepare
from nunatak.learn.spread import Spread
from nunatak.products import Results
from nunatak.provenance import digest_json
from nunatak.registry import SCENE_READERS

_log = logging.getLogger(__name__)


def train(
    results: Results,
    method: str,
    member: int,
    *,
    key: str,
    stop_after: float | None = None,
    spread: Spread | None = None,
) -> dict[str, Any]:
    """Train one member of a method, or go on with it; write best.pt, last.pt, loss.csv, loss.png.

    Parameters
    ----------
    results
        The results tree of the recipe.
    method, member
        What to train; members differ in their seed.
    key
        What the training follows from: a checkpoint of another key, or of other tiles or
        statistics of theirs, is discarded.
    stop_after
        Seconds after which to stop cleanly, as on SIGTERM and SIGUSR1.
    spread
        Over which processes; one, if it is not given. All but the first write nothing.

    Returns
    -------
    dict
        The manifest: method, member, samples, best_rmse (target's units) or best_loss, by what the
        task is judged, best_samples, halo (coarse cells) and the digests of the model and of what
        it was trained on. Of a training that was stopped, only method, member, samples and
        ``unfinished``: it wants to be called again. Of a process that is not the first, no digests
        either.

    Raises
    ------
    ConfigError
        If the method needs no training, another model is to be kept, the tiles have too little
        context for the network, the network sees farther than the buffer between splits, or the
        processes do not fit the machine or the batch.
    DataError
        If a split is empty or the training diverges.
    StoreError
        If the checkpoint of this key is damaged.
    """
    spec, spread = results.recipe.methods[method].train, spread or Spread()
    if spec is not None and spec.freeze:
        return _frozen(results, method, member, spec.freeze[member])
    with Stop(stop_after) as stop:
        run, state = prepare(results, method, member, key, spread, results.train(method, member))
        state = fit(run, state, stop)
    who = {"method": method, "member": member, "samples": state.samples_seen}
    if not over(state, run.train):
        return {**who, "unfinished": True}
    if not run.fabric.is_global_zero:
        return who
    best = _finish(results, run, state.samples_seen)
    curves(pd.read_csv(run.folder / "loss.csv"), run.folder / "loss.png")
    _left(results, run.folder)
    return _manifest(best)


def _left(results: Results, folder: Path) -> None:
    results.wrote(folder / "best.pt", folder / "loss.csv")
    results.keep(folder / "loss.png")


def _manifest(best: Checkpoint) -> dict[str, Any]:
    model = digest_state(best.weights["network"])
    # A model that is kept may be of a time when none ended before its last sample.
    samples = best.trained or best.recipe["methods"][best.method]["train"]["samples"]
    return {
        "method": best.method,
        "member": best.member,
        "samples": samples,
        f"best_{best.score}": best.best,
        "best_samples": best.best_samples,
        "halo": best.halo,
        "model": model,
        "tiles": best.tiles,
        "variables": {"model": {"digest": digest_json([model, best.halo, best.statistics])}},
    }


def _frozen(results: Results, method: str, member: int, wanted: str) -> dict[str, Any]:
    """The manifest of a model that is kept, whatever became of its data, values or code."""
    path = results.train(method, member) / "best.pt"
    manifest = _manifest(load(path))
    if not manifest["model"].startswith(wanted):
        raise ConfigError(
            f"methods.{method}.train.freeze is {wanted}, but {path} holds {manifest['model'][:16]}",
            "the beginning of the digest of the model that is there",
            "name that model, or put the checkpoint that you mean there",
        )
    curves(pd.read_csv(path.with_name("loss.csv")), path.with_name("loss.png"))
    _left(results, path.parent)
    return {**manifest, "frozen": True}


def _finish(results: Results, run: Run, samples: int) -> Checkpoint:
    """Measure the receptive field of the best network and write it into best.pt, with the rest."""
    path, network = run.folder / "best.pt", run.task.setup.network
    best = load(path)
    network.load_state_dict(best.weights["network"])
    best = replace(best, halo=reach(results, network), trained=samples)
    save(path, best)
    metres = (best.halo or 0) * results.recipe.coarse_resolution
    split = results.recipe.split
    if metres > split.buffer and split.by.op not in SCENE_READERS:
        _log.warning(
            "the trained network's receptive field reaches %g m, beyond split.buffer, %g m",
            metres,
            split.buffer,
        )
    return best
