"""What a job asks of a scheduler: memory and time, by its stage, the grid and the attempt."""

from __future__ import annotations

from math import ceil, prod
from typing import NamedTuple

from nunatak.recipe import Recipe
from nunatak.registry import HOLDING

# Two Snakemakes, of the submission and of the job, stand beside what a job computes.
SNAKEMAKE = 400
_SPARE = 1.25
_MILLION = 1e6
# Megabytes for a million cells of a scene that is judged as a whole, and of each product's errors.
_SCENE, _ERRORS = 100, 40


class Need(NamedTuple):
    """A need that grows with the block and with the map.

    Parameters
    ----------
    base
        That of the smallest job.
    block
        What comes to it with a million fine cells of a block.
    whole
        What comes to it with a million fine cells of the map.
    """

    base: float
    block: float = 0.0
    whole: float = 0.0

    def of(self, recipe: Recipe | None) -> float:
        """The need of a job of a recipe; without one, that of the smallest job."""
        if recipe is None:
            return self.base
        places = (recipe.of(place).layout.fine.shape for place in recipe.places)
        cells = sum(prod(shape) for shape in places) / _MILLION
        block = min(recipe.grid.block**2 / _MILLION, cells)
        return self.base + self.block * block + self.whole * cells


# Peaks (MB) as benchmarks/README.md has them; of training, scans and maps of other scales, upper
# ends of what was seen. Inference has that of JIIF as published, 27 fold in windows of 8, which
# keeps features of a fine guide; networks that see the coarse field alone need half.
MEMORY = {
    "download": Need(100),
    "scan": Need(250),
    "reproject": Need(160, block=25),
    "degrade": Need(110, block=15),
    "tile": Need(480, whole=0.2),
    "train": Need(2000),
    "infer": Need(1200, block=100),
    "mosaic": Need(120, block=45),
    "publish": Need(250, whole=0.3),
    "rescale": Need(1400, block=150),
    "series": Need(600, whole=0.2),
    "stations": Need(300),
    "forecast": Need(1000),
    "skill": Need(300),
    "evaluate": Need(550, whole=0.2),
    "trial": Need(2000),
    "study": Need(300),
}

# Minutes, many times what was measured: a limit that is too high costs a wait in the queue, one
# that is too low a whole job. Training goes on where the limit stopped it.
TIME = {
    "download": Need(240),
    "scan": Need(60),
    "reproject": Need(10, block=2),
    "degrade": Need(10, block=1),
    "tile": Need(10, whole=0.05),
    "train": Need(480),
    "infer": Need(15, block=10),
    "mosaic": Need(10, block=1),
    "publish": Need(15, whole=0.05),
    "rescale": Need(30, whole=20),
    "series": Need(20, whole=0.1),
    "stations": Need(20),
    "forecast": Need(120),
    "skill": Need(10),
    "evaluate": Need(20, whole=0.1),
    "trial": Need(480),
    "study": Need(10),
}


# Stages of one job for the whole map, which processes may share, and the blocks that a process
# should have at least: to start one takes as long as some blocks do.
SHARED = ("tile", "evaluate")
_BLOCKS, _MOST = 32, 8


def cores(stage: str, recipe: Recipe | None) -> int:
    """Cores that a job asks for, by the number of blocks where processes share a map."""
    if recipe is None or stage not in SHARED:
        return 1
    blocks = sum(prod(recipe.of(place).layout.tiling) for place in recipe.places)
    return max(1, min(_MOST, blocks // _BLOCKS))


def memory(stage: str, recipe: Recipe | None, attempt: int = 1, processes: int = 1) -> int:
    """Megabytes that a job asks for, its Snakemakes included.

    Parameters
    ----------
    stage
        Its stage.
    recipe
        Its recipe; None for a job that no grid concerns.
    attempt
        1, and one more each time it is submitted again.
    processes
        That share a map; where there are several, one more tells them what to do.
    """
    shared = processes + 1 if processes > 1 and stage in SHARED else 1
    need = MEMORY[stage].of(recipe) + (_held(recipe) if stage == "evaluate" and recipe else 0)
    return ceil(SNAKEMAKE + _SPARE * shared * need) * attempt


def _held(recipe: Recipe) -> float:
    """Megabytes of what a judge holds at a time, if it holds whole scenes."""
    if recipe.evaluate.judge.op not in HOLDING:
        return 0
    parts = [recipe.of(place) for place in recipe.places]
    groups = {part.acquisition.group: prod(part.layout.fine.shape) for part in parts}
    each = _SCENE + _ERRORS * len(recipe.products)
    return each * sum(groups.values()) / _MILLION


def minutes(stage: str, recipe: Recipe | None, attempt: int = 1) -> int:
    """Minutes that a job asks for; the parameters are those of `memory`."""
    return ceil(TIME[stage].of(recipe)) * attempt


def training(processes: int) -> int:
    """Megabytes that a training asks for whose processes, each of which needs as much, are here."""
    return ceil(SNAKEMAKE + _SPARE * processes * MEMORY["train"].base)
