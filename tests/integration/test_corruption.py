"""Every damage to a store is found, named, and mended by making exactly that block again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.integration.world import COMPUTED, STEP, Tree

pytestmark = pytest.mark.slow


def flip(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def truncate(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-1])


def empty(shard: Path) -> None:
    shard.write_bytes(b"")


def edit(shard: Path) -> None:
    """A valid edit through zarr: the shard decodes, and holds another value."""
    array = zarr.open_array(shard.parents[2], mode="r+")
    row, col = int(shard.parent.name), int(shard.name)
    side = array.shards[0]
    array[row * side, col * side] += np.float32(1)


Damage = Callable[[Path], None]
# The bed of block 5_5 is missing, so that its shard holds nothing but the fill value.
DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "bit flip": (flip, "reproject/target", "0_0"),
    "truncation": (truncate, "degrade/coarse", "0_5"),
    "deletion": (Path.unlink, "infer/bicubic/0", "2_2"),
    "valid edit": (edit, "mosaic/bicubic", "3_3"),
    "zero length": (empty, "infer/bicubic/0", "5_1"),
    "fill only": (Path.unlink, "reproject/target", "5_5"),
}


def shard(tree: Tree, product: str, block: str) -> Path:
    return tree.results / "six" / f"{product}.zarr" / "bed" / "c" / block.replace("_", "/")


@pytest.mark.parametrize("damage", DAMAGES)
def test_it_is_found_and_named(finished: Tree, tmp_path: Path, damage: str) -> None:
    tree = finished.copy(tmp_path / "six")
    spoil, product, block = DAMAGES[damage]
    spoil(shard(tree, product, block))
    verified = tree.nunatak("verify", "--results", "results")
    assert verified.returncode == 1
    named, summary = verified.stdout.splitlines()
    assert named.startswith(f"six/{product} block {block}: six/{product}.zarr/bed/c/")
    assert summary.endswith("1 fault")


def test_they_are_mended_by_making_these_blocks_again(finished: Tree, tmp_path: Path) -> None:
    tree = finished.copy(tmp_path / "six")
    for spoil, product, block in DAMAGES.values():
        spoil(shard(tree, product, block))
    repaired = tree.nunatak("repair", "--results", "results")
    assert repaired.returncode == 0, repaired.stdout
    assert len(repaired.stdout.splitlines()) == len(DAMAGES)
    run = tree.run()
    assert run.returncode == 0, run.stdout
    steps = sorted(f"six/{product}/{block}" for _, product, block in DAMAGES.values())
    assert tree.told(COMPUTED) == steps
    assert tree.manifests() == finished.manifests()
    verified = tree.nunatak("verify", "--results", "results")
    assert verified.returncode == 0, verified.stdout


def test_a_block_that_is_missing_everywhere_has_a_shard(finished: Tree) -> None:
    for product in ("reproject/target", "degrade/coarse", "infer/bicubic/0", "mosaic/bicubic"):
        path = shard(finished, product, "5_5")
        assert path.stat().st_size > 0
        array = zarr.open_array(path.parents[2], mode="r")
        side = array.shards[0]
        assert side in (STEP, STEP * 4)
        assert np.isnan(array[-side:, -side:]).all()
