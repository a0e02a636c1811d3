"""Figures of an earlier work beside those of a product, in the metric that it was given in."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nunatak.crew import ALONE, Crew
from nunatak.figures import markdown_table
from nunatak.grid import Block
from nunatak.metrics.accumulate import ratio
from nunatak.products import Results
from nunatak.recipe import Recipe
from nunatak.registry import LEAKY

METRIC = "mse_over_max"


def mse_over_max(rmse: float, largest: float) -> float:
    """Mean square of the error of ``field / largest``: what DeepIceSheetDS prints as RMSE.

    Parameters
    ----------
    rmse
        Of the field, in its units.
    largest
        Greatest truth, by which the original divides before it trains; same units.

    Returns
    -------
    float
        Without units; NaN if ``largest`` is 0.
    """
    return ratio(rmse**2, largest**2)


def greatest(results: Results, crew: Crew = ALONE) -> float:
    """The greatest truth of the whole domain, whatever its split; -inf if there is none."""
    return max(crew.each(_greatest, results, results.recipe.layout.blocks()))


def _greatest(results: Results, block: Block) -> float:
    truth = results.role("target").read_first(block.core)
    return float(truth[np.isfinite(truth)].max(initial=-np.inf))


def counted(results: Results, frame: pd.DataFrame, crew: Crew = ALONE) -> pd.DataFrame:
    """The table of metrics with the column `mse_over_max`, if the recipe has figures to compare.

    Parameters
    ----------
    results
        The finished products.
    frame
        The table, with a column ``rmse``.
    crew
        Who looks for the greatest truth.
    """
    if results.recipe.evaluate.published is None:
        return frame
    largest = greatest(results, crew)
    return frame.assign(**{METRIC: [mse_over_max(rmse, largest) for rmse in frame["rmse"]]})


def section(recipe: Recipe, frame: pd.DataFrame) -> str:
    """The second table of metrics.md, with the published figures; empty if the recipe has none.

    Parameters
    ----------
    recipe
        The recipe.
    frame
        The table of metrics as `counted` gives it.
    """
    published = recipe.evaluate.published
    if published is None:
        return ""
    cells = frame[frame["where"] == "test cells"]
    given = [published.mse_over_max.get(method, np.nan) for method in cells["method"]]
    own = cells[METRIC].to_numpy()
    shown = pd.DataFrame(
        {
            "method": cells["method"].to_numpy(),
            METRIC: own,
            "published": given,
            "of_first": [ratio(value, own[0]) for value in own],
            "published_of_first": [ratio(value, given[0]) for value in given],
        }
    )
    lines = [
        "",
        "## Beside published figures",
        "",
        f"Mean square of the error over the greatest {recipe.target.long_name}, over the same test",
        f"cells; published: {published.source}. `of_first` is the share of the figure of",
        f"{recipe.products[0]}; compare that where data, cells or split are not the original's.",
        "",
        markdown_table(shown),
        "",
    ]
    return "\n".join(lines)


def warning(recipe: Recipe) -> list[str]:
    """Lines that warn of a split that lets training touch test; none of any other."""
    by = recipe.split.by.op
    if by not in LEAKY:
        return []
    return [
        f"**Not a fair test**: by the split `{by}`, training tiles touch test tiles, to repeat how",
        "others have counted.",
        "",
    ]
