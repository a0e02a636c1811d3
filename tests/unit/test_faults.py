"""The ten known faults of DeepBedMap (Leong & Horgan 2020, and its code): none is repeated here.

Each test would fail on the original's behaviour. One small world is made, trained on and published.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import test_infer
import tiny
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from tests import small

from nunatak.errors import ConfigError, DataError
from nunatak.grid import Window
from nunatak.learn.checkpoint import load, load_network
from nunatak.learn.dataset import Chunks, Tiles
from nunatak.learn.inputs import Inputs
from nunatak.learn.loop import Run
from nunatak.learn.losses import l1
from nunatak.learn.predict import Prepare
from nunatak.learn.receptive import measured
from nunatak.learn.spec import Network
from nunatak.ops.blend import Lattice
from nunatak.ops.degrade import repeat
from nunatak.ops.split import TEST, TRAIN, VALIDATION
from nunatak.products import Results
from nunatak.provenance import read_json, write_json
from nunatak.sources.synthetic import World
from nunatak.splits import labels
from nunatak.stages import infer as infer_stage
from nunatak.stages.degrade import degrade
from nunatak.stages.infer import infer
from nunatak.stages.mosaic import mosaic
from nunatak.stages.publish import publish
from nunatak.stages.reproject import reproject
from nunatak.stages.tile import tile
from nunatak.stages.train import train

Field = NDArray[np.float32]
NET = {
    "model": {"op": "residual", "args": {"width": 6, "depth": 1, "head": 4}},
    "constraints": [{"op": "block_mean"}, {"op": "below", "role": "surface"}],
    "train": {
        "task": {"op": "supervised"},
        "losses": [{"op": "l1"}],
        **{"samples": 96, "batch": 8, "lr": 0.01, "validate_every": 48},
    },
    "members": 2,
}
FLOW = {"source": "world", "variables": ["vx", "vy"], "resolution": 500}
WORLD: dict[str, Any] = {
    "grid": {"bounds": [0, 0, 96000, 64000], "block": 128},
    "roles": {"velocity": FLOW},
    "conditions": ["surface", "velocity"],
    "split": {"by": {"args": {"size": 16000, "period": 5}}, "buffer": 6000},
    "tiles": {"size": 4, "stride": 2, "context": 2},
    "methods": {"net": NET},
    "products": ["net"],
    "infer": {"window": 24, "feather": 2},
}


def prepared(folder: Path, shift: float = 0.0) -> Results:
    """A world up to its tiles, its bed raised in the test region, and with gaps."""
    results = small.tree(folder, **WORLD)
    rows, cols = results.recipe.layout.shape
    held = labels(results, Window(0, rows, 0, cols)) == TEST
    for role, ratio in (("target", 4), ("surface", 4), ("velocity", 2)):
        box, world = results.recipe.layout.geobox(ratio), World(0)
        xs, ys = box.coordinates["x"].values, box.coordinates["y"].values
        names = [v.name for v in results.role(role).layout.variables]
        fields = {name: world.evaluate(name, xs, ys).astype(np.float32) for name in names}
        if role == "target":
            fields["bed"][held.repeat(4, 0).repeat(4, 1)] += shift
            fields["bed"][40:52, 100:131] = np.nan
            fields["bed"][:, 200:202] = np.nan
        product = results.role(role).create()
        for block in results.recipe.layout.blocks():
            part = block.core.at(ratio).slices
            product.write(block, {name: field[part] for name, field in fields.items()})
    for block in results.recipe.layout.blocks():
        degrade(results, block)
    tile(results)
    return results


def whole(results: Results, variable: str = "bed") -> Field:
    rows, cols = results.recipe.layout.shape
    return results.mosaic("net").read(variable, Window(0, rows, 0, cols))


def mapped(results: Results) -> Field:
    for block in results.recipe.layout.blocks():
        for member in range(results.recipe.members("net")):
            infer(results, "net", member, block)
        manifest = mosaic(results, "net", block).to_dict()
        write_json(results.manifest("mosaic/net", block.name), manifest)
    return whole(results)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The world, trained on and mapped."""
    made = prepared(tmp_path_factory.mktemp("faults"))
    for member in range(2):
        manifest = train(made, "net", member, key="k")
        write_json(made.train("net", member) / "manifest.json", manifest)
    mapped(made)
    return made


