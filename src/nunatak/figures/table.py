"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log10

import pandas as pd
from pandas.api.types import is_bool_dtype, is_integer_dtype, is_numeric_dtype


def markdown_table(
    frame: pd.DataFrame, *, units: Mapping[str, str] | None = None, digits: int = 3
) -> str:
    """A table in Markdown: units in the header, numbers rounded and to the right.

    Parameters
    ----------
    frame
        Its columns are shown, its index is not.
    units
        Column to units, for the header; "1" is not shown.
    digits
        Significant digits of the middle value of a column; all its values get as many decimals.
        Whole numbers are shown whole.

    Returns
    -------
    str
        Lines without a last line break. A missing value is a dash.
    """
    given = units or {}
    names = [str(name) for name in frame.columns]
    heads = [f"{n} ({given[n]})" if given.get(n, "1") != "1" else n for n in names]
    columns = [_cells(frame.iloc[:, i], digits) for i in range(len(names))]
    right = [_is_number(frame.iloc[:, i]) for i in range(len(names))]
    widths = [max(2, *map(len, [h, *cells])) for h, cells in zip(heads, columns, strict=True)]
    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    rows = [heads, rule, *(list(row) for row in zip(*columns, strict=True))]
    return "\n".join(_line(row, widths, right) for row in rows)


def _is_number(column: pd.Series) -> bool:
    return is_numeric_dtype(column) and not is_bool_dtype(column)


def _cells(column: pd.Series, digits: int) -> list[str]:
    if not _is_number(column):
        return ["–" if pd.isna(v) else str(v).replace("|", "\\|") for v in column]
    decimals = 0 if is_integer_dtype(column) else _decimals(column, digits)
    shown = ["–" if pd.isna(v) else f"{v:,.{decimals}f}" for v in column]
    zero = f"{0:.{decimals}f}"
    return [zero if text == f"-{zero}" else text.replace("-", "−") for text in shown]


def _decimals(column: pd.Series, digits: int) -> int:
    """Decimals that show the middle value that is not 0 to so many digits."""
    sizes = column.abs()
    sizes = sizes[(sizes > 0) & (sizes < float("inf"))]
    return max(0, digits - 1 - floor(log10(sizes.median()))) if sizes.size else 0


def _line(cells: list[str], widths: list[int], right: list[bool]) -> str:
    padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
    return f"| {' | '.join(padded)} |"
