"""The table of days of regions, and the page that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from nunatak.day_sums import Asked, Marks, Region, made_coarse
from nunatak.figures import markdown_table
from nunatak.metrics.days import PairSums, StationSums
from nunatak.metrics.pointwise import skill
from nunatak.metrics.spectral import effective_resolution, pooled, signal_to_error
from nunatak.recipe import Recipe

EVERYWHERE, STATIONS, TRUTH = "test days", "stations", "truth"
WAVES = 6


def everywhere(regions: list[Region]) -> dict[str, pd.DataFrame]:
    """Spectra by method, of all regions together."""
    found = [region.spectra() for region in regions]
    return {
        method: pooled(
            [spectra[method] for spectra in found],
            [region.by[method].spectrum.patches for region in regions],
        )
        for method in regions[0].by
    }


def table(
    recipe: Recipe,
    regions: list[Region],
    spectra: Mapping[str, Mapping[str, pd.DataFrame]],
    asked: Asked,
) -> pd.DataFrame:
    """One row a method of all regions, then of each.

    Parameters
    ----------
    recipe
        The recipe of all scenes.
    regions
        The sums of each region.
    spectra
        By `where` and method.
    asked
        What is judged beside errors and spectra.

    Returns
    -------
    DataFrame
        ``method``, ``where``; ``skill``, 1 - mrmse / that of the first product at the same place;
        the figures of `nunatak.metrics.days.DaySums`; the number of squares that have a spectrum,
        and the effective resolutions (km); what was asked for. NaN where nothing could be counted.
    """
    places = {r.name: {method: sums.marks for method, sums in r.by.items()} for r in regions}
    patches = {r.name: next(iter(r.by.values())).spectrum.patches for r in regions}
    patches[EVERYWHERE] = sum(patches.values())
    total = {method: Marks() for method in recipe.products}
    for marks in places.values():
        for method, sums in marks.items():
            total[method].merge(sums)
    rows = []
    for where, marks in {EVERYWHERE: total, **places}.items():
        first = marks[recipe.products[0]].day.summary()["mrmse"]
        for method, sums in marks.items():
            figures = sums.day.summary()
            row = {"method": method, "where": where, "skill": skill(figures["mrmse"], first)}
            reach = _reach(spectra[where][method])
            count = {"squares": patches[where]}
            rows.append({**row, **figures, **count, **reach, **_asked(recipe, sums, asked)})
    return pd.DataFrame(rows)


def _reach(spectrum: pd.DataFrame) -> dict[str, float]:
    """Effective resolutions (km) by coherence and by the error."""
    waves = spectrum["wavelength"].to_numpy() / 1e3
    return {
        "effective_resolution_km": effective_resolution(waves, spectrum["coherence"].to_numpy()),
        "error_resolution_km": effective_resolution(waves, signal_to_error(spectrum)),
    }


def _asked(recipe: Recipe, marks: Marks, asked: Asked) -> dict[str, float]:
    """The figures that not every recipe has."""
    return {
        **({"velocity_rmse": marks.velocity.rmse} if asked.velocity else {}),
        **({"consistency": marks.consistency.rmse} if made_coarse(recipe) else {}),
        **(marks.tails.summary() if asked.tails else {}),
    }


def at_stations(regions: list[Region], least: int) -> pd.DataFrame:
    """One row a method, and one of the truth, of all stations, then of each that has enough.

    Parameters
    ----------
    regions
        The sums of each region.
    least
        Measurements that a station needs for a row of its own.

    Returns
    -------
    DataFrame
        ``method``, ``where``; ``skill`` by RMSE; ``n``, ``missing``, ``rmse``, ``mae``, ``bias``
        and ``correlation``, each of a field against what was measured. Empty if nothing was.
    """
    known = {
        (region.station(cell), method): sums
        for region in regions
        for method, found in _at_stations(region).items()
        for cell, sums in found.by.items()
    }
    methods = list(dict.fromkeys(method for _, method in known))
    rows = [_station(STATIONS, m, [s for (_, of), s in known.items() if of == m]) for m in methods]
    for where in dict.fromkeys(station for station, _ in known):
        sums = {m: known[where, m] for m in methods}
        if sums[TRUTH].n + sums[TRUTH].missing >= least:
            rows += [_station(where, m, [sums[m]]) for m in methods]
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    first = frame[frame["method"] == regions[0].recipe.products[0]].set_index("where")["rmse"]
    gains = [skill(r, first[w]) for r, w in zip(frame["rmse"], frame["where"], strict=True)]
    frame.insert(2, "skill", gains)
    return frame


def _at_stations(region: Region) -> dict[str, StationSums]:
    by = {method: sums.stations for method, sums in region.by.items()}
    return {**by, TRUTH: region.truth}


def _station(where: str, method: str, parts: list[PairSums]) -> dict[str, Any]:
    sums = reduce(_merged, parts, PairSums())
    return {
        "method": method,
        "where": where,
        **sums.summary(),
        "correlation": sums.correlation,
    }


def _merged(one: PairSums, other: PairSums) -> PairSums:
    one.merge(other)
    return one


def by_wavelength(spectra: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Ratio of power and coherence of each method at some wavelengths, long ones first."""
    first = next(iter(spectra.values()))
    chosen = np.unique(np.geomspace(1, len(first), min(WAVES, len(first))).round().astype(int)) - 1
    rows = []
    for quantity in ("ratio", "coherence"):
        for method, spectrum in spectra.items():
            part = spectrum.iloc[chosen]
            names = [f"{wave / 1e3:.3g} km" for wave in part["wavelength"]]
            values = dict(zip(names, part[quantity], strict=True))
            rows.append({"quantity": quantity, "method": method, **values})
    return pd.DataFrame(rows)


def page(
    recipe: Recipe,
    days: pd.DataFrame,
    stations: pd.DataFrame,
    spectra: Mapping[str, pd.DataFrame],
    asked: Asked,
) -> str:
    """The page of the metrics.

    Parameters
    ----------
    recipe
        The recipe of all scenes.
    days, stations
        As `table` and `at_stations` give them.
    spectra
        Those of all regions together, by method.
    asked
        What is judged beside.
    """
    lines = [
        f"# {recipe.title}: days held out",
        "",
        f"Errors are product minus truth in {recipe.target.units}; mrmse is the mean over days of",
        f"the RMSE of each image. Skill is 1 - mrmse / mrmse of {recipe.products[0]}. Land is in",
        "no figure: land_values counts cells on land that have a value. The effective resolution",
        "(km) is where coherence with the truth falls below 0.5, the error resolution where 1 -",
        "power of the error / power of the truth does.",
        *_told(asked),
        "",
        markdown_table(days),
        "",
        "## By wavelength",
        "",
        "Power relative to the truth, and coherence with it, of all regions together.",
        "",
        markdown_table(by_wavelength(spectra)),
        "",
    ]
    if len(stations):
        lines += [
            "## At stations",
            "",
            f"Errors are field minus measurement; {TRUTH!r} is the target itself. Skill is by",
            "RMSE.",
            "",
            markdown_table(stations),
            "",
        ]
    return "\n".join(lines)


def _told(asked: Asked) -> list[str]:
    """What is to be said of figures that not every recipe has."""
    told = []
    if asked.velocity:
        told += [
            "velocity_rmse (m s-1) is the length of the error of the geostrophic velocity, further",
            f"than {asked.equator:g} degrees from the equator.",
        ]
    if asked.tails:
        told += [
            "Warm and cold are cells whose truth is above the 95th, and below the 5th percentile",
            "of the region's test days.",
        ]
    return told
