"""What is told of the temperature of the synthetic ocean: by two analyses, and by stations.

The analyses differ as real ones do: in cells and coasts, in what they smooth, and by a bias. Both
damp extremes, which stations measure in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter

from nunatak.sources.noise import Floats
from nunatak.sources.points import grid_points
from nunatak.sources.relief import KM
from nunatak.sources.sheet import DEGREE
from nunatak.sources.waters import Field, Ocean, climate, time

# What analyses keep of an extreme.
DAMPED = 0.6
# The most stations that an ocean has.
STATIONS = 500
_SMOOTH, _COARSELY = 8.0 * KM, 0.6
_BIAS, _SPREAD, _ERROR = 0.55, 0.25, 0.15
_NOISE, _MISSED, _BROKEN, _REPAIR = 0.1, 0.1, 0.11, 30
_ASIDE = 0.05
# Days and K of what wanders at stations, alone and together.
_MEMORY, _ALONE, _TOGETHER = 20.0, 0.8, 0.5


def analysis(ocean: Ocean, when: date, cells: int) -> Field:
    """Temperature (K) by a fine analysis: smoothed over some 8 km, extremes damped to 60 %.

    Parameters
    ----------
    ocean
        The ocean.
    when
        The day.
    cells
        How many a degree, along both axes.

    Returns
    -------
    ndarray
        Rows and columns of the ocean's box, north-up; NaN on land.
    """
    warm = ocean.box(_analysed(ocean, when, cells, _SMOOTH * cells / DEGREE), cells)
    return np.where(ocean.ashore(cells), np.nan, warm).astype(np.float32)


def reanalysis(ocean: Ocean, when: date, cells: int, coarser: int) -> Field:
    """Temperature (K) by a coarse analysis: smoothed over its cells, biased, with its own errors.

    Parameters
    ----------
    ocean, when
        As for `analysis`.
    cells
        Of the fine analysis, a degree.
    coarser
        How many of these are a side of a cell; they divide those of the box.

    Returns
    -------
    ndarray
        Rows and columns of coarse cells, north-up; NaN where more than half is land.
    """
    warm = ocean.box(_analysed(ocean, when, cells, _COARSELY * coarser), cells)
    error = ocean.currents.waves("error", _ERROR, 400.0 * KM, 4.0, 0.12).at(time(when))
    told = warm + ocean.box(ocean.sheet.on(error, *ocean.sheet.axes(cells)), cells)
    land = _blocks(ocean.ashore(cells), coarser) > 0.5
    coarse = _blocks(told, coarser) + bias(ocean, cells, coarser)
    return np.where(land, np.nan, coarse).astype(np.float32)


def bias(ocean: Ocean, cells: int, coarser: int) -> Floats:
    """What `reanalysis` adds to temperature (K), 0.3 to 0.8 from place to place, on all days."""
    waves = ocean.currents.waves("bias", 1.0, 500.0 * KM, 4.0, 0.0).at(0.0)
    lift = _BIAS + _SPREAD * np.tanh(ocean.sheet.on(waves, *ocean.sheet.axes(cells)))
    return _blocks(ocean.box(lift, cells), coarser)


def _analysed(ocean: Ocean, when: date, cells: int, smooth: float) -> Floats:
    """Smoothed temperature (K) with damped extremes at the cells of the ocean's sheet."""
    _, calm = ocean.surface(when, cells)
    warm = calm + DAMPED * ocean.event(when, *ocean.sheet.axes(cells))
    found: Floats = gaussian_filter(warm, smooth, mode="nearest")
    return found


