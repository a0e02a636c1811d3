"""DeepBedMap's generator and discriminator, layer for layer.

Leong and Horgan 2020, DeepBedMap, The Cryosphere 14, 3687, doi 10.5194/tc-14-3687-2020; built on
ESRGAN (Wang et al. 2018, doi 10.1007/978-3-030-11021-5_5). The first layer's kernels span three
coarse cells and move by one, so that any input ratio fits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nunatak.errors import ConfigError
from nunatak.learn.models.deform import DeformConv2d
from nunatak.learn.spec import Batch, ModelSpec, Network, he_normal

_SLOPE = 0.2
_GAIN = 0.1
_EMBED = 32
_CRITIC = ((64, 4), (128, 3), (128, 4), (128, 3), (256, 4), (256, 3), (512, 4), (512, 3), (512, 4))


def _conv(channels: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1)


def _initialise(module: nn.Module) -> None:
    he_normal(module, _GAIN)
    if isinstance(module, DeformConv2d):
        module.zero_offsets()


def _leaky(field: Tensor) -> Tensor:
    return functional.leaky_relu(field, _SLOPE)


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all before it: ``x + scaling * f(x)``."""

    def __init__(self, width: int, growth: int, scaling: float) -> None:
        super().__init__()
        self.scaling = scaling
        outs = (growth, growth, growth, growth, width)
        self.convs = nn.ModuleList(_conv(width + i * growth, out) for i, out in enumerate(outs))

    def forward(self, field: Tensor) -> Tensor:
        """``(B, width, H, W)`` to the same."""
        seen = field
        for conv in self.convs[:-1]:
            seen = torch.cat([seen, _leaky(conv(seen))], dim=1)
        last: Tensor = self.convs[-1](seen)
        return field + self.scaling * last


class ResidualInResidual(nn.Module):
    """Three dense blocks in a row: ``x + scaling * f(x)``."""

    def __init__(self, width: int, growth: int, scaling: float) -> None:
        super().__init__()
        self.scaling = scaling
        self.blocks = nn.Sequential(*(DenseBlock(width, growth, scaling) for _ in range(3)))

    def forward(self, field: Tensor) -> Tensor:
        """``(B, width, H, W)`` to the same."""
        added: Tensor = self.blocks(field)
        return field + self.scaling * added


class Generator(Network):
    """The generator; with bed, surface, velocity and accumulation at scale 4 it is the original.

    It returns ``mean + std * raw``; with the default 0 and 1, the original's raw output in metres.

    Parameters
    ----------
    spec
        Inputs and scale; the scale is a power of two.
    blocks
        Residual-in-residual dense blocks.
    growth
        Channels that each convolution adds within a dense block.
    width
        Channels of the trunk.
    residual_scaling
        Weight of each block's residual.

    Raises
    ------
    ConfigError
        If the scale is not a power of two.
    """

    margin = 1

    def __init__(
        self,
        spec: ModelSpec,
        *,
        blocks: int = 12,
        growth: int = 32,
        width: int = 64,
        residual_scaling: float = 0.1,
    ) -> None:
        super().__init__(spec)
        if spec.scale & (spec.scale - 1):
            raise ConfigError(f"deepbedmap: scale {spec.scale}", "a power of two")
        self.embed = nn.ModuleDict(
            {
                name: nn.Conv2d(given.channels, _EMBED, 3 * given.ratio, stride=given.ratio)
                for name, given in spec.inputs.items()
            }
        )
        self.first = _conv(_EMBED * len(spec.inputs), width)
        self.trunk = nn.Sequential(
            *(ResidualInResidual(width, growth, residual_scaling) for _ in range(blocks)),
            _conv(width, width),
        )
        doublings = spec.scale.bit_length() - 1
        self.up = nn.ModuleList(_conv(width, width) for _ in range(doublings))
        self.head = nn.ModuleList((DeformConv2d(width, width), DeformConv2d(width, 1)))
        self.apply(_initialise)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, inputs: Batch) -> Tensor:
        """The fine field, ``(B, 1, (h - 2) * scale, (w - 2) * scale)``, in the target's units."""
        self.spec.window(inputs)
        embedded = torch.cat([conv(inputs[name]) for name, conv in self.embed.items()], dim=1)
        first = _leaky(self.first(embedded.contiguous(memory_format=torch.channels_last)))
        field = first + self.trunk(first)
        for conv in self.up:
            field = _leaky(conv(functional.interpolate(field, scale_factor=2.0, mode="nearest")))
        raw: Tensor = self.head[1](_leaky(self.head[0](field)))
        return self.mean + self.std * raw.float()


class Discriminator(nn.Module):
    """The critic: one logit a tile, from fine fields in physical units.

    Ten convolutions of kernels 3 (stride 1) and 4 (stride 2) in turn, all but the first normalised
    over the batch (so the field's units do not matter), then dense layers of 100 and 1. A batch
    holds two tiles or more.

    Parameters
    ----------
    size
        Side of a tile (fine cells); 36 in the original, which gives 10,370,761 parameters.

    Raises
    ------
    ConfigError
        If the tile is smaller than 32 cells, the stride of the last layer.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 32:
            raise ConfigError(
                f"critic deepbedmap: tiles of {size} fine cells",
                "32 fine cells or more",
                "make tiles.size larger",
            )
        self.size = size
        layers: list[nn.Module] = [_conv(1, 64), nn.LeakyReLU(_SLOPE)]
        channels = 64
        for out, kernel in _CRITIC:
            conv = nn.Conv2d(channels, out, kernel, stride=kernel - 2, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(out), nn.LeakyReLU(_SLOPE)]
            channels = out
        dense = nn.Linear(channels * (size // 32) ** 2, 100)
        layers += [nn.Flatten(), dense, nn.LeakyReLU(_SLOPE), nn.Linear(100, 1)]
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, field: Tensor) -> Tensor:
        """``(B, 1, size, size)`` to logits ``(B, 1)``.

        Raises
        ------
        ValueError
            If the tile is not of the critic's size.
        """
        if field.shape[1:] != (1, self.size, self.size):
            raise ValueError(
                f"field {tuple(field.shape)}, expected (B, 1, {self.size}, {self.size})"
            )
        logits: Tensor = self.layers(field)
        return logits
