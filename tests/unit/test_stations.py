"""Stations: points with a calendar of their own, from text and floats; what scenes see of them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from tests import scenes

from nunatak.errors import ConfigError, DataError, SourceError
from nunatak.grid import Window
from nunatak.jobs import run
from nunatak.products import Results
from nunatak.provenance import write_json
from nunatak.recipe import Recipe
from nunatak.scene import Scene
from nunatak.source import Source
from nunatak.sources.argo import open_argo, profiles
from nunatak.sources.ocean_series import open_station_series
from nunatak.sources.raster import Album, Sampler
from nunatak.sources.station_csv import open_station_csv
from nunatak.sources.stations import COLUMNS, StationAlbum, Stations
from nunatak.stages.reproject import reproject
from nunatak.stages.scan import scan
from nunatak.tracking.steps import Step
from nunatak.tracking.tracker import Tracker

BASIC = {"date": "date", "station": "id", "lon": "lon", "lat": "lat"}


def described(**variables: Any) -> Source:
    given = variables or {"sst": {"units": "degC"}}
    return Source.model_validate(
        {
            "title": "made for a test",
            "files": [{"url": "file:buoys.csv"}],
            "reader": {"op": "station_csv", "args": {"columns": BASIC}},
            "variables": given,
            "licence": "MIT",
        }
    )


def table(*rows: tuple[str, str, float, float, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.assign(date=pd.to_datetime(frame["date"]))


def album(frame: pd.DataFrame, days: int = 0, **variables: Any) -> StationAlbum:
    return StationAlbum(described(**variables), lambda name: frame, days)


def box(left: float, bottom: float, cells: int = 10, step: float = 1.0) -> GeoBox:
    top = bottom + cells * step
    return GeoBox((cells, cells), Affine(step, 0, left, 0, -step, top), "EPSG:4326")


def scene(day: str, left: float = 125.0, bottom: float = 30.0, **change: Any) -> Scene:
    bounds = (left, bottom, left + 10, bottom + 10)
    known = {"group": "korea", "date": day, "shape": (10, 10), "crs": "EPSG:4326", "bounds": bounds}
    return Scene.model_validate({**known, **change})


DAY = np.datetime64("2016-08-01")
ROWS = (
    ("a", "2016-08-01", 129.5, 35.5, 20.0),
    ("b", "2016-08-01", 129.6, 35.4, 22.0),
    ("c", "2016-08-03", 127.5, 33.5, 25.0),
    ("c", "2016-07-30", 127.5, 33.5, 27.0),
)


def test_a_field_of_stations_holds_their_mean_in_their_cell_and_nothing_elsewhere() -> None:
    sampler = album(table(*ROWS)).raster("any", scene("2016-08-01"))
    assert isinstance(sampler, Sampler)
    field = sampler.sample("sst", scene("2016-08-01").geobox)
    assert field.dtype == np.float32
    assert np.argwhere(np.isfinite(field)).tolist() == [[4, 4]]
    assert field[4, 4] == 21


def test_an_album_of_stations_tells_no_scene_and_has_something_of_all() -> None:
    stations = album(table(*ROWS))
    assert isinstance(stations, Album)
    assert stations.scenes() == {}
    assert stations.holds(scene("1950-01-01"))
    field = stations.raster("any", scene("1950-01-01")).sample("sst", box(125, 30))
    assert np.isnan(field).all(), "a day without a station is missing"


def test_the_nearest_measurement_in_time_counts_and_of_two_the_earlier() -> None:
    found = Stations(table(*ROWS)).near(DAY, 2).table.set_index("station")["value"]
    assert found.to_dict() == {"a": 20, "b": 22, "c": 27}
    assert set(Stations(table(*ROWS)).near(DAY, 1).table["station"]) == {"a", "b"}
    later = Stations(table(*ROWS)).near(np.datetime64("2016-08-02"), 1).table
    assert later.set_index("station")["value"].to_dict() == {"a": 20, "b": 22, "c": 25}


@given(
    days=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    at=st.integers(0, 40),
    within=st.integers(0, 10),
)
def test_the_nearest_are_those_that_a_search_by_hand_finds(
    days: list[int], at: int, within: int
) -> None:
    start = dt.date(2016, 1, 1)
    rows = [(f"s{i % 3}", str(start + dt.timedelta(d)), 0.0, 0.0, d) for i, d in enumerate(days)]
    day = np.datetime64(start) + np.timedelta64(at, "D")
    found = Stations(table(*rows)).near(day, within).table
    expected = []
    for name in {row[0] for row in rows}:
        near = [row[4] for row in rows if row[0] == name and abs(row[4] - at) <= within]
        if near:
            best = min(near, key=lambda d: (abs(d - at), d))
            expected += [(name, d) for d in near if d == best]
    assert sorted(zip(found["station"], found["value"], strict=True)) == sorted(expected)


def test_longitudes_are_compared_around_the_globe() -> None:
    frame = table(("w", "2016-08-01", -170.5, 35.5, 1.0), ("e", "2016-08-01", 189.5, 36.5, 2.0))
    over = album(frame).raster("any", scene("2016-08-01", left=185)).sample("sst", box(185, 30))
    west = album(frame).raster("any", scene("2016-08-01", left=-175)).sample("sst", box(-175, 30))
    assert np.nansum(over) == 3
    np.testing.assert_array_equal(over, west)


def test_a_field_in_another_projection_holds_the_same_stations() -> None:
    affine = Affine(4e5, 0, -1e6, 0, -4e5, 1e6)
    grid = GeoBox((5, 5), affine, "+proj=laea +lon_0=129.5 +lat_0=35.5")
    field = album(table(*ROWS)).raster("any", scene("2016-08-01")).sample("sst", grid)
    assert field[2, 2] == 21
    assert np.isfinite(field).sum() == 1


def test_a_lag_reads_the_days_before_and_what_is_not_valid_is_left_out() -> None:
    variables = {
        "sst": {"units": "degC", "valid_range": [0, 21]},
        "sst_2": {"units": "degC", "name": "sst", "lag": 2},
    }
    stations = album(table(*ROWS), **variables)
    sampler = stations.raster("any", scene("2016-08-01"))
    assert np.nanmax(sampler.sample("sst", box(125, 30))) == 20
    lagged = sampler.sample("sst_2", box(125, 30))
    assert lagged[6, 2] == 27
    assert np.isfinite(lagged).sum() == 1


def test_a_digest_is_of_the_scene_s_box_and_day_alone() -> None:
    known = album(table(*ROWS)).digest("any", scene("2016-08-01"))
    beyond = table(*ROWS, ("d", "2016-08-01", 10.0, 35.5, 1.0), ("e", "2016-08-02", 129.5, 35.5, 1))
    assert album(beyond).digest("any", scene("2016-08-01")) == known
    assert album(table(*ROWS[::-1])).digest("any", scene("2016-08-01")) == known
    for change in ((129.5, 35.6, 20.0), (129.5, 35.5, 20.1)):
        moved = table(("a", "2016-08-01", *change), *ROWS[1:])
        assert album(moved).digest("any", scene("2016-08-01")) != known
    assert album(table(*ROWS), days=2).digest("any", scene("2016-08-01")) != known


def test_a_grid_that_lies_nowhere_is_refused() -> None:
    nowhere = scene("2016-08-01", crs=None)
    with pytest.raises(DataError, match="where it lies"):
        album(table(*ROWS)).raster("any", nowhere).sample("sst", nowhere.geobox)


def test_the_daily_matrix_has_every_day_and_the_mean_of_several() -> None:
    more = table(*ROWS, ("a", "2016-08-01", 129.5, 35.5, 21.0))
    daily = Stations(more).daily()
    assert list(daily.columns) == ["a", "b", "c"]
    assert daily.index[0] == pd.Timestamp("2016-07-30")
    assert len(daily) == 5
    assert daily.loc["2016-08-01", "a"] == 20.5
    assert daily.isna().sum().tolist() == [4, 4, 3]
    kept = Stations(more).between(DAY, DAY).table
    assert set(kept["station"]) == {"a", "b"}


def test_a_variable_that_is_not_declared_is_named() -> None:
    with pytest.raises(DataError, match="salinity"):
        album(table(*ROWS)).stations("salinity")


KOREAN = """지점,일시,수온
22101,2016-01-01 00:00,7.1
22101,2016-01-01 01:00,7.3
22102,2016-01-02 00:00,
"""
KOREAN_ARGS: dict[str, Any] = {
    "columns": {"date": "일시", "station": "지점"},
    "positions": {22101: [126.1, 37.2], 22102: [125.7, 34.8]},
    "date_format": "%Y-%m-%d %H:%M",
}


def korean(folder: Path, **change: Any) -> pd.DataFrame:
    path = folder / "buoys.csv"
    path.write_bytes(KOREAN.encode("cp949"))
    source = described(sst={"units": "degC", "name": "수온"})
    return open_station_csv(path, source, **{**KOREAN_ARGS, **change}).stations("sst").table


def test_a_table_in_an_old_encoding_is_read_and_missing_values_are_left_out(tmp_path: Path) -> None:
    found = korean(tmp_path, encoding="cp949")
    assert found["station"].tolist() == ["22101", "22101"]
    assert found["date"].tolist() == [pd.Timestamp("2016-01-01")] * 2
    assert found[["lon", "lat"]].to_numpy().tolist() == [[126.1, 37.2]] * 2
    np.testing.assert_allclose(found["value"], [7.1, 7.3], rtol=1e-6)


def test_the_hours_of_a_korean_table_are_those_of_korea(tmp_path: Path) -> None:
    found = korean(tmp_path, encoding="cp949", utc_offset=9)
    assert found["date"].tolist() == [pd.Timestamp("2015-12-31")] * 2


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_wrong_encoding_is_said_with_the_file(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(SourceError, match=rf"buoys\.csv.*{encoding}") as fault:
        korean(tmp_path, encoding=encoding)
    assert "encoding" in fault.value.do


@pytest.mark.parametrize(
    ("change", "fault", "said"),
    [
        ({"encoding": "klingon"}, ConfigError, "klingon"),
        ({"positions": None}, ConfigError, "positions"),
        ({"positions": {22101: [1, 2]}}, ConfigError, "22102"),
        ({"columns": {"station": "지점"}}, ConfigError, "dates"),
        ({"columns": {"date": "일시", "name": "지점"}}, ConfigError, "name"),
        ({"columns": {"date": "날짜"}}, SourceError, "날짜"),
        ({"date_format": "%d.%m.%Y"}, DataError, "dates like"),
        ({"separator": ";"}, SourceError, "separator"),
    ],
)
def test_a_table_that_is_not_as_declared_is_refused(
    tmp_path: Path, change: dict[str, Any], fault: type[Exception], said: str
) -> None:
    with pytest.raises(fault, match=said):
        korean(tmp_path, **{"encoding": "cp949", **change})


def test_text_where_there_should_be_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "buoys.csv"
    path.write_text("id,date,lon,lat,sst\na,2016-01-01,1,2,warm\n")
    with pytest.raises(DataError, match="warm"):
        open_station_csv(path, described(), columns=BASIC).stations("sst")


def dated(folder: Path, *times: str, **args: Any) -> list[str]:
    """The days that a table of such times has."""
    rows = "".join(f'"{time}",1\n' for time in times)
    (folder / "buoy.csv").write_text(f"date,sst\n{rows}")
    columns = {"columns": {"date": "date"}, "positions": {"buoy": [1, 2]}}
    album = open_station_csv(folder / "buoy.csv", described(), **columns, **args)
    return [str(date.date()) for date in album.stations("sst").table["date"]]


@pytest.mark.parametrize(
    ("time", "day"),
    [
        ("2016-01-02T03:00+09:00", "2016-01-01"),
        ("2016-01-02 03:00 +0900", "2016-01-01"),
        ("20160102T0300+09", "2016-01-01"),
        ("2016-01-02T22:00-03:00", "2016-01-03"),
        ("2016-01-02T23:59Z", "2016-01-02"),
        ("2016-01-02T03:00", "2016-01-02"),
        ("2016-01-02", "2016-01-02"),
    ],
)
def test_a_time_counts_for_its_day_in_utc(tmp_path: Path, time: str, day: str) -> None:
    assert dated(tmp_path, time) == [day]


def test_dates_and_times_of_several_offsets_may_be_mixed(tmp_path: Path) -> None:
    times = ("2016-01-02", "2016-01-02 12:00", "2016-01-02T03:00+09:00", "2016-01-02T22:00-03:00")
    assert dated(tmp_path, *times) == ["2016-01-02", "2016-01-02", "2016-01-01", "2016-01-03"]


@pytest.mark.parametrize(
    ("time", "date_format", "day"),
    [
        ("2016-01-02 08:59", "", "2016-01-01"),
        ("2016-01-02T08", "", "2016-01-01"),
        ("20160102 0859", "", "2016-01-01"),
        ("2016-01-02 09:00", "", "2016-01-02"),
        ("2016-01-02 23:00+00:00", "", "2016-01-02"),
        ("2016-01-02T03:00Z", "", "2016-01-02"),
        ("2016-01-02", "", "2016-01-02"),
        ("20160102", "", "2016-01-02"),
        ("2016010208", "%Y%m%d%H", "2016-01-01"),
        ("2016-01-02 03:00 +0000", "%Y-%m-%d %H:%M %z", "2016-01-02"),
        ("02.01.2016", "%d.%m.%Y", "2016-01-02"),
    ],
)
def test_the_offset_of_a_file_moves_times_that_tell_none(
    tmp_path: Path, time: str, date_format: str, day: str
) -> None:
    assert dated(tmp_path, time, date_format=date_format, utc_offset=9) == [day]


@pytest.mark.parametrize("time", ["03/04/2016", "03-04-2016", "4 March 2016", "201601021200"])
def test_a_date_that_is_not_of_iso_8601_is_not_guessed(tmp_path: Path, time: str) -> None:
    with pytest.raises(DataError, match=rf"buoy\.csv.*{time}.*") as fault:
        dated(tmp_path, "2016-01-02", time)
    assert "ISO 8601" in fault.value.expected
    assert "date_format" in fault.value.do


def test_an_offset_of_no_hours_is_refused(tmp_path: Path) -> None:
    for offset in (900, float("nan")):
        with pytest.raises(ConfigError, match="utc_offset"):
            dated(tmp_path, "2016-01-02", utc_offset=offset)


def test_a_file_without_dates_has_no_days(tmp_path: Path) -> None:
    assert dated(tmp_path) == []
    assert dated(tmp_path, "", utc_offset=9) == []


def test_a_folder_has_a_station_a_file(tmp_path: Path) -> None:
    for name, value in (("north", 1), ("south", 2)):
        (tmp_path / f"{name}.txt").write_text(f"date\tsst\n2016-01-0{value}\t{value}\n")
    args = {"columns": {"date": "date"}, "positions": {"north": [1, 2], "south": [3, 4]}}
    given = open_station_csv(tmp_path, described(), **args, separator="\t", files="*.txt")
    assert given.stations("sst").table["station"].tolist() == ["north", "south"]
    with pytest.raises(SourceError, match="no file"):
        open_station_csv(tmp_path, described(), **args).stations("sst")


def argo_file(path: Path, **change: Any) -> Path:
    """Four profiles of three levels: good; bad at the top; adjusted; deep only."""
    given = {
        "PLATFORM_NUMBER": np.array([list("2901746 ")] * 4, "S1"),
        "JULD": [23888.9, 23890.0, 23895.5, 23900.0],
        "JULD_QC": np.array(list("1211"), "S1"),
        "POSITION_QC": np.array(list("1111"), "S1"),
        "LONGITUDE": [130.0, 131, 132, 133],
        "LATITUDE": [36.0, 37, 38, 39],
        "DATA_MODE": np.array(list("RRDA"), "S1"),
        "PRES": [[4.0, 8, 20]] * 3 + [[12.0, 20, 30]],
        "PRES_QC": np.array([list("111")] * 4, "S1"),
        "TEMP": [[15.0, 14, 13]] * 4,
        "TEMP_QC": np.array([list("111"), list("421"), list("444"), list("111")], "S1"),
        "PRES_ADJUSTED": [[9.0, 7, 20]] * 3 + [[99999.0] * 3],
        "PRES_ADJUSTED_QC": np.array([list("111")] * 4, "S1"),
        "TEMP_ADJUSTED": [[25.0, 24, 23]] * 3 + [[99999.0] * 3],
        "TEMP_ADJUSTED_QC": np.array([list("111")] * 4, "S1"),
        **change,
    }
    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("n", 4), ("level", 3), ("text", 8)):
            file.createDimension(name, size)
        for name, values in given.items():
            values = np.asarray(values)
            dims = ("n", *(("text",) if name == "PLATFORM_NUMBER" else ("level",)))[: values.ndim]
            kind, fill = ("S1", b" ") if values.dtype.kind == "S" else ("f8", 99999.0)
            file.createVariable(name, kind, dims, fill_value=fill)[:] = values
    return path


def test_a_profile_gives_its_shallowest_good_level_adjusted_where_it_is(tmp_path: Path) -> None:
    found = profiles(argo_file(tmp_path / "one_prof.nc"), "TEMP", 10)
    assert found["value"].tolist() == [15, 14, 24], "good; second level; adjusted and shallowest"
    assert found["station"].unique().tolist() == ["2901746"]
    assert found["date"].tolist()[0] == pd.Timestamp("2015-05-28"), "the day, not the nearest one"
    assert profiles(tmp_path / "one_prof.nc", "TEMP", 12)["value"].tolist() == [15, 14, 24, 15]
    assert profiles(tmp_path / "one_prof.nc", "TEMP", 5)["value"].tolist() == [15]


def test_a_profile_that_was_condemned_in_delayed_mode_gives_nothing(tmp_path: Path) -> None:
    condemned = {
        "DATA_MODE": np.array(list("DDDA"), "S1"),
        "TEMP_ADJUSTED": [[99999.0] * 3, [25.0, 24, 23], [99999.0, 24, 23], [99999.0] * 3],
        "TEMP_ADJUSTED_QC": np.array([list("444"), list("444"), list("411"), list("111")], "S1"),
    }
    path = argo_file(tmp_path / "one_prof.nc", **condemned)
    assert profiles(path, "TEMP", 12)["value"].tolist() == [24, 15], (
        "D; A without an adjusted value"
    )


def test_a_profile_in_delayed_mode_that_has_no_adjusted_values_gives_nothing(
    tmp_path: Path,
) -> None:
    path = argo_file(tmp_path / "one_prof.nc", DATA_MODE=np.array(list("RADD"), "S1"))
    with netCDF4.Dataset(path, "a") as file:
        file.renameVariable("TEMP_ADJUSTED", "OTHER")
    assert profiles(path, "TEMP", 20)["value"].tolist() == [15, 14]


@pytest.mark.parametrize("flag", ["JULD_QC", "POSITION_QC"])
def test_a_profile_of_a_doubtful_time_or_place_is_left_out(tmp_path: Path, flag: str) -> None:
    path = argo_file(tmp_path / "one_prof.nc", **{flag: np.array(list("4131"), "S1")})
    assert profiles(path, "TEMP", 10)["value"].tolist() == [14]


def test_what_is_no_file_of_profiles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no profiles"):
        open_argo(tmp_path, described())
    (tmp_path / "a_prof.nc").write_text("text")
    with pytest.raises(SourceError, match=r"a_prof\.nc"):
        open_argo(tmp_path, described()).stations("sst")
    argo_file(tmp_path / "a_prof.nc")
    with pytest.raises(SourceError, match="PSAL"):
        open_argo(tmp_path, described(sst={"units": "degC", "name": "PSAL"})).stations("sst")


def test_real_floats_give_the_temperatures_that_are_known(shared_data: Path) -> None:
    folder = shared_data / "sst" / "insitu"
    source = described(sst={"units": "degC", "name": "TEMP", "to": "K"})
    floats = open_argo(folder, source, within=5)
    daily = floats.stations("sst").daily()
    assert set(daily.columns) == {"2901746", "2901780"}
    assert daily.loc["2018-12-27", "2901746"] == pytest.approx(3.96, abs=0.005)
    assert daily.loc["2019-01-03", "2901746"] == pytest.approx(3.50, abs=0.005)
    near = scene("2018-12-31", left=128, bottom=35)
    field = floats.raster("any", near).sample("sst", near.geobox)
    assert np.nanmax(field) == pytest.approx(3.50, abs=0.005), "three days off, not four"
    assert np.isfinite(field).sum() == 1


def test_the_synthetic_ocean_has_series_of_stations() -> None:
    args = {"regions": {"east": [177, -26, 183, -20]}, "days": 40, "stations": 3}
    source = described(sst={"units": "K", "to": "degC"})
    daily = open_station_series("synthetic", source, **args).stations("sst").daily()
    assert list(daily.columns) == ["east_0", "east_1", "east_2"]
    assert len(daily) == 40
    assert 0 < daily.isna().to_numpy().mean() < 0.5
    again = open_station_series("synthetic", source, **{**args, "days": 50}).stations("sst").daily()
    pd.testing.assert_frame_equal(daily, again.iloc[:40], check_freq=False)
    with pytest.raises(SourceError, match="salinity"):
        open_station_series("s", described(salinity={"units": "1"}), **args).stations("salinity")


GRID = {"shape": (10, 10), "crs": "EPSG:4326", "bounds": (125.0, 30.0, 135.0, 40.0)}
FOUND = {
    "korea_2016-08-01": {"group": "korea", "date": dt.date(2016, 8, 1), **GRID},
    "korea_2016-08-02": {"group": "korea", "date": dt.date(2016, 8, 2), **GRID},
}


def tree(folder: Path) -> Results:
    """A recipe of two days of one region, with a role of stations."""
    path = folder / "data" / "buoys.csv"
    path.parent.mkdir(parents=True)
    path.write_text("id,date,lon,lat,sst\na,2016-08-01,129.5,35.5,20\nb,2016-08-02,127.5,33.5,25\n")
    stations = {
        "roles": {"insitu": {"source": "buoys", "variables": ["sst"]}},
        "grid": {"block": 5},
        "scenes": {"mapped": ["korea"]},
        "split": {"by": {"args": {"test": ["korea"]}}},
        "series": None,
        "sources": {"buoys": described(sst={"units": "degC", "to": "K"}).model_dump(mode="json")},
    }
    results = scenes.tree(folder / "results", FOUND, **stations)
    for recipe in (results.recipe, *map(results.recipe.of, results.recipe.places)):
        file = results.root / recipe.name / "recipe.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(recipe.model_dump_json())
    return results


def job(results: Results, place: str, stage: str, work: Any, **names: str) -> bool:
    """Run a step as a job of the workflow does; says whether it was computed."""
    recipe: Recipe = results.recipe.of(place)
    data = results.root.parent / "data"
    path = results.root / recipe.name / "recipe.json"
    return run(Step(stage, recipe.name, names), path, results.root, work, data)


def redone(results: Results) -> dict[str, int]:
    """Look at the file again; which blocks of which scene are computed for it."""
    data = results.root.parent / "data"
    tracker = Tracker(results.root, data)
    contents = {"buoys.csv": tracker.files.digest(data / "buoys.csv")}
    manifest = {"contents": contents, "variables": {"files": {"digest": contents["buoys.csv"]}}}
    write_json(results.root / "download" / "buoys.json", manifest)
    job(results, "", "scan", lambda t, key: scan(t, "buoys", data), source="buoys")
    computed = {}
    for place in FOUND:
        blocks = list(results.recipe.of(place).layout.blocks())
        computed[place] = sum(
            job(
                results,
                place,
                "reproject",
                lambda t, key, b=block: reproject(t, "insitu", b, data).to_dict(),
                role="insitu",
                block=block.name,
            )
            for block in blocks
        )
    return computed


def test_only_the_scene_whose_points_changed_is_reprojected_again(tmp_path: Path) -> None:
    results = tree(tmp_path)
    first, second = FOUND
    assert redone(results) == {first: 4, second: 4}
    field = results.at(first).role("insitu").read_first(Window(0, 10, 0, 10))
    assert np.nanmax(field) == pytest.approx(293.15)
    assert np.argwhere(np.isfinite(field)).tolist() == [[4, 4]]
    assert redone(results) == {first: 0, second: 0}
    path = tmp_path / "data" / "buoys.csv"
    text = path.read_text()
    path.write_text(text.replace("33.5,25", "33.5,26"))
    assert redone(results) == {first: 0, second: 4}
    path.write_text(path.read_text() + "c,2016-08-03,129.5,35.5,21\nd,2016-08-01,9,9,21\n")
    assert redone(results) == {first: 0, second: 0}, "another day, and another sea"


def test_stations_tell_of_no_scene_so_that_they_are_no_source_of_them() -> None:
    buoys = described().model_dump(mode="json")
    with pytest.raises(ValueError, match="holds no scenes"):
        scenes.recipe(FOUND, scenes={"source": "buoys"}, sources={"buoys": buoys})
