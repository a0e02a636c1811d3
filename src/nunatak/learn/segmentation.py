"""The task of telling classes and lines, judged by its loss."""

from __future__ import annotations

import torch
from torch import nn

from nunatak.errors import ConfigError
from nunatak.learn.dataset import Minibatch
from nunatak.learn.tasks import Setup, Supervised


class Segmentation(Supervised):
    """Minimise the weighted losses between logits and layers; the same loss judges.

    Raises
    ------
    ConfigError
        If the network gives a map.
    """

    score = "loss"

    def __init__(self, setup: Setup) -> None:
        if not setup.network.spec.segments:
            raise ConfigError(
                "the task segmentation for a map",
                "classes or lines in the target",
                "use the task supervised",
            )
        super().__init__(setup)

    @torch.no_grad()
    def validate(self, batch: Minibatch, network: nn.Module | None = None) -> tuple[float, int]:
        """The loss of a batch times the number of its valid values, and that number.

        Of the samples at hand alone: processes need not have the same number of batches.
        """
        loss, _ = self._weighed(self.predict(batch, network), batch)
        count = int(batch.mask.sum())
        return float(loss) * count, count

    def finish(self, total: float, count: float) -> float:
        """The mean loss."""
        return total / count
