"""A batch in parts, over processes and in pieces on a device, with the result of the whole.

Every process predicts its part of a step's batch. Predictions are gathered, and every process
computes the same losses of the whole batch: so whatever a loss divides by, its parts weigh as they
should. Each sends the gradient back through its own part, and gradients are summed.
"""

from __future__ import annotations

import ctypes
import os
import signal
from inspect import signature
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, distributed, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from nunatak.errors import ConfigError
from nunatak.learn.spec import Batch
from nunatak.learn.spread import Launcher, Spread

_ENVIRONMENTS: dict[Launcher, type[ClusterEnvironment]] = {
    "local": LightningEnvironment,
    "torchrun": TorchElasticEnvironment,
    "srun": SLURMEnvironment,
}
_DIE_WITH_PARENT = 1
_BUFFERS = ("forward_sync_buffers", "broadcast_buffers")  # since PyTorch 2.13, and before


def joined(spread: Spread, precision: str) -> Fabric:
    """Start the processes that are not there yet, and join them.

    Deterministic where it can be; half precision only where there is a GPU. The environment is
    named, so that a scheduler's variables do not ask for more devices.

    Parameters
    ----------
    spread
        Which processes there are.
    precision
        As in the recipe.

    Raises
    ------
    ConfigError
        If a machine has GPUs, but fewer than processes.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    gpus = torch.cuda.device_count()
    if 0 < gpus < spread.devices:
        raise ConfigError(
            f"{spread.devices} processes on a machine where {gpus} GPUs are seen",
            "one GPU a process, and every process to see all of its machine",
            "ask for fewer processes, or with srun for --gpu-bind=none",
        )
    if spread.launcher == "local" and spread.rank:
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    several = spread.devices * spread.nodes > 1
    fabric = Fabric(
        accelerator="cuda" if gpus else "cpu",
        strategy=_averaging() if several else "auto",
        devices=spread.devices,
        num_nodes=spread.nodes,
        precision=precision if gpus else "32-true",  # type: ignore[arg-type]
        plugins=[_ENVIRONMENTS[spread.launcher]()],
    )
    fabric.launch()
    return fabric


def _averaging() -> DDPStrategy:
    """Gradients are averaged; buffers are equal anyway, since every process sees the whole."""
    known = signature(DistributedDataParallel).parameters
    plain: dict[str, Any] = {next(name for name in _BUFFERS if name in known): False}
    return DDPStrategy(**plain)


def share(fabric: Fabric, batch: int) -> slice:
    """Which samples of a step's batch are this process's.

    Raises
    ------
    ConfigError
        If the processes do not divide the batch.
    """
    if batch % fabric.world_size:
        raise ConfigError(
            f"a batch of {batch} samples on {fabric.world_size} processes",
            "a number of processes that divides train.batch",
            "ask for another number of processes",
        )
    size = batch // fabric.world_size
    return slice(fabric.global_rank * size, (fabric.global_rank + 1) * size)


class _Gathered(Function):
    """Equal parts of all processes, side by side."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        size = distributed.get_world_size()
        return gradients[0].chunk(size)[distributed.get_rank()] * size


class _Summed(Function):
    """The sum of what all processes hold."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Summed.forward(ctx, gradients[0].contiguous())


def whole(fabric: Fabric, part: Tensor) -> Tensor:
    """The batch that processes hold equal parts of, in their order.

    Every process is to compute the same from it: the gradient of a part is what its own process
    finds, as many times as there are processes, whose gradients are averaged in the end.
    """
    if fabric.world_size == 1:
        return part
    return cast(Tensor, _Gathered.apply(part))  # type: ignore[no-untyped-call]


def _sum(part: Tensor) -> Tensor:
    return cast(Tensor, _Summed.apply(part))  # type: ignore[no-untyped-call]


class Pieces(nn.Module):
    """A network that takes a batch in pieces.

    Each piece is forgotten when its output is there and computed again on the way back, so that
    memory is needed for one of them.

    Parameters
    ----------
    network
        Of one dictionary of inputs ``(B, ...)``.
    most
        Samples of a piece; None for all.

    Raises
    ------
    ConfigError
        If the network normalises over the batch, so that pieces would change its output.
    """

    def __init__(self, network: nn.Module, most: int | None) -> None:
        super().__init__()
        if most is not None and any(isinstance(m, _BatchNorm) for m in network.modules()):
            raise ConfigError(
                f"micro-batches of {most} for a network that normalises over the batch",
                "a network without batch normalisation",
                "leave out --micro-batch, or use more processes",
            )
        self.network, self.most = network, most

    def forward(self, inputs: Batch) -> Tensor:
        """What the network gives for all samples."""
        size = next(iter(inputs.values())).shape[0]
        if self.most is None or size <= self.most:
            found: Tensor = self.network(inputs)
            return found
        pieces = [
            {name: values[first : first + self.most] for name, values in inputs.items()}
            for first in range(0, size, self.most)
        ]
        if not torch.is_grad_enabled():
            return torch.cat([self.network(piece) for piece in pieces])
        return torch.cat([checkpoint(self.network, p, use_reentrant=False) for p in pieces])


class SharedNorm(_BatchNorm):
    """Batch normalisation by the statistics of the whole batch, of which processes hold parts.

    PyTorch's own is for GPUs only. Weights, buffers and their names are those of the plain one.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""

    def forward(self, field: Tensor) -> Tensor:
        """``(B, C, ...)`` to the same."""
        if not self.training:
            return super().forward(field)
        axes, shape = [0, *range(2, field.ndim)], [1, -1] + [1] * (field.ndim - 2)
        processes = distributed.get_world_size()
        mean = _sum(field.float().mean(axes)) / processes
        centred = field.float() - mean.view(shape)
        variance = _sum(centred.square().mean(axes)) / processes
        self._track(mean.detach(), variance.detach(), processes * field.numel() // mean.numel())
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(field.dtype)

    def _track(self, mean: Tensor, variance: Tensor, cells: int) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * cells / (cells - 1), share)


def share_norms(fabric: Fabric, module: nn.Module) -> None:
    """Let the batch normalisations of a module see the parts of all processes."""
    if fabric.world_size > 1:
        for child in module.modules():
            if isinstance(child, _BatchNorm):
                child.__class__ = SharedNorm
