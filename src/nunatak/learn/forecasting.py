"""Training of a forecaster: a short loop, whose progress is the number of windows seen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from torch import Tensor, nn

from nunatak.errors import DataError, DivergedError
from nunatak.forecast import ForecastTrain
from nunatak.learn.insitu_losses import observed_mean
from nunatak.learn.windows import Days, Windows
from nunatak.registry import FORECASTERS, INSITU
from nunatak.source import Op

_MOST = 256
Ints = NDArray[np.int64]
State = dict[str, Tensor]


@dataclass(frozen=True)
class Fitted:
    """What a training came to.

    Parameters
    ----------
    weights
        Those that were best on validation windows.
    best, best_samples
        Their validation loss, and after how many windows.
    samples
        Windows seen in all.
    losses
        Columns ``samples``, ``train_loss``, ``validation_loss``: a row a validation.
    """

    weights: State
    best: float
    best_samples: int
    samples: int
    losses: pd.DataFrame


def build(op: Op, days: Days, seed: int) -> nn.Module:
    """A forecaster for the windows of a series, its weights drawn from a seed."""
    torch.manual_seed(seed)
    network: nn.Module = FORECASTERS.call(op.op, op.args, days.shape)
    return network


def loss(op: Op, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The mean of a registered loss at stations over what was measured, of (B, lead, stations).

    Raises
    ------
    ValueError
        If the shapes differ: the forecast of one day is not compared with seven.
    """
    cost = partial(INSITU.resolve(op.op), **op.args)
    return observed_mean(cost, prediction, target, mask)


def fit(
    network: nn.Module, days: Days, training: Ints, checks: Ints, train: ForecastTrain
) -> Fitted:
    """Train a forecaster until all samples or patience are spent; on a GPU if there is one.

    The order of windows follows from the seed and the number seen. The best weights by the loss
    on validation windows are kept.

    Parameters
    ----------
    network
        Is trained in place.
    days
        The series.
    training, checks
        First days of training and validation windows.
    train
        How.

    Raises
    ------
    DataError
        If there is no training or no validation window with a target.
    DivergedError
        If a loss is not finite.
    """
    training, checks = _some(days, training, "train"), _some(days, checks, "validation")
    fabric = Fabric(accelerator="auto", devices=1, plugins=[LightningEnvironment()])
    optimiser = torch.optim.Adam(network.parameters(), lr=train.lr)
    model, optimiser = fabric.setup(network, optimiser)
    seen, best, fruitless, rows, total = 0, (math.inf, 0), 0, [], []
    weights: State = {}
    while seen < train.samples and (train.patience is None or fruitless < train.patience):
        windows = days.windows(training[_chosen(train, seen, len(training))]).to(fabric.device)
        found = loss(train.loss, model(windows), windows.target, windows.mask)
        optimiser.zero_grad()
        fabric.backward(found)
        optimiser.step()
        before, seen = seen, seen + train.batch
        total.append(found.item())
        if seen // train.validate_every > before // train.validate_every or seen >= train.samples:
            score = judged(network, days, checks, train.loss, fabric.device)
            rows.append((seen, float(np.mean(total)), score))
            _require_finite(*rows[-1])
            total, fruitless = [], fruitless + 1
            if score < best[0]:
                best, fruitless = (score, seen), 0
                weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
    columns = ["samples", "train_loss", "validation_loss"]
    return Fitted(weights, *best, seen, pd.DataFrame(rows, columns=columns))


def _some(days: Days, first: Ints, part: str) -> Ints:
    found = days.taught(first)
    if not found.size:
        raise DataError(
            f"forecast.split.{part} holds no window with a measured target",
            f"a range of at least {days.shape.history + days.shape.lead} days, some measured",
            "make its ranges longer",
        )
    return found


def _chosen(train: ForecastTrain, seen: int, count: int) -> Ints:
    """Which windows come next: every epoch is an order of all of them."""
    at = np.arange(seen, seen + train.batch)
    epochs = {int(e): _order(train.seed, int(e), count) for e in np.unique(at // count)}
    return np.array([epochs[int(i // count)][i % count] for i in at])


def _order(seed: int, epoch: int, count: int) -> Ints:
    return np.random.default_rng([seed, epoch]).permutation(count)


def _require_finite(seen: int, training: float, validation: float) -> None:
    if not (math.isfinite(training) and math.isfinite(validation)):
        raise DivergedError(
            f"training of a forecaster is not finite after {seen} windows: loss {training:g},"
            f" validation {validation:g}",
            "finite losses",
            "lower lr",
        )


def judged(network: nn.Module, days: Days, first: Ints, op: Op, device: torch.device) -> float:
    """The loss over some windows, each of which counts as its measured targets."""
    total, count = 0.0, 0
    network.eval()
    with torch.no_grad():
        for windows in _parts(days, first, device):
            valid = int(windows.mask.sum())
            found = loss(op, network(windows), windows.target, windows.mask)
            total, count = total + float(found) * valid, count + valid
    network.train()
    return total / max(count, 1)


def predict(network: nn.Module, days: Days, first: Ints) -> NDArray[np.float64]:
    """The forecasts of some windows, z-scores (windows, lead, stations)."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device).eval()
    with torch.no_grad():
        found = [network(windows).cpu().numpy() for windows in _parts(days, first, device)]
    none = np.empty((0, days.shape.lead, days.shape.stations))
    return np.concatenate([none, *found]).astype(np.float64)


def _parts(days: Days, first: Ints, device: torch.device) -> Iterator[Windows]:
    return (days.windows(first[i : i + _MOST]).to(device) for i in range(0, len(first), _MOST))
