"""The synthetic ocean as an album of days, without a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from nunatak.errors import ConfigError, SourceError
from nunatak.grid import Window
from nunatak.provenance import digest_json
from nunatak.scene import Scene
from nunatak.source import Source
from nunatak.sources import ocean as told
from nunatak.sources.raster import Raster, same_crs
from nunatak.sources.waters import Day, Field, Ocean

_CRS = "EPSG:4326"
_POLEWARD = 80.0
ANALYSIS, REANALYSIS, STATIONS, TRUTH = "analysis", "reanalysis", "stations", "truth"
_VARIABLES = {TRUTH: Day._fields, ANALYSIS: ("sst",), REANALYSIS: ("sst",), STATIONS: ("sst",)}


@dataclass(frozen=True)
class Look:
    """Which product of an ocean is read, in which cells; see `open_synthetic_ocean`."""

    product: str
    cells: int
    coarser: int
    stations: int

    @property
    def side(self) -> float:
        """Side of a cell of the product (degrees)."""
        return (self.coarser if self.product == REANALYSIS else 1) / self.cells

    def fields(self, ocean: Ocean, when: date) -> dict[str, Field]:
        """Its fields on a day, by name; of stations, one number each."""
        if self.product == TRUTH:
            return ocean.day(when, self.cells)._asdict()
        tellers: dict[str, Callable[[], NDArray[Any]]] = {
            ANALYSIS: lambda: told.analysis(ocean, when, self.cells),
            REANALYSIS: lambda: told.reanalysis(ocean, when, self.cells, self.coarser),
            STATIONS: lambda: told.measured(ocean, when, self.cells, self.stations),
        }
        return {"sst": tellers[self.product]().astype(np.float32)}


# Windows of one day, and days that follow each other, are read in turn.
@lru_cache(maxsize=8)
def _fields(look: Look, ocean: Ocean, when: date) -> dict[str, Field]:
    return look.fields(ocean, when)


@dataclass(frozen=True)
class OceanAlbum:
    """Days of synthetic oceans; see `open_synthetic_ocean`."""

    source: Source
    look: Look
    oceans: Mapping[str, Ocean]
    start: date
    days: int

    def scenes(self) -> dict[str, Scene]:
        """What is known of every day of every region, by name, sorted."""
        return dict(sorted(self.found.items()))

    @cached_property
    def found(self) -> dict[str, Scene]:
        """Every day of every region, by name."""
        found = {}
        for region, ocean in self.oceans.items():
            shape = _cells(ocean.bounds, self.look.side)
            for day in (self.start + timedelta(days=number) for number in range(self.days)):
                found[f"{region}_{day}"] = Scene(
                    group=region, date=day, shape=shape, crs=_CRS, bounds=ocean.bounds
                )
        return found

    def holds(self, scene: Scene) -> bool:
        """Whether there is such a day of such a region."""
        return scene.group in self.oceans and self.covers(scene.date)

    def covers(self, when: date) -> bool:
        """Whether there is such a day."""
        return 0 <= (when - self.start).days < self.days

    def digest(self, name: str, scene: Scene) -> str:
        """Digest of what a day is a function of, and of which days before it there are."""
        del name
        lags = {variable.lag for variable in self.source.variables.values()}
        there = [lag for lag in sorted(lags) if self.covers(scene.date - timedelta(days=lag))]
        known = [asdict(self.look), asdict(self.oceans[scene.group]), scene.date.isoformat(), there]
        return digest_json(known)

    def raster(self, name: str, scene: Scene) -> Raster:
        """One day of a region, to be read."""
        del name
        reader = StationDay if self.look.product == STATIONS else OceanDay
        return reader(self, scene.group, scene.date)

    def field(self, variable: str, region: str, when: date) -> Field | None:
        """A variable of a region on a day less its lag; None if there is no such day.

        Raises
        ------
        SourceError
            If the product has no such variable.
        """
        declared = self.source.variables.get(variable)
        name, lag = ((declared.name or variable), declared.lag) if declared else (variable, 0)
        known = _VARIABLES[self.look.product]
        if name not in known:
            raise SourceError(
                f"the synthetic ocean's {self.look.product} has no variable {name!r}",
                f"one of {', '.join(known)}",
                "correct the variable's name in the source",
            )
        day = when - timedelta(days=lag)
        return _fields(self.look, self.oceans[region], day)[name] if self.covers(day) else None


@dataclass(frozen=True)
class OceanDay:
    """A day of a region on the grid of a product."""

    album: OceanAlbum
    region: str
    when: date

    @property
    def geobox(self) -> GeoBox:
        """The product's own grid, also where the scene's is another's."""
        return self.album.found[f"{self.region}_{self.when}"].geobox

    def read(self, variable: str, window: Window) -> Field:
        """Values of a window; NaN on land, and everywhere before the first day.

        Raises
        ------
        SourceError
            If the product has no such variable.
        """
        field = self.album.field(variable, self.region, self.when)
        if field is None:
            return np.full(window.shape, np.nan, np.float32)
        return field[window.slices].copy()


