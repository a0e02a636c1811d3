"""What a block holds, by digests of its pieces, and the manifest that commits it.

A manifest holds nothing of time, host or path: the same content gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from nunatak.provenance import SHORT, digest_json


def cuts(size: int) -> list[int]:
    """Where a side of ``size`` cells is cut: 0, 2, 4, 8, ... from both ends, never past the middle.

    So what a neighbour reads of a block, be its halo narrow or wide, is covered by pieces that
    reach at most twice as far.

    Examples
    --------
    >>> cuts(20)
    [0, 2, 4, 8, 12, 16, 18, 20]
    """
    near = [0, *(1 << n for n in range(1, size.bit_length()) if 2 << n <= size)]
    return sorted({*near, *(size - n for n in near)})


def canonical(array: NDArray[Any]) -> NDArray[Any]:
    """The values little-endian, every NaN the same NaN and -0.0 as 0.0."""
    if array.dtype.kind != "f":
        return array.astype(array.dtype.newbyteorder("<"))
    plain: NDArray[Any] = np.add(array, 0, dtype=array.dtype.newbyteorder("<"))
    if plain.size and np.isnan(plain.min()):
        plain[np.isnan(plain)] = np.nan
    return plain


def digest_array(array: NDArray[Any]) -> str:
    """Digest of decoded content: type, shape and canonical values in C order."""
    plain = canonical(array)
    hasher = blake3(f"{plain.dtype.str}{plain.shape}".encode())
    hasher.update(_bytes(plain))
    return hasher.hexdigest()


def _bytes(plain: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(plain).view(np.uint8).data


@dataclass(frozen=True)
class Content:
    """What one variable of a block holds.

    Parameters
    ----------
    digest
        Of type, shape and the pieces.
    pieces
        Digests of the pieces between the block's cuts, row by row, `SHORT` characters each.
    cells, valid
        How many cells there are, and how many of them are finite.
    minimum, maximum
        Range of the finite cells; None if there are none.
    """

    digest: str
    pieces: str
    cells: int
    valid: int
    minimum: float | None
    maximum: float | None

    @classmethod
    def of(cls, array: NDArray[Any], rows: Sequence[int], cols: Sequence[int]) -> Content:
        """Describe an array cut at ``rows`` and ``cols`` (its cells); NaN means missing."""
        plain = canonical(array)
        pieces = "".join(
            blake3(_bytes(plain[top:bottom, left:right])).hexdigest(length=SHORT // 2)
            for top, bottom in pairwise(rows)
            for left, right in pairwise(cols)
        )
        whole = digest_json([plain.dtype.str, plain.shape, pieces])
        return cls(whole, pieces, int(plain.size), *_range(plain))


def _range(plain: NDArray[Any]) -> tuple[int, float | None, float | None]:
    """How many cells are finite, and the least and largest of them."""
    low, high = np.fmin.reduce(plain, axis=None), np.fmax.reduce(plain, axis=None)
    if np.isinf(low) or np.isinf(high):
        return _range(np.where(np.isinf(plain), np.nan, plain))
    count = int(np.count_nonzero(np.isfinite(plain)))
    return (count, float(low), float(high)) if count else (0, None, None)


@dataclass(frozen=True)
class Manifest:
    """The commitment of one block of one product.

    Parameters
    ----------
    product, block
        Which.
    rows, cols
        Where the block is cut into pieces (coarse cells from its corner).
    variables
        What each variable holds.
    """

    product: str
    block: str
    rows: tuple[int, ...]
    cols: tuple[int, ...]
    variables: dict[str, Content]

    @classmethod
    def of(
        cls, product: str, block: str, shape: tuple[int, int], fields: dict[str, NDArray[Any]]
    ) -> Manifest:
        """Describe the fields of a block of ``shape`` coarse cells."""
        rows, cols = cuts(shape[0]), cuts(shape[1])
        variables = {}
        for name, field in fields.items():
            ratio = field.shape[0] // shape[0]
            at = [n * ratio for n in rows], [n * ratio for n in cols]
            variables[name] = Content.of(field, *at)
        return cls(product, block, tuple(rows), tuple(cols), variables)

    def to_dict(self) -> dict[str, Any]:
        """As a JSON value."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return value

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Manifest:
        """Parse what `to_dict` gave."""
        variables = {name: Content(**content) for name, content in raw["variables"].items()}
        at = tuple(raw["rows"]), tuple(raw["cols"])
        return cls(raw["product"], raw["block"], *at, variables)
