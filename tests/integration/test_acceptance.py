"""What is computed again after what happened to 6 x 6 blocks: exactly the jobs of a table.

| what happened                                            | reproject | infer | mosaic |
|----------------------------------------------------------|-----------|-------|--------|
| nothing; every time shuffled; the file written again;    |         0 |     0 |      0 |
|   .snakemake deleted; copied without times; cloned       |           |       |        |
| a stage forced; a comment or docstring changed;          |         0 |     0 |      0 |
|   a value changed and changed back                       |           |       |        |
| two cells swapped inside one coarse cell                 |         1 |     0 |      0 |
| a cell that a neighbour reads, but does not depend on    |         1 |     2 |      1 |
| a cell in the middle of a block, its time kept or not    |         1 |     1 |      1 |
| a cell at an edge of a block                             |         1 |     2 |      2 |
| a cell in a corner of a block                            |         1 |     4 |      4 |
| code of infer changed, not its result; .snakemake        |         0 |    36 |      0 |
|   deleted and code changed; two values swapped           |           |       |        |

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

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from nunatak.config import merge
from tests.integration.world import SCALE, SIX, STEP, Project, Tree

pytestmark = pytest.mark.slow

# A block of the validation squares: no training tile, so no statistics, follow from its cells.
ROW, COL = 2, 1
SOURCE = {"download": 1, "scan": 1, "publish": 1}


def change(tree: Tree, down: int, across: int, by: float = 4.0) -> None:
    """Raise the bed in one fine cell of a coarse cell, told from the corner of the block."""
    at = (ROW * STEP + down) * SCALE, (COL * STEP + across) * SCALE
    with rasterio.open(tree.world, "r+") as file:
        window = Window(at[1], at[0], 1, 1)
        file.write(file.read(1, window=window) + np.float32(by), 1, window=window)


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
def test_nothing_runs(
    finished: Tree, tmp_path: Path, happens: Callable[[Tree], Tree]
) -> None:
    tree = happens(finished.copy(tmp_path / "six"))
    run = tree.run()
    assert run.returncode == 0, run.stdout
    assert "Nothing to be done" in run.stdout
    assert tree.manifests() == finished.manifests()


def within_a_coarse_cell(tree: Tree) -> None:
    """Swap two cells of one coarse cell: its mean stays."""
    top, left = (ROW * STEP + 7) * SCALE, (COL * STEP + 7) * SCALE
    with rasterio.open(tree.world, "r+") as file:
        window = Window(left, top, SCALE, SCALE)
        cells = file.read(1, window=window)
        cells[0, 0], cells[3, 3] = cells[3, 3], cells[0, 0]
        file.write(cells, 1, window=window)


def its_time_kept(tree: Tree) -> None:
    before = tree.world.stat()
    change(tree, 7, 7)
    os.utime(tree.world, ns=(before.st_atime_ns, before.st_mtime_ns))


CELLS: dict[str, tuple[Callable[[Tree], None], dict[str, int]]] = {
    "within a coarse cell": (within_a_coarse_cell, {}),
    "read but not needed": (lambda tree: change(tree, 2, 7), {"infer": 2, "mosaic": 1}),
    "middle": (lambda tree: change(tree, 7, 7), {"infer": 1, "mosaic": 1}),
    "edge": (lambda tree: change(tree, 0, 7), {"infer": 2, "mosaic": 2}),
    "corner": (lambda tree: change(tree, 0, 0), {"infer": 4, "mosaic": 4}),
    "time kept": (its_time_kept, {"infer": 1, "mosaic": 1}),
}


@pytest.mark.parametrize("cell", CELLS)
def test_a_changed_cell_of_a_source(finished: Tree, tmp_path: Path, cell: str) -> None:
    act, expected = CELLS[cell]
    tree = finished.copy(tmp_path / "six")
    act(tree)
    run = tree.run()
    assert run.returncode == 0, run.stdout
    # The table and the figures show the truth and the whole product: they follow every change.
    always = {**SOURCE, "reproject": 1, "degrade": 1, "tile": 1, "evaluate": 1}
    assert tree.computed() == {**always, **expected}
    assert tree.manifests() != finished.manifests()


def test_a_forced_stage_computes_nothing(finished: Tree, tmp_path: Path) -> None:
    tree = finished.copy(tmp_path / "six")
    run = tree.run("--forcerun", "reproject")
    assert run.returncode == 0, run.stdout
    assert tree.computed() == {}
    assert tree.kept()["reproject"] == 36
    assert tree.manifests() == finished.manifests()


LINE = "    recipe = results.recipe\n    scale, product = "
DEAD = "    recipe = results.recipe\n    unused = 1  # noqa: F841\n    scale, product = "


@pytest.mark.parametrize("forget", [False, True], ids=["alone", "without .snakemake"])
def test_changed_code_with_the_same_result(
    finished: Tree, tmp_path: Path, forget: bool
) -> None:
    project = finished.project.edited(tmp_path / "project", "stages/infer", LINE, DEAD)
    tree = finished.copy(tmp_path / "six", project)
    if forget:
        forgotten(tree)
    run = tree.run()
    assert run.returncode == 0, run.stdout
    assert tree.computed() == {"infer": 36}
    assert tree.manifests() == finished.manifests()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (LINE, f"    # A comment.\n{LINE}"),
        ('"""Write the field that one member', '"""Write, in other words, the field that a member'),
    ],
    ids=["comment", "docstring"],
)
def test_changed_words_are_not_changed_code(
    finished: Tree, tmp_path: Path, old: str, new: str
) -> None:
    project = finished.project.edited(tmp_path / "project", "stages/infer", old, new)
    run = finished.copy(tmp_path / "six", project).run()
    assert run.returncode == 0, run.stdout
    assert "Nothing to be done" in run.stdout


def configured(tree: Tree, **changed: Any) -> None:
    tree.configure({"name": "six", "set": merge(SIX, changed)})


def test_two_values_swapped(finished: Tree, tmp_path: Path) -> None:
    """size and stride of tiles: the statistics change, which bicubic reads and does not use."""
    tree = finished.copy(tmp_path / "six")
    configured(tree, tiles={"size": 2, "stride": 4})
    run = tree.run()
    assert run.returncode == 0, run.stdout
    assert tree.computed() == {"tile": 1, "infer": 36, "publish": 1, "evaluate": 1}


def contents(tree: Tree, *, manifests: bool) -> dict[str, bytes]:
    """All files of the results, with or without manifests."""
    known = tree.manifests()
    paths = (p for p in tree.results.rglob("*") if p.is_file())
    named = {str(p.relative_to(tree.results)): p for p in paths}
    return {name: p.read_bytes() for name, p in named.items() if manifests or name not in known}


def test_a_value_changed_and_changed_back(finished: Tree, tmp_path: Path) -> None:
    """And a dry run in between, which changes nothing but manifests."""
    tree = finished.copy(tmp_path / "six")
    shutil.rmtree(tree.results / "logs")
    before = contents(tree, manifests=False)
    configured(tree, infer={"window": 8})
    run = tree.run("--dry-run")
    assert run.returncode == 0, run.stdout
    assert "infer" in run.stdout
    assert contents(tree, manifests=False) == before
    assert not tree.manifests().keys() & {f"six/infer/bicubic/0/{r}_{c}.json" for r in range(6) for c in range(6)}
    configured(tree)
    run = tree.run()
    assert run.returncode == 0, run.stdout
    assert "Nothing to be done" in run.stdout
    assert tree.manifests() == finished.manifests()


def test_a_corrupt_input_stops_its_consumer(finished: Tree, tmp_path: Path) -> None:
    tree = finished.copy(tmp_path / "six")
    shard = tree.results / "six" / "degrade" / "coarse.zarr" / "bed" / "c" / str(ROW) / str(COL)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    neighbour = f"six/infer/bicubic/0/{ROW}_{COL + 1}"
    for suffix in ("json", "trace"):
        (tree.results / f"{neighbour}.{suffix}").unlink()
    run = tree.run()
    assert run.returncode != 0
    assert f"error: six/degrade/coarse/{ROW}_{COL}: six/degrade/coarse.zarr/bed/c/" in run.stdout
    assert "nunatak repair" in run.stdout
    assert "Traceback" not in run.stdout
    assert tree.computed() == {}
    left = tree.manifests()
    assert f"{neighbour}.json" not in left
    assert left == {name: finished.manifests()[name] for name in left}
