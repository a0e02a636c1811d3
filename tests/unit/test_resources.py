"""What jobs ask of a scheduler."""

from __future__ import annotations

import pytest
from tests import days
from tests.small import recipe

from nunatak.recipe import Recipe
from nunatak.resources import MEMORY, SNAKEMAKE, TIME, cores, memory, minutes
from nunatak.tracking.steps import STAGES


def test_every_stage_has_a_need() -> None:
    assert tuple(MEMORY) == tuple(TIME) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_asks_for_more_each_time(stage: str) -> None:
    small = recipe()
    assert memory(stage, small) > SNAKEMAKE
    assert minutes(stage, small) >= 1
    for asked in (memory, minutes):
        assert [asked(stage, small, n) for n in (2, 3)] == [n * asked(stage, small) for n in (2, 3)]


def test_a_block_tells_what_its_job_needs_and_the_map_does_not() -> None:
    side = 4000 * 250
    small, large = (recipe(grid={"bounds": [0, 0, side * n, side], "block": 1000}) for n in (1, 4))
    finer = recipe(grid={"bounds": [0, 0, side, side], "block": 2000})
    for stage in ("reproject", "degrade", "infer", "mosaic"):
        assert memory(stage, small) == memory(stage, large) < memory(stage, finer)
        assert minutes(stage, small) == minutes(stage, large) < minutes(stage, finer)
    for stage in ("tile", "publish", "evaluate"):
        assert memory(stage, small) == memory(stage, finer) < memory(stage, large)


def test_a_block_that_is_larger_than_the_map_counts_as_the_map() -> None:
    side = 1000 * 250
    whole, more = (recipe(grid={"bounds": [0, 0, side, side], "block": b}) for b in (1000, 4000))
    assert memory("infer", whole) == memory("infer", more)


def test_processes_share_a_map_of_many_blocks_and_each_takes_its_memory() -> None:
    few, many = (recipe(grid={"bounds": [0, 0, n * 8000, 8000], "block": 32}) for n in (31, 99))
    assert cores("evaluate", few) == cores("evaluate", None) == cores("infer", many) == 1
    assert cores("evaluate", many) == cores("tile", many) == 3
    alone = memory("evaluate", many) - SNAKEMAKE
    assert memory("evaluate", many, processes=3) - SNAKEMAKE == pytest.approx(4 * alone, abs=4)
    assert memory("train", many, processes=8) == memory("train", many)


def test_judging_days_asks_for_whole_regions_and_every_product() -> None:
    few, many = (days.recipe(days.found(*groups)) for groups in (("north",), ("north", "centre")))
    cells = days.ROWS * days.COLS / 1e6
    one = few.model_copy(update={"products": few.products[:1]})
    assert memory("evaluate", many) > memory("evaluate", few)
    large = [_large(given) for given in (few, one)]
    assert memory("evaluate", large[0]) - memory("evaluate", large[1]) == pytest.approx(
        1.25 * 40 * cells * 1e4, abs=2
    )


def _large(given: Recipe) -> Recipe:
    """The same with a hundred times the cells along each side."""
    assert given.scenes is not None
    found = {
        name: scene.model_copy(update={"shape": tuple(100 * n for n in scene.shape)})
        for name, scene in given.scenes.found.items()
    }
    return given.model_copy(update={"scenes": given.scenes.model_copy(update={"found": found})})


def test_a_download_knows_no_grid() -> None:
    assert memory("download", None) == memory("download", recipe())
