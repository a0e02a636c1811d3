"""Polygons of vector files (shapefile, GeoPackage, GeoJSON) as fields, on any grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyogrio import list_layers, read_info
from pyogrio.errors import DataSourceError
from pyogrio.raw import read
from rasterio.features import rasterize

from nunatak.errors import DataError, SourceError
from nunatak.grid import Window
from nunatak.source import Source, Variable
from nunatak.sources.gridded import clean
from nunatak.sources.polygons import (
    TURNS,
    Bounds,
    Numbers,
    Shapes,
    any_longitude,
    bounds,
    lattice_of,
    moved,
    parts,
    seen,
    shifted,
    tiles,
)
from nunatak.sources.raster import check_crs, crs_of, parse_crs, same_crs

_SIBLINGS = (".shx", ".dbf")
# Where the CRS is geographic, and where not: the cell to a hundredth of which two CRSs must agree.
_CHECKED = {True: 1e-3, False: 100.0}


@dataclass(frozen=True)
class Polygons:
    """The polygons of a layer as a source: evaluated at the cells of any grid.

    Parameters
    ----------
    path
        The file.
    layer
        The layer.
    crs
        CRS of the file.
    variables
        The variables of the catalogue.
    attributes
        For each variable, the attribute that is its value; empty: the value is 1.
    all_touched
        Whether every cell that a polygon touches is inside, not only those whose centre is.
    """

    path: Path
    layer: str
    crs: CRS
    variables: Mapping[str, Variable]
    attributes: Mapping[str, str]
    all_touched: bool = False

    @property
    def geobox(self) -> GeoBox | None:
        """None: polygons have no grid of their own."""
        return None

    def read(self, variable: str, window: Window) -> NDArray[np.float32]:
        """Not possible without a grid.

        Raises
        ------
        SourceError
            Always.
        """
        raise SourceError(
            f"{self.path}: {variable!r} was asked for by {window}, but polygons have no grid",
            "a grid to burn them on",
            "call sample with a GeoBox",
        )

    def sample(self, variable: str, geobox: GeoBox) -> NDArray[np.float32]:
        """Values at the cells of a grid; where polygons overlap, of the last in the file.

        A cell's value depends on the file and on the cell alone, never on the extent of the grid:
        polygons are burnt in tiles of a lattice that all grids of the same cells share, whose
        position is rounded to 1e-5 cell. On a geographic grid longitudes count around the circle.

        Returns
        -------
        ndarray
            Rows and columns of the grid; NaN outside the polygons, and where the attribute is
            missing.

        Raises
        ------
        DataError
            If the grid is rotated, or the polygons cannot be expressed in its CRS.
        """
        if not geobox.axis_aligned:
            raise DataError(
                f"{self.path}: polygons cannot be burnt on {geobox!r}",
                "a grid along the axes of its CRS",
            )
        lattice, whole = lattice_of(geobox)
        values = np.empty(whole.shape, np.float32)
        for tile in tiles(whole):
            part = tile.common(whole)
            box = GeoBox(tile.shape, lattice @ Affine.translation(tile.left, tile.top), geobox.crs)
            burnt = self._burnt(self.attributes[variable], box)
            values[part.within(whole).slices] = burnt[part.within(tile).slices]
        return clean(values, self.variables[variable])

    def _burnt(self, attribute: str, box: GeoBox) -> NDArray[np.float32]:
        shapes, numbers = self._around(attribute, box)
        # GDAL takes time by the vertex and the row, and one grounding line has a million vertices.
        shapes, owner = parts(shapely.clip_by_rect(shapes, *bounds(box)))
        if not len(shapes):
            return np.full(box.shape, np.nan, np.float32)
        burnt: NDArray[np.float32] = rasterize(
            zip(shapes, numbers[owner], strict=True),
            out_shape=box.shape,
            transform=box.affine,
            fill=np.nan,
            all_touched=self.all_touched,
            dtype="float32",
        )
        return burnt

    def _around(self, attribute: str, box: GeoBox) -> tuple[Shapes, Numbers]:
        """The polygons near a grid, in its CRS, and their values."""
        wanted, near = crs_of(box), bounds(box)
        if same_crs(self.crs, wanted):
            shapes, numbers = self._near(attribute, near)
        else:
            near = seen(near, wanted, self.crs)
            shapes, numbers = self._near(attribute, near)
            shapes = moved(shapes, near, self.crs, wanted)
        if not wanted.geographic:
            return shapes, numbers
        copies = [shifted(shapes, turn) for turn in TURNS]
        return np.concatenate(copies), np.tile(numbers, len(copies))

    def _near(self, attribute: str, near: Bounds) -> tuple[Shapes, Numbers]:
        """The polygons that meet bounds in the file's CRS, in the file's order, and their values.

        Multipolygons are taken apart; polygons without a value are left out. Longitudes do not
        select, for a file may count them from -180 or from 0.
        """
        _, order, wkb, fields = read(
            self.path,
            self.layer,
            columns=[attribute] if attribute else [],
            bbox=any_longitude(near) if self.crs.geographic else near,
            force_2d=True,
            return_fids=True,
        )
        values = fields[0].astype(np.float64) if attribute else np.ones(len(wkb))
        kept = np.argsort(order)
        kept = kept[np.isfinite(values[kept])]
        shapes, owner = parts(shapely.from_wkb(wkb[kept]))
        return shapes, values[kept][owner]


def open_vector(
    path: Path,
    source: Source,
    *,
    layer: str = "",
    attribute: str = "",
    all_touched: bool = False,
    ignore_crs: bool = False,
) -> Polygons:
    """Open the polygons of a shapefile, GeoPackage, GeoJSON, or anything else that GDAL reads.

    Inside the polygons a variable is 1 or, to tell basins or glaciers apart, a numeric attribute:
    the variable's ``name`` in the catalogue, or ``attribute`` for variables without one. It is NaN
    outside.

    Parameters
    ----------
    path
        The file; those of a shapefile lie beside each other.
    source
        Its entry in the catalogue; ``crs`` is used where the file has none, and checked otherwise.
    layer
        The layer, if the file has several.
    attribute
        The attribute that is the value.
    all_touched
        Count every cell that a polygon touches as inside, not only those whose centre is.
    ignore_crs
        Take the catalogue's CRS, whatever the file says.

    Raises
    ------
    SourceError
        If the file or a file beside it is missing, or it has no such layer, polygons or attribute;
        the message lists what there is.
    DataError
        If the attribute is not numeric, or the CRS is not the catalogue's.
    """
    _complete(path)
    try:
        kinds = {str(name): str(kind) for name, kind in list_layers(path)}
        chosen = _layer(kinds, layer, path)
        info = read_info(path, chosen, force_feature_count=True, force_total_bounds=True)
    except DataSourceError as error:
        raise SourceError(f"{path}: {error}", "a vector file that GDAL can read") from error
    if not info["features"] or not _has_polygons(path, chosen, kinds[chosen]):
        raise SourceError(
            f"{path}: layer {chosen!r} holds no polygons: {info['features']} of {kinds[chosen]}",
            "polygons",
            "take another layer, or turn closed lines into polygons first",
        )
    crs = CRS(source.crs)
    if not ignore_crs and info["crs"]:
        cell = _CHECKED[crs.geographic]
        extent = GeoBox.from_bbox(info["total_bounds"], crs=crs, resolution=cell)
        check_crs(parse_crs(info["crs"]), source.crs, extent, str(path))
    attributes = {key: v.name or attribute for key, v in source.variables.items()}
    types = dict(zip(info["fields"], info["dtypes"], strict=True))
    for name in filter(None, attributes.values()):
        _numeric(path, name, types)
    return Polygons(path, chosen, crs, source.variables, attributes, all_touched)


def _complete(path: Path) -> None:
    """Refuse a shapefile without the files that belong to it, whatever the case of their names."""
    if path.suffix.lower() != ".shp" or not path.exists():
        return
    beside = {p.suffix.lower() for p in path.parent.iterdir() if p.stem == path.stem}
    if missing := [suffix for suffix in _SIBLINGS if suffix not in beside]:
        raise SourceError(
            f"{path}: {' and '.join(missing)} missing; there are {', '.join(sorted(beside))}",
            "the .shp, .shx and .dbf of a shapefile in one folder",
            "list all three as files of the source",
        )


def _layer(kinds: Mapping[str, str], layer: str, path: Path) -> str:
    if layer in kinds:
        return layer
    if not layer and len(kinds) == 1:
        return next(iter(kinds))
    raise SourceError(
        f"{path}: no layer {layer!r}" if layer else f"{path}: {len(kinds)} layers and none named",
        f"one of {', '.join(kinds)}",
        "set the reader's layer",
    )


def _has_polygons(path: Path, layer: str, kind: str) -> bool:
    """Whether a layer has polygons; where its type does not tell, all of it is read."""
    if "Polygon" in kind or "Point" in kind or "LineString" in kind or kind == "None":
        return "Polygon" in kind
    return len(parts(shapely.from_wkb(read(path, layer, columns=[])[2]))[0]) > 0


def _numeric(path: Path, name: str, types: Mapping[str, str]) -> None:
    numbers = [key for key, kind in types.items() if np.dtype(kind).kind in "biuf"]
    if name in numbers:
        return
    expected = f"one of {', '.join(numbers)}" if numbers else "a file with numeric attributes"
    do = "set the reader's attribute or the variable's name"
    if name in types:
        raise DataError(f"{path}: attribute {name!r} is not numeric", expected, do)
    raise SourceError(
        f"{path}: no attribute {name!r} among {', '.join(types) or 'none'}", expected, do
    )
