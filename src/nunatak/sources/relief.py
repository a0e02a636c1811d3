"""What the synthetic ice sheet is made of: octaves, valleys, their transfer to the surface."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from nunatak.sources.noise import Floats, Spline, key, noise

KM = 1e3

# The octaves' amplitudes grow as spacing ** 0.7 (1.9 ** 0.7 = 1.567) up to number CORNER, a
# wavelength of 6.5 km, and are constant from there, where valleys and highlands add to them. Those
# below number COARSE follow the roughness of the ground; the others are the same everywhere.
OCTAVES, COARSE, CORNER = 11, 5, 4
RATIO, GROWTH = 1.9, 1.567
FINEST, FINEST_AMPLITUDE = 200.0, 13.5
WAVELENGTH = 2.5


class Valleys(NamedTuple):
    """An order of glacial valleys: spacing of the noise that they wind along, depth, width (m)."""

    name: str
    spacing: float
    depth: float
    wavelength: float


ORDERS = (
    Valleys("broad", 24.0 * KM, 850.0, 14.0 * KM),
    Valleys("middle", 10.5 * KM, 400.0, 7.0 * KM),
    Valleys("narrow", 4.6 * KM, 180.0, 3.0 * KM),
)


def octave(seed: int, number: int) -> Spline:
    """One octave of the bed's fractal relief (m)."""
    spacing = prod([FINEST, *[RATIO] * number])
    amplitude = prod([FINEST_AMPLITUDE, *[GROWTH] * min(number, CORNER)])
    return noise(key(seed, "octave", number), spacing, amplitude)


def transfer(wavelength: float, thickness: Floats, sliding: Floats) -> Floats:
    """Share of an undulation of the bed that reaches the surface.

    Short waves are lost in thick ice and long ones pass, more of them where the ice slides. The
    form follows the amplitude of the transfer functions of Gudmundsson (2003,
    doi:10.1029/2002JB002107); their phase is left out.

    Parameters
    ----------
    wavelength
        Of the undulation (m).
    thickness
        Of the ice (m).
    sliding
        0 for ice that is frozen to its bed, 1 for an ice stream.
    """
    ratio = wavelength / (2.0 * thickness)
    passed = ratio * np.sqrt(ratio)
    shares: Floats = (0.03 + 0.2 * sliding) * passed / (1.0 + passed)
    return shares


def ramp(t: Floats) -> Floats:
    """A smooth step from 0 at t <= 0 to 1 at t >= 1."""
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def trough(n: Floats) -> Floats:
    """Valleys along the zeros of noise, parabolas on the floor: 1 there, 0 on the divides."""
    return 1.0 / (1.0 + (n / 0.3) * (n / 0.3))


def outlet(n: Floats) -> Floats:
    """Troughs along the zeros of noise, of flat floors and steep walls: 1 there, 0 between."""
    square = (n / 0.2) * (n / 0.2)
    return 1.0 / (1.0 + square * square)
