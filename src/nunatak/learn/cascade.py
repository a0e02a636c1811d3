"""The task of networks of stages: each has a loss against the truth on its own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nunatak.errors import ConfigError
from nunatak.learn.dataset import Minibatch
from nunatak.learn.losses import log_cosh
from nunatak.learn.spec import Batch, Network, area_mean
from nunatak.learn.tasks import Setup, Supervised, central, plain


class Cascade(Supervised):
    """Every stage of a network minimises the weighted losses against the truth on its own grid.

    The network gives ``rungs``, the cells of each stage along a coarse cell, and ``climb``, the
    fields of all stages; the truth is averaged over the cells of each. The sum of all stages is
    minimised. Where stages are detached from each other, each learns for itself, as if they were
    trained one after the other on the same samples.

    A network with branches of velocity gives them as ``currents``; they learn what `balanced_flow`
    makes of the truth, by the logarithm of the hyperbolic cosine, and teach the stages with it.

    Parameters
    ----------
    setup
        As for every task.
    velocity_weight
        Of the loss of the branches of velocity, where the network has them.

    Raises
    ------
    ConfigError
        If the network has no stages.
    """

    staged = True

    def __init__(self, setup: Setup, *, velocity_weight: float = 1.0) -> None:
        if not hasattr(setup.network, "climb"):
            raise ConfigError(
                f"the task cascade for a {type(setup.network).__name__.lower()}",
                "a network of stages, like srcnn",
                "use the task supervised",
            )
        super().__init__(setup)
        self.velocity_weight = velocity_weight
        rungs: Sequence[int] = cast(Any, setup.network).rungs
        self._flows = bool(getattr(setup.network, "flow", ()))
        self._layers = [(1, rung) for rung in rungs] + [(2, rungs[-1])] * self._flows

    def _trained(self, network: Network) -> nn.Module:
        return _Climbing(network)

    def step(self, batch: Minibatch) -> dict[str, float]:
        """Train all stages on one batch, or this process's part of it.

        Returns
        -------
        dict
            Of the whole batch: ``loss``, the sum; each term of the last stage, unweighted; of
            each stage ``stage_1``, ..., its weighted sum; and ``velocity``, unweighted.
        """
        with self.setup.fabric.autocast():
            packed = self.forwards["network"](batch.inputs)
        total, found = packed.new_zeros(()), {}
        parts = _unpacked(packed, self._layers, batch.inputs["prior"].shape[-2:])
        flow = parts.pop() if self._flows else None
        for number, (field, (_, rung)) in enumerate(zip(parts, self._layers, strict=False), 1):
            own = averaged(batch, rung)
            loss, terms = self.objective(central(field, own.target.shape[-1]), own)
            total, found[f"stage_{number}"] = total + loss, loss
        if flow is not None:
            found["velocity"] = self._velocity(central(flow, batch.target.shape[-1]), batch)
            total = total + self.velocity_weight * found["velocity"]
        self._descend("network", total)
        return plain({"loss": total, **terms, **found})

    def _velocity(self, flow: Tensor, batch: Minibatch) -> Tensor:
        """Loss of the branches of velocity over the whole batch."""
        truth = self._gathered(batch)
        target, mask = balanced_flow(truth.target, truth.mask)
        target = target * (batch.scale / self.setup.network.detail)
        return log_cosh(self._whole(flow), target, mask, truth.context, unit=1.0)


class _Climbing(nn.Module):
    """All that a network of stages gives, flattened and side by side: one output a sample."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Batch) -> Tensor:
        """``(B, cells of all stages)``, and after them those of velocities, if any."""
        network = cast(Any, self.network)
        parts: list[Tensor] = network.climb(inputs)
        if getattr(network, "flow", ()):
            parts = [*parts, network.currents(inputs, parts[-1])]
        return torch.cat([part.flatten(1) for part in parts], dim=1)


def _unpacked(
    packed: Tensor, layers: Sequence[tuple[int, int]], shape: Sequence[int]
) -> list[Tensor]:
    """Undo `_Climbing`, of a window of ``shape`` coarse cells; channels and rung of each part."""
    h, w = shape
    parts = torch.split(packed, [n * h * w * rung**2 for n, rung in layers], dim=1)
    return [p.reshape(-1, n, h * r, w * r) for p, (n, r) in zip(parts, layers, strict=True)]


def averaged(batch: Minibatch, rung: int) -> Minibatch:
    """A batch whose truth is averaged over the cells of a stage; the mask is their valid share.

    Parameters
    ----------
    batch
        With a target on the fine grid.
    rung
        Cells of the stage along a coarse cell.
    """
    if rung == batch.scale:
        return batch
    share = area_mean(batch.mask.to(batch.target), batch.scale, rung)
    total = area_mean(batch.target * batch.mask, batch.scale, rung)
    target = total / torch.where(share > 0, share, 1.0)
    return replace(batch, target=target, mask=share, scale=rung)


def balanced_flow(height: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The flow that a height balances, up to gravity over the Coriolis parameter and the cell.

    Eastward it is the height's decrease per cell to the north, northward its increase to the east:
    with g / (f * resolution) it is a velocity. Central differences of whole tiles need neither the
    place of a tile nor how it was turned.

    Parameters
    ----------
    height
        (B, 1, H, W), rows from north to south.
    mask
        Of the same shape, where it is known.

    Returns
    -------
    tuple
        Eastward and northward component (B, 2, H, W), units of the height per cell; and where they
        are known, of the same shape: in cells whose four neighbours are.
    """
    north, south = (..., slice(None, -2), slice(1, -1)), (..., slice(2, None), slice(1, -1))
    west, east = (..., slice(1, -1), slice(None, -2)), (..., slice(1, -1), slice(2, None))
    flow = torch.cat([height[south] - height[north], height[east] - height[west]], dim=1) / 2
    known = mask[north] & mask[south] & mask[west] & mask[east]
    around = (1, 1, 1, 1)
    return functional.pad(flow, around), functional.pad(known.expand_as(flow), around)
