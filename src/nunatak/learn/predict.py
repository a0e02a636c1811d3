"""Streaming prediction: a network over the windows of a block, blended by feathered weights."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from nunatak.ahead import one_ahead
from nunatak.grid import Window
from nunatak.learn.inputs import Arrays
from nunatak.learn.spec import Network
from nunatak.ops.blend import Lattice

Prepare = Callable[[Window], Arrays]

_TRIM, _MMAP, _MOST = -1, -3, 2**31 - 1


def keep_memory() -> None:
    """Let the C library keep what tensors free, for those of the next window.

    glibc gives large pieces back to the system, and to page them in again for every window can
    take a third of a small network's time. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option in (_TRIM, _MMAP):
            mallopt(option, _MOST)


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


def parts(lattice: Lattice, core: Window) -> Iterator[tuple[Window, Window]]:
    """Each window that reaches into a block, be it by its feather alone, and its part inside.

    So a cell is blended from the same windows whatever block it is in.
    """
    for window in lattice.windows(core):
        yield window, window.common(core)


def predict(
    network: Network, prepare: Prepare, lattice: Lattice, core: Window, halo: int, scale: int
) -> NDArray[np.float32]:
    """Predict the fine field of a block's core.

    Sums are kept in float64, so that blending equal values gives exactly that value in float32.
    While the network works on a window, the next one is prepared and the last one blended, each in
    a thread of its own.

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
    pieces = list(parts(lattice, core))
    ready = one_ahead(prepare, (part.pad(halo) for _, part in pieces))
    fields = (run(network, inputs, halo, scale) for inputs in ready)

    def blend(given: tuple[tuple[Window, Window], NDArray[np.float32]]) -> None:
        (window, part), field = given
        total[part.within(core).at(scale).slices] += field * lattice.weights(window, part, scale)

    for _ in one_ahead(blend, zip(pieces, fields, strict=True)):
        pass
    return total.astype(np.float32)
