"""A cascade of residual sub-pixel networks beside a finer guide, in the manner of RESACsub.

Archambault et al. 2022, Sea surface height super-resolution using high-resolution sea surface
temperature with a subpixel convolutional residual network, Environmental Data Science (preprint
hal-03619091). The sub-pixel convolution is that of Shi et al. 2016, arXiv:1609.05158. The sizes are
our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional

from nunatak.errors import ConfigError
from nunatak.learn.models.edsr import ResidualBlock
from nunatak.learn.models.interpolate import upsample
from nunatak.learn.models.resac import Climber
from nunatak.learn.spec import ModelSpec, he_normal

_CUBIC = 2


class SubpixelLevel(nn.Module):
    """Detail of a finer grid, worked out on the coarser one.

    The guide's cells within a coarser cell become channels, and so do the detail's.
    """

    def __init__(self, factor: int, guides: int, width: int, depth: int) -> None:
        super().__init__()
        self.factor = factor
        self.first = nn.Conv2d(1 + guides * factor**2, width, 3, padding=1)
        blocks = [ResidualBlock(width) for _ in range(depth)]
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Conv2d(width, factor**2, 3, padding=1)
        self.apply(he_normal)
        for block in blocks:
            he_normal(block.second, depth**-0.5)
        nn.init.zeros_(self.last.weight)

    def forward(self, field: Tensor, *guide: Tensor) -> Tensor:
        """``(B, 1, h, w)`` and ``(B, C, h * factor, w * factor)`` to the latter's grid."""
        folded = [functional.pixel_unshuffle(given, self.factor) for given in guide]
        features = functional.relu(self.first(torch.cat([field, *folded], dim=1)))
        features = functional.relu(self.blocks(features))
        return functional.pixel_shuffle(self.last(features), self.factor)


class ResacSubpixel(Climber):
    """Residual levels with sub-pixel convolutions; it starts as bicubic interpolation.

    Convolutions pad with zeros and the margin is 0: the caller gives context and crops by the
    measured receptive field.

    Parameters
    ----------
    spec
        Inputs and scale.
    factors
        By how much each level refines the one before, the coarsest first. Their product is the
        scale; by default its prime factors, the smallest first.
    width
        Channels of a level.
    depth
        Residual blocks of a level, of two convolutions each.

    Attributes
    ----------
    receptive
        Upper bound of the receptive field's radius, in coarse cells.

    Raises
    ------
    ConfigError
        If the product of the factors is not the scale, or a size is not positive.
    """

    def __init__(
        self, spec: ModelSpec, *, factors: Sequence[int] = (), width: int = 48, depth: int = 4
    ) -> None:
        super().__init__(spec, factors)
        if min(width, depth) < 1:
            raise ConfigError(f"resac_subpixel: width {width}, depth {depth}", "positive sizes")
        self.levels = nn.ModuleList(
            SubpixelLevel(factor, self.guides, width, depth) for factor in self.factors
        )
        sees = 2 + 2 * depth + _CUBIC
        self.receptive = ceil(sum(sees / below for below in (1, *self.rungs[:-1]))) + 1
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def refined(self, field: Tensor, factor: int, level: nn.Module, guide: list[Tensor]) -> Tensor:
        """The field, ``(B, 1, h, w)`` in physical units, refined by a level."""
        added: Tensor = level(self.normal(field), *guide).float()
        return upsample(field, factor).float() + self.detail * added
