"""Days of regions as an album: which there are, what they hold, and what is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from nunatak.errors import ConfigError, DataError, NunatakError, SourceError
from nunatak.ops.warp import warp
from nunatak.source import File, Source
from nunatak.sources.days import DayAlbum, open_days
from nunatak.sources.raster import Album

REAL = Path("../shared/data")
FIRST = dt.date(2019, 12, 30)
SIZE = {"lat": 18, "lon": 36}


def field(number: int) -> NDArray[np.float32]:
    """The world on day ``number``, by cells of 10 degrees, rows from the south."""
    rows, cols = np.mgrid[: SIZE["lat"], : SIZE["lon"]]
    return (100 * number + rows + cols / 100).astype(np.float32)


def write(
    path: Path, days: Sequence[float], first: float = 5.0, value: float | None = None
) -> None:
    """A global file of some days, longitudes from ``first``; ``value`` stands in one cell."""
    with netCDF4.Dataset(path, "w") as file:
        for key, size in {"time": None, **SIZE}.items():
            file.createDimension(key, size)
        time = file.createVariable("time", "f4", ("time",))
        time.units, time[:] = f"days since {FIRST}", days
        lat = file.createVariable("lat", "f4", ("lat",))
        lon = file.createVariable("lon", "f4", ("lon",))
        lat.units, lat[:] = "degrees_north", -85 + 10 * np.arange(SIZE["lat"])
        lon.units, lon[:] = "degrees_east", first + 10 * np.arange(SIZE["lon"])
        values = file.createVariable("ssh", "f4", ("time", "lat", "lon"))
        turned = round((first - 5) / 10)
        for index, number in enumerate(days):
            values[index] = np.roll(field(number), -turned, axis=1)
        if value is not None:
            values[0, 10, 2] = value


def source(**change: Any) -> Source:
    given: dict[str, Any] = {
        "title": "",
        "files": [{"url": "file:days"}],
        "reader": {"op": "days"},
        "crs": "EPSG:4326",
        "variables": {"ssh": {"units": "m", "valid_range": [-1e6, 1e6]}},
        "licence": "",
    }
    return Source.model_validate({**given, **change})


def album(path: Path, **args: Any) -> DayAlbum:
    return open_days(path, args.pop("source", source()), **args)


def seen(given: DayAlbum, name: str, variable: str = "ssh") -> NDArray[np.float32]:
    scene = given.scenes()[name]
    return warp(given.raster(name, scene), variable, scene.geobox, "nearest")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five days around New Year in three files, whose longitudes begin at 5, -175 and 5."""
    write(tmp_path / "one_20191230.nc", [0, 1])
    write(tmp_path / "two_20200101.nc", [2], first=-175)
    write(tmp_path / "three_20200103.nc", [4, 5])
    return tmp_path


def test_every_day_of_every_region_is_a_scene(folder: Path) -> None:
    boxes = {"east": [10, 0, 40, 20], "line": [160, -20, 200, 10]}
    given = album(folder, regions=boxes)
    assert isinstance(given, Album)
    found = given.scenes()
    assert len(found) == 10
    assert {scene.group for scene in found.values()} == set(boxes)
    first = found["line_2019-12-30"]
    assert (first.date, first.shape, first.bounds) == (FIRST, (3, 4), (160, -20, 200, 10))
    assert "east_2020-01-02" not in found, "that day lies in no file"


def test_a_box_across_the_date_line_and_the_files_own_edge_has_no_seam(folder: Path) -> None:
    given = album(folder, regions={"line": [160, -20, 200, 10], "zero": [-20, 0, 20, 20]})
    for number, day in enumerate(("2019-12-30", "2019-12-31", "2020-01-01")):
        world = np.flipud(field(number))
        assert_array_equal(seen(given, f"line_{day}"), world[8:11, 16:20])
        assert_array_equal(seen(given, f"zero_{day}"), np.roll(world, 2, axis=1)[7:9, :4])


def test_without_regions_the_whole_grid_is_one(folder: Path) -> None:
    given = album(folder / "one_20191230.nc", region="world")
    assert list(given.scenes()) == ["world_2019-12-30", "world_2019-12-31"]
    assert_array_equal(seen(given, "world_2019-12-31"), np.flipud(field(1)))


