"""rescale: a trained network at any scale, without a trace of windows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import sea, small

from nunatak import dag, settle
from nunatak.errors import ConfigError
from nunatak.grid import Window
from nunatak.learn.anyscale import Member, asked
from nunatak.learn.checkpoint import Checkpoint, build, reach, save
from nunatak.learn.inputs import Statistics
from nunatak.learn.models.interpolate import sample
from nunatak.ops.normalise import fill_gaps
from nunatak.ops.rescale import Cells
from nunatak.products import Results
from nunatak.provenance import read_json, write_json
from nunatak.stages import rescale as module
from nunatak.stages.degrade import degrade
from nunatak.stages.infer import infer
from nunatak.tracking.steps import SCALE, Step

PLAIN = {"curve": "linear", "width": 1.0, "fitted": False, "offset": [-500.0], "scale": [900.0]}
LEARNS = {
    "task": {"op": "supervised"},
    "losses": [{"op": "l1"}],
    **{"samples": 8, "batch": 2, "lr": 0.01, "validate_every": 4},
}
NETWORK = {"args": {"width": 4, "blocks": 1, "hidden": [8], "chunk": 700}}
CHANGE: dict[str, Any] = {
    "methods": {
        "liif": {"model": {"op": "liif", **NETWORK}, "train": LEARNS},
        "jiif": {"model": {"op": "jiif", **NETWORK}, "train": LEARNS},
        "bilinear": {"model": {"op": "interpolate", "args": {"mode": "bilinear"}}},
        "nearest": {"model": {"op": "interpolate", "args": {"mode": "nearest"}}},
        "corrected": {"model": {"op": "corrected"}},
    },
    "products": ["bicubic", "liif", "jiif", "bilinear", "nearest", "corrected"],
    "infer": {"window": 9, "energy": 1.0},
}
ROWS, COLUMNS = 16, 24


def tree(folder: Path, members: int = 1, **change: Any) -> Results:
    """A results tree with a hole in it, and methods as if trained."""
    given = small.merge(CHANGE, change)
    given["methods"] = {
        **given["methods"],
        "liif": {**given["methods"]["liif"], "members": members},
    }
    results = small.tree(folder, **given)
    rng = np.random.default_rng(0)
    field = rng.normal(-500, 900, (64, 96))
    field[16:28, 40:52] = np.nan
    small.fill(results, "target", field)
    small.fill(results, "surface", rng.normal(-500, 900, (64, 96)))
    for block in results.recipe.layout.blocks():
        degrade(results, block)
    transforms = dict.fromkeys(("coarse", "surface"), PLAIN)
    numbers = {"mean": -500.0, "deviation": 900.0, "detail": 300.0}
    write_json(results.tiles / "statistics.json", {"transforms": transforms, **numbers})
    for method in ("liif", "jiif"):
        for member in range(results.recipe.members(method)):
            trained(results, method, member)
    return results


def trained(results: Results, method: str, member: int) -> None:
    raw = read_json(results.tiles / "statistics.json")
    torch.manual_seed(member)
    network = build(results, method, Statistics.of(raw))
    who = {"key": "k", "method": method, "member": member, "recipe": {}, "tiles": ""}
    state = {"network": network.state_dict()}
    halo = reach(results, network)
    save(
        results.train(method, member) / "best.pt",
        Checkpoint(**who, statistics=raw, weights=state, halo=halo),
    )


def made(results: Results, method: str, scale: str, monkeypatch: Any) -> tuple[np.ndarray, Any]:
    """What the stage writes, NaN where missing, and its manifest."""
    monkeypatch.setattr("nunatak.origin._model", lambda *given: {})
    monkeypatch.setattr("nunatak.origin._source", lambda *given: {})
    monkeypatch.setattr(Results, "keep", lambda self, *paths: None)
    manifest = module.rescale(results, method, scale)
    with rasterio.open(results.folder / "rescale" / method / f"{scale}.tif") as file:
        return file.read(1, masked=True).filled(np.nan), manifest


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return tree(tmp_path_factory.mktemp("rescale"))


@pytest.mark.parametrize("method", ["liif", "jiif", "bicubic", "bilinear", "nearest"])
def test_at_the_recipes_scale_it_gives_what_infer_gives(
    results: Results, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in results.recipe.layout.blocks():
        infer(results, method, 0, block)
    product = results.member(method, 0)
    expected = product.read_first(Window(0, ROWS, 0, COLUMNS))
    found, _ = made(results, method, "4", monkeypatch)
    assert np.nanstd(expected) > 10
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("method", ["liif", "jiif", "bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("scale", ["0.5", "0.7", "3", "13.5"])
def test_it_does_not_depend_on_the_windows(
    tmp_path: Path, method: str, scale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = []
    for window in (5, 11, 100):
        given = tree(tmp_path / str(window), infer={"window": window})
        fields.append(made(given, method, scale, monkeypatch)[0])
    assert fields[0].shape == (round(ROWS * float(scale)), round(COLUMNS * float(scale)))
    for field in fields[1:]:
        np.testing.assert_array_equal(np.isnan(field), np.isnan(fields[0]))
        np.testing.assert_allclose(field, fields[0], rtol=0, atol=2e-3)


def test_interpolation_needs_all_that_it_weighs_however_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = []
    for window in (5, 100):
        given = tree(tmp_path / str(window), infer={"window": window, "energy": 0.5})
        fields.append(made(given, "bicubic", "3", monkeypatch)[0])
    np.testing.assert_allclose(fields[0], fields[1], rtol=0, atol=2e-3)


@pytest.mark.parametrize("scale", ["0.3", "6.1", "13.5"])
def test_the_geotiff_lies_where_the_map_does(
    results: Results, scale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manifest = made(results, "liif", scale, monkeypatch)
    with rasterio.open(results.folder / "rescale" / "liif" / f"{scale}.tif") as file:
        assert tuple(file.bounds) == pytest.approx((0, 0, 24000, 16000), abs=1e-6)
        assert file.shape == (round(16 * float(scale)), round(24 * float(scale)))
        assert file.crs.to_epsg() == 3031
        assert (file.dtypes[0], file.nodata, file.units[0], file.count) == (
            "float32",
            -9999,
            "m",
            1,
        )
        assert file.tags()["CONTENT"] == manifest["content"]
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert manifest["shape"] == list(file.shape)
    assert manifest["scale"] == scale
    assert manifest["variables"]["content"]["digest"] == manifest["content"]
    assert manifest["recipe"]["methods"].keys() == {"liif"}


@pytest.mark.parametrize("scale", ["1", "2.5", "8"])
def test_cells_of_missing_coarse_cells_are_missing_and_no_others(
    results: Results, scale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = made(results, "liif", scale, monkeypatch)
    coarse = results.coarse.read_first(Window(0, ROWS, 0, COLUMNS))
    assert 0 < np.isnan(coarse).sum() < 20
    rows, columns = ((np.arange(n) + 0.5) / float(scale) for n in found.shape)
    expected = np.isnan(coarse)[np.ix_(rows.astype(int), columns.astype(int))]
    np.testing.assert_array_equal(np.isnan(found), expected)


@pytest.mark.parametrize("scale", ["4", "0.7", "6.1", "13"])
@pytest.mark.parametrize("window", [5, 100])
def test_of_land_no_cell_has_a_value_at_any_scale(
    tmp_path: Path, scale: str, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"constraints": [{"op": "known", "role": "sea"}, {"op": "block_mean"}]}
    role = {"source": "world", "variables": ["bed"], "resolution": 250}
    given = tree(
        tmp_path,
        infer={"window": window},
        roles={"sea": role},
        methods={**CHANGE["methods"], "liif": {**CHANGE["methods"]["liif"], **known}},
    )
    land = np.random.default_rng(1).random((64, 96)) < 0.3
    small.fill(given, "sea", np.where(land, np.nan, 1.0))
    found, _ = made(given, "liif", scale, monkeypatch)
    free, _ = made(given, "jiif", scale, monkeypatch)
    rows, columns = (
        (np.arange(n) + 0.5) * 4 * r / n for n, r in zip(found.shape, (ROWS, COLUMNS), strict=True)
    )
    there = land[np.ix_(rows.astype(int), columns.astype(int))]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(free) | there)
    assert (there & ~np.isnan(free)).any()
    read = dag.inputs(given.recipe, "rescale", method="liif", scale=scale)
    assert sum("reproject/sea/" in path for path in read) == len([*given.recipe.layout.blocks()])
    assert not any(
        "sea" in path for path in dag.inputs(given.recipe, "rescale", method="jiif", scale=scale)
    )


def test_a_scale_between_gives_what_lies_between(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells of one centre have one value, but for the size of the cell that LIIF is told."""
    found = {s: made(results, "jiif", s, monkeypatch)[0] for s in ("3", "9")}
    np.testing.assert_allclose(found["9"][1::3, 1::3], found["3"], rtol=0, atol=2e-3)