def _blocks(values: NDArray[np.generic], side: int) -> Floats:
    """Means over square blocks."""
    rows, cols = (size // side for size in values.shape)
    means: Floats = values.reshape(rows, side, cols, side).mean(axis=(1, 3))
    return means


def stations(ocean: Ocean, count: int) -> tuple[Floats, Floats]:
    """Longitudes and latitudes (degrees) of the first so many stations of an ocean.

    They lie at sea, off the coast and not at the very edge of the box; there may be fewer than are
    asked for, and are no more than 500.
    """
    left, bottom, right, top = ocean.bounds
    aside = ocean.random("stations").uniform(_ASIDE, 1 - _ASIDE, (STATIONS, 2)).T
    longitude, latitude = left + (right - left) * aside[0], bottom + (top - bottom) * aside[1]
    at_sea = np.flatnonzero(ocean.offshore(longitude, latitude))[:count]
    return longitude[at_sea], latitude[at_sea]


def measured(ocean: Ocean, when: date, cells: int, count: int) -> Floats:
    """What stations measure on a day: the temperature (K) of the cell that each lies in.

    Parameters
    ----------
    ocean, when, cells
        As for `analysis`.
    count
        As for `stations`.

    Returns
    -------
    ndarray
        Of each station, with 0.1 K of noise; NaN on the days that it misses, one in five.
    """
    longitude, latitude = stations(ocean, count)
    left, _, _, top = ocean.bounds
    cell = ((top - latitude) * cells).astype(int), ((longitude - left) * cells).astype(int)
    _, calm = ocean.surface(when, cells)
    warm = ocean.box(calm + ocean.event(when, *ocean.sheet.axes(cells)), cells)[cell]
    found: Floats = warm + _noise(ocean, when)[: longitude.size]
    return found


def in_cells(values: Floats | Field, longitude: Floats, latitude: Floats, grid: GeoBox) -> Field:
    """Values at places (degrees) as cells of a geographic grid: the mean of those in each.

    NaN where there is none; longitudes may be off by whole circles, and values may be NaN.
    """
    left = grid.affine.c
    places = {"x": left + (longitude - left) % 360, "y": latitude, "value": values}
    return grid_points(pd.DataFrame(places), "value", grid, "mean")[0]


def _noise(ocean: Ocean, when: date) -> Floats:
    """Noise (K) of all stations on a day; NaN where one is broken or sends nothing."""
    random = ocean.random("sent", when.isoformat())
    missed = random.random(STATIONS) < _MISSED
    noise = _NOISE * random.standard_normal(STATIONS)
    broken = ocean.random("broken", int(time(when) // _REPAIR)).random(STATIONS) < _BROKEN
    return np.where(missed | broken, np.nan, noise)


def station_series(
    regions: Mapping[str, Sequence[float]],
    *,
    seed: int = 0,
    start: date | str = "2013-01-01",
    days: int = 2191,
    count: int = 8,
    land: float = 0.0,
    season: float = 6.0,
    extremes: float = 2.5,
) -> pd.DataFrame:
    """Years of temperature at stations, without the fields around them.

    Stations, their calendars, noise, season and extremes are those of `measured`. In place of what
    the currents stir there is noise with a memory of 20 days, in part shared by a region.

    Parameters
    ----------
    regions
        Left, bottom, right, top (degrees) of each, by name.
    seed
        Of the world.
    start, days
        The first day, and how many; more of them change none of the first.
    count
        Stations a region.
    land, season, extremes
        As for `nunatak.sources.waters.Ocean`.

    Returns
    -------
    pandas.DataFrame
        ``date``, ``station`` (``REGION_NUMBER``), ``lon``, ``lat`` (degrees) and ``sst`` (K), by
        station and date; days that a station misses are not there.
    """
    first = date.fromisoformat(start) if isinstance(start, str) else start
    dates = [first + timedelta(days=number) for number in range(days)]
    found = []
    for name, (left, bottom, right, top) in regions.items():
        ocean = Ocean(seed, (left, bottom, right, top), land, season, extremes)
        longitude, latitude = stations(ocean, count)
        warm = climate(latitude) + _wandering(ocean, dates)[:, : longitude.size]
        y, x = ocean.sheet.places(longitude, latitude)
        for when, row in zip(dates, warm, strict=True):
            row += ocean.season_on(when) + ocean.event(when, y, x, scattered=True)
            row += _noise(ocean, when)[: longitude.size]
        found += [
            pd.DataFrame({"date": pd.DatetimeIndex(dates), "station": f"{name}_{number}"}).assign(
                lon=longitude[number], lat=latitude[number], sst=warm[:, number]
            )
            for number in range(longitude.size)
        ]
    return pd.concat(found).dropna().reset_index(drop=True)


def _wandering(ocean: Ocean, dates: Sequence[date]) -> Floats:
    """Noise (days, stations) that forgets slowly (K); that of a day does not need other days."""
    memory = int(6 * _MEMORY)
    all_days = [dates[0] - timedelta(days=memory - n) for n in range(memory)] + list(dates)
    shocks = np.stack(
        [ocean.random("wander", day.isoformat()).standard_normal(STATIONS + 1) for day in all_days]
    )
    kept = np.exp(-1 / _MEMORY)
    walk = lfilter([np.sqrt(1 - kept**2)], [1.0, -kept], shocks, axis=0)[memory:]
    wandering: Floats = _ALONE * walk[:, 1:] + _TOGETHER * walk[:, :1]
    return wandering