def test_every_time_step_differs_in_what_is_read(folder: Path) -> None:
    given = album(folder, regions={"east": [10, 0, 40, 20]})
    means = {float(seen(given, name).mean()) for name in given.scenes()}
    assert len(means) == 5


def test_a_lag_reads_an_earlier_day_and_nothing_where_there_is_none(folder: Path) -> None:
    variable = {"units": "m", "name": "ssh"}
    lagged = source(variables={"ssh": variable, "ssh_1": {**variable, "lag": 1}})
    given = album(folder, source=lagged, regions={"east": [10, 0, 40, 20]})
    assert_array_equal(seen(given, "east_2020-01-01", "ssh_1"), seen(given, "east_2019-12-31"))
    assert np.isnan(seen(given, "east_2020-01-03", "ssh_1")).all()
    assert np.isnan(seen(given, "east_2019-12-30", "ssh_1")).all()


def test_the_digest_of_a_scene_is_that_of_its_day_and_place(folder: Path) -> None:
    boxes = {"east": [10, 0, 40, 20], "other": [10, 0, 40, 20]}
    variable = {"units": "m", "name": "ssh"}
    lagged = source(variables={"ssh": variable, "ssh_1": {**variable, "lag": 1}})

    def digests() -> dict[str, str]:
        given = album(folder, source=lagged, regions=boxes)
        return {name: given.digest(name, scene) for name, scene in given.scenes().items()}

    before = digests()
    assert len(set(before.values())) == 5
    assert before["east_2020-01-01"] == before["other_2020-01-01"]
    write(folder / "four_20200106.nc", [7])
    grown = digests()
    assert grown.items() - before.items() == {
        (name, grown[name]) for name in ("east_2020-01-06", "other_2020-01-06")
    }
    (folder / "three_20200103.nc").unlink()
    write(folder / "three_20200103.nc", [4, 5], value=12345)
    changed = {name for name, found in digests().items() if found != grown[name]}
    assert changed == {f"{box}_2020-01-0{day}" for box in boxes for day in (3, 4)}


def test_dates_in_names_need_no_file(tmp_path: Path) -> None:
    files = [{"url": f"https://example.org/l4_2020010{day}_v1.nc"} for day in (1, 3)]
    told = source(files=files, resolution=0.5)
    given = album(
        tmp_path / "l4_20200101_v1.nc",
        source=told,
        dates=r"l4_(\d{8})_",
        regions={"box": [0, 0, 4, 2]},
    )
    assert list(given.scenes()) == ["box_2020-01-01", "box_2020-01-03"]
    assert given.scenes()["box_2020-01-01"].shape == (4, 8)


