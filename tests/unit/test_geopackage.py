"""GeoPackages of dated fronts: what is in them, and that they say no more than is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from pyogrio.raw import read

from nunatak.errors import DataError
from nunatak.geopackage import DatedFront, layer, write_fronts

LINE = np.array([(0.0, 0.0), (300.0, 400.0)])
SHORT = np.array([(900.0, 0.0), (900.0, 7.0)])
FRONT = DatedFront(
    "a1",
    "north",
    date(2012, 5, 14),
    "TSX",
    "true",
    "EPSG:3031",
    [LINE + np.array([-2.4e6, 1.2e6]), SHORT],
)


def features(path: Path, name: str) -> tuple[list[dict[str, object]], list[shapely.Geometry]]:
    meta, _, geometry, fields = read(path, layer=name)
    rows = [dict(zip(meta["fields"], values, strict=True)) for values in zip(*fields, strict=True)]
    return rows, list(shapely.from_wkb(geometry))


def test_a_part_of_a_front_is_a_line_with_its_date(tmp_path: Path) -> None:
    path = tmp_path / "new" / "fronts.gpkg"
    early = replace(FRONT, scene="b", date=date(2009, 1, 2), source="unet", lines=[LINE])
    write_fronts(path, [FRONT, early])
    rows, lines = features(path, "fronts_epsg_3031")
    assert [row["scene"] for row in rows] == ["b", "a1", "a1"]
    assert [str(row["date"]) for row in rows] == ["2009-01-02", "2012-05-14", "2012-05-14"]
    assert [row["part"] for row in rows] == [0, 0, 1]
    assert [row["length"] for row in rows] == pytest.approx([500, 500, 7])
    assert {row["units"] for row in rows} == {"m"}
    assert {(row["group"], row["sensor"]) for row in rows} == {("north", "TSX")}
    np.testing.assert_allclose(shapely.get_coordinates(lines[0]), LINE)
    assert pyogrio.read_info(path, layer="fronts_epsg_3031")["crs"] == "EPSG:3031"
    assert [p.name for p in path.parent.iterdir()] == ["fronts.gpkg"]


def test_no_georeference_is_invented(tmp_path: Path) -> None:
    path = tmp_path / "fronts.gpkg"
    write_fronts(
        path, [FRONT, replace(FRONT, crs=None, scene="c"), replace(FRONT, crs="EPSG:32622")]
    )
    assert [name for name, _ in pyogrio.list_layers(path)] == [
        "fronts_no_crs",
        "fronts_epsg_3031",
        "fronts_epsg_32622",
    ]
    assert pyogrio.read_info(path, layer="fronts_no_crs")["crs"] is None
    rows, _ = features(path, "fronts_no_crs")
    assert [(row["scene"], row["units"]) for row in rows] == [("c", "cells")] * 2


def test_the_same_fronts_are_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    other = replace(FRONT, scene="a0", date=date(2011, 1, 1))
    for name, order in (("one", [FRONT, other]), ("two", [other, FRONT])):
        (tmp_path / name).mkdir()
        write_fronts(tmp_path / name / "fronts.gpkg", order)
    one, two = ((tmp_path / name / "fronts.gpkg").read_bytes() for name in ("one", "two"))
    assert one == two
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None


def test_scenes_without_a_front_make_no_feature(tmp_path: Path) -> None:
    write_fronts(tmp_path / "a.gpkg", [replace(FRONT, lines=[])])
    assert features(tmp_path / "a.gpkg", "fronts_epsg_3031") == ([], [])
    write_fronts(tmp_path / "b.gpkg", [])
    assert features(tmp_path / "b.gpkg", "fronts_no_crs") == ([], [])


def test_a_file_is_replaced_whole_and_one_that_fails_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "fronts.gpkg"
    write_fronts(path, [FRONT, replace(FRONT, crs=None)])
    write_fronts(path, [FRONT])
    assert [name for name, _ in pyogrio.list_layers(path)] == ["fronts_epsg_3031"]
    before = path.read_bytes()
    with pytest.raises(DataError, match="projected"):
        write_fronts(path, [FRONT, replace(FRONT, crs="EPSG:4326")])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_layers_are_named_after_their_crs() -> None:
    assert layer("EPSG:3031") == "fronts_epsg_3031"
    assert layer(None) == "fronts_no_crs"
    own = [f"+proj=stere +lat_0=-90 +lat_ts={lat} +lon_0=7 +type=crs" for lat in (-70, -72)]
    assert layer(own[0]).startswith("fronts_crs_")
    assert layer(own[0]) != layer(own[1])
