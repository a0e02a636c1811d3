"""The paths of the workflow fit together: what a job reads, another one makes."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests import small

from nunatak import dag
from nunatak.config import READS
from nunatak.recipe import Recipe

TRAIN = {
    "task": {"op": "supervised"},
    "losses": [{"op": "l1"}],
    **{"samples": 8, "batch": 2, "lr": 0.01, "validate_every": 4},
}
BELOW = [{"op": "below", "role": "surface"}]
FULL: dict[str, Any] = {
    "roles": {
        "surface": {"source": "world", "variables": ["surface"], "geoid": "geoid"},
        "basins": {"source": "world", "variables": ["basin"], "resolution": 1000},
    },
    "split": {"role": "basins"},
    "picks": {"source": "picks", "variable": "bed", "below": "surface"},
    "methods": {
        "net": {"model": {"op": "residual"}, "train": TRAIN, "members": 3, "constraints": BELOW}
    },
    "products": ["bicubic", "net"],
    "sources": {"picks": small.SOURCE, "geoid": small.SOURCE},
}


def full(rows: int = 16, cols: int = 24, step: int = 8, **change: Any) -> Recipe:
    """A recipe with every kind of input, on a grid of coarse cells."""
    grid = {"bounds": [0, 0, cols * 1000, rows * 1000], "block": step * 4}
    return small.recipe(**{**FULL, "grid": grid, **change})


OUTPUTS = {
    "reproject": r"reproject/(?P<role>[a-z]+)/(?P<block>\d+_\d+)\.json",
    "degrade": r"degrade/coarse/(?P<block>\d+_\d+)\.json",
    "tile": r"tile/(tiles\.parquet|(statistics|overlap)\.json|split\.png)",
    "train": r"train/(?P<method>[a-z]+)/(?P<member>\d)/(manifest\.json|loss\.png)",
    "infer": r"infer/(?P<method>[a-z]+)/(?P<member>\d)/(?P<block>\d+_\d+)\.json",
    "mosaic": r"mosaic/(?P<method>[a-z]+)/(?P<block>\d+_\d+)\.json",
    "publish": r"publish/(?P<method>[a-z]+)\.(tif|provenance\.json)",
    "evaluate": r"evaluate/(metrics\.(csv|md)|(panels|map|spectra)\.png)",
}


def job(path: str) -> tuple[str, dict[str, str]]:
    """The stage and names of the job that makes an output, as the rules' patterns tell them."""
    found = [(s, re.fullmatch(f"small/{pattern}", path)) for s, pattern in OUTPUTS.items()]
    ((stage, match),) = [(s, m) for s, m in found if m]
    return stage, match.groupdict()


def jobs(recipe: Recipe) -> dict[str, tuple[str, dict[str, str]]]:
    """Every output of a recipe, and the job that makes it."""
    return {path: job(path) for path in dag.outputs(recipe)}


def reads(recipe: Recipe) -> dict[str, list[str]]:
    """What every job reads, by what commits it."""
    return {out: dag.inputs(recipe, stage, **names) for out, (stage, names) in jobs(recipe).items()}


sizes = st.integers(1, 20)


@given(rows=sizes, cols=sizes, step=st.integers(2, 9))
@settings(max_examples=25)
def test_what_a_job_reads_another_one_makes(rows: int, cols: int, step: int) -> None:
    recipe = full(rows, cols, step)
    made = {*jobs(recipe), *(f"download/{source}.json" for source in recipe.sources)}
    for out, read in reads(recipe).items():
        assert set(read) <= made, out
        assert len(read) == len(set(read)), out
        assert out not in read


@given(rows=sizes, cols=sizes, step=st.integers(2, 9))
@settings(max_examples=25)
def test_every_output_of_every_job_is_asked_for_once(rows: int, cols: int, step: int) -> None:
    recipe = full(rows, cols, step)
    outputs = dag.outputs(recipe)
    assert len(outputs) == len(set(outputs))
    blocks = len(list(recipe.layout.blocks()))
    expected = {
        **{"reproject": 3 * blocks, "degrade": blocks, "tile": 4, "train": 3 * 2},
        **{"infer": 4 * blocks, "mosaic": 2 * blocks, "publish": 2 * 2, "evaluate": 5},
    }
    assert Counter(stage for stage, _ in jobs(recipe).values()) == expected


@given(rows=sizes, cols=sizes, step=st.integers(2, 9))
@settings(max_examples=25)
def test_jobs_can_be_put_in_an_order(rows: int, cols: int, step: int) -> None:
    stages = list(READS)
    recipe = full(rows, cols, step)
    made = jobs(recipe)
    for out, read in reads(recipe).items():
        for path in read:
            if path in made:
                assert stages.index(made[path][0]) < stages.index(made[out][0]), (out, path)


@given(rows=sizes, cols=sizes, step=st.integers(2, 9), data=st.data())
@settings(max_examples=25)
def test_infer_reads_exactly_the_blocks_around_its_own(
    rows: int, cols: int, step: int, data: st.DataObject
) -> None:
    recipe = full(rows, cols, step)
    down, across = recipe.layout.tiling
    row = data.draw(st.integers(0, down - 1))
    col = data.draw(st.integers(0, across - 1))
    around = {
        f"{r}_{c}"
        for r in range(row - 1, row + 2)
        for c in range(col - 1, col + 2)
        if 0 <= r < down and 0 <= c < across
    }
    read = dag.inputs(recipe, "infer", method="net", member="2", block=f"{row}_{col}")
    for product in ("degrade/coarse", "reproject/surface"):
        prefix = f"small/{product}/"
        found = {path.removeprefix(prefix)[:-5] for path in read if path.startswith(prefix)}
        assert found == around
    assert [path for path in read if "/train/" in path] == ["small/train/net/2/manifest.json"]


def test_only_the_conditions_of_a_method_are_read() -> None:
    recipe = full()
    bicubic = dag.inputs(recipe, "infer", method="bicubic", member="0", block="0_0")
    assert not [path for path in bicubic if "/reproject/" in path or "/train/" in path]


def test_mosaic_reads_its_own_block_of_every_member_and_constraint() -> None:
    read = dag.inputs(full(), "mosaic", method="net", block="1_2")
    assert read == [
        *(f"small/infer/net/{i}/1_2.json" for i in range(3)),
        "small/degrade/coarse/1_2.json",
        "small/reproject/surface/1_2.json",
    ]


def test_reproject_reads_its_source_and_its_geoid() -> None:
    read = dag.inputs(full(), "reproject", role="surface", block="0_0")
    assert read == ["download/world.json", "download/geoid.json"]
    assert dag.inputs(full(), "reproject", role="target", block="0_0") == ["download/world.json"]


def test_a_product_is_published_with_the_record_of_all_that_it_is_from() -> None:
    read = dag.inputs(full(), "publish", method="net")
    assert {f"download/{s}.json" for s in ("world", "picks", "geoid")} < set(read)
    assert {f"small/train/net/{i}/manifest.json" for i in range(3)} < set(read)
