"""Normalisation with an exact inverse; the same object serves training and inference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Transform:
    """``(curve(x) - offset) / scale`` for each channel.

    Parameters
    ----------
    curve
        "linear", or "asinh" for fields whose values span decades with either sign.
    width
        For asinh: the value where the curve turns from linear to logarithmic (units of the field).
    fitted
        Whether offset and scale follow from data (`fit`) or are fixed.
    offset, scale
        One value a channel; empty until fitted.
    """

    curve: str = "linear"
    width: float = 1.0
    fitted: bool = True
    offset: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def sums(self, samples: Iterable[NDArray[np.float32]]) -> NDArray[np.float64]:
        """What `fit` needs of samples (channels, rows, columns); those of several lots add up.

        Returns
        -------
        ndarray
            (3, channels): number, sum and sum of squares of the valid cells, on the curve.
        """
        total: NDArray[np.float64] | None = None
        for sample in samples:
            curved = self._forward(sample.astype(np.float64)).reshape(sample.shape[0], -1)
            valid = np.isfinite(curved)
            kept = np.where(valid, curved, 0)
            part = np.stack([valid.sum(1), kept.sum(1), (kept**2).sum(1)])
            total = part if total is None else total + part
        assert total is not None, "there is always a training tile"
        return total

    def fit(self, sums: NDArray[np.float64]) -> Transform:
        """Mean and SD of the valid cells of each channel, by the `sums` of all samples.

        A channel without a valid cell gets offset 0, one that does not vary gets scale 1.
        """
        if not self.fitted:
            return self._with(np.zeros(sums.shape[1]), np.ones(sums.shape[1]))
        mean, square = sums[1:] / np.maximum(sums[0], 1)
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        return self._with(mean, np.where(deviation > 1e-6 * (1 + abs(mean)), deviation, 1.0))

    def _with(self, offset: NDArray[np.float64], scale: NDArray[np.float64]) -> Transform:
        offsets, scales = tuple(map(float, offset)), tuple(map(float, scale))
        return Transform(self.curve, self.width, self.fitted, offsets, scales)

    def _forward(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.arcsinh(x / self.width) if self.curve == "asinh" else x

    def apply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalise (..., channels, rows, columns); NaN stays NaN."""
        offset, scale = (np.array(v)[:, None, None] for v in (self.offset, self.scale))
        normal: NDArray[np.float32] = (
            (self._forward(x.astype(np.float64)) - offset) / scale
        ).astype(np.float32)
        return normal

    def invert(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Undo `apply`."""
        offset, scale = (np.array(v)[:, None, None] for v in (self.offset, self.scale))
        curved = x.astype(np.float64) * scale + offset
        plain = np.sinh(curved) * self.width if self.curve == "asinh" else curved
        result: NDArray[np.float32] = plain.astype(np.float32)
        return result

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Transform:
        """Undo `to_json`."""
        return cls(**{**value, "offset": tuple(value["offset"]), "scale": tuple(value["scale"])})


def identity() -> Transform:
    """Leave values as they are."""
    return Transform(fitted=False)


def standard() -> Transform:
    """Mean 0, SD 1 over the training tiles."""
    return Transform()


def asinh(*, width: float = 1.0) -> Transform:
    """Inverse hyperbolic sine, then mean 0 and SD 1; keeps the sign, unlike a clipped logarithm."""
    return Transform(curve="asinh", width=width)


REACH = 2


def fill_gaps(coarse: NDArray[np.float32], fallback: float) -> NDArray[np.float32]:
    """Fill missing coarse cells by the mean of the valid ones within `REACH` cells.

    Cells farther than that from any valid one get ``fallback``. The reach is bounded, so the
    result at a cell does not depend on the window that it is computed in.
    """
    missing = ~np.isfinite(coarse)
    if not missing.any():
        return coarse
    padded = np.pad(coarse, REACH, constant_values=np.nan)
    side = 2 * REACH + 1
    around = np.lib.stride_tricks.sliding_window_view(padded, (side, side))[missing]
    valid = np.isfinite(around)
    count = valid.sum(axis=(1, 2))
    total = np.where(valid, around, 0).sum(axis=(1, 2), dtype=np.float64)
    filled = coarse.copy()
    filled[missing] = np.where(count > 0, total / np.maximum(count, 1), fallback)
    return filled
