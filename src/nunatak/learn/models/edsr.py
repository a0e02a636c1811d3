"""The encoder of EDSR, residual blocks without normalisation, as other networks begin with it.

Lim et al. 2017, Enhanced Deep Residual Networks for Single Image Super-Resolution,
arXiv:1707.02921: its baseline, less the upsampling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, field: Tensor) -> Tensor:
        """``(B, width, h, w)`` to the same."""
        added: Tensor = self.second(functional.relu(self.first(field)))
        return field + added


class Encoder(nn.Module):
    """A convolution, residual blocks, a convolution, and a skip over the latter two.

    Convolutions pad with zeros. Weights are drawn as torch does by default.

    Parameters
    ----------
    channels
        Channels in.
    width
        Channels out, and of every layer.
    blocks
        Residual blocks.

    Attributes
    ----------
    reach
        Cells that a cell of the output sees on each side.
    """

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.reach = 2 * blocks + 2
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.last = nn.Conv2d(width, width, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, field: Tensor) -> Tensor:
        """``(B, channels, h, w)`` to ``(B, width, h, w)``."""
        first: Tensor = self.first(field.contiguous(memory_format=torch.channels_last))
        last: Tensor = self.last(self.blocks(first))
        return first + last
