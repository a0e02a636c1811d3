"""Figures and tables for a reader: maps, spectra, losses, picks, fronts.

Every figure is returned, and written if a path is given; none touches pyplot. Fields are arrays
(row, col), rows from north to south, NaN is missing and drawn light grey. An ``extent`` is (left,
bottom, right, top) in metres; axes are in kilometres.
"""

from nunatak.figures.blocks import block_maps
from nunatak.figures.charts import curves, scatter_picks, spectra
from nunatak.figures.days import Sheet, day_charts, field_sheets
from nunatak.figures.forecast import forecast_skill
from nunatak.figures.fronts import Shown, front_map, scene_panels
from nunatak.figures.maps import overview, panels, split_map
from nunatak.figures.relief import decimate, hillshade
from nunatak.figures.scenes import calendar, marks
from nunatak.figures.search import history, importances
from nunatak.figures.series import front_series
from nunatak.figures.table import markdown_table

__all__ = [
    "Sheet",
    "Shown",
    "block_maps",
    "calendar",
    "curves",
    "day_charts",
    "decimate",
    "field_sheets",
    "forecast_skill",
    "front_map",
    "front_series",
    "hillshade",
    "history",
    "importances",
    "markdown_table",
    "marks",
    "overview",
    "panels",
    "scatter_picks",
    "scene_panels",
    "spectra",
    "split_map",
]
