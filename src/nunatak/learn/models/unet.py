"""U-Nets with atrous spatial pyramid pooling, which tell the classes and lines of an image.

Ronneberger et al. 2015, doi 10.1007/978-3-319-24574-4_28; Chen et al. 2017, arXiv:1706.05587. On
calving fronts: Gourmelon et al. 2022, doi 10.5194/essd-14-4287-2022.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nunatak.errors import ConfigError
from nunatak.learn.spec import Batch, ModelSpec, Network, he_normal

_LEVELS = 5
_SLOPE = 0.01
_STEP = 2 ** (_LEVELS - 1)


class Norm(nn.BatchNorm2d):
    """Batch normalisation that also takes a single value a channel, as of the mean of one window.

    Such a batch has no variance. It is normalised by the running statistics, which it leaves alone.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``(B, C, h, w)`` to the same."""
        if not self.training or input.numel() > input.shape[1]:
            return super().forward(input)
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


def double(channels: int, out: int) -> nn.Sequential:
    """Two 3 x 3 convolutions, normalised, between cells repeated beyond the border."""
    layers: list[nn.Module] = []
    for given in (channels, out):
        layers += [
            nn.Conv2d(given, out, 3, padding=1, bias=False, padding_mode="replicate"),
            Norm(out),
            nn.LeakyReLU(_SLOPE, inplace=True),
        ]
    return nn.Sequential(*layers)


def _normed(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, Norm(conv.out_channels), nn.ReLU(inplace=True))


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling: the same field seen at several distances, and as a whole.

    Parameters
    ----------
    width
        Channels in and out, and of every branch.
    dilations
        Of the 3 x 3 convolutions.
    dropout
        Share of values dropped at the end in training, from torch's current random state.
    """

    def __init__(self, width: int, dilations: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        convs = [nn.Conv2d(width, width, 1, bias=False)]
        convs += [nn.Conv2d(width, width, 3, padding=d, dilation=d, bias=False) for d in dilations]
        self.branches = nn.ModuleList(_normed(conv) for conv in convs)
        self.mean = _normed(nn.Conv2d(width, width, 1, bias=False))
        together = width * (len(convs) + 1)
        self.project = _normed(nn.Conv2d(together, width, 1, bias=False))
        self.dropout = nn.Dropout(dropout)

    def forward(self, field: Tensor) -> Tensor:
        """``(B, width, h, w)`` to the same."""
        mean = self.mean(field.mean(dim=(-2, -1), keepdim=True)).expand_as(field)
        seen = [branch(field) for branch in self.branches]
        found: Tensor = self.dropout(self.project(torch.cat([*seen, mean], dim=1)))
        return found


class Encoder(nn.Module):
    """Five levels, each of half the resolution and twice the channels; the last ends in ASPP."""

    def __init__(
        self, channels: int, width: int, dilations: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.widths = [width * 2**level for level in range(_LEVELS)]
        self.levels = nn.ModuleList(
            double(given, out)
            for given, out in zip([channels, *self.widths], self.widths, strict=False)
        )
        self.aspp = Aspp(self.widths[-1], dilations, dropout)

    def forward(self, field: Tensor) -> list[Tensor]:
        """Fields of all levels, the finest first, of an image whose sides 16 divides."""
        fields = [self.levels[0](field)]
        for level in list(self.levels)[1:]:
            fields.append(level(functional.max_pool2d(fields[-1], 2)))
        return [*fields[:-1], self.aspp(fields[-1])]


class Decoder(nn.Module):
    """From the coarsest level back to the finest, each joined in turn; logits at the end."""

    def __init__(self, widths: Sequence[int], layers: int) -> None:
        super().__init__()
        pairs = [(widths[i], widths[i - 1]) for i in range(len(widths) - 1, 0, -1)]
        self.ups = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairs)
        self.levels = nn.ModuleList(double(2 * b, b) for _, b in pairs)
        self.last = nn.Conv2d(widths[0], layers, 1)

    def forward(self, fields: Sequence[Tensor]) -> Tensor:
        """``(B, layers, h, w)``, of the size of the first field."""
        found = fields[-1]
        for up, level, skip in zip(self.ups, self.levels, fields[-2::-1], strict=True):
            found = level(torch.cat([skip, up(found)], dim=1))
        logits: Tensor = self.last(found)
        return logits


class Segmenter(Network):
    """An encoder and one or more decoders, whose logits stand side by side.

    Images of any size are taken: beyond their border the outermost cells repeat, up to sides that
    16 divides. Inputs are on the grid of the output.
    """

    whole = True

    def __init__(
        self,
        spec: ModelSpec,
        heads: Sequence[int],
        width: int,
        dilations: Sequence[int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__(spec)
        _check(spec, width, dropout)
        channels = sum(given.channels for given in spec.inputs.values())
        self.encoder = Encoder(channels, width, dilations, dropout)
        self.decoders = nn.ModuleList(Decoder(self.encoder.widths, head) for head in heads)
        self.apply(he_normal)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, inputs: Batch) -> Tensor:
        """Logits of the classes, then of the lines, ``(B, classes + lines, h, w)``."""
        h, w = self.spec.window(inputs)
        image = torch.cat([inputs[name] for name in self.spec.inputs], dim=1)
        image = functional.pad(image, (0, -w % _STEP, 0, -h % _STEP), mode="replicate")
        fields = self.encoder(image.contiguous(memory_format=torch.channels_last))
        logits = torch.cat([decoder(fields) for decoder in self.decoders], dim=1)
        return logits[..., :h, :w].float()


def _check(spec: ModelSpec, width: int, dropout: float) -> None:
    finest = max(given.ratio for given in spec.inputs.values())
    if not spec.segments or spec.scale > 1 or finest > 1:
        raise ConfigError(
            f"a U-Net for {spec.classes} classes and {spec.lines} lines, scale {spec.scale}, inputs"
            f" of up to {finest} cells a coarse cell",
            "classes or lines in the target, scale 1, and all inputs on that grid",
        )
    if width < 1 or not 0 <= dropout < 1:
        raise ConfigError(
            f"a U-Net of width {width}, dropout {dropout}",
            "a positive width, and dropout in [0, 1)",
        )


class AsppUnet(Segmenter):
    """A U-Net with atrous spatial pyramid pooling at its bottom; 21.9 million weights.

    With one input channel and one line it has 21,926,433 parameters. Atrous convolutions pad with
    zeros, as Chen et al. 2017 do; all others repeat the outermost cells.

    Parameters
    ----------
    spec
        Inputs, classes and lines; scale 1, and all inputs on the grid of the output.
    width
        Channels of the first level; each of the four below has twice as many.

    Raises
    ------
    ConfigError
        If the target is a map, the grids differ, or the width is not positive.
    """

    def __init__(self, spec: ModelSpec, *, width: int = 32) -> None:
        super().__init__(spec, [spec.layers], width, (1, 2, 4, 8, 16))


class TwoHead(Segmenter):
    """After the baseline of CaFFe: one encoder, and a decoder each for the classes and the lines.

    Gourmelon et al. 2022, doi 10.5194/essd-14-4287-2022, train two separate networks, one for zones
    and one for fronts; here both share the encoder and are trained together. Dilations (1, 2, 4, 8)
    and dropout are theirs; convolutions without a bias, which the normalisation makes idle, their
    padding and the slope of the activation (0.01, not 0.1) are those of `aspp_unet`.

    Parameters
    ----------
    spec
        Inputs, classes and lines; scale 1, and all inputs on the grid of the output.
    width
        Channels of the first level; each of the four below has twice as many.
    dropout
        Share of values dropped after the pyramid in training, from torch's current random state.

    Raises
    ------
    ConfigError
        If the target has no classes or no lines, the grids differ, or a size is impossible.
    """

    def __init__(self, spec: ModelSpec, *, width: int = 32, dropout: float = 0.5) -> None:
        if not (spec.classes and spec.lines):
            raise ConfigError(
                f"two_head: {spec.classes} classes and {spec.lines} lines",
                "classes and lines in the target",
                "use aspp_unet for either alone",
            )
        heads = [spec.classes, spec.lines]
        super().__init__(spec, heads, width, (1, 2, 4, 8), dropout)
