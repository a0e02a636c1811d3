"""The catalogue: what it says is checked, and every fault is named so that it can be mended."""

from __future__ import annotations

import re
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from nunatak import units
from nunatak.errors import ConfigError
from nunatak.registry import READERS
from nunatak.source import Elevation, File, Source
from nunatak.sources.catalogue import load_sources, local_paths
from nunatak.sources.fetch import check
from nunatak.validation import explain, read_yaml

DATUMS = {
    "ellipsoid",
    "geoid:gl04c",
    "geoid:eigen-6c4",
    "geoid:egm2008",
    "geoid:osu91a",
    "geoid:synthetic",
    "geoid:mdt-cnes-cls",
    "geoid:model",
}
ENTRY = """
world:
  title: A world
  files:
    - url: synthetic://world
  reader: { op: synthetic, args: { seed: 3 } }
  crs: EPSG:3031
  vertical_datum: ellipsoid
  variables:
    bed: { units: m, standard_name: bedrock_altitude }
  licence: CC0-1.0
"""


@pytest.fixture(scope="module")
def catalogue(root: Path) -> dict[str, Source]:
    return load_sources(root / "config" / "sources.yaml")


def written(folder: Path, text: str) -> Path:
    """A catalogue in a file."""
    path = folder / "sources.yaml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> ConfigError:
    """What is said of a catalogue that is refused; its file is always named."""
    with pytest.raises(ConfigError) as caught:
        load_sources(written(folder, text))
    assert "sources.yaml" in caught.value.what
    return caught.value


def changed(old: str, new: str) -> str:
    """The entry with one thing changed."""
    assert old in ENTRY
    return ENTRY.replace(old, new)


def test_an_entry_is_read_as_it_is_written(tmp_path: Path) -> None:
    sources = load_sources(written(tmp_path, ENTRY))
    assert list(sources) == ["world"]
    assert sources["world"].reader.args == {"seed": 3}
    assert sources["world"].variables["bed"].units == "m"


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ("title: A world", "title: [1]", "world.title", "given [1], expected a valid string"),
        ("  title: A world\n", "", "world.title", "given nothing, expected a value"),
        ("units: m,", "units: metrez,", "variables.bed.units", "'metrez': unknown unit"),
        ("{ units: m,", "{ units: m, to: K,", "world.variables.bed", "different things"),
        ("op: synthetic", "op: synthetik", "world.reader", "unknown reader 'synthetik'"),
        ("seed: 3", "sead: 3", "world.reader", "no argument 'sead'"),
        ("seed: 3", "seed: three", "world.reader", "seed is 'three'"),
        ("  vertical_datum: ellipsoid\n", "", "world", "vertical_datum is not given"),
        ("url: synthetic://world", "url: http://h/", "world", "names no file"),
        ("url: synthetic://world", "url: file:../x", "world", "leaves the data root"),
        ("url: synthetic://world", "url: http://h/a\n      sha256: abc", "files.0.sha256", "'abc'"),
        ("url: synthetic://world", "url: http://h/a\n      bytes: 0", "files.0.bytes", "given 0"),
        ("licence: CC0-1.0", "auth: password\n  licence: x", "world.auth", "'password'"),
        ("world:", "my world:", "my world", "plain identifier"),
    ],
)
def test_a_fault_is_named_by_file_key_and_what_was_given(
    tmp_path: Path, old: str, new: str, place: str, said: str
) -> None:
    error = refusal(tmp_path, changed(old, new))
    assert re.search(rf"sources\.yaml: \S*{re.escape(place)}", error.what)
    assert said in error.what


def test_every_fault_of_every_source_is_listed_at_once(tmp_path: Path) -> None:
    text = changed("title: A world", "title: 1") + ENTRY.replace("world:", "two:", 1).replace(
        "crs: EPSG:3031", "crs: 3031"
    )
    lines = refusal(tmp_path, text).what.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["world.title", "two.crs"]


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("licence:", "license:", "world.license: did you mean 'licence'?"),
        ("url:", "ulr:", "world.files.0.ulr: did you mean 'url'?"),
        ("units:", "unit:", "world.variables.bed.unit: did you mean 'units'?"),
        ("args:", "arg:", "world.reader.arg: did you mean 'args'?"),
        ("op: synthetic", "op: synthetik", None),
    ],
)
def test_a_misspelt_key_is_answered_with_the_right_one(
    tmp_path: Path, old: str, new: str, hint: str | None
) -> None:
    error = refusal(tmp_path, changed(old, new))
    assert (hint or "did you mean 'synthetic'?") in (error.do if hint else error.what)


