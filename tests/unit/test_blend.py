from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nunatak.grid import Window
from nunatak.ops.blend import Lattice

sides = st.integers(3, 50)


@st.composite
def lattices(draw: st.DrawFn) -> Lattice:
    size = draw(st.integers(2, 20))
    return Lattice((draw(sides), draw(sides)), size, draw(st.integers(0, size // 2)))


@given(lattice=lattices(), scale=st.integers(1, 4), data=st.data())
def test_weights_sum_to_one_in_any_part_of_the_domain(
    lattice: Lattice, scale: int, data: st.DataObject
) -> None:
    rows, cols = lattice.shape
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    core = Window(
        top, data.draw(st.integers(top + 1, rows)), left, data.draw(st.integers(left + 1, cols))
    )
    total = np.zeros(core.at(scale).shape)
    for window in lattice.windows(core):
        part = Window(
            max(window.top, core.top),
            min(window.bottom, core.bottom),
            max(window.left, core.left),
            min(window.right, core.right),
        )
        weights = lattice.weights(window, part, scale)
        assert (weights >= 0).all()
        total[part.within(core).at(scale).slices] += weights
    np.testing.assert_allclose(total, 1, rtol=1e-12)


@given(lattice=lattices())
def test_a_cell_is_made_of_the_same_windows_whatever_the_block(lattice: Lattice) -> None:
    rows, cols = lattice.shape
    whole = list(lattice.windows(Window(0, rows, 0, cols)))
    half = list(lattice.windows(Window(0, rows // 2 + 1, 0, cols)))
    cell = Window(rows // 2, rows // 2 + 1, cols // 2, cols // 2 + 1)
    assert {w for w in half if w.meets(cell)} == {w for w in whole if w.meets(cell)}
