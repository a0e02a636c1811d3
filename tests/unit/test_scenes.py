"""Scenes: what their files tell and what is refused, their split, and recipes made of them."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from affine import Affine
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pydantic import ValidationError
from tests import scenes

from nunatak import dag
from nunatak.albums import load
from nunatak.apart import apart
from nunatak.commands import gc
from nunatak.errors import ConfigError, DataError, NunatakError, SourceError
from nunatak.grid import Window
from nunatak.ops.split import TEST, TRAIN, VALIDATION, groups
from nunatak.recipe import Recipe
from nunatak.scene import Scene
from nunatak.source import Source
from nunatak.sources.raster import Album
from nunatak.sources.scenes import FileAlbum, open_scenes
from nunatak.splits import labels
from nunatak.stages.scan import scan

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

NAME = "Crane_2009-11-02_TSX_7_1_125"
BOUNDS = [-2.4e6, 1.2e6, -2.4e6 + 600, 1.2e6 + 400]
IMAGE = np.arange(24, dtype=np.uint8).reshape(4, 6) + 1
ALL = Window(0, 4, 0, 6)
FILES: dict[str, Any] = {
    "amplitude": ["images/{name}.tif", "images/{name}.png"],
    "zone": "zones/{name}_zones.png",
    "front": "fronts/{name}_front.png",
}
CODES = {"zone": {0: 0, 64: 1, 127: 2, 254: 3}, "front": {0: 0, 255: 1}}


def save(path: Path, values: NDArray[np.uint8], **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, cols = values.shape
    driver = "GTiff" if path.suffix == ".tif" else "PNG"
    profile = {"width": cols, "height": rows, "count": 1, "dtype": "uint8", **more}
    with rasterio.open(path, "w", driver=driver, **profile) as file:
        file.write(values, 1)


def image(folder: Path, name: str = NAME, beside: dict[str, Any] | None = None) -> Path:
    """A PNG and its sidecar."""
    path = folder / "images" / f"{name}.png"
    save(path, IMAGE)
    if beside is not None:
        path.with_suffix(".json").write_text(json.dumps(beside), encoding="utf-8")
    return path


def album(folder: Path, **change: Any) -> FileAlbum:
    variables = {"amplitude": {"units": "1", "nodata": 1}, "zone": {"units": "1"}}
    source = {**scenes.SOURCE, "variables": {**variables, "front": {"units": "1"}}}
    given = {"files": FILES, "codes": CODES, **change}
    return open_scenes(folder, Source.model_validate(source), **given)


def only(folder: Path, **change: Any) -> Scene:
    (found,) = album(folder, **change).scenes().values()
    return found


def refusal(folder: Path, **change: Any) -> str:
    with pytest.raises(NunatakError) as caught:
        album(folder, **change).scenes()
    return str(caught.value)


# What files tell


def test_a_name_tells_what_no_sidecar_does_and_nothing_where_it_lies(tmp_path: Path) -> None:
    image(tmp_path)
    assert only(tmp_path) == Scene(
        group="Crane",
        date=dt.date(2009, 11, 2),
        sensor="TSX",
        quality=1,
        shape=(4, 6),
        crs=None,
        bounds=(0, 0, 6, 4),
    )
    assert isinstance(album(tmp_path), Album)


def test_a_sidecar_tells_where_and_what_and_comes_before_the_name(tmp_path: Path) -> None:
    beside = {"crs": "EPSG:3031", "bounds": BOUNDS, "pixel_size": 100, "group": "Jorum"}
    image(tmp_path, beside={**beside, "date": "2010-01-31", "sensor": "ERS"})
    found = only(tmp_path)
    assert (found.group, found.date, found.sensor) == ("Jorum", dt.date(2010, 1, 31), "ERS")
    assert (found.crs, found.bounds, found.cell) == ("EPSG:3031", tuple(BOUNDS), (100, 100))
    assert found.quality == 1


def test_a_sidecar_may_tell_when_and_not_where(tmp_path: Path) -> None:
    image(tmp_path, "a", {"group": "Jorum", "date": "2010-01-31"})
    assert (only(tmp_path).crs, only(tmp_path).sensor) == (None, "")


def test_a_geotiff_says_itself_where_it_lies_and_its_cells_are_read_in_their_places(
    tmp_path: Path,
) -> None:
    transform = Affine(100, 0, BOUNDS[0], 0, -50, BOUNDS[3])
    save(tmp_path / "images" / f"{NAME}.tif", IMAGE, crs="EPSG:3031", transform=transform)
    given = album(tmp_path)
    found = only(tmp_path)
    assert (found.crs, found.cell) == ("EPSG:3031", (50, 100))
    raster = given.raster(NAME, found)
    assert raster.geobox == GeoBox((4, 6), transform, "EPSG:3031")
    part = raster.read("amplitude", Window(1, 3, 2, 6))
    assert_array_equal(part, IMAGE[1:3, 2:6])
    assert np.isnan(raster.read("amplitude", ALL)[0, 0]), "nodata of the source's entry"


def test_a_geotiff_without_a_place_lies_nowhere_and_a_sidecar_places_it(tmp_path: Path) -> None:
    path = tmp_path / "images" / f"{NAME}.tif"
    save(path, IMAGE)
    assert only(tmp_path).crs is None
    beside = {"crs": "EPSG:32606", "bounds": [0, 0, 600, 400], "pixel_size": [100, 100]}
    path.with_suffix(".json").write_text(json.dumps(beside))
    assert only(tmp_path).crs == "EPSG:32606"


def test_of_an_image_in_two_places_the_first_named_counts(tmp_path: Path) -> None:
    image(tmp_path)
    image(tmp_path, NAME.replace("2009", "2008"))
    save(tmp_path / "images" / f"{NAME}.tif", IMAGE + 100)
    found = album(tmp_path).scenes()
    assert list(found) == [NAME.replace("2009", "2008"), NAME]
    raster = album(tmp_path).raster(NAME, found[NAME])
    assert raster.read("amplitude", ALL)[0, 0] == 101


def test_labels_are_what_their_codes_stand_for_and_missing_ones_are_missing(
    tmp_path: Path,
) -> None:
    image(tmp_path)
    codes = np.array([[0, 64, 127, 254, 0, 64]] * 4, np.uint8)
    save(tmp_path / "zones" / f"{NAME}_zones.png", codes)
    given = album(tmp_path)
    raster = given.raster(NAME, given.scenes()[NAME])
    assert_array_equal(raster.read("zone", ALL)[0], [0, 1, 2, 3, 0, 1])
    assert np.isnan(raster.read("front", ALL)).all()


def test_the_digest_of_a_scene_is_that_of_its_own_files(tmp_path: Path) -> None:
    other = NAME.replace("2009", "2008")
    image(tmp_path)
    image(tmp_path, other)
    given = album(tmp_path)
    seen = [given.digest(NAME, given.scenes()[NAME])]
    kept = given.digest(other, given.scenes()[other])
    save(tmp_path / "zones" / f"{NAME}_zones.png", np.zeros((4, 6), np.uint8))
    seen.append(given.digest(NAME, given.scenes()[NAME]))
    (tmp_path / "images" / f"{NAME}.json").write_text(json.dumps({"sensor": "ERS"}))
    seen.append(given.digest(NAME, given.scenes()[NAME]))
    (tmp_path / "fronts").mkdir()
    (tmp_path / "zones" / f"{NAME}_zones.png").rename(tmp_path / "fronts" / f"{NAME}_front.png")
    seen.append(given.digest(NAME, given.scenes()[NAME]))
    assert len(set(seen)) == 4
    assert given.digest(other, given.scenes()[other]) == kept


# What is refused


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"bounds": BOUNDS}, r"bounds without crs(?s:.*)both, or neither"),
        ({"crs": "EPSG:3031"}, r"crs without bounds"),
        (
            {"crs": "EPSG:3031", "bounds": BOUNDS, "pixel_size": 98},
            r"pixel_size 98(\.0)?, but the bounds of 4 x 6 cells make 100 x 100",
        ),
        ({"crs": "EPSG:3031", "bounds": BOUNDS, "pixel_size": [100, 90]}, "pixel_size"),
        ({"crs": "EPSG:3031", "bounds": [600, 0, 0, 400]}, "left < right, bottom < top"),
        ({"crs": "EPSG:999999", "bounds": BOUNDS}, "'EPSG:999999'"),
        ({"day": "2010-01-01"}, "unknown key 'day'"),
        ({"date": "the first of May"}, "the first of May"),
    ],
)
def test_a_sidecar_that_does_not_fit_is_refused(
    tmp_path: Path, beside: dict[str, Any], said: str
) -> None:
    path = image(tmp_path, beside=beside)
    told = refusal(tmp_path)
    assert re.search(said, told), told
    assert path.stem in told


def test_a_pixel_size_may_be_rounded(tmp_path: Path) -> None:
    image(tmp_path, beside={"crs": "EPSG:3031", "bounds": BOUNDS, "pixel_size": 100.9})
    assert only(tmp_path).cell == (100, 100)


def test_a_sidecar_that_is_no_json_is_refused(tmp_path: Path) -> None:
    image(tmp_path).with_suffix(".json").write_text("crs: EPSG:3031")
    assert "a sidecar in JSON" in refusal(tmp_path)


def test_a_name_that_tells_nothing_needs_a_sidecar(tmp_path: Path) -> None:
    image(tmp_path, "IMG-7")
    said = refusal(tmp_path)
    assert "neither its name nor a sidecar tells group and date" in said
    assert f"write them into {tmp_path}/images/IMG-7.json" in said
    (tmp_path / "images" / "IMG-7.json").write_text(json.dumps({"group": "Jorum"}))
    assert "tells date" in refusal(tmp_path)


def test_names_of_ones_own_are_read_by_an_expression(tmp_path: Path) -> None:
    image(tmp_path, "20100131-jorum")
    names = r"(?P<date>\d{8})-(?P<group>\w+)"
    assert "20100131" in refusal(tmp_path, names=names)
    image(tmp_path, "2010-01-31-jorum")
    (tmp_path / "images" / "20100131-jorum.png").unlink()
    found = only(tmp_path, names=r"(?P<date>[\d-]{10})-(?P<group>\w+)")
    assert (found.group, found.date) == ("jorum", dt.date(2010, 1, 31))


def test_a_day_that_is_none_is_refused(tmp_path: Path) -> None:
    image(tmp_path, NAME.replace("2009-11-02", "2009-13-02"))
    assert "2009-13-02" in refusal(tmp_path)


def test_a_name_that_a_shell_would_not_take_as_it_is_is_refused(folder: Path) -> None:
    path = folder / "data"
    image(path, NAME.replace("TSX", "T;X"))
    write(folder / "sources.yaml", {"album": {**FILED, "files": [{"url": f"file:{path}"}]}})
    crane = {"scenes": {"mapped": ["Crane"]}, "series": {"group": "Crane"}}
    with pytest.raises(ConfigError, match="is not a plain name"):
        load(given(folder, crane), folder)


def test_codes_that_are_not_declared_are_named(tmp_path: Path) -> None:
    image(tmp_path)
    save(tmp_path / "zones" / f"{NAME}_zones.png", np.full((4, 6), 3, np.uint8))
    raster = album(tmp_path).raster(NAME, only(tmp_path))
    with pytest.raises(DataError, match=r"(?s)codes 3.*one of 0, 64, 127, 254"):
        raster.read("zone", ALL)


def test_a_label_of_another_shape_is_refused(tmp_path: Path) -> None:
    image(tmp_path)
    save(tmp_path / "zones" / f"{NAME}_zones.png", np.zeros((6, 4), np.uint8))
    raster = album(tmp_path).raster(NAME, only(tmp_path))
    with pytest.raises(DataError, match=r"(?s)6 x 4 cells.*4 x 6, as the image has"):
        raster.read("zone", ALL)


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    said = refusal(tmp_path)
    assert "no scene" in said
    assert "images/{name}.tif or images/{name}.png" in said
    with pytest.raises(SourceError, match="is no folder"):
        album(tmp_path / "none")


def test_an_image_that_is_none_is_named(tmp_path: Path) -> None:
    image(tmp_path).write_text("not an image")
    assert f"{NAME}.png" in refusal(tmp_path)


@pytest.mark.parametrize("transform", [Affine(100, 5, 0, 0, -100, 0), Affine(100, 0, 0, 0, 100, 0)])
def test_a_rotated_or_flipped_geotiff_is_refused(tmp_path: Path, transform: Affine) -> None:
    save(tmp_path / "images" / f"{NAME}.tif", IMAGE, crs="EPSG:3031", transform=transform)
    assert "gdalwarp" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": {**FILES, "zone": "zones/all.png"}}, r"zones/all.png.*\n.*holds {name}"),
        ({"files": {"amplitude": "{name}.png"}}, "no files for front, zone"),
        ({"names": "(?P<group"}, "a regular expression"),
    ],
)
def test_a_reader_that_cannot_work_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        album(tmp_path, **change)


@pytest.mark.parametrize("bounds", [(0, 0, 0, 5), (0, 5, 5, 0)])
def test_a_scene_has_an_area(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="left < right, bottom < top"):
        Scene(group="a", date=dt.date(2010, 1, 1), shape=(2, 2), bounds=bounds)


# The split


def test_groups_are_tested_on_as_a_whole_and_late_scenes_validate() -> None:
    box = GeoBox((2, 3), Affine(1, 0, 0, 0, -1, 0), None)
    given = {"test": ["north"], "validation": ["west"], "validation_from": "2012-01-01"}

    def label(**change: Any) -> int:
        scene = Scene.model_validate(scenes.scene("2011-12-31", "south") | change)
        found = groups(box, scene, **given)
        assert found.shape == (2, 3)
        (value,) = np.unique(found)
        return int(value)

    assert label() == TRAIN
    assert label(date=dt.date(2012, 1, 1)) == VALIDATION
    assert label(group="west") == VALIDATION
    assert label(group="north") == TEST
    assert label(group="north", date=dt.date(2013, 1, 1)) == TEST


def test_each_scene_of_a_tree_has_its_label(tmp_path: Path) -> None:
    found = {"a": scenes.scene("2010-01-01"), "b": scenes.scene("2010-01-01", "south")}
    results = scenes.tree(tmp_path, found)
    window = Window(0, 3, 0, 5)
    assert [labels(results.at(name), window)[0, 0] for name in "ab"] == [TEST, TRAIN]


def test_a_group_that_is_tested_and_learnt_from_is_refused() -> None:
    found = {"a": scenes.scene("2010-01-01"), "b": scenes.scene("2011-01-01")}
    rows = {"row": [0, 0], "col": [0, 0], "split": [TEST, TRAIN]}
    index = pd.DataFrame({"place": ["a", "b"], **rows})
    with pytest.raises(DataError, match="north: some scenes are tested on, others learnt from"):
        apart(scenes.recipe(found), index)
    left, bottom, right, top = scenes.BOUNDS
    found["b"] |= {"group": "south", "bounds": (left, bottom - 1e5, right, top - 1e5)}
    told = apart(scenes.recipe(found), index)
    assert told["scenes"]["test"] == {"north": 1}
    assert told["scenes"]["training"] == {"south": 1}


# Recipes


FILED = {
    **scenes.SOURCE,
    "files": [{"url": "file:none"}],
    "reader": {"op": "scenes", "args": {"files": FILES, "codes": CODES}},
}
NAMED = {k: v for k, v in scenes.BASE.items() if k not in ("name", "sources")}
SYNTHETIC: dict[str, Any] = {
    "scenes": {"mapped": ["glacier1"]},
    "series": {"group": "glacier1"},
    "split": {"by": {"args": {"test": ["glacier1"]}}},
}


GRID = {"crs": "EPSG:3031", "bounds": [0, 0, 9, 9], "resolution": 1}


def write(path: Path, value: Any) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of configuration: a recipe of scenes and a source without files."""
    (tmp_path / "recipes").mkdir()
    write(tmp_path / "recipes" / "fronts.yaml", NAMED)
    write(tmp_path / "sources.yaml", {"album": scenes.SOURCE})
    return tmp_path


