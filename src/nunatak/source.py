"""A data set as a value, and the plain parts that all configuration is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
    """One file of a source: where it is, and how to know that it is whole.

    ``url`` is http(s), ftp, ``file:`` (relative paths are below the data root) or ``synthetic:``.
    """

    url: str
    mirrors: tuple[str, ...] = ()
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    bytes: Annotated[int, Field(gt=0)] | None = None
    member: str | None = None


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


Elevation = Literal["bedrock_altitude", "surface_altitude"]


class Source(Model):
    """What and where a data set is, its units, CRS, vertical datum, reader, licence, citation.

    A source of scenes has no ``crs`` of its own: each scene says where it lies, or does not.
    """

    title: str
    files: tuple[File, ...]
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
