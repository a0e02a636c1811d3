"""What is wrong in the configuration is said before anything runs; digests tell what was read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests import small

from nunatak.config import load, merge, save, saved, values
from nunatak.errors import ConfigError
from nunatak.grid import Window
from nunatak.recipe import Recipe
from nunatak.tracking.steps import READS, Step

PICKS = {
    **small.SOURCE,
    "reader": {"op": "points", "args": {"columns": {"x": "x", "y": "y"}}},
    "files": [{"url": "file:picks.csv"}],
    "vertical_datum": "ellipsoid",
}
NAMED = {k: v for k, v in small.BASE.items() if k not in ("name", "sources")}
TRAIN = {
    "task": {"op": "supervised"},
    "losses": [{"op": "l1"}],
    **{"samples": 8, "batch": 2, "lr": 0.01, "validate_every": 4},
}
LEAKY = {
    **{"period": None, "left": 0, "top": 16000, "size": 4000, "rows": 4, "cols": 6},
    **{"test": 8, "validation": 4},
}
STAGEWISE = {**TRAIN, "task": {"op": "cascade"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of configuration: one recipe, two sources, one of them a file that is there."""
    (tmp_path / "recipes").mkdir()
    write(tmp_path / "recipes" / "small.yaml", NAMED)
    write(tmp_path / "sources.yaml", {"world": small.SOURCE, "picks": PICKS})
    (tmp_path / "picks.csv").write_text("x,y,bed\n1,1,1\n")
    return tmp_path


def write(path: Path, value: Any) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")


