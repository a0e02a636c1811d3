"""The paths of the workflow fit together: what a job reads, another one makes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests import small

from nunatak import dag
from nunatak.recipe import Recipe
from nunatak.tracking.steps import STAGES

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


def reads(recipe: Recipe) -> dict[str, list[str]]:
    """What every step reads, by its path."""
    return {s.path: dag.inputs(recipe, s.stage, **s.names) for s in dag.steps(recipe)}


def stages(recipe: Recipe) -> dict[str, str]:
    """The stage of every step, by its path."""
    return {step.path: step.stage for step in dag.steps(recipe)}


sizes = st.integers(1, 20)


@given(rows=sizes, cols=sizes, step=st.integers(2, 9))
@settings(max_examples=25)
def test_what_a_job_reads_an_earlier_one_makes(rows: int, cols: int, step: int) -> None:
    recipe = full(rows, cols, step)
    made: set[str] = set()
    for path, read in reads(recipe).items():
        assert set(read) <= made, path
        assert len(read) == len(set(read)), path
        made.add(path)


@given(rows=sizes, cols=sizes, step=st.integers(2, 9))
@settings(max_examples=25)
def test_every_output_of_every_job_is_asked_for_once(rows: int, cols: int, step: int) -> None:
    recipe = full(rows, cols, step)
    outputs = dag.outputs(recipe)
    assert len(outputs) == len(set(outputs))
    assert {f"{path}.json" for path in stages(recipe)} <= set(outputs)
    blocks = len(list(recipe.layout.blocks()))
    expected = {
        **{"download": 3, "scan": 2, "reproject": 3 * blocks, "degrade": blocks, "tile": 1},
        **{"train": 3, "infer": 4 * blocks, "mosaic": 2 * blocks, "publish": 2, "evaluate": 1},
    }
    assert Counter(stages(recipe).values()) == expected


@given(rows=sizes, cols=sizes, step=st.integers(2, 9))
@settings(max_examples=25)
def test_jobs_can_be_put_in_an_order(rows: int, cols: int, step: int) -> None:
    recipe = full(rows, cols, step)
    of = stages(recipe)
    for path, read in reads(recipe).items():
        assert all(STAGES.index(of[r]) < STAGES.index(of[path]) for r in read), path


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
        found = {path.removeprefix(prefix) for path in read if path.startswith(prefix)}
        assert found == around
    assert [path for path in read if "/train/" in path] == ["small/train/net/2/manifest"]


def test_a_spline_reads_the_blocks_around_its_own_and_a_mean_does_not() -> None:
    wide = reads(full(24, 24, 8, coarse={"degrade": {"op": "spline"}}))["small/degrade/coarse/0_1"]
    corners = [f"{row}_{col}" for row in (0, 1) for col in (0, 1, 2)]
    assert wide == [f"small/reproject/target/{name}" for name in corners]
    plain = reads(full(24, 24, 8))["small/degrade/coarse/0_1"]
    assert plain == ["small/reproject/target/0_1"]


def test_evaluate_reads_the_fields_of_its_classes() -> None:
    plain = full(split={"role": None}, picks=None)
    classes = {"high": [{"role": "surface", "least": 2000}]}
    judged = full(split={"role": None}, picks=None, evaluate={"classes": classes})
    found = [reads(r)["small/evaluate/manifest"] for r in (plain, judged)]
    assert "small/reproject/surface/0_0" not in found[0]
    assert set(found[1]) - set(found[0]) == {
        f"small/reproject/surface/{block.name}" for block in judged.layout.blocks()
    }


def test_a_search_is_made_only_when_it_is_asked_for() -> None:
    search = {"trials": 3, "space": {"train.lr": {"low": 0.001, "high": 0.1}}}
    recipe = full(methods={"net": {**FULL["methods"]["net"], "search": search}})
    trials = [f"small/trial/net/{n}/manifest" for n in range(3)]
    assert dag.sought(recipe) == [*(f"{t}.json" for t in trials), "small/study/net/manifest.json"]
    assert dag.outputs(recipe) == dag.outputs(full())
    assert dag.inputs(recipe, "trial", method="net", trial="1") == ["small/tile/manifest"]
    assert dag.inputs(recipe, "study", method="net") == trials
    gates = [step.stage for step in dag.gates(recipe, "trial", method="net", trial="1")]
    assert gates == [*(s.stage for s in dag.gates(recipe, "train", method="net", member="1"))]


def test_only_the_conditions_of_a_method_are_read() -> None:
    recipe = full()
    bicubic = dag.inputs(recipe, "infer", method="bicubic", member="0", block="0_0")
    assert not [path for path in bicubic if "/reproject/" in path or "/train/" in path]


def test_mosaic_reads_its_own_block_of_every_member_and_constraint() -> None:
    read = dag.inputs(full(), "mosaic", method="net", block="1_2")
    assert read == [
        *(f"small/infer/net/{i}/1_2" for i in range(3)),
        "small/degrade/coarse/1_2",
        "small/reproject/surface/1_2",
    ]


def test_reproject_reads_its_source_and_its_geoid() -> None:
    read = dag.inputs(full(), "reproject", role="surface", block="0_0")
    sources = [f"download/{s}" for s in ("world", "geoid")]
    assert read == [*sources, *(f"small/scan/{s}" for s in ("world", "geoid"))]
    read = dag.inputs(full(), "reproject", role="target", block="0_0")
    assert read == ["download/world", "small/scan/world"]


def test_a_product_is_published_with_the_record_of_all_that_it_is_from() -> None:
    read = dag.inputs(full(), "publish", method="net")
    assert {f"download/{s}" for s in ("world", "picks", "geoid")} < set(read)
    assert {f"small/train/net/{i}/manifest" for i in range(3)} < set(read)


def test_training_samples_hold_what_stations_measured() -> None:
    roles = {**FULL["roles"], "stations": {"source": "world", "variables": ["bed"]}}
    recipes = full(roles=roles), full(roles=roles, insitu="stations")
    before, after = (dag.inputs(recipe, "tile") for recipe in recipes)
    assert not any("stations" in path for path in before)
    added = set(after) - set(before)
    assert added == {p.replace("/target/", "/stations/") for p in before if "/target/" in p}
