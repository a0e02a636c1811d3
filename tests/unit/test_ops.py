"""degrade, normalise, split and postprocess."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo.geobox import GeoBox
from scipy import ndimage

from nunatak.errors import ConfigError
from nunatak.ops import degrade, normalise, postprocess, split
from nunatak.ops.normalise import Transform, fill_gaps

values = st.floats(-4000, 4000, width=32)
fields = hnp.arrays(np.float32, st.tuples(st.just(12), st.just(8)), elements=values)
gappy = hnp.arrays(np.float32, (12, 8), elements=st.one_of(values, st.just(np.nan)))


@given(field=fields, scale=st.sampled_from([1, 2, 4]))
def test_block_mean_conserves_the_mean(field: np.ndarray, scale: int) -> None:
    coarse = degrade.block_mean(field, scale)
    assert coarse.shape == (12 // scale, 8 // scale)
    np.testing.assert_allclose(coarse.mean(dtype=float), field.mean(dtype=float), atol=1e-3)


def test_block_mean_takes_valid_cells_only_and_refuses_too_few() -> None:
    field = np.array([[1, np.nan, np.nan, np.nan], [3, np.nan, np.nan, 8]], np.float32)
    np.testing.assert_array_equal(degrade.block_mean(field, 2, min_valid=0.5), [[2, np.nan]])
    np.testing.assert_array_equal(degrade.block_mean(field, 2, min_valid=0.0), [[2, 8]])


@given(field=gappy)
def test_block_means_constraint_holds_where_the_coarse_field_is_known(field: np.ndarray) -> None:
    coarse = np.linspace(-900, 900, 6, dtype=np.float32).reshape(3, 2)
    coarse[0, 0] = np.nan
    whole = np.nan_to_num(field)
    held = postprocess.block_mean(whole, coarse, 4, None)
    means = degrade.block_mean(held, 4)
    np.testing.assert_allclose(means[~np.isnan(coarse)], coarse[~np.isnan(coarse)], atol=2e-3)
    np.testing.assert_array_equal(held[:4, :4], whole[:4, :4])


thicknesses = hnp.arrays(np.float32, (12, 8), elements=st.floats(-500, 4000, width=32))
truths = hnp.arrays(
    np.float32, (12, 8), elements=st.one_of(st.just(0.0), st.floats(0, 4000, width=32))
)


@given(field=thicknesses, truth=truths)
def test_means_are_kept_and_no_thickness_is_negative(field: np.ndarray, truth: np.ndarray) -> None:
    coarse = degrade.block_mean(truth, 4)
    held = postprocess.block_mean_above(field, coarse, 4, None)
    assert held.min() >= 0
    np.testing.assert_allclose(degrade.block_mean(held, 4), coarse, rtol=1e-6, atol=2e-3)
    assert not held[degrade.repeat(coarse, 4) == 0].any(), "no ice where the coarse cell has none"


@given(field=thicknesses, truth=truths)
def test_what_is_held_is_never_farther_from_a_truth_that_is_so(
    field: np.ndarray, truth: np.ndarray
) -> None:
    held = postprocess.block_mean_above(field, degrade.block_mean(truth, 4), 4, None)
    before, after = (np.square(f - truth.astype(float)).sum() for f in (field, held))
    assert after <= before * (1 + 1e-6) + 1


@given(truth=truths)
def test_a_field_that_holds_already_is_left_as_it_is(truth: np.ndarray) -> None:
    held = postprocess.block_mean_above(truth, degrade.block_mean(truth, 4), 4, None)
    np.testing.assert_allclose(held, truth, rtol=1e-5, atol=1e-2)


def test_clamping_after_the_means_breaks_them_and_holding_both_does_not() -> None:
    field, coarse = np.array([[-30.0, 10.0], [10.0, 30.0]], np.float32), np.full((1, 1), 5.0)
    clamped = np.maximum(postprocess.block_mean(field, coarse, 2, None), 0)
    assert clamped.mean() > 10
    held = postprocess.block_mean_above(field, coarse, 2, None)
    np.testing.assert_allclose(held, [[0, 0], [0, 20]], atol=1e-5)
    raised = postprocess.block_mean_above(field, coarse + 40, 2, None, least=20.0)
    np.testing.assert_allclose(raised, [[20, 46.6667], [46.6667, 66.6667]], atol=1e-3)


def test_cells_without_a_mean_or_with_gaps_are_left_alone() -> None:
    field = np.array([[-1, 5, np.nan, 3], [-1, 5, -2, 3]], np.float32)
    held = postprocess.block_mean_above(field, np.array([[np.nan, 2]], np.float32), 2, None)
    np.testing.assert_array_equal(held, field)


def padded(field: np.ndarray, scale: int) -> np.ndarray:
    """A whole field with what the operation reads around it, missing."""
    around = degrade.surroundings("spline", scale) * scale
    return np.pad(field, around, constant_values=np.nan)


def bumps(side: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side] / 9
    return (1000 * np.sin(y) * np.cos(1.3 * x) + 40 * x * y).astype(np.float32)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_spline_is_that_of_scipys_zoom(scale: int) -> None:
    field = bumps(96)
    zoomed = ndimage.zoom(field.astype(float), 1 / scale, order=3, mode="reflect", grid_mode=True)
    found = degrade.spline(padded(field, scale), scale)
    edge = -(-18 // scale)
    inner = slice(edge, -edge)
    assert found.shape == zoomed.shape
    np.testing.assert_allclose(found[inner, inner], zoomed[inner, inner], atol=1e-2)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_spline_of_a_part_is_that_of_the_whole_field(scale: int) -> None:
    """Tiles degraded one by one have edges; here a part reads its surroundings and has none."""
    field = bumps(96)
    whole = degrade.spline(padded(field, scale), scale)
    around, cut = degrade.surroundings("spline", scale) * scale, slice(32 // scale, 64 // scale)
    part = degrade.spline(field[32 - around : 64 + around, 32 - around : 64 + around], scale)
    np.testing.assert_array_equal(part, whole[cut, cut])
    alone = degrade.spline(padded(field[32:64, 32:64], scale), scale)
    assert abs(alone - whole[cut, cut]).max() > 0.5


def test_the_spline_keeps_a_constant_beside_gaps_and_misses_what_lies_in_them() -> None:
    field = np.full((32, 32), 7, np.float32)
    field[12:20, 8:16] = np.nan
    found = degrade.spline(padded(field, 4), 4)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(field[1::4, 1::4]))
    np.testing.assert_allclose(found[np.isfinite(found)], 7, rtol=1e-6)


def test_a_bed_is_held_below_its_surface() -> None:
    bed = np.array([[10, 20, np.nan, 5]], np.float32)
    surface = np.array([[15, 15, 15, np.nan]], np.float32)
    held = postprocess.below(bed, np.zeros((1, 1), np.float32), 4, surface, gap=1.0)
    np.testing.assert_array_equal(held, [[10, 14, np.nan, 5]])


@pytest.mark.parametrize(
    "op", [normalise.identity(), normalise.standard(), normalise.asinh(width=5.0)]
)
@given(field=hnp.arrays(np.float32, (2, 6, 5), elements=values))
def test_normalisation_is_undone_exactly(op: Transform, field: np.ndarray) -> None:
    fitted = op.fit(op.sums([field, 2 * field + 1]))
    np.testing.assert_allclose(fitted.invert(fitted.apply(field)), field, rtol=1e-5, atol=2e-2)
    assert Transform.from_json(fitted.to_json()) == fitted


def test_standard_gives_mean_zero_and_deviation_one_of_valid_cells() -> None:
    rng = np.random.default_rng(0)
    field = rng.normal(700, 30, (1, 50, 50)).astype(np.float32)
    field[0, :5] = np.nan
    op = normalise.standard()
    normal = op.fit(op.sums([field])).apply(field)
    assert abs(np.nanmean(normal)) < 1e-4
    assert abs(np.nanstd(normal) - 1) < 1e-4
    assert np.isnan(normal[0, :5]).all()


def test_a_signed_velocity_keeps_its_sign() -> None:
    vx = np.array([[[-300.0, -3.0, 0.0, 3.0, 300.0]]], np.float32)
    raw = Transform(curve="asinh", width=10.0, offset=(0.0,), scale=(1.0,)).apply(vx)
    np.testing.assert_array_equal(np.sign(raw), np.sign(vx))


def test_gaps_are_filled_from_near_by_and_windows_do_not_matter() -> None:
    coarse = np.arange(400, dtype=np.float32).reshape(20, 20)
    coarse[4:6, 4:14] = np.nan
    filled = fill_gaps(coarse, -1.0)
    np.testing.assert_array_equal(filled[coarse == coarse], coarse[coarse == coarse])
    np.testing.assert_array_equal(fill_gaps(coarse[1:, 1:], -1.0)[3:, 3:], filled[4:, 4:])
    assert fill_gaps(np.full((9, 9), np.nan, np.float32), 7.0).min() == 7.0


def test_squares_do_not_depend_on_the_window() -> None:
    box = GeoBox.from_bbox((-50e3, -50e3, 50e3, 50e3), crs="EPSG:3031", resolution=1000)
    whole = split.squares(box, None, size=7000.0, period=5)
    part = split.squares(box[20:61, 33:80], None, size=7000.0, period=5)
    np.testing.assert_array_equal(part, whole[20:61, 33:80])
    share = np.bincount(whole.ravel(), minlength=3) / whole.size
    np.testing.assert_allclose(share, [0.6, 0.2, 0.2], atol=0.05)


def test_regions_hold_out_what_is_named_and_nothing_where_there_is_none() -> None:
    box = GeoBox.from_bbox((0, 0, 4000, 1000), crs="EPSG:3031", resolution=1000)
    ids = np.array([[1, 2, 3, np.nan]], np.float32)
    labels = split.regions(box, ids, validation=[2], test=[3])
    np.testing.assert_array_equal(labels, [[split.TRAIN, split.VALIDATION, split.TEST, split.NONE]])


def test_a_zoomed_tile_is_what_scipy_makes_of_it_and_knows_its_corners() -> None:
    field = bumps(82)
    found = degrade.tile_zoom(field, 1, tile=41, cells=10)
    tile = field[:41, 41:].astype(float)
    back = ndimage.zoom(ndimage.zoom(tile, 10 / 41, mode="mirror"), 41 / 10, mode="mirror")
    np.testing.assert_allclose(found[:41, 41:], back, atol=1e-3)
    corners = np.ix_([0, 40, 41, 81], [0, 40, 41, 81])
    np.testing.assert_allclose(found[corners], field[corners], atol=1e-2)
    assert abs(found - field).max() > 5


def test_a_zoomed_tile_does_not_know_its_neighbours_and_is_missing_with_a_cell() -> None:
    field = bumps(82)
    alone = degrade.tile_zoom(field[:41, :41], 1, tile=41, cells=5)
    field[60, 60] = np.nan
    found = degrade.tile_zoom(field, 1, tile=41, cells=5)
    np.testing.assert_array_equal(found[:41, :41], alone)
    assert np.isnan(found[41:, 41:]).all()
    assert np.isfinite(found[:41]).all()


@pytest.mark.parametrize(("side", "scale"), [(82, 2), (80, 1)])
def test_tiles_are_zoomed_whole_and_on_the_fine_grid(side: int, scale: int) -> None:
    with pytest.raises(ConfigError, match="whole tiles of 41 x 41 cells, at scale 1"):
        degrade.tile_zoom(bumps(side), scale, tile=41, cells=10)


def test_leaky_tiles_are_whole_tiles_in_the_numbers_asked_for() -> None:
    args = {"left": -3000.0, "top": 5000.0, "size": 1000.0, "rows": 10, "cols": 20}
    box = GeoBox.from_bbox((-4000, -6000, 18000, 6000), crs="EPSG:3031", resolution=250)
    whole = split.leaky_tiles(box, None, **args, test=60, validation=20)
    part = split.leaky_tiles(box[7:31, 9:60], None, **args, test=60, validation=20)
    np.testing.assert_array_equal(part, whole[7:31, 9:60])
    inside = whole[4:44, 4:84]
    assert (whole == split.NONE).sum() == whole.size - inside.size
    tiles = inside.reshape(10, 4, 20, 4).swapaxes(1, 2).reshape(200, 16)
    assert (tiles == tiles[:, :1]).all()
    assert np.bincount(tiles[:, 0]).tolist() == [120, 20, 60]
    other = split.leaky_tiles(box, None, **args, test=60, validation=20, seed=1)
    assert (other != whole).any()