def given(folder: Path, *runs: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {"data": str(folder), "runs": list(runs) or [{"recipe": "small"}], **config}


def refusal(folder: Path, config: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(config, folder)
    return str(caught.value)


def test_a_right_configuration_is_read_and_survives_json(folder: Path) -> None:
    settings, recipes = load(given(folder, {"recipe": "small", "name": "other"}), folder)
    assert settings.results == "results"
    assert list(recipes) == ["other"]
    assert list(recipes["other"].sources) == ["world"]
    assert saved(save(recipes["other"], folder / "results")) == recipes["other"]


# (what the run changes; the key; what was given; what is allowed)
FAULTS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"mosaics": {}}, "mosaics", "unknown key 'mosaics'", "mosaic,.*did you mean 'mosaic'"),
    ({"grid": {"scal": 4}}, "grid.scal", "unknown key 'scal'", "expected one of .*scale"),
    ({"grid": {"scale": None}}, "grid.scale", "given nothing", "expected a value"),
    ({"grid": {"scale": "four"}}, "grid.scale", "'four'", "integer"),
    ({"grid": {"bounds": [0, 0, 1]}}, "grid.bounds", "given nothing", "a value"),
    ({"target": {"units": "metrez"}}, "target.units", "'metrez'", "write it as CF does"),
    ({"target": {"vertical_datum": None}}, "target", "bedrock_altitude", "vertical_datum"),
    ({"target": {"valid_range": [5, -5]}}, "target", r"\(5.0, -5.0\)", "the least and the largest"),
    ({"grid": {"crs": "EPSG:999999"}}, "grid.crs", "'EPSG:999999'", "EPSG:3031"),
    ({"coarse": {"degrade": {"op": "blockmean"}}}, "degrade", "'blockmean'", "one of block_mean"),
    (
        {"coarse": {"degrade": {"args": {"min_vald": 0.5}}}},
        "coarse.degrade",
        "no argument 'min_vald'",
        "min_valid",
    ),
    (
        {"coarse": {"degrade": {"args": {"min_valid": "all"}}}},
        "coarse.degrade",
        "min_valid is 'all'",
        "float",
    ),
    (
        {"methods": {"bicubic": {"model": {"op": "bicubic"}}}},
        "methods.bicubic.model",
        "unknown model 'bicubic'",
        "interpolate",
    ),
    (
        {"methods": {"bicubic": {"constraints": [{"op": "belov"}]}}},
        "constraints.0",
        "'belov'",
        "one of below",
    ),
    (
        {"methods": {"bicubic": {"train": {**TRAIN, "losses": [{"op": "l3"}]}}}},
        "losses.0",
        "unknown loss 'l3'",
        r"one of .*\bl1\b",
    ),
    (
        {"methods": {"bicubic": {"train": {**TRAIN, "losses": []}}}},
        "train.losses",
        r"given \[\]",
        "at least 1 item",
    ),
    ({"split": {"by": {"op": "squares", "args": None}}}, "split.by", "lacks size", "a value"),
    ({"roles": {"surface": {"source": "wrld"}}}, "", "no source 'wrld'", "one of picks, world"),
    ({"roles": ["surface"]}, "roles", r"\['surface'\]", "dictionary"),
    ({"roles": {"surface": {"variables": []}}}, "surface.variables", r"\[\]", "at least 1 item"),
    (
        {"roles": {"surface": {"variables": ["srf"]}}},
        "roles.surface",
        "no 'srf'",
        "bed, surface, vx",
    ),
    ({"conditions": ["sea"]}, "conditions.0", "no role 'sea'", "there are target, surface"),
    ({"products": ["cubic"]}, "products.0", "no method 'cubic'", "there are bicubic"),
    ({"products": []}, "products", r"given \[\]", "at least 1 item"),
    ({"split": {"role": "basins"}}, "split.role", "no role 'basins'", "there are target"),
    (
        {"evaluate": {"classes": {"fast ice": [{"role": "speed", "least": 100}]}}},
        "evaluate.classes.fast ice",
        "no role 'speed'",
        "there are target",
    ),
    (
        {"methods": {"bicubic": {"constraints": [{"op": "below", "role": "ice"}]}}},
        "methods.bicubic.constraints",
        "no role 'ice'",
        "there are target",
    ),
    ({"roles": {"a-b": {"source": "world", "variables": ["bed"]}}}, "a-b", "'a-b'", "plain ident"),
    ({"grid": {"scale": 5}}, "grid: scale", "5 does not divide", "whole coarse cells"),
    ({"grid": {"block": 30}}, "grid: scale", "the block of 30", "use a block of 32"),
    ({"grid": {"bounds": [0, 0, 24100, 16000]}}, "grid: bounds", "24100", "whole number of cells"),
    (
        {"grid": {"bounds": [24000, 0, 0, 16000]}},
        "grid: bounds",
        "24000.0, 0.0, 0.0",
        "left < righ",
    ),
    (
        {"roles": {"surface": {"resolution": 300}}},
        "roles.surface",
        "300 does not divide",
        "use 333",
    ),
    ({"roles": {"surface": {"resolution": 4000}}}, "roles.surface", "4000", "use 1000"),
    ({"mosaic": {"nodata": -2000}}, "mosaic.nodata", "-2000", "outside of .*-8000 to 5000"),
    (
        {"coarse": {"role": "surface"}},
        "coarse.role",
        "'surface' is a real coarse source",
        "must be 'pair'",
    ),
    (
        {"coarse": {"role": "surface", "degrade": {"op": "pair"}}},
        "roles.surface",
        "the coarse field",
        "resolution of a coarse cell",
    ),
    (
        {"roles": {"target": {"variables": ["vx"]}}},
        "roles.target",
        "vx is in 'm yr-1'",
        "target's units, to: 'm'",
    ),
    ({"picks": {"source": "picks", "variable": "bad"}}, "picks", "no 'bad'", "bed, surface"),
    (
        {"split": {"by": {"op": "leaky_tiles", "args": LEAKY}, "buffer": 500}},
        "split.buffer",
        "'leaky_tiles' keeps none",
        "expected 0",
    ),
    (
        {"evaluate": {"published": {"source": "a paper", "mse_over_max": {"srcnn": 1e-4}}}},
        "evaluate.published.mse_over_max",
        "no product 'srcnn'",
        "there are bicubic",
    ),
    (
        {
            "target": {"classes": ["sea", "ice"]},
            "evaluate": {"published": {"source": "a paper", "mse_over_max": {"bicubic": 1e-4}}},
        },
        "evaluate.published",
        "errors of a measured field",
        "without classes",
    ),
    (
        {"methods": {"steps": {"model": {"op": "srcnn"}, "train": TRAIN}}},
        "methods.steps.train.task",
        "'supervised' and the model 'srcnn', parts of which learn by losses of their own",
        r"cascade, or .*end_to_end: true",
    ),
    (
        {
            "methods": {
                "flows": {
                    "model": {"op": "resac", "args": {"velocities": True}},
                    "train": TRAIN,
                }
            }
        },
        "methods.flows.train.task",
        "'supervised' and the model 'resac', parts of which learn by losses of their own",
        r"cascade, or .*velocities: false",
    ),
    (
        {"methods": {"flat": {"model": {"op": "residual"}, "train": STAGEWISE}}},
        "methods.flat.train.task",
        "'cascade' and the model 'residual'",
        "a model of stages, resac, resac_subpixel, srcnn",
    ),
    (
        {
            "methods": {
                "steps": {"model": {"op": "srcnn", "args": {"ladder": "level"}}, "train": STAGEWISE}
            }
        },
        "methods.steps.model",
        "0 stages with a level ladder",
        "1 or more",
    ),
    (
        {
            "methods": {
                "steps": {
                    "model": {"op": "resac", "args": {"factors": [3, 3]}},
                    "train": STAGEWISE,
                }
            }
        },
        "methods.steps.model",
        "factors 3, 3 for scale 4",
        "whose product is the scale",
    ),
    (
        {"picks": {"source": "picks", "variable": "bed"}},
        "picks",
        "bed is above 'ellipsoid'",
        "heights above 'geoid:synthetic'",
    ),
]