@pytest.fixture
def published(results: Results) -> tuple[Path, dict[str, Any]]:
    """The product of the world and its record."""
    files = [{"name": "world", "bytes": 1, "sha256": "0" * 64}]
    write_json(results.root / "download" / "world.json", {"source": "world", "files": files})
    path = results.folder / "publish" / "net.tif"
    return path, publish(results, "net")


def test_fault_1_the_generator_learns_from_the_critic_alone(tmp_path: Path) -> None:
    task = {"op": "adversarial", "args": {"critic": "tiny:Critic", "weight": 1.0}}
    nothing = [{"op": "l1", "weight": 0.0}]
    given = tiny.world(tmp_path, tiny.recipe(task=task, losses=nothing, samples=8))
    torch.manual_seed(3)
    before = tiny.built(given).state_dict()
    train(given, "net", 0, key="k")
    after = load(given.train("net", 0) / "last.pt").weights["network"]
    for name in ("first.weight", "last.weight"):
        assert not torch.equal(before[name], after[name]), name


@pytest.mark.parametrize(("rows", "cols"), [(16, 24), (13, 19)])
def test_fault_2_nothing_is_shifted_and_no_border_is_empty(
    tmp_path: Path, rows: int, cols: int
) -> None:
    field = test_infer.random_field((rows * 4, cols * 4))
    bounds = {"grid": {"bounds": [0, 0, cols * 1000, rows * 1000]}}
    identity = test_infer.prepared(tmp_path, field, **test_infer.IDENTITY, **bounds)
    np.testing.assert_array_equal(test_infer.mapped(identity), field)


