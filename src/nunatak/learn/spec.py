"""What a network is given and what it returns: the one interface between models and stages.

Every window is a rectangle of *coarse* cells. An input of ratio ``r`` has ``r`` cells along the
side of a coarse cell, so a window of ``h x w`` coarse cells arrives as ``(B, C, h * r, w * r)``,
and a network of scale ``s`` and margin ``m`` returns ``(B, L, (h - 2 m) * s, (w - 2 m) * s)``: one
layer of a map, or the logits of all layers of a segmentation. After those it may give layers that
training alone has a use for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from nunatak.errors import ConfigError, DataError

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class InputSpec:
    """One input: its channels, and its cells along the side of a coarse cell."""

    channels: int
    ratio: int


@dataclass(frozen=True)
class ModelSpec:
    """The inputs and the scale that a recipe asks a network for.

    Parameters
    ----------
    scale
        Fine cells along the side of a coarse cell.
    inputs
        ``coarse`` (one channel, ratio 1) first, then the conditions in the recipe's order.
    classes
        Layers that exclude each other, the first of a segmentation; 0 for a map.
    lines
        Layers after them, each of its own; 0 for a map.

    Raises
    ------
    ConfigError
        If the scale, a ratio or a number of channels is not positive, ``coarse`` is not first, or
        there is one class only or less than none.
    """

    scale: int
    inputs: dict[str, InputSpec]
    classes: int = 0
    lines: int = 0

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise ConfigError(f"model: scale {self.scale}", "1 or more fine cells a coarse cell")
        if next(iter(self.inputs.items()), None) != ("coarse", InputSpec(1, 1)):
            raise ConfigError(
                f"model: inputs {', '.join(self.inputs) or 'none'}",
                "first 'coarse', of one channel and ratio 1",
            )
        for name, given in self.inputs.items():
            if min(given.channels, given.ratio) < 1:
                raise ConfigError(
                    f"model: input {name!r} is {given}", "positive channels and ratio"
                )
        if self.classes < 0 or self.classes == 1 or self.lines < 0:
            raise ConfigError(
                f"model: {self.classes} classes, {self.lines} lines",
                "no classes or several, and any number of lines",
                "a single class and its background are a line",
            )

    @property
    def segments(self) -> bool:
        """Whether the output is a segmentation, not a map."""
        return self.classes + self.lines > 0

    @property
    def layers(self) -> int:
        """Channels of the output: those of a segmentation, or the one of a map."""
        return self.classes + self.lines or 1

    @property
    def conditions(self) -> dict[str, InputSpec]:
        """The inputs besides the coarse field."""
        return {name: given for name, given in self.inputs.items() if name != "coarse"}

    def window(self, inputs: Batch) -> tuple[int, int]:
        """Rows and columns (coarse cells) of the window that the inputs cover.

        Raises
        ------
        DataError
            If an input is missing, or its shape is not that of the window of ``prior``.
        """
        if "prior" not in inputs:
            raise DataError("inputs without 'prior'", "the gap-filled coarse field, physical units")
        batch, (h, w) = inputs["prior"].shape[0], inputs["prior"].shape[-2:]
        for name, given in {**self.inputs, "prior": InputSpec(1, 1)}.items():
            expected = (batch, given.channels, h * given.ratio, w * given.ratio)
            found = tuple(inputs[name].shape) if name in inputs else "missing"
            if found != expected:
                raise DataError(
                    f"input {name!r} of a window of {h} x {w} coarse cells: {found}",
                    f"shape {expected}",
                    "cut all inputs from the same window, each at its own ratio",
                )
        return h, w


class Network(nn.Module):
    """Base of every model: normalised inputs and the physical prior in, physical units out.

    ``forward(inputs)`` takes the inputs of the specification, normalised, with missing values 0
    (the training mean), and ``prior``, the gap-filled coarse field in physical units
    ``(B, 1, h, w)``. A network that segments need not read the prior, and returns logits: those of
    the classes, then those of the lines.

    The inputs may hold ``normals``, ``(B, 2, H, W)``: mean and standard deviation of the target in
    every fine cell, in its units. Networks that know of them give z-scores by cell.

    Attributes
    ----------
    margin
        Coarse cells that ``forward`` eats on each side.
    whole
        Whether an output cell depends on the whole window, by a global mean for one. Then there is
        no halo that makes windows agree: they overlap instead, and are blended.
    greedy
        Whether parts of it learn by losses of their own alone, which a task must give them.
    support
        Coarse cells around a point's own that it follows from, if that is known without measuring.
    mean, std, detail
        Buffers, in the target's units: mean and standard deviation of the target, and standard
        deviation of the target minus its coarse field, over the training tiles.
    """

    margin: int = 0
    whole: bool = False
    greedy: bool = False
    support: int = 0
    mean: Tensor
    std: Tensor
    detail: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        for name, value in (("mean", 0.0), ("std", 1.0), ("detail", 1.0)):
            self.register_buffer(name, torch.tensor(value))

    def set_scale(self, mean: float, std: float, detail: float) -> None:
        """Set the output's scale, in the target's units, from statistics of the training tiles.

        Raises
        ------
        DataError
            If ``std`` or ``detail`` is not a positive finite number.
        """
        if not (0 < std < float("inf") and 0 < detail < float("inf")):
            raise DataError(
                f"target: standard deviation {std}, of the detail {detail}",
                "positive numbers",
                "train on tiles where the target varies within coarse cells",
            )
        for buffer, value in ((self.mean, mean), (self.std, std), (self.detail, detail)):
            buffer.fill_(value)

    def forward(self, inputs: Batch) -> Tensor:
        """The fine field (physical units), or logits, of the window less its margin."""
        raise NotImplementedError

    def normal(self, field: Tensor, inputs: Batch | None = None) -> Tensor:
        """Z-scores of a field of the target, single precision.

        Parameters
        ----------
        field
            ``(B, C, H, W)``, in the target's units; NaN stays NaN.
        inputs
            Those of `forward`; if they hold ``normals``, of the field's cells, these serve in place
            of ``mean`` and ``std``.
        """
        mean, std = self._moments(inputs)
        return ((field - mean) / std).float()

    def physical(self, field: Tensor, inputs: Batch | None = None) -> Tensor:
        """A field in the target's units from its z-scores: the inverse of `normal`."""
        mean, std = self._moments(inputs)
        return mean + std * field.float()

    def _moments(self, inputs: Batch | None) -> tuple[Tensor, Tensor]:
        if inputs is None or "normals" not in inputs:
            return self.mean, self.std
        return inputs["normals"][:, :1], inputs["normals"][:, 1:]

    def inner(self, inputs: Batch, cut: int) -> Tensor:
        """What `forward` gives, less ``cut`` more coarse cells on each side.

        Networks that need not work out what is cut off do better than this.
        """
        fine: Tensor = self(inputs)
        crop = cut * self.spec.scale
        return fine[..., crop : fine.shape[-2] - crop, crop : fine.shape[-1] - crop]

    def product(self, output: Tensor) -> Tensor:
        """What is kept of an output of `forward`.

        Parameters
        ----------
        output
            ``(B, layers or more, H, W)``.

        Returns
        -------
        Tensor
            ``(B, layers, H, W)``: a map as it is; of a segmentation probabilities, those of the
            classes adding up to 1.
        """
        output = output[:, : self.spec.layers]
        if not self.spec.segments:
            return output
        classes, lines = output[:, : self.spec.classes], output[:, self.spec.classes :]
        return torch.cat([classes.softmax(dim=1), lines.sigmoid()], dim=1)


