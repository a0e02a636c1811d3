"""Checkpoints: weights together with all that they were made for and from, whole or not at all."""

from __future__ import annotations

import io
import os
import pickle
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from blake3 import blake3
from torch import Tensor

from nunatak import registry
from nunatak.content import digest_array
from nunatak.errors import ConfigError, StoreError
from nunatak.learn.inputs import Inputs, Statistics
from nunatak.learn.receptive import measured
from nunatak.learn.spec import Network
from nunatak.products import Results
from nunatak.provenance import digest_json, fsync_folder

State = dict[str, Tensor]
_TRAILER = 32


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training; weights never travel without the rest.

    Parameters
    ----------
    key
        What the training follows from; one of another key is not gone on with.
    method, member
        Whose weights these are.
    recipe, statistics
        JSON values: the recipe, and what normalised inputs and target.
    tiles
        Digest of the index of tiles.
    samples_seen
        Samples trained on.
    score
        What validation finds: ``rmse``, in units of the target, or ``loss``.
    best, best_samples
        Lowest score on validation tiles, and after how many samples; None before the first
        validation.
    fruitless
        Validations since then.
    trained
        Samples of the whole training; None until it is over.
    weights
        State of each module of the task, by name: ``network``, and perhaps ``critic``.
    ema
        State of the network's moving average, if the recipe asks for one.
    optimisers
        State of each optimiser, and of the precision's scaler.
    halo
        Measured receptive field (coarse cells); None until training is over.
    """

    key: str
    method: str
    member: int
    recipe: dict[str, Any]
    statistics: dict[str, Any]
    tiles: str
    samples_seen: int = 0
    score: str = "rmse"
    best: float | None = None
    best_samples: int = 0
    fruitless: int = 0
    trained: int | None = None
    weights: dict[str, State] = field(default_factory=dict)
    ema: State | None = None
    optimisers: dict[str, Any] = field(default_factory=dict)
    halo: int | None = None


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that it is there whole or not at all.

    The file is what `torch.save` writes, followed by its digest, which `torch.load` ignores.
    """
    stream = io.BytesIO()
    torch.save({f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}, stream)
    content = stream.getbuffer()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.tmp")
    with part.open("wb") as file:
        file.write(content)
        file.write(blake3(content).digest())
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    fsync_folder(path.parent)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, on the CPU; nothing in it is ever run.

    Raises
    ------
    StoreError
        If the file is missing, damaged, or holds anything but tensors and plain values.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror})") from error
    body, trailer = content[:-_TRAILER], content[-_TRAILER:]
    if blake3(body).digest() != trailer:
        raise _refused(path, "is damaged: its content disagrees with its digest")
    try:
        return Checkpoint(**torch.load(io.BytesIO(body), map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, TypeError) as error:
        raise _refused(path, "holds other things than a checkpoint does") from error


def _refused(path: Path, fault: str) -> StoreError:
    return StoreError(
        f"checkpoint {path} {fault}",
        "a whole checkpoint, written by this workflow",
        f"remove {path.parent} and run snakemake again: the member is trained anew",
    )


def digest_state(state: State) -> str:
    """Digest of a module's weights and buffers, by name."""
    return digest_json({name: digest_array(t.cpu().numpy()) for name, t in sorted(state.items())})


def build(results: Results, method: str, statistics: Statistics) -> Network:
    """Build the network of a method, its output scaled by the training tiles' statistics.

    Its weights are drawn from torch's current random state.
    """
    model = results.recipe.methods[method].model
    spec = Inputs(results, statistics, method).spec
    network: Network = registry.MODELS.call(model.op, model.args, spec)
    network.set_scale(statistics.mean, statistics.deviation, statistics.detail)
    return network


def reach(results: Results, network: Network) -> int:
    """Coarse cells of context that a network needs: its receptive field, at least its margin.

    One that sees its window as a whole needs none: what it does not see, its other windows do.
    """
    if network.whole:
        return network.margin
    return max(measured(network, network.spec, energy=results.recipe.infer.energy), network.margin)


def load_network(results: Results, method: str, member: int) -> tuple[Network, int, Statistics]:
    """Load the best network of a trained member, or build one that needs no training.

    Returns
    -------
    network
        In evaluation mode; on the GPU if there is one.
    halo
        Coarse cells of context that it needs on every side.
    statistics
        What normalises its inputs: those that it was trained with.

    Raises
    ------
    ConfigError
        If the network has weights and the method does not say how to train them.
    StoreError
        If the member is not trained.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if results.recipe.methods[method].train is None:
        statistics = Statistics.read(results.tiled("statistics.json"))
        network = build(results, method, statistics)
        if any(True for _ in network.parameters()):
            raise ConfigError(
                f"methods.{method}: the model has weights, but no section train",
                "a section train, or a model without weights, like interpolate",
            )
        return network.to(device).eval(), reach(results, network), statistics
    path = results.trained(method, member)
    best = load(path)
    if best.halo is None:
        raise _refused(path, "is of a training that is not over")
    statistics = Statistics.of(best.statistics)
    network = build(results, method, statistics)
    network.load_state_dict(best.weights["network"])
    return network.to(device).eval(), best.halo, statistics
