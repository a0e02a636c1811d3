"""What holds a field: a recipe's constraints, and the fields that they read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nunatak.grid import Window
from nunatak.method import Constraint
from nunatak.ops.degrade import resample
from nunatak.products import Results
from nunatak.registry import POSTPROCESS

Held = tuple[Constraint, NDArray[np.float32] | None]


def constrain(
    field: NDArray[np.float32],
    coarse: NDArray[np.float32],
    scale: int,
    constraints: Sequence[Held],
) -> NDArray[np.float32]:
    """Apply a recipe's constraints in their order, each with the field that it reads."""
    for constraint, other in constraints:
        field = POSTPROCESS.call(constraint.op, constraint.args, field, coarse, scale, other)
    return field


def held(results: Results, constraints: Sequence[Constraint], window: Window) -> list[Held]:
    """Constraints, each with the field that it reads.

    Parameters
    ----------
    results
        The results tree of one place.
    constraints
        Of a method of its recipe.
    window
        What to read, in coarse cells.

    Returns
    -------
    list of (Constraint, ndarray or None)
        Fields on the fine grid, NaN where missing; None of a constraint that reads none.
    """
    return [(c, _other(results, c, window)) for c in constraints]


def _other(results: Results, constraint: Constraint, window: Window) -> NDArray[np.float32] | None:
    if constraint.role is None:
        return None
    product = results.role(constraint.role)
    field = product.read_first(window)
    return resample(field, product.layout.ratio, results.recipe.grid.scale)
