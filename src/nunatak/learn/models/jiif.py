"""JIIF: values and weights of an interpolation, learnt beside a finer guide.

Tang, Chen and Zeng 2021, Joint Implicit Image Function for Guided Depth Super-Resolution,
arXiv:2107.08717.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional

from nunatak.errors import ConfigError
from nunatak.learn.models.edsr import Encoder
from nunatak.learn.models.implicit import (
    Codes,
    Implicit,
    cell_index,
    containing,
    dense,
    neighbours,
    rows,
)
from nunatak.learn.models.interpolate import sample
from nunatak.learn.spec import Batch, ModelSpec, area_resample

_CUBIC = 2


class Jiif(Implicit):
    """JIIF, layer for layer, with a guide of one channel 10,828,674 parameters.

    One encoder sees the coarse field, another both the guide and its means over coarse cells. For
    each of the four nearest coarse cells, dense layers get its features, those of the guide in the
    very cell that the point lies in, how they differ from the guide's in the coarse cell, and the
    way from the coarse cell's centre to the point (in half coarse cells). They give a value and a
    logit; the softmax of the four logits weighs the values. The sum, in standard deviations of the
    detail, is added to the bicubic interpolation of the prior. Convolutions pad with zeros and the
    margin is 0: the caller gives context and crops by the measured receptive field.

    The first dense layer is linear, so what depends on the coarse cell alone is done once for it,
    and what depends on the guide at the point once for all four neighbours.

    Parameters
    ----------
    spec
        Inputs and scale. All conditions together are the guide, on the grid of the finest.
    width
        Channels of both encoders.
    blocks
        Residual blocks of each encoder.
    hidden
        Sizes of the dense layers.
    chunk
        Most points to work out at once, of all samples together.

    Attributes
    ----------
    receptive
        Upper bound of the receptive field's radius, in coarse cells.

    Raises
    ------
    ConfigError
        If there is no condition, or a size is not positive.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        width: int = 128,
        blocks: int = 16,
        hidden: Sequence[int] = (1024, 512, 256, 128),
        chunk: int = 16384,
    ) -> None:
        super().__init__(spec, chunk, (width, blocks, *hidden))
        if not spec.conditions:
            raise ConfigError("jiif: no condition", "a guide, finer than the coarse field")
        self.ratio = max(given.ratio for given in spec.conditions.values())
        self.width = width
        channels = sum(given.channels for given in spec.conditions.values())
        self.encoder = Encoder(1, width, blocks)
        self.guide_encoder = Encoder(channels, width, blocks)
        self.layers = dense(3 * width + 2, hidden, 2)
        self.receptive = self.encoder.reach + _CUBIC

    def _first(self) -> tuple[Sequence[Tensor], Tensor]:
        """Weights of the first dense layer, by what they read, and its biases.

        They are for the coarse cell, the guide, the guide's difference, and the place.
        """
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        return torch.split(first.weight, [self.width] * 3 + [2], dim=1), first.bias

    def encode(self, inputs: Batch, cut: int = 0) -> Codes:
        """Features of the guide, and what of the first dense layer depends on the coarse cell."""
        h, w = inputs["prior"].shape[-2:]
        finest = max((*inputs[name].shape[-2:],) for name in self.spec.conditions)
        guide = torch.cat([area_resample(inputs[n], finest) for n in self.spec.conditions], dim=1)
        (coarse, _, difference, _), _ = self._first()
        weight = torch.cat([coarse, -difference], dim=1)[..., None, None]
        seen = self.guide_encoder(area_resample(guide, (h, w)))
        features = torch.cat([self.encoder(inputs["coarse"]), seen], dim=1)
        # No more of the guide than what the points that are asked for see.
        first = max(0, cut - ceil(self.guide_encoder.reach / self.ratio))
        edges = [first * n // m for n, m in zip(finest, (h, w), strict=True)]
        down, right = (slice(edge, n - edge) for edge, n in zip(edges, finest, strict=True))
        fine = self.guide_encoder(guide[..., down, right])
        return Codes(functional.conv2d(features, weight), inputs["prior"], fine, first)

    def values(self, codes: Codes, points: Tensor, cell: tuple[float, float]) -> Tensor:
        """As `query`, all points at once; the size of the wanted cell plays no part."""
        value, weight = self.parts(codes, points)
        added = (value * weight).sum(dim=-1).view(points.shape[:2])
        return sample(codes.prior, points).squeeze(1).float() + self.detail * added

    def parts(self, codes: Codes, points: Tensor) -> tuple[Tensor, Tensor]:
        """Values of the four neighbours and their weights, which add up to 1, ``(B * N, 4)`` each.

        Parameters
        ----------
        codes, points
            As of `query`.
        """
        assert codes.guide is not None
        (_, own, difference, places), bias = self._first()
        seen = points.new_tensor(codes.lattice.shape[-2:]) - 2 * codes.first
        ratio = points.new_tensor(codes.guide.shape[-2:]) / seen
        there = containing(points - codes.first, ratio)
        guide = rows(codes.guide)[cell_index(there, codes.guide.shape[-2:])]
        shared = functional.linear(guide, own + difference).float()
        cells, found = rows(codes.lattice), []
        for near in neighbours(points, codes.lattice.shape[-2:]):
            with torch.autocast(points.device.type, enabled=False):
                place = functional.linear(near.away, places, bias)
                first = cells[near.index].float() + shared + place
            found.append(self.layers[1:](first).float())
        value, logit = torch.stack(found, dim=-1).unbind(dim=1)
        return value, logit.softmax(dim=-1)