@pytest.mark.parametrize(("change", "key", "what", "allowed"), FAULTS, ids=[f[2] for f in FAULTS])
def test_a_fault_of_a_recipe_names_file_key_value_and_what_is_allowed(
    folder: Path, change: dict[str, Any], key: str, what: str, allowed: str
) -> None:
    said = refusal(folder, given(folder, {"recipe": "small", "set": change}))
    assert said.startswith(f"{folder / 'recipes' / 'small.yaml'}: ")
    for part in (re.escape(key), what, f"(?s){allowed}"):
        assert re.search(part, said), said


@pytest.mark.parametrize(
    ("args", "train", "scale"),
    [
        ({"end_to_end": True}, TRAIN, 4),
        ({}, STAGEWISE, 4),
        ({}, TRAIN, 2),
        ({"ladder": "level", "stages": 1}, TRAIN, 4),
    ],
)
def test_stages_that_a_loss_reaches_are_taken(
    folder: Path, args: dict[str, Any], train: dict[str, Any], scale: int
) -> None:
    change = {
        "grid": {"scale": scale},
        "methods": {"steps": {"model": {"op": "srcnn", "args": args}, "train": train}},
    }
    _, recipes = load(given(folder, {"recipe": "small", "set": change}), folder)
    assert recipes["small"].methods["steps"].model.args == args


# (what a source's entry changes; the key; what was given; what is allowed)
OF_SOURCES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"vertical_datum": None}, "world", "bed, surface are heights", "vertical_datum"),
    ({"crs": "EPSG:0"}, "world.crs", "'EPSG:0'", "well-known text"),
    ({"variables": {"vx": {"units": "furlongz"}}}, "vx.units", "'furlongz'", "as CF does"),
    ({"variables": {"vx": {"to": "m"}}}, "variables.vx", "'m yr-1' to 'm'", "different things"),
    ({"reader": {"op": "tiff"}}, "world.reader", "unknown reader 'tiff'", "points, raster, scenes"),
    ({"licnce": "MIT"}, "world.licnce", "unknown key 'licnce'", "did you mean 'licence'"),
]


@pytest.mark.parametrize(
    ("change", "key", "what", "allowed"), OF_SOURCES, ids=[f[2] for f in OF_SOURCES]
)
def test_a_fault_of_a_source_names_file_key_value_and_what_is_allowed(
    folder: Path, change: dict[str, Any], key: str, what: str, allowed: str
) -> None:
    write(folder / "sources.yaml", {"world": merge(small.SOURCE, change)})
    said = refusal(folder, given(folder))
    assert said.startswith(f"{folder / 'sources.yaml'}: ")
    for part in (re.escape(key), what, f"(?s){allowed}"):
        assert re.search(part, said), said


