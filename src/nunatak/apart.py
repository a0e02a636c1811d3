"""The proof that splits do not touch: in place, between regions held out, and in time."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import combinations, product
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from pyproj import CRS
from scipy.spatial import cKDTree

from nunatak.errors import DataError
from nunatak.ops.split import NAMES, TEST, TRAIN, VALIDATION
from nunatak.recipe import Recipe
from nunatak.registry import DATED, LEAKY

Box = tuple[float, float, float, float]
# Group, CRS, box, side of a coarse cell.
Region = tuple[str, str, Box, float]
_log = logging.getLogger(__name__)


def gap(recipe: Recipe) -> int:
    """Coarse cells between targets of two splits: the buffer, and always more than both halos.

    0 where the split is one of those that let training touch test.
    """
    if recipe.split.by.op in LEAKY:
        return 0
    buffer = ceil(recipe.split.buffer / recipe.coarse_resolution)
    return max(buffer, 2 * recipe.tiles.context + 1)


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
    """Prove that splits do not touch, place by place, region by region, and day by day.

    Parameters
    ----------
    recipe
        The recipe.
    index
        Columns place, row, col, split.

    Returns
    -------
    dict
        What `overlap` gives; of scenes, the groups of each split and the number of their scenes,
        and what `regions` gives, or of a split by date, `days`.

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
    dated = recipe.split.by.op in DATED
    if not dated:
        _refuse_shared({split: set(groups[index["split"] == split]) for split in NAMES})
    counts = {NAMES[split]: int((index["split"] == split).sum()) for split in NAMES}
    told = {
        NAMES[split]: index.loc[index["split"] == split, "place"]
        .groupby(groups)
        .nunique()
        .to_dict()
        for split in NAMES
    }
    between = {"days": days(recipe, index)} if dated else {"regions": regions(recipe, index)}
    return {"tiles": counts, "size": size, "context": context, "scenes": told, **between}


def _refuse_shared(held: Mapping[int, set[str]]) -> None:
    shared = sorted(held[TEST] & (held[TRAIN] | held[VALIDATION]))
    if shared:
        raise DataError(
            f"{', '.join(shared)}: some scenes are tested on, others learnt from",
            "every group wholly in the test, or wholly outside",
            "change split.by",
        )


def regions(recipe: Recipe, index: pd.DataFrame) -> dict[str, Any]:
    """Measure the least distance between the regions of each pair of splits.

    Inputs end where their region does, so that no halo is counted: the buffer is, and one coarse
    cell at least. A group that trains and validates, told apart by date, counts as training.

    Parameters
    ----------
    recipe
        A recipe of scenes, whose boxes are measured in their coarse cells, longitudes modulo 360.
    index
        Columns place, split.

    Returns
    -------
    dict
        ``required``, the coarse cells that must lie between, and for each pair of splits the least
        number that does: less than 0 if boxes overlap, None if no two are in one known CRS.

    Raises
    ------
    DataError
        If two groups in different splits are closer than required, unless the split is one of those
        that let training touch test.
    """
    boxes = _boxes(recipe, index)
    sides = [side for held in boxes.values() for *_, side in held]
    required = max([1, *(ceil(recipe.split.buffer / side) for side in sides)])
    turning = {crs: CRS(crs).is_geographic for held in boxes.values() for _, crs, *_ in held}
    report: dict[str, Any] = {"required": required}
    for a, b in combinations(NAMES, 2):
        told = [
            (between(box, other, geographic=turning[crs]) / max(side, second), one, two)
            for (one, crs, box, side), (two, same, other, second) in product(boxes[a], boxes[b])
            if crs == same
        ]
        least, one, two = min(told, default=(None, "", ""))
        report[f"{NAMES[a]}-{NAMES[b]}"] = None if least is None else round(least, 3)
        if least is not None and least < required - 1e-6 and recipe.split.by.op not in LEAKY:
            raise DataError(
                f"{one} ({NAMES[a]}) and {two} ({NAMES[b]}) lie {least:.3g} coarse cells apart",
                f"regions of different splits {required} coarse cells apart (split.buffer, and one"
                " at least)",
                "move or shrink one of them in its source's regions, or put both in one split",
            )
    return report


def _boxes(recipe: Recipe, index: pd.DataFrame) -> dict[int, set[Region]]:
    """The regions of each split that lie somewhere; those that train do not validate."""
    assert recipe.scenes is not None
    boxes: dict[int, set[Region]] = {split: set() for split in NAMES}
    for place, split in index[["place", "split"]].drop_duplicates().itertuples(index=False):
        scene = recipe.scenes.found[place]
        if scene.crs:
            side = recipe.of(place).coarse_resolution
            boxes[split].add((scene.group, scene.crs, scene.bounds, side))
    learnt = {group for group, *_ in boxes[TRAIN]}
    boxes[VALIDATION] = {region for region in boxes[VALIDATION] if region[0] not in learnt}
    return boxes


def between(one: Box, other: Box, *, geographic: bool) -> float:
    """The distance of two boxes along the axis on which they are farther apart.

    Parameters
    ----------
    one, other
        Left, bottom, right, top.
    geographic
        Whether x are degrees of longitude, which repeat after 360.

    Returns
    -------
    float
        In units of the boxes; less than 0 if they overlap.
    """
    width, height = ((one[i + 2] - one[i] + other[i + 2] - other[i]) / 2 for i in (0, 1))
    x, y = ((one[i + 2] + one[i] - other[i + 2] - other[i]) / 2 for i in (0, 1))
    if geographic:
        x = (x + 180) % 360 - 180
    return max(abs(x) - width, abs(y) - height)


def days(recipe: Recipe, index: pd.DataFrame) -> dict[str, Any]:
    """The least number of days from one split to another, and what is required.

    Required are the days that inputs reach back beside the split's gap, and twice those that a
    measurement may be off, so that no day is read by two splits.

    Parameters
    ----------
    recipe
        A recipe of scenes.
    index
        Columns place, split.

    Returns
    -------
    dict
        ``required``, and for each pair of splits the least number of days between two of theirs.

    Raises
    ------
    DataError
        If two splits are closer than required.
    """
    assert recipe.scenes is not None
    dates = index["place"].map({n: scene.date for n, scene in recipe.scenes.found.items()})
    held = {split: sorted(set(dates[index["split"] == split])) for split in NAMES}
    back, off = lag(recipe), within(recipe)
    required = max(int(recipe.split.by.args.get("gap", 0)), back, 2 * off) + 1
    found: dict[str, Any] = {"required": required}
    for a, b in combinations(NAMES, 2):
        least = min(abs((one - other).days) for one in held[a] for other in held[b])
        found[f"{NAMES[a]}-{NAMES[b]}"] = least
        if least < required:
            stations = f", measurements count up to {off} days off" if off else ""
            raise DataError(
                f"{NAMES[a]} and {NAMES[b]} come within {least} days of each other",
                f"{required} days at least: inputs reach {back} days back{stations}",
                "make split.by's gap larger",
            )
    return found


def lag(recipe: Recipe) -> int:
    """The days that inputs reach back."""
    roles = [recipe.roles[role] for role in (recipe.coarse.role, *recipe.conditions)]
    return max(recipe.sources[r.source].variables[v].lag for r in roles for v in r.variables)


def within(recipe: Recipe) -> int:
    """The days that a measurement at a station may be off a scene's own; 0 without stations."""
    if recipe.insitu is None:
        return 0
    reader = recipe.sources[recipe.roles[recipe.insitu].source].reader
    return int(reader.args.get("within", 0))
