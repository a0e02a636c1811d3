"""reproject: what a block needs of a source, warped, in the recipe's units and vertical datum."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from nunatak import units
from nunatak.content import Manifest
from nunatak.errors import DataError
from nunatak.grid import Block
from nunatak.ops.footprint import meets, shift, turned
from nunatak.ops.warp import warp
from nunatak.products import Results
from nunatak.sections import Role
from nunatak.source import Elevation, Source, Variable
from nunatak.sources.opening import open_raster
from nunatak.sources.raster import Raster

Field = NDArray[np.float32]

# Cells that lie further off their source's than this part of a cell are not copies of them.
_COPY, _NEAR = "nearest", 0.1
_ELLIPSOID = "ellipsoid"
_GEOID = "geoid"


def onto(
    raster: Raster,
    source: Source,
    role: Role,
    target_datum: str | None,
    to: GeoBox,
    geoid: tuple[Raster, Source] | None = None,
) -> dict[str, Field]:
    """The variables of a role on a grid, in the recipe's units and vertical datum.

    Heights (bedrock_altitude, surface_altitude) of another vertical datum than the target's are
    converted with a geoid field, ``h_geoid = h_ellipsoid - N``. Components of a vector are not
    rotated; see `nunatak.ops.warp.warp`.

    Parameters
    ----------
    raster
        The source, opened.
    source
        Its entry in the catalogue.
    role
        What the recipe takes of it, and how it is resampled.
    target_datum
        Vertical datum of the product: ``ellipsoid`` or ``geoid:NAME``. None: heights stay as they
        are.
    to
        The grid.
    geoid
        A source with a variable ``geoid``, the height N of the geoid above the ellipsoid; its
        ``vertical_datum`` says of which geoid.

    Returns
    -------
    dict
        Variable to values, rows and columns of ``to``; NaN where missing or not covered.

    Raises
    ------
    DataError
        If the role names a variable that the source does not declare, a vertical datum cannot be
        converted, or the nearest cell is asked for where all of them lie half-way.
    """
    fields: dict[str, Field] = {}
    for name in role.variables:
        variable = source.variables.get(name)
        if variable is None:
            declared = ", ".join(source.variables)
            raise DataError(f"{role.source} declares no variable {name!r}", f"one of {declared}")
        resampling = _resampling(role, name)
        if resampling == _COPY and raster.geobox is not None:
            _unmoved(turned(raster.geobox, to), role, to)
        field = _converted(warp(raster, name, to, resampling), variable)
        if variable.standard_name in get_args(Elevation):
            field = field + _shift(source, role, target_datum, geoid, to, variable)
        fields[name] = field
    return fields


def reproject(results: Results, role: str, block: Block, data: Path) -> Manifest:
    """Write one block of a role's field and return its manifest.

    Parameters
    ----------
    results
        The results tree of the recipe.
    role
        The role.
    block
        The block.
    data
        What ``file:`` URLs are relative to.

    Raises
    ------
    DataError
        If the source covers nothing of the domain, or its datum cannot be converted.
    """
    recipe, spec = results.recipe, results.recipe.roles[role]
    product, source = results.role(role).create(), results.recipe.sources[spec.source]
    raster = open_raster(results, spec.source, data)
    covers(raster, recipe.layout.fine)
    geoid = None
    if spec.geoid:
        geoid = open_raster(results, spec.geoid, data), recipe.sources[spec.geoid]
    box = recipe.layout.geobox(product.layout.ratio, block.core)
    fields = onto(raster, source, spec, recipe.target.vertical_datum, box, geoid)
    return product.write(block, fields)


def covers(raster: Raster, domain: GeoBox) -> None:
    """Check that a source has cells in a domain.

    Raises
    ------
    DataError
        If it has none, so that every cell of the product would be missing, or if nothing tells
        where the domain lies.
    """
    if raster.geobox is not None and domain.crs is None and raster.geobox.crs is not None:
        raise DataError(
            "a source that lies somewhere, for a scene of which nothing tells where it lies",
            "a scene with a georeference",
            "write a sidecar beside the scene, or leave out the role",
        )
    if raster.geobox is not None and not meets(raster.geobox, domain):
        raise DataError(
            f"the source covers nothing of the domain: it is {_extent(raster.geobox)}",
            f"a source that meets {_extent(domain)}",
            "check the bounds of the grid and the crs of the source's entry",
        )


def _unmoved(box: GeoBox, role: Role, to: GeoBox) -> None:
    """Refuse to move a field by taking the nearest of cells that are as large, but shifted."""
    across, down = shift(box, to)
    if max(across, down) > _NEAR:
        left, top = box.affine.c, box.affine.f
        raise DataError(
            f"{role.source}: its cells are as large as the grid's, and lie {across:.2g} of a cell"
            f" across and {down:.2g} down from them: the nearest ones would move the field",
            f"a grid with an edge at {left:g} and one at {top:g}, or whole cells from there",
            "move the bounds, or the reader's region; or take resampling: average, which blurs",
        )


def _resampling(role: Role, name: str) -> str:
    if isinstance(role.resampling, str):
        return role.resampling
    return role.resampling.get(name, "bilinear")


def _converted(field: Field, variable: Variable, wanted: str | None = None) -> Field:
    """A field in the units that the variable is to have, or in ``wanted``."""
    scale, offset = units.factor(variable.units, wanted or variable.to or variable.units)
    if (scale, offset) == (1.0, 0.0):
        return field
    return (field * scale + offset).astype(np.float32)


def _shift(
    source: Source,
    role: Role,
    target: str | None,
    geoid: tuple[Raster, Source] | None,
    to: GeoBox,
    like: Variable,
) -> Field | np.float32:
    """What brings heights of a source to the datum of the product."""
    if role.datum_offset is not None and target != source.vertical_datum:
        return np.float32(role.datum_offset)
    sign = _sign(source, role, target, geoid)
    if sign == 0 or geoid is None:
        return np.float32(0)
    return np.float32(sign) * _undulation(geoid, to, like)


def _undulation(geoid: tuple[Raster, Source], to: GeoBox, like: Variable) -> Field:
    """Height of the geoid above the ellipsoid, in the units of the heights."""
    raster, source = geoid
    field = warp(raster, _GEOID, to, "bilinear")
    return _converted(field, source.variables[_GEOID], like.to or like.units)


def _sign(
    source: Source, role: Role, target: str | None, geoid: tuple[Raster, Source] | None
) -> int:
    """What the geoid's height is multiplied with before it is added: -1, 0 or 1."""
    given = source.vertical_datum
    if target is None or given == target:
        return 0
    if _ELLIPSOID not in (given, target):
        raise _unequal(role, given, target, "heights above one geoid, or above the ellipsoid")
    wanted = target if given == _ELLIPSOID else given
    if geoid is None:
        raise _unequal(role, given, target, f"a geoid field of {wanted}")
    found = geoid[1].vertical_datum
    if found != wanted or _GEOID not in geoid[1].variables:
        raise _unequal(role, given, target, f"a geoid field of {wanted}, not of {found}")
    return -1 if given == _ELLIPSOID else 1


def _unequal(role: Role, given: str | None, target: str | None, expected: str) -> DataError:
    return DataError(
        f"heights of {role.source} are above {given}, those of the product above {target}",
        expected,
        "declare a source that has a variable 'geoid' of that geoid as `geoid:` in the role, or a"
        " constant `datum_offset:`, or take a source of the product's datum",
    )


def _extent(grid: GeoBox) -> str:
    left, bottom, right, top = grid.boundingbox
    return f"({left:g}, {bottom:g}, {right:g}, {top:g}) in {grid.crs}"