HOSTILE = ["bed; rm -rf", "../x", "$(id)", "a b", "", "9bed", "bed\n", "x" * 65, "bed.json", "-rf"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("key", ["recipe", "name"])
def test_a_run_that_is_not_a_plain_identifier_is_refused(folder: Path, key: str, name: str) -> None:
    said = refusal(folder, given(folder, {"recipe": "small", key: name}))
    assert said.startswith(f"config: runs.0.{key}: given {name!r}"[:60])
    assert "a letter, then letters, digits or _" in said


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("section", ["roles", "methods"])
def test_a_role_or_method_that_is_not_a_plain_identifier_is_refused(
    folder: Path, section: str, name: str
) -> None:
    entry = next(iter(small.BASE[section].values()))
    said = refusal(folder, given(folder, {"recipe": "small", "set": {section: {name: entry}}}))
    assert f"{section}.{name}" in said
    assert "a letter, then letters, digits or _" in said


@pytest.mark.parametrize("name", HOSTILE)
def test_a_source_that_is_not_a_plain_identifier_is_refused(folder: Path, name: str) -> None:
    write(folder / "sources.yaml", {"world": small.SOURCE, name: small.SOURCE})
    assert "a letter, then letters, digits or _" in refusal(folder, given(folder))


@pytest.mark.parametrize("path", ["my results", "a;b", "$HOME", "{run}", "-rf", "*", "", "a'b"])
@pytest.mark.parametrize("key", ["data", "results"])
def test_a_folder_that_a_shell_would_not_take_as_it_is_is_refused(
    folder: Path, key: str, path: str
) -> None:
    said = refusal(folder, given(folder, **{key: path}))
    assert said.startswith(f"config: {key}: given {path!r}")
    assert "letters, digits and" in said


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"runz": []}, "runz: given the unknown key 'runz', expected one of data, results, runs"),
        ({"runs": []}, r"runs: given \[\], expected .*at least 1 item"),
        ({"runs": [{"recipe": "smal"}]}, r"(?s)config: no recipe 'smal'.*one of small"),
        ({"runs": [{"recipe": "small"}] * 2}, r"(?s)two runs are called 'small'.*set name:"),
        ({"runs": [{"recipe": "small", "name": "logs"}]}, "'logs': .*benchmarks, download, logs"),
        ({"runs": [{"recipe": "small", "sets": {}}]}, "runs.0.sets: .*one of recipe, name, .*set"),
    ],
)
def test_a_fault_of_the_configuration_itself_is_named(
    folder: Path, config: dict[str, Any], said: str
) -> None:
    assert re.search(said, refusal(folder, {"data": str(folder), **given(folder), **config}))


def test_a_missing_local_file_is_named_before_anything_runs(folder: Path) -> None:
    heights = {"vertical_datum": "geoid:synthetic"}
    write(folder / "sources.yaml", {"world": small.SOURCE, "picks": {**PICKS, **heights}})
    run = {"recipe": "small", "set": {"picks": {"source": "picks", "variable": "bed"}}}
    load(given(folder, run), folder)
    (folder / "picks.csv").unlink()
    said = refusal(folder, given(folder, run))
    assert said.startswith(f"sources.yaml: picks.files: no {folder / 'picks.csv'}")
    assert "a file or folder that is there" in said
    assert "set 'data:'" in said


def test_an_overlay_merges_mappings_replaces_the_rest_and_removes_what_is_null() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert merge(base, {"a": {"c": [9]}, "d": None, "e": {"f": 1}}) == {
        "a": {"b": 1, "c": [9]},
        "e": {"f": 1},
    }
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 3}


# Digests

NET = {
    "model": {"op": "residual", "args": {"width": 8, "depth": 2}},
    "constraints": [{"op": "block_mean"}, {"op": "below", "role": "surface"}],
    "train": TRAIN,
    "search": {"trials": 2, "space": {"train.lr": {"low": 0.001, "high": 0.1}}},
}
FULL: dict[str, Any] = {
    "methods": {"net": NET},
    "products": ["bicubic", "net"],
    "summary": "Before.",
    "sources": {"world": {**small.SOURCE, "citation": "Before"}},
}


