"""What is computed again after what happened to 6 x 6 blocks: exactly the jobs of a table.

| what happened                                            | reproject | infer | mosaic |
|----------------------------------------------------------|-----------|-------|--------|
| nothing; every time shuffled; the file written again;    |         0 |     0 |      0 |
|   .snakemake deleted; copied without times; cloned       |           |       |        |
| a stage forced; a comment or docstring changed;          |         0 |     0 |      0 |
|   a value changed and changed back                       |           |       |        |
| a cell in the middle of a block, its time kept or not    |         1 |     1 |      1 |
| a cell at an edge of a block                             |         1 |     2 |      2 |
| a cell in a corner of a block                            |         1 |     4 |      4 |
| a cell that a neighbour reads, but does not depend on    |         1 |     2 |      1 |
| two cells swapped inside one coarse cell                 |         1 |     0 |      0 |
| code of infer changed, not its result; .snakemake        |         0 |    36 |      0 |
|   deleted and code changed                               |           |       |        |
| two values of tile swapped, 1 of 36 blocks missing       |         0 |    35 |      0 |

reproject and degrade are pointwise (A of the design), infer reads a halo of 2 coarse cells for
bicubic and 2 to fill gaps from (B), mosaic is what follows (C). A bicubic cell depends on the
nearest two coarse cells on each side, so the third and fourth are read and do not matter.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rasterio
from rasterio.windows import Window

from nunatak.config import merge
from tests.integration.world import COMPUTED, SCALE, SIX, STEP, Tree

pytestmark = pytest.mark.slow


def nothing(tree: Tree) -> Tree:
    return tree


def shuffled(tree: Tree) -> Tree:
    dice = random.Random(0)
    for path in [tree.folder, *tree.folder.rglob("*")]:
        when = 1.7e9 + dice.uniform(-1e8, 1e8)
        os.utime(path, (when, when), follow_symlinks=False)
    return tree


def written_again(tree: Tree) -> Tree:
    content = tree.world.read_bytes()
    tree.world.unlink()
    tree.world.write_bytes(content)
    return tree


def forgotten(tree: Tree) -> Tree:
    shutil.rmtree(tree.folder / ".snakemake")
    return tree


def copied(tree: Tree) -> Tree:
    other = tree.folder.with_name("other")
    shutil.copytree(tree.folder, other, copy_function=shutil.copyfile)
    return Tree(other, tree.project)


def cloned(tree: Tree) -> Tree:
    other = tree.folder.with_name("other")
    ignored = shutil.ignore_patterns(".snakemake")
    shutil.copytree(tree.folder, other, copy_function=shutil.copyfile, ignore=ignored)
    return Tree(other, tree.project)


@pytest.mark.parametrize("happens", [nothing, shuffled, written_again, forgotten, copied, cloned])
def test_nothing_runs(finished: Tree, tmp_path: Path, happens: Callable[[Tree], Tree]) -> None:
    tree = happens(finished.copy(tmp_path / "six"))
    run = tree.run()
    assert run.returncode == 0, run.stdout
    assert "Nothing to be done" in run.stdout
    assert tree.manifests() == finished.manifests()


# The figures and the record show the whole product and its source: they follow every change.
ONE = {"download": 1, "scan": 1, "tile": 1, "publish": 1, "evaluate": 1}


def test_a_cell_in_the_middle_of_a_block_and_its_time_kept(finished: Tree, tmp_path: Path) -> None:
    tree = finished.copy(tmp_path / "six")
    before = tree.world.stat()
    tree.change("2_1", 7, 7)
    os.utime(tree.world, ns=(before.st_atime_ns, before.st_mtime_ns))
    run = tree.run()
    assert run.returncode == 0, run.stdout
    assert tree.computed() == {**ONE, "reproject": 1, "degrade": 1, "infer": 1, "mosaic": 1}
    assert tree.manifests() != finished.manifests()
    shutil.copy2(finished.world, tree.world)
    assert tree.run().returncode == 0
    assert tree.manifests() == finished.manifests()


def test_a_cell_in_a_corner_of_a_block(finished: Tree, tmp_path: Path) -> None:
    tree = finished.copy(tmp_path / "six")
    tree.change("2_1", 0, 0)
    run = tree.run()
    assert run.returncode == 0, run.stdout
    assert tree.computed() == {**ONE, "reproject": 1, "degrade": 1, "infer": 4, "mosaic": 4}


def swap_within_a_coarse_cell(tree: Tree, block: str) -> None:
    """The mean of the coarse cell stays."""
    row, col = (int(part) * STEP + 7 for part in block.split("_"))
    window = Window(col * SCALE, row * SCALE, SCALE, SCALE)
    with rasterio.open(tree.world, "r+") as file:
        cells = file.read(1, window=window)
        cells[0, 0], cells[3, 3] = cells[3, 3], cells[0, 0]
        file.write(cells, 1, window=window)


def test_cells_in_blocks_far_apart(finished: Tree, tmp_path: Path) -> None:
    """Of test and validation squares, so that no statistics follow from them."""
    tree = finished.copy(tmp_path / "six")
    tree.change("0_0", 7, 7)
    tree.change("3_1", 0, 7)
    tree.change("3_3", 15 - 2, 7)
    swap_within_a_coarse_cell(tree, "1_4")
    run = tree.run()
    assert run.returncode == 0, run.stdout
    found = tree.told(COMPUTED)
    stages = {
        "reproject/target": ["0_0", "1_4", "3_1", "3_3"],
        "degrade/coarse": ["0_0", "1_4", "3_1", "3_3"],
        "infer/bicubic/0": ["0_0", "2_1", "3_1", "3_3", "4_3"],
        "mosaic/bicubic": ["0_0", "2_1", "3_1", "3_3"],
    }
    for stage, blocks in stages.items():
        assert [s for s in found if f"/{stage}/" in s] == [f"six/{stage}/{b}" for b in blocks]
    assert len(found) == sum(map(len, stages.values())) + len(ONE)


def test_a_forced_stage_computes_nothing(finished: Tree, tmp_path: Path) -> None:
    tree = finished.copy(tmp_path / "six")
    run = tree.run("--forcerun", "reproject")
    assert run.returncode == 0, run.stdout
    assert tree.computed() == {}
    assert tree.kept()["reproject"] == 36
    assert tree.manifests() == finished.manifests()


@pytest.mark.parametrize("forget", [False, True], ids=["alone", "without .snakemake"])
def test_changed_code_with_the_same_result(finished: Tree, tmp_path: Path, forget: bool) -> None:
    project = finished.project.edited(tmp_path / "project", "stages/infer", after="_UNUSED = 1\n")
    tree = finished.copy(tmp_path / "six", project)
    if forget:
        forgotten(tree)
    run = tree.run()
    assert run.returncode == 0, run.stdout
    assert tree.computed() == {"infer": 36}
    assert tree.manifests() == finished.manifests()


@pytest.mark.parametrize(
    "words", [{"after": "# A comment.\n"}, {"docstring": "Or: "}], ids=["comment", "docstring"]
)
def test_changed_words_are_not_changed_code(
    finished: Tree, tmp_path: Path, words: dict[str, str]
) -> None:
    project = finished.project.edited(tmp_path / "project", "stages/infer", **words)
    run = finished.copy(tmp_path / "six", project).run()
    assert run.returncode == 0, run.stdout
    assert "Nothing to be done" in run.stdout


def configured(tree: Tree, **changed: Any) -> None:
    tree.configure({"name": "six", "set": merge(SIX, changed)})


def test_two_values_swapped(finished: Tree, tmp_path: Path) -> None:
    """size and stride of tiles: the statistics change, which bicubic reads and does not use.

    Of the block whose bed is missing, they are not read.
    """
    tree = finished.copy(tmp_path / "six")
    configured(tree, tiles={"size": 2, "stride": 4})
    run = tree.run()
    assert run.returncode == 0, run.stdout
    assert tree.computed() == {"tile": 1, "infer": 35, "publish": 1, "evaluate": 1}


def contents(tree: Tree) -> dict[str, bytes]:
    """The files of the results but for caches and manifests."""
    known = tree.manifests()
    paths = (p for p in tree.results.glob("[!.]*/**/*") if p.is_file())
    named = {str(p.relative_to(tree.results)): p for p in paths}
    return {name: p.read_bytes() for name, p in named.items() if name not in known}


def test_a_value_changed_and_changed_back(finished: Tree, tmp_path: Path) -> None:
    """And a dry run in between, which changes nothing but manifests."""
    tree = finished.copy(tmp_path / "six")
    shutil.rmtree(tree.results / "logs")
    before = contents(tree)
    configured(tree, infer={"window": 8})
    run = tree.run("--dry-run")
    assert run.returncode == 0, run.stdout
    assert "infer" in run.stdout
    assert contents(tree) == before
    assert not any(name.startswith("six/infer/") for name in tree.manifests())
    configured(tree)
    run = tree.run()
    assert run.returncode == 0, run.stdout
    assert "Nothing to be done" in run.stdout
    assert tree.manifests() == finished.manifests()


def test_a_corrupt_input_stops_its_consumer(finished: Tree, tmp_path: Path) -> None:
    tree = finished.copy(tmp_path / "six")
    shard = tree.results / "six" / "degrade" / "coarse.zarr" / "bed" / "c" / "2" / "1"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    neighbour = "six/infer/bicubic/0/2_2"
    for suffix in ("json", "trace"):
        (tree.results / f"{neighbour}.{suffix}").unlink()
    run = tree.run()
    assert run.returncode != 0
    assert "error: six/degrade/coarse/2_1: six/degrade/coarse.zarr/bed/c/2/1 differs" in run.stdout
    assert "nunatak repair" in run.stdout
    assert "Traceback" not in run.stdout
    assert tree.computed() == {}
    left = tree.manifests()
    assert f"{neighbour}.json" not in left
    assert left == {name: finished.manifests()[name] for name in left}
