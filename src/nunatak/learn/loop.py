"""The training loop: it reads top to bottom, and its progress is one integer, ``samples_seen``."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from nunatak.errors import DataError, DivergedError
from nunatak.learn.checkpoint import Checkpoint, save
from nunatak.learn.dataset import Tiles, prefetch, training, validation
from nunatak.learn.parallel import share
from nunatak.learn.record import progress, table
from nunatak.learn.tasks import Supervised
from nunatak.method import Train

VALIDATED = 1024
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_log = logging.getLogger(__name__)


class Stop:
    """Asks for a clean end: on SIGTERM, on SIGUSR1, or when time has run out.

    Parameters
    ----------
    after
        Seconds from now, if any.
    """

    def __init__(self, after: float | None = None) -> None:
        self._deadline = math.inf if after is None else time.monotonic() + after
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python allows handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._ask) for s in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    @property
    def due(self) -> bool:
        """Whether to end after the step at hand."""
        return self._asked or time.monotonic() >= self._deadline


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Moving average of a network's weights, for judging and for the product; buffers are copied.

    The average is shorter at first, so that it forgets the first weights.

    Parameters
    ----------
    network
        What to average.
    decay
        Weight of the past at a step, in the long run.
    """

    def blend(mine: Any, theirs: Any, updates: Tensor | int) -> None:
        count = int(updates)
        torch._foreach_lerp_(mine, theirs, 1 - min(decay, (count + 1) / (count + 10)))

    return AveragedModel(network, multi_avg_fn=blend)


def _unheard(samples: int, score: float) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Run:
    """What a training has that does not change while it lasts.

    Parameters
    ----------
    task, train
        What a step is, and how many there are.
    tiles, checks
        Training and validation tiles.
    seed
        Everything random follows from it and from ``samples_seen``.
    folder
        Where best.pt, last.pt and loss.csv are written, by the first process.
    checkpoint_every
        Seconds between checkpoints, besides those at validations.
    report
        Told the samples seen and the score at each validation, before its checkpoint.
    """

    task: Supervised
    train: Train
    tiles: Tiles
    checks: Tiles
    seed: int
    folder: Path
    checkpoint_every: float = math.inf
    report: Callable[[int, float], None] = _unheard

    @property
    def fabric(self) -> Fabric:
        """Device and processes."""
        return self.task.setup.fabric


