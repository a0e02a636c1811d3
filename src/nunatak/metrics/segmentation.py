"""How well cells are told apart: intersection over union, and accuracy in the box of a front."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nunatak.errors import DataError
from nunatak.metrics.accumulate import Array, Sums, fixed, ratio, same_shape


@dataclass(eq=False)
class ConfusionSums(Sums):
    """Cells by what they are and what they are predicted to be.

    Parameters
    ----------
    names
        Names of the classes; the code of a class is its place.

    Attributes
    ----------
    counts
        Cells of (true class, predicted class).
    missing
        Cells with a true class and no prediction.
    """

    names: tuple[str, ...] = fixed()
    missing: int = 0
    counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((len(self.names), len(self.names)), dtype=np.int64)

    def add(self, prediction: Array, truth: Array, mask: Array | None = None) -> None:
        """Count the cells of a scene, or of a part of one.

        Parameters
        ----------
        prediction, truth
            Codes, arrays of one shape; NaN is missing and not counted.
        mask
            True where a cell counts; by default everywhere.

        Raises
        ------
        DataError
            If the shapes differ or a code is not that of a class.
        """
        same_shape(prediction=prediction, truth=truth, mask=mask)
        wanted = ~np.isnan(truth) if mask is None else ~np.isnan(truth) & np.asarray(mask, bool)
        self.missing += int(np.count_nonzero(wanted & np.isnan(prediction)))
        both = wanted & ~np.isnan(prediction)
        true, given = self._codes(truth[both]), self._codes(prediction[both])
        count = len(self.names)
        pairs = np.bincount(true * count + given, minlength=count**2)
        self.counts += pairs.reshape(count, count)

    def _codes(self, values: Array) -> NDArray[np.int64]:
        codes = values.astype(np.int64)
        wrong = (codes != values) | (codes < 0) | (codes >= len(self.names))
        if wrong.any():
            raise DataError(
                f"code {values[wrong][0]:g} of a class",
                ", ".join(f"{code} ({name})" for code, name in enumerate(self.names)),
                "map the codes of the source to those of the target's classes",
            )
        return codes

    def summary(self) -> dict[str, float]:
        """The figures of a table.

        Returns
        -------
        dict
            ``n``, ``missing``; ``iou_NAME``, cells that are of a class in truth and prediction,
            over those that are in either, NaN for a class that is in neither; ``mean_iou``, the
            mean over classes that are in either; ``accuracy``, the share of cells told right.
        """
        right = np.diagonal(self.counts)
        either = self.counts.sum(axis=0) + self.counts.sum(axis=1) - right
        shares = [ratio(int(a), int(b)) for a, b in zip(right, either, strict=True)]
        n = int(self.counts.sum())
        known = [share for share in shares if not np.isnan(share)]
        return {
            "n": n,
            "missing": self.missing,
            "accuracy": ratio(int(right.sum()), n),
            "mean_iou": ratio(sum(known), len(known)),
            **{f"iou_{name}": share for name, share in zip(self.names, shares, strict=True)},
        }


@dataclass(eq=False)
class BoxSums(Sums):
    """Share of cells told right inside the tight box of a front, image by image.

    Most of such a box is no front, so that a prediction without one scores high. Read it beside
    what the prediction of nothing scores in the same boxes.

    Parameters
    ----------
    size
        Side (cells) of the square that the true front is widened by; 1 leaves it as it is.

    Attributes
    ----------
    n
        Cells in the boxes with truth and prediction.
    missing
        Cells in the boxes with truth and no prediction.
    right, background
        Cells told right by the prediction, and by the prediction of no front.
    images
        Images with a front, hence with a box.
    """

    size: int = fixed()
    n: int = 0
    missing: int = 0
    right: int = 0
    background: int = 0
    images: int = 0

    def add(self, prediction: Array, truth: Array) -> None:
        """Count an image.

        Parameters
        ----------
        prediction, truth
            1 on the front, 0 elsewhere (row, col); NaN is missing and not counted. An image whose
            truth has no front has no box and is passed over.

        Raises
        ------
        DataError
            If the shapes differ.
        """
        same_shape(prediction=prediction, truth=truth)
        front = ndimage.maximum_filter(truth == 1, size=self.size) & ~np.isnan(truth)
        boxes = ndimage.find_objects(front.astype(np.int64))
        if not boxes:
            return
        box = boxes[0]
        known, given = ~np.isnan(truth[box]), ~np.isnan(prediction[box])
        counted = known & given
        self.images += 1
        self.missing += int(np.count_nonzero(known & ~given))
        self.n += int(np.count_nonzero(counted))
        self.right += int(np.count_nonzero(((prediction[box] == 1) == front[box]) & counted))
        self.background += int(np.count_nonzero(~front[box] & counted))

    def summary(self) -> dict[str, float]:
        """``box_images``; ``box_accuracy`` and ``box_background``, shares of the cells counted."""
        return {
            "box_images": self.images,
            "box_accuracy": ratio(self.right, self.n),
            "box_background": ratio(self.background, self.n),
        }
