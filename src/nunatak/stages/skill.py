"""skill: how well each method forecasts the series of stations, by lead, station and tail."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nunatak.dag import SKILL
from nunatak.figures import forecast_skill, markdown_table
from nunatak.ops.forecast import EVERY, scores
from nunatak.products import Results
from nunatak.provenance import digest_file, write_text

_MEANS = {"all": "all test days", "warm": "the warm tail", "cold": "the cold tail"}


def skill(results: Results) -> dict[str, Any]:
    """Write forecast.csv, forecast.md and forecast.png below ``evaluate/``.

    Parameters
    ----------
    results
        The results tree, in which all methods have forecast.

    Returns
    -------
    dict
        The manifest: the digest of each file.
    """
    recipe, folder = results.recipe, results.folder / "evaluate"
    spec = recipe.forecast
    assert spec is not None
    parts = [pd.read_parquet(results.forecasts(m)).assign(method=m) for m in spec.methods]
    frame = scores(pd.concat(parts, ignore_index=True))
    variable = recipe.sources[spec.source].variables[spec.variable]
    units, title = variable.to or variable.units, f"{recipe.title}: forecast"
    write_text(folder / SKILL[0], frame.to_csv(index=False))
    write_text(folder / SKILL[1], page(frame, title, units))
    forecast_skill(frame, folder / SKILL[2], units=units, title=title)
    files = [folder / name for name in SKILL]
    results.keep(*files)
    return {"variables": {path.name: {"digest": digest_file(path)} for path in files}}


def page(frame: pd.DataFrame, title: str, units: str) -> str:
    """What forecast.md says: a table of all stations and leads together, for each tail."""
    lines = [
        f"# {title}",
        "",
        "Test days alone; every method forecasts the same. The tails are days above the 95th and",
        "below the 5th percentile of each station's training days. The correlation is the mean of",
        "those of the stations.",
        "",
    ]
    whole = frame[(frame["station"] == EVERY) & (frame["lead"] == EVERY)]
    for where, means in _MEANS.items():
        part = whole[whole["where"] == where].drop(columns=["where", "station", "lead"])
        table = markdown_table(part, units={"rmse": units, "bias": units})
        lines += [f"## On {means}", "", table, ""]
    return "\n".join(lines)
