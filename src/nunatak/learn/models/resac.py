"""RESAC: a cascade that refines a coarse field step by step, beside a finer guide.

Thiria et al. 2023, Downscaling of ocean fields by fusion of heterogeneous observations using deep
learning algorithms, Ocean Modelling. The layers follow from the published number of parameters:
402,113 are those of two steps of 3 (313,022) and of the branches for the velocities (89,091).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor, nn

from nunatak import ladder
from nunatak.learn.models.interpolate import upsample
from nunatak.learn.spec import Batch, ModelSpec, Network, area_mean, he_normal

# Layers, their channels and kernel, and the kernel of the layer that ends in one channel.
_COARSEST, _FINER = (7, 36, 6, 2), (3, 24, 5, 1)
_CUBIC = 2


class Climber(Network):
    """Base of cascades whose levels refine the field by whole factors, and learn together.

    A level is a module that takes the level's field and conditions, and gives what it makes of
    them. The condition at a level is the mean over the level's cells.

    Attributes
    ----------
    factors
        By how much each level refines the one before.
    rungs
        Cells along the side of a coarse cell, of each level.
    levels
        The modules.
    """

    levels: nn.ModuleList

    def __init__(self, spec: ModelSpec, factors: Sequence[int]) -> None:
        super().__init__(spec)
        self.factors = ladder.factors(spec.scale, factors)
        self.rungs = ladder.climbed(spec.scale, factors)
        self.guides = sum(given.channels for given in spec.conditions.values())

    def forward(self, inputs: Batch) -> Tensor:
        """The fine field, ``(B, 1, h * scale, w * scale)``, in the prior's units."""
        return self.climb(inputs)[-1]

    def climb(self, inputs: Batch) -> list[Tensor]:
        """The field of every level, ``(B, 1, h * rung, w * rung)``, in the prior's units."""
        self.spec.window(inputs)
        field, found = inputs["prior"], []
        for factor, rung, level in zip(self.factors, self.rungs, self.levels, strict=True):
            field = self.refined(field, factor, level, self.guide(inputs, rung))
            found.append(field)
        return found

    def refined(self, field: Tensor, factor: int, level: nn.Module, guide: list[Tensor]) -> Tensor:
        """The field, ``(B, 1, h, w)`` in physical units, refined by a level."""
        raise NotImplementedError

    def guide(self, inputs: Batch, rung: int) -> list[Tensor]:
        """The conditions averaged over the cells of a level."""
        return [
            area_mean(inputs[name], given.ratio, rung)
            for name, given in self.spec.conditions.items()
        ]


def _same(given: int, out: int, kernel: int) -> nn.Sequential:
    """A convolution that keeps the size; of an even kernel one tap more lies below and right."""
    before, after = (kernel - 1) // 2, kernel // 2
    padding = nn.ZeroPad2d((before, after, before, after))
    return nn.Sequential(padding, nn.Conv2d(given, out, kernel))


def stack(channels: int, layers: int, width: int, kernel: int, last: int) -> nn.Sequential:
    """Convolutions, each with a ReLU, and one that ends in a single channel."""
    found: list[nn.Module] = []
    for layer in range(layers):
        found += [_same(width if layer else channels, width, kernel), nn.ReLU()]
    return nn.Sequential(*found, _same(width, 1, last))


class Resac(Climber):
    """RESAC: each level gets the field before it, its cells repeated, and the conditions.

    The first level has seven layers of 36 channels and 6 x 6 kernels, the others three of 24 and
    5 x 5. Fields are in standard deviations of the target, so the last layers are linear, where the
    original, of values from 0 to 1, bounds them by a sigmoid. Convolutions pad with zeros and the
    margin is 0: the caller gives context and crops by the measured receptive field.

    Parameters
    ----------
    spec
        Inputs and scale; without conditions it is the variant of the coarse field alone.
    factors
        By how much each level refines the one before, the coarsest first. Their product is the
        scale; by default its prime factors, the smallest first.
    residual
        Levels give what is to be added to the field before them, interpolated bicubically, in
        standard deviations of the detail; at first nothing. Otherwise they give the field itself,
        as the original.
    velocities
        Add the branches of the original for the two components of velocity, which `currents`
        gives. They serve training alone, and need the task cascade.

    Attributes
    ----------
    receptive
        Upper bound of the receptive field's radius, in coarse cells.

    Raises
    ------
    ConfigError
        If the product of the factors is not the scale.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        factors: Sequence[int] = (),
        residual: bool = False,
        velocities: bool = False,
    ) -> None:
        super().__init__(spec, factors)
        self.residual, self.greedy = residual, velocities
        channels = 1 + self.guides
        shapes = [_COARSEST] + [_FINER] * (len(self.rungs) - 1)
        self.levels = nn.ModuleList(stack(channels, *shape) for shape in shapes)
        self.flow = nn.ModuleList(stack(n, *_FINER) for n in (channels, 1, 1) if velocities)
        self.apply(he_normal)
        if residual:
            for level in self.levels:
                *_, weight, _ = level.parameters()
                nn.init.zeros_(weight)
        below = (1, *self.rungs[:-1])
        sees = [layers * (kernel // 2) + last // 2 for layers, _, kernel, last in shapes]
        reach = sum(_CUBIC / b + s / r for b, s, r in zip(below, sees, self.rungs, strict=True))
        self.receptive = ceil(reach) + 1

    def refined(self, field: Tensor, factor: int, level: nn.Module, guide: list[Tensor]) -> Tensor:
        """The field, ``(B, 1, h, w)`` in physical units, refined by a level."""
        wide = upsample(field, factor, "bicubic" if self.residual else "nearest")
        given: Tensor = level(torch.cat([self.normal(wide), *guide], dim=1)).float()
        if self.residual:
            return wide.float() + self.detail * given
        return self.physical(given)

    def currents(self, inputs: Batch, fine: Tensor) -> Tensor:
        """Eastward and northward flow, ``(B, 2, h * scale, w * scale)``, of the fine field.

        In standard deviations of the detail per coarse cell; see
        `nunatak.learn.cascade.balanced_flow`.

        Raises
        ------
        AttributeError
            If the network was built without velocities.
        """
        if not self.flow:
            raise AttributeError("resac has no branches for currents: build it with velocities")
        trunk, *branches = self.flow
        guide = self.guide(inputs, self.spec.scale)
        shared = trunk(torch.cat([self.normal(fine), *guide], dim=1))
        return torch.cat([branch(shared) for branch in branches], dim=1).float()
