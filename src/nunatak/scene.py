"""A scene as a value: one acquisition of a sensor, on a grid of its own."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated

from affine import Affine
from odc.geo.geobox import GeoBox
from pydantic import AfterValidator, Field, model_validator

from nunatak.source import Crs, Model, Name

FOLDER = "scenes"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def _plain(name: str) -> str:
    """Names of scenes reach shell commands and file names."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a plain name: letters, digits, _ and - are allowed")
    return name


SceneName = Annotated[str, AfterValidator(_plain)]


class Scene(Model):
    """What is known of a scene without looking at its cells.

    ``group`` is what it shows (a glacier), ``bounds`` are left, bottom, right, top in units of the
    CRS. Without a CRS nothing is known of where it lies: its bounds count cells, and no distance in
    metres follows from it.
    """

    group: str
    date: dt.date
    sensor: str = ""
    quality: int | None = None
    shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    crs: Crs | None = None
    bounds: tuple[float, float, float, float]

    @model_validator(mode="after")
    def _upright(self) -> Scene:
        left, bottom, right, top = self.bounds
        if not (left < right and bottom < top):
            raise ValueError(f"bounds {self.bounds} are not left < right, bottom < top")
        return self

    @property
    def cell(self) -> tuple[float, float]:
        """Height and width of a cell: units of the CRS, or 1 where there is none."""
        left, bottom, right, top = self.bounds
        return (top - bottom) / self.shape[0], (right - left) / self.shape[1]

    @property
    def geobox(self) -> GeoBox:
        """Its own grid."""
        height, width = self.cell
        left, top = self.bounds[0], self.bounds[3]
        return GeoBox(self.shape, Affine(width, 0, left, 0, -height, top), self.crs)


class Scenes(Model):
    """The scenes of a recipe, each a grid of its own: the source that holds them, which are mapped.

    ``mapped`` are the groups whose scenes become products; the others are only learnt from.
    ``since`` and ``until`` narrow that to days from and to a date, both included.
    ``found`` is filled from the source.
    """

    source: Name
    mapped: tuple[str, ...] = ()
    since: dt.date | None = None
    until: dt.date | None = None
    found: dict[SceneName, Scene] = Field(default_factory=dict)

    def maps(self, scene: str) -> bool:
        """Whether a scene becomes a product."""
        found = self.found[scene]
        early = self.since is not None and found.date < self.since
        late = self.until is not None and found.date > self.until
        return not (early or late) and (not self.mapped or found.group in self.mapped)
