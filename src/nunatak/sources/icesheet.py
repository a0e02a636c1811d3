"""The plan of the synthetic ice sheet: its large-scale fields at the nodes of a 2 km lattice.

A dome near the origin, a margin about 1,700 km away that noise cuts into bays and capes, a
continental shelf that deepens inland and breaks off into the deep sea, outlet troughs that follow
the flow and cross the shelf, highlands cut by glacial valleys. The surface is a plastic profile
plus the undulations that the bed transfers to it; the velocity is shallow ice with sliding.

The plan covers the window of one request and some nodes around it. Every number at a node is a
function of the node alone, so that requests that meet agree bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nunatak.sources.noise import Floats, Nodes, Spline, key, noise, table
from nunatak.sources.relief import (
    COARSE,
    KM,
    OCTAVES,
    ORDERS,
    WAVELENGTH,
    octave,
    outlet,
    ramp,
    transfer,
    trough,
)

SPACING = 2.0 * KM
# What is evaluated in the window, at most 5.2 km outside, needs two nodes more on each side.
_MARGIN = 6

DOME = (-350.0 * KM, -250.0 * KM)
RADIUS = 1700.0 * KM
SUMMIT = 3900.0
HIGHLAND = (140.0 * KM, 140.0 * KM)
SLOWEST_SLOPE = 1e-4
FASTEST = 1400.0
ICE_WEIGHT = 917.0 * 9.81  # Pa per metre
CREEP = 4.7e-17  # Glen's rate factor, n = 3 (Pa-3 yr-1)
COUPLING = 30.0 * KM


@dataclass(frozen=True)
class Plan:
    """The large-scale fields of a world around a window.

    Parameters
    ----------
    seed
        Of the world.
    columns, rows
        Consecutive nodes of the lattice.
    """

    seed: int
    columns: Nodes
    rows: Nodes

    @classmethod
    def around(cls, seed: int, x: Floats, y: Floats) -> Plan:
        """The plan that places in the bounding box of ``x`` and ``y`` (m) need."""
        return cls(seed, _nodes(x), _nodes(y))

    def spline(self, values: Floats) -> Spline:
        """The smooth field of values at the nodes."""
        return table(SPACING, self.columns, self.rows, values)

    @cached_property
    def _x(self) -> Floats:
        return self.columns.astype(np.float64) * SPACING

    @cached_property
    def _y(self) -> Floats:
        return self.rows.astype(np.float64) * SPACING

    def _noise(self, name: str, spacing: float) -> Floats:
        return noise(key(self.seed, name), spacing * KM)(self._x, self._y)

    @cached_property
    def _warped(self) -> tuple[Floats, Floats]:
        """Places of the nodes (m), displaced so that valleys wind."""
        shift = [
            9.0 * KM * self._noise(f"warp {axis}", 30.0)
            + 2.0 * KM * self._noise(f"bend {axis}", 9.0)
            for axis in "xy"
        ]
        return self._x + shift[0], self._y[:, np.newaxis] + shift[1]

    @cached_property
    def _from_dome(self) -> tuple[Floats, Floats, Floats]:
        """Vector from the dome and its length, rounded off near the dome (m)."""
        x, y = self._warped
        x, y = x - DOME[0], y - DOME[1]
        core = 200.0 * KM
        return x, y, np.sqrt(x * x + y * y + core * core)

    @cached_property
    def inland(self) -> Floats:
        """Distance inland of the margin, negative at sea (m)."""
        bays = 200.0 * self._noise("bays", 480.0) + 70.0 * self._noise("inlets", 170.0)
        capes = 20.0 * self._noise("capes", 60.0)
        r = self._from_dome[2]
        return RADIUS - r + KM * (bays + capes) * np.minimum(r / RADIUS, 1.0)

    @cached_property
    def grounded(self) -> Floats:
        """1 on the ice sheet, 0 at sea."""
        return ramp((self.inland + 10.0 * KM) / (40.0 * KM))

    @cached_property
    def afloat(self) -> Floats:
        """1 where ice floats or is grounded, 0 at open sea."""
        return ramp((self.inland + (85.0 + 25.0 * self._noise("front", 60.0)) * KM) / (45.0 * KM))

    @cached_property
    def highland(self) -> Floats:
        """0 in basins, 1 in mountains; a range always stands near the origin."""
        x, y = self._x - HIGHLAND[0], self._y[:, np.newaxis] - HIGHLAND[1]
        nearness = 1.0 + (x * x + y * y) / (260.0 * KM * 260.0 * KM)
        height = self._noise("highland", 190.0) * (1.0 - 1.0 / nearness)
        return ramp((height + 2.2 / (nearness * nearness) - 0.3) / 1.7)

    @cached_property
    def outlet(self) -> Floats:
        """Outlet troughs: 1 on their floors, from some 900 km inland to the shelf break.

        They are the zeros of noise on a plane whose rays from the dome are shortened.
        """
        x, y, r = self._from_dome
        shortened = (1000.0 * KM + 0.22 * r) / r
        n = noise(key(self.seed, "outlet"), 95.0 * KM).at(x * shortened, y * shortened)
        reach = ramp((1000.0 * KM - self.inland) / (600.0 * KM))
        ends = ramp((self.inland + 230.0 * KM) / (150.0 * KM))
        return outlet(n) * reach * ends

    @cached_property
    def valleys(self) -> list[tuple[Floats, Floats]]:
        """Glacial valleys, three orders: noise whose zeros they follow, and their depth (m).

        The broadest run mostly with the flow; each order hangs above the floors of the broader.
        """
        x, y, r = self._from_dome
        shortened = (600.0 * KM + 0.45 * r) / r
        places = [(x * shortened, y * shortened), self._warped, self._warped]
        share = (0.25 + 0.75 * self.highland) * self.grounded
        carved = []
        for order, place in zip(ORDERS, places, strict=True):
            n = noise(key(self.seed, order.name), order.spacing).at(*place)
            carved.append((n, order.depth * share))
            share = share * (1.0 - 0.8 * trough(n))
        return carved

    @cached_property
    def floor(self) -> Floats:
        """1 on the floors of the broadest valleys."""
        return trough(self.valleys[0][0])

    @cached_property
    def roughness(self) -> Floats:
        """Factor of the bed's octaves of short wavelength."""
        hard = (0.45 + 1.0 * self.highland) * (1.0 + 0.25 * self._noise("roughness", 45.0))
        floors = (1.0 - 0.6 * self.outlet) * (1.0 - 0.4 * self.floor)
        return np.maximum(hard, 0.1) * floors * (0.3 + 0.7 * self.grounded)

    @cached_property
    def base(self) -> Floats:
        """The bed without its valleys and octaves (m above the geoid)."""
        land = -350.0 + 500.0 * ramp(self.inland / (900.0 * KM)) + 1250.0 * self.highland
        land += 300.0 * self._noise("basins", 230.0)
        shelf = -400.0 - 200.0 * ramp((self.inland + 200.0 * KM) / (200.0 * KM))
        ashore = ramp((self.inland + 40.0 * KM) / (120.0 * KM))
        brink = self.inland + (190.0 + 30.0 * self._noise("shelf break", 150.0)) * KM
        carved = (350.0 + 550.0 * ramp((self.inland + 120.0 * KM) / (250.0 * KM))) * self.outlet
        sea_floor = shelf - 1500.0 * ramp(-brink / (90.0 * KM))
        return sea_floor + (land - sea_floor) * ashore - carved

    @cached_property
    def undulations(self) -> list[tuple[Floats, float]]:
        """The bed's octaves of long wavelength at the nodes, and their wavelengths (m)."""
        octaves = [octave(self.seed, number) for number in range(COARSE, OCTAVES)]
        return [(waves(self._x, self._y), WAVELENGTH * waves.spacing) for waves in octaves]

    @cached_property
    def profile(self) -> Floats:
        """Plastic profile of the surface, lower along outlet troughs (m above the geoid)."""
        drawn = self.inland - 40.0 * KM * self.outlet * ramp(self.inland / (150.0 * KM))
        return 55.0 * self.afloat + SUMMIT * np.sqrt(np.maximum(drawn, 0.0) / RADIUS)

    @cached_property
    def thickness(self) -> Floats:
        """Ice thickness that the transfer and the flow are reckoned with, at least 200 m."""
        bed = self.base - self.valleys[0][1] * self.floor
        bed += sum(wave for wave, _ in self.undulations)
        return np.maximum(self.profile - bed, 200.0)

    @cached_property
    def sliding(self) -> Floats:
        """0 where the ice is frozen to its bed, 1 in ice streams."""
        thawed = 0.05 + 0.2 * self.floor + 0.9 * self.outlet
        return np.minimum(thawed, 1.0) * self.grounded

    @cached_property
    def _risen(self) -> list[tuple[Floats, float]]:
        """What of the bed's undulations reaches the surface (m), and their wavelengths (m)."""
        valleys = [
            (-depth * trough(n), order.wavelength)
            for (n, depth), order in zip(self.valleys[:2], ORDERS[:2], strict=True)
        ]
        return [
            (wave * transfer(length, self.thickness, self.sliding) * self.grounded, length)
            for wave, length in [*self.undulations, *valleys]
        ]

    @cached_property
    def surface(self) -> Floats:
        """The surface with the undulations of long wavelength (m above the geoid)."""
        surface: Floats = self.profile + sum(wave for wave, _ in self._risen)
        return surface

    @cached_property
    def driving(self) -> Floats:
        """The surface that ice flows down (m): stresses couple, so short undulations count less."""
        driving = self.profile.copy()
        for wave, length in self._risen:
            driving += wave / (1.0 + COUPLING * COUPLING / (length * length))
        return driving

    @cached_property
    def speed(self) -> Floats:
        """Surface speed (m/yr): shallow ice, sliding, and floating ice before the outlets."""
        stress = ICE_WEIGHT * self.thickness * _steepness(self.profile)
        creep = 0.5 * CREEP * stress * stress * stress * self.thickness
        aground = (creep + 6e-3 * self.sliding * stress) * self.grounded
        adrift = (120.0 + 800.0 * self.outlet) * self.afloat * (1.0 - self.grounded)
        free = (aground + adrift) / FASTEST
        return FASTEST * free / np.sqrt(1.0 + free * free)

    @cached_property
    def velocity(self) -> tuple[Floats, Floats]:
        """Surface velocity (m/yr), down the slope of `driving`."""
        down, across = np.gradient(self.driving, SPACING)
        pace = -self.speed / np.sqrt(across * across + down * down + SLOWEST_SLOPE * SLOWEST_SLOPE)
        return across * pace, down * pace

    @cached_property
    def vx(self) -> Floats:
        """Velocity along x (m/yr)."""
        return self.velocity[0]

    @cached_property
    def vy(self) -> Floats:
        """Velocity along y (m/yr)."""
        return self.velocity[1]

    @cached_property
    def accumulation(self) -> Floats:
        """Accumulation (kg m-2 yr-1): most at the coast and on steep slopes."""
        inland = np.maximum(self.inland, 0.0) / KM
        coast, plateau = inland / 130.0, inland / 600.0
        snow = 28.0 + 620.0 / (1.0 + coast * coast) + 160.0 / (1.0 + plateau * plateau)
        slope = np.minimum(_steepness(self.profile) / 0.02, 1.0)
        snow *= (1.0 + 0.18 * self._noise("weather", 110.0)) * (1.0 + 0.3 * slope)
        return np.clip(snow, 30.0, 1500.0)


def _steepness(heights: Floats) -> Floats:
    down, across = np.gradient(heights, SPACING)
    slope: Floats = np.sqrt(across * across + down * down)
    return slope


def _nodes(places: Floats) -> NDArray[np.int64]:
    first = int(np.floor(places.min() / SPACING)) - _MARGIN
    last = int(np.ceil(places.max() / SPACING)) + _MARGIN
    return np.arange(first, last + 1)
