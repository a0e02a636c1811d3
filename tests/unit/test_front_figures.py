"""Figures of fronts: one scale, places as far as they are known, dates that can be told apart."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from nunatak.figures import Shown, front_map, front_series, marks, scene_panels
from nunatak.ops.series import Reading, table

MAP = (-2.41e6, 1.26e6, -2.40e6, 1.268e6)
ZONE = np.repeat([[1.0], [2.0], [3.0], [3.0]], 5, axis=1)
FRONT = np.array([(-2.409e6, 1.263e6), (-2.401e6, 1.264e6)])


def shown(name: str, seed: int = 0, **more: Any) -> Shown:
    amplitude = np.random.default_rng(seed).gamma(4, 20 * (seed + 1), (4, 5))
    amplitude[0, 0] = np.nan
    given = {"extent": MAP, "located": True, "true_zone": ZONE, "true_front": [FRONT], **more}
    return Shown(name, amplitude, **given)


def images(figure: Figure) -> list[AxesImage]:
    return [image for axes in figure.axes for image in axes.get_images()]


def test_a_row_a_scene_on_one_scale_of_grey(tmp_path: Path) -> None:
    path = tmp_path / "new" / "panels.png"
    wrong = np.where(ZONE == 1, 2.0, ZONE)
    scenes = [shown("a", zone=ZONE, front=[FRONT]), shown("b", 3, zone=wrong, front=[])]
    figure = scene_panels(scenes, path, title="Two")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert len(figure.axes) == 8
    greys = [i.get_clim() for i in images(figure) if i.get_cmap().name == "gray"]
    assert len(greys) == 2
    assert len(set(greys)) == 1
    assert [t.get_text() for axes in figure.axes for t in axes.texts] == [
        "0.0% wrong",
        "25.0% wrong",
    ]


def test_scenes_on_the_map_are_in_kilometres_and_others_in_cells() -> None:
    figure = scene_panels(
        [shown("a"), shown("b", extent=(0, 0, 5, 4), located=False, true_front=[])]
    )
    assert [axes.get_ylabel() for axes in figure.axes] == ["y (km)", "", "row from below", ""]
    assert figure.axes[0].get_xlim() == pytest.approx((-2410, -2400))
    assert figure.axes[2].get_xlim() == (0, 5)
    assert figure.axes[2].get_xlabel() == "column"


def test_a_method_without_zones_shows_its_front_alone() -> None:
    figure = scene_panels([shown("a", front=[FRONT, FRONT + 500])])
    assert len(figure.axes) == 2
    assert [len(axes.lines) for axes in figure.axes] == [3, 1]


def test_a_scene_of_nothing_is_still_drawn(tmp_path: Path) -> None:
    empty = Shown("none", np.full((4, 5), np.nan), MAP, True)
    scene_panels([empty], tmp_path / "a.png")
    front_map(empty, [], tmp_path / "b.png")
    front_series(table([]), tmp_path / "c.png")
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "b.png", "c.png"}


def test_every_date_has_a_colour_of_its_own_and_the_first_is_not_the_background() -> None:
    days = [date(2010 + n, 3, 1) for n in range(6)]
    fronts = [(day, [FRONT + 300 * n, FRONT + 300 * n + 50]) for n, day in enumerate(days)]
    figure = front_map(shown("a"), fronts[::-1], centre=FRONT)
    drawn = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    colours = [to_rgb(c.get_colors()[0]) for c in drawn]
    assert [len(c.get_segments()) for c in drawn] == [2] * 6
    assert len(set(colours)) == 6
    assert min(np.ptp(colour) for colour in colours) > 0.3, "greys are the image's"
    assert drawn[0].get_segments()[0][0] == pytest.approx(FRONT[0] / 1e3)


def test_two_fronts_in_time_have_two_colours_and_none_is_that_of_the_image() -> None:
    """The original stacks dates as 1, 2, ... and draws 1 as it draws nothing."""
    days, place = [date(2011, 6, 1), date(2012, 11, 1)], [[FRONT], [FRONT + 2000.0]]
    figure = front_map(shown("a"), list(zip(days, place, strict=True)))
    drawn = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    first, second = (np.array(to_rgb(line.get_colors()[0])) for line in drawn)
    assert np.abs(first - second).max() > 0.5
    (image,) = images(figure)
    greys = image.get_cmap()(np.linspace(0, 1, 256))[:, :3]
    for colour in (first, second):
        assert np.abs(greys - colour).max(axis=1).min() > 0.15


def test_fronts_of_one_day_have_a_colour_scale_too() -> None:
    figure = front_map(shown("a"), [(date(2010, 3, 1), [FRONT])])
    assert np.diff(figure.axes[1].get_ylim())[0] > 0


def readings(units: str) -> list[Reading]:
    days = [date(2010 + n, 1, 1) for n in range(4)]
    places = {"true": [900.0, 600.0, np.nan, 100.0], "unet": [950.0, np.nan, 400.0, 150.0]}
    return [
        Reading("g", f"s{n}", day, "TSX", source, units, places[source][n], 10 * places[source][n])
        for n, day in enumerate(days)
        for source in places
    ]


def test_series_are_counted_from_the_first_truth_and_errors_show() -> None:
    figure = front_series(table(readings("m")))
    above = figure.axes[0]
    assert above.get_ylabel() == "Front, advance up (km)"
    assert figure.axes[1].get_ylabel() == "Area of the glacier (km²)"
    lines = {str(line.get_label()): line.get_ydata() for line in above.lines}
    assert lines["true"] == pytest.approx([0, -0.3, -0.8])
    assert lines["unet"] == pytest.approx([0.05, -0.5, -0.75])
    bars = [s[:, 1] for c in above.collections for s in c.get_segments()]  # type: ignore[attr-defined]
    assert sorted(abs(np.ptp(bar)) for bar in bars) == pytest.approx([0, 0, 0, 0.05, 0.05])


def test_scenes_in_cells_are_left_out_beside_scenes_in_metres() -> None:
    lost = [Reading("g", "lost", date(2015, 1, 1), "TSX", "true", "cells", 7.0, 12000.0)]
    figure = front_series(table([*readings("m"), *lost]))
    assert figure.axes[0].get_ylabel() == "Front, advance up (km)"
    lines = {str(line.get_label()): line.get_ydata() for line in figure.axes[1].lines}
    assert lines["true"] == pytest.approx([0, -3e-3, -8e-3])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][-1] == "without a place: 1"


def test_distances_in_cells_are_left_out_beside_those_in_metres() -> None:
    days = pd.to_datetime(["2010-01-01", "2011-01-01", "2012-01-01", "2013-01-01"])
    given = {"method": "unet", "mde": [300.0, np.nan, 900.0, 4.0], "mean_iou": [0.5] * 4}
    frame = pd.DataFrame({"date": days, "units": ["m", "m", "m", "cells"], **given})
    figure = marks(frame)
    assert figure.axes[0].get_ylabel() == "Mean distance of fronts (m)"
    points, missed = figure.axes[0].lines
    assert points.get_ydata()[[0, 2]] == pytest.approx([300, 900])
    assert len(points.get_ydata()) == 3
    assert (missed.get_label(), len(missed.get_ydata())) == ("unet: no front (1)", 1)
    assert len(figure.axes[1].lines[0].get_ydata()) == 4
    assert marks(frame[3:]).axes[0].get_ylabel() == "Mean distance of fronts (cells)"


def test_series_without_a_georeference_are_in_cells() -> None:
    figure = front_series(table(readings("cells")))
    assert [a.get_ylabel().split("(")[1] for a in figure.axes] == ["cells)", "cells)"]
    (line, *_) = figure.axes[0].lines
    assert line.get_ydata() == pytest.approx([0, -300, -800])
