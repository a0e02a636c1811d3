"""infer and mosaic: what goes in one side comes out of the other, exactly and without seams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import small

from nunatak.errors import DataError
from nunatak.grid import Window
from nunatak.ops.degrade import resample
from nunatak.products import Results
from nunatak.provenance import write_json
from nunatak.stages.degrade import degrade
from nunatak.stages.infer import Held, infer
from nunatak.stages.mosaic import combine, mosaic
from nunatak.stages.publish import write_cog

PLAIN = {"curve": "linear", "width": 1.0, "fitted": False, "offset": [0.0], "scale": [1.0]}
IDENTITY = {
    "roles": {"field": {"source": "world", "variables": ["bed"], "resolution": 250}},
    "conditions": ["field"],
    "methods": {"identity": {"model": {"op": "tests.identity:Identity"}}},
    "products": ["identity"],
}


def prepared(folder: Path, field: np.ndarray, **change: object) -> Results:
    results = small.tree(folder, **change)
    for role in {"target", *results.recipe.conditions}:
        small.fill(results, role, field)
    for block in results.recipe.layout.blocks():
        degrade(results, block)
    transforms = dict.fromkeys(("coarse", *results.recipe.conditions), PLAIN)
    numbers = {"mean": 0.0, "deviation": 1.0, "detail": 1.0}
    write_json(results.tiles / "statistics.json", {"transforms": transforms, **numbers})
    return results


def mapped(results: Results) -> np.ndarray:
    method = results.recipe.products[0]
    for block in results.recipe.layout.blocks():
        infer(results, method, 0, block)
        mosaic(results, method, block)
    rows, cols = results.recipe.layout.shape
    return results.mosaic(method).read("bed", Window(0, rows, 0, cols))


def random_field(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-500, 900, shape).astype(np.float32)


@given(
    rows=st.integers(5, 24),
    cols=st.integers(5, 24),
    step=st.sampled_from([4, 8]),
    window=st.integers(2, 12),
    feather=st.integers(0, 1),
)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_identity_comes_back_exactly_for_any_domain_and_block(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    cols: int,
    step: int,
    window: int,
    feather: int,
) -> None:
    field = random_field((rows * 4, cols * 4))
    results = prepared(
        tmp_path_factory.mktemp("identity"),
        field,
        **IDENTITY,
        grid={"bounds": [0, 0, cols * 1000, rows * 1000], "block": step * 4},
        infer={"window": window, "feather": feather},
    )
    np.testing.assert_array_equal(mapped(results), field)


def test_what_a_constraint_masks_has_neither_a_mean_nor_a_spread(tmp_path: Path) -> None:
    train = {
        "task": {"op": "supervised"},
        "losses": [{"op": "l1"}],
        **{"samples": 8, "batch": 2, "lr": 0.01, "validate_every": 4},
    }
    held = {"constraints": [{"op": "known", "role": "field"}], "members": 2, "train": train}
    method = {**IDENTITY["methods"]["identity"], **held}
    field = random_field((64, 96))
    field[5, 7] = np.nan
    results = prepared(tmp_path, field, **{**IDENTITY, "methods": {"identity": method}})
    for block in results.recipe.layout.blocks():
        full = np.ones(block.core.at(4).shape, np.float32)
        for member in range(2):
            results.member("identity", member).create().write(block, {"bed": member * full})
        mosaic(results, "identity", block)
    product, whole = results.mosaic("identity"), Window(0, 16, 0, 24)
    for name, value in (("bed", 0.5), ("bed_sd", np.sqrt(0.5))):
        expected = np.where(np.isnan(field), np.nan, value)
        np.testing.assert_allclose(product.read(name, whole), expected, rtol=1e-6)


def test_identity_reaches_the_geotiff_in_its_place(tmp_path: Path) -> None:
    field = random_field((64, 96))
    field[:8, :12] = np.nan
    results = prepared(tmp_path, field, **IDENTITY)
    mapped(results)
    path = tmp_path / "identity.tif"
    write_cog(results.mosaic("identity"), path, -9999, {"VERTICAL_DATUM": "geoid:synthetic"})
    with rasterio.open(path) as file:
        band = file.read(1, masked=True)
        np.testing.assert_array_equal(band.filled(np.nan), field)
        assert file.transform == results.recipe.layout.fine.affine
        assert file.crs.to_epsg() == 3031
        assert (file.nodata, file.units[0]) == (-9999, "m")
        assert file.tags()["VERTICAL_DATUM"] == "geoid:synthetic"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_a_large_geotiff_has_overviews(tmp_path: Path) -> None:
    field = random_field((1200, 1600))
    grid = {"bounds": [0, 0, 400000, 300000], "block": 512}
    results = prepared(tmp_path, field, **IDENTITY, grid=grid, infer={"window": 64})
    mapped(results)
    write_cog(results.mosaic("identity"), tmp_path / "large.tif", -9999, {})
    with rasterio.open(tmp_path / "large.tif") as file:
        assert file.overviews(1)[0] == 2
        np.testing.assert_array_equal(file.read(1), field)


def test_what_is_held_is_what_the_product_holds_and_is_read_as_far_as_asked(
    tmp_path: Path,
) -> None:
    field = random_field((2048, 64))
    results = small.tree(tmp_path, grid={"bounds": [0, 0, 16000, 512000], "block": 1024})
    small.fill(results, "target", field)
    product = results.role("target")
    held = Held(Window(-3, 512, 2, 14))
    for window in (Window(-3, 20, 2, 9), Window(-2, 21, 4, 14), Window(400, 512, 2, 14)):
        np.testing.assert_array_equal(held.read(product, window), product.read_all(window))
        assert held.ends[product.path] == (64 if window.bottom < 64 else 512)


def test_bicubic_does_not_depend_on_the_block(tmp_path: Path) -> None:
    field = random_field((64, 96))
    maps = [
        mapped(
            prepared(tmp_path / str(block), field, grid={"block": block}, infer={"window": window})
        )
        for block, window in ((32, 8), (48, 8), (96, 100))
    ]
    np.testing.assert_allclose(maps[1], maps[0], atol=2e-3)
    np.testing.assert_allclose(maps[2], maps[0], atol=2e-3)


def test_missing_coarse_cells_are_missing_and_their_neighbours_are_not(tmp_path: Path) -> None:
    field = random_field((64, 96))
    field[16:24, 40:52] = np.nan
    out = mapped(prepared(tmp_path, field))
    np.testing.assert_array_equal(np.isnan(out), np.isnan(field))
    assert abs(out[~np.isnan(out)]).max() < 1e5


def test_a_block_without_data_costs_no_prediction_and_is_missing(tmp_path: Path) -> None:
    field = random_field((64, 96))
    field[:32, :32] = np.nan
    results = prepared(tmp_path, field)
    out = mapped(results)
    assert np.isnan(out[:32, :32]).all()
    assert not np.isnan(out[32:]).any()


def test_a_halo_wider_than_a_block_is_refused(tmp_path: Path) -> None:
    results = prepared(tmp_path, random_field((64, 96)), grid={"block": 4})
    with pytest.raises(DataError, match=r"use a larger grid\.block"):
        infer(results, "bicubic", 0, results.recipe.layout.at(3, 3))


def test_the_mean_of_one_member_is_that_member_and_of_two_has_their_spread() -> None:
    a, b = random_field((5, 7)), random_field((5, 7), 1)
    a[0, 0] = np.nan
    np.testing.assert_array_equal(combine([a])[0], a)
    mean, spread = combine([a, b])
    np.testing.assert_allclose(mean, (a.astype(float) + b) / 2, rtol=1e-6)
    np.testing.assert_allclose(spread, abs(a.astype(float) - b) / 2**0.5, rtol=1e-6)
    assert np.isnan(mean[0, 0])


@pytest.mark.parametrize("ratio", [1, 2, 4, 8, 10])
def test_any_resolution_meets_the_fine_grid(ratio: int) -> None:
    plane = np.add.outer(np.arange(4 * ratio), np.arange(2 * ratio)).astype(np.float32) / ratio
    fine = resample(plane, ratio, 4)
    assert fine.shape == (16, 8)
    np.testing.assert_allclose(fine.mean(), plane.mean(), rtol=1e-5)