def digest(recipe: Recipe, stage: str, **names: str) -> dict[str, str]:
    """The digests of the values that a stage reads."""
    return Step(stage, "small", names).digests(values(recipe))


def digests(recipe: Recipe) -> dict[str, dict[str, str]]:
    """The digests of every stage, for each of its sources, roles or methods."""
    found = {}
    for stage in READS:
        if stage in ("download", "scan"):
            found[stage] = digest(recipe, stage, source="world")
        elif stage == "reproject":
            found |= {f"{stage} {r}": digest(recipe, stage, role=r) for r in recipe.roles}
        elif stage in ("train", "trial", "study", "infer", "mosaic", "publish", "rescale"):
            trains = stage in ("train", "trial", "study")
            methods = ["net"] if trains else list(recipe.methods)
            found |= {f"{stage} {m}": digest(recipe, stage, method=m) for m in methods}
        else:
            found[stage] = digest(recipe, stage)
    return found


ROLES = {"reproject target", "reproject surface"}
RECORDED = {"publish net", "rescale net"}
PUBLISHED = {*RECORDED, "publish bicubic", "rescale bicubic"}
INFERRED = {"infer bicubic", "infer net"}
MOSAICS = {"mosaic bicubic", "mosaic net"}
TRAINED = {"train net", "trial net"}
READ_BY: list[tuple[dict[str, Any], set[str]]] = [
    ({"title": "Other"}, {*PUBLISHED, "series", "skill", "evaluate", "study net"}),
    ({"summary": "Other"}, PUBLISHED),
    (
        {"target": {"long_name": "other"}},
        {"degrade", *INFERRED, *MOSAICS, *PUBLISHED, "series", "evaluate", "study net"},
    ),
    (
        {"target": {"vertical_datum": "ellipsoid"}},
        {*ROLES, "degrade", *INFERRED, *MOSAICS, *PUBLISHED, "series", "evaluate", "study net"},
    ),
    (
        {"grid": {"block": 64}},
        {*ROLES, "degrade", "tile", *TRAINED, *INFERRED, *MOSAICS, *PUBLISHED, "evaluate"},
    ),
    ({"roles": {"surface": {"resampling": "cubic"}}}, {"reproject surface", *PUBLISHED}),
    ({"sources": {"world": {"citation": "Other"}}}, PUBLISHED),
    (
        {"coarse": {"degrade": {"args": {"min_valid": 0.9}}}},
        {"degrade", "tile", *PUBLISHED, "series", "evaluate"},
    ),
    ({"conditions": []}, {"tile", *TRAINED, *INFERRED, *PUBLISHED}),
    ({"split": {"buffer": 1000}}, {"tile", *TRAINED, *PUBLISHED, "evaluate"}),
    ({"tiles": {"stride": 1}}, {"tile", *PUBLISHED}),
    (
        {"methods": {"net": {"model": {"args": {"width": 9}}}}},
        {*TRAINED, "study net", "infer net", *RECORDED},
    ),
    ({"methods": {"net": {"search": {"trials": 3}}}}, {"study net"}),
    ({"methods": {"net": {"search": {"seed": 3}}}}, {"trial net", "study net"}),
    ({"methods": {"net": {"train": {"lr": 0.02}}}}, {"train net", *RECORDED}),
    ({"methods": {"net": {"constraints": [{"op": "block_mean"}]}}}, {"mosaic net", *RECORDED}),
    ({"methods": {"net": {"conditions": []}}}, {*TRAINED, "infer net", *RECORDED}),
    ({"infer": {"window": 9}}, {*INFERRED, *PUBLISHED}),
    ({"infer": {"energy": 0.9}}, {*TRAINED, *INFERRED, *PUBLISHED}),
    ({"mosaic": {"nodata": -32767}}, PUBLISHED),
    ({"products": ["net", "bicubic"]}, {"series", "evaluate"}),
    ({"publish": {"op": "fronts"}}, {*PUBLISHED, "series"}),
    ({"picks": {"source": "world", "variable": "bed"}}, {"evaluate"}),
    ({"evaluate": {"roughness": 7}}, {"evaluate"}),
    ({"insitu": "surface"}, {"tile", *TRAINED, "evaluate"}),
]


