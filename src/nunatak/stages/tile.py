"""tile: the index of training samples, what it shows of the splits, the normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nunatak import gallery, normal_fit
from nunatak.apart import apart, gap
from nunatak.content import digest_array
from nunatak.crew import ALONE, Crew
from nunatak.errors import DataError
from nunatak.grid import Block, Grid, Window
from nunatak.ops.degrade import cells_of
from nunatak.ops.normalise import REACH
from nunatak.ops.split import NAMES, TEST, TRAIN, VALIDATION
from nunatak.products import Results
from nunatak.provenance import digest_file, digest_json, write_json
from nunatak.recipe import Recipe
from nunatak.splits import labels
from nunatak.statistics import statistics
from nunatak.store import Product

_COLUMNS: dict[str, Any] = {
    "place": str,
    "row": "int32",
    "col": "int32",
    "split": "uint8",
    "valid": "float32",
    "block": str,
}
_BEFORE = {TRAIN: [VALIDATION, TEST], VALIDATION: [TEST], TEST: []}


@dataclass(frozen=True)
class Candidates:
    """The tiles whose corner lies in one block."""

    grid: Grid
    size: int
    stride: int
    min_valid: float

    def corners(self, block: Block) -> list[tuple[int, int]]:
        """Corners (row, column) on a lattice of the domain, so that blocks do not matter."""
        core, (rows, cols) = block.core, self.grid.shape
        down = range(-(-core.top // self.stride) * self.stride, core.bottom, self.stride)
        across = range(-(-core.left // self.stride) * self.stride, core.right, self.stride)
        return [
            (r, c) for r in down for c in across if r + self.size <= rows and c + self.size <= cols
        ]

    def select(
        self, block: Block, splits: NDArray[np.uint8], valid: NDArray[np.float32], margin: int
    ) -> list[dict[str, Any]]:
        """Keep the tiles that lie in one split, far enough from the others, and hold enough data.

        Parameters
        ----------
        block
            Its core grown by ``margin + size`` is what the two arrays show.
        splits
            Labels of coarse cells; cells outside the domain count as 255.
        valid
            Share of valid target cells in each coarse cell.
        margin
            Coarse cells that training keeps from validation and test, and validation from test.
        """
        shown = block.core.pad(margin + self.size)
        rows = []
        for row, col in self.corners(block):
            core = Window(row, row + self.size, col, col + self.size)
            here = splits[core.within(shown).slices]
            split = int(here[0, 0])
            share = float(valid[core.within(shown).slices].mean())
            if split not in NAMES or (here != split).any() or share < self.min_valid:
                continue
            if np.isin(splits[core.pad(margin).within(shown).slices], _BEFORE[split]).any():
                continue
            rows.append(
                {"row": row, "col": col, "split": split, "valid": share, "block": block.name}
            )
        return rows


def tile(results: Results, crew: Crew = ALONE) -> dict[str, Any]:
    """Write the index, the overlap report, the statistics and the map of the split to ``tile/``.

    Parameters
    ----------
    results
        The results tree, as far as the stage `degrade`.
    crew
        Who works on the blocks.

    Returns
    -------
    dict
        The manifest: the overlap report, and digests of the index, of the statistics and of what
        training sees.

    Raises
    ------
    DataError
        If a split is empty, or two splits touch where the recipe does not ask for it.
    """
    recipe, by_cell = results.recipe, results.recipe.tiles.normals
    frames = crew.each(_of_block, results, results.everywhere())
    index = pd.concat(list(frames), ignore_index=True)
    _refuse_empty(index, recipe)
    report = apart(recipe, index)
    results.tiles.mkdir(parents=True, exist_ok=True)
    fitted = statistics(results, index, crew)
    index.to_parquet(results.tiles / "tiles.parquet", index=False)
    write_json(results.tiles / "overlap.json", report)
    write_json(results.tiles / "statistics.json", fitted)
    gallery.split(results, index, results.tiles / "split.png")
    made = ["tiles.parquet", *(normal_fit.fit(results, index, fitted, crew) if by_cell else [])]
    results.wrote(*(results.tiles / name for name in (*made, "statistics.json")))
    results.keep(results.tiles / "overlap.json", results.tiles / "split.png")
    variables = {
        **{name: digest_file(results.tiles / name) for name in made},
        "statistics.json": digest_json(fitted),
        **training(results, index, crew),
    }
    if by_cell:
        variables["training/normals"] = digest_json([variables[name] for name in made[1:]])
    return {**report, "variables": {name: {"digest": d} for name, d in variables.items()}}


def training(results: Results, index: pd.DataFrame, crew: Crew = ALONE) -> dict[str, str]:
    """Digests of what training and validation see: the tiles, and each product's cells in them.

    A change of cells outside these tiles and their context changes none of them.
    """
    chosen = index[index["split"].isin((TRAIN, VALIDATION))]
    seen = chosen[["place", "row", "col", "split"]].to_numpy().tolist()
    found, items = {"training": digest_json(seen)}, []
    for place, tiles in chosen.groupby("place"):
        corners = tiles[["row", "col"]].to_numpy(np.int64)
        for _, block in results.everywhere([str(place)]):
            items.append((str(place), block, _near(results.recipe, corners, block.core)))
    parts = list(crew.each(_digests, results, items))
    return found | {f"training/{name}": digest_json([p[name] for p in parts]) for name in parts[0]}


def _near(recipe: Recipe, corners: NDArray[np.int64], core: Window) -> NDArray[np.int64]:
    """The corners of tiles that may reach into a block, context included."""
    far = recipe.tiles.size + recipe.tiles.context + REACH
    low = np.array([core.top, core.left]) - far
    high = np.array([core.bottom, core.right]) + far
    return corners[((corners > low) & (corners < high)).all(axis=1)]


def _digests(results: Results, given: tuple[str, Block, NDArray[np.int64]]) -> dict[str, str]:
    """Of each product, the digest of a block's cells that lie in tiles, or in their context."""
    (place, block, corners), tiles = given, results.recipe.tiles
    halos = {"target": 0, **dict.fromkeys(results.recipe.conditions, tiles.context)}
    halos["coarse"] = tiles.context + REACH
    if stations := results.recipe.insitu:
        halos.setdefault(stations, 0)
    return {
        name: _digest_covered(
            results.at(place).fed(name),
            block,
            _covered(corners, tiles.size, halo, block.core),
        )
        for name, halo in halos.items()
    }


