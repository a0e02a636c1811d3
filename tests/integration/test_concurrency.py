"""Many writers of one product: no block is lost, and the result is that of one after the other."""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nunatak.content import Manifest
from nunatak.errors import StoreError
from nunatak.grid import Block, Window
from nunatak.store import Product
from tests.integration.world import SIX, Tree
from tests.small import tree as small_tree

WRITERS = 8
GRID = {"bounds": [0, 0, 64000, 64000], "block": 32}  # 8 x 8 blocks of 8 coarse cells
_barrier: Barrier


def product(folder: Path) -> Product:
    return small_tree(folder, grid=GRID).role("target")


def field(block: Block) -> NDArray[np.float32]:
    dice = np.random.default_rng([block.row, block.col])
    return dice.normal(size=block.core.at(4).shape).astype(np.float32)


def begin(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def write(folder: Path, share: int) -> list[Manifest]:
    """Write every eighth block, all writers at once; the store is made by whoever is first."""
    _barrier.wait()
    store = product(folder).create()
    blocks = list(store.layout.grid.blocks())[share::WRITERS]
    return [store.write(block, {"bed": field(block)}) for block in blocks]


def test_eight_writers_of_one_product(tmp_path: Path) -> None:
    context = get_context("spawn")
    with ProcessPoolExecutor(WRITERS, context, begin, (context.Barrier(WRITERS),)) as pool:
        shares = list(pool.map(write, [tmp_path / "many"] * WRITERS, range(WRITERS)))
    one = product(tmp_path / "one").create()
    blocks = list(one.layout.grid.blocks())
    serial = {b.name: one.write(b, {"bed": field(b)}) for b in blocks}
    assert {m.block: m for share in shares for m in share} == serial
    whole, many = Window(0, 64, 0, 64), product(tmp_path / "many")
    np.testing.assert_array_equal(many.read("bed", whole), one.read("bed", whole))
    for block in blocks:
        np.testing.assert_array_equal(many.read("bed", block.core), field(block))


@pytest.mark.parametrize(
    "core",
    [Window(0, 8, 4, 12), Window(4, 12, 0, 8), Window(0, 8, 0, 4), Window(0, 16, 0, 16)],
    ids=["between columns", "between rows", "half", "four"],
)
def test_a_misaligned_region_is_refused(tmp_path: Path, core: Window) -> None:
    store = product(tmp_path).create()
    for block in store.layout.grid.blocks():
        store.write(block, {"bed": field(block)})
    whole = Window(0, 64, 0, 64)
    before = store.read("bed", whole)
    block = Block(0, 0, core)
    with pytest.raises(StoreError, match="exactly one shard"):
        store.write(block, {"bed": field(block)})
    np.testing.assert_array_equal(store.read("bed", whole), before)


@pytest.mark.slow
def test_eight_jobs_from_the_start_and_one_at_a_time_in_two_steps(
    finished: Tree, tmp_path: Path
) -> None:
    """A changed world: made from nothing by eight jobs at once, and by what the change asks for."""
    serial, many = finished.copy(tmp_path / "serial"), Tree(tmp_path / "many", finished.project)
    for block, down, across in (("2_1", 0, 0), ("3_3", 15, 7), ("0_0", 9, 3), ("4_5", 8, 15)):
        serial.change(block, down, across, by=100)
    shutil.copytree(serial.world.parent, many.world.parent)
    many.configure({"name": "six", "set": SIX})
    for tree, cores in ((many, WRITERS), (serial, 1)):
        run = tree.run(cores=cores)
        assert run.returncode == 0, run.stdout
    assert serial.computed()["reproject"] == 4
    assert many.manifests() == serial.manifests() != finished.manifests()
    left, right = many.arrays(), serial.arrays()
    assert left.keys() == right.keys()
    for name, values in left.items():
        np.testing.assert_array_equal(right[name], values, name)
