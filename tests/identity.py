"""A network that gives back what it is shown, to test all that lies around a network."""

from __future__ import annotations

from torch import Tensor

from nunatak.learn.spec import Network


class Identity(Network):
    """Returns the condition called ``field``, which lies on the fine grid."""

    margin = 0

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return inputs["field"]