@pytest.mark.parametrize(("change", "expected"), READ_BY, ids=[str(c) for c, _ in READ_BY])
def test_a_digest_changes_for_exactly_the_stages_that_read_the_value(
    change: dict[str, Any], expected: set[str]
) -> None:
    before, after = (digests(small.recipe(**merge(FULL, c))) for c in ({}, change))
    assert {name for name in before if before[name] != after[name]} == expected


def test_every_section_of_a_recipe_is_read_by_a_stage() -> None:
    changed = {next(iter(change)) for change, _ in READ_BY}
    # Those of scenes are tested with scenes, those of a forecast with forecasts.
    assert changed == set(Recipe.model_fields) - {"name", "scenes", "series", "forecast"}


def test_a_new_title_costs_no_block(tmp_path: Path) -> None:
    field = np.arange(64 * 96, dtype=np.float32).reshape(64, 96)
    small.fill(small.tree(tmp_path), "target", field)
    renamed = small.tree(tmp_path, title="Other")
    found = renamed.role("target").create().read("bed", Window(0, 16, 0, 24))
    np.testing.assert_array_equal(found, field)


def test_swapping_two_named_values_changes_the_digest() -> None:
    args = {"width": 2, "depth": 8}
    before = digest(small.recipe(**FULL), "train", method="net")
    swapped = merge(FULL, {"methods": {"net": {"model": {"args": args}}}})
    assert digest(small.recipe(**swapped), "train", method="net") != before


def test_the_order_of_keys_does_not_matter_and_that_of_constraints_does() -> None:
    turned = merge(FULL, {"methods": {"net": {"constraints": NET["constraints"][::-1]}}})
    one, other = small.recipe(**FULL), small.recipe(**turned)
    assert digest(one, "mosaic", method="net") != digest(other, "mosaic", method="net")
    reordered = Recipe.model_validate(dict(reversed(one.model_dump().items())))
    assert digests(reordered) == digests(one)


def test_a_recipe_without_stations_notes_nothing_of_them() -> None:
    plain, with_stations = (
        digests(small.recipe(**FULL)),
        digests(small.recipe(**{**FULL, "insitu": "surface"})),
    )
    for stage in ("tile", "train net", "trial net", "evaluate"):
        assert set(with_stations[stage]) - set(plain[stage]) == {"insitu"}


def test_an_overlay_changes_the_recipe_before_the_run_does(folder: Path) -> None:
    write(folder / "a.yaml", {"title": "A", "summary": "A", "infer": {"feather": 0}})
    write(folder / "b.yaml", {"summary": "B", "infer": {"window": 16}})
    files = [str(folder / name) for name in ("a.yaml", "b.yaml")]
    config = given(folder, {"recipe": "small", "overlay": files, "set": {"title": "run"}})
    found = load(config, folder)[1]["small"]
    assert (found.title, found.summary) == ("run", "B")
    assert (found.infer.feather, found.infer.window) == (0, 16)
    one = load(given(folder, {"recipe": "small", "overlay": files[0]}), folder)[1]["small"]
    assert one.title == "A"


def test_an_overlay_that_is_not_there(folder: Path) -> None:
    told = refusal(folder, given(folder, {"recipe": "small", "overlay": "nowhere/best.yaml"}))
    assert told.startswith("config: overlay: no nowhere/best.yaml\n")
    assert "snakemake tune" in told


def test_a_fault_in_an_overlay_names_the_file(folder: Path) -> None:
    write(folder / "best.yaml", {"methods": {"bicubic": {"mdel": {}}}})
    path = str(folder / "best.yaml")
    told = refusal(folder, given(folder, {"recipe": "small", "overlay": path}))
    assert f"small.yaml + {path}: methods.bicubic.mdel: given the unknown key 'mdel'" in told
    assert "did you mean 'model'" in told
