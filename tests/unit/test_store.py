from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from tests import small

from nunatak.content import Content, Manifest, cuts, digest_array
from nunatak.errors import StoreError
from nunatak.grid import Window
from nunatak.products import Results


def field(results: Results) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.normal(size=results.recipe.layout.fine.shape).astype(np.float32)
    values[3:9, 5:60] = np.nan
    return values


def test_a_window_reads_back_what_blocks_wrote_and_nan_beyond_the_domain(tmp_path: Path) -> None:
    results = small.tree(tmp_path)
    values = field(results)
    small.fill(results, "target", values)
    rows, cols = results.recipe.layout.shape
    whole = results.role("target").read("bed", Window(-1, rows + 1, -2, cols + 2))
    np.testing.assert_array_equal(whole[4:-4, 8:-8], values)
    assert np.isnan(whole[:4]).all()
    assert np.isnan(results.role("target").read("bed", Window(-9, -5, 0, 4))).all()


def test_xarray_opens_the_whole_product_with_crs_units_and_datum(tmp_path: Path) -> None:
    results = small.tree(tmp_path)
    values = field(results)
    small.fill(results, "target", values)
    with xr.open_zarr(results.role("target").path, consolidated=False) as data:
        np.testing.assert_array_equal(data["bed"].values, values)
        assert data["bed"].attrs["units"] == "m"
        assert data["bed"].attrs["standard_name"] == "bedrock_altitude"
        assert data["bed"].attrs["vertical_datum"] == "geoid:synthetic"
        assert data["bed"].attrs["grid_mapping"] == "spatial_ref"
        assert data["spatial_ref"].attrs["grid_mapping_name"] == "polar_stereographic"
        np.testing.assert_allclose(data["x"].values[:2], [125, 375])
        assert data["y"].values[0] > data["y"].values[-1]


def test_only_a_whole_block_may_be_written(tmp_path: Path) -> None:
    results = small.tree(tmp_path)
    product, block = results.role("target").create(), results.recipe.layout.at(0, 0)
    with pytest.raises(StoreError, match="exactly one shard"):
        product.write(block, {"bed": np.zeros((32, 31), np.float32)})
    with pytest.raises(StoreError, match="exactly one shard"):
        product.write(block, {"other": np.zeros((32, 32), np.float32)})


def test_a_product_of_another_layout_starts_empty(tmp_path: Path) -> None:
    first = small.tree(tmp_path)
    small.fill(first, "target", field(first))
    moved = small.tree(tmp_path, grid={"bounds": [4000, 0, 28000, 16000]})
    product = moved.role("target").create()
    assert np.isnan(product.read("bed", Window(0, 16, 0, 24))).all()
    assert moved.role("target").create().path.exists()


def _write(job: tuple[Path, str]) -> dict[str, Any]:
    results = small.tree(job[0])
    block = results.recipe.layout.named(job[1])
    cells = block.core.at(results.recipe.grid.scale)
    product = results.role("target").create()
    return product.write(block, {"bed": field(results)[cells.slices]}).to_dict()


def test_concurrent_writers_lose_no_block(tmp_path: Path) -> None:
    results = small.tree(tmp_path / "many")
    names = [block.name for block in results.recipe.layout.blocks()]
    with ProcessPoolExecutor(4) as pool:
        texts = list(pool.map(_write, [(tmp_path / "many", name) for name in names]))
    rows, cols = results.recipe.layout.shape
    whole = results.role("target").read("bed", Window(0, rows, 0, cols))
    np.testing.assert_array_equal(whole, field(results))
    assert texts == [_write((tmp_path / "one", name)) for name in names]


def test_manifests_survive_json_and_tell_content(tmp_path: Path) -> None:
    results = small.tree(tmp_path)
    block = results.recipe.layout.at(0, 0)
    values = field(results)[block.core.at(4).slices]
    manifest = results.role("target").create().write(block, {"bed": values})
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest
    assert manifest.variables["bed"].valid == np.isfinite(values).sum()
    assert manifest.variables["bed"] == Content.of(values, *(2 * [[4 * n for n in cuts(8)]]))
    assert str(tmp_path) not in json.dumps(manifest.to_dict())


def test_every_nan_and_both_zeros_have_one_digest() -> None:
    other = np.array([np.float32(0), np.uint32(0x7FC00001).view(np.float32)])
    plain = np.array([-0.0, np.nan], np.float32)
    assert digest_array(other.astype(np.float32)) == digest_array(plain)
    assert digest_array(plain) != digest_array(plain[::-1])
