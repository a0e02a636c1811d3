"""Tables of points, like radar picks: read by declarative options, chunk by chunk, and gridded."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from nunatak import units
from nunatak.errors import ConfigError, DataError, SourceError
from nunatak.source import Source
from nunatak.sources.formula import Array, Formula
from nunatak.sources.gridded import clean
from nunatak.sources.raster import at, crs_of


@dataclass(frozen=True)
class Points:
    """A table of points opened for reading by regions; see `open_points`.

    Parameters
    ----------
    path
        The file.
    source
        Its entry in the catalogue.
    columns
        Names for columns of the file: x, y, variables, and what formulas use.
    formulas
        Variables (or x, y) that are computed.
    options
        How pandas reads the file.
    """

    path: Path
    source: Source
    columns: Mapping[str, str]
    formulas: Mapping[str, Formula]
    options: Mapping[str, Any] = field(repr=False)

    @property
    def needed(self) -> set[str]:
        """The columns of the file that are read."""
        used = set().union(*(formula.names for formula in self.formulas.values()))
        return set(self.columns.values()) | (used - set(self.columns))

    def within(self, geobox: GeoBox) -> pd.DataFrame:
        """The points inside a grid, all at once; otherwise as `chunks`."""
        return pd.concat(self.chunks(geobox), ignore_index=True)

    def chunks(self, geobox: GeoBox) -> Iterator[pd.DataFrame]:
        """The points inside a grid, chunk by chunk.

        Yields
        ------
        DataFrame
            x and y in the CRS of the grid, and the source's variables, in the units that they are
            to be converted to. NaN where a variable is missing; rows without any are left out.

        Raises
        ------
        DataError
            If the file holds text where there should be numbers.
        """
        move = Transformer.from_crs(self.source.crs, crs_of(geobox).to_wkt(), always_xy=True)
        for chunk in self._chunks():
            yield self._part(chunk, move, geobox)

    def _chunks(self) -> Iterator[pd.DataFrame]:
        needed = self.needed
        options = {**self.options, "dtype": np.float64}
        options["usecols"] = lambda name: str(name).strip() in needed
        try:
            for stream in _streams(self.path):
                for chunk in pd.read_csv(stream, **options):
                    yield chunk.rename(columns=lambda name: str(name).strip())
        except (ValueError, UnicodeError) as error:
            raise DataError(
                f"{self.path}: {error}",
                "a table of numbers in the columns that are used",
                "check separator, skip and names of the reader; list words for missing in na",
            ) from error

    def _part(self, chunk: pd.DataFrame, move: Transformer, geobox: GeoBox) -> pd.DataFrame:
        table = {str(name): chunk[name].to_numpy(np.float64) for name in chunk}
        table |= {alias: table[name] for alias, name in self.columns.items()}
        table |= {key: formula(table) for key, formula in self.formulas.items()}
        x, y = move.transform(table["x"], table["y"])
        inside = located(x, y, geobox)[2]
        found = {"x": x[inside], "y": y[inside]}
        for key, variable in self.source.variables.items():
            values = np.broadcast_to(table[key], len(chunk))[inside]
            scale, offset = units.factor(variable.units, variable.to or variable.units)
            found[key] = clean(values, variable) * np.float32(scale) + np.float32(offset)
        return pd.DataFrame(found).dropna(how="all", subset=list(self.source.variables))


def open_points(
    path: Path,
    source: Source,
    *,
    columns: dict[str, str],
    separator: str = ",",
    formula: dict[str, str] | None = None,
    names: list[str] | None = None,
    skip: int = 0,
    na: list[str] | None = None,
    encoding: str = "utf-8",
    chunk: int = 1_000_000,
) -> Points:
    r"""Open a table of points: CSV or other text, plain, compressed, or all the members of a zip.

    Coordinates are in the source's CRS: x is the longitude where that is geographic. A variable is
    its formula if there is one, or else the column that ``columns`` gives, or else the column
    of its ``name`` in the catalogue.

    Parameters
    ----------
    path
        The file.
    source
        Its entry in the catalogue.
    columns
        Names for columns of the file, like ``{x: LON, y: LAT}``; x and y are needed. Variables,
        and names that formulas use, may be given too.
    separator
        Between columns; ``\s+`` for any white space.
    formula
        For variables (or x, y), arithmetic on names of ``columns`` or columns of the file:
        ``{bed: ELEVATION - BOTTOM}``.
    names
        The columns of a file without a line of names.
    skip
        Lines before the line of names, or before the data if ``names`` are given.
    na
        Words for missing, besides the usual.
    encoding
        Of the text.
    chunk
        Rows that are read at a time.

    Raises
    ------
    SourceError
        If the file cannot be read or has no such column; the message lists those that it has.
    ConfigError
        If x, y or a formula is wrong.
    """
    formulas = {key: Formula(text) for key, text in (formula or {}).items()}
    if missing := {"x", "y"} - {*columns, *formulas}:
        raise ConfigError(f"points: columns lack {', '.join(sorted(missing))}", "x and y")
    direct = {k: v.name or k for k, v in source.variables.items() if k not in formulas}
    options = {
        "sep": separator,
        "skiprows": skip,
        "header": None if names else 0,
        "names": names,
        "na_values": na or [],
        "encoding": encoding,
        "index_col": False,
        "chunksize": chunk,
    }
    points = Points(path, source, {**direct, **columns}, formulas, options)
    found = _header(path, options)
    if unknown := points.needed - set(found):
        raise SourceError(
            f"{path}: no column {', '.join(sorted(unknown))}",
            f"some of {', '.join(found)}",
            "check columns, formula, separator and skip of the reader",
        )
    return points


def _header(path: Path, options: Mapping[str, Any]) -> list[str]:
    """The columns of a file."""
    if options["names"]:
        return list(options["names"])
    try:
        for stream in _streams(path):
            with pd.read_csv(stream, **{**options, "chunksize": 1}) as reader:
                return [str(name).strip() for name in reader.read(0).columns]
    except (OSError, ValueError, UnicodeError) as error:
        raise SourceError(f"{path}: {error}", "a table of text") from error
    return []


def grid_points(
    frame: pd.DataFrame, variable: str, to: GeoBox, how: str = "median"
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Reduce the points in every cell of a grid to one value.

    Parameters
    ----------
    frame
        x and y in the CRS of the grid, and the variable; as `Points.within` gives them.
    variable
        The column to grid; rows where it is NaN do not count.
    to
        The grid.
    how
        median or mean.

    Returns
    -------
    field, count
        The value (NaN where there is no point) and the number of points of every cell.

    Raises
    ------
    DataError
        If the reduction is not known.
    """
    if how not in ("median", "mean"):
        raise DataError(f"points cannot be reduced by {how!r}", "median or mean")
    row, col, inside = located(frame["x"].to_numpy(), frame["y"].to_numpy(), to)
    values = frame[variable].to_numpy(np.float64)
    used = inside & np.isfinite(values)
    cell = row[used].astype(np.int64) * to.shape[1] + col[used].astype(np.int64)
    groups = pd.Series(values[used]).groupby(cell)
    field_, count = np.full(to.shape, np.nan, np.float32), np.zeros(to.shape, np.int32)
    reduced, number = groups.agg(how), groups.size()
    field_.flat[reduced.index.to_numpy()] = reduced.to_numpy()
    count.flat[number.index.to_numpy()] = number.to_numpy()
    return field_, count


def located(x: Array, y: Array, geobox: GeoBox) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Rows and columns of points in a grid, and whether they are inside."""
    col, row = at(~geobox.affine, x, y)
    rows, cols = geobox.shape
    return row, col, (row >= 0) & (row < rows) & (col >= 0) & (col < cols)


def _streams(path: Path) -> Iterator[IO[bytes] | Path]:
    """The file, or the members of a zip one after the other."""
    if not zipfile.is_zipfile(path):
        yield path
        return
    with zipfile.ZipFile(path) as archive:
        for member in sorted(info.filename for info in archive.infolist() if not info.is_dir()):
            with archive.open(member) as stream:
                yield stream
