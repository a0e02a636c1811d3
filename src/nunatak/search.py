"""A search for hyper-parameters as a value: which values of a method are tried, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError, model_validator

from nunatak.source import Model
from nunatak.validation import explain

if TYPE_CHECKING:
    from nunatak.method import Method

_WITHIN = ("model.args.", "train.")
# The budget is the search's own; the rest is no value that a training gets better by.
_FIXED = ("train.samples", "train.validate_every", "train.seed", "train.freeze")


class Range(Model):
    """Values from ``low`` to ``high``; whole numbers where the method takes no others.

    With ``log`` each factor is as likely as any other, else each difference.
    """

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ascending(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} has no logarithm: expected low above 0")
        return self


class Choices(Model):
    """Values of which one is taken, without an order."""

    choices: Annotated[tuple[bool | int | float | str, ...], Field(min_length=2)]


class Search(Model):
    """Trials of a method, each a training with other values at the places in ``space``.

    ``samples`` shortens the trainings, with warm-up and validations in proportion.
    """

    trials: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)] = 0
    samples: Annotated[int, Field(gt=0)] | None = None
    space: Annotated[dict[str, Range | Choices], Field(min_length=1)]


def faults(method: Method) -> Iterator[str]:
    """What cannot be in the search of a method: each end of each range must make a method.

    Yields
    ------
    str
        What was given and what was expected.
    """
    search = method.search
    if search is not None and method.train is None:
        yield "search: this method has no training: expected a section train"
    elif search is not None:
        for path, space in search.space.items():
            yield from _faults_at(method, path, space)


def _faults_at(method: Method, path: str, space: Range | Choices) -> Iterator[str]:
    if not path.startswith(_WITHIN) or path in _FIXED or path.rpartition(".")[2] == "op":
        yield (
            f"search.space: {path!r} is not searched: expected model.args.NAME, or a place below"
            f" train other than an op, {', '.join(_FIXED)}"
        )
        return
    for value in ends(method, path, space):
        if wrong := _refused(method, path, value):
            yield f"search.space: {path!r} cannot be {value!r}: {wrong}"
            return


def ends(method: Method, path: str, space: Range | Choices) -> tuple[Any, ...]:
    """All choices, or the two ends of a range: of type int where the method takes whole numbers."""
    if isinstance(space, Choices):
        return space.choices
    both = space.low, space.high
    if all(end.is_integer() for end in both) and _refused(method, path, space.low + 0.5):
        return tuple(map(int, both))
    return both


def _refused(method: Method, path: str, value: Any) -> str:
    """Why a method cannot have a value; empty if it can."""
    try:
        method.changed({"search": None, path: value})
    except KeyError as error:
        return f"no {error.args[0]!r} there"
    except ValidationError as error:
        told = explain(error, "", type(method)).what.splitlines()
        return "; ".join(line.removeprefix(": ") for line in told)
    return ""