def _covered(corners: NDArray[np.int64], size: int, halo: int, core: Window) -> NDArray[np.bool_]:
    """The coarse cells of a block that lie in tiles grown by a halo."""
    top, left = corners[:, 0] - halo - core.top, corners[:, 1] - halo - core.left
    side, (rows, cols) = size + 2 * halo, core.shape
    near = (top < rows) & (left < cols) & (top + side > 0) & (left + side > 0)
    mask = np.zeros(core.shape, dtype=bool)
    for row, col in zip(top[near], left[near], strict=True):
        mask[max(row, 0) : row + side, max(col, 0) : col + side] = True
    return mask


def _digest_covered(product: Product, block: Block, mask: NDArray[np.bool_]) -> str:
    if not mask.any():
        return ""
    values, ratio = product.read_all(block.core), product.layout.ratio
    values[:, ~mask.repeat(ratio, 0).repeat(ratio, 1)] = np.nan
    return digest_array(values)


def _of_block(results: Results, given: tuple[str, Block]) -> pd.DataFrame:
    place, block = given
    results = results.at(place)
    recipe, target = results.recipe, results.role("target")
    tiles, margin = recipe.tiles, gap(recipe)
    shown = block.core.pad(margin + tiles.size)
    inside = shown.clip(recipe.layout.shape)
    splits = np.full(shown.shape, 255, dtype=np.uint8)
    splits[inside.within(shown).slices] = labels(results, inside)
    fine = target.read_first(shown)
    coarse = results.coarse.read_first(shown)
    valid = np.isfinite(cells_of(fine, recipe.grid.scale)).mean(axis=-1, dtype=np.float32)
    candidates = Candidates(recipe.layout, tiles.size, tiles.stride, tiles.min_valid)
    rows = candidates.select(block, splits, np.where(np.isfinite(coarse), valid, 0), margin)
    frame = pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)
    return frame.assign(place=place)


def _refuse_empty(index: pd.DataFrame, recipe: Recipe) -> None:
    counts = {name: int((index["split"] == s).sum()) for s, name in NAMES.items()}
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise DataError(
            f"no tile for {' and '.join(empty)} (tiles: {counts})",
            f"in every split tiles of {recipe.tiles.size} coarse cells, {gap(recipe)} cells from"
            f" other splits, with {recipe.tiles.min_valid:.0%} valid target cells",
            "make split.by's parts larger, or tiles.size, tiles.context, split.buffer smaller",
        )
