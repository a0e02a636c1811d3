"""How well days of regions are mapped: every method against the truth, day by day."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nunatak import day_gallery, splits, units
from nunatak.crew import Crew
from nunatak.dag import mapped
from nunatak.day_sums import Asked, Climate, Field, Judged, Marks, Region, made_coarse
from nunatak.day_table import EVERYWHERE, at_stations, everywhere, page, table
from nunatak.errors import ConfigError, DataError
from nunatak.metrics.accumulate import Floats
from nunatak.metrics.days import StationSums
from nunatak.metrics.ocean import cells, geostrophic
from nunatak.ops.degrade import degraded, surroundings
from nunatak.ops.split import TEST
from nunatak.products import Results
from nunatak.recipe import Recipe


class Day(NamedTuple):
    """One test day to judge: its scene, and what is known of the truth of its region."""

    place: str
    asked: Asked
    sea: NDArray[np.bool_]
    ends: tuple[float, float]


class Part(NamedTuple):
    """The sums of one day, by method, and those of the truth at stations."""

    place: str
    by: dict[str, Judged]
    truth: StationSums


class Known(NamedTuple):
    """What every product of a day is compared with, as far as it is asked for."""

    truth: Field
    currents: tuple[Floats, Floats] | None
    coarse: Field | None


def judge_days(
    results: Results,
    data: Path,
    crew: Crew,
    folder: Path,
    *,
    velocity: bool = False,
    equator: float = 5.0,
    tails: bool = False,
    station_days: int = 5,
) -> tuple[pd.DataFrame, str]:
    """Judge every method on the test days of all regions, and draw the figures.

    Parameters
    ----------
    results
        The tree of all scenes, each of them a day of a region.
    data
        Not used.
    crew
        Who works on the days.
    folder
        Where the figures go.
    velocity
        Whether the geostrophic velocity is compared, of a target that is the height of the sea
        surface.
    equator
        Latitude (degrees) below which there is no such velocity.
    tails
        Whether the cells are judged apart whose truth is below the 5th or above the 95th percentile
        of the region's test days, and of a station those days that are so among its own
        measurements.
    station_days
        Measurements that a station needs for a row of its own and to be in a tail; the other
        figures of all stations together count every one.

    Returns
    -------
    DataFrame, str
        The table, and the page that shows it.

    Raises
    ------
    ConfigError
        If velocities are asked for of a target that is no height.
    DataError
        If no day is in the test, or the days of a region lie on different grids.
    """
    del data
    asked = Asked(velocity, equator, tails)
    _check(results.recipe, asked)
    regions = judged(results, crew, asked)
    spectra = {EVERYWHERE: everywhere(regions), **{r.name: r.spectra() for r in regions}}
    days = table(results.recipe, regions, spectra, asked)
    stations = at_stations(regions, station_days, tails=tails)
    day_gallery.draw(results, regions, spectra[EVERYWHERE], folder)
    frame = pd.concat([days, stations], ignore_index=True) if len(stations) else days
    whole = dict.fromkeys(days.columns[days.dtypes == np.int64], "Int64")
    told = page(results.recipe, days, stations, spectra[EVERYWHERE], asked, station_days)
    return frame.astype(whole), told


def _check(recipe: Recipe, asked: Asked) -> None:
    if asked.velocity:
        try:
            units.factor(recipe.target.units, "m")
        except ValueError as error:
            raise ConfigError(
                f"velocity of {recipe.target.long_name} in {recipe.target.units!r}",
                "a height of the sea surface, in units of length",
                "leave velocity out of evaluate.judge.args",
            ) from error


def judged(results: Results, crew: Crew, asked: Asked) -> list[Region]:
    """The sums of every region that has test days: what is land is told first, by all of them."""
    climates: dict[str, Climate] = {}
    places: dict[str, list[str]] = {}
    for place, climate in crew.each(_climate, results, mapped(results.recipe)):
        if climate is None:
            continue
        group = results.recipe.of(place).acquisition.group
        places.setdefault(group, []).append(place)
        if group in climates:
            climates[group].merge(climate)
        else:
            climates[group] = climate
    if not places:
        raise DataError(
            "no day that is mapped is in the test",
            "days that split.by tests on, among scenes.mapped",
            "change one of them",
        )
    return [_region(results, crew, asked, places[g], climates[g]) for g in climates]


def _climate(results: Results, place: str) -> tuple[str, Climate | None]:
    scene = results.at(place)
    window = scene.recipe.layout.whole
    if not (splits.labels(scene, window) == TEST).all():
        return place, None
    return place, Climate.of(scene.recipe, scene.role("target").read_first(window))


def _region(
    results: Results, crew: Crew, asked: Asked, places: list[str], climate: Climate
) -> Region:
    ordered = sorted(places, key=lambda place: results.recipe.of(place).acquisition.date)
    recipes = [results.recipe.of(place) for place in ordered]
    region = Region.empty(recipes[0])
    if any(recipe.layout.fine != region.recipe.layout.fine for recipe in recipes):
        raise DataError(f"{region.name}: days on different grids", "one grid for a region")
    ends = climate.ends
    days = [Day(place, asked, climate.sea, ends) for place in ordered]
    for part in crew.each(_of_day, results, days):
        date = results.recipe.of(part.place).acquisition.date
        region.places.append(part.place)
        region.truth.merge(part.truth)
        for method, sums in part.by.items():
            region.by[method].merge(sums)
            row = {"date": date, "where": region.name, "method": method}
            region.days.append({**row, "rmse": sums.marks.day.rmse})
    return region


def _of_day(results: Results, day: Day) -> Part:
    scene = results.at(day.place)
    recipe, window = scene.recipe, scene.recipe.layout.whole
    truth = scene.role("target").read_first(window)
    measured = scene.role(recipe.insitu).read_first(window) if recipe.insitu else None
    known = _known(scene, day, truth)
    part = Part(day.place, {m: Judged.empty(recipe) for m in recipe.products}, StationSums())
    if measured is not None:
        part.truth.add(truth, measured)
    for method, sums in part.by.items():
        product = scene.mosaic(method).read(recipe.target.variable, window)
        sums.map.add(product, truth)
        sums.add_squares(product, truth)
        _mark(recipe, day, sums.marks, product, known)
        if measured is not None:
            sums.stations.add(product, measured)
    return part


def _known(scene: Results, day: Day, truth: Field) -> Known:
    recipe = scene.recipe
    currents = _currents(recipe, day.asked.equator, truth) if day.asked.velocity else None
    made = made_coarse(recipe)
    return Known(truth, currents, scene.coarse.read_first(recipe.layout.whole) if made else None)


def _mark(recipe: Recipe, day: Day, marks: Marks, product: Field, known: Known) -> None:
    marks.day.add_day(product, known.truth, day.sea)
    if day.asked.tails:
        marks.tails.add(product, known.truth, day.ends)
    if known.currents is not None:
        marks.velocity.add(_currents(recipe, day.asked.equator, product), known.currents)
    if known.coarse is not None:
        marks.consistency.add(_coarsened(recipe, product), known.coarse)


def _currents(recipe: Recipe, equator: float, height: Field) -> tuple[Floats, Floats]:
    """Components of the geostrophic velocity (m s-1)."""
    factor = units.factor(recipe.target.units, "m")[0]
    metres = np.asarray(height, np.float64) * factor
    return geostrophic(metres, cells(recipe.layout.fine), equator=equator)


def _coarsened(recipe: Recipe, product: Field) -> Field:
    """A whole product, degraded; beyond the domain all is missing."""
    by, scale = recipe.coarse.degrade, recipe.grid.scale
    around = np.pad(product, surroundings(by.op, scale) * scale, constant_values=np.nan)
    return degraded(around, scale, by.op, by.args)
