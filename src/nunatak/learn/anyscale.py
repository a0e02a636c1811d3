"""A trained network asked for the cells of a grid of any scale, window by window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nunatak.grid import Window
from nunatak.learn.checkpoint import load_network
from nunatak.learn.inputs import Arrays, Inputs
from nunatak.learn.models.implicit import lattice_points
from nunatak.learn.spec import Batch, Network
from nunatak.ops.rescale import Cells
from nunatak.products import Results


def answers(network: Callable[..., Any]) -> bool:
    """Whether a network, or the class of it, gives values at any point."""
    return hasattr(network, "query")


@dataclass(frozen=True)
class Member:
    """A trained member, the context that it needs (coarse cells), and what it is shown."""

    network: Network
    halo: int
    inputs: Inputs

    @classmethod
    def load(cls, results: Results, method: str, member: int) -> Member:
        """Load a member; raises as `nunatak.learn.checkpoint.load_network`."""
        network, halo, statistics = load_network(results, method, member)
        # All of a known support: at other scales it may weigh more than where it was measured.
        return cls(network, max(halo, network.support), Inputs(results, statistics, method))

    def read(self, window: Window) -> Arrays:
        """What the network is shown of a window of coarse cells."""
        return self.inputs.prepare(self.inputs.read(window.pad(self.halo)))

    def field(self, window: Window, cells: Cells) -> NDArray[np.float32]:
        """Values of the cells whose centres lie in a window of coarse cells: (rows, columns)."""
        return asked(self.network, self.read(window), window, self.halo, cells)


def asked(
    network: Network, ready: Arrays, window: Window, halo: int, cells: Cells
) -> NDArray[np.float32]:
    """Ask a network for the cells of a window, some rows at a time, so that its points are few.

    Parameters
    ----------
    network
        In evaluation mode, with `query`.
    ready
        Its inputs of the window and its halo, without NaN.
    window
        Where to ask (coarse cells).
    halo
        Coarse cells around it that the inputs cover.
    cells
        The grid to ask for.

    Returns
    -------
    ndarray
        (rows, columns), float32, in units of the prior.
    """
    device, able = network.mean.device, cast(Any, network)
    inputs: Batch = {n: torch.from_numpy(values)[None].to(device) for n, values in ready.items()}
    part, shown = cells.of(window), window.pad(halo)
    down = cells.centres(0, part.top, part.bottom) - shown.top
    right = cells.centres(1, part.left, part.right) - shown.left
    rows, columns = (torch.from_numpy(centres).to(device) for centres in (down, right))
    with torch.inference_mode():
        codes = able.encode(inputs, halo)
        strips: list[Tensor] = [
            able.query(codes, lattice_points(some, columns)[None], cells.size)[0].float().cpu()
            for some in torch.split(rows, max(1, able.chunk // max(1, len(columns))))
        ]
    return torch.cat(strips).numpy().reshape(part.shape)
