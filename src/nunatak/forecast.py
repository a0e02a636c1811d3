"""The section of a recipe that forecasts series of stations: what from, how far, and by what."""

from __future__ import annotations

import datetime as dt
from itertools import combinations
from typing import Annotated

from pydantic import Field, model_validator

from nunatak import registry
from nunatak.source import Model, Name, Op, one_of

Range = tuple[dt.date, dt.date]
Ranges = Annotated[tuple[Range, ...], Field(min_length=1)]


class Periods(Model):
    """Which days train, validate and test: ranges of dates, first and last day included.

    Between two ranges of different parts there are at least ``gap`` days.
    """

    train: Ranges
    validation: Ranges
    test: Ranges
    gap: Annotated[int, Field(ge=0)] = 21

    @property
    def ends(self) -> Range:
        """The first and the last day of all ranges."""
        days = [day for span in (*self.train, *self.validation, *self.test) for day in span]
        return min(days), max(days)

    @model_validator(mode="after")
    def _apart(self) -> Periods:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        given = [(part, span) for part, spans in parts.items() for span in spans]
        for part, (first, last) in given:
            if last < first:
                raise ValueError(f"{part}: {first} to {last} is not from a first to a last day")
        for (one, a), (other, b) in combinations(given, 2):
            between = (max(a[0], b[0]) - min(a[1], b[1])).days - 1
            if between < (self.gap if one != other else 0):
                raise ValueError(
                    f"{one} {a[0]} to {a[1]} and {other} {b[0]} to {b[1]} are {max(between, 0)}"
                    f" days apart, or overlap: expected at least {self.gap} (gap)"
                )
        return self


class ForecastTrain(Model):
    """How a forecaster is trained; every count is in windows of the series.

    ``patience`` ends a training after that many validations without a better one.
    """

    loss: one_of(registry.INSITU) = Op(op="mse")  # type: ignore[valid-type]
    samples: Annotated[int, Field(gt=0)]
    batch: Annotated[int, Field(gt=0)] = 32
    lr: Annotated[float, Field(gt=0)] = 1e-3
    validate_every: Annotated[int, Field(gt=0)]
    patience: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0


class ForecastMethod(Model):
    """A forecaster and, if it has weights, how they are trained."""

    forecaster: one_of(registry.FORECASTERS)  # type: ignore[valid-type]
    train: ForecastTrain | None = None


class Forecast(Model):
    """Daily series of stations, from ``history`` days to the ``lead`` days that follow.

    ``stations`` are those that are forecast, by default all of the source.
    """

    source: Name
    variable: Name
    stations: tuple[str, ...] = ()
    history: Annotated[int, Field(ge=1)] = 14
    lead: Annotated[int, Field(ge=1)] = 7
    split: Periods
    methods: Annotated[dict[Name, ForecastMethod], Field(min_length=1)]
