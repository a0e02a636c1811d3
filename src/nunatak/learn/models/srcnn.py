"""A cascade of super-resolution networks, each of which refines what the one before gave.

Dong et al. 2014, doi 10.1007/978-3-319-10593-2_13, one network of 9 x 9, 1 x 1 and 5 x 5
convolutions; a cascade of them climbs from the coarse grid to the fine one.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional

from nunatak.ladder import detached, rungs
from nunatak.learn.models.interpolate import upsample
from nunatak.learn.spec import Batch, ModelSpec, Network, area_mean

_SPREAD = 1e-3
# Cells that one network, and bicubic interpolation, reach on each side.
_SEES, _CUBIC = 4 + 2, 2


def _between(field: Tensor, given: int, wanted: int) -> Tensor:
    """Bicubic interpolation to more cells a coarse cell, double precision."""
    if wanted % given == 0:
        return upsample(field, wanted // given)
    h, w = (n // given * wanted for n in field.shape[-2:])
    with torch.autocast(field.device.type, enabled=False):
        return functional.interpolate(
            field.double(), size=(h, w), mode="bicubic", align_corners=False
        )


def stage(channels: int) -> nn.Sequential:
    """One network: 13,313 parameters for two channels.

    Weights are drawn from a normal of deviation 1e-3, biases are 0.
    """
    network = nn.Sequential(
        nn.Conv2d(channels, 64, 9, padding=4),
        nn.ReLU(),
        nn.Conv2d(64, 32, 1),
        nn.ReLU(),
        nn.Conv2d(32, 1, 5, padding=2),
    )
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=_SPREAD)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return network


class Srcnn(Network):
    """Stages of SRCNN: each gets the field before it, interpolated, and the conditions.

    Convolutions pad with zeros and the margin is 0: the caller gives context and crops by the
    measured receptive field. The conditions are averaged over the cells of each stage.

    Parameters
    ----------
    spec
        Inputs and scale.
    ladder
        ``geometric``: each stage doubles; ``linear``: each adds two cells a coarse cell;
        ``level``: all are on the fine grid.
    stages
        How many there are, if the ladder is ``level``.
    end_to_end
        Let the losses of a stage teach those before it too. Otherwise each stage is fed what the
        one before gave as mere numbers, and needs a loss of its own: the task ``cascade``.
    residual
        Stages give what is to be added to the interpolated field, in standard deviations of the
        detail, and start near nothing. Otherwise they give the field itself, as the original.

    Attributes
    ----------
    receptive
        Upper bound of the receptive field's radius, in coarse cells.

    Raises
    ------
    ConfigError
        If the ladder is not known, does not end at the scale or has not so many stages.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        ladder: str = "geometric",
        stages: int = 0,
        end_to_end: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__(spec)
        self.rungs = rungs(spec.scale, ladder, stages)
        self.end_to_end, self.residual = end_to_end, residual
        self.greedy = detached(spec.scale, ladder=ladder, stages=stages, end_to_end=end_to_end)
        channels = 1 + sum(given.channels for given in spec.conditions.values())
        self.stages = nn.ModuleList(stage(channels) for _ in self.rungs)
        below = (1, *self.rungs[:-1])
        reach = sum(_CUBIC / b + _SEES / r for b, r in zip(below, self.rungs, strict=True))
        self.receptive = ceil(reach) + 1

    def forward(self, inputs: Batch) -> Tensor:
        """The fine field, ``(B, 1, h * scale, w * scale)``, in the prior's units."""
        return self.climb(inputs)[-1]

    def climb(self, inputs: Batch) -> list[Tensor]:
        """The field of every stage, ``(B, 1, h * rung, w * rung)``, in the prior's units."""
        self.spec.window(inputs)
        field, below, found = inputs["prior"], 1, []
        for rung, network in zip(self.rungs, self.stages, strict=True):
            fed = field if self.end_to_end else field.detach()
            field, below = self._refined(_between(fed, below, rung), rung, network, inputs), rung
            found.append(field)
        return found

    def _refined(self, field: Tensor, rung: int, network: nn.Module, inputs: Batch) -> Tensor:
        normal = self.normal(field)
        conditions = [
            area_mean(inputs[name], given.ratio, rung)
            for name, given in self.spec.conditions.items()
        ]
        added: Tensor = network(torch.cat([normal, *conditions], dim=1)).float()
        if self.residual:
            return field.float() + self.detail * added
        return self.mean + self.std * added
