"""How a model of stages climbs from the coarse grid to the fine one."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from nunatak.errors import ConfigError

LADDERS = ("geometric", "linear", "level")


def rungs(scale: int, ladder: str, stages: int = 0) -> tuple[int, ...]:
    """Cells along the side of a coarse cell that each stage gives.

    Parameters
    ----------
    scale
        That of the last stage.
    ladder
        ``geometric``: 2, 4, 8, ...; ``linear``: 2, 4, 6, ...; ``level``: all stages give the fine
        grid.
    stages
        How many there are, where the ladder is ``level``; the others tell by themselves, and it
        is 0.

    Raises
    ------
    ConfigError
        If the ladder is none of these, does not end at the scale, or has not so many stages.
    """
    if ladder not in LADDERS:
        raise ConfigError(f"srcnn: ladder {ladder!r}", f"one of {', '.join(LADDERS)}")
    if (stages < 1) if ladder == "level" else (stages != 0):
        wanted = "1 or more" if ladder == "level" else "none, which the scale gives"
        raise ConfigError(f"srcnn: {stages} stages with a {ladder} ladder", f"stages: {wanted}")
    if ladder == "level":
        return (scale,) * stages
    if scale < 2 or scale % 2 or (ladder == "geometric" and scale & (scale - 1)):
        wanted = {"geometric": "a power of two, 2 or more", "linear": "an even number"}[ladder]
        raise ConfigError(
            f"srcnn: scale {scale} with a {ladder} ladder", f"a scale that is {wanted}"
        )
    if ladder == "linear":
        return tuple(range(2, scale + 1, 2))
    return tuple(2**step for step in range(1, scale.bit_length()))


def detached(
    scale: int,
    *,
    ladder: str = "geometric",
    stages: int = 0,
    end_to_end: bool = False,
    **others: Any,
) -> bool:
    """Whether stages are cut off from the losses of later ones, so that each needs its own.

    Takes the scale and the arguments of the model `srcnn`, and tells without building it.

    Raises
    ------
    ConfigError
        As `rungs` does.
    """
    del others
    return len(rungs(scale, ladder, stages)) > 1 and not end_to_end


def factors(scale: int, given: Sequence[int] = ()) -> tuple[int, ...]:
    """By how much each stage of a ladder refines the one before; their product is the scale.

    Parameters
    ----------
    scale
        That of the last stage.
    given
        The factors in order, the coarsest stage first; if empty, the scale's prime factors, the
        smallest first.

    Raises
    ------
    ConfigError
        If the scale is 1, or the factors are not whole numbers of 2 or more with that product.
    """
    found = tuple(given) or _primes(scale)
    whole = all(type(factor) is int and factor > 1 for factor in found)
    if not found or not whole or prod(found) != scale:
        raise ConfigError(
            f"ladder: factors {', '.join(map(str, found)) or 'none'} for scale {scale}",
            "whole numbers of 2 or more, whose product is the scale",
        )
    return found


def _primes(number: int) -> tuple[int, ...]:
    """Prime factors, the smallest first."""
    least = next((n for n in range(2, number + 1) if number % n == 0), None)
    return () if least is None else (least, *_primes(number // least))


def joined(
    scale: int, *, factors: Sequence[int] = (), velocities: bool = False, **others: Any
) -> bool:
    """Whether a cascade of factors has parts that need losses of their own: branches of velocity.

    Takes the scale and the arguments of the models `resac` and `resac_subpixel`.

    Raises
    ------
    ConfigError
        As `factors` does.
    """
    del others
    climbed(scale, factors)
    return velocities


def climbed(scale: int, given: Sequence[int] = ()) -> tuple[int, ...]:
    """Cells along the side of a coarse cell that each stage of a ladder of `factors` gives."""
    steps = factors(scale, given)
    return tuple(prod(steps[: n + 1]) for n in range(len(steps)))