def given(folder: Path, *changes: dict[str, Any]) -> dict[str, Any]:
    runs = [{"recipe": "fronts", "set": change} for change in changes or ({},)]
    return {"data": str(folder), "runs": runs}


def test_a_recipe_of_scenes_is_one_and_one_a_scene(folder: Path) -> None:
    _, recipes = load(given(folder, SYNTHETIC), folder)
    whole = recipes["fronts"]
    assert len(whole.places) == 4
    assert set(recipes) == {"fronts", *(f"fronts/scenes/{name}" for name in whole.places)}
    for name in whole.places:
        part = recipes[f"fronts/scenes/{name}"]
        assert part == whole.of(name)
        assert (part.scene, part.family, part.places) == (name, "fronts", ("",))
        assert part.layout.fine.shape == whole.scenes.found[name].shape if whole.scenes else False
        assert part.acquisition.crs == str(part.layout.fine.crs)


def test_scenes_that_are_not_mapped_have_inputs_and_no_products(folder: Path) -> None:
    _, recipes = load(given(folder, SYNTHETIC), folder)
    whole = recipes["fronts"]
    for name in whole.places:
        stages = {step.stage for step in dag.steps(whole.of(name))}
        learnt = name.startswith("glacier0")
        assert stages == ({"reproject"} if learnt else {"reproject", "infer", "mosaic", "publish"})
    shared = {step.stage for step in dag.steps(whole)}
    assert shared == {"download", "scan", "tile", "train", "series", "evaluate"}
    every = [step for recipe in recipes.values() for step in dag.steps(recipe)]
    made = {step.path for step in every}
    for step in every:
        read = dag.inputs(recipes[step.run or "fronts"], step.stage, **step.names)
        assert set(read) <= made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scenes": {"mapped": ["Crane"]}}, r"(?s)no scene of Crane in album.*glacier0, glacier1"),
        ({"series": {"group": "Crane"}}, r"no scene of Crane in album"),
        ({"series": {"area": "sea"}}, "series.area: no class 'sea'; no_data, rock"),
        ({"grid": {"bounds": [0, 0, 9, 9]}}, "grid: bounds given; each scene brings its own"),
        ({"grid": {"shape": [9, 9]}}, "grid: shape given"),
        ({"grid": {"scale": 2}}, "grid.scale 2: 'identity' needs a scale of 1"),
        ({"scenes": None}, "grid: crs, bounds, resolution not given"),
        ({"scenes": None, "grid": GRID}, "'groups' tells scenes apart"),
        ({"methods": {"line": {"layers": ["front", "rock"]}}}, "all of target.classes or none"),
        ({"methods": {"line": {"layers": ["edge"]}}}, r"methods.line.layers: edge"),
        (
            {"methods": {"zones": {"layers": ["front", *scenes.BASE["target"]["classes"]]}}},
            "in the order no_data, rock, glacier, ocean, front",
        ),
        ({"roles": {"target": {"variables": ["zone"]}}}, "one a line"),
        ({"infer": {"stride": 17}}, "infer.stride 17: .*at most infer.window, 16"),
        ({"roles": {"target": {"source": "world"}}}, "scenes.source 'album' is read by no role"),
        ({"scenes": {"source": "world"}}, "scenes.source 'world' holds no scenes"),
    ],
)
def test_a_recipe_of_scenes_that_does_not_fit_is_refused(
    folder: Path, change: dict[str, Any], said: str
) -> None:
    world = {**scenes.SOURCE, "reader": {"op": "synthetic"}, "crs": "EPSG:3031"}
    write(folder / "sources.yaml", {"album": scenes.SOURCE, "world": world})
    config = given(folder, SYNTHETIC)
    config["runs"][0]["set"] = {**SYNTHETIC, **change}
    with pytest.raises(ConfigError) as caught:
        load(config, folder)
    assert re.search(said, str(caught.value)), str(caught.value)


