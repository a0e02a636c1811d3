"""Synthetic glaciers as files that a user might have: PNG with sidecars, GeoTIFF, labels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_bounds

from nunatak.sources.glacier import Acquisition, Glacier
from nunatak.sources.radar import image

SEED, COARSENING = 0, 6.0
SOURCE = """
glaciers:
  title: Synthetic glaciers in files
  files: [{ url: "file:glaciers" }]
  reader:
    op: scenes
    args:
      files:
        amplitude: ["images/{name}.tif", "images/{name}.png"]
        zone: zones/{name}_zones.png
        front: fronts/{name}_front.png
      codes:
        zone: { 0: 0, 64: 1, 127: 2, 254: 3 }
        front: { 0: 0, 255: 1 }
  variables:
    amplitude: { units: "1", nodata: 0 }
    zone: { units: "1", standard_name: area_type }
    front: { units: "1" }
  licence: CC0-1.0
"""
_GREYS = np.array([0, 64, 127, 254], np.uint8)


@dataclass(frozen=True)
class Taken:
    """A scene of a synthetic glacier, and how it is stored.

    Parameters
    ----------
    glacier, number
        Which.
    suffix
        ``png`` or ``tif`` of the image.
    located
        Whether anything tells where it lies.
    labelled
        Whether there are labels.
    """

    glacier: int
    number: int
    suffix: str = "png"
    located: bool = True
    labelled: bool = True

    @property
    def acquisition(self) -> Acquisition:
        """What is known of it without its cells."""
        return Glacier(SEED, self.glacier).acquisition(self.number, COARSENING)

    @property
    def name(self) -> str:
        """The name of its files, as CaFFe has them."""
        taken = self.acquisition
        return f"{taken.group}_{taken.date}_{taken.sensor}_{40}_{taken.quality}_{self.number:03}"

    def write(self, folder: Path) -> None:
        """Write its image, and what else there is of it."""
        seen = image(Glacier(SEED, self.glacier), self.number, COARSENING)
        grey = np.where(np.isnan(seen.amplitude), 0, np.maximum(seen.amplitude, 1))
        path = folder / "images" / f"{self.name}.{self.suffix}"
        _write(path, grey.astype(np.uint8), self.acquisition if self.suffix == "tif" else None)
        if self.located and self.suffix == "png":
            path.with_suffix(".json").write_text(json.dumps(self.sidecar()), encoding="utf-8")
        if self.labelled:
            _write(self.zones(folder), _GREYS[seen.zone.astype(int)])
            front = np.where(seen.front == 1, 255, 0).astype(np.uint8)
            _write(folder / "fronts" / f"{self.name}_front.png", front)

    def zones(self, folder: Path) -> Path:
        """Where its labels of zones lie."""
        return folder / "zones" / f"{self.name}_zones.png"

    def sidecar(self) -> dict[str, object]:
        """What lies beside its image."""
        taken = self.acquisition
        left, bottom, right, top = taken.bounds
        rows, cols = taken.shape
        return {
            "crs": taken.crs,
            "bounds": taken.bounds,
            "pixel_size": [(right - left) / cols, (top - bottom) / rows],
            "date": taken.date.isoformat(),
            "sensor": taken.sensor,
            "group": taken.group,
        }


def _write(path: Path, values: NDArray[np.uint8], at: Acquisition | None = None) -> None:
    rows, cols = values.shape
    profile = {"width": cols, "height": rows, "count": 1, "dtype": "uint8"}
    if at:
        profile |= {"crs": at.crs, "transform": from_bounds(*at.bounds, cols, rows), "nodata": 0}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", driver="GTiff" if at else "PNG", **profile) as file:
        file.write(values, 1)
