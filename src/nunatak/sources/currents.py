"""Currents of the synthetic ocean, a jet, eddies and a red background, and what they carry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import copysign

import numpy as np
from scipy.ndimage import gaussian_filter

from nunatak.metrics.ocean import GRAVITY
from nunatak.sources.noise import Floats, key
from nunatak.sources.relief import KM
from nunatak.sources.sheet import DAY, DEFORMATION, Sheet, Waves, bells, beta

_STEPS_A_DAY = 2
# SD, in nodes, of what mixes in each of these steps.
_MIXED = 0.5
# Slots of time (days) and squares of the sheet in each of which an eddy is born.
_SLOT, _SQUARE = 50.0, 190.0 * KM


@dataclass(frozen=True)
class Currents:
    """Sea-surface height of the large and the mesoscale, and the geostrophic flow along it.

    Parameters
    ----------
    sheet
        Where.
    seed
        Of the world.
    """

    sheet: Sheet
    seed: int

    def keyed(self, *what: object) -> np.uint64:
        """The key of something that is drawn for this sheet alone."""
        return key(self.seed, "ocean", *map(float, self.sheet.bounds), *what)

    def waves(self, name: str, *shape: float) -> Waves:
        """Waves of a name; ``shape`` as of `Waves.drawn`."""
        return Waves.drawn(self.sheet, self.keyed(name), *shape)

    @cached_property
    def _background(self) -> Waves:
        return self.waves("background", 0.08, 330.0 * KM, 5.0, 0.035)

    def height(self, t: float) -> Floats:
        """Sea-surface height (m) at the nodes: jet, eddies and background."""
        return self._jet(t) + self._eddies(t) + self._background.at(t)

    @cached_property
    def _meanders(self) -> tuple[float, float, Floats]:
        """Middle (m) and half width (m) of the jet; its meanders: amplitude (m), phase, rad/day."""
        height, width = self.sheet.size
        random = np.random.default_rng(int(self.keyed("jet")))
        middle, half = height * random.uniform(0.4, 0.6), KM * random.uniform(38.0, 48.0)
        count = np.arange(1, 9)
        length = width / count
        size = 30.0 * KM * random.standard_normal(8) * np.exp(-(np.log(length / 420e3) ** 2))
        speed = DAY * 2 * np.pi / length * random.uniform(0.03, 0.09, 8)
        return middle, half, np.stack([size, random.uniform(0, 2 * np.pi, 8), speed])

    def _jet(self, t: float) -> Floats:
        """An eastward jet that meanders: the sea stands higher on the equator's side."""
        middle, half, (size, phase, speed) = self._meanders
        (rows, cols), (down, across) = self.sheet.nodes, self.sheet.spacing
        turns = 2 * np.pi * np.arange(cols) / cols
        count = np.arange(1, size.size + 1)[:, np.newaxis]
        line = size @ np.sin(count * turns + (phase - speed * t)[:, np.newaxis])
        north = np.arange(rows)[:, np.newaxis] * down - middle - line
        # Across the jet, not along a meridian, so that it is as wide where it runs north.
        across = north / np.sqrt(1 + np.gradient(line, across) ** 2)
        height: Floats = -copysign(0.17, self.sheet.middle) * np.tanh(across / half)
        return height

    def _eddies(self, t: float) -> Floats:
        """Eddies that are born, drift westward with the speed of long Rossby waves, and die."""
        amplitude, y, x, radius = np.concatenate([*self._alive(t)], axis=1)
        (height, width), (rows, cols) = self.sheet.size, self.sheet.nodes
        across = bells(np.arange(cols) * width / cols, x, radius, width)
        down = bells(np.arange(rows) * height / rows, y, radius, height)
        heights: Floats = (amplitude[:, np.newaxis] * down).T @ across
        return heights

    def _alive(self, t: float) -> Iterator[Floats]:
        """Amplitude (m), y, x and radius (m) of the eddies of the slots of time around a day."""
        height, width = self.sheet.size
        count = max(2, round(height * width / _SQUARE**2))
        drift = DAY * 1.6 * beta(self.sheet) * DEFORMATION**2
        for slot in range(int(t // _SLOT) - 2, int(t // _SLOT) + 3):
            random = np.random.default_rng(int(self.keyed("eddies", slot)))
            age = t - _SLOT * (slot + random.uniform(size=count))
            strength = random.uniform(0.05, 0.19, count) * random.choice([-1.0, 1.0], count)
            life = np.exp(-((age / _SLOT) ** 2) * 1.5)
            # Those that stand high drift towards the equator, the others towards the pole.
            veer = -0.25 * np.sign(strength) * drift * copysign(1.0, self.sheet.middle)
            y = random.uniform(0, height, count) + veer * age
            x = random.uniform(0, width, count) - drift * age
            yield np.stack([strength * life, y, x, KM * random.uniform(30.0, 55.0, count)])

    def origins(self, t: float, days: int) -> tuple[Floats, Floats]:
        """Where the water at the nodes was some days before, as far as it has not mixed since.

        Returns
        -------
        tuple
            How far north and how far east of the node (m).
        """
        (rows, cols), (down, across) = self.sheet.nodes, self.sheet.spacing
        here = np.meshgrid(np.arange(rows) * down, np.arange(cols) * across, indexing="ij")
        away = np.zeros((2, rows, cols))
        for number in range(days * _STEPS_A_DAY):
            flow = self._flow(t - days + (number + 0.5) / _STEPS_A_DAY) * (DAY / _STEPS_A_DAY)
            half = [place - step / 2 for place, step in zip(here, flow, strict=True)]
            step = np.stack([self.sheet.at(part, half[0], half[1], order=1) for part in flow])
            before = [place - part for place, part in zip(here, step, strict=True)]
            carried = np.stack([self.sheet.at(part, before[0], before[1]) for part in away]) - step
            away = gaussian_filter(carried, (0, _MIXED, _MIXED), mode="wrap")
        return away[0], away[1]

    def _flow(self, t: float) -> Floats:
        """Northward and eastward flow (2, rows, cols) at the nodes (m/s)."""
        slope_north, slope_east = np.gradient(self.height(t), *self.sheet.spacing)
        return GRAVITY / self.sheet.spin * np.stack([slope_east, -slope_north])
