"""Sources whose windows are noted as they are read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from nunatak.grid import Window
from nunatak.sources.raster import Raster, Sampler
from nunatak.tracking.ledger import Ledger

GEOMETRY = "geometry"


@dataclass(frozen=True)
class WatchedRaster:
    """A raster that notes the windows that are read of it.

    Parameters
    ----------
    raster
        What is read.
    ledger
        Where it is noted.
    step
        Path of the scan that holds the digests of the raster's parts.
    """

    raster: Raster
    ledger: Ledger
    step: str

    @property
    def geobox(self) -> GeoBox | None:
        """The grid, north-up."""
        self.ledger.note(self.step, GEOMETRY)
        return self.raster.geobox

    def read(self, variable: str, window: Window) -> NDArray[np.float32]:
        """Values of a window (cells of ``geobox``, inside it); NaN where missing."""
        span = window.top, window.bottom, window.left, window.right
        self.ledger.note(self.step, variable, span)
        return self.raster.read(variable, window)


@dataclass(frozen=True)
class WatchedSampler:
    """A source that is evaluated anywhere: any of it may be read for a cell, so all is noted.

    Parameters
    ----------
    sampler
        What is evaluated.
    ledger, step
        As for `WatchedRaster`.
    """

    sampler: Sampler
    ledger: Ledger
    step: str

    @property
    def geobox(self) -> GeoBox | None:
        """None: it has no grid."""
        return None

    def read(self, variable: str, window: Window) -> NDArray[np.float32]:
        """Refused: there are no cells to read."""
        raise NotImplementedError("a source without a grid is sampled")

    def sample(self, variable: str, geobox: GeoBox) -> NDArray[np.float32]:
        """Values at the cells of a grid; NaN where missing."""
        self.ledger.note(self.step, variable)
        return self.sampler.sample(variable, geobox)