def test_a_numpy_file_lies_where_the_catalogue_says(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    values[0, 0] = np.nan
    np.save(tmp_path / "sst_2013-01-01.npy", values)
    given = album(
        tmp_path, files="*.npy", dates=r"_(\S+)\.npy", bounds=[0, 10, 12, 18], region="box"
    )
    scene = given.scenes()["box_2013-01-01"]
    assert (scene.shape, scene.bounds) == ((4, 6), (0, 10, 12, 18))
    assert_array_equal(seen(given, "box_2013-01-01"), values)


def npy(folder: Path, values: Any, name: str = "d_20200101.npy") -> Path:
    np.save(folder / name, values, allow_pickle=True)
    return folder / name


@pytest.mark.parametrize(
    ("values", "bounds", "said"),
    [
        (np.array([{}, {}]), [0, 0, 1, 1], "a NumPy file of numbers"),
        (np.zeros((2, 3, 4)), [0, 0, 1, 1], "rows and columns"),
        (np.zeros((2, 3)), [0, 0], "a NumPy file tells no place"),
        (np.zeros((2, 3)), [4, 0, 0, 1], "a NumPy file tells no place"),
    ],
)
def test_a_numpy_file_that_is_no_field_is_refused(
    tmp_path: Path, values: Any, bounds: list[float], said: str
) -> None:
    given = album(npy(tmp_path, values), dates=r"(\d{8})", bounds=bounds)
    with pytest.raises(NunatakError, match=said):
        given.scenes()


@pytest.mark.parametrize(
    ("args", "kind", "said"),
    [
        ({"dates": "(["}, ConfigError, "a regular expression"),
        ({"dates": "l4_"}, ConfigError, "one group"),
        ({"dates": r"(\d{4})"}, DataError, "no date"),
        ({"dates": "l4_(.*)"}, DataError, "tells no date"),
        ({"files": "*.grib"}, SourceError, "no file"),
        ({"time": "hour"}, SourceError, "no time axis"),
        ({"regions": {"box": [10, 0, -10, 20]}}, ConfigError, "across the date line"),
    ],
)
def test_what_cannot_be_told_is_refused(
    folder: Path, args: dict[str, Any], kind: type[NunatakError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        album(folder, **args)


def test_a_region_between_cells_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="a whole number of cells"):
        album(folder, regions={"box": [0, 0, 15, 20]}).scenes()


def test_sides_of_a_region_may_be_rounded(folder: Path) -> None:
    found = album(folder, regions={"box": [0, 0, 20.004, 20]}).scenes()
    assert {scene.shape for scene in found.values()} == {(2, 2)}


def test_one_day_twice_is_refused(folder: Path) -> None:
    write(folder / "again.nc", [4])
    with pytest.raises(DataError, match="both hold 2020-01-03"):
        album(folder)
    write(folder / "again.nc", [8, 8])
    with pytest.raises(DataError, match="2020-01-07 is there twice"):
        album(folder)


NAMED: dict[str, Any] = {
    "dates": r"(\d{8})",
    "regions": {"east": [10, 0, 40, 20]},
    "source": source(resolution=10),
}


def test_a_file_of_several_days_is_not_dated_by_its_name(folder: Path) -> None:
    given = album(folder / "one_20191230.nc", **NAMED)
    assert list(given.scenes()) == ["east_2019-12-30"]
    with pytest.raises(DataError, match=r"one_20191230\.nc: 2 steps.*2019-12-30") as fault:
        seen(given, "east_2019-12-30")
    assert "leave out dates" in fault.value.do


def test_several_steps_without_times_are_refused_too(tmp_path: Path) -> None:
    write(tmp_path / "one_20191230.nc", [0, 1])
    with netCDF4.Dataset(tmp_path / "one_20191230.nc", "a") as file:
        file.renameVariable("time", "hours")
    with pytest.raises(DataError, match="2 steps"):
        seen(album(tmp_path, **NAMED), "east_2019-12-30")


@pytest.mark.parametrize(("number", "told"), [(-0.1, "2019-12-29"), (1, "2019-12-31")])
def test_a_name_that_tells_another_day_than_the_axis_is_refused(
    tmp_path: Path, number: float, told: str
) -> None:
    write(tmp_path / "l4_20191230.nc", [number])
    with pytest.raises(DataError, match=f"tells 2019-12-30, its time axis {told}"):
        seen(album(tmp_path, **NAMED), "east_2019-12-30")


@pytest.mark.parametrize("number", [0, 9 / 24, 0.999])
def test_any_hour_of_the_day_that_the_name_tells_will_do(tmp_path: Path, number: float) -> None:
    write(tmp_path / "l4_20191230.nc", [number])
    assert np.isfinite(seen(album(tmp_path, **NAMED), "east_2019-12-30")).all()


def rewrite(path: Path, days: list[int], **attributes: Any) -> Path:
    """A global file whose time axis says other things of itself; None takes one away."""
    write(path, days)
    with netCDF4.Dataset(path, "a") as file:
        for name, value in attributes.items():
            if value is None:
                file["time"].delncattr(name)
            else:
                file["time"].setncattr(name, value)
    return path


@pytest.mark.parametrize("units", [None, "day as %Y%m%d.%f", "months since 2019-12-01"])
def test_where_the_axis_tells_nothing_the_name_does(tmp_path: Path, units: str | None) -> None:
    rewrite(tmp_path / "l4_20191230.nc", [0], units=units)
    assert np.isfinite(seen(album(tmp_path, **NAMED), "east_2019-12-30")).all()


def test_a_time_that_is_no_axis_counts_as_one(tmp_path: Path) -> None:
    write(tmp_path / "l4_20191230.nc", [0])
    with netCDF4.Dataset(tmp_path / "l4_20191230.nc", "a") as file:
        file.renameVariable("time", "hours")
        file.createVariable("time", "f8").units = f"days since {FIRST}"
        file["time"][...] = 1
    with pytest.raises(DataError, match="its time axis 2019-12-31"):
        seen(album(tmp_path, **NAMED), "east_2019-12-30")


def test_a_file_without_a_time_axis_holds_the_day_that_its_name_tells(tmp_path: Path) -> None:
    write(tmp_path / "l4_20191230.nc", [0])
    with netCDF4.Dataset(tmp_path / "l4_20191230.nc", "a") as file:
        file.renameVariable("time", "hours")
        file.renameDimension("time", "step")
    assert np.isfinite(seen(album(tmp_path, **NAMED), "east_2019-12-30")).all()


@pytest.mark.parametrize(
    ("days", "attributes", "said"),
    [
        ([5], {"calendar": "360_day"}, "360_day"),
        ([5], {"calendar": "Julian"}, "julian"),
        ([5], {"calendar": "klingon"}, "klingon"),
        ([5], {"units": "months since 2000-01-01"}, "months since"),
        ([5], {"units": "day as %Y%m%d.%f"}, "day as"),
        ([4_000_000], {}, "days since"),
        ([5, 6], {"missing_value": np.float32(6)}, "a time is missing"),
    ],
)
def test_times_that_are_no_days_of_the_real_calendar_are_refused(
    tmp_path: Path, days: list[int], attributes: dict[str, Any], said: str
) -> None:
    path = rewrite(tmp_path / "model.nc", days, **attributes)
    with pytest.raises(DataError, match=said) as fault:
        album(path)
    assert "model.nc" in fault.value.what
    assert fault.value.expected
    assert fault.value.do


def test_a_year_without_a_leap_day_is_of_real_days(tmp_path: Path) -> None:
    path = rewrite(tmp_path / "model.nc", [60, 61], calendar="noleap")
    assert list(album(path).scenes()) == ["whole_2020-02-28", "whole_2020-03-01"]


@pytest.mark.skipif(not (REAL / "ssh").exists(), reason="no ../shared/data/ssh")
def test_real_heights_are_missing_on_land_though_the_file_does_not_say_so() -> None:
    told = source(
        files=[File(url="file:ssh")],
        resolution=0.25,
        variables={"adt": {"units": "m", "valid_range": [-10, 10]}},
    )
    given = open_days(
        REAL / "ssh" / "global_025deg",
        told,
        files="dt_global*.nc",
        dates=r"l4_(\d{8})_",
        regions={"world": [0, -90, 360, 90], "line": [170, 0, 190, 10]},
    )
    assert len(given.scenes()) == 8
    adt = seen(given, "world_2018-12-31", "adt")
    assert np.isnan(adt).mean() == pytest.approx(0.424, abs=0.001)
    assert (np.nanmin(adt), np.nanmax(adt)) == pytest.approx((-1.58, 2.13), abs=0.01)
    assert_array_equal(seen(given, "line_2018-12-31", "adt"), adt[320:360, 680:760])


@pytest.mark.skipif(not (REAL / "ssh").exists(), reason="no ../shared/data/ssh")
def test_a_real_analysis_of_nine_o_clock_is_of_the_day_that_its_name_tells() -> None:
    given = open_days(
        REAL / "ssh" / "global_025deg",
        source(resolution=0.25, variables={"analysed_sst": {"units": "K"}}),
        files="*-MUR25-*.nc",
        dates=r"^(\d{8})",
        regions={"korea": [112.5, 22.5, 142.5, 52.5]},
    )
    assert np.isfinite(seen(given, "korea_2018-12-31", "analysed_sst")).any()


@pytest.mark.skipif(not (REAL / "sst").exists(), reason="no ../shared/data/sst")
def test_a_real_numpy_day_has_its_land_in_the_right_place() -> None:
    told = source(variables={"sst": {"units": "K"}})
    given = open_days(
        REAL / "sst" / "OSTIA_peninsula_2013-01-01.npy",
        told,
        dates=r"(\d{4}-\d\d-\d\d)",
        bounds=[112.5, 22.5, 142.5, 52.5],
        region="korea",
    )
    sst = seen(given, "korea_2013-01-01", "sst")
    assert np.isnan(sst).mean() == pytest.approx(0.532, abs=0.001)
    seoul, busan_sea = (52.5 - 37.55, 127.0 - 112.5), (52.5 - 34.8, 129.5 - 112.5)
    there = [tuple(int(v / 0.05) for v in point) for point in (seoul, busan_sea)]
    assert np.isnan(sst[there[0]])
    assert 280 < sst[there[1]] < 292