def test_fault_3_velocity_is_the_same_in_training_and_inference(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(results.folder, tmp_path / "small")
    tiles = Tiles.open(results, "net", TRAIN, Chunks())
    recipe, transform = results.recipe, tiles.inputs.statistics.transforms["velocity"]
    block, negative = recipe.layout.at(0, 0), []

    def compared(
        network: Network, prepare: Prepare, lattice: Lattice, core: Window, *_: int
    ) -> Field:
        for position, (row, col) in enumerate(tiles.corners.tolist()):
            window = Window(row, row + 4, col, col + 4).pad(2)
            if window.common(core) == window:
                seen = prepare(window)["velocity"]
                np.testing.assert_array_equal(seen, tiles.read(position).inputs["velocity"])
                given = results.role("velocity").read_all(window)
                np.testing.assert_allclose(transform.invert(seen), given, rtol=1e-4, atol=1e-3)
                negative.append((given < 0).sum())
        return np.zeros((1, *core.at(4).shape), np.float32)

    monkeypatch.setattr(infer_stage, "predict", compared)
    infer(Results(recipe, tmp_path), "net", 0, block)
    assert sum(negative) > 100


HEIGHTS = {**small.SOURCE, "vertical_datum": "ellipsoid"}


def test_fault_4_heights_above_another_datum_are_refused(tmp_path: Path) -> None:
    surface = {"source": "rema", "variables": ["surface"]}
    mixed = small.tree(tmp_path, sources={"rema": HEIGHTS}, roles={"surface": surface})
    with pytest.raises(DataError, match="above ellipsoid, those of the product above geoid"):
        reproject(mixed, "surface", mixed.recipe.layout.at(0, 0), tmp_path)


def test_fault_4_picks_above_another_datum_are_refused() -> None:
    picks = {"source": "radar", "variable": "bed"}
    with pytest.raises(ValidationError, match="picks: bed is above 'ellipsoid'"):
        small.recipe(sources={"radar": HEIGHTS}, picks=picks)


def test_fault_4_a_height_without_a_datum_is_refused() -> None:
    with pytest.raises(ValidationError, match="vertical_datum is not given"):
        small.recipe(target={"vertical_datum": None})
    with pytest.raises(ValidationError, match="vertical_datum is not given"):
        small.recipe(sources={"world": {"vertical_datum": None}})


def test_fault_5_splits_are_apart_and_validation_is_not_test(results: Results) -> None:
    report = read_json(results.tiles / "overlap.json")
    assert set(report["gaps"]) == {"training-validation", "training-test", "validation-test"}
    for pair in report["gaps"].values():
        assert pair["targets"] >= 6
        assert pair["inputs"] >= 0
    _, halo, _ = load_network(results, "net", 0)
    assert halo * 1000 <= results.recipe.split.buffer
    assert min(report["tiles"].values()) > 0


def test_fault_5_a_network_that_sees_across_the_buffer_is_refused(tmp_path: Path) -> None:
    made = tiny.world(tmp_path, tiny.recipe(buffer=500))
    with pytest.raises(ConfigError, match=r"set split\.buffer to"):
        train(made, "net", 0, key="k")


def test_fault_6_test_tiles_are_never_read_in_training(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows: list[Window] = []
    read = Chunks.read

    def spy(self: Chunks, product: Any, window: Window) -> NDArray[np.float32]:
        windows.append(window)
        return read(self, product, window)

    monkeypatch.setattr(Chunks, "read", spy)
    shutil.copytree(results.folder, tmp_path / "small", ignore=shutil.ignore_patterns("train"))
    train(Results(results.recipe, tmp_path), "net", 0, key="k")
    index = pd.read_parquet(results.tiles / "tiles.parquet")
    size = results.recipe.tiles.size
    cores = {
        split: [Window(r, r + size, c, c + size) for r, c in zip(t["row"], t["col"], strict=True)]
        for split, t in index.groupby("split")
    }
    assert any(w.meets(core) for w in windows for core in cores[VALIDATION])
    assert not any(w.meets(core) for w in windows for core in cores[TEST])


def test_fault_6_another_test_region_gives_the_same_model(results: Results, tmp_path: Path) -> None:
    other = prepared(tmp_path, shift=700.0)
    assert train(other, "net", 0, key="k") == read_json(results.train("net", 0) / "manifest.json")


def test_fault_6_the_checkpoint_is_the_best_on_validation_tiles(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, judged = iter([30.0, 10.0, 20.0, 40.0]), []

    def validated(run: Run, network: Network) -> float:
        judged.append(run.checks.corners)
        return next(found)

    monkeypatch.setattr("nunatak.learn.loop.validated", validated)
    shutil.copytree(results.folder, tmp_path / "small", ignore=shutil.ignore_patterns("train"))
    raw = results.recipe.model_dump()
    raw["methods"]["net"]["train"]["validate_every"] = 24
    recipe = type(results.recipe).model_validate(raw)
    made = Results(recipe, tmp_path)
    manifest = train(made, "net", 0, key="k")
    assert (manifest["best_rmse"], manifest["best_samples"]) == (10.0, 48)
    assert load(made.train("net", 0) / "best.pt").samples_seen == 48
    index = pd.read_parquet(results.tiles / "tiles.parquet")
    expected = index[index["split"] == VALIDATION][["row", "col"]].to_numpy()
    for corners in judged:
        np.testing.assert_array_equal(corners, expected)


def test_fault_7_nodata_that_is_a_height_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"mosaic\.nodata -2000 is a valid value"):
        small.recipe(mosaic={"nodata": -2000})


def test_fault_7_heights_are_neither_truncated_nor_taken_for_missing(tmp_path: Path) -> None:
    field = test_infer.random_field((64, 96))
    field[5, 5], field[6, 6], field[7, 7] = -2000, -0.75, 1234.567
    made = test_infer.prepared(tmp_path, field, **test_infer.IDENTITY)
    test_infer.mapped(made)
    test_infer.write_cog(made.mosaic("identity"), tmp_path / "a.tif", -9999, {})
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.dtypes == ("float32",)
        band = file.read(1, masked=True)
    assert not band.mask.any()
    np.testing.assert_array_equal(band.data, field)


def relaid(results: Results, folder: Path, block: int, window: int) -> Results:
    """The same fields and weights, cut into other blocks and windows."""
    raw = results.recipe.model_dump()
    raw["grid"]["block"], raw["infer"]["window"] = block, window
    other = Results(type(results.recipe).model_validate(raw), folder)
    rows, cols = results.recipe.layout.shape
    products = [("coarse", results.coarse, other.coarse)]
    products += [(r, results.role(r), other.role(r)) for r in ("surface", "velocity")]
    for _, given, product in products:
        names = [v.name for v in given.layout.variables]
        fields = {name: given.read(name, Window(0, rows, 0, cols)) for name in names}
        product.create()
        for b in other.recipe.layout.blocks():
            part = b.core.at(given.layout.ratio).slices
            product.write(b, {name: field[part] for name, field in fields.items()})
    for name in ("tile", "train"):
        shutil.copytree(results.folder / name, other.folder / name)
    return other


def detail(results: Results) -> float:
    """SD of the product about its coarse field, which is all that a network adds."""
    rows, cols = results.recipe.layout.shape
    coarse = results.coarse.read("bed", Window(0, rows, 0, cols))
    return float(np.nanstd(whole(results) - repeat(coarse, 4)))


@pytest.mark.parametrize(("block", "window"), [(96, 24), (176, 24), (128, 10), (400, 100)])
def test_fault_8_neither_block_nor_window_leaves_a_trace(
    results: Results, tmp_path: Path, block: int, window: int
) -> None:
    expected = whole(results)
    found = mapped(relaid(results, tmp_path, block, window))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(abs(found - expected)) < 0.02 * detail(results)


def test_fault_8_with_a_halo_that_is_too_small_there_are_traces(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        infer_stage, "load_network", lambda *a: (load_network(*a)[0], 0, load_network(*a)[2])
    )
    found = mapped(relaid(results, tmp_path, 96, 10))
    assert np.nanmax(abs(found - whole(results))) > 0.2 * detail(results)


def test_fault_8_a_halo_that_leaves_the_blocks_around_is_refused(
    results: Results, tmp_path: Path
) -> None:
    _, halo, _ = load_network(results, "net", 0)
    narrow = relaid(results, tmp_path, 4 * (halo + 1), 24)
    with pytest.raises(DataError, match=r"use a larger grid\.block"):
        infer(narrow, "net", 0, narrow.recipe.layout.at(3, 3))


def test_fault_8_the_halo_that_is_read_is_the_measured_receptive_field(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, halo, _ = load_network(results, "net", 1)
    assert halo >= measured(network, network.spec, energy=results.recipe.infer.energy) > 0
    windows: list[Window] = []
    read = Inputs.read

    def spy(self: Inputs, window: Window, *how: Any) -> dict[str, Field]:
        windows.append(window)
        return read(self, window, *how)

    monkeypatch.setattr(Inputs, "read", spy)
    block = results.recipe.layout.at(0, 1)
    infer(results, "net", 1, block)
    assert min(w.left for w in windows) == block.core.left - halo
    assert max(w.bottom for w in windows) == block.core.bottom + halo


def test_fault_9_tiles_with_gaps_are_learnt_from_where_they_hold_truth(results: Results) -> None:
    index = pd.read_parquet(results.tiles / "tiles.parquet")
    assert ((index["valid"] > 0) & (index["valid"] < 1) & (index["split"] == TRAIN)).any()
    tiles = Tiles.open(results, "net", TRAIN, Chunks())
    partial = np.flatnonzero(index[index["split"] == TRAIN]["valid"] < 1)[0]
    sample = tiles.read(int(partial))
    row, col = (int(n) for n in tiles.corners[partial])
    truth = results.role("target").read("bed", Window(row, row + 4, col, col + 4))
    np.testing.assert_array_equal(sample.mask[0], np.isfinite(truth))
    prediction = torch.from_numpy(sample.target)[None].requires_grad_()
    mask = torch.from_numpy(sample.mask)[None]
    l1(prediction, torch.full_like(prediction, 7.0), mask, {}).backward()
    assert prediction.grad is not None
    assert bool((prediction.grad[~mask] == 0).all())
    assert bool((prediction.grad[mask] != 0).all())


def test_fault_9_a_turned_tile_has_its_velocity_turned(results: Results) -> None:
    tiles = Tiles.open(results, "net", TRAIN, Chunks())
    transform = tiles.inputs.statistics.transforms["velocity"]
    inside = int(
        np.flatnonzero((tiles.corners > 4).all(axis=1) & (tiles.corners < 50).all(axis=1))[0]
    )
    plain, turned = (transform.invert(tiles.read(inside, s).inputs["velocity"]) for s in (0, 1))
    (vx, vy), (east, north) = np.rot90(plain, axes=(1, 2)), turned
    np.testing.assert_allclose(east, -vy, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(north, vx, rtol=1e-4, atol=1e-2)


def test_fault_9_inputs_are_normalised_on_training_tiles(results: Results) -> None:
    tiles = Tiles.open(results, "net", TRAIN, Chunks())
    seen = np.stack([tiles.read(i).inputs["velocity"][:, 4:-4, 4:-4] for i in range(len(tiles))])
    np.testing.assert_allclose(seen.mean(axis=(0, 2, 3)), 0, atol=0.1)
    np.testing.assert_allclose(seen.std(axis=(0, 2, 3)), 1, atol=0.1)


def test_fault_10_the_product_says_where_it_is_from(
    results: Results, published: tuple[Path, dict[str, Any]]
) -> None:
    path, record = published
    assert record["sources"]["world"]["files"][0]["sha256"] == "0" * 64
    assert record["sources"]["world"]["licence"] == "MIT"
    assert [m["samples"] for m in record["models"]] == [96, 96]
    assert len({m["model"] for m in record["models"]}) == 2
    assert set(record["code"]) == {"version", "digest"}
    assert set(record["recipe"]["methods"]) == {"net"}
    assert str(results.root) not in str(record)
    with rasterio.open(path) as file:
        assert file.tags()["CONTENT"] == record["content"]
        assert file.tags()["VERTICAL_DATUM"] == "geoid:synthetic"
        assert file.tags(1)["vertical_datum"] == "geoid:synthetic"


def test_fault_10_the_product_tells_its_spread_and_what_is_missing(
    results: Results, published: tuple[Path, dict[str, Any]]
) -> None:
    with rasterio.open(published[0]) as file:
        bed, spread = file.read(masked=True)
        assert file.descriptions[1] == "standard deviation of bed topography over members"
        assert file.units == ("m", "m")
    coarse = results.coarse.read("bed", Window(0, 64, 0, 96))
    np.testing.assert_array_equal(bed.mask, np.isnan(repeat(coarse, 4)))
    assert bed.mask.any()
    members = [results.member("net", m).read("bed", Window(0, 64, 0, 96)) for m in range(2)]
    np.testing.assert_allclose(
        spread.filled(np.nan), abs(members[0] - members[1]) / 2**0.5, rtol=1e-3, atol=1e-3
    )
    assert spread.max() > 0


def test_fault_10_no_bed_is_above_its_surface(results: Results, tmp_path: Path) -> None:
    low = relaid(results, tmp_path, 128, 24)
    shape = results.recipe.layout.fine.shape
    unheld = whole(results)
    small.fill(low, "surface", np.full(shape, np.nanmedian(unheld)))
    for block in low.recipe.layout.blocks():
        for member in range(2):
            given = results.member("net", member).read("bed", block.core)
            low.member("net", member).create().write(block, {"bed": given})
        mosaic(low, "net", block)
    assert (unheld > np.nanmedian(unheld)).any()
    assert np.nanmax(whole(low)) <= np.nanmedian(unheld)
