"""How a map is cut into training, validation and test: labels of coarse cells, by window."""

from __future__ import annotations

import datetime as dt

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from nunatak.errors import ConfigError
from nunatak.scene import Scene

TRAIN, VALIDATION, TEST, NONE = 0, 1, 2, 255
NAMES = {TRAIN: "training", VALIDATION: "validation", TEST: "test"}


def squares(
    box: GeoBox,
    field: NDArray[np.float32] | None,
    *,
    size: float,
    period: int = 5,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Squares of the map in a knight's-move pattern: of every ``period``, one tests, one validates.

    Parameters
    ----------
    box
        The window of the coarse grid.
    field
        Not used.
    size
        Side of a square (m), counted from the origin of the CRS.
    period
        Squares after which the pattern repeats along a row; at least 3.
    seed
        Shifts the pattern.

    Returns
    -------
    ndarray
        (rows, columns), uint8: 0 training, 1 validation, 2 test.
    """
    del field
    ys, xs = (box.coordinates[dim].values for dim in box.dimensions)
    rows, cols = (np.floor(v / size).astype(np.int64) for v in (ys, xs))
    phase = (cols[None, :] + 2 * rows[:, None] + seed) % period
    labels = np.full(phase.shape, TRAIN, dtype=np.uint8)
    labels[phase == 0] = TEST
    labels[phase == max(1, period // 2)] = VALIDATION
    return labels


def regions(
    box: GeoBox,
    field: NDArray[np.float32] | None,
    *,
    validation: list[int],
    test: list[int],
) -> NDArray[np.uint8]:
    """Whole regions (drainage basins, glaciers, campaigns) by their number in a field of ids.

    Parameters
    ----------
    box
        The window of the coarse grid.
    field
        (rows, columns): the region of each coarse cell, NaN where there is none.
    validation, test
        Numbers of the regions held out; all others train.

    Returns
    -------
    ndarray
        (rows, columns), uint8: 0 training, 1 validation, 2 test, 255 in no region.
    """
    assert field is not None, "a recipe with this operation names split.role"
    ids = np.where(np.isfinite(field), np.round(field), -1)
    labels = np.full(ids.shape, TRAIN, dtype=np.uint8)
    labels[np.isin(ids, validation)] = VALIDATION
    labels[np.isin(ids, test)] = TEST
    labels[ids < 0] = NONE
    return labels


def groups(
    box: GeoBox,
    scene: Scene,
    *,
    test: list[str],
    validation: list[str] | None = None,
    validation_from: str = "",
) -> NDArray[np.uint8]:
    """Whole scenes, by what they show (a glacier) and when they were taken.

    Parameters
    ----------
    box
        The window of the scene's coarse grid.
    scene
        The scene.
    test
        Groups that are tested on.
    validation
        Groups that are validated on.
    validation_from
        Date (YYYY-MM-DD) from which on the scenes of all other groups are validated on; the
        earlier ones train.

    Returns
    -------
    ndarray
        (rows, columns), uint8, all the same: 0 training, 1 validation, 2 test.
    """
    late = bool(validation_from) and scene.date >= dt.date.fromisoformat(validation_from)
    held = late or scene.group in (validation or [])
    label = TEST if scene.group in test else VALIDATION if held else TRAIN
    return np.full(box.shape, label, dtype=np.uint8)


def days(
    box: GeoBox,
    scene: Scene,
    *,
    test: list[list[dt.date]],
    validation: list[list[dt.date]],
    gap: int = 0,
) -> NDArray[np.uint8]:
    """Blocks of time: the days of some periods test or validate, those next to them are left out.

    Parameters
    ----------
    box
        The window of the scene's coarse grid.
    scene
        The scene: a day of a region.
    test
        Periods that are tested on, each its first and last day (YYYY-MM-DD).
    validation
        Periods that are validated on.
    gap
        Days that must lie between two splits: those before and after a test period are in no split,
        nor are those before and after a period of validation, but for days of the test.

    Returns
    -------
    ndarray
        (rows, columns), uint8, all the same: 0 training, 1 validation, 2 test, 255 none.

    Raises
    ------
    ConfigError
        If a period is none.
    """
    held = {TEST: _periods(test), VALIDATION: _periods(validation)}
    away = {label: min(_away(scene.date, p) for p in periods) for label, periods in held.items()}
    label = TRAIN if min(away.values()) > gap else NONE
    if away[VALIDATION] == 0 and away[TEST] > gap:
        label = VALIDATION
    return np.full(box.shape, TEST if away[TEST] == 0 else label, dtype=np.uint8)


def _periods(given: list[list[dt.date]]) -> list[tuple[dt.date, dt.date]]:
    found = [tuple(dt.date.fromisoformat(str(day)) for day in period) for period in given]
    if wrong := [period for period in found if len(period) != 2 or period[0] > period[1]]:
        told = ", ".join(map(str, wrong[0]))
        raise ConfigError(f"split.by: the period {told}", "its first and its last day")
    if not found:
        raise ConfigError("split.by: no period", "at least one of the test and one of validation")
    return [(first, last) for first, last in found]


def _away(date: dt.date, period: tuple[dt.date, dt.date]) -> int:
    """Days between a date and a period; 0 within it."""
    first, last = period
    return max((first - date).days, (date - last).days, 0)


def leaky_tiles(
    box: GeoBox,
    field: NDArray[np.float32] | None,
    *,
    left: float,
    top: float,
    size: float,
    rows: int,
    cols: int,
    test: int,
    validation: int,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Single tiles drawn at random, whose neighbours train: **not a fair test**.

    What DeepIceSheetDS does, to repeat its figures. No buffer is kept.

    Parameters
    ----------
    box
        The window of the coarse grid.
    field
        Not used.
    left, top
        Upper left corner of the tiles (CRS units).
    size
        Side of a tile (CRS units).
    rows, cols
        How many tiles there are; cells outside of them are in no split.
    test, validation
        How many tiles test and validate; all others train.
    seed
        Draws them.

    Returns
    -------
    ndarray
        (rows, columns), uint8: 0 training, 1 validation, 2 test, 255 in no tile.
    """
    del field
    ys, xs = (box.coordinates[dim].values for dim in box.dimensions)
    row = np.floor((top - ys) / size).astype(np.int64)[:, None]
    col = np.floor((xs - left) / size).astype(np.int64)[None, :]
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
    drawn = np.random.default_rng(seed).permutation(rows * cols)
    kinds = np.full(rows * cols, TRAIN, dtype=np.uint8)
    kinds[drawn[:test]] = TEST
    kinds[drawn[test : test + validation]] = VALIDATION
    number = np.where(inside, row * cols + col, 0)
    return np.where(inside, kinds[number], np.uint8(NONE))
