"""A data set as a value, and the plain parts that all configuration is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self, get_args

from odc.geo.crs import CRS
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pyproj.exceptions import CRSError

from nunatak import registry, units
from nunatak.dotted import put
from nunatak.errors import ConfigError

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def _plain(name: str) -> str:
    """Names reach shell commands and file names: letters, digits and underscores only."""
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"{name!r} is not a plain identifier: a letter, then letters, digits or _")
    return name


def _crs(text: str) -> str:
    try:
        CRS(text)
    except CRSError as error:
        raise ValueError(
            "unknown CRS; give a code like 'EPSG:3031', well-known text or a PROJ string"
        ) from error
    return text


def _crs_if_any(text: str) -> str:
    return _crs(text) if text else text


Name = Annotated[str, AfterValidator(_plain)]
Units = Annotated[str, AfterValidator(units.check)]
Crs = Annotated[str, AfterValidator(_crs)]


class Model(BaseModel):
    """Base of every configuration value: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def changed(self, values: Mapping[str, Any]) -> Self:
        """A copy, checked again, with other values at places told by dotted paths.

        Raises
        ------
        KeyError
            If there is no such place.
        pydantic.ValidationError
            If it does not fit together then.
        """
        plain = self.model_dump(mode="json")
        for path, value in values.items():
            plain = put(plain, path, value)
        return type(self).model_validate(plain)


class Op(Model):
    """The universal plug: a registered operation and its arguments."""

    op: str
    args: dict[str, Any] = {}


def checked(kind: registry.Registry, op: str, args: dict[str, Any]) -> None:
    """Check an operation and its arguments, as a pydantic validator does."""
    try:
        kind.check(op, args)
    except ConfigError as error:
        raise ValueError(str(error)) from error


def one_of(kind: registry.Registry) -> Any:
    """The type of an `Op` that is registered under a kind."""

    def check(op: Op) -> Op:
        checked(kind, op.op, op.args)
        return op

    return Annotated[Op, AfterValidator(check)]


class File(Model):
    """One file of a source, or one of each day, month or year of ``days``.

    ``url`` is http(s), ftp, ``file:`` (relative paths are below the data root) or ``synthetic:``;
    ``cds:DATASET``, which the Climate Data Store makes by ``request``; or
    ``copernicusmarine:PRODUCT/DATASET/PATH``, where ``*`` in the path stands for what is not known.
    """

    url: str
    mirrors: tuple[str, ...] = ()
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    bytes: Annotated[int, Field(gt=0)] | None = None
    member: str | None = None
    name: str | None = None
    request: dict[str, Any] = {}
    days: tuple[date, date] | None = None
    each: Literal["day", "month", "year"] = "day"

    @model_validator(mode="after")
    def _named(self) -> File:
        made = self.url.startswith("cds:")
        if made != bool(self.request):
            raise ValueError("a request is of a cds: URL, and such a URL needs one")
        if not self.name and (made or "*" in self.url):
            raise ValueError("the URL ends in no file name: name is not given")
        return self

    @model_validator(mode="after")
    def _whole_periods(self) -> File:
        if self.days is None:
            return self
        first, last = self.days
        periods = list(_periods(first, last, self.each))
        if not periods or periods[-1][1] != last or periods[0][0] != first:
            raise ValueError(f"days {first} to {last} are not whole {self.each}s, first to last")
        if len(periods) > 1 and (self.sha256 or self.bytes):
            raise ValueError("sha256 and bytes are of one file, but days make several")
        return self

    def each_period(self) -> tuple[File, ...]:
        """The file of each of its periods; itself, if it is of no days.

        In every text, also in those of ``request``, ``{date}`` is the first day of the period and
        ``{last}`` the last one, formatted as ``strftime`` does: ``{date:%Y%m%d}``. The ``days`` of
        each file are those that it holds.

        Raises
        ------
        ValueError
            If a text names anything else in braces.
        """
        if self.days is None:
            return (self,)
        plain = self.model_dump(exclude={"days"})
        return tuple(
            File.model_validate({**_filled(plain, date=first, last=last), "days": (first, last)})
            for first, last in _periods(*self.days, self.each)
        )


def _periods(first: date, last: date, each: str) -> Iterator[tuple[date, date]]:
    """First and last day of each period, all of them whole, that begins in these days."""
    start = {"day": first, "month": first.replace(day=1), "year": first.replace(month=1, day=1)}
    begin = start[each]
    while begin <= last:
        month = (begin.replace(day=28) + timedelta(days=4)).replace(day=1)
        year = date(begin.year + 1, 1, 1)
        after = {"day": begin + timedelta(days=1), "month": month, "year": year}[each]
        yield begin, after - timedelta(days=1)
        begin = after


def _filled(value: Any, **days: date) -> Any:
    """The same, with days in all of its texts."""
    if isinstance(value, Mapping):
        return {key: _filled(each, **days) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(each, **days) for each in value]
    if not isinstance(value, str):
        return value
    try:
        return value.format(**days)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError(f"{value!r}: only {{date}} and {{last}} are known in braces") from error


def _every(files: tuple[File, ...]) -> tuple[File, ...]:
    return tuple(one for file in files for one in file.each_period())


class Variable(Model):
    """A variable of a source: what it is called in the file, its units and its valid range.

    ``units`` are those of the file; data are converted to ``to`` on reading. ``nodata`` adds to
    what the file itself declares; values outside ``valid_range`` (in the file's units) are missing.
    Values below ``floor`` (in the file's units) stand for it, and are valid: where a file says "no
    ice" by a negative thickness, ``floor: 0``. It must lie in the valid range.
    ``lag`` is how many days before a scene's own date the field is taken, of a source of days.
    """

    name: str = ""
    units: Units
    to: Units | None = None
    standard_name: str = ""
    nodata: float | None = None
    valid_range: tuple[float, float] | None = None
    floor: float | None = None
    lag: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _convertible(self) -> Variable:
        units.factor(self.units, self.to or self.units)
        return self

    @model_validator(mode="after")
    def _floor_is_valid(self) -> Variable:
        low, high = self.valid_range or (float("-inf"), float("inf"))
        if self.floor is not None and not low <= self.floor <= high:
            raise ValueError(f"floor {self.floor:g} lies outside valid_range, {low:g} to {high:g}")
        return self


Elevation = Literal["bedrock_altitude", "surface_altitude", "sea_surface_height_above_geoid"]


class Source(Model):
    """What and where a data set is, its units, CRS, vertical datum, reader, licence, citation.

    A source of scenes has no ``crs`` of its own: each scene says where it lies, or does not.
    """

    title: str
    files: Annotated[tuple[File, ...], AfterValidator(_every)]
    reader: one_of(registry.READERS)  # type: ignore[valid-type]
    variables: dict[Name, Variable]
    crs: Annotated[str, AfterValidator(_crs_if_any)] = ""
    resolution: float | None = None
    vertical_datum: str | None = None
    licence: str
    citation: str = ""
    auth: Literal["none", "earthdata"] = "none"

    @model_validator(mode="after")
    def _lies_somewhere(self) -> Source:
        if not self.crs and self.reader.op not in registry.ALBUMS:
            raise ValueError("crs is not given")
        return self

    @model_validator(mode="after")
    def _datum_of_heights(self) -> Source:
        heights = [n for n, v in self.variables.items() if v.standard_name in get_args(Elevation)]
        if heights and not self.vertical_datum:
            raise ValueError(f"{', '.join(heights)} are heights, but vertical_datum is not given")
        return self
