"""What real files are like: each is handled or refused, from the file to the store."""

from __future__ import annotations

import ast
import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import tiny
import torch
import xarray as xr
import zarr
from affine import Affine
from blake3 import blake3
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from tests import small
from tests.servers import Page, Server, http

from nunatak.config import merge, save
from nunatak.content import Manifest
from nunatak.errors import ConfigError, DataError, SourceError, StoreError
from nunatak.grid import Window
from nunatak.learn.checkpoint import load, load_network
from nunatak.products import Results
from nunatak.provenance import read_json, write_json
from nunatak.source import Source
from nunatak.sources import transport
from nunatak.stages.degrade import degrade
from nunatak.stages.download import fetched
from nunatak.stages.infer import infer
from nunatak.stages.publish import publish
from nunatak.stages.reproject import reproject
from nunatak.stages.tile import tile
from nunatak.stages.train import train

SRC = Path(__file__).resolve().parents[2] / "src" / "nunatak"
PLAIN = "+proj=stere +lat_0=-90 +lat_ts=-71 +lon_0=0 +ellps=WGS84 +units=m"
BED = {"units": "m", "standard_name": "bedrock_altitude"}
BOX = GeoBox((64, 96), Affine(250, 0, 0, 0, -250, 16000), "EPSG:3031")
Field = NDArray[np.float32]


def relief(shape: tuple[int, int] = BOX.shape) -> Field:
    return np.random.default_rng(0).normal(-500, 300, shape).astype(np.float32)


def tiff(path: Path, field: Field, affine: Affine = BOX.affine, **options: Any) -> Path:
    profile = {"driver": "GTiff", "crs": "EPSG:3031", "dtype": "float32", "count": 1, **options}
    shape = {"height": field.shape[0], "width": field.shape[1]}
    with rasterio.open(path, "w", transform=affine, **shape, **profile) as file:
        file.write(field, 1)
    return path


def netcdf(path: Path, field: Field, y: NDArray[Any], x: NDArray[Any], units: str = "m") -> Path:
    names = ("lat", "lon") if units.startswith("deg") else ("y", "x")
    coordinates = {n: (n, v, {"units": units}) for n, v in zip(names, (y, x), strict=True)}
    xr.Dataset({"bed": (names, field)}, coordinates).to_netcdf(path)
    return path


def tree(folder: Path, path: Path, crs: str = "EPSG:3031", **change: Any) -> Results:
    """A recipe whose only source is a file."""
    op = {".tif": "raster", ".nc": "netcdf"}[path.suffix]
    entry = {
        "reader": {"op": op, "args": None},
        "files": [{"url": f"file:{path.name}"}],
        "variables": {**dict.fromkeys(small.SOURCE["variables"]), "bed": BED},
        "crs": crs,
    }
    given = {"roles": {"surface": None}, "conditions": [], "sources": {"world": entry}}
    return small.tree(folder / "results", **merge(given, change))


def warped(results: Results, data: Path) -> tuple[Field, dict[str, Manifest]]:
    """Reproject every block of the target; the whole field, and the manifests."""
    blocks = list(results.recipe.layout.blocks())
    manifests = {b.name: reproject(results, "target", b, data) for b in blocks}
    rows, cols = results.recipe.layout.shape
    return results.role("target").read("bed", Window(0, rows, 0, cols)), manifests


def test_islands_of_nan_and_of_nodata_stay_where_they_are(tmp_path: Path) -> None:
    field = relief()
    field[10:15, 20:33] = np.nan
    field[40, 50] = np.nan
    written = field.copy()
    written[60:62, 5:9] = -9999
    field[60:62, 5:9] = np.nan
    results = tree(tmp_path, tiff(tmp_path / "a.tif", written, nodata=-9999))
    found, manifests = warped(results, tmp_path)
    np.testing.assert_array_equal(found, field)
    valid = sum(m.variables["bed"].valid for m in manifests.values())
    assert valid == np.isfinite(field).sum()