@pytest.mark.parametrize("scale", ["0.5", "3", "13.5"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_interpolation_at_any_scale_is_that_of_the_filled_coarse_field(
    results: Results, mode: str, scale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = made(results, mode, scale, monkeypatch)
    coarse = results.coarse.read_first(Window(0, ROWS, 0, COLUMNS))
    filled = fill_gaps(np.pad(coarse, 9, constant_values=np.nan), -500.0)
    # Beyond the domain cells are filled as gaps are; nine are more than any mode sees.
    factor = float(scale)
    rows, columns = (9 + (np.arange(n) + 0.5) / factor for n in found.shape)
    points = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(1, -1, 2)
    if mode == "nearest":
        expected = filled[np.ix_(rows.astype(int), columns.astype(int))]
    else:
        field = torch.from_numpy(filled)[None, None]
        expected = sample(field, torch.from_numpy(points), mode).numpy().reshape(found.shape)
    known = ~np.isnan(found)
    assert known.mean() > 0.9
    np.testing.assert_allclose(found[known], expected[known], rtol=0, atol=2e-3)


def test_of_several_members_it_is_the_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = tree(tmp_path / "both", members=2)
    mean, _ = made(both, "liif", "2.5", monkeypatch)
    cells = Cells.at((ROWS, COLUMNS), 2.5)
    whole = Window(0, ROWS, 0, COLUMNS)
    fields = [Member.load(both, "liif", m).field(whole, cells) for m in (0, 1)]
    assert np.abs(fields[0] - fields[1]).max() > 10
    known = ~np.isnan(mean)
    np.testing.assert_allclose(mean[known], np.mean(fields, axis=0)[known], rtol=0, atol=2e-3)


def test_points_are_asked_for_some_rows_at_a_time(results: Results) -> None:
    member, cells, counts = Member.load(results, "liif", 0), Cells.at((ROWS, COLUMNS), 13.5), []
    query = member.network.query

    def counted(codes: Any, points: torch.Tensor, cell: Any) -> Any:
        counts.append(points.shape[1])
        return query(codes, points, cell)

    member.network.query = counted
    window = Window(2, 10, 3, 11)
    field = asked(member.network, member.read(window), window, member.halo, cells)
    assert field.shape == cells.of(window).shape
    assert sum(counts) == field.size
    assert max(counts) <= 700
    assert len(counts) > 10


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    scale=st.floats(0.05, 30),
    step=st.integers(1, 40),
)
def test_every_cell_is_in_one_window_which_holds_its_centre(
    rows: int, columns: int, scale: float, step: int
) -> None:
    shape = (round(rows * scale), round(columns * scale))
    if min(shape) < 1:
        return
    cells = Cells.at((rows, columns), scale)
    seen = np.zeros(shape, int)
    for top in range(0, rows, step):
        for left in range(0, columns, step):
            window = Window(top, min(rows, top + step), left, min(columns, left + step))
            part = cells.of(window)
            seen[part.slices] += 1
            for axis, (first, last, low, high) in enumerate(
                (
                    (part.top, part.bottom, window.top, window.bottom),
                    (part.left, part.right, window.left, window.right),
                )
            ):
                centres = cells.centres(axis, first, last)
                owners = cells.owners(axis, first, last)
                assert ((centres >= low - 1e-9) & (centres <= high + 1e-9)).all()
                assert ((owners >= low) & (owners < high)).all()
                np.testing.assert_allclose(centres, owners + 0.5, atol=0.5 + 1e-9)
    assert (seen == 1).all()


@pytest.mark.parametrize(
    ("method", "scale", "message"),
    [
        ("corrected", "2", r"'corrected' gives its own scale alone(.|\n)*bicubic, liif, jiif"),
        ("other", "2", r"no method 'other'(.|\n)*liif, jiif"),
        ("liif", "0", r"scale 0 of 16 x 24"),
        ("liif", "-3", r"scale -3 of 16 x 24"),
        ("liif", "0.01", r"leaves a row and a column"),
        ("liif", "nan", r"above 0"),
        ("liif", "inf", r"above 0"),
        ("liif", "fine", r"scale 'fine'(.|\n)*a number above 0"),
    ],
)
def test_what_cannot_be_had_is_refused(
    results: Results, method: str, scale: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        module.rescale(results, method, scale)


def test_it_is_made_when_asked_for_alone_and_found_by_its_trace(results: Results) -> None:
    recipe = results.recipe
    assert not any("rescale" in path for path in (*dag.outputs(recipe), *dag.sought(recipe)))
    assert settle.steps([recipe], results.root) == sorted(
        dag.steps(recipe), key=lambda step: [*dag._INPUTS].index(step.stage)
    )
    folder = results.folder / "rescale"
    for name in ("liif/13.5", "jiif/3", "gone/3"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.provenance.trace").write_text("{}", encoding="utf-8")
    steps = [s for s in settle.steps([recipe], results.root) if s.stage == "rescale"]
    assert [s.path for s in steps] == [
        "small/rescale/jiif/3.provenance",
        "small/rescale/liif/13.5.provenance",
    ]
    assert steps[1].name == "small/rescale/liif/13.5"
    (folder / "gone/3.provenance.trace").unlink()


def test_it_reads_the_coarse_field_the_conditions_and_the_models(results: Results) -> None:
    read = dag.inputs(results.recipe, "rescale", method="jiif", scale="13.5")
    blocks = [block.name for block in results.recipe.layout.blocks()]
    expected = {f"small/{p}/{b}" for p in ("degrade/coarse", "reproject/surface") for b in blocks}
    assert {path for path in read if "_" in path.rpartition("/")[2]} == expected
    assert {"small/train/jiif/0/manifest", "small/tile/manifest", "download/world"} <= set(read)
    gates = dag.gates(results.recipe, "rescale", method="jiif", scale="13.5")
    assert [gate.stage for gate in gates] == ["scan", "tile"]
    with pytest.raises(ConfigError, match="no product 'gone'"):
        dag.inputs(results.recipe, "rescale", method="gone", scale="3")


@pytest.mark.parametrize("text", ["3", "13.5", "28", "0.5", "10", "100.25"])
def test_a_scale_is_written_in_one_way(text: str) -> None:
    assert re.fullmatch(SCALE, text)
    assert not re.fullmatch(SCALE, f"0{text}")
    assert not re.fullmatch(SCALE, f"{text}.0" if "." not in text else f"{text}0")
    assert Step("rescale", "small", {"method": "liif", "scale": text}).path.endswith(
        f"/{text}.provenance"
    )


def test_of_days_each_has_maps_of_its_own_and_all_together_have_none(tmp_path: Path) -> None:
    recipe = sea.tree(tmp_path).recipe
    place, method = dag.mapped(recipe)[0], recipe.products[0]
    read = dag.inputs(recipe.of(place), "rescale", method=method, scale="13.5")
    own = f"{recipe.name}/scenes/{place}/"
    assert any(path.startswith(f"{own}reproject/") for path in read)
    assert all(path.startswith((own, "download/")) or "/scenes/" not in path for path in read)
    path = Step("rescale", recipe.of(place).name, {"method": method, "scale": "13.5"}).path
    assert path == f"{own}rescale/{method}/13.5.provenance"
    with pytest.raises(ConfigError, match=rf"no map of its own(.|\n)*one of {own[:-1]}"):
        dag.inputs(recipe, "rescale", method=method, scale="13.5")
