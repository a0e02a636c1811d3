"""A residual network over the interpolated prior that keeps every block mean.

Cheap by construction: nearly all arithmetic is on the coarse lattice, and only a light head sees
the fine one. No layer mixes samples, and none depends on the distance from a window's corner.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional

from nunatak.errors import ConfigError
from nunatak.learn.models.interpolate import upsample
from nunatak.learn.spec import Batch, InputSpec, ModelSpec, Network, block_mean, he_normal, repeat

_EMBED = 16
_BOX = 5
_FLOOR = 1e-3


def box_mean(field: Tensor) -> Tensor:
    """Means over 5 x 5 cells; beyond the border the outermost cells repeat."""
    reach = _BOX // 2
    return functional.avg_pool2d(
        functional.pad(field, (reach,) * 4, mode="replicate"), _BOX, stride=1
    )


def contrast(field: Tensor, ratio: int) -> tuple[Tensor, Tensor]:
    """Split what a condition adds within coarse cells into its shape and its strength.

    The coarse part, the block means interpolated, is taken away; the rest is divided by its local
    standard deviation, so that a shape reads alike over mountains and over an ice shelf.

    Parameters
    ----------
    field
        ``(B, C, h * ratio, w * ratio)``, normalised.
    ratio
        Cells along the side of a coarse cell, 2 or more.

    Returns
    -------
    shape
        ``(B, C, h * ratio, w * ratio)``, of variance about 1.
    strength
        ``(B, C, h, w)``: logarithm of the local standard deviation over 5 x 5 coarse cells.
    """
    smooth = functional.interpolate(
        block_mean(field, ratio), scale_factor=float(ratio), mode="bilinear", align_corners=False
    )
    rest = field - smooth
    sigma = (box_mean(block_mean(rest.square(), ratio)) + _FLOOR**2).sqrt()
    return rest / repeat(sigma, ratio), sigma.log()


class Embed(nn.Module):
    """A condition on the coarse lattice (its patches embedded) and, as shape, on the fine one."""

    def __init__(self, given: InputSpec, scale: int) -> None:
        super().__init__()
        self.ratio, self.scale = given.ratio, scale
        self.patch = nn.Conv2d(given.channels, _EMBED, given.ratio, stride=given.ratio)
        plain = given.ratio == 1
        self.coarse_channels = _EMBED + (0 if plain else 2 * given.channels)
        self.fine_channels = 0 if plain else given.channels

    def forward(self, field: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Channels for the coarse lattice, and for the fine one (none at ratio 1)."""
        if self.ratio == 1:
            return [self.patch(field)], []
        shape, strength = contrast(field, self.ratio)
        h, w = strength.shape[-2:]
        fine = functional.adaptive_avg_pool2d(shape, (h * self.scale, w * self.scale))
        return [self.patch(shape), block_mean(field, self.ratio), strength], [fine]


class Block(nn.Module):
    """Two 3 x 3 convolutions added to their input, whole channels dropped in training."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, field: Tensor) -> Tensor:
        """``(B, width, h, w)`` to the same."""
        added: Tensor = self.second(
            self.dropout(functional.relu(self.first(functional.relu(field))))
        )
        return field + added


class Residual(Network):
    """Bicubic prior plus learnt detail; the mean of every coarse cell stays that of the prior.

    It starts as the mean-preserving bicubic: the last layer is zero. Convolutions pad with zeros
    and the margin is 0: the caller gives context and crops by the measured receptive field.

    Parameters
    ----------
    spec
        Inputs and scale; a condition's detail is resampled to the fine lattice whatever its ratio.
    width
        Channels on the coarse lattice.
    depth
        Residual blocks, of two convolutions each.
    head
        Channels on the fine lattice.
    dropout
        Share of channels dropped within blocks in training, from torch's current random state.
    constrain
        Keep the block means. Off where the prior is not the block mean of the truth.

    Attributes
    ----------
    receptive
        Upper bound of the receptive field's radius, in coarse cells.

    Raises
    ------
    ConfigError
        If a size is not positive or ``dropout`` is not in [0, 1).
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        width: int = 48,
        depth: int = 6,
        head: int = 16,
        dropout: float = 0.0,
        constrain: bool = True,
    ) -> None:
        super().__init__(spec)
        if min(width, depth, head) < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f"residual: width {width}, depth {depth}, head {head}, dropout {dropout}",
                "positive sizes, and dropout in [0, 1)",
            )
        self.constrain = constrain
        self.receptive = 3 + 1 + 2 * depth + ceil(2 / spec.scale)
        embeds = {name: Embed(given, spec.scale) for name, given in spec.conditions.items()}
        coarse = 2 + sum(embed.coarse_channels for embed in embeds.values())
        fine = head + sum(embed.fine_channels for embed in embeds.values())
        blocks = [Block(width, dropout) for _ in range(depth)]
        self.embed = nn.ModuleDict(embeds)
        self.stem = nn.Conv2d(coarse, width, 3, padding=1)
        self.blocks = nn.Sequential(*blocks)
        self.refine = nn.Conv2d(width, head * spec.scale**2, 1)
        self.mix = nn.Conv2d(fine, head, 3, padding=1)
        self.last = nn.Conv2d(head, 1, 3, padding=1, bias=not constrain)
        self.apply(he_normal)
        for block in blocks:
            he_normal(block.second, depth**-0.5)
        nn.init.zeros_(self.last.weight)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, inputs: Batch) -> Tensor:
        """The fine field, ``(B, 1, h * scale, w * scale)``, in the prior's units."""
        self.spec.window(inputs)
        prior, scale = inputs["prior"], self.spec.scale
        added = self.detail * self._detail(inputs).float()
        anomaly = upsample(prior, scale) - repeat(prior.double(), scale)
        added = added + anomaly.float()
        if self.constrain:
            # On the anomaly from the prior, not on the field: the rounding is that of the detail.
            added = added - repeat(block_mean(added, scale), scale)
        return repeat(prior, scale) + added

    def _detail(self, inputs: Batch) -> Tensor:
        """Learnt detail, in standard deviations of the detail."""
        prior = inputs["prior"]
        coarse, fine = [inputs["coarse"], (prior - box_mean(prior)) / self.detail], []
        for name, embed in self.embed.items():
            on_coarse, on_fine = embed(inputs[name])
            coarse += on_coarse
            fine += on_fine
        features = self.stem(_stack(coarse))
        features = self.refine(functional.relu(self.blocks(features)))
        features = functional.pixel_shuffle(features, self.spec.scale)
        detail: Tensor = self.last(
            functional.relu(self.mix(_stack([functional.relu(features), *fine])))
        )
        return detail


def _stack(fields: list[Tensor]) -> Tensor:
    return torch.cat(fields, dim=1).contiguous(memory_format=torch.channels_last)
