"""Stations: points with a calendar of their own, like moorings and floats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from nunatak.content import digest_array
from nunatak.errors import DataError
from nunatak.grid import Window
from nunatak.provenance import digest_json
from nunatak.scene import Scene
from nunatak.source import Source
from nunatak.sources.gridded import clean
from nunatak.sources.points import grid_points, located
from nunatak.sources.raster import crs_of, geographic

COLUMNS = ("station", "date", "lon", "lat", "value")
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Stations:
    """What stations measured of one quantity.

    Parameters
    ----------
    table
        A row a measurement: ``station`` (name), ``date`` (the day, UTC), ``lon``, ``lat``
        (degrees), ``value``. None is missing; a station may move, and may measure several times
        a day, or not at all.
    """

    table: pd.DataFrame

    def near(self, date: np.datetime64, days: int = 0) -> Stations:
        """What each station measured on a day or, if on none so near, the nearest in time.

        Parameters
        ----------
        date
            The day.
        days
            How far off a measurement may be; of two as far off, the earlier counts.
        """
        off = (self.table["date"].to_numpy() - np.datetime64(date)) / _DAY
        # An earlier day comes before the later one that is as far off.
        rank = np.where(off <= 0, -2 * off, 2 * off + 1)
        least = pd.Series(rank).groupby(self.table["station"].to_numpy()).transform("min")
        return Stations(self.table[(rank == least.to_numpy()) & (np.abs(off) <= days)])

    def between(self, first: np.datetime64, last: np.datetime64) -> Stations:
        """What was measured from one day to another, both included."""
        date = self.table["date"].to_numpy()
        return Stations(self.table[(date >= np.datetime64(first)) & (date <= np.datetime64(last))])

    def within(self, geobox: GeoBox) -> pd.DataFrame:
        """The measurements in a grid: the table, with ``x`` and ``y`` in its CRS.

        Longitudes are compared modulo 360: a station at -170 lies in a box from 180 to 200.

        Raises
        ------
        DataError
            If nothing tells where the grid lies.
        """
        if geobox.crs is None:
            raise DataError(
                "stations, for a grid of which nothing tells where it lies",
                "a grid with a CRS",
                "write a sidecar beside the scene, or leave out the role of stations",
            )
        move = Transformer.from_crs("EPSG:4326", crs_of(geobox).to_wkt(), always_xy=True)
        x, y = move.transform(self.table["lon"].to_numpy(), self.table["lat"].to_numpy())
        if geographic(geobox):
            left = geobox.boundingbox.left
            x = left + (np.asarray(x) - left) % 360
        placed = self.table.assign(x=x, y=y)
        return placed[located(placed["x"].to_numpy(), placed["y"].to_numpy(), geobox)[2]]

    def daily(self) -> pd.DataFrame:
        """A row for every day from the first to the last, a column a station, both sorted.

        Of several measurements a day, the mean; NaN where there is none.
        """
        if self.table.empty:
            return pd.DataFrame(index=pd.DatetimeIndex([], name="date"), dtype=np.float64)
        found = self.table.groupby(["date", "station"])["value"].mean().unstack("station")
        return found.asfreq("D").sort_index(axis=1)


@dataclass(frozen=True)
class StationAlbum:
    """A source of stations, as an album that tells of no scene but has something of any.

    A day without a station is missing, not refused: stations have a calendar of their own.

    Parameters
    ----------
    source
        Its entry in the catalogue.
    table
        From the file's name of a variable to the table that `Stations` holds.
    days
        How many days from a scene's own a measurement may be.
    """

    source: Source
    table: Callable[[str], pd.DataFrame]
    days: int = 0

    def stations(self, variable: str) -> Stations:
        """What was measured of a variable, in the file's units; what is not valid is left out.

        Raises
        ------
        DataError
            If the source does not declare the variable.
        """
        declared = self.source.variables.get(variable)
        if declared is None:
            known = ", ".join(self.source.variables)
            raise DataError(f"{self.source.title} declares no {variable!r}", f"one of {known}")
        table = self.table(declared.name or variable)
        value = clean(table["value"].to_numpy(), declared).astype(np.float64)
        return Stations(table.assign(value=value).dropna(subset=["value"]))

    def scenes(self) -> dict[str, Scene]:
        """None: stations have no grid."""
        return {}

    def holds(self, scene: Scene) -> bool:
        """True: of a scene without a station, all is missing."""
        del scene
        return True

    def raster(self, name: str, scene: Scene) -> StationSampler:
        """The stations of a scene's day, to be sampled."""
        del name
        return StationSampler(self, scene)

    def digest(self, name: str, scene: Scene) -> str:
        """Digest of what was measured in a scene's box on its day, of every variable."""
        del name
        tables = {v: self.seen(v, scene, scene.geobox) for v in sorted(self.source.variables)}
        return digest_json({variable: _digest(table) for variable, table in tables.items()})

    def seen(self, variable: str, scene: Scene, geobox: GeoBox) -> pd.DataFrame:
        """The measurements of a variable in a grid, on a scene's day less the variable's lag."""
        given = self.stations(variable)
        day = np.datetime64(scene.date) - np.timedelta64(self.source.variables[variable].lag, "D")
        return given.near(day, self.days).within(geobox)


def _digest(table: pd.DataFrame) -> list[Any]:
    """Digests of a table's columns, whatever the order of its rows."""
    ordered = table.sort_values(list(COLUMNS), kind="stable")
    numbers = ordered[["lon", "lat", "value"]].to_numpy(np.float64)
    return [
        ordered["station"].tolist(),
        ordered["date"].astype(str).tolist(),
        digest_array(numbers),
    ]


@dataclass(frozen=True)
class StationSampler:
    """The stations of a scene's day as a field: missing but where a station lies."""

    album: StationAlbum
    scene: Scene

    @property
    def geobox(self) -> GeoBox | None:
        """None: it has no grid."""
        return None

    def read(self, variable: str, window: Window) -> NDArray[np.float32]:
        """Refused: there are no cells to read."""
        raise NotImplementedError("stations are sampled")

    def sample(self, variable: str, geobox: GeoBox) -> NDArray[np.float32]:
        """The mean of the measurements in each cell, in the file's units; NaN where is none."""
        seen = self.album.seen(variable, self.scene, geobox)
        return grid_points(seen, "value", geobox, "mean")[0]
