from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nunatak.grid import Window
from nunatak.ops.blend import Lattice, Overlap

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


@st.composite
def overlaps(draw: st.DrawFn) -> Overlap:
    size = draw(st.integers(2, 20))
    return Overlap((draw(sides), draw(sides)), size, draw(st.integers(1, size)))


def whole(shape: tuple[int, int]) -> Window:
    return Window(0, shape[0], 0, shape[1])


@given(overlap=overlaps())
def test_overlapping_windows_cover_every_cell_and_stay_inside(overlap: Overlap) -> None:
    count = np.zeros(overlap.shape, int)
    windows = list(overlap.windows(whole(overlap.shape)))
    for window in windows:
        assert window.clip(overlap.shape) == window
        expected = tuple(min(overlap.size, side) for side in overlap.shape)
        assert window.shape == expected
        count[window.slices] += 1
    assert count.min() >= 1
    assert len(set(windows)) == len(windows)


@given(count=st.integers(1, 6), size=st.integers(2, 9))
def test_windows_side_by_side_tile_a_domain_that_they_divide(count: int, size: int) -> None:
    """The original lost a row and a column of tiles where the size divides the image."""
    overlap = Overlap((count * size, size), size, size)
    found = list(overlap.windows(whole(overlap.shape)))
    assert [window.top for window in found] == [k * size for k in range(count)]


def test_a_domain_smaller_than_a_window_is_one_window() -> None:
    assert list(Overlap((5, 7), 16, 8).windows(whole((5, 7)))) == [whole((5, 7))]
    (long,) = {w.shape for w in Overlap((5, 40), 16, 8).windows(whole((5, 40)))}
    assert long == (5, 16)


def test_the_middle_of_a_window_weighs_most_and_alike_in_any_part() -> None:
    overlap, window = Overlap((64, 64), 16, 8), Window(8, 24, 16, 32)
    weights = overlap.weights(window, window, 2)
    assert weights.shape == (32, 32)
    assert (weights > 0).all()
    np.testing.assert_array_equal(weights, weights[::-1, ::-1])
    # A standard deviation is an eighth of a window: 2 cells.
    ratio = weights[16, 16] / weights[16, 20]
    np.testing.assert_allclose(ratio, np.exp((2.25**2 - 0.25**2) / 8))
    part = Window(10, 13, 20, 32)
    inner = part.within(window).at(2).slices
    np.testing.assert_array_equal(overlap.weights(window, part, 2), weights[inner])


@given(overlap=overlaps())
def test_a_cell_is_made_of_the_same_overlapping_windows_whatever_the_block(
    overlap: Overlap,
) -> None:
    rows, cols = overlap.shape
    half = list(overlap.windows(Window(0, rows // 2 + 1, 0, cols)))
    cell = Window(rows // 2, rows // 2 + 1, cols // 2, cols // 2 + 1)
    every = overlap.windows(whole(overlap.shape))
    assert [w for w in half if w.meets(cell)] == [w for w in every if w.meets(cell)]