def test_an_unknown_key_lists_the_known_ones_in_optional_models_and_unions() -> None:
    class Inner(BaseModel, extra="forbid"):
        depth: int = 0

    class Outer(BaseModel):
        maybe: Inner | None = None
        many: list[Inner] = []

    given = {"maybe": {"dept": 1}, "many": [{"x": 1}]}
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(given)
    error = explain(caught.value, "file.yaml", Outer)
    assert (
        "file.yaml: maybe.dept: given the unknown key 'dept', expected one of depth" in error.what
    )
    assert "file.yaml: many.0.x: given the unknown key 'x', expected one of depth" in error.what
    assert error.do == "maybe.dept: did you mean 'depth'?"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ENTRY + ENTRY, "'world' is given twice (first on line 2)"),
        (ENTRY.replace("  crs:", "  title: B\n  crs:"), "'title' is given twice"),
        (ENTRY.replace("units: m,", "units: m, units: km,"), "'units' is given twice"),
        ("world: [1, 2", "not YAML"),
        ("world: !!python/object/apply:os.system ['true']", "not YAML"),
        ("- a\n- b", "['a', 'b']"),
        ("", "None"),
    ],
)
def test_what_is_no_plain_mapping_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text).what


def test_a_missing_catalogue_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file"):
        load_sources(tmp_path / "none.yaml")


def test_merge_keys_are_no_repetition(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, z: 4}\n"
    content = read_yaml(written(tmp_path, text))
    assert content == yaml.safe_load(text)
    assert content["c"] == {"x": 3, "y": 2, "z": 4}


def test_two_files_of_one_name_in_a_source_are_refused(tmp_path: Path) -> None:
    twice = "url: http://h/a/x.csv\n    - url: ftp://h/b/x.csv?y=1"
    error = refusal(tmp_path, changed("url: synthetic://world", twice))
    assert "x.csv would be written twice" in error.what


def test_local_paths_say_where_every_kind_of_file_lies(tmp_path: Path) -> None:
    files = (
        "url: https://h/a%20b.nc?entry=1",
        "url: ftp://h/z.zip\n      member: in/side.tif",
        "url: file:bed/x.nc",
        "url: file:///abs/y.zarr",
        "url: synthetic://world",
    )
    text = changed("url: synthetic://world", "\n    - ".join(files))
    source = load_sources(written(tmp_path, text))["world"]
    assert local_paths(source, "world", Path("got"), Path("data")) == [
        Path("got/a b.nc"),
        Path("got/side.tif"),
        Path("data/bed/x.nc"),
        Path("/abs/y.zarr"),
        Path("synthetic"),
    ]


DAILY = """url: "https://h/{date:%Y/%m}/x_{date:%Y%m%d}.nc"
      days: [2012-02-28, 2012-03-01]"""
MONTHLY = """url: cds:era5
      name: "{date:%Y-%m}.nc"
      days: [2012-02-01, 2012-03-31]
      each: month
      request: { date: ["{date}/{last}"], area: [1, 2] }"""


def test_days_make_one_file_each_and_later_days_only_add_to_them(tmp_path: Path) -> None:
    text = changed("url: synthetic://world", DAILY)
    first = load_sources(written(tmp_path, text))["world"].files
    assert [file.url for file in first] == [
        "https://h/2012/02/x_20120228.nc",
        "https://h/2012/02/x_20120229.nc",
        "https://h/2012/03/x_20120301.nc",
    ]
    later = load_sources(written(tmp_path, text.replace("2012-03-01]", "2012-03-02]")))["world"]
    assert later.files[:-1] == first


def test_a_request_is_filled_with_the_days_of_its_month(tmp_path: Path) -> None:
    text = changed("url: synthetic://world", MONTHLY)
    source = load_sources(written(tmp_path, text))["world"]
    assert [file.request for file in source.files] == [
        {"date": ["2012-02-01/2012-02-29"], "area": [1, 2]},
        {"date": ["2012-03-01/2012-03-31"], "area": [1, 2]},
    ]
    february = local_paths(source, "world", Path("got"), Path())[0]
    assert re.fullmatch(r"2012-02_[0-9a-f]{8}\.nc", february.name)
    other = load_sources(written(tmp_path, text.replace("[1, 2]", "[1, 3]")))["world"]
    assert local_paths(other, "world", Path("got"), Path())[0] != february