def repeat(field: Tensor, scale: int) -> Tensor:
    """Each cell repeated ``scale x scale`` times: nearest-neighbour refinement, exact."""
    *rest, h, w = field.shape
    cells = field[..., :, None, :, None].expand(*rest, h, scale, w, scale)
    return cells.reshape(*rest, h * scale, w * scale)


def block_mean(field: Tensor, scale: int) -> Tensor:
    """Means of blocks of ``scale x scale`` cells."""
    return functional.avg_pool2d(field, scale)


def _shares(given: int, wanted: int) -> Tensor:
    """(wanted, given): share of each given cell in each wanted one, along one length."""
    edges = torch.arange(wanted + 1, dtype=torch.float64)[:, None] * given / wanted
    covered = (edges - torch.arange(given, dtype=torch.float64)).clamp(0, 1)
    return covered.diff(dim=0) * wanted / given


_kept_shares = lru_cache(maxsize=64)(_shares)


def area_mean(field: Tensor, given: int, wanted: int) -> Tensor:
    """Means over the areas of other cells, which need not be whole numbers of the given ones.

    Parameters
    ----------
    field
        ``(B, C, h * given, w * given)``.
    given, wanted
        Cells along the side of a coarse cell.

    Returns
    -------
    Tensor
        ``(B, C, h * wanted, w * wanted)``.
    """
    if given == wanted:
        return field
    if wanted % given == 0:
        return repeat(field, wanted // given)
    if given % wanted == 0:
        return functional.avg_pool2d(field, given // wanted)
    shares = _kept_shares(given, wanted).to(field)
    b, c, rows, cols = field.shape
    h, w = rows // given, cols // given
    cells = field.reshape(b, c, h, given, w, given)
    means = torch.einsum("bchiwj,pi,qj->bchpwq", cells, shares, shares)
    return means.reshape(b, c, h * wanted, w * wanted)


def area_resample(field: Tensor, shape: tuple[int, int]) -> Tensor:
    """Means over the areas of the cells of another grid of the same window.

    Parameters
    ----------
    field
        ``(B, C, rows, columns)``.
    shape
        Rows and columns of the other grid.

    Returns
    -------
    Tensor
        ``(B, C, *shape)``.
    """
    (rows, columns), (h, w) = field.shape[-2:], shape
    if (rows, columns) == (h, w):
        return field
    if rows % h == 0 and columns % w == 0:
        return functional.avg_pool2d(field, (rows // h, columns // w))
    return torch.einsum(
        "bcij,pi,qj->bcpq", field, _shares(rows, h).to(field), _shares(columns, w).to(field)
    )


def he_normal(module: nn.Module, gain: float = 1.0) -> None:
    """Draw a convolution's or a dense layer's weights from He's fan-in normal times ``gain``.

    Biases are set to zero. He et al. 2015, doi 10.1109/ICCV.2015.123.
    """
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        with torch.no_grad():
            module.weight.mul_(gain)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
