"""The training loop: it reads top to bottom, and its progress is one integer, ``samples_seen``."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from nunatak.errors import DataError
from nunatak.learn.checkpoint import Checkpoint, save
from nunatak.learn.dataset import Tiles, prefetch, training, validation
from nunatak.learn.tasks import Supervised
from nunatak.provenance import write_text
from nunatak.recipe import Train

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

    def __enter__(self) -> Stop:
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


class Table:
    """The losses of every step, as CSV; nothing in it depends on the time that a step takes.

    Parameters
    ----------
    path
        The file; on resuming, rows beyond ``samples_seen`` are cut off.
    samples_seen
        Where the training goes on.
    """

    def __init__(self, path: Path, samples_seen: int) -> None:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines[1:] if int(line.split(",")[0]) <= samples_seen]
        self._empty = not kept
        write_text(path, "".join(f"{line}\n" for line in (lines[:1] + kept if kept else [])))
        self._stream = path.open("a", encoding="utf-8")

    def add(self, row: Mapping[str, float | int | None]) -> None:
        """Append a row; None is an empty cell."""
        if self._empty:
            self._stream.write(",".join(row) + "\n")
            self._empty = False
        self._stream.write(",".join("" if v is None else repr(v) for v in row.values()) + "\n")

    def flush(self) -> None:
        """Make all rows last."""
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


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
        Where best.pt, last.pt and loss.csv are written.
    """

    task: Supervised
    train: Train
    tiles: Tiles
    checks: Tiles
    seed: int
    folder: Path


def rate(samples_seen: int, train: Train) -> float:
    """Share of the full learning rate for the next batch: a linear warm-up, then a cosine to 0."""
    middle = samples_seen + train.batch / 2
    if middle < train.warmup:
        return middle / train.warmup
    progress = (middle - train.warmup) / max(1, train.samples - train.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def step_seed(seed: int, samples_seen: int) -> int:
    """Seed of what is random within a step (dropout)."""
    return int(np.random.SeedSequence([seed, 2, samples_seen]).generate_state(1)[0])


def validated(run: Run, network: nn.Module) -> float:
    """RMSE of a network over the validation tiles, in the target's units.

    At most `VALIDATED` tiles, evenly spaced in the index, are read.

    Raises
    ------
    DataError
        If no validation tile has a valid cell.
    """
    was_training = network.training
    network.eval()
    squares, cells = 0.0, 0
    plans = validation(run.train.batch, len(run.checks), VALIDATED)
    for batch in prefetch(run.checks, plans):
        added, valid = run.task.validate(batch.to(run.task.setup.fabric.device), network)
        squares, cells = squares + added, cells + valid
    network.train(was_training)
    if not cells:
        raise DataError(
            "the validation tiles hold no valid cell of the target",
            "validation tiles with truth in them",
            "raise tiles.min_valid above 0",
        )
    return math.sqrt(squares / cells)


def fit(run: Run, state: Checkpoint, stop: Stop) -> Checkpoint:
    """Train from a checkpoint on, until all samples are seen or ``stop`` is due.

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
        As in last.pt; unfinished if its ``samples_seen`` is below the recipe's.

    Raises
    ------
    DataError
        If a loss or the validation is not finite.
    """
    task, train = run.task, run.train
    network, device = task.setup.network, task.setup.fabric.device
    average = averaged(network, train.ema) if train.ema else None
    if state.weights:
        _restore(task, average, state)
    seen, started, since = state.samples_seen, time.monotonic(), state.samples_seen
    plans = training(run.seed, seen, train.batch, len(run.tiles), train.augment)
    with (
        closing(Table(run.folder / "loss.csv", seen)) as table,
        closing(prefetch(run.tiles, plans)) as batches,
        _bar(train.samples, seen) as bar,
    ):
        while seen < train.samples:
            torch.manual_seed(step_seed(run.seed, seen))
            lr = _set_rate(task, rate(seen, train))
            terms = task.step(next(batches).to(device))
            seen += train.batch
            _require_finite(terms, seen, run.folder)
            if average:
                average.update_parameters(network)
            judged, rmse = average.module if average else network, None
            if seen // train.validate_every > (seen - train.batch) // train.validate_every or (
                seen >= train.samples
            ):
                rmse = validated(run, judged)
                _require_finite({"validation_rmse": rmse}, seen, run.folder)
                speed = (seen - since) / (time.monotonic() - started)
                _log.info("%d samples: RMSE %.4g, %.1f samples/s", seen, rmse, speed)
            row = {f"train_{name}": value for name, value in terms.items()}
            table.add({"samples": seen, **row, "validation_rmse": rmse, "lr": lr})
            bar.update(bar.task_ids[0], completed=seen, loss=f"{terms['loss']:.4g}")
            stopping = stop.due
            if rmse is not None or stopping:
                table.flush()
                state = _keep(run, replace(state, samples_seen=seen), judged, average, rmse)
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
    rmse: float | None,
) -> Checkpoint:
    """Write last.pt, and before it best.pt if the validation is the best so far.

    In this order a kill between the two leaves a best.pt that the resumed training writes again.
    """
    if rmse is not None and (state.best is None or rmse < state.best):
        state = replace(state, best=rmse, best_samples=state.samples_seen)
        weights = {"network": judged.state_dict()}
        save(run.folder / "best.pt", replace(state, weights=weights, ema=None, optimisers={}))
    state = replace(
        state,
        weights={name: module.state_dict() for name, module in run.task.modules.items()},
        ema=average.state_dict() if average else None,
        optimisers=run.task.optimiser_states(),
    )
    save(run.folder / "last.pt", state)
    return state


def _require_finite(terms: Mapping[str, float], samples_seen: int, folder: Path) -> None:
    if all(math.isfinite(value) for value in terms.values()):
        return
    last = folder / "last.pt"
    raise DataError(
        f"training is not finite after {samples_seen} samples: "
        + ", ".join(f"{name} {value:g}" for name, value in terms.items()),
        "finite losses",
        f"lower lr, set clip, or use precision 32-true; the last good checkpoint is "
        f"{last if last.exists() else 'none yet'}",
    )


@contextmanager
def _bar(samples: int, seen: int) -> Iterator[Progress]:
    """A progress bar on stderr, if that is a terminal."""
    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
    loss = TextColumn("loss {task.fields[loss]}")
    hidden = not sys.stderr.isatty()
    console = Console(stderr=True)
    with Progress(*columns, loss, TimeRemainingColumn(), console=console, disable=hidden) as bar:
        bar.add_task("samples", total=samples, completed=seen, loss="")
        yield bar