def test_what_the_guide_says_can_be_run(tmp_path: Path, root: Path) -> None:
    page = (root / "docs" / "how-to" / "map-calving-fronts.md").read_text(encoding="utf-8")
    beside, source, run = re.findall(r"^```(?:json|yaml)\n(.*?)^```$", page, re.M | re.S)
    album, config = tmp_path / "fronts", tmp_path / "config"
    given = json.loads(beside)
    left, bottom, right, top = given["bounds"]
    shape = tuple(round(side / given["pixel_size"]) for side in (top - bottom, right - left))
    save(album / "images" / f"{NAME}.png", np.ones(shape, np.uint8))
    (album / "images" / f"{NAME}.json").write_text(beside, encoding="utf-8")
    image(album, "Jorum_2014-01-01_S1_20_2_061")
    shutil.copytree(root / "config", config)
    with (config / "sources.yaml").open("a", encoding="utf-8") as catalogue:
        catalogue.write(source)
    _, recipes = load({**yaml.safe_load(run), "data": str(tmp_path)}, config)
    found = recipes[f"my_fronts/scenes/{NAME}"]
    assert found.acquisition.cell == pytest.approx((7, 7), rel=0.01)
    assert set(recipes) == {"my_fronts", *map("my_fronts/scenes/{}".format, found_in(recipes))}


