"""tile: the index of training samples, the proof that splits do not touch, the normalisation."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import combinations
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nunatak import gallery, normal_fit
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
from nunatak.registry import DATED, LEAKY
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
_log = logging.getLogger(__name__)
_BEFORE = {TRAIN: [VALIDATION, TEST], VALIDATION: [TEST], TEST: []}


def gap(recipe: Recipe) -> int:
    """Coarse cells between targets of two splits: the buffer, and always more than both halos.

    None where the split is one of those that let training touch test.
    """
    if recipe.split.by.op in LEAKY:
        return 0
    buffer = ceil(recipe.split.buffer / recipe.coarse_resolution)
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


def overlap(
    tiles: pd.DataFrame, size: int, context: int, required: int, *, leaky: bool = False
) -> dict[str, Any]:
    """Measure the least distance between the tiles of each pair of splits.

    Parameters
    ----------
    tiles
        Columns row, col, split.
    size, context
        Side of a tile and of the halo around its inputs (coarse cells).
    required
        Coarse cells that must lie between two targets of different splits.
    leaky
        Measure only, and say in the report that nothing was required.

    Returns
    -------
    dict
        Counts, and for each pair the gap between targets and between input windows; ``leaky`` if
        it is so.

    Raises
    ------
    DataError
        If two splits are closer than ``required`` or their input windows touch, unless ``leaky``.
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
        if not leaky and (targets < required or targets <= 2 * context):
            raise DataError(
                f"{pair}: two tiles lie {targets} coarse cells apart",
                f"at least {required} (the buffer) and {2 * context + 1} (both halos)",
            )
    counts = {NAMES[split]: len(points) for split, points in held.items()}
    report = {"tiles": counts, "size": size, "context": context, "gaps": pairs}
    return {**report, "leaky": True} if leaky else report


def apart(recipe: Recipe, index: pd.DataFrame) -> dict[str, Any]:
    """Prove that splits do not touch, place by place, and no group of scenes is tested and learnt.

    Parameters
    ----------
    recipe
        The recipe.
    index
        Columns place, row, col, split.

    Returns
    -------
    dict
        What `overlap` gives; of scenes, the groups of each split and the number of their scenes.

    Raises
    ------
    DataError
        If two splits touch where the recipe does not ask for it, or a group of scenes is in the
        test and in another split.
    """
    size, context = recipe.tiles.size, recipe.tiles.context
    if recipe.scenes is None:
        by = recipe.split.by.op
        if by in LEAKY:
            _log.warning("%s: training touches test, as the recipe asks for", by)
        return overlap(index, size, context, gap(recipe), leaky=by in LEAKY)
    for _, tiles in index.groupby("place"):
        overlap(tiles, size, context, gap(recipe))
    found = recipe.scenes.found
    groups = index["place"].map({name: scene.group for name, scene in found.items()})
    held = {split: set(groups[index["split"] == split]) for split in NAMES}
    shared = sorted(held[TEST] & (held[TRAIN] | held[VALIDATION]))
    dated = recipe.split.by.op in DATED
    if shared and not dated:
        raise DataError(
            f"{', '.join(shared)}: some scenes are tested on, others learnt from",
            "every group wholly in the test, or wholly outside",
            "change split.by",
        )
    counts = {NAMES[split]: int((index["split"] == split).sum()) for split in NAMES}
    told = {
        NAMES[split]: index.loc[index["split"] == split, "place"]
        .groupby(groups)
        .nunique()
        .to_dict()
        for split in NAMES
    }
    days = {"days": _days_apart(recipe, index)} if dated else {}
    return {"tiles": counts, "size": size, "context": context, "scenes": told, **days}


def _days_apart(recipe: Recipe, index: pd.DataFrame) -> dict[str, Any]:
    """The least number of days from one split to another, and what is required.

    Required are the days that inputs reach back beside the split's gap, so that no day is read by
    two splits.
    """
    assert recipe.scenes is not None
    dates = index["place"].map({n: scene.date for n, scene in recipe.scenes.found.items()})
    held = {split: sorted(set(dates[index["split"] == split])) for split in NAMES}
    required = max(int(recipe.split.by.args.get("gap", 0)), lag(recipe)) + 1
    found: dict[str, Any] = {"required": required}
    for a, b in combinations(NAMES, 2):
        least = min(abs((one - other).days) for one in held[a] for other in held[b])
        found[f"{NAMES[a]}-{NAMES[b]}"] = least
        if least < required:
            raise DataError(
                f"{NAMES[a]} and {NAMES[b]} come within {least} days of each other",
                f"{required} days at least: inputs reach {lag(recipe)} days back",
                "make split.by's gap larger",
            )
    return found


def lag(recipe: Recipe) -> int:
    """The days that inputs reach back."""
    roles = [recipe.roles[role] for role in (recipe.coarse.role, *recipe.conditions)]
    return max(recipe.sources[r.source].variables[v].lag for r in roles for v in r.variables)


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
