"""Days of a coarse field to one fine field: a generator that weighs days, and its critic.

Kim et al. 2023, Int. J. Appl. Earth Obs. Geoinf. 119, 103312.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from nunatak.errors import ConfigError
from nunatak.learn.models.interpolate import corrected
from nunatak.learn.spec import Batch, ModelSpec, Network, he_normal

LAYERS = ("map", "stations")
_LEVELS = 3
_STEP = 2**_LEVELS
_SLOPE = 0.2


def _resized(field: Tensor, shape: tuple[int, int]) -> Tensor:
    found: Tensor = functional.interpolate(field, size=shape, mode="bilinear", align_corners=False)
    return found


class Halving(nn.Module):
    """Two 3 x 3 x 3 convolutions, of which the second halves time and space, beside a shortcut."""

    def __init__(self, given: int, out: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(given, given, 3, padding=1)
        self.second = nn.Conv3d(given, out, 3, stride=2, padding=1)
        self.shortcut = nn.Conv3d(given, out, 1, bias=False)

    def forward(self, field: Tensor) -> Tensor:
        """``(B, given, T, h, w)`` to ``(B, out, T / 2, h / 2, w / 2)``, of even sizes."""
        found: Tensor = self.second(functional.relu(self.first(functional.relu(field))))
        short: Tensor = self.shortcut(functional.avg_pool3d(field, 2))
        return found + short


class TimeAttention(nn.Module):
    """The sum of all times, weighed by what is seen in the whole window.

    Each channel's mean and maximum go through one and the same dense layer, which gives a logit a
    time; a weight is the sigmoid of the sum of both.
    """

    def __init__(self, channels: int, times: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, times)

    def forward(self, field: Tensor) -> Tensor:
        """``(B, channels, times, h, w)`` to ``(B, channels, h, w)``."""
        logits = self.linear(field.mean((2, 3, 4))) + self.linear(field.amax((2, 3, 4)))
        return torch.einsum("bcthw,bt->bchw", field, logits.sigmoid())


class SstAttention(Network):
    """A U-Net over the days of a week; of 7 days of one channel it has 2,545,577 parameters.

    Its layers follow from that number and from what is told of the original: a 3-D convolution of
    ``width`` channels, three residual blocks that double them and halve time and space, attention
    over time at each of these levels, and a decoder of bilinear steps joined by skips. What was not
    told, and gives exactly that number: kernels of 3 with biases and no normalisation; blocks that
    widen in their second convolution, and whose shortcuts are 1 x 1 x 1 without bias; attention by
    one dense layer from a level's channels to its times; one convolution a step of the decoder, of
    4, 4 and 2 times ``width``; the third step, to the fine grid whatever the scale, joined by what
    the first layer makes of the last day; and two heads of a 1 x 1 convolution to half of ``width``
    and a 3 x 3 one. Others would give the number too.

    A frame of zeros comes before the first of 7 days; in general so many that 8 divides them.
    Windows of any size are taken: beyond their border the outermost cells repeat.

    `forward` gives two layers in the target's units: the map, and the field to be read at stations.
    A product holds one of them.

    Parameters
    ----------
    spec
        Inputs and scale, any scale. Of the inputs the history alone is seen.
    history
        Name of the condition that holds the days as channels, the last day first, on the coarse
        grid.
    width
        Channels of the first layer, an even number.
    residual
        Give what is to be added to the bicubic interpolation of the prior, corrected by the normals
        if there are any, in standard deviations of the detail; at first nothing. Otherwise give the
        field itself, in those of the target, as the original.
    published
        Which of the two layers the product is: ``map`` or ``stations``. Training does not differ.

    Raises
    ------
    ConfigError
        If no such layer can be published, there is no such condition, it is not on the coarse grid,
        or the width is not even.
    """

    whole = True

    def __init__(
        self,
        spec: ModelSpec,
        *,
        history: str,
        width: int = 32,
        residual: bool = False,
        published: str = LAYERS[0],
    ) -> None:
        super().__init__(spec)
        _check(spec, history, width)
        if published not in LAYERS:
            raise ConfigError(f"sst_attention: published {published!r}", " or ".join(LAYERS))
        self.history, self.residual, self.published = history, residual, LAYERS.index(published)
        days = spec.conditions[history].channels
        self.blank = -days % _STEP
        times, widths = days + self.blank, [width * 2**n for n in range(_LEVELS + 1)]
        self.first = nn.Conv3d(1, width, 3, padding=1)
        self.blocks = nn.ModuleList(Halving(given, out) for given, out in pairwise(widths))
        self.attention = nn.ModuleList(
            TimeAttention(c, times // 2**n) for n, c in enumerate(widths[1:], 1)
        )
        joined = ((12, 4), (6, 4), (5, 2))
        self.steps = nn.ModuleList(nn.Conv2d(a * width, b * width, 3, padding=1) for a, b in joined)
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(2 * width, width // 2, 1),
                nn.ReLU(),
                nn.Conv2d(width // 2, 1, 3, padding=1),
            )
            for _ in range(2)
        )
        self.apply(he_normal)
        for head in self.heads if residual else ():
            *_, weight, _ = head.parameters()
            nn.init.zeros_(weight)

    def forward(self, inputs: Batch) -> Tensor:
        """The map and the field at stations, ``(B, 2, h * scale, w * scale)``."""
        h, w = self.spec.window(inputs)
        shape = (h * self.spec.scale, w * self.spec.scale)
        seen = self._decoded(self._encoded(inputs[self.history]), (h, w))
        found = torch.cat([head(seen) for head in self.heads], dim=1).float()
        if self.residual:
            return corrected(inputs, shape).float() + self.detail * found
        return self.physical(found, inputs)

    def product(self, output: Tensor) -> Tensor:
        """The layer that is published, ``(B, 1, H, W)``."""
        return output[:, self.published, None]

    def _encoded(self, days: Tensor) -> list[Tensor]:
        """Features of the last day and of every level, whose cells double; 8 divides the sides."""
        h, w = days.shape[-2:]
        days = functional.pad(days, (0, -w % _STEP, 0, -h % _STEP), mode="replicate")
        frames = functional.pad(days.flip(1), (0, 0, 0, 0, self.blank, 0))
        field = self.first(frames[:, None])
        found = [field[:, :, -1]]
        for block, attention in zip(self.blocks, self.attention, strict=True):
            field = block(field)
            found.append(attention(field))
        return found

    def _decoded(self, fields: list[Tensor], window: tuple[int, int]) -> Tensor:
        """Features on the fine grid of a window (coarse cells)."""
        *skips, found = fields
        rows, cols = (n * self.spec.scale for n in window)
        for step, skip in zip(self.steps, reversed(skips), strict=True):
            h, w = skip.shape[-2:]
            if skip is skips[0]:
                shape = (h * self.spec.scale, w * self.spec.scale)
                found, skip = (_resized(f, shape)[..., :rows, :cols] for f in (found, skip))
            else:
                found = _resized(found, (h, w))
            found = functional.relu(step(torch.cat([found, skip], dim=1)))
        return found


def _check(spec: ModelSpec, history: str, width: int) -> None:
    given = spec.conditions.get(history)
    if given is None or given.ratio != 1 or width < 2 or width % 2:
        known = ", ".join(f"{n} ({g.ratio} a coarse cell)" for n, g in spec.conditions.items())
        raise ConfigError(
            f"sst_attention: history {history!r} among {known or 'no conditions'}, width {width}",
            "a condition of one cell a coarse cell, whose channels are days, and an even width",
        )


class _Residual(nn.Module):
    """Two convolutions beside a shortcut, then means of two cells along every side."""

    def __init__(self, given: int, out: int, dimensions: int) -> None:
        super().__init__()
        conv = (nn.Conv2d, nn.Conv3d)[dimensions - 2]
        self.first = conv(given, out, 3, padding=1)
        self.second = conv(out, out, 3, padding=1)
        self.shortcut = conv(given, out, 1)
        self.pool = (functional.avg_pool2d, functional.avg_pool3d)[dimensions - 2]

    def forward(self, field: Tensor) -> Tensor:
        """To half the size, rounded up; a side of one cell stays."""
        found = self.shortcut(field) + self.second(_leaky(self.first(_leaky(field))))
        pooled: Tensor = self.pool(found, [min(2, n) for n in field.shape[2:]], ceil_mode=True)
        return pooled


def _leaky(field: Tensor) -> Tensor:
    return functional.leaky_relu(field, _SLOPE)


def _stack(width: int, dimensions: int) -> nn.Sequential:
    """A convolution and three residual blocks, from one channel to eight times the width."""
    conv = (nn.Conv2d, nn.Conv3d)[dimensions - 2]
    widths = [width * 2**n for n in range(_LEVELS + 1)]
    pairs = pairwise(widths)
    blocks = (_Residual(given, out, dimensions) for given, out in pairs)
    return nn.Sequential(conv(1, width, 3, padding=1), *blocks)


class Projection(nn.Module):
    """The critic of a fine field and of the days that it was made from: one score a sample.

    A residual stack of the field and one of the days, each averaged over the whole tile, give
    ``x`` and ``c``; the score is ``linear(x) + <x, W c>``, a projection after Miyato and Koyama
    2018, arXiv:1802.05637. Nothing is normalised over the batch, so that the gradient of a score is
    that of its own sample. Tiles of any size are taken.

    Parameters
    ----------
    width
        Channels of the first layers; each of the three blocks doubles them.

    Raises
    ------
    ConfigError
        If the width is not positive.
    """

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        if width < 1:
            raise ConfigError(f"sst_projection: width {width}", "a positive number")
        self.field, self.days = _stack(width, 2), _stack(width, 3)
        # No constant: no loss depends on it, and Adam would blow up the rounding of its gradient.
        self.linear = nn.Linear(8 * width, 1, bias=False)
        self.project = nn.Linear(8 * width, 8 * width, bias=False)
        self.apply(he_normal)

    def forward(self, field: Tensor, days: Tensor) -> Tensor:
        """Scores ``(B, 1)`` of z-scores ``(B, 1, H, W)``, given ``(B, days, h, w)``."""
        x = _leaky(self.field(field)).mean((2, 3))
        c = _leaky(self.days(days[:, None])).mean((2, 3, 4))
        score: Tensor = self.linear(x) + (x * self.project(c)).sum(dim=1, keepdim=True)
        return score
