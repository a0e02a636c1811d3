"""The Fourier neural operator: layers that act on a window's lowest wave numbers.

Li et al. 2021, Fourier Neural Operator for Parametric Partial Differential Equations,
arXiv:2010.08895.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional

from nunatak.errors import ConfigError
from nunatak.learn.models.implicit import centres
from nunatak.learn.models.interpolate import resize
from nunatak.learn.spec import Batch, ModelSpec, Network, area_resample

_LAST = 128
# A share of a coarse cell that is rounding.
_ROUNDING = 1e-9


class SpectralConv(nn.Module):
    """A linear map of the channels at each of the lowest wave numbers; all others are dropped.

    A wave number has the same weights at every resolution. Those that a small field does not
    resolve are left out.

    Parameters
    ----------
    width
        Channels in and out.
    modes
        Wave numbers to keep: across, and down from 0, below ``modes``; down also -1 to ``-modes``.
    """

    def __init__(self, width: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        # Real and imaginary parts, last: all real, as optimisers and averages take them.
        self.weight = nn.Parameter(torch.rand(2, width, width, modes, modes, 2) / width**2)

    def forward(self, field: Tensor) -> Tensor:
        """``(B, width, H, W)`` to the same, single precision."""
        h, w = field.shape[-2:]
        above, below, across = (min(self.modes, n // 2) for n in (h + 1, h - 1, w + 1))
        rows = (
            (slice(above), slice(above)),
            (slice(h - below, h), slice(self.modes - below, None)),
        )
        with torch.autocast(field.device.type, enabled=False):
            given = torch.fft.rfft2(field.float())
            found = torch.zeros_like(given)
            for weight, (there, held) in zip(self.weight, rows, strict=True):
                factor = torch.view_as_complex(weight[:, :, held, :across].contiguous())
                kept = given[..., there, :across]
                found[..., there, :across] = torch.einsum("bixy,ioxy->boxy", kept, factor)
            filtered: Tensor = torch.fft.irfft2(found, s=(h, w))
        return filtered


class Fno(Network):
    """The Fourier neural operator, layer for layer: 2,368,001 parameters for one field.

    The conditions on the fine grid and the place in the window are lifted to ``width`` channels;
    layers add what a spectral and a pointwise convolution give. Below and right the window is
    extended by zeros, by a share of its size and not by a number of fine cells: by as many coarse
    cells, rounded up. So a band-limited field of a window has one answer, but for what the layers'
    nonlinearity adds beyond the band, at every resolution of which coarse cells hold a whole
    number of cells; at others the extension is rounded to their cells. It sees its window as a
    whole: every output cell depends on all of it, so windows overlap and are blended.

    Parameters
    ----------
    spec
        Inputs and scale; the weights do not depend on the scale.
    width
        Channels of the layers.
    modes
        Wave numbers that they keep, along each side.
    layers
        How many there are.
    padding
        Share of the window's size that it is extended by, rounded up to coarse cells.
    coarse
        Show the coarse field too, interpolated. The original is shown the conditions alone.
    residual
        Give what is to be added to the bicubic interpolation of the prior, in standard deviations
        of the detail. Otherwise give the field itself, in those of the target, as the original.

    Raises
    ------
    ConfigError
        If there is nothing to see, a size is not positive, or the padding is negative.
    """

    whole = True

    def __init__(
        self,
        spec: ModelSpec,
        *,
        width: int = 32,
        modes: int = 12,
        layers: int = 4,
        padding: float = 0.125,
        coarse: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__(spec)
        seen = sum(given.channels for given in spec.conditions.values()) + coarse
        if min(seen, width, modes, layers) < 1 or padding < 0:
            raise ConfigError(
                f"fno: {seen} fields to see, width {width}, modes {modes}, layers {layers}, padding"
                f" {padding:g}",
                "positive sizes, padding of 0 or more, and a condition or coarse: true",
            )
        self.coarse, self.residual, self.padding = coarse, residual, padding
        self.lift = nn.Linear(seen + 2, width)
        self.spectral = nn.ModuleList(SpectralConv(width, modes) for _ in range(layers))
        self.pointwise = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(layers))
        self.project = nn.Sequential(nn.Linear(width, _LAST), nn.GELU(), nn.Linear(_LAST, 1))

    def forward(self, inputs: Batch) -> Tensor:
        """The fine field, ``(B, 1, h * scale, w * scale)``, in the prior's units."""
        h, w = (n * self.spec.scale for n in self.spec.window(inputs))
        return self.at(inputs, (h, w))

    def at(self, inputs: Batch, shape: tuple[int, int]) -> Tensor:
        """The field on any grid, ``(B, 1, *shape)``, of equal cells that cover the window.

        Parameters
        ----------
        inputs
            As of `forward`.
        shape
            Rows and columns of the grid.
        """
        window = inputs["prior"].shape[-2:]
        sizes = (self._extended(n, cells) for n, cells in zip(window, shape, strict=True))
        found = self._operate(self._seen(inputs, shape), *sizes).float()
        if self.residual:
            return resize(inputs["prior"], shape).float() + self.detail * found
        return self.physical(found)

    def _seen(self, inputs: Batch, shape: tuple[int, int]) -> Tensor:
        """What is to be seen on the fine grid, channels last, and the place from 0 to 1."""
        prior = inputs["prior"]
        fields = [area_resample(inputs[name], shape) for name in self.spec.conditions]
        if self.coarse:
            fields.append(resize(inputs["coarse"], shape).to(prior.dtype))
        down, right = (centres(0, 1, n, prior.device).to(prior.dtype) for n in shape)
        places = torch.stack(torch.meshgrid(down, right, indexing="ij"))
        fields.append(places.expand(len(prior), -1, -1, -1))
        return torch.cat(fields, dim=1).permute(0, 2, 3, 1)

    def _extended(self, window: int, cells: int) -> int:
        """Cells to extend a side by, of ``window`` coarse cells and ``cells`` of the grid."""
        coarse = ceil(window * self.padding - _ROUNDING)
        return round(coarse * cells / window)

    def _operate(self, seen: Tensor, down: int, right: int) -> Tensor:
        """``(B, H, W, C)`` to ``(B, 1, H, W)``, extended by some rows and columns."""
        h, w = seen.shape[1:3]
        field = functional.pad(self.lift(seen).permute(0, 3, 1, 2), (0, right, 0, down))
        for n, (spectral, pointwise) in enumerate(zip(self.spectral, self.pointwise, strict=True)):
            field = functional.gelu(field) if n else field
            field = spectral(field) + pointwise(field)
        found: Tensor = self.project(field[..., :h, :w].permute(0, 2, 3, 1))
        return found.permute(0, 3, 1, 2)
