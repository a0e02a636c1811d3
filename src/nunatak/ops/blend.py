"""Windows on a lattice of the whole domain, and the weights that blend them.

The lattice is anchored at the corner of the domain, not of a block, so that a cell is made from
the same windows with the same weights whatever the block that it falls in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nunatak.grid import Window


class Windows(ABC):
    """Windows whose places and weights are those along either axis, taken together."""

    @abstractmethod
    def spans(self, axis: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The windows along one axis that reach into ``[start, stop)``: (first, last + 1)."""

    @abstractmethod
    def _along(
        self, axis: int, span: tuple[int, int], part: tuple[int, int], scale: int
    ) -> NDArray[np.float64]:
        """Weights of a window along one axis at the fine cells of a part of it."""

    def windows(self, core: Window) -> Iterator[Window]:
        """The windows, feathers included, that reach into a block's core."""
        rows = self.spans(0, core.top, core.bottom)
        cols = list(self.spans(1, core.left, core.right))
        for (top, bottom), (left, right) in product(rows, cols):
            yield Window(top, bottom, left, right)

    def weights(self, window: Window, part: Window, scale: int) -> NDArray[np.float64]:
        """Weights of a window at the fine cells of a part of it."""
        rows = self._along(0, (window.top, window.bottom), (part.top, part.bottom), scale)
        cols = self._along(1, (window.left, window.right), (part.left, part.right), scale)
        return rows[:, None] * cols[None, :]


@dataclass(frozen=True)
class Lattice(Windows):
    """Square windows that overlap by twice the feather and together cover the domain.

    Weights sum to 1 over all windows.

    Parameters
    ----------
    shape
        Rows and columns of the domain (coarse cells).
    size
        Side of a window's core (coarse cells).
    feather
        Cells on either side of an edge over which neighbours are blended; at most half the size.
    """

    shape: tuple[int, int]
    size: int
    feather: int

    def spans(self, axis: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The windows along one axis that reach into ``[start, stop)``: (first, last + 1)."""
        count = -(-self.shape[axis] // self.size)
        first = max(0, (start - self.feather) // self.size)
        for k in range(first, min(count, (stop + self.feather - 1) // self.size + 1)):
            low = 0 if k == 0 else k * self.size - self.feather
            high = self.shape[axis] if k == count - 1 else (k + 1) * self.size + self.feather
            high = min(high, self.shape[axis])
            if low < stop and start < high:
                yield low, high

    def _along(
        self, axis: int, span: tuple[int, int], part: tuple[int, int], scale: int
    ) -> NDArray[np.float64]:
        at = (np.arange(part[0] * scale, part[1] * scale) + 0.5) / scale
        weight = np.ones(at.size)
        width = 2 * self.feather
        if not width:
            return weight
        for k in range(1, -(-self.shape[axis] // self.size)):
            edge = k * self.size
            rise = np.clip((at - (edge - self.feather)) / width, 0, 1)
            if span[0] == edge - self.feather:
                weight = weight * rise
            elif span[1] == min(edge + self.feather, self.shape[axis]) and span[0] < edge:
                weight = weight * (1 - rise)
        return weight


@dataclass(frozen=True)
class Overlap(Windows):
    """Square windows of one size that begin every ``stride`` cells, weighed by Gaussians.

    Weights are not yet divided by their sum.

    For networks that see a window as a whole. The last windows end where the domain ends; a domain
    that is smaller than a window is one window. Gourmelon et al. 2022, doi
    10.5194/essd-14-4287-2022, blend so, with a standard deviation of an eighth of a window.

    Parameters
    ----------
    shape
        Rows and columns of the domain (coarse cells).
    size
        Side of a window (coarse cells).
    stride
        Cells from one window to the next; at most the size.
    """

    shape: tuple[int, int]
    size: int
    stride: int

    def spans(self, axis: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The windows along one axis that reach into ``[start, stop)``: (first, last + 1)."""
        length = self.shape[axis]
        last = max(0, length - self.size)
        for low in dict.fromkeys((*range(0, last, self.stride), last)):
            high = min(low + self.size, length)
            if low < stop and start < high:
                yield low, high

    def _along(
        self, axis: int, span: tuple[int, int], part: tuple[int, int], scale: int
    ) -> NDArray[np.float64]:
        del axis
        at = (np.arange(part[0] * scale, part[1] * scale) + 0.5) / scale
        middle, width = sum(span) / 2, (span[1] - span[0]) / 8
        weights: NDArray[np.float64] = np.exp(-0.5 * ((at - middle) / width) ** 2)
        return weights
