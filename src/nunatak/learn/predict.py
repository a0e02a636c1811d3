"""Streaming prediction: a network over the windows of a block, blended by feathered weights."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nunatak.ahead import one_ahead
from nunatak.grid import Window
from nunatak.learn.inputs import Arrays
from nunatak.learn.spec import Network
from nunatak.ops.blend import Lattice, Overlap

Prepare = Callable[[Window], Arrays]

MOST, SHARE = 64, 0.8
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


def run(
    network: Network, windows: Sequence[Arrays], halo: int, scale: int
) -> list[NDArray[np.float32]]:
    """Run a network on windows of one shape at once and crop its output.

    Parameters
    ----------
    network
        In evaluation mode.
    windows
        Of each, name -> (channels, (rows + 2 halo) * ratio, (columns + 2 halo) * ratio), without
        NaN.
    halo
        Coarse cells of context in ``windows`` on every side, at least ``network.margin``.
    scale
        Fine cells along the side of a coarse cell.

    Returns
    -------
    list of ndarray
        (layers, rows * scale, columns * scale) each, float32.
    """
    device = _device(network)
    batch = {name: _stacked([w[name] for w in windows]).to(device) for name in windows[0]}
    with torch.inference_mode():
        inner = network.product(network.inner(batch, halo - network.margin))
    return list(inner.float().cpu().numpy())


def _stacked(arrays: Sequence[NDArray[np.float32]]) -> Tensor:
    """The arrays as one tensor; of a single one nothing is copied."""
    tensors = [torch.from_numpy(array) for array in arrays]
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)


def _device(network: Network) -> torch.device:
    return next((b.device for b in network.buffers()), torch.device("cpu"))


def fitting(network: Network, window: Callable[[], Arrays], halo: int, scale: int) -> int:
    """How many windows go through a network at once: as many as a GPU has memory for, else 1.

    Parameters
    ----------
    network
        In evaluation mode.
    window
        Gives a window of the largest shape; run on a GPU, to measure what it takes.
    halo, scale
        As in `run`.
    """
    device = _device(network)
    if device.type != "cuda":
        return 1
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run(network, [window()], halo, scale)
    taken = torch.cuda.max_memory_allocated(device) - before
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(MOST, int(SHARE * free / max(1, taken))))


def predict_whole(
    network: Network, prepare: Prepare, overlap: Overlap, core: Window, scale: int
) -> NDArray[np.float32]:
    """Predict a block with a network that sees each of its windows as a whole.

    A cell is made from the same windows with the same weights whatever the block that it is in.

    Parameters
    ----------
    network
        In evaluation mode.
    prepare
        Gives the network's inputs of a window of coarse cells.
    overlap
        The windows of the whole domain.
    core
        The block (coarse cells).
    scale
        Fine cells along the side of a coarse cell.

    Returns
    -------
    ndarray
        (layers, rows * scale, columns * scale), float32.
    """
    shape = core.at(scale).shape
    total, sums = np.zeros((network.spec.layers, *shape)), np.zeros(shape)
    windows = list(overlap.windows(core))
    for window, ready in zip(windows, one_ahead(prepare, windows), strict=True):
        part = window.common(core)
        field = run(network, [ready], network.margin, scale)[0]
        weights = overlap.weights(window, part, scale)
        here, there = part.within(core).at(scale).slices, part.within(window).at(scale).slices
        total[(slice(None), *here)] += field[(slice(None), *there)] * weights
        sums[here] += weights
    return (total / sums).astype(np.float32)


def parts(lattice: Lattice, core: Window) -> Iterator[tuple[Window, Window]]:
    """Each window that reaches into a block, be it by its feather alone, and its part inside.

    So a cell is blended from the same windows whatever block it is in.
    """
    for window in lattice.windows(core):
        yield window, window.common(core)


def groups(lattice: Lattice, core: Window, most: int) -> Iterator[list[tuple[Window, Window]]]:
    """The windows of a block and their parts, in order, neighbours of one shape together."""
    for _, found in groupby(parts(lattice, core), key=lambda piece: piece[1].shape):
        alike = list(found)
        yield from (alike[first : first + most] for first in range(0, len(alike), most))


def _cells(window: Window) -> int:
    return window.shape[0] * window.shape[1]


def predict(
    network: Network,
    prepare: Prepare,
    lattice: Lattice,
    core: Window,
    halo: int,
    scale: int,
    most: int | None = None,
) -> NDArray[np.float32]:
    """Predict the fine field of a block's core.

    Sums are kept in float64, so that blending equal values gives exactly that value in float32.
    While the network works on some windows, the next ones are prepared and the last ones blended,
    each in a thread of its own.

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
    most
        Windows of one shape to run at once; by default what fits a GPU, else 1. They change the
        result by rounding at most.

    Returns
    -------
    ndarray
        (layers, rows * scale, columns * scale), float32.
    """
    total = np.zeros((network.spec.layers, *core.at(scale).shape))

    def inputs(pieces: list[tuple[Window, Window]]) -> list[Arrays]:
        return [prepare(part.pad(halo)) for _, part in pieces]

    def blend(given: tuple[list[tuple[Window, Window]], list[NDArray[np.float32]]]) -> None:
        for (window, part), field in zip(*given, strict=True):
            weights = lattice.weights(window, part, scale)
            total[(slice(None), *part.within(core).at(scale).slices)] += field * weights

    def largest() -> Arrays:
        return prepare(max((part for _, part in parts(lattice, core)), key=_cells).pad(halo))

    together = list(groups(lattice, core, most or fitting(network, largest, halo, scale)))
    fields = (run(network, ready, halo, scale) for ready in one_ahead(inputs, together))
    for _ in one_ahead(blend, zip(together, fields, strict=True)):
        pass
    return total.astype(np.float32)
