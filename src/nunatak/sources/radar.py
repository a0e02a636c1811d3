"""How a synthetic glacier looks to a radar: brightness of surfaces, relief, shadow, speckle.

Grey values are amplitudes from 0 to 255. Bright slopes face the sensor, those that face away lie in
shadow and tell nothing. Speckle is multiplicative: the mean of as many exponential intensities as
the sensor has looks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nunatak.ops.fronts import boundary
from nunatak.sources.glacier import (
    GLACIER,
    NO_DATA,
    OCEAN,
    ROCK,
    Acquisition,
    Glacier,
    Places,
    zones,
)
from nunatak.sources.noise import Floats, key, noise
from nunatak.sources.relief import KM, ramp

_SHADOW = -0.55


class Image(NamedTuple):
    """A scene (rows, cols).

    Attributes
    ----------
    amplitude
        Grey values 0 to 255, NaN beyond the edge of the swath.
    zone
        Codes: 0 no data (shadow, or beyond the swath), 1 rock, 2 glacier, 3 ocean and melange.
    front
        1 on cells of the ocean beside the glacier, 0 elsewhere.
    """

    amplitude: NDArray[np.float32]
    zone: NDArray[np.float32]
    front: NDArray[np.float32]


def image(glacier: Glacier, number: int, coarsening: float = 1.0) -> Image:
    """Take a scene of a glacier; arguments as of `Glacier.acquisition`."""
    taken = glacier.acquisition(number, coarsening)
    at = glacier.places(taken.shape)
    zone, facing = zones(glacier, at, taken.date), slopes(glacier, number, at)
    outside = beyond_swath(glacier, number, at)
    seen = np.where(outside | ((zone != OCEAN) & (facing < _SHADOW)), NO_DATA, zone)
    front = boundary(seen, OCEAN, GLACIER)
    bright = backscatter(glacier, number, taken, at, zone, facing)
    grey = speckled(glacier, number, bright)
    return Image(
        np.where(outside, np.nan, grey).astype(np.float32),
        seen.astype(np.float32),
        front.astype(np.float32),
    )


def slopes(glacier: Glacier, number: int, at: Places) -> Floats:
    """Slope of the ground towards the sensor, which looks from the east or from the west."""
    height = glacier.height(at)
    south, east = np.gradient(height, abs(at.y[1] - at.y[0]), at.x[1] - at.x[0])
    side = 1.0 if glacier.drawn("orbit", number) < 0.5 else -1.0
    facing: Floats = (0.97 * east + 0.24 * south) * ramp(glacier.wall(at) / 250.0 + 0.5)
    return side * facing


def beyond_swath(glacier: Glacier, number: int, at: Places) -> NDArray[np.bool_]:
    """Cells beyond the edge of the swath: a corner of one scene in three."""
    if glacier.drawn("swath", number) > 1 / 3:
        return np.zeros((at.y.size, at.x.size), dtype=bool)
    bearing = glacier.drawn("bearing", number, low=0.2, high=0.5 * np.pi - 0.2)
    bearing += 0.5 * np.pi * int(4 * glacier.drawn("corner", number))
    east, north = at.x - at.x.mean(), (at.y - at.y.mean())[:, np.newaxis]
    reach = glacier.drawn("edge", number, low=4.6 * KM, high=7.4 * KM)
    beyond: NDArray[np.bool_] = np.cos(bearing) * east + np.sin(bearing) * north > reach
    return beyond


def backscatter(
    glacier: Glacier,
    number: int,
    taken: Acquisition,
    at: Places,
    zone: NDArray[np.int64],
    facing: Floats,
) -> Floats:
    """Mean grey values without speckle."""
    summer = 0.5 + 0.5 * np.cos(2 * np.pi * (taken.date.timetuple().tm_yday - 20) / 365.25)
    wet = 1.0 - 0.45 * summer * glacier.drawn("melt", number)
    tongue = _tongue(glacier, number, taken, at) * wet
    wall = glacier.wall(at)
    lit = np.clip(1.0 + 1.5 * facing, 0.1, None)
    land = np.where(zone == ROCK, 52.0 * lit**2, 85.0 * wet * lit)
    land = land * (1.0 + 0.13 * noise(glacier.keyed("snow"), 170.0)(at.x, at.y))
    values = np.where(wall < 0, tongue, land)
    sea = _sea(glacier, number, summer, at)
    values = np.where(zone == OCEAN, sea, values)
    values = np.where((zone != OCEAN) & (facing < _SHADOW), 3.0, values)
    cliff = (zone == OCEAN) & (glacier.beyond(at, taken.date) < 60.0)
    return np.where(cliff, values * glacier.drawn("cliff", number, low=0.5, high=1.5), values)


def _tongue(glacier: Glacier, number: int, taken: Acquisition, at: Places) -> Floats:
    """Ice in the fjord: stripes along the flow, bright margins, crevasses near the front."""
    across = at.v - glacier.bend(at.u)
    stripes = noise(glacier.keyed("stripes"), 110.0).at(across, at.u / 14.0)
    bands = noise(glacier.keyed("bands"), 420.0).at(across, at.u / 10.0)
    margin = ramp(1.0 + glacier.wall(at) / 420.0)
    behind = glacier.beyond(at, taken.date)
    cracks = noise(glacier.keyed("cracks"), 60.0).at(across / 1.6, behind)
    near = ramp(1.0 + behind / 1800.0)
    texture = 1.0 + 0.16 * stripes + 0.14 * bands + 0.3 * near * cracks + 0.55 * margin
    grey = glacier.drawn("ice", number, low=62.0, high=105.0)
    return grey * (1.0 + 0.3 * near) * np.clip(texture, 0.25, None)


def _sea(glacier: Glacier, number: int, summer: float, at: Places) -> Floats:
    """Melange of bergs in brash, with leads of open water; more water in summer and far out."""
    scene = ("sea", number)
    patches = noise(glacier.keyed(*scene, "patches"), 1.3 * KM)(at.x, at.y)
    fine = noise(glacier.keyed(*scene, "brash"), 45.0)(at.x, at.y)
    bergs = noise(glacier.keyed(*scene, "bergs"), 95.0)(at.x, at.y)
    floes = noise(glacier.keyed(*scene, "floes"), 380.0)(at.x, at.y)
    open_water = patches + 1.6 * (summer - 0.75) + 0.25 * at.u / (4.0 * KM)
    open_water = ramp(2.5 * (open_water + glacier.drawn(*scene, "ice", low=-1.0, high=0.4)))
    grey = glacier.drawn(*scene, "grey", low=45.0, high=110.0)
    brash = grey * np.clip(
        1.0 + 0.35 * fine + 0.18 * floes - 0.5 * ramp(2 * bergs - 1.6), 0.15, None
    )
    brash = brash + 75.0 * ramp(3.0 * (bergs - 1.25))
    wind = glacier.drawn(*scene, "wind", low=10.0, high=38.0)
    water = wind * (1.0 + 0.15 * patches) + 120.0 * ramp(4.0 * (bergs - 1.9))
    return brash * (1.0 - open_water) + water * open_water


def speckled(glacier: Glacier, number: int, bright: Floats) -> Floats:
    """Grey values with gain, noise and speckle of the sensor, in whole numbers from 0 to 255."""
    sensor = glacier.sensor(number)
    seed = int(key(glacier.seed, glacier.number, "speckle", number))
    rng = np.random.default_rng(seed)
    intensity = rng.gamma(sensor.looks, 1.0 / sensor.looks, bright.shape)
    gain = sensor.gain * glacier.drawn("gain", number, low=0.75, high=1.3)
    grey: Floats = np.sqrt(((gain * bright) ** 2 + sensor.floor**2) * intensity)
    return np.clip(np.rint(grey), 0, 255)
