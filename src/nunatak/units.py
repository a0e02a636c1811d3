"""Units as CF writes them ("m yr-1", "kg m-2 s-1", "degC"), converted by pint."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pint

_POWER = re.compile(r"(?<=[A-Za-z])(?=[0-9-])")


@lru_cache(maxsize=1)
def _pint() -> pint.UnitRegistry[Any]:
    import pint

    return pint.UnitRegistry(preprocessors=[lambda text: _POWER.sub("**", text)])


@lru_cache(maxsize=256)
def check(name: str) -> str:
    """Return the name of a unit as it is.

    Raises
    ------
    ValueError
        If the unit is not known.
    """
    if name in {"1", "m", "km", "m yr-1", "kg m-2 yr-1", "K", "degC", "km yr-1"}:
        return name
    try:
        _pint().parse_units(name)
    except Exception as error:
        raise ValueError(
            f"unknown unit {name!r}; write it as CF does, like 'm' or 'm yr-1'"
        ) from error
    return name


@lru_cache(maxsize=256)
def factor(given: str, wanted: str) -> tuple[float, float]:
    """Scale and offset between two units: ``wanted = given * scale + offset``.

    Raises
    ------
    ValueError
        If the two units measure different things.
    """
    if given == wanted:
        return 1.0, 0.0
    quantity = _pint().Quantity
    try:
        zero, one = (float(quantity(v, given).to(wanted).magnitude) for v in (0.0, 1.0))
    except Exception as error:
        raise ValueError(
            f"cannot convert {given!r} to {wanted!r}: they measure different things"
        ) from error
    return one - zero, zero
