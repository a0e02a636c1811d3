"""Dated fronts as a GeoPackage: lines with a date, for a GIS."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import DTypeLike, NDArray
from pyogrio.raw import write
from pyproj import CRS

from nunatak.metrics.lines import unit
from nunatak.provenance import digest_json, fsync_folder
from nunatak.sources.disk import filling

_CLOCK = "OGR_CURRENT_DATE"
_FIELDS: dict[str, DTypeLike] = {
    "scene": object,
    "group": object,
    "date": "datetime64[D]",
    "sensor": object,
    "source": object,
    "part": np.int32,
    "length": np.float64,
    "units": object,
}


@dataclass(frozen=True)
class DatedFront:
    """The front in one scene, by truth or by a method.

    Attributes
    ----------
    scene, group, sensor
        Name of the scene, what it shows, what took it.
    date
        When.
    source
        ``true``, or the method.
    crs
        CRS of the lines; None if they count cells.
    lines
        Vertices x, y (n, 2) of each part of the front; none if there is no front.
    """

    scene: str
    group: str
    date: date
    sensor: str
    source: str
    crs: str | None
    lines: Sequence[NDArray[np.float64]]


def write_fronts(path: Path, fronts: Iterable[DatedFront]) -> None:
    """Write fronts as features of a GeoPackage, one a part of a front, by group and date.

    Fronts of one CRS are a layer, ``fronts_epsg_3031``; those without a georeference are the layer
    ``fronts_no_crs``, whose CRS is undefined: nothing is said of where they lie. Fields are
    ``scene``, ``group``, ``date``, ``sensor``, ``source``, ``part`` (0 is the longest), ``length``
    and its ``units``, ``m`` or ``cells``. The file appears whole or not at all, and the same fronts
    give the same bytes.

    Parameters
    ----------
    path
        The file to make, ``*.gpkg``.
    fronts
        In any order; scenes without a line make no feature.

    Raises
    ------
    DataError
        If a CRS is geographic: lengths in degrees mean nothing.
    """
    order = sorted(fronts, key=lambda f: (f.group, f.date, f.scene, f.source))
    systems = sorted({f.crs for f in order}, key=lambda crs: crs or "")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fronts-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        with filling(path.name, made), _dated(max((f.date for f in order), default=date.min)):
            for crs in systems or [None]:
                _write_layer(made, crs, [f for f in order if f.crs == crs])
        made.replace(path)
    fsync_folder(path.parent)


def _write_layer(path: Path, crs: str | None, fronts: list[DatedFront]) -> None:
    units, factor = unit(crs)
    lines, rows = [], []
    for front in fronts:
        for part, vertices in enumerate(front.lines):
            line = shapely.LineString(vertices)
            given = (front.scene, front.group, front.date, front.sensor, front.source)
            lines.append(shapely.to_wkb(line, byte_order=1))
            rows.append((*given, part, line.length * factor, units))
    columns = [np.array(c, dtype=t) for c, t in zip(_columns(rows), _FIELDS.values(), strict=True)]
    geometry = np.array(lines, dtype=object)
    with warnings.catch_warnings():
        # That the CRS is undefined is meant.
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        write(
            path,
            geometry,
            columns,
            np.array(list(_FIELDS)),
            layer=layer(crs),
            driver="GPKG",
            geometry_type="LineString",
            crs=crs,
            append=path.exists(),
        )


def layer(crs: str | None) -> str:
    """Name of the layer that holds the fronts of a CRS."""
    if crs is None:
        return "fronts_no_crs"
    code = CRS(crs).to_authority(min_confidence=100)
    name = "_".join(code) if code else f"crs_{digest_json(CRS(crs).to_wkt())[:8]}"
    return f"fronts_{name.lower()}"


def _columns(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True)) if rows else [() for _ in _FIELDS]


@contextmanager
def _dated(day: date) -> Iterator[None]:
    """Let GDAL take a day for now: it writes the time into the file."""
    before = pyogrio.get_gdal_config_option(_CLOCK)
    pyogrio.set_gdal_config_options({_CLOCK: f"{day.isoformat()}T00:00:00.000Z"})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({_CLOCK: before})
