from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from nunatak.errors import ConfigError
from nunatak.grid import Grid, Window

sizes = st.integers(1, 40)


def grid(rows: int, cols: int, scale: int, step: int) -> Grid:
    box = GeoBox.from_bbox(
        (0, 0, cols * scale * 250, rows * scale * 250), crs="EPSG:3031", resolution=250
    )
    return Grid(box, scale, step * scale)


@given(rows=sizes, cols=sizes, scale=st.integers(1, 5), step=st.integers(1, 12))
def test_blocks_cover_every_cell_exactly_once(rows: int, cols: int, scale: int, step: int) -> None:
    g = grid(rows, cols, scale, step)
    count = np.zeros(g.fine.shape, int)
    for block in g.blocks():
        count[block.core.at(scale).slices] += 1
        assert g.named(block.name) == block
    assert (count == 1).all()


@given(rows=sizes, cols=sizes, step=st.integers(1, 12), data=st.data())
def test_meeting_finds_the_blocks_that_share_a_cell_and_no_others(
    rows: int, cols: int, step: int, data: st.DataObject
) -> None:
    g = grid(rows, cols, 2, step)
    top, left = data.draw(st.integers(-5, rows + 5)), data.draw(st.integers(-5, cols + 5))
    high, wide = data.draw(st.integers(1, rows)), data.draw(st.integers(1, cols))
    window = Window(top, top + high, left, left + wide)
    found = {b.name for b in g.meeting(window)}
    assert found == {b.name for b in g.blocks() if b.core.meets(window)}


def test_geoboxes_of_windows_are_parts_of_the_whole() -> None:
    g = grid(12, 16, 4, 6)
    window = Window(3, 7, 5, 9)
    for ratio in (1, 2, 4, 8):
        whole, part = g.geobox(ratio), g.geobox(ratio, window)
        assert part.shape == (4 * ratio, 4 * ratio)
        assert part == whole[window.at(ratio).slices]
        assert part.extent.boundingbox == g.geobox(1, window).extent.boundingbox


def test_refining_undoes_coarsening() -> None:
    g = grid(12, 16, 4, 6)
    assert g.geobox(1).zoom_out(1 / 4) == g.fine
    assert g.geobox(4) == g.fine


@pytest.mark.parametrize("shape", [(399, 400), (400, 402)])
def test_a_scale_that_does_not_divide_the_grid_is_refused(shape: tuple[int, int]) -> None:
    box = GeoBox(
        shape, GeoBox.from_bbox((0, 0, 1e5, 1e5), "EPSG:3031", resolution=250).affine, 3031
    )
    with pytest.raises(
        ConfigError, match=r"scale 4 does not divide.*\n.*whole coarse.*\n.*400 x 40"
    ):
        Grid(box, 4, 64)


def test_a_scale_that_does_not_divide_the_block_is_refused() -> None:
    box = GeoBox.from_bbox((0, 0, 1e5, 1e5), crs="EPSG:3031", resolution=250)
    with pytest.raises(ConfigError, match="use a block of 64"):
        Grid(box, 4, 65)


def test_neighbours_stop_at_the_edge_of_the_domain() -> None:
    g = grid(12, 12, 1, 4)
    assert len(list(g.neighbours(g.at(1, 1)))) == 9
    assert len(list(g.neighbours(g.at(0, 0)))) == 4
