"""From a method and its tiles to a training that can begin, or go on where it stopped."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric

from nunatak.errors import ConfigError
from nunatak.learn.checkpoint import Checkpoint, build, load, reach
from nunatak.learn.dataset import Chunks, Tiles
from nunatak.learn.inputs import Statistics
from nunatak.learn.loop import Run
from nunatak.learn.parallel import joined
from nunatak.learn.spec import Network
from nunatak.learn.spread import Spread
from nunatak.learn.tasks import Setup
from nunatak.ops.degrade import LEAST_VALID
from nunatak.ops.split import TRAIN, VALIDATION
from nunatak.products import Results
from nunatak.provenance import read_json
from nunatak.recipe import Recipe
from nunatak.registry import LEAKY, SCENE_READERS, TASKS

_log = logging.getLogger(__name__)


def prepare(
    results: Results, method: str, member: int, key: str, spread: Spread, folder: Path
) -> tuple[Run, Checkpoint]:
    """Join the processes, open the tiles, build and check the network, find where to start.

    Parameters
    ----------
    results
        The results tree of the recipe.
    method, member
        What to train.
    key
        What the training follows from.
    spread
        Over which processes.
    folder
        Where it keeps its checkpoints. Those of another key, or of other tiles or statistics of
        theirs, are removed.

    Returns
    -------
    Run, Checkpoint
        The training, and where it goes on.

    Raises
    ------
    ConfigError
        As `nunatak.stages.train.train`.
    DataError
        If a split is empty.
    StoreError
        If the checkpoint of this key is damaged.
    """
    recipe, spec = results.recipe, results.recipe.methods[method].train
    if spec is None:
        raise ConfigError(f"method {method!r} needs no training", "a method with a section train")
    fabric = joined(spread, spec.precision)
    chunks, seed = Chunks(), spec.seed + member
    tiles, checks = (Tiles.open(results, method, s, chunks) for s in (TRAIN, VALIDATION))
    torch.manual_seed(seed)
    statistics = Statistics.read(results.tiled("statistics.json"))
    network = build(results, method, statistics).to(fabric.device)
    _check(results, network)
    side = recipe.tiles.size * recipe.grid.scale
    setup = Setup(
        *(fabric, network, spec.losses, spec.lr, spec.clip, side, spec.batch),
        *(spread.micro_batch, seed, statistics.transforms["coarse"]),
        recipe.coarse.degrade.args.get("min_valid", LEAST_VALID),
    )
    task = TASKS.call(spec.task.op, spec.task.args, setup)
    run = Run(task, spec, tiles, checks, seed, folder, spread.checkpoint_every)
    origin = replace(_origin(results, method, member, key), score=task.score)
    return run, _agreed(fabric, folder, origin)


def _agreed(fabric: Fabric, folder: Path, origin: Checkpoint) -> Checkpoint:
    """Where the first process finds that the training starts."""
    return fabric.broadcast(_start(folder, origin) if fabric.is_global_zero else origin)


def _check(results: Results, network: Network) -> None:
    """Refuse a network that sees across the buffer, or that eats more than the tiles' context."""
    recipe = results.recipe
    if network.margin > recipe.tiles.context:
        raise ConfigError(
            f"tiles.context is {recipe.tiles.context} coarse cells",
            f"at least {network.margin}, which the network eats on each side",
            f"set tiles.context to {network.margin} or more",
        )
    _compare(recipe, reach(results, network))


def _compare(recipe: Recipe, cells: int) -> None:
    metres, buffer = cells * recipe.coarse_resolution, recipe.split.buffer
    if metres > buffer and recipe.split.by.op not in (LEAKY | SCENE_READERS):
        raise ConfigError(
            f"the network's receptive field reaches {metres:g} m ({cells} coarse cells), but"
            f" split.buffer is {buffer:g} m",
            "a buffer at least as wide, so that training does not see validation or test",
            f"set split.buffer to {metres:g} or more, or use a shallower model",
        )


def _origin(results: Results, method: str, member: int, key: str) -> Checkpoint:
    """The checkpoint before the first step."""
    return Checkpoint(
        key=key,
        method=method,
        member=member,
        recipe=results.recipe.model_dump(mode="json"),
        statistics=read_json(results.tiled("statistics.json")),
        tiles=results.seen(method),
    )


def _start(folder: Path, origin: Checkpoint) -> Checkpoint:
    """Go on with the last checkpoint if it is of the same key and tiles; else clear the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / "last.pt"
    if last.exists():
        found = load(last)
        same = ("key", "statistics", "tiles")
        if all(getattr(found, name) == getattr(origin, name) for name in same):
            _log.info("going on after %d samples", found.samples_seen)
            return found
        _log.info("%s was trained for another recipe or on other tiles: starting anew", last)
    for name in ("last.pt", "best.pt", "loss.csv", "loss.png"):
        (folder / name).unlink(missing_ok=True)
    return origin