@dataclass(frozen=True)
class StationDay:
    """What the stations of a region measure on a day, on any grid of longitudes and latitudes."""

    album: OceanAlbum
    region: str
    when: date

    @property
    def geobox(self) -> GeoBox | None:
        """None: stations lie in the cells of whichever grid is asked for."""
        return None

    def read(self, variable: str, window: Window) -> Field:
        """Not possible without a grid.

        Raises
        ------
        SourceError
            Always.
        """
        raise SourceError(
            f"{variable!r} was asked for by {window}, but stations have no grid",
            "a grid that they lie in",
            "call sample with a GeoBox",
        )

    def sample(self, variable: str, geobox: GeoBox) -> Field:
        """What was measured in each cell, the mean of its stations; NaN where nothing was.

        Raises
        ------
        SourceError
            If there is no such variable, or the grid is not one of longitudes and latitudes.
        """
        if not geobox.axis_aligned or not same_crs(geobox.crs, CRS(_CRS)):
            raise SourceError(
                f"stations cannot be put onto {geobox!r}",
                f"a grid along the axes of {_CRS}",
                "give the recipe a grid of longitudes and latitudes",
            )
        values = self.album.field(variable, self.region, self.when)
        if values is None:
            return np.full(geobox.shape, np.nan, np.float32)
        places = told.stations(self.album.oceans[self.region], self.album.look.stations)
        return told.in_cells(values, *places, geobox)


def open_synthetic_ocean(
    path: Path | str,
    source: Source,
    *,
    regions: Mapping[str, Sequence[float]],
    days: int,
    start: str = "2013-01-01",
    seed: int = 0,
    cells: int = 60,
    product: str = "truth",
    coarser: int = 5,
    stations: int = 8,
    land: float = 0.0,
    season: float = 0.0,
    extremes: float = 0.0,
) -> OceanAlbum:
    """Open a synthetic ocean as a source of days; there is no file, ``path`` is not looked at.

    A scene is a day of a region. Sources of the same seed, regions, land, season and extremes see
    the same ocean.

    Parameters
    ----------
    path
        Not used.
    source
        Its entry in the catalogue: ``ssh`` (m), ``sst`` (K), ``u`` and ``v`` (m s-1) of the truth,
        ``sst`` alone of the other products. A variable with a ``lag`` is missing where there is no
        such day.
    regions
        Left, bottom, right, top (degrees) by name: ``{gulf: [-60, 34, -52, 42]}``. A region that
        crosses the date line runs on over 180.
    days
        How many; more of them change none of the first.
    start
        The first day.
    seed
        Of the world.
    cells
        How many a degree, along both axes; 60 as in NATL60.
    product
        ``truth``; ``analysis`` (temperature smoothed over 8 km, extremes damped to 60 %);
        ``reanalysis`` (that in coarser cells, with a bias of 0.3 to 0.8 K and errors); or
        ``stations``, points that measure the truth on four days in five.
    coarser
        How many cells are a side of one of the reanalysis.
    stations
        How many a region.
    land
        Share of a region that is land, on all days the same.
    season
        Half of what temperature swings by in a year (K).
    extremes
        Typical strength (K) of warm and cold events of a day or two.

    Raises
    ------
    ConfigError
        If a region is none or does not consist of whole cells, or a value is out of bounds.
    """
    del path
    first = _checked(product, start, {"days": days, "cells": cells, "coarser": coarser})
    if not 0 <= land <= 0.8:
        raise ConfigError(f"synthetic_ocean: land {land:g}", "a share from 0 to 0.8")
    if not 0 <= stations <= told.STATIONS:
        raise ConfigError(f"synthetic_ocean: {stations} stations", f"0 to {told.STATIONS}")
    if not regions:
        raise ConfigError("synthetic_ocean: no regions", "at least one, by name")
    look = Look(product, cells, coarser, stations)
    oceans = {
        name: Ocean(seed, _box(name, given, look), land, season, extremes)
        for name, given in regions.items()
    }
    return OceanAlbum(source, look, oceans, first, days)


def _checked(product: str, start: str, counts: Mapping[str, int]) -> date:
    if product not in _VARIABLES:
        raise ConfigError(
            f"synthetic_ocean: product {product!r}", f"one of {', '.join(_VARIABLES)}"
        )
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"synthetic_ocean: {name} is {count}", "1 or more")
    try:
        return date.fromisoformat(str(start))
    except ValueError as error:
        raise ConfigError(
            f"synthetic_ocean: start {start!r}", "a date like '2013-01-01'"
        ) from error


def _box(name: str, given: Sequence[float], look: Look) -> tuple[float, float, float, float]:
    """The bounds of a region, checked."""
    where = f"synthetic_ocean: region {name} {given}"
    if len(given) != 4 or not all(isinstance(number, int | float) for number in given):
        raise ConfigError(where, "left, bottom, right, top (degrees)")
    left, bottom, right, top = (float(number) for number in given)
    if not (left < right <= left + 360 and -_POLEWARD <= bottom < top <= _POLEWARD):
        raise ConfigError(
            where,
            "left < right and bottom < top, between 80 S and 80 N",
            "let a region that crosses the date line run on over 180: [175, 30, 185, 40]",
        )
    sides = (top - bottom) / look.side, (right - left) / look.side
    if max(abs(side - round(side)) for side in sides) > 1e-6:
        raise ConfigError(
            f"{where}: {sides[0]:g} x {sides[1]:g} cells of 1/{1 / look.side:g} degree",
            "whole cells",
            "choose bounds that the side of a cell divides",
        )
    return left, bottom, right, top


def _cells(bounds: tuple[float, float, float, float], side: float) -> tuple[int, int]:
    """Rows and columns of cells of a side (degrees) in a box."""
    left, bottom, right, top = bounds
    return round((top - bottom) / side), round((right - left) / side)
