"""LIIF: a field as a function of continuous coordinates, by local codes of the coarse cells.

Chen, Liu and Wang 2021, Learning Continuous Image Representation with Local Implicit Image
Function, arXiv:2012.09161.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nunatak.learn.models.edsr import Encoder
from nunatak.learn.models.implicit import Codes, Implicit, dense, neighbours, rows
from nunatak.learn.spec import Batch, ModelSpec, area_resample

_UNFOLD = 3


class Liif(Implicit):
    """LIIF, layer for layer: 1,565,633 parameters for the coarse field alone.

    The features of 3 x 3 coarse cells, the way from their centre to the point, and the size of the
    wanted cell (both in half coarse cells) enter dense layers, which give the field in standard
    deviations of the target. Of the four nearest cells, each counts by the area of the rectangle
    opposite to it. Convolutions pad with zeros and the margin is 0: the caller gives context and
    crops by the measured receptive field.

    The first dense layer is linear in the features, so that part of it is done once a coarse cell.

    Parameters
    ----------
    spec
        Inputs and scale. Conditions, of which the original has none, are averaged over coarse
        cells, beside the coarse field.
    width
        Channels of the encoder.
    blocks
        Residual blocks of the encoder.
    hidden
        Sizes of the dense layers.
    chunk
        Most points to work out at once, of all samples together.

    Attributes
    ----------
    receptive
        Upper bound of the receptive field's radius, in coarse cells.

    Raises
    ------
    ConfigError
        If a size is not positive.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        width: int = 64,
        blocks: int = 16,
        hidden: Sequence[int] = (256, 256, 256, 256),
        chunk: int = 16384,
    ) -> None:
        super().__init__(spec, chunk, (width, blocks, *hidden))
        self.width = width
        channels = sum(given.channels for given in spec.inputs.values())
        self.encoder = Encoder(channels, width, blocks)
        self.layers = dense(_UNFOLD**2 * width + 4, hidden, 1)
        self.receptive = self.encoder.reach + _UNFOLD // 2 + 1

    def _first(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights of the first dense layer: of features, as a convolution; of the rest; biases."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        features = first.weight[:, :-4].reshape(-1, self.width, _UNFOLD, _UNFOLD)
        return features, first.weight[:, -4:], first.bias

    def encode(self, inputs: Batch, cut: int = 0) -> Codes:
        """The part of the first dense layer that depends on the coarse cell alone."""
        h, w = inputs["prior"].shape[-2:]
        fields = [area_resample(inputs[name], (h, w)) for name in self.spec.inputs]
        features = self.encoder(torch.cat(fields, dim=1))
        lattice = functional.conv2d(features, self._first()[0], padding=_UNFOLD // 2)
        return Codes(lattice, inputs["prior"])

    def values(self, codes: Codes, points: Tensor, cell: tuple[float, float]) -> Tensor:
        """As `query`, all points at once."""
        cells, (_, places, bias) = rows(codes.lattice), self._first()
        size = 2 * points.new_tensor(cell).float()
        total = points.new_zeros(points.shape[:2].numel(), dtype=torch.float32)
        for near in neighbours(points, codes.lattice.shape[-2:]):
            with torch.autocast(points.device.type, enabled=False):
                place = torch.cat([near.away, size.expand_as(near.away)], dim=1)
                first = cells[near.index].float() + functional.linear(place, places, bias)
            total = total + near.weight * self.layers[1:](first).squeeze(1).float()
        return self.mean + self.std * total.view(points.shape[:2])
