"""Tables of points become the same points, whatever campaign wrote them."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from nunatak.errors import ConfigError, DataError, SourceError
from nunatak.source import Source
from nunatak.sources.formula import Formula
from nunatak.sources.points import grid_points, open_points

BOX = GeoBox((40, 50), Affine(500, 0, -1_500_000, 0, -500, -300_000), "EPSG:3031")


def source(crs: str = "EPSG:3031", **variables: dict[str, Any]) -> Source:
    return Source.model_validate(
        {
            "title": "test",
            "files": [{"url": "file:test"}],
            "reader": {"op": "points", "args": {"columns": {}}},
            "variables": {k: {"units": "m"} | v for k, v in (variables or {"bed": {}}).items()},
            "crs": crs,
            "licence": "none",
        }
    )


def scatter(count: int, seed: int = 0) -> pd.DataFrame:
    """Points inside BOX, with a bed."""
    rng = np.random.default_rng(seed)
    left, bottom, right, top = BOX.boundingbox
    x, y = rng.uniform(left, right, count), rng.uniform(bottom, top, count)
    return pd.DataFrame({"x": x, "y": y, "bed": rng.normal(0, 500, count).round(2)})


def equal(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    np.testing.assert_allclose(found["x"], expected["x"], atol=0.2)
    np.testing.assert_allclose(found["y"], expected["y"], atol=0.2)
    np.testing.assert_allclose(found["bed"], expected["bed"], rtol=1e-6)


def test_cresis_geographic_points_and_a_formula(tmp_path: Path) -> None:
    truth = scatter(50)
    lon, lat = Transformer.from_crs(3031, 4326, always_xy=True).transform(truth["x"], truth["y"])
    bottom = 1000 + np.arange(50.0)
    table = {"LAT": lat, "LON": lon, "THICK": 2.0, "ELEVATION": truth["bed"] + bottom}
    pd.DataFrame({**table, "BOTTOM": bottom}).to_csv(tmp_path / "a.csv", index=False)
    points = open_points(
        tmp_path / "a.csv",
        source("EPSG:4326", bed={}, thickness={"name": "THICK"}),
        columns={"x": "LON", "y": "LAT"},
        formula={"bed": "ELEVATION - BOTTOM"},
    )
    found = points.within(BOX)
    equal(found, truth)
    assert set(found["thickness"]) == {2.0}


def test_rutford_tabs_after_twenty_lines_without_names(tmp_path: Path) -> None:
    truth, path = scatter(30), tmp_path / "bed.txt"
    rows = truth.to_csv(sep="\t", index=False, header=False)
    path.write_text("about, this\tfile\n" * 20 + rows)
    names = ["x", "y", "z"]
    bed = source(bed={"name": "z"})
    args: dict[str, Any] = {"separator": "\t", "skip": 20, "columns": {"x": "x", "y": "y"}}
    equal(open_points(path, bed, names=names, **args).within(BOX), truth)


def test_wise_isodyn_white_space_stars_and_a_zip_of_flights(tmp_path: Path) -> None:
    truth, path = scatter(30), tmp_path / "flights.zip"
    truth.loc[[3, 17], "bed"] = np.nan
    with zipfile.ZipFile(path, "w") as archive:
        for flight, rows in enumerate((truth[:10], truth[10:])):
            lines = [f"  F{flight}   L1  {x:.3f}   {y:.3f} {z:g}" for x, y, z in rows.to_numpy()]
            text = "header\n" * 11 + "\n".join(lines).replace("nan", "*") + "\n"
            archive.writestr(f"flight_{flight}.xyz", text)
    points = open_points(
        path,
        source(bed={"name": "Z"}),
        separator=r"\s+",
        skip=11,
        names=["FlightID", "Line", "X", "Y", "Z"],
        columns={"x": "X", "y": "Y"},
        na=["*"],
    )
    equal(points.within(BOX), truth.dropna())


def test_compressed_and_differently_encoded_text_is_read(tmp_path: Path) -> None:
    truth = scatter(10)
    text = truth.rename(columns={"bed": " bed (m, gemäß)"}).to_csv(index=False)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode("latin-1")))
    columns = {"x": "x", "y": "y", "bed": "bed (m, gemäß)"}
    text_source = open_points(
        tmp_path / "a.csv.gz", source(), columns=columns, separator=",", encoding="latin-1"
    )
    equal(text_source.within(BOX), truth)


@given(chunk=st.integers(1, 120))
def test_the_chunk_does_not_matter(tmp_path_factory: pytest.TempPathFactory, chunk: int) -> None:
    path = tmp_path_factory.getbasetemp() / "chunks.csv"
    truth = scatter(100)
    truth.to_csv(path, index=False)
    columns = {"x": "x", "y": "y"}
    equal(open_points(path, source(), columns=columns, chunk=chunk).within(BOX), truth)


def test_points_outside_are_left_out_and_edges_belong_to_one_cell(tmp_path: Path) -> None:
    left, bottom, right, top = BOX.boundingbox
    x, y = [left, right, left, left, left - 1], [top, top, bottom, bottom + 1, top - 1]
    pd.DataFrame({"x": x, "y": y, "bed": range(5)}).to_csv(tmp_path / "a.csv", index=False)
    points = open_points(tmp_path / "a.csv", source(), columns={"x": "x", "y": "y"})
    assert points.within(BOX)["bed"].tolist() == [0, 3]


def test_no_points_at_all_is_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y,bed\n")
    found = open_points(tmp_path / "a.csv", source(), columns={"x": "x", "y": "y"}).within(BOX)
    assert found.empty
    assert list(found) == ["x", "y", "bed"]


def test_units_range_and_nodata_apply_and_rows_without_values_go(tmp_path: Path) -> None:
    left, _, _, top = BOX.boundingbox
    rows = pd.DataFrame({"x": left + 1, "y": top - 1, "bed": [1.5, 99, -9, np.nan, 2]})
    rows.to_csv(tmp_path / "a.csv", index=False)
    kilometres = {"units": "km", "to": "m", "valid_range": [-10, 10], "nodata": -9}
    points = open_points(tmp_path / "a.csv", source(bed=kilometres), columns={"x": "x", "y": "y"})
    assert points.within(BOX)["bed"].tolist() == [1500, 2000]


def test_a_row_stays_if_one_of_its_variables_is_there(tmp_path: Path) -> None:
    left, _, _, top = BOX.boundingbox
    rows = pd.DataFrame({"x": left + 1, "y": top - 1, "bed": [1, 2], "sd": [np.nan, 3]})
    rows.to_csv(tmp_path / "a.csv", index=False)
    found = open_points(tmp_path / "a.csv", source(bed={}, sd={}), columns={"x": "x", "y": "y"})
    assert len(found.within(BOX)) == 2


def test_an_unknown_column_is_refused_with_those_in_the_file(tmp_path: Path) -> None:
    scatter(3).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(SourceError, match=r"no column LON(.|\n)*some of x, y, bed"):
        open_points(tmp_path / "a.csv", source(), columns={"x": "LON", "y": "y"})
    with pytest.raises(SourceError, match="no column top"):
        open_points(
            tmp_path / "a.csv", source(), columns={"x": "x", "y": "y"}, formula={"bed": "top - bed"}
        )
    with pytest.raises(ConfigError, match="columns lack y"):
        open_points(tmp_path / "a.csv", source(), columns={"x": "x"})
    with pytest.raises(SourceError, match="nowhere"):
        open_points(tmp_path / "nowhere.csv", source(), columns={"x": "x", "y": "y"})


def test_text_among_numbers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y,bed\n1,2,deep\n")
    points = open_points(tmp_path / "a.csv", source(), columns={"x": "x", "y": "y"})
    with pytest.raises(DataError, match=r"deep(.|\n)*list words for missing in na"):
        points.within(BOX)


@given(a=st.floats(-1e6, 1e6), b=st.floats(1, 1e6))
def test_a_formula_is_arithmetic(a: float, b: float) -> None:
    table = {"a": np.array([a]), "b": np.array([b])}
    for text in ("a - b", "-(a + 2) * b / 4 - +b", " a "):
        assert Formula(text)(table)[0] == eval(text.strip(), {}, {"a": a, "b": b})


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "a.real",
        "a[0]",
        "a ** 9",
        "a if b else c",
        "lambda: a",
        "'a'",
        "True",
        "a < b",
        "a; b",
        "",
        "a, b",
        "(a := 1)",
        "(" * 500,
        "a @ b",
        "f'{a}'",
    ],
)
def test_a_formula_is_nothing_but_arithmetic(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        Formula(text)


@given(count=st.integers(0, 200), seed=st.integers(0, 9), how=st.sampled_from(["median", "mean"]))
def test_a_cell_is_the_reduction_of_its_points(count: int, seed: int, how: str) -> None:
    small = GeoBox((4, 5), BOX.affine * Affine.scale(10), "EPSG:3031")
    frame = scatter(count, seed)
    field, number = grid_points(frame, "bed", small, how)
    col, row = ~small.affine * (frame["x"].to_numpy(), frame["y"].to_numpy())
    for i, j in np.ndindex(4, 5):
        here = frame["bed"][(row.astype(int) == i) & (col.astype(int) == j)]
        assert number[i, j] == len(here)
        expected = getattr(here, how)() if len(here) else np.nan
        np.testing.assert_allclose(field[i, j], expected, rtol=1e-5, atol=1e-4)


def test_missing_values_and_far_points_do_not_count() -> None:
    left, _, _, top = BOX.boundingbox
    rows = {"x": [left + 1, left + 2, left - 9], "y": top - 1, "bed": [np.nan, 5.0, 7.0]}
    field, number = grid_points(pd.DataFrame(rows), "bed", BOX)
    assert number.sum() == 1
    assert field[0, 0] == 5
    with pytest.raises(DataError, match="mode"):
        grid_points(pd.DataFrame(rows), "bed", BOX, "mode")


def test_real_picks_fall_on_their_cells(shared_data: Path) -> None:
    folder = shared_data / "bed" / "byrd_500m"
    points = open_points(
        folder / "byrd_bedmap_points_assigned_to_pixels_mean.csv",
        source(thickness={"name": "t_mean", "valid_range": [0, 5000]}, sd={"name": "t_std"}),
        columns={"x": "x", "y": "y"},
        chunk=10_000,
    )
    byrd = GeoBox((400, 400), Affine(500, 0, 349_750, 0, -500, -800_250), "EPSG:3031")
    field, number = grid_points(points.within(byrd), "thickness", byrd)
    assert number.max() == 1
    assert number.sum() == 26_915
    assert 1500 < np.nanmean(field) < 1700
