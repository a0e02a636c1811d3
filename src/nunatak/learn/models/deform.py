"""Deformable convolution, version 1, in plain torch.

Dai et al. 2017, Deformable Convolutional Networks, doi 10.1109/ICCV.2017.89.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def _sample(rows: Tensor, shape: tuple[int, int, int], y: Tensor, x: Tensor) -> Tensor:
    """Bilinear samples at fractional cells of a field with a border of zeros.

    ``rows`` holds the padded field ``shape`` = (B, H, W), one row of channels a cell; ``y`` and
    ``x`` ``(B, h, w)`` count from the padded corner. Returns ``(B * h * w, C)``. Whatever lies
    outside is clamped into the border, whose value is zero.
    """
    batch, height, width = shape
    top, left = y.floor(), x.floor()
    dy, dx = (y - top).flatten(), (x - left).flatten()
    first = torch.arange(batch, device=y.device).view(-1, 1, 1) * (height * width)
    total = rows.new_zeros(())
    for down, wy in ((0, 1 - dy), (1, dy)):
        for right, wx in ((0, 1 - dx), (1, dx)):
            row = (top.long() + down).clamp(0, height - 1)
            column = (left.long() + right).clamp(0, width - 1)
            index = (first + row * width + column).flatten()
            total = total + rows.index_select(0, index) * (wy * wx).to(rows.dtype).unsqueeze(1)
    return total


def deform_conv2d(
    field: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Convolve with taps displaced at every cell; stride 1, output of the input's size.

    One tap is sampled at a time, so the memory is that of one field and not of one field a tap.

    Parameters
    ----------
    field
        ``(B, C, H, W)``.
    offset
        ``(B, 2 * k * k, H, W)``: displacement down and right (cells) of each tap, row by row.
    weight, bias
        ``(O, C, k, k)`` with odd k, and ``(O,)``.

    Returns
    -------
    Tensor
        ``(B, O, H, W)``; outside of the field the value is zero.

    Raises
    ------
    ValueError
        If the shape of ``offset`` does not fit the field and the kernel.
    """
    (batch, channels, h, w), k = field.shape, weight.shape[-1]
    if tuple(offset.shape) != (batch, 2 * k * k, h, w):
        raise ValueError(f"offset {tuple(offset.shape)}, expected {(batch, 2 * k * k, h, w)}")
    padded = functional.pad(field, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    shape = padded.shape[0], padded.shape[1], padded.shape[2]
    rows = padded.reshape(-1, channels)
    offset = offset.double() if offset.dtype == torch.float64 else offset.float()
    grid_y = torch.arange(1, h + 1, device=field.device, dtype=offset.dtype).view(1, h, 1)
    grid_x = torch.arange(1, w + 1, device=field.device, dtype=offset.dtype).view(1, 1, w)
    total = rows.new_zeros(batch * h * w, weight.shape[0])
    for tap in range(k * k):
        y = grid_y + (tap // k - k // 2) + offset[:, 2 * tap]
        x = grid_x + (tap % k - k // 2) + offset[:, 2 * tap + 1]
        total = total + _sample(rows, shape, y, x) @ weight[:, :, tap // k, tap % k].T
    total = total if bias is None else total + bias
    return total.view(batch, h, w, -1).permute(0, 3, 1, 2)


class DeformConv2d(nn.Module):
    """A square convolution whose taps are displaced by offsets that a convolution predicts.

    The offsets start at zero, so the layer starts as a plain convolution.

    Parameters
    ----------
    channels, out
        Channels in and out.
    kernel
        Side of the kernel, odd.
    """

    def __init__(self, channels: int, out: int, kernel: int = 3) -> None:
        super().__init__()
        self.offset = nn.Conv2d(channels, 2 * kernel**2, kernel, padding=kernel // 2)
        self.taps = nn.Conv2d(channels, out, kernel)
        self.zero_offsets()

    def zero_offsets(self) -> None:
        """Make the layer a plain convolution."""
        nn.init.zeros_(self.offset.weight)
        if self.offset.bias is not None:
            nn.init.zeros_(self.offset.bias)

    def forward(self, field: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, out, H, W)``."""
        return deform_conv2d(field, self.offset(field), self.taps.weight, self.taps.bias)