def found_in(recipes: Mapping[str, Recipe]) -> tuple[str, ...]:
    """The scenes of the first recipe."""
    return next(iter(recipes.values())).places


def test_products_of_a_scene_that_is_no_longer_mapped_are_waste(tmp_path: Path) -> None:
    found = {"a": scenes.scene("2010-01-01"), "b": scenes.scene("2010-01-01", "south")}
    whole = scenes.recipe(found)
    recipes = {whole.name: whole, **{part.name: part for part in map(whole.of, whole.places)}}
    for name in ("a", "b", "gone"):
        folder = tmp_path / "fronts" / "scenes" / name
        (folder / "publish").mkdir(parents=True)
        (folder / "recipe.json").write_text("{}")
        (folder / "publish" / "zones.tif").write_text("zones")
    told = [waste.name for waste in gc.find(tmp_path, recipes)]
    assert told == [
        "fronts/scenes/gone: no run of this name",
        "fronts/scenes/b/publish/zones: the recipe does not ask for it",
    ]
    told = [waste.name for waste in gc.find(tmp_path, {})]
    assert told == ["fronts/scenes/a: no run of this name"] + [
        f"fronts/scenes/{name}: no run of this name" for name in ("b", "gone")
    ]


def test_a_scan_digests_each_scene(tmp_path: Path) -> None:
    recipe: Recipe = scenes.recipe({})
    assert recipe.places == ()
    found = {name: s.model_dump() for name, s in _synthetic().scenes().items()}
    results = scenes.tree(tmp_path, found)
    told = scan(results, "album", tmp_path)
    digests = [each["digest"] for each in told["variables"].values()]
    assert set(told["variables"]) == set(found)
    assert len(set(digests)) == len(found)


def _synthetic() -> Any:
    from nunatak.registry import READERS

    source = Source.model_validate(scenes.SOURCE)
    return READERS.call(source.reader.op, source.reader.args, Path(), source)