def test_a_block_of_nothing_is_written_and_counted_as_nothing(tmp_path: Path) -> None:
    field = relief()
    field[:32, :32] = np.nan
    results = tree(tmp_path, tiff(tmp_path / "a.tif", field))
    found, manifests = warped(results, tmp_path)
    np.testing.assert_array_equal(found, field)
    content = manifests["0_0"].variables["bed"]
    assert (content.valid, content.cells, content.minimum) == (0, 1024, None)
    for block in results.recipe.layout.blocks():
        degrade(results, block)
    rows, cols = results.recipe.layout.shape
    coarse = results.coarse.read("bed", Window(0, rows, 0, cols))
    assert np.isnan(coarse[:8, :8]).all()
    assert np.isfinite(coarse).sum() == coarse.size - 64


def test_a_source_that_covers_a_part_leaves_the_rest_missing(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", relief()[:, :50])
    found, _ = warped(tree(tmp_path, path), tmp_path)
    np.testing.assert_array_equal(found[:, :50], relief()[:, :50])
    assert np.isnan(found[:, 50:]).all()


def test_a_source_that_covers_nothing_is_refused_with_both_extents(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", relief(), Affine(250, 0, 900_000, 0, -250, 16000))
    with pytest.raises(DataError, match=r"\(900000, 0, 924000, 16000\)(.|\n)*\(0, 0, 24000, 160"):
        warped(tree(tmp_path, path), tmp_path)


def test_a_crs_without_an_authority_code_is_the_same_as_with_one(tmp_path: Path) -> None:
    results = tree(tmp_path, tiff(tmp_path / "a.tif", relief(), crs=PLAIN))
    np.testing.assert_array_equal(warped(results, tmp_path)[0], relief())


def test_a_crs_without_an_authority_code_goes_from_file_to_product(tmp_path: Path) -> None:
    own = PLAIN.replace("lon_0=0", "lon_0=17")
    results = tree(tmp_path, tiff(tmp_path / "a.tif", relief(), crs=own), own, grid={"crs": own})
    found, _ = warped(results, tmp_path)
    np.testing.assert_array_equal(found, relief())
    with xr.open_zarr(results.role("target").path, consolidated=False) as data:
        assert data["spatial_ref"].attrs["grid_mapping_name"] == "polar_stereographic"
    for block in results.recipe.layout.blocks():
        part = relief()[block.core.at(4).slices]
        manifest = results.mosaic("bicubic").create().write(block, {"bed": part})
        path = results.manifest("mosaic/bicubic", block.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, manifest.to_dict())
    (results.root / "download").mkdir()
    (results.root / "download" / "world.json").write_text('{"source": "world", "files": []}')
    publish(results, "bicubic")
    with rasterio.open(results.folder / "publish" / "bicubic.tif") as file:
        assert file.crs.to_epsg() is None
        assert file.crs.to_dict()["lon_0"] == 17
        np.testing.assert_array_equal(file.read(1), relief())


Y, X = 15875 - 250 * np.arange(64.0), 125 + 250 * np.arange(96.0)


@pytest.mark.parametrize("factor", [1, 1000])
@pytest.mark.parametrize("turned", [False, True])
def test_kilometres_and_rows_from_either_side_give_the_same_field(
    tmp_path: Path, factor: int, turned: bool
) -> None:
    units = {1: "m", 1000: "km"}[factor]
    step = -1 if turned else 1
    path = netcdf(tmp_path / "a.nc", relief()[::step], Y[::step] / factor, X / factor, units)
    found, _ = warped(tree(tmp_path, path), tmp_path)
    np.testing.assert_array_equal(found, relief())


def test_kilometres_that_say_nothing_are_refused_and_can_be_declared(tmp_path: Path) -> None:
    path = netcdf(tmp_path / "a.nc", relief(), Y / 1000, X / 1000, "")
    sea = {"grid": {"bounds": [400_000, 0, 424_000, 16000]}}
    with pytest.raises(DataError, match="covers nothing of the domain"):
        warped(tree(tmp_path, path, **sea), tmp_path)
    declared = tree(tmp_path, path)
    reader = {"op": "netcdf", "args": {"coordinate_units": "km"}}
    raw = declared.recipe.model_dump()
    raw["sources"]["world"]["reader"] = reader
    results = Results(type(declared.recipe).model_validate(raw), tmp_path / "declared")
    np.testing.assert_array_equal(warped(results, tmp_path)[0], relief())


def on_earth(lat: NDArray[Any], lon: NDArray[Any]) -> Field:
    """A field that has no seam and no trouble at the pole."""
    x, y = Transformer.from_crs(4326, 3031, always_xy=True).transform(lon, lat)
    return ((np.asarray(x) - 2 * np.asarray(y)) / 1000).astype(np.float32)


@pytest.mark.parametrize("west", [-180.0, 0.0])
@pytest.mark.parametrize("ascending", [False, True])
def test_longitudes_of_either_convention_and_latitudes_either_way_round(
    tmp_path: Path, west: float, ascending: bool
) -> None:
    lat, lon = -90 + 0.1 * np.arange(0.5, 100), west + 0.5 * np.arange(0.5, 720)
    lat = lat if ascending else lat[::-1]
    field = on_earth(*np.meshgrid(lat, lon, indexing="ij"))
    path = netcdf(tmp_path / "a.nc", field, lat, lon, "degrees")
    # Across both meridians, 0 and 180, where one of the two conventions has its seam.
    for south in (300_000, -500_000):
        grid = {"bounds": [-100_000, south, 100_000, south + 200_000], "resolution": 5000}
        given = {"grid": {**grid, "block": 20}, "roles": {"target": {"resolution": 5000}}}
        results = tree(tmp_path / str(south), path, "EPSG:4326", **given)
        found, _ = warped(results, tmp_path)
        box = results.recipe.layout.fine
        x, y = np.meshgrid(box.coordinates["x"].values, box.coordinates["y"].values)
        np.testing.assert_allclose(found, (x - 2 * y) / 1000, atol=0.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split": {"buffer": 90000}}, "no tile for training and validation (.|\n)*smaller"),
        (
            {"split": {"by": {"args": {"size": 1e6}}}},
            "no tile for training and validation (.|\n)*smaller",
        ),
    ],
)
def test_an_empty_split_is_refused_before_training(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    results = tree(tmp_path, tiff(tmp_path / "a.tif", relief()), **change)
    warped(results, tmp_path)
    for block in results.recipe.layout.blocks():
        degrade(results, block)
    with pytest.raises(DataError, match=said):
        tile(results)


# Downloads


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transport, "TIMEOUT", 2.0)
    with http({}) as server:
        yield server


def remote(url: str, member: str | None = None) -> Source:
    entry = {**small.SOURCE, "files": [{"url": url, "member": member}]}
    return Source.model_validate(entry)


PAGES = {
    "nothing": Page(b""),
    "a page": Page(b"<!DOCTYPE html><p>Please log in", headers={"Content-Type": "text/html"}),
    "a page that says it is data": Page(b"\n<html><body>404"),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_nothing_or_a_web_page_instead_of_data_is_refused_and_not_kept(
    site: Server, tmp_path: Path, page: Page
) -> None:
    site.pages["/bed.tif"] = page
    with pytest.raises(SourceError) as caught:
        fetched(remote(site.url("/bed.tif")), "world", tmp_path / "world", data_root=tmp_path)
    assert "/bed.tif" in caught.value.what
    assert caught.value.expected
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("member", ["../out.tif", "/tmp/out.tif", "a/../../out.tif"])
def test_a_member_that_leaves_its_folder_is_never_written(
    site: Server, tmp_path: Path, member: str
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(member, b"data")
    site.pages["/bed.zip"] = Page(packed.getvalue())
    folder = tmp_path / "a" / "b" / "world"
    with pytest.raises(SourceError):
        fetched(remote(site.url("/bed.zip"), member), "world", folder, data_root=tmp_path)
    assert not list(tmp_path.rglob("out.tif"))


def test_the_command_says_what_is_wrong_and_commits_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"<html>not a raster")
    results = tree(tmp_path, tmp_path / "a.tif")
    recipe = save(results.recipe, results.root)
    options = {
        **{"--recipe": recipe, "--results": results.root, "--data": tmp_path, "--role": "target"},
        **{"--block": "0_0"},
    }
    given = [str(part) for pair in options.items() for part in pair]
    run = subprocess.run(
        [sys.executable, "-m", "nunatak", "reproject", *given], capture_output=True, text=True
    )
    assert run.returncode == 1
    assert re.search(r"^error: .*a\.tif", run.stderr, re.MULTILINE)
    assert "expected: a raster that GDAL can read" in run.stderr
    assert "Traceback" not in run.stderr
    left = {path.suffix for path in results.root.rglob("*") if path.is_file()}
    assert left <= {"", ".costs", ".json", ".lock"}
    assert not results.manifest("reproject/target", "0_0").exists()


# Trainings


def test_a_training_on_tiles_that_changed_since_starts_anew(tmp_path: Path) -> None:
    results = tiny.world(tmp_path)
    train(results, "net", 0, key="k", stop_after=0)
    path = results.tiles / "statistics.json"
    write_json(path, {**read_json(path), "mean": 12.0})
    train(results, "net", 0, key="k")
    assert load(results.train("net", 0) / "best.pt").statistics["mean"] == 12.0
    load_network(results, "net", 0)


def test_a_network_with_weights_that_nothing_trains_is_refused(tmp_path: Path) -> None:
    results = tiny.world(tmp_path)
    raw = results.recipe.model_dump()
    raw["methods"]["net"]["train"] = None
    untrained = Results(type(results.recipe).model_validate(raw), tmp_path)
    with pytest.raises(ConfigError, match=r"methods\.net: the model has weights"):
        infer(untrained, "net", 0, untrained.recipe.layout.at(1, 1))


# Foreign pickles


class Foreign:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_a_foreign_checkpoint_is_refused_by_infer_and_not_run(tmp_path: Path) -> None:
    results = tiny.world(tmp_path)
    stream = io.BytesIO()
    torch.save({"key": Foreign(tmp_path / "ran")}, stream)
    path = results.train("net", 0) / "best.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(stream.getvalue() + blake3(stream.getvalue()).digest())
    with pytest.raises(StoreError, match="holds other things"):
        infer(results, "net", 0, results.recipe.layout.at(1, 1))
    assert not (tmp_path / "ran").exists()


def test_a_foreign_pickle_in_a_source_is_refused_and_not_run(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    for name, values in (("y", Y), ("x", X)):
        group.create_array(name, data=values).attrs["_ARRAY_DIMENSIONS"] = [name]
    bed = tmp_path / "a.zarr" / "bed"
    bed.mkdir()
    (bed / ".zarray").write_text(
        '{"zarr_format": 2, "shape": [64, 96], "chunks": [64, 96], "dtype": "|O",'
        ' "compressor": null, "fill_value": null, "order": "C", "filters": [{"id": "pickle"}]}'
    )
    (bed / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["y", "x"]}')
    (bed / "0.0").write_bytes(pickle.dumps(Foreign(tmp_path / "ran")))
    entry = {"reader": {"op": "zarr", "args": None}, "files": [{"url": "file:a.zarr"}]}
    bare = tree(tmp_path, tmp_path / "a.nc")
    raw = bare.recipe.model_dump()
    raw["sources"]["world"] = {**raw["sources"]["world"], **entry, "reader": {"op": "zarr"}}
    results = Results(type(bare.recipe).model_validate(raw), tmp_path / "results")
    with pytest.raises((SourceError, DataError)):
        reproject(results, "target", results.recipe.layout.at(0, 0), tmp_path)
    assert not (tmp_path / "ran").exists()


def test_the_index_of_tiles_holds_no_objects(tmp_path: Path) -> None:
    results = tiny.world(tmp_path)
    kinds = pq.read_schema(results.tiles / "tiles.parquet").types
    assert all(str(kind) in ("int32", "uint8", "float", "string", "large_string") for kind in kinds)


def test_nothing_in_the_package_loads_a_pickle() -> None:
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called, options = ast.unparse(node.func), {k.arg: k.value for k in node.keywords}
            assert called not in {"pickle.load", "pickle.loads", "pd.read_pickle", "joblib.load"}
            assert "allow_pickle" not in options, path
            if called == "torch.load":
                assert ast.unparse(options["weights_only"]) == "True", path
            if called == "yaml.load":
                assert ast.unparse(options["Loader"]) == "_Loader", path
