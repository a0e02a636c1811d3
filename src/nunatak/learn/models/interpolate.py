"""Interpolation of the coarse field: the baseline that every network must beat."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nunatak.errors import ConfigError
from nunatak.learn.spec import Batch, ModelSpec, Network, repeat

MODES = ("nearest", "bilinear", "bicubic")


def upsample(field: Tensor, scale: int, mode: str = "bicubic") -> Tensor:
    """Interpolate between cell centres; beyond the border the outermost cells repeat.

    The arithmetic is in double precision: in single precision the weights depend on the distance
    from the window's corner, and tiles of heights of thousands of metres would not agree.

    Parameters
    ----------
    field
        ``(B, C, h, w)``.
    scale
        Fine cells along the side of a cell.
    mode
        ``nearest``, ``bilinear`` or ``bicubic`` (Keys 1981, a = -0.75).

    Returns
    -------
    Tensor
        ``(B, C, h * scale, w * scale)``, double precision.
    """
    if mode == "nearest" or scale == 1:
        return repeat(field.double(), scale)
    h, w = field.shape[-2:]
    return resize(field, (h * scale, w * scale), mode)


def resize(field: Tensor, shape: tuple[int, int], mode: str = "bicubic") -> Tensor:
    """Interpolate as `upsample` does, ``(B, C, h, w)`` to ``(B, C, *shape)``, by any ratio."""
    with torch.autocast(field.device.type, enabled=False):
        return functional.interpolate(field.double(), size=shape, mode=mode, align_corners=False)


def sample(field: Tensor, points: Tensor) -> Tensor:
    """Bicubic interpolation at single points, as `upsample` does it on a grid.

    Parameters
    ----------
    field
        ``(B, C, h, w)``.
    points
        ``(B, N, 2)``, double precision: down and right of the field's corner, in its cells.

    Returns
    -------
    Tensor
        ``(B, C, N)``, double precision.
    """
    h, w = field.shape[-2:]
    # From -1 to 1, right before down.
    grid = points.flip(-1) * points.new_tensor([2 / w, 2 / h]) - 1
    with torch.autocast(field.device.type, enabled=False):
        found = functional.grid_sample(
            field.double(),
            grid.unsqueeze(1),
            mode="bicubic",
            padding_mode="border",
            align_corners=False,
        )
    return found.squeeze(2)


def corrected(inputs: Batch, shape: tuple[int, int], mode: str = "bicubic") -> Tensor:
    """The prior interpolated, less the bias that each cell has over the days of training.

    Its anomaly is interpolated, and added to the target's mean; without normals, the prior is.

    Parameters
    ----------
    inputs
        As networks get them.
    shape
        Rows and columns of the result.
    mode
        ``bilinear`` or ``bicubic``.

    Returns
    -------
    Tensor
        ``(B, 1, *shape)``, the prior's units, double precision.
    """
    if "normals" not in inputs:
        return resize(inputs["prior"], shape, mode)
    anomaly = resize(inputs["prior"] - inputs["prior_normal"], shape, mode)
    return inputs["normals"][:, :1] + anomaly


class Interpolate(Network):
    """The prior interpolated to the fine grid, with no parameters to train.

    Parameters
    ----------
    spec
        The scale; inputs other than the prior are not read.
    mode
        ``nearest``, ``bilinear`` or ``bicubic``.

    Raises
    ------
    ConfigError
        If the mode is none of these.
    """

    def __init__(self, spec: ModelSpec, *, mode: str = "bicubic") -> None:
        super().__init__(spec)
        if mode not in MODES:
            raise ConfigError(f"interpolate: mode {mode!r}", f"one of {', '.join(MODES)}")
        self.mode = mode

    def forward(self, inputs: Batch) -> Tensor:
        """The interpolated prior, ``(B, 1, h * scale, w * scale)``, in its units."""
        prior = inputs["prior"]
        return upsample(prior, self.spec.scale, self.mode).to(prior.dtype)


class Corrected(Network):
    """The interpolated prior, less the bias that it has in every cell over the days of training.

    Without normals it is the interpolation itself.

    Parameters
    ----------
    spec
        The scale; inputs other than the prior and the normals are not read.
    mode
        ``bilinear`` or ``bicubic``.

    Raises
    ------
    ConfigError
        If the mode is neither.
    """

    def __init__(self, spec: ModelSpec, *, mode: str = "bilinear") -> None:
        super().__init__(spec)
        if mode not in MODES[1:]:
            raise ConfigError(f"corrected: mode {mode!r}", f"one of {', '.join(MODES[1:])}")
        self.mode = mode

    def forward(self, inputs: Batch) -> Tensor:
        """The corrected prior, ``(B, 1, h * scale, w * scale)``, in its units."""
        h, w = (n * self.spec.scale for n in inputs["prior"].shape[-2:])
        return corrected(inputs, (h, w), self.mode).to(inputs["prior"].dtype)


class Climatology(Network):
    """The mean of every cell over the days of training, whatever the day.

    Without normals it is one value, the mean of the training tiles.
    """

    def forward(self, inputs: Batch) -> Tensor:
        """``(B, 1, h * scale, w * scale)``, in the target's units."""
        if "normals" in inputs:
            return inputs["normals"][:, :1]
        h, w = (n * self.spec.scale for n in self.spec.window(inputs))
        return self.mean.expand(len(inputs["prior"]), 1, h, w)
