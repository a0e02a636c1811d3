"""The synthetic ocean: sea-surface height, temperature and currents of any day, without a file.

Temperature is a tracer that the currents stir for days into fronts and filaments. Light water
stands high: its smaller structures add to the height as in surface quasi-geostrophy (Lapeyre and
Klein 2006, doi:10.1175/JPO2840.1), so that temperature tells of fine height. It does not tell of
all: jet, eddies and background have a height of their own, and of the temperature so are spice
(whose salt makes up for its heat), what the atmosphere leaves, extremes and noise.

An ocean is a function of its seed and its box alone; a day of it, of the date too. Structures are
the same in cells of any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import fft
from scipy.signal.windows import tukey

from nunatak.metrics.ocean import cells as ground
from nunatak.metrics.ocean import geostrophic
from nunatak.sources.currents import Currents
from nunatak.sources.noise import Floats
from nunatak.sources.relief import KM
from nunatak.sources.sheet import Sheet, Waves, bells, wavenumbers

Field = NDArray[np.float32]
Kind = TypeVar("Kind", bound=np.generic)

EPOCH = date(2000, 1, 1)
# Degrees from the equator within which no current follows from the height.
EQUATORIAL = 5.0
# Days for which temperature is stirred.
_STIRRED = 8
# K a unit, and a typical height (m) of what is warm.
_HEAT, _SPICE, _FRONT, _HIGH = 0.8, 0.4, 1.4, 0.2
_EXPANSION, _STRATIFICATION, _TYPICAL_SPIN = 2.2e-4, 2.0e-3, 1.0e-4
# The currents alone make the height of what is longer (m). What is shorter than a few times the
# other is mixed away below the surface before it can make any.
_LONGEST, _MIXED = 200.0 * KM, 2.5 * KM
_NOISE = 0.03
_YEAR, _WARMEST = 365.25, 230.0
# Slots of time (days) and squares of the sheet in each of which there is an extreme; days it lasts.
_SLOT, _SQUARE, _BRIEF = 15.0, 700.0 * KM, 0.8


class Day(NamedTuple):
    """An ocean on a day (rows, cols), north-up; NaN on land.

    Attributes
    ----------
    ssh
        Height of the sea surface above the geoid (m).
    sst
        Temperature of the sea surface (K), with 0.03 K of noise.
    u, v
        Geostrophic currents, eastward and northward (m/s); NaN nearer than 5 degrees to the
        equator.
    """

    ssh: Field
    sst: Field
    u: Field
    v: Field


@dataclass(frozen=True)
class Ocean:
    """A box of ocean.

    Parameters
    ----------
    seed
        Of the world.
    bounds
        Left, bottom, right, top of the box (degrees).
    land
        Share of the box that is land, the same on all days.
    season
        Half of what temperature swings by in a year (K).
    extremes
        Typical strength (K) of warm and cold events, which last for a day or two.
    """

    seed: int
    bounds: tuple[float, float, float, float]
    land: float = 0.0
    season: float = 0.0
    extremes: float = 0.0

    @cached_property
    def sheet(self) -> Sheet:
        """The plane that the box lies in."""
        return Sheet(self.bounds)

    @cached_property
    def currents(self) -> Currents:
        """What stirs."""
        return Currents(self.sheet, self.seed)

    def random(self, *what: object) -> np.random.Generator:
        """Random numbers for something, always the same."""
        return np.random.default_rng(int(self.currents.keyed(*what)))

    @cached_property
    def _stirred(self) -> tuple[Waves, Waves]:
        """Heat and spice, each with an SD of 1, before they are stirred."""
        waves = self.currents.waves
        heat = waves("heat", 1.0, 260.0 * KM, 5.0, 0.02)
        return heat, waves("spice", 1.0, 220.0 * KM, 5.0, 0.02)

    @cached_property
    def _air(self) -> Waves:
        """What the atmosphere leaves (K)."""
        return self.currents.waves("air", 0.35, 600.0 * KM, 5.0, 0.1)

    @cached_property
    def _ground(self) -> tuple[Floats, float, float]:
        """Height of the ground, in any unit; that of the coast, and of water off it."""
        if not self.land:
            return np.zeros(self.sheet.nodes), np.inf, np.inf
        ground = self.currents.waves("ground", 1.0, 450.0 * KM, 4.0, 0.0).at(0.0)
        inside = self.box(self.sheet.on(ground, *self.sheet.axes(8)), 8)
        coast, off = np.quantile(inside, [1 - self.land, max(0.0, 0.93 - self.land)])
        return ground, float(coast), float(off)

    def offshore(self, longitude: Floats, latitude: Floats) -> NDArray[np.bool_]:
        """Whether places (degrees) are at sea, and not beside the coast."""
        ground, _, off = self._ground
        return self.sheet.at(ground, *self.sheet.places(longitude, latitude)) < off

    def ashore(self, cells: int) -> NDArray[np.bool_]:
        """Which of the box's cells, so many a degree, are land; north-up."""
        ground, coast, _ = self._ground
        return self.box(self.sheet.on(ground, *self.sheet.axes(cells)) > coast, cells)

    def box(self, values: NDArray[Kind], cells: int) -> NDArray[Kind]:
        """The box's own part of the cells of `Sheet.axes`, north-up."""
        south, west = self.sheet.around(cells)
        return values[south:-south, west:-west][::-1]

    def day(self, when: date, cells: int) -> Day:
        """Height, temperature and currents on a day.

        Parameters
        ----------
        when
            The day.
        cells
            How many a degree, along both axes.
        """
        height, calm = self.surface(when, cells)
        warm = calm + self.event(when, *self.sheet.axes(cells))
        random = self.random("noise", cells, when.isoformat())
        noise = _NOISE * random.standard_normal(self.box(warm, cells).shape)
        ssh, sst = self.box(height, cells), self.box(warm, cells) + noise
        fields, land = (ssh, sst, *self._flow(height, cells)), self.ashore(cells)
        return Day(*(np.where(land, np.nan, part).astype(np.float32) for part in fields))

    def surface(self, when: date, cells: int) -> tuple[Floats, Floats]:
        """Height (m) and temperature (K) at the cells of `Sheet.axes`, also where land is.

        Temperature is without extremes and noise.
        """
        t, sheet = time(when), self.sheet
        y, x = sheet.axes(cells)
        north, east = (sheet.on(part, y, x) for part in self.currents.origins(t, _STIRRED))
        there, before = (y[:, np.newaxis] + north, x + east), t - _STIRRED
        heat, spice = (np.tanh(1.2 * sheet.at(w.at(before), *there)) for w in self._stirred)
        # The jet ends where the plane closes: water from beyond counts as from its edge.
        edge = np.clip(there[0], 4 * sheet.spacing[0], sheet.size[0] - 5 * sheet.spacing[0])
        front = np.tanh(sheet.at(self.currents.height(before), edge, there[1]) / _HIGH)
        here = climate(sheet.latitude(y))[:, np.newaxis]
        stirred = climate(sheet.latitude(there[0])) - here + _FRONT * front + _HEAT * heat
        height = sheet.on(self.currents.height(t), y, x) + _risen(stirred, y, x)
        slow = self.season_on(when) + sheet.on(self._air.at(t), y, x)
        return height, here + stirred + _SPICE * spice + slow

    def _flow(self, height: Floats, cells: int) -> tuple[Floats, Floats]:
        """Eastward and northward geostrophic currents (m/s) of the box's cells, north-up."""
        (rows, cols), (south, west) = height.shape, self.sheet.around(cells)
        ring = height[south - 1 : rows - south + 1, west - 1 : cols - west + 1][::-1]
        left, _, _, top = self.bounds
        corner = Affine.translation(left, top) * Affine.scale(1 / cells, -1 / cells)
        grid = GeoBox(ring.shape, corner * Affine.translation(-1, -1), "EPSG:4326")
        u, v = geostrophic(ring, ground(grid), equator=EQUATORIAL)
        return u[1:-1, 1:-1], v[1:-1, 1:-1]

    def season_on(self, when: date) -> float:
        """What the season adds to temperature (K): most in August north of the equator."""
        phase = 2 * np.pi * (time(when) - _WARMEST) / _YEAR
        return float(np.copysign(self.season, self.sheet.middle) * np.cos(phase))

    def event(self, when: date, y: Floats, x: Floats, *, scattered: bool = False) -> Floats:
        """Extremes of a day (K), where rows at ``y`` meet columns at ``x``, or at places."""
        height, width = self.sheet.size
        t, events = time(when), max(1, round(height * width / _SQUARE**2))
        drawn = []
        for slot in range(int(t // _SLOT) - 1, int(t // _SLOT) + 2):
            random = self.random("extremes", slot)
            age = t - _SLOT * (slot + random.uniform(size=events))
            strength = random.uniform(0.7, 1.3, events) * random.choice([-1.0, 1.0], events)
            place = random.uniform(0, height, events), random.uniform(0, width, events)
            alive = self.extremes * strength * np.exp(-0.5 * (age / _BRIEF) ** 2)
            drawn.append([alive, *place, random.uniform(110.0, 200.0, events) * KM])
        strength, down, across, radius = np.concatenate(drawn, axis=1)
        rows = strength[:, np.newaxis] * bells(y, down, radius, height)
        columns = bells(x, across, radius, width)
        warmth: Floats = (rows * columns).sum(axis=0) if scattered else rows.T @ columns
        return warmth


def time(when: date) -> float:
    """Days since the epoch."""
    return float((when - EPOCH).days)


def climate(latitude: Floats) -> Floats:
    """Mean temperature (K) at latitudes (degrees)."""
    warm: Floats = 271.35 + 30.8 * np.cos(np.radians(latitude)) ** 2
    return warm


def _risen(warm: Floats, y: Floats, x: Floats) -> Floats:
    """Height (m) of the smaller structures of temperature (K)."""
    taper = tukey(y.size, 0.15)[:, np.newaxis] * tukey(x.size, 0.15)
    ky = wavenumbers(y.size, y[1] - y[0])[:, np.newaxis]
    k = np.hypot(ky, wavenumbers(x.size, x[1] - x[0])[: x.size // 2 + 1])
    passed = -np.expm1(-((k * _LONGEST / (2 * np.pi)) ** 2)) * np.exp(-k * _MIXED)
    share = np.divide(passed, k, out=np.zeros_like(k), where=k > 0)
    share *= _TYPICAL_SPIN * _EXPANSION / _STRATIFICATION
    risen: Floats = fft.irfft2(fft.rfft2(warm * taper) * share, s=warm.shape)
    return risen
