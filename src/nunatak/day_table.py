"""The table of days of regions, and the page that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from nunatak.day_sums import TAILS, Asked, Marks, Region, made_coarse
from nunatak.figures import markdown_table
from nunatak.metrics.accumulate import ratio
from nunatak.metrics.days import PairSums, Series, TailSums
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


def at_stations(regions: list[Region], least: int, *, tails: bool = False) -> pd.DataFrame:
    """One row a method, and one of the truth, of all stations, then of each that has enough.

    Parameters
    ----------
    regions
        The sums of each region.
    least
        Measurements that a station needs for a row of its own, and to be in a tail.
    tails
        Whether there are columns of what is above the 95th, and below the 5th percentile of what a
        station measured itself.

    Returns
    -------
    DataFrame
        ``method``, ``where``; ``skill`` by RMSE; ``n``, ``missing``, ``rmse``, ``mae``, ``bias``
        and ``correlation``, each of a field against what was measured; of tails as
        `nunatak.metrics.days.TailSums` gives them. Of all stations, the correlation is the mean of
        theirs: what differs between stations is no skill. NaN where nothing could be counted.
        Empty if nothing was measured.
    """
    known = list(_stations(regions))
    if not known:
        return pd.DataFrame()
    groups = [(STATIONS, [by for _, by in known])]
    groups += [(name, [by]) for name, by in known if len(by[TRUTH].measured) >= least]
    rows = []
    for where, parts in groups:
        made = {m: _figures([part[m] for part in parts], least, tails) for m in parts[0]}
        first = made[regions[0].recipe.products[0]]["rmse"]
        for method, figures in made.items():
            gain = skill(figures["rmse"], first)
            rows.append({"method": method, "where": where, "skill": gain, **figures})
    return pd.DataFrame(rows)


def _stations(regions: list[Region]) -> Iterator[tuple[str, dict[str, Series]]]:
    """The name of every station, and its pairs by method, those of the truth last."""
    for region in regions:
        by = {method: sums.stations for method, sums in region.by.items()} | {TRUTH: region.truth}
        for cell in region.truth.by:
            yield region.station(cell), {method: sums.by[cell] for method, sums in by.items()}


def _figures(stations: list[Series], least: int, tails: bool) -> dict[str, float]:
    """Those of one method at some stations together."""
    each = [series.sums() for series in stations]
    together, extremes = PairSums(), TailSums()
    for sums in each:
        together.merge(sums)
    for series in stations:
        if len(series.measured) >= least:
            extremes.merge(series.tails(TAILS))
    known = [sums.correlation for sums in each if not np.isnan(sums.correlation)]
    correlation = ratio(sum(known), len(known))
    found = {**together.summary(), "correlation": correlation}
    return {**found, **extremes.summary()} if tails else found


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
    least: int,
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
    least
        Measurements that a station needs, as for `at_stations`.
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
            f"RMSE. The correlation of {STATIONS!r} is the mean of theirs: what differs between",
            "stations is no skill. A station is known by its cell: two in one cell are one, and",
            "one that moves is another in every cell.",
            *(_told_of_tails(least) if asked.tails else []),
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
            "of all cells of the region's test days together: mostly the warm and the cold parts",
            "of the region, rather than what is unusual at a place.",
        ]
    return told


def _told_of_tails(least: int) -> list[str]:
    """What is to be said of tails at stations."""
    return [
        "Warm and cold is what a station measured above the 95th, and below the 5th percentile of",
        f"its own measurements on the test days, if there are {least} or more; of all stations,",
        "each is taken by its own percentiles. A measurement that errs is in a tail more often:",
        f"compare with {TRUTH!r}, not with 0.",
    ]
