"""Albums: sources that hold many scenes, each on a grid of its own.

A scene is an image, its labels if it has any, and where it lies: a GeoTIFF says so itself, beside
any other image a sidecar can, ``<image>.json``. What neither says is not made up.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pydantic import ValidationError
from rasterio.windows import Window as RasterWindow

from nunatak.errors import ConfigError, DataError, SourceError
from nunatak.grid import Window
from nunatak.provenance import digest_file, digest_json
from nunatak.scene import Scene
from nunatak.source import Crs, Model, Source
from nunatak.sources.gridded import clean
from nunatak.sources.raster import Raster
from nunatak.validation import explain

_NAME = "{name}"
# CaFFe's names: Glacier_Date_Satellite_Resolution_Quality_Orbit.
PATTERN = (
    r"(?P<group>[^_]+)_(?P<date>\d{4}-\d{2}-\d{2})_(?P<sensor>[^_]+)_[^_]+_(?P<quality>\d+)_.*"
)


class Sidecar(Model):
    """What lies beside an image: where it is, on what, and when it was taken.

    ``bounds`` are left, bottom, right, top; ``pixel_size`` (one number, or width and height) is
    checked against them.
    """

    crs: Crs | None = None
    bounds: tuple[float, float, float, float] | None = None
    pixel_size: float | tuple[float, float] | None = None
    date: dt.date | None = None
    sensor: str | None = None
    group: str | None = None
    quality: int | None = None


def open_scenes(
    path: Path,
    source: Source,
    *,
    files: dict[str, str | list[str]],
    names: str = PATTERN,
    codes: dict[str, dict[Any, float]] | None = None,
) -> FileAlbum:
    r"""Open a folder of images, PNG or GeoTIFF or anything else that GDAL reads.

    Parameters
    ----------
    path
        The folder.
    source
        Its entry in the catalogue.
    files
        Where the file of each variable lies below the folder, ``{name}`` standing for the scene's
        name: ``{amplitude: images/{name}.png, zone: zones/{name}_zones.png}``; of a list of such
        places, the first where a file is. The first variable tells which scenes there are; a scene
        may lack the others.
    names
        Regular expression for a scene's name, with the groups ``group``, ``date``, ``sensor`` and
        ``quality``, as far as no sidecar tells them; by default CaFFe's.
    codes
        For a variable that holds codes, what each stands for: ``{zone: {64: 1, 127: 2}}``.

    Raises
    ------
    SourceError
        If there is no such folder.
    ConfigError
        If a variable has no file, or the expression is none.
    """
    if not path.is_dir():
        raise SourceError(f"{path} is no folder", "the folder that holds the scenes")
    if missing := sorted(source.variables.keys() - files.keys()):
        raise ConfigError(f"scenes: no files for {', '.join(missing)}", "a path for each variable")
    places = {key: [given] if isinstance(given, str) else given for key, given in files.items()}
    if wrong := [text for given in places.values() for text in given if text.count(_NAME) != 1]:
        raise ConfigError(f"scenes: {wrong[0]!r}", f"a path that holds {_NAME} once")
    try:
        pattern = re.compile(names)
    except re.error as error:
        raise ConfigError(f"scenes: names {names!r}: {error}", "a regular expression") from error
    return FileAlbum(path, source, places, pattern, codes or {})


@dataclass(frozen=True)
class FileAlbum:
    """A folder of scenes; see `open_scenes`."""

    folder: Path
    source: Source
    files: Mapping[str, Sequence[str]]
    names: re.Pattern[str]
    codes: Mapping[str, Mapping[Any, float]]

    def scenes(self) -> dict[str, Scene]:
        """What is known of every scene, by name, sorted.

        Raises
        ------
        SourceError
            If the folder holds none.
        DataError
            If an image cannot be read, or its sidecar or name does not tell what is needed.
        """
        templates = next(iter(self.files.values()))
        found = {}
        for template in reversed(templates):
            before, _, after = template.partition(_NAME)
            for path in self.folder.glob(before + "*" + after):
                place = path.relative_to(self.folder).as_posix()
                found[place.removeprefix(before).removesuffix(after)] = path
        if not found:
            raise SourceError(
                f"{self.folder}: no scene",
                f"images {' or '.join(templates)}",
                "set data:, or the reader's files",
            )
        return {name: self._scene(name, found[name]) for name in sorted(found)}

    def path(self, variable: str, name: str) -> Path | None:
        """Where the file of a scene's variable lies; None if there is none."""
        places = (self.folder / text.replace(_NAME, name) for text in self.files[variable])
        return next((path for path in places if path.exists()), None)

    def holds(self, scene: Scene) -> bool:
        """Whether there is a scene of the same group and date."""
        return (scene.group, scene.date) in {(s.group, s.date) for s in self.scenes().values()}

    def digest(self, name: str, scene: Scene) -> str:
        """Digest of a scene's files."""
        del scene
        return digest_json({key: digest_file(path) for key, path in self._paths(name)})

    def _paths(self, name: str) -> Iterator[tuple[str, Path]]:
        """A scene's files by variable, and the sidecar of its image."""
        found = {variable: self.path(variable, name) for variable in self.files}
        image = next(iter(found.values()))
        found["sidecar"] = _sidecar(image) if image else None
        yield from ((key, path) for key, path in found.items() if path and path.exists())

    def raster(self, name: str, scene: Scene) -> Raster:
        """One scene, to be read."""
        return SceneRaster(self, name, scene)

    def _scene(self, name: str, path: Path) -> Scene:
        beside, own = _read_sidecar(_sidecar(path)), _georeference(path)
        told = self.names.fullmatch(name)
        given = {k: v for k, v in (told.groupdict() if told else {}).items() if v is not None}
        given |= beside.model_dump(exclude_none=True, exclude={"crs", "bounds", "pixel_size"})
        if lacking := [key for key in ("group", "date") if key not in given]:
            raise DataError(
                f"{path}: neither its name nor a sidecar tells {' and '.join(lacking)}",
                "a name that the reader's `names` matches, or a sidecar beside it",
                f"write them into {_sidecar(path)}",
            )
        shape, crs, bounds = own
        if beside.bounds is not None:
            crs, bounds = beside.crs, beside.bounds
            _check_pixel(beside, shape, _sidecar(path))
        if crs is None:
            bounds = (0.0, 0.0, float(shape[1]), float(shape[0]))
        try:
            return Scene.model_validate({**given, "shape": shape, "crs": crs, "bounds": bounds})
        except ValidationError as error:
            raise explain(error, str(path), Scene) from error


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_sidecar(path: Path) -> Sidecar:
    if not path.exists():
        return Sidecar()
    try:
        found = Sidecar.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise explain(error, str(path), Sidecar) from error
    except ValueError as error:
        raise DataError(f"{path}: {error}", "a sidecar in JSON") from error
    if (found.crs is None) != (found.bounds is None):
        raise DataError(
            f"{path}: {'bounds without crs' if found.crs is None else 'crs without bounds'}",
            "both, or neither",
            "one alone does not say where the scene lies",
        )
    return found