@given(
    st.dates(date(1980, 1, 1), date(2030, 1, 1)),
    st.integers(0, 1500),
    st.sampled_from(["day", "month", "year"]),
)
def test_the_files_of_days_hold_each_of_them_once(begin: date, span: int, each: str) -> None:
    first, last = begin, begin + timedelta(days=span)
    if each != "day":
        first, last = date(begin.year, 1, 1), date(last.year, 12, 31)
    file = File.model_validate({"url": "file:{date}_{last}", "days": [first, last], "each": each})
    found = file.each_period()
    held = [part.days for part in found if part.days]
    assert [held[0][0], held[-1][1]] == [first, last]
    assert all(b[0] - a[1] == timedelta(days=1) for a, b in pairwise(held))
    assert len({part.url for part in found}) == len(found)
    assert [File.model_validate(f.model_dump(mode="json")).each_period() for f in found] == [
        (part,) for part in found
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("2012-03-31", "2012-03-30", "not whole months"),
        ("2012-02-01", "2012-02-02", "not whole months"),
        ("2012-02-01", "2012-04-01", "not whole months"),
        ("{last}", "{end}", "only {date} and {last}"),
        ("each: month", "each: month\n      bytes: 5", "of one file"),
        ("cds:era5", "https://h/x.nc", "a request is of a cds: URL"),
        ('request: { date: ["{date}/{last}"], area: [1, 2] }', "", "such a URL needs one"),
        ('name: "{date:%Y-%m}.nc"', "name: ''", "name is not given"),
        ('name: "{date:%Y-%m}.nc"', "name: a/{date}.nc", "names no file"),
        ('name: "{date:%Y-%m}.nc"', "name: a.nc", ""),
    ],
)
def test_days_and_requests_that_cannot_be_are_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in MONTHLY
    text = changed("url: synthetic://world", MONTHLY.replace(old, new))
    if said:
        assert said in str(refusal(tmp_path, text))
    else:  # the digests of their requests tell files of one name apart
        assert len(load_sources(written(tmp_path, text))["world"].files) == 2


def test_a_pattern_needs_a_name_for_what_it_finds(tmp_path: Path) -> None:
    text = changed("url: synthetic://world", "url: copernicusmarine:P/D/x_*.nc")
    assert "name is not given" in str(refusal(tmp_path, text))


def test_days_that_are_still_to_be_fetched_are_scenes(
    catalogue: dict[str, Source], tmp_path: Path
) -> None:
    daily = {k: s for k, s in catalogue.items() if any(f.days for f in s.files)}
    assert {"era5_sst", "ostia", "oisst", "mur25", "mur", "duacs"} <= daily.keys()
    for key, source in daily.items():
        path = local_paths(source, key, tmp_path / "none", tmp_path)[0]
        album = READERS.call(source.reader.op, source.reader.args, path, source)
        dates = {scene.date for scene in album.scenes().values()}
        assert dates == {file.days[0] for file in source.files if file.days}, key


def test_every_address_of_the_catalogue_is_well_formed(catalogue: dict[str, Source]) -> None:
    for key, source in catalogue.items():
        assert len(local_paths(source, key, Path(), Path())) == len(source.files) > 0
        for file in source.files:
            for url in (file.url, *file.mirrors):
                parts = urlsplit(url)
                hosted = {"http", "https", "ftp", "synthetic"}
                assert parts.scheme in hosted | {"file", "cds", "copernicusmarine"}, key
                assert bool(parts.netloc) == (parts.scheme in hosted), key
                assert not re.search(r"\s", url), key


def test_every_source_says_what_its_numbers_mean(catalogue: dict[str, Source]) -> None:
    heights = set(Elevation.__args__)  # type: ignore[attr-defined]
    for key, source in catalogue.items():
        assert source.title, key
        assert source.licence, key
        assert source.citation or key.startswith("synthetic"), key
        assert source.vertical_datum in DATUMS | {None}, key
        names = {v.standard_name for v in source.variables.values()}
        assert (source.vertical_datum is not None) == bool(names & heights), key
        for variable in source.variables.values():
            assert units.check(variable.units)


def test_local_files_of_the_catalogue_are_what_it_says(
    catalogue: dict[str, Source], shared_data: Path
) -> None:
    checked = 0
    for key, source in catalogue.items():
        paths = local_paths(source, key, Path(), shared_data)
        for file, path in zip(source.files, paths, strict=True):
            if file.url.startswith("file:"):
                # A folder, such as a Zarr store, has no checksum in the catalogue.
                assert path.is_dir() or (file.sha256 and file.bytes), key
                check(path, file)
                checked += 1
    assert checked >= 7
