"""Networks without weights whose output is known, to test all that lies around a network."""

from __future__ import annotations

import torch
from torch import Tensor

from nunatak.learn.spec import Network


class Identity(Network):
    """Returns the condition called ``field``, which lies on the fine grid."""

    margin = 0

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return inputs["field"]


class Relative(Network):
    """Logits by how bright a cell is beside the mean of its window; of the last layer always 2."""

    whole = True

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        grey = inputs["coarse"]
        apart = grey - grey.mean(dim=(2, 3), keepdim=True)
        others = [apart * (-1) ** layer / (1 + layer // 2) for layer in range(self.spec.layers - 1)]
        return torch.cat([*others, grey * 0 + 2], dim=1)