def _check_pixel(beside: Sidecar, shape: tuple[int, int], path: Path) -> None:
    if beside.pixel_size is None or beside.bounds is None:
        return
    size = beside.pixel_size
    wanted = size if isinstance(size, tuple) else (size, size)
    left, bottom, right, top = beside.bounds
    found = (right - left) / shape[1], (top - bottom) / shape[0]
    if any(abs(f - w) > 0.01 * abs(w) for f, w in zip(found, wanted, strict=True)):
        raise DataError(
            f"{path}: pixel_size {size}, but the bounds of {shape[0]} x {shape[1]} cells make"
            f" {found[0]:g} x {found[1]:g}",
            "a pixel size that fits the bounds within 1 %",
            "correct one of them",
        )


def _georeference(
    path: Path,
) -> tuple[tuple[int, int], str | None, tuple[float, float, float, float]]:
    """Shape, CRS and bounds of an image; of one that does not say where it is, no CRS."""
    with _opened(path) as image:
        affine, crs = image.transform, image.crs
        if crs is None or affine.is_identity:
            return image.shape, None, (0.0, 0.0, float(image.width), float(image.height))
        if affine.b or affine.d or affine.a < 0 or affine.e > 0:
            raise DataError(
                f"{path}: the grid is rotated or flipped ({tuple(affine)[:6]})",
                "rows from north to south, columns from west to east",
                "warp it with gdalwarp first",
            )
        return image.shape, crs.to_string(), tuple(image.bounds)


def _opened(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # That a scene lies nowhere is told in its products.
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            return rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        raise SourceError(f"{path}: {error}", "an image that GDAL can read") from error


@dataclass(frozen=True)
class SceneRaster:
    """One scene of a folder."""

    album: FileAlbum
    name: str
    scene: Scene

    @property
    def geobox(self) -> GeoBox:
        """The scene's own grid."""
        return self.scene.geobox

    def read(self, variable: str, window: Window) -> NDArray[np.float32]:
        """Values of a window; NaN where missing, and all NaN if the scene has no such file.

        Raises
        ------
        DataError
            If the file is not of the image's shape, or holds a code that is not declared.
        """
        path = self.album.path(variable, self.name)
        if path is None:
            return np.full(window.shape, np.nan, np.float32)
        place = RasterWindow(window.left, window.top, *reversed(window.shape))
        with _opened(path) as image:
            if image.shape != self.scene.shape:
                raise DataError(
                    f"{path} has {image.shape[0]} x {image.shape[1]} cells",
                    f"{self.scene.shape[0]} x {self.scene.shape[1]}, as the image has",
                )
            values = image.read(1, window=place, masked=True)
        cleaned = clean(values, self.album.source.variables[variable])
        known = self.album.codes.get(variable)
        return _decoded(cleaned, known, path) if known else cleaned


def _decoded(
    values: NDArray[np.float32], codes: Mapping[Any, float], path: Path
) -> NDArray[np.float32]:
    """Codes of a file as what they stand for."""
    result = np.full(values.shape, np.nan, np.float32)
    known = np.isnan(values)
    for code, meaning in codes.items():
        here = values == float(code)
        result[here], known = meaning, known | here
    if not known.all():
        others = ", ".join(f"{v:g}" for v in np.unique(values[~known])[:5])
        raise DataError(
            f"{path}: codes {others}",
            f"one of {', '.join(str(code) for code in codes)}",
            "declare them in the reader's codes",
        )
    return result
