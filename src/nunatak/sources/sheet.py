"""A plane around a box of longitudes and latitudes, and random waves that run over it.

Places are metres from the south-western corner of the plane, which is a torus; ``t`` is in days.
What is drawn lies on the nodes of a lattice of the plane's own, so that it does not depend on the
cells that it is looked at with, and is a closed function of time, so that no day needs another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil, copysign
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import map_coordinates, spline_filter

from nunatak.metrics.ocean import ROTATION
from nunatak.sources.noise import Floats
from nunatak.sources.relief import KM

DAY, RADIUS = 86400.0, 6371.0 * KM
DEGREE = np.pi / 180 * RADIUS
DEFORMATION = 30.0 * KM
_SPACING = 5.0 * KM
_MARGIN = 1.0


@dataclass(frozen=True)
class Sheet:
    """A plane around a box of longitudes and latitudes, with a margin, that closes on itself.

    Parameters
    ----------
    bounds
        Left, bottom, right, top of the box (degrees).
    """

    bounds: tuple[float, float, float, float]

    @property
    def middle(self) -> float:
        """Latitude of the middle (degrees)."""
        return (self.bounds[1] + self.bounds[3]) / 2

    @property
    def margin(self) -> tuple[int, int]:
        """Half degrees of latitude and of longitude on each side of the box."""
        return round(2 * _MARGIN), ceil(2 * _MARGIN / np.cos(np.radians(self.middle)))

    @property
    def size(self) -> tuple[float, float]:
        """Height and width (m)."""
        left, bottom, right, top = self.bounds
        south, west = self.margin
        wide = np.cos(np.radians(self.middle)) * (right - left + west)
        return DEGREE * (top - bottom + south), DEGREE * float(wide)

    @property
    def nodes(self) -> tuple[int, int]:
        """Rows and columns of the lattice."""
        height, width = (fft.next_fast_len(ceil(side / _SPACING)) for side in self.size)
        return height, width

    @property
    def spacing(self) -> tuple[float, float]:
        """Distance between rows and between columns of the lattice (m)."""
        (height, width), (rows, cols) = self.size, self.nodes
        return height / rows, width / cols

    @property
    def spin(self) -> float:
        """The Coriolis parameter of the middle (s-1), not below that of 10 degrees."""
        latitude = copysign(max(abs(self.middle), 10.0), self.middle)
        return float(2 * ROTATION * np.sin(np.radians(latitude)))

    @cached_property
    def wavenumbers(self) -> tuple[Floats, Floats]:
        """``ky`` (rows, 1) and ``kx`` (1, cols) of the lattice's waves (rad/m)."""
        (rows, cols), (down, across) = self.nodes, self.spacing
        ky = wavenumbers(rows, down)
        return ky[:, np.newaxis], wavenumbers(cols, across)[np.newaxis]

    def around(self, cells: int) -> tuple[int, int]:
        """Rows and columns of cells, so many a degree, that fit into the margin of each side."""
        south, west = self.margin
        return cells * south // 2, cells * west // 2

    def axes(self, cells: int) -> tuple[Floats, Floats]:
        """``y`` and ``x`` (m), ascending, of the centres of cells, so many a degree.

        The box's own cells lie in the middle, with those around them that fit into the margin.
        """
        left, bottom, right, top = self.bounds
        south, west = self.around(cells)
        latitude = bottom + _centres(top - bottom, south, cells)
        return self.places(left + _centres(right - left, west, cells), latitude)

    def places(self, longitude: Floats, latitude: Floats) -> tuple[Floats, Floats]:
        """``y`` and ``x`` (m) of longitudes and latitudes (degrees)."""
        left, bottom, right, _ = self.bounds
        south, west = self.margin
        metres = self.size[1] / (right - left + west)
        return DEGREE * (latitude - bottom + south / 2), metres * (longitude - left + west / 2)

    def latitude(self, y: Floats) -> Floats:
        """Latitudes (degrees) at ``y`` (m)."""
        latitude: Floats = self.bounds[1] - self.margin[0] / 2 + y / DEGREE
        return latitude

    def on(self, values: Floats, y: Floats, x: Floats) -> Floats:
        """Values of the lattice's nodes, (len(y), len(x)) where rows at ``y`` meet columns."""
        (rows, cols), (down, across) = self.nodes, self.spacing
        spline = RectBivariateSpline(np.arange(rows) * down, np.arange(cols) * across, values)
        found: Floats = spline(y, x)
        return found

    def at(self, values: Floats, y: Floats, x: Floats, order: Literal[1, 3] = 3) -> Floats:
        """Values of the lattice's nodes at scattered places; ``y`` and ``x`` have one shape."""
        down, across = self.spacing
        filtered = spline_filter(values, mode="grid-wrap") if order > 1 else values
        places = np.stack([y / down, x / across])
        found: Floats = map_coordinates(filtered, places, None, order, "grid-wrap", 0.0, False)
        return found


@dataclass(frozen=True)
class Waves:
    """A random field: waves whose power falls with the wavenumber, each with its own frequency.

    Parameters
    ----------
    coefficients
        Complex amplitudes at the lattice's wavenumbers.
    frequency
        Of each, in radians a day.
    """

    coefficients: NDArray[np.complex128]
    frequency: Floats

    @classmethod
    def drawn(
        cls, sheet: Sheet, seed: np.uint64, sd: float, longest: float, slope: float, sweep: float
    ) -> Waves:
        """Draw waves.

        Parameters
        ----------
        sheet
            Where they run.
        seed
            What they are drawn from.
        sd
            Standard deviation of the field.
        longest
            Wavelength (m) above which the spectrum is white.
        slope
            Power of the wavenumber that the one-dimensional spectrum falls with.
        sweep
            SD (m/s) of the currents that sweep the waves along, each at random; to these adds the
            drift of Rossby waves.
        """
        ky, kx = sheet.wavenumbers
        squared = kx**2 + ky**2
        power = (1 + squared * (longest / (2 * np.pi)) ** 2) ** (-(slope + 1) / 2)
        power[0, 0] = 0.0
        random = np.random.default_rng(int(seed))
        real, imaginary, swept = random.standard_normal((3, *sheet.nodes))
        drift = beta(sheet) * kx / (squared + DEFORMATION**-2)
        return cls(
            sd * np.sqrt(power / power.sum()) * (real + 1j * imaginary),
            DAY * (drift + sweep * np.sqrt(squared) * swept),
        )

    def at(self, t: float) -> Floats:
        """Values at the nodes."""
        turned = self.coefficients * np.exp(1j * self.frequency * t)
        values: Floats = fft.ifft2(turned, norm="forward").real
        return values


def wavenumbers(count: int, step: float) -> Floats:
    """Wavenumbers (rad/m) of so many places, ``step`` metres apart."""
    return np.asarray(2 * np.pi * np.fft.fftfreq(count, step), np.float64)


def beta(sheet: Sheet) -> float:
    """How the Coriolis parameter grows northward (m-1 s-1)."""
    return float(2 * ROTATION * np.cos(np.radians(sheet.middle)) / RADIUS)


def _centres(span: float, around: int, cells: int) -> Floats:
    """Centres of the cells of a span, and of some around it, in degrees from its start."""
    return (np.arange(-around, round(span * cells) + around) + 0.5) / cells


def bells(places: Floats, middles: Floats, radius: Floats, around: float) -> Floats:
    """Gaussian bells (n, places) on a circle."""
    away = (places - middles[:, np.newaxis] + around / 2) % around - around / 2
    bells: Floats = np.exp(-0.5 * (away / radius[:, np.newaxis]) ** 2)
    return bells
