"""Streaming prediction: a network over the windows of a block, blended by feathered weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from nunatak.grid import Window
from nunatak.learn.inputs import Arrays
from nunatak.learn.spec import Network
from nunatak.ops.blend import Lattice

Prepare = Callable[[Window], Arrays]


def run(network: Network, inputs: Arrays, halo: int, scale: int) -> NDArray[np.float32]:
    """Run a network on one window and crop its output.

    Parameters
    ----------
    network
        In evaluation mode.
    inputs
        Name -> (channels, (rows + 2 halo) * ratio, (columns + 2 halo) * ratio), without NaN.
    halo
        Coarse cells of context in ``inputs`` on every side, at least ``network.margin``.
    scale
        Fine cells along the side of a coarse cell.

    Returns
    -------
    ndarray
        (rows * scale, columns * scale), float32.
    """
    device = next((b.device for b in network.buffers()), torch.device("cpu"))
    batch = {name: torch.from_numpy(a)[None].to(device) for name, a in inputs.items()}
    with torch.inference_mode():
        fine: NDArray[np.float32] = network(batch)[0, 0].float().cpu().numpy()
    crop = (halo - network.margin) * scale
    return fine[crop : fine.shape[0] - crop, crop : fine.shape[1] - crop]


def predict(
    network: Network, prepare: Prepare, lattice: Lattice, core: Window, halo: int, scale: int
) -> NDArray[np.float32]:
    """Predict the fine field of a block's core.

    Windows are read ahead by a thread while the network computes. Sums are kept in float64, so
    that blending equal values gives exactly that value in float32.

    Parameters
    ----------
    network
        In evaluation mode.
    prepare
        Gives the network's inputs of a window of coarse cells, halo included.
    lattice
        The windows of the whole domain.
    core
        The block (coarse cells).
    halo
        Coarse cells of context that the network needs.
    scale
        Fine cells along the side of a coarse cell.

    Returns
    -------
    ndarray
        (rows * scale, columns * scale), float32.
    """
    total = np.zeros(core.at(scale).shape)
    for window, part, inputs in _ahead(prepare, lattice, core, halo):
        field = run(network, inputs, halo, scale)
        total[part.within(core).at(scale).slices] += field * lattice.weights(window, part, scale)
    return total.astype(np.float32)


def _ahead(
    prepare: Prepare, lattice: Lattice, core: Window, halo: int
) -> Iterator[tuple[Window, Window, Arrays]]:
    """Each window of a block, the part of it inside the block, and the inputs of that part."""
    windows = list(lattice.windows(core))
    parts = [window.common(core) for window in windows]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(prepare, parts[0].pad(halo))
        for i, (window, part) in enumerate(zip(windows, parts, strict=True)):
            inputs = waiting.result()
            if i + 1 < len(parts):
                waiting = pool.submit(prepare, parts[i + 1].pad(halo))
            yield window, part, inputs
