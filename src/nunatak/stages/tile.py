"""tile: the index of training samples, the proof that splits do not touch, the normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nunatak import gallery
from nunatak.content import digest_array
from nunatak.errors import DataError
from nunatak.grid import Block, Grid, Window
from nunatak.ops.degrade import cells_of, repeat
from nunatak.ops.normalise import REACH, fill_gaps
from nunatak.ops.split import NAMES, TEST, TRAIN, VALIDATION
from nunatak.products import Results
from nunatak.provenance import digest_file, digest_json, write_json
from nunatak.recipe import Recipe
from nunatak.registry import NORMALISE
from nunatak.splits import labels
from nunatak.store import Product

FITTED = 1000
_COLUMNS: dict[str, Any] = {
    "row": "int32",
    "col": "int32",
    "split": "uint8",
    "valid": "float32",
    "block": str,
}
_BEFORE = {TRAIN: [VALIDATION, TEST], VALIDATION: [TEST], TEST: []}


def gap(recipe: Recipe) -> int:
    """Coarse cells between targets of two splits: the buffer, and always more than both halos."""
    buffer = ceil(recipe.split.buffer / recipe.layout.coarse_resolution)
    return max(buffer, 2 * recipe.tiles.context + 1)


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


def overlap(tiles: pd.DataFrame, size: int, context: int, required: int) -> dict[str, Any]:
    """Measure the least distance between the tiles of each pair of splits.

    Parameters
    ----------
    tiles
        Columns row, col, split.
    size, context
        Side of a tile and of the halo around its inputs (coarse cells).
    required
        Coarse cells that must lie between two targets of different splits.

    Returns
    -------
    dict
        Counts, and for each pair the gap between targets and between input windows.

    Raises
    ------
    DataError
        If two splits are closer than ``required`` or their input windows touch.
    """
    corners = tiles[["row", "col"]].to_numpy(float)
    held = {split: corners[tiles["split"].to_numpy() == split] for split in NAMES}
    trees = {split: cKDTree(points) for split, points in held.items() if len(points)}
    pairs: dict[str, Any] = {}
    for a, b in combinations(sorted(trees), 2):
        nearest, _ = trees[a].query(trees[b].data, p=np.inf)
        targets = int(np.min(nearest)) - size
        pair = f"{NAMES[a]}-{NAMES[b]}"
        pairs[pair] = {"targets": targets, "inputs": targets - 2 * context, "required": required}
        if targets < required or targets <= 2 * context:
            raise DataError(
                f"{pair}: two tiles lie {targets} coarse cells apart",
                f"at least {required} (the buffer) and {2 * context + 1} (both halos)",
            )
    counts = {NAMES[split]: len(points) for split, points in held.items()}
    return {"tiles": counts, "size": size, "context": context, "gaps": pairs}


def tile(results: Results) -> dict[str, Any]:
    """Write the index, the overlap report, the statistics and the map of the split to ``tile/``.

    Returns
    -------
    dict
        The manifest: the overlap report, and digests of the index, of the statistics and of what
        training sees.

    Raises
    ------
    DataError
        If a split is empty, or two splits touch.
    """
    recipe = results.recipe
    frames = [_of_block(results, block) for block in recipe.layout.blocks()]
    index = pd.concat(frames, ignore_index=True)
    _refuse_empty(index, recipe)
    report = overlap(index, recipe.tiles.size, recipe.tiles.context, gap(recipe))
    results.tiles.mkdir(parents=True, exist_ok=True)
    fitted = statistics(results, index)
    index.to_parquet(results.tiles / "tiles.parquet", index=False)
    write_json(results.tiles / "overlap.json", report)
    write_json(results.tiles / "statistics.json", fitted)
    gallery.split(results, index, results.tiles / "split.png")
    results.wrote(results.tiles / "tiles.parquet", results.tiles / "statistics.json")
    results.keep(results.tiles / "overlap.json", results.tiles / "split.png")
    variables = {
        "tiles.parquet": digest_file(results.tiles / "tiles.parquet"),
        "statistics.json": digest_json(fitted),
        **training(results, index),
    }
    return {**report, "variables": {name: {"digest": d} for name, d in variables.items()}}


def training(results: Results, index: pd.DataFrame) -> dict[str, str]:
    """Digests of what training and validation see: the tiles, and each product's cells in them.

    A change of cells outside these tiles and their context changes none of them.
    """
    recipe, size = results.recipe, results.recipe.tiles.size
    chosen = index[index["split"].isin((TRAIN, VALIDATION))]
    corners = chosen[["row", "col"]].to_numpy(np.int64)
    found = {"training": digest_json(chosen[["row", "col", "split"]].to_numpy().tolist())}
    products = {"coarse": results.coarse, **{r: results.role(r) for r in recipe.conditions}}
    context = {name: recipe.tiles.context + (REACH if name == "coarse" else 0) for name in products}
    for name, product in {"target": results.role("target"), **products}.items():
        halo = context.get(name, 0)
        found[f"training/{name}"] = digest_json(
            [
                _digest_covered(product, block, _covered(corners, size, halo, block.core))
                for block in recipe.layout.blocks()
            ]
        )
    return found


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


def _of_block(results: Results, block: Block) -> pd.DataFrame:
    recipe, target = results.recipe, results.role("target")
    tiles, margin = recipe.tiles, gap(recipe)
    shown = block.core.pad(margin + tiles.size)
    inside = shown.clip(recipe.layout.shape)
    splits = np.full(shown.shape, 255, dtype=np.uint8)
    splits[inside.within(shown).slices] = labels(results, inside)
    fine = target.read_first(shown)
    coarse = results.coarse.read(recipe.target.variable, shown)
    valid = np.isfinite(cells_of(fine, recipe.grid.scale)).mean(axis=-1, dtype=np.float32)
    candidates = Candidates(recipe.layout, tiles.size, tiles.stride, tiles.min_valid)
    rows = candidates.select(block, splits, np.where(np.isfinite(coarse), valid, 0), margin)
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


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


def statistics(results: Results, index: pd.DataFrame) -> dict[str, Any]:
    """Fit the transforms and the target's moments on training tiles, and on no others.

    At most `FITTED` tiles, evenly spaced in the index, are read.
    """
    recipe = results.recipe
    train = index[index["split"] == TRAIN]
    chosen = train.iloc[
        np.unique(np.linspace(0, len(train) - 1, min(FITTED, len(train))).astype(int))
    ]
    windows = [
        Window(int(r), int(r) + recipe.tiles.size, int(c), int(c) + recipe.tiles.size)
        for r, c in zip(chosen["row"], chosen["col"], strict=True)
    ]
    products = {"coarse": results.coarse, **{r: results.role(r) for r in recipe.conditions}}
    transforms = {}
    for name, product in products.items():
        given = recipe.tiles.normalise.get(name)
        start = NORMALISE.call(given.op, given.args) if given else NORMALISE.call("standard", {})
        transforms[name] = start.fit(product.read_all(w) for w in windows).to_json()
    return {"transforms": transforms, **_moments(_targets(results, windows), recipe.grid.scale)}


def _targets(
    results: Results, windows: list[Window]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    target = results.role("target")
    for window in windows:
        coarse = results.coarse.read(results.recipe.target.variable, window)
        yield target.read_first(window), fill_gaps(coarse, np.nan)


def _moments(
    pairs: Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]], scale: int
) -> dict[str, float]:
    count = total = square = detail = 0.0
    for fine, coarse in pairs:
        valid = np.isfinite(fine) & np.isfinite(repeat(coarse, scale))
        values = fine[valid].astype(np.float64)
        count += values.size
        total += float(values.sum())
        square += float((values**2).sum())
        detail += float(((values - repeat(coarse, scale)[valid]) ** 2).sum())
    mean = total / max(count, 1)
    deviation = max(square / max(count, 1) - mean**2, 0) ** 0.5
    return {
        "mean": mean,
        "deviation": deviation or 1.0,
        "detail": (detail / max(count, 1)) ** 0.5 or 1.0,
    }