def rate(samples_seen: int, train: Train) -> float:
    """Share of the full learning rate for the next batch: a linear warm-up, then a cosine to 0."""
    middle = samples_seen + train.batch / 2
    if middle < train.warmup:
        return middle / train.warmup
    progress = (middle - train.warmup) / max(1, train.samples - train.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def step_seed(seed: int, sample: int) -> int:
    """Seed of what is random within a step (dropout), by the first sample of a process's part."""
    return int(np.random.SeedSequence([seed, 2, sample]).generate_state(1)[0])


def over(state: Checkpoint, train: Train) -> bool:
    """Whether a training has ended: all samples are seen, or patience is."""
    waited = train.patience is not None and state.fruitless >= train.patience
    return waited or state.samples_seen >= train.samples


def validated(run: Run, network: nn.Module) -> float:
    """The task's score of a network over the validation tiles.

    At most `VALIDATED` tiles, evenly spaced in the index, are read, each by one of the processes.

    Raises
    ------
    DataError
        If no validation tile has a valid cell.
    """
    was_training = network.training
    network.eval()
    fabric, total, count = run.fabric, 0.0, 0
    plans = validation(run.train.batch, len(run.checks), VALIDATED)
    for batch in prefetch(run.checks, plans[fabric.global_rank :: fabric.world_size]):
        added, valid = run.task.validate(batch.to(fabric.device), network)
        total, count = total + added, count + valid
    network.train(was_training)
    sums = torch.tensor([total, count], dtype=torch.float64, device=fabric.device)
    total, count = cast(Tensor, fabric.all_reduce(sums, reduce_op="sum")).tolist()
    if not count:
        raise DataError(
            "the validation tiles hold no valid cell of the target",
            "validation tiles with truth in them",
            "raise tiles.min_valid above 0",
        )
    return run.task.finish(total, count)


def fit(run: Run, state: Checkpoint, stop: Stop) -> Checkpoint:
    """Train from a checkpoint on, until it is `over` or ``stop`` is due in any process.

    Stopped and gone on with, a training on the CPU gives the same bits as one that never stopped.

    Parameters
    ----------
    run
        What to train.
    state
        Where to go on; without weights, a new training.
    stop
        Asked after every step.

    Returns
    -------
    Checkpoint
        As in last.pt; unfinished if it is not `over`.

    Raises
    ------
    ConfigError
        If the processes do not divide the batch.
    DivergedError
        If a loss or the validation is not finite.
    """
    task, train, fabric = run.task, run.train, run.fabric
    network, mine = task.setup.network, share(fabric, train.batch)
    leads = fabric.is_global_zero
    average = averaged(network, train.ema) if train.ema else None
    if state.weights:
        _restore(task, average, state)
    seen, started, since = state.samples_seen, time.monotonic(), state.samples_seen
    saved, column = started, f"validation_{task.score}"
    plans = training(run.seed, seen, train.batch, len(run.tiles), train.augment, train.distort)
    with (
        closing(table(run.folder / "loss.csv", seen, writes=leads)) as losses,
        closing(prefetch(run.tiles, (plan[mine] for plan in plans))) as batches,
        progress(train.samples, seen, shows=leads) as bar,
    ):
        while not over(replace(state, samples_seen=seen), train):
            torch.manual_seed(step_seed(run.seed, seen + mine.start))
            lr = _set_rate(task, rate(seen, train))
            batch = replace(next(batches).to(fabric.device), first=seen + mine.start)
            terms = task.step(batch)
            seen += train.batch
            _require_finite(terms, seen, run.folder)
            if average:
                average.update_parameters(network)
            judged, score = average.module if average else network, None
            if seen // train.validate_every > (seen - train.batch) // train.validate_every or (
                seen >= train.samples
            ):
                score = validated(run, judged)
                _require_finite({column: score}, seen, run.folder)
                run.report(seen, score)
                speed = (seen - since) / (time.monotonic() - started)
                _log.info("%d samples: %s %.4g, %.1f samples/s", seen, task.score, score, speed)
            row = {f"train_{name}": value for name, value in terms.items()}
            losses.add({"samples": seen, **row, column: score, "lr": lr})
            bar.update(bar.task_ids[0], completed=seen, loss=f"{terms['loss']:.4g}")
            stopping = fabric.strategy.reduce_boolean_decision(stop.due, all=False)
            if score is not None or stopping or time.monotonic() > saved + run.checkpoint_every:
                losses.flush()
                state = _keep(run, replace(state, samples_seen=seen), judged, average, score)
                saved = time.monotonic()
            if stopping:
                break
    return state


def _restore(task: Supervised, average: AveragedModel | None, state: Checkpoint) -> None:
    task.restore(state.weights, state.optimisers)
    if average and state.ema is not None:
        average.load_state_dict(state.ema)


def _set_rate(task: Supervised, factor: float) -> float:
    """Set the learning rate of every optimiser; returns that of the network."""
    for optimiser in task.optimisers.values():
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor
    lr: float = task.optimisers["network"].param_groups[0]["lr"]
    return lr


def _keep(
    run: Run,
    state: Checkpoint,
    judged: nn.Module,
    average: AveragedModel | None,
    score: float | None,
) -> Checkpoint:
    """Write last.pt, and before it best.pt if the validation is the best so far.

    In this order a kill between the two leaves a best.pt that the resumed training writes again.
    The first process alone writes.
    """
    writes = run.fabric.is_global_zero
    if score is not None:
        state = replace(state, fruitless=state.fruitless + 1)
    if score is not None and (state.best is None or score < state.best):
        state = replace(state, best=score, best_samples=state.samples_seen, fruitless=0)
        weights = {"network": judged.state_dict()}
        best = replace(state, weights=weights, ema=None, optimisers={})
        if writes:
            save(run.folder / "best.pt", best)
    state = replace(
        state,
        weights={name: module.state_dict() for name, module in run.task.modules.items()},
        ema=average.state_dict() if average else None,
        optimisers=run.task.optimiser_states(),
    )
    if writes:
        save(run.folder / "last.pt", state)
    return state


def _require_finite(terms: Mapping[str, float], samples_seen: int, folder: Path) -> None:
    if all(math.isfinite(value) for value in terms.values()):
        return
    last = folder / "last.pt"
    raise DivergedError(
        f"training is not finite after {samples_seen} samples: "
        + ", ".join(f"{name} {value:g}" for name, value in terms.items()),
        "finite losses",
        f"lower lr, set clip, or use precision 32-true; the last good checkpoint is "
        f"{last if last.exists() else 'none yet'}",
    )
