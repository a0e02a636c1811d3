"""Synthetic calving glaciers: fjords with a tongue of ice whose front is known on every day.

A scene is a function of the seed, the glacier and its number, so that more scenes change none.
Places are metres of EPSG:3031; ``u`` runs down the fjord and ``v`` across it, from the middle of
the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nunatak.sources.noise import Floats, key, noise, uniform
from nunatak.sources.relief import KM, ramp

CRS = "EPSG:3031"
NO_DATA, ROCK, GLACIER, OCEAN = range(4)
WIDTH, HEIGHT = 12.8 * KM, 11.2 * KM
START, DAYS = date(2008, 1, 1), 3650
_YEAR = 365.25
_GOLDEN = 0.6180339887498949
_STEP, _REACH = 25.0, 9.0 * KM
_FIRST = 10.4 * KM


class Sensor(NamedTuple):
    """What takes scenes: name, side of a cell (m), looks averaged, gain, noise (grey values)."""

    name: str
    resolution: float
    looks: float
    gain: float
    floor: float


SENSORS = (
    Sensor("TSX", 7.0, 5.0, 1.0, 6.0),
    Sensor("TSX", 7.0, 5.0, 1.0, 6.0),
    Sensor("S1", 20.0, 4.0, 1.1, 5.0),
    Sensor("PALSAR", 16.7, 3.0, 0.8, 10.0),
    Sensor("RSAT", 12.5, 2.5, 1.2, 8.0),
    Sensor("ENVISAT", 20.0, 3.0, 0.9, 9.0),
)


@dataclass(frozen=True)
class Acquisition:
    """What is known of a scene without its cells; the names are those of a scene of a recipe."""

    group: str
    date: date
    sensor: str
    quality: int
    shape: tuple[int, int]
    crs: str
    bounds: tuple[float, float, float, float]

    @property
    def name(self) -> str:
        """Glacier, date and sensor."""
        return f"{self.group}_{self.date}_{self.sensor}"


class Places(NamedTuple):
    """Where the cells of a scene are: on the map (x of columns, y of rows) and in the fjord."""

    x: Floats
    y: Floats
    u: Floats
    v: Floats


@dataclass(frozen=True)
class Glacier:
    """A fjord and the glacier in it.

    Parameters
    ----------
    seed
        Of the world.
    number
        Of the glacier; each has a fjord, a rate of retreat and a frame of its own.
    """

    seed: int
    number: int

    @property
    def name(self) -> str:
        """What scenes of it are grouped by."""
        return f"glacier{self.number}"

    def drawn(self, *what: object, low: float = 0.0, high: float = 1.0) -> float:
        """A random number of the glacier, always the same for the same name."""
        first, second = np.array([[1], [2]], dtype=np.int64)
        unit = uniform(key(self.seed, self.number, *what), first, second)
        return float(low + (high - low) * (unit[0] + 1) / 2)

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top of the frame that all scenes share (m)."""
        left = -2_440.0 * KM + 30.0 * KM * (self.number % 5)
        bottom = 1_260.0 * KM - 40.0 * KM * (self.number // 5)
        return left, bottom, left + WIDTH, bottom + HEIGHT

    @cached_property
    def rate(self) -> float:
        """Retreat along the centre line (m/yr)."""
        return self.drawn("rate", low=320.0, high=480.0)

    def position(self, day: date) -> float:
        """Distance along the centre line at which the front crosses it on a day (m).

        A steady retreat with a yearly swing of 120 m to either side.
        """
        years = (day - START).days / _YEAR
        return _FIRST - self.rate * years + 120.0 * float(np.sin(2 * np.pi * years))

    @cached_property
    def _axis(self) -> tuple[Floats, Floats, Floats]:
        """``u`` and ``v`` of the centre line, and the distance along it."""
        u = np.arange(-_REACH, _REACH + _STEP, _STEP)
        v = self.bend(u)
        along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(u), np.diff(v)))])
        return u, v, along

    @cached_property
    def centre(self) -> Floats:
        """Vertices x, y (n, 2) of the centre line, from the glacier to the sea (m)."""
        u, v, _ = self._axis
        cosine, sine = np.cos(self._turn), np.sin(self._turn)
        left, bottom, right, top = self.bounds
        x = (left + right) / 2 + cosine * u - sine * v
        return np.stack([x, (bottom + top) / 2 + sine * u + cosine * v], axis=1)

    @cached_property
    def _turn(self) -> float:
        return self.drawn("turn", high=2 * np.pi)

    def bend(self, u: Floats) -> Floats:
        """``v`` of the centre line."""
        phase, swing = (
            self.drawn("phase", high=2 * np.pi),
            self.drawn("swing", low=300.0, high=800.0),
        )
        bent: Floats = swing * np.sin(2 * np.pi * u / (15.0 * KM) + phase)
        return bent

    def places(self, shape: tuple[int, int]) -> Places:
        """The centres of the cells of a scene."""
        left, bottom, right, top = self.bounds
        rows, cols = shape
        x = left + (np.arange(cols) + 0.5) * (right - left) / cols
        y = top - (np.arange(rows) + 0.5) * (top - bottom) / rows
        east, north = x - (left + right) / 2, (y - (bottom + top) / 2)[:, np.newaxis]
        cosine, sine = np.cos(self._turn), np.sin(self._turn)
        return Places(x, y, cosine * east + sine * north, cosine * north - sine * east)

    def wall(self, at: Places) -> Floats:
        """Distance from the walls of the fjord (m), negative inside; it opens towards the sea."""
        half = 1.55 * KM + 3.6 * KM * ramp((at.u - 1.2 * KM) / (6.5 * KM))
        half = half + 330.0 * noise(self.keyed("width"), 2.6 * KM)(at.x, at.y)
        jagged = 70.0 * noise(self.keyed("jagged"), 260.0)(at.x, at.y)
        distance: Floats = np.abs(at.v - self.bend(at.u)) - half - jagged
        return distance

    def alpine(self, at: Places) -> Floats:
        """1 in mountains of rock, 0 on the ice of plateaus and on the floor of the fjord."""
        wall = self.wall(at)
        ranges = noise(self.keyed("ranges"), 1.9 * KM)(at.x, at.y)
        inland = ramp(0.75 + 0.8 * ranges - 0.12 * wall / KM)
        near: Floats = np.maximum(inland, 1.0 - ramp((wall - 350.0) / 500.0))
        return near * ramp(0.3 + wall / 300.0)

    def height(self, at: Places) -> Floats:
        """Height of the ground above the fjord (m): sharp crests in mountains, else gentle."""
        alpine, rise = self.alpine(at), 380.0 * ramp(self.wall(at) / (0.9 * KM))
        gentle = noise(self.keyed("swell"), 900.0, 70.0)(at.x, at.y)
        crests = sum(
            amplitude * (0.8 - np.abs(noise(self.keyed("crests", spacing), spacing)(at.x, at.y)))
            for spacing, amplitude in ((1500.0, 380.0), (640.0, 190.0), (280.0, 60.0))
        )
        ground: Floats = rise + gentle + alpine * crests
        return ground

    def beyond(self, at: Places, day: date) -> Floats:
        """Distance down the fjord from the front of a day (m), negative on the glacier.

        The front bends, leans and waves; where it crosses the centre line all of these are 0.
        """
        u, _, along = self._axis
        crossing = np.interp(self.position(day), along, u)
        across = at.v - self.bend(at.u)
        bow = self.drawn("bow", low=-250.0, high=600.0) * (across / (1.5 * KM)) ** 2
        lean = self.drawn("lean", low=-0.35, high=0.35) * across
        here = self._waves(day, across) - self._waves(day, np.zeros(1))
        offset: Floats = at.u - crossing - np.clip(bow + lean, -1.4 * KM, 1.4 * KM) - here
        return offset

    def _waves(self, day: date, across: Floats) -> Floats:
        """Waves of the front, that change from season to season (m)."""
        time = np.full(across.shape, float((day - START).days) * 4.0)
        big = noise(self.keyed("bays"), 750.0, 130.0).at(across, time)
        return big + noise(self.keyed("capes"), 220.0, 35.0).at(across, time)

    def keyed(self, *what: object) -> np.uint64:
        """The key of a field of noise that is the glacier's own."""
        return key(self.seed, "glacier", self.number, *what)

    def acquisition(self, number: int, coarsening: float = 1.0) -> Acquisition:
        """When a scene is taken, and by what.

        Parameters
        ----------
        number
            Of the scene. Dates fill ten years evenly, however many scenes there are; they are not
            in order, and are all different up to number 1000.
        coarsening
            Factor on the sides of cells: 1 for those of the sensor, about 600 to 1800 cells a side.
        """
        sensor = self.sensor(number)
        first = self.drawn("first")
        day = START + timedelta(days=int(DAYS * ((first + number * _GOLDEN) % 1.0)))
        rows, cols = (max(8, round(s / (sensor.resolution * coarsening))) for s in (HEIGHT, WIDTH))
        quality = 1 + int(5 * self.drawn("quality", number))
        return Acquisition(self.name, day, sensor.name, quality, (rows, cols), CRS, self.bounds)

    def sensor(self, number: int) -> Sensor:
        """The sensor of a scene."""
        return SENSORS[int(len(SENSORS) * self.drawn("sensor", number))]


def zones(glacier: Glacier, at: Places, day: date) -> NDArray[np.int64]:
    """Rock, glacier and ocean on a day, as if all were seen."""
    wall = glacier.wall(at)
    bare = noise(glacier.keyed("bare"), 300.0, 0.18)(at.x, at.y)
    zone = np.where(glacier.alpine(at) + bare > 0.6, ROCK, GLACIER)
    zone = np.where(wall < 300.0, ROCK, zone)
    inside = wall < 0
    return np.where(inside, np.where(glacier.beyond(at, day) < 0, GLACIER, OCEAN), zone)
