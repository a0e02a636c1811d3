"""Interpolation of the coarse field: the baseline that every network must beat."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nunatak.errors import ConfigError
from nunatak.learn.spec import Batch, ModelSpec, Network, repeat

MODES = ("nearest", "bilinear", "bicubic")
# So that rounding does not move a point over an edge.
_NEAR = 1e-6


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


def refined(field: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Interpolate an array bilinearly, less its outermost cells, which serve those beside them.

    Parameters
    ----------
    field
        (rows + 2, columns + 2).
    scale
        Fine cells along the side of a cell.

    Returns
    -------
    ndarray
        (rows * scale, columns * scale), float32.
    """
    fine = upsample(torch.from_numpy(field)[None, None], scale, "bilinear")[0, 0]
    return fine[scale:-scale, scale:-scale].float().numpy()


def sample(field: Tensor, points: Tensor, mode: str = "bicubic") -> Tensor:
    """Interpolation at single points, as `upsample` does it on a grid.

    Parameters
    ----------
    field
        ``(B, C, h, w)``.
    points
        ``(B, N, 2)``, double precision: down and right of the field's corner, in its cells.
    mode
        ``nearest``, of a point on an edge the cell below or right; ``bilinear`` or ``bicubic``.

    Returns
    -------
    Tensor
        ``(B, C, N)``, double precision.
    """
    h, w = field.shape[-2:]
    if mode == "nearest":
        points = (points + _NEAR).floor() + 0.5
    # From -1 to 1, right before down.
    grid = points.flip(-1) * points.new_tensor([2 / w, 2 / h]) - 1
    with torch.autocast(field.device.type, enabled=False):
        found = functional.grid_sample(
            field.double(),
            grid.unsqueeze(1),
            mode=mode,
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

    It can be asked for points too, and so for a map at any scale.

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

    # Most points to ask for at once; coarse cells around a point's own that it follows from.
    chunk, support = 2**18, 2

    def __init__(self, spec: ModelSpec, *, mode: str = "bicubic") -> None:
        super().__init__(spec)
        if mode not in MODES:
            raise ConfigError(f"interpolate: mode {mode!r}", f"one of {', '.join(MODES)}")
        self.mode = mode

    def forward(self, inputs: Batch) -> Tensor:
        """The interpolated prior, ``(B, 1, h * scale, w * scale)``, in its units."""
        prior = inputs["prior"]
        return upsample(prior, self.spec.scale, self.mode).to(prior.dtype)

    def encode(self, inputs: Batch, cut: int = 0) -> Tensor:
        """What `query` interpolates: the prior of the whole window, whatever the ``cut``."""
        del cut
        return inputs["prior"]

    def query(self, codes: Tensor, points: Tensor, cell: tuple[float, float]) -> Tensor:
        """The interpolated prior at points.

        Parameters
        ----------
        codes
            What `encode` gave.
        points
            ``(B, N, 2)``, double precision: down and right of the window's corner, in coarse cells.
        cell
            Height and width of the cells that the values are for, which change nothing.

        Returns
        -------
        Tensor
            ``(B, N)``, in the prior's units.
        """
        del cell
        return sample(codes, points, self.mode)[:, 0].to(codes.dtype)


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
