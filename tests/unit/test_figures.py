"""Figures show what they are given, on scales that compare; tables round and name their units."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.testing import assert_allclose

from nunatak.figures import (
    Sheet,
    curves,
    day_charts,
    decimate,
    field_sheets,
    hillshade,
    history,
    importances,
    markdown_table,
    overview,
    panels,
    scatter_picks,
    spectra,
    split_map,
)
from nunatak.figures.relief import Drawn, Scale
from nunatak.figures.style import line_of
from nunatak.metrics.spectral import SpectrumSums

Field = np.ndarray[Any, np.dtype[np.float64]]
EXTENT = (350e3, -1000e3, 390e3, -970e3)
WHAT: dict[str, Any] = {"extent": EXTENT, "label": "Bed elevation", "units": "m", "datum": "EGM"}


def relief(rows: int = 60, cols: int = 80, seed: int = 0) -> Field:
    steps = np.random.default_rng(seed).normal(0.0, 30.0, (rows, cols))
    return np.cumsum(np.cumsum(steps, axis=0), axis=1) / 10


def images(figure: Figure) -> list[AxesImage]:
    return [image for axes in figure.axes for image in axes.get_images() if image.get_extent()]


def titles(figure: Figure) -> list[str]:
    return [t.split("$  ")[-1] for t in (a.get_title(loc="left") for a in figure.axes) if t]


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_flat_ground_is_lit_by_the_height_of_the_sun() -> None:
    assert_allclose(hillshade(np.zeros((5, 6)), 100.0, altitude=30.0), 0.5)


@pytest.mark.parametrize(("azimuth", "faces"), [(0, "n"), (90, "e"), (180, "s"), (270, "w")])
def test_the_slope_that_faces_the_light_is_brightest(azimuth: float, faces: str) -> None:
    rows, cols = np.indices((9, 9)) * 100.0
    slopes = {"n": rows, "s": -rows, "w": cols, "e": -cols}
    light = {k: hillshade(z, 100.0, azimuth=azimuth).mean() for k, z in slopes.items()}
    assert max(light, key=lambda k: light[k]) == faces
    assert light[faces] == pytest.approx(1.0)


def test_shade_is_missing_beside_a_gap_only() -> None:
    field = relief()
    field[30, 40] = np.nan
    missing = np.argwhere(np.isnan(hillshade(field, 500.0)))
    assert {tuple(cell) for cell in missing} == {(30, 40), (29, 40), (31, 40), (30, 39), (30, 41)}


def test_decimation_is_the_mean_of_what_is_not_missing() -> None:
    field = np.arange(35.0).reshape(5, 7)
    field[0, 0] = np.nan
    field[4, 6] = np.nan
    small, step = decimate(field, pixels=3)
    assert (step, small.shape) == (3, (2, 3))
    assert small[0, 0] == pytest.approx(np.nanmean(field[:3, :3]))
    assert small[1, 1] == pytest.approx(field[3:, 3:6].mean())
    assert np.isclose(small[1, 2], field[3, 6])


def test_decimation_reads_strips_of_anything_that_slices() -> None:
    class Lazy:
        shape = (3000, 40)

        def __init__(self) -> None:
            self.read: list[int] = []

        def __getitem__(self, rows: slice) -> Field:
            part = np.ones(self.shape)[rows]
            self.read.append(len(part))
            return part

    lazy = Lazy()
    small, _ = decimate(lazy, pixels=1000)
    assert small.shape == (1000, 14)
    assert max(lazy.read) < 300
    assert sum(lazy.read) == 3000


def test_a_small_field_is_drawn_as_it_is() -> None:
    assert_allclose(decimate(relief())[0], relief())


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Figure, Path]:
    path = tmp_path_factory.mktemp("figures") / "new" / "panels.png"
    truth = relief()
    coarse = truth.reshape(15, 4, 20, 4).mean(axis=(1, 3))
    plain = np.kron(coarse, np.ones((4, 4)))
    guess = 0.5 * (truth + plain)
    fields = {"coarse": coarse, "bicubic": plain, "model": guess, "truth": truth}
    errors = {"bicubic − truth": plain - truth, "model − truth": guess - truth}
    return panels(fields, errors, path, **WHAT, title="A glacier"), path


def test_panels_are_written_in_order_with_two_colour_bars(compared: tuple[Figure, Path]) -> None:
    figure, path = compared
    assert is_png(path)
    names = ["coarse", "bicubic", "model", "truth", "bicubic − truth", "model − truth"]
    assert titles(figure) == names
    assert len(figure.axes) == len(names) + 2
    assert [axes.get_ylabel() for axes in figure.axes[-2:]] == [
        "Bed elevation (m, EGM)",
        "Difference (m)",
    ]


def test_fields_share_one_scale_and_errors_one_about_zero(compared: tuple[Figure, Path]) -> None:
    drawn = images(compared[0])
    limits = [image.get_clim() for image in drawn]
    assert len(limits) == 6
    assert len(set(limits[:4])) == 1
    assert len(set(limits[4:])) == 1
    assert limits[4][0] == -limits[4][1]
    assert limits[0] != limits[4]


def test_every_panel_covers_the_extent_in_kilometres(compared: tuple[Figure, Path]) -> None:
    figure, _ = compared
    for axes in figure.axes[:6]:
        assert (*axes.get_xlim(), *axes.get_ylim()) == (350.0, 390.0, -1000.0, -970.0)
    assert {tuple(image.get_extent()) for image in images(figure)} == {(350, 390, -1000, -970)}


def test_an_error_stands_below_the_map_it_is_of(compared: tuple[Figure, Path]) -> None:
    figure, _ = compared
    left = [axes.get_position().x0 for axes in figure.axes[:6]]
    assert_allclose(left[:3], left[3:], atol=1e-3)


def test_figures_leave_pyplot_alone(tmp_path: Path) -> None:
    panels({"a": relief()}, {}, tmp_path / "one.png", **WHAT)
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_missing_cells_show_the_grey_behind() -> None:
    field = relief()
    field[:10] = np.nan
    (image,) = images(overview(field, **WHAT))
    alpha = np.asarray(image.get_array())[..., 3]
    assert (alpha[:10] == 0).all()
    assert (alpha[10:] == 1).all()
    assert image.axes is not None
    assert image.axes.get_facecolor()[:3] == pytest.approx((0.86,) * 3)


@pytest.mark.parametrize("value", [np.nan, 0.0, 7.0])
def test_a_field_without_contrast_is_still_drawn(value: float, tmp_path: Path) -> None:
    field = np.full((20, 20), value)
    panels({"field": field}, {"error": field - field}, tmp_path / "flat.png", **WHAT)
    assert is_png(tmp_path / "flat.png")


def test_zero_parts_blue_from_brown_wherever_the_limits_are() -> None:
    for low, high in ((-3000.0, 500.0), (-200.0, 4000.0)):
        drawn = Drawn.of(np.linspace(low, high, 400).reshape(20, 20), EXTENT)
        scale = Scale.of([drawn], "relief")
        red, _, blue, _ = np.transpose(scale.colours(scale.norm([0.6 * low, 0.6 * high])))
        assert blue[0] > red[0]
        assert red[1] > blue[1]


def test_split_map_gives_each_part_its_share(tmp_path: Path) -> None:
    labels = np.zeros((40, 40), dtype=np.uint8)
    labels[:, 20:] = 2
    labels[30:, 20:] = 255
    names = {0: "training", 2: "test"}
    figure = split_map(labels, names, tmp_path / "split.png", extent=EXTENT, relief=relief())
    assert is_png(tmp_path / "split.png")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["training 57%", "test 43%"]
    pixels = np.asarray(images(figure)[0].get_array())
    assert (pixels[30:, 20:, 3] == 0).all()
    assert len(np.unique(pixels[..., :3].reshape(-1, 3), axis=0)) == 3


def test_the_history_of_a_search_shows_every_trial_and_the_best_so_far(tmp_path: Path) -> None:
    states = ["complete", "diverged", "pruned", "complete", "complete"]
    scores = [3.0, np.nan, 4.0, 5.0, 2.0]
    frame = pd.DataFrame({"trial": range(5), "state": states, "score": scores})
    figure = history(frame, tmp_path / "history.png", label="Validation RMSE", units="m")
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    assert set(lines) == {"complete (3)", "pruned (1)", "diverged (1)", "best"}
    assert_allclose(lines["best"].get_ydata(), [3, 3, 2])
    assert_allclose(lines["diverged (1)"].get_ydata(), [5])
    assert figure.axes[0].get_ylabel() == "Validation RMSE (m)"
    assert is_png(tmp_path / "history.png")


def test_importances_are_bars_the_largest_at_the_top() -> None:
    axes = importances({"b": 0.2, "a": 0.7, "c": 0.1}).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["c", "b", "a"]
    assert_allclose([bar.get_width() for bar in axes.patches], [0.1, 0.2, 0.7])  # type: ignore[attr-defined]
    empty = importances({}).axes[0]
    assert "Too few" in empty.texts[0].get_text()


def test_curves_put_training_and_validation_of_one_quantity_together(tmp_path: Path) -> None:
    samples = np.arange(1, 401) * 32
    frame = pd.DataFrame({"samples": samples, "train_loss": 10.0 / samples, "lr": 1e-4})
    frame["validation_loss"] = np.where(samples % 3200 == 0, 20.0 / samples, np.nan)
    frame["validation_rmse"] = np.nan
    figure = curves(frame, tmp_path / "loss.png")
    assert is_png(tmp_path / "loss.png")
    assert titles(figure) == ["loss", "lr", "validation rmse"]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "linear"]
    best = figure.axes[0].get_lines()[-1].get_xdata()
    assert list(np.atleast_1d(best)) == [12800]


def table_of(field: Field, truth: Field) -> pd.DataFrame:
    sums = SpectrumSums(60)
    sums.add(field[:, :60], truth[:, :60])
    return sums.summary(500.0)


def test_spectra_of_nothing_say_so(tmp_path: Path) -> None:
    nothing = {"bicubic": SpectrumSums(16).summary(250.0)}
    figure = spectra(nothing, tmp_path / "none.png", coarse_nyquist=2000.0)
    assert is_png(tmp_path / "none.png")
    assert any("no spectra" in text.get_text() for text in figure.texts)


def test_spectra_mark_the_coarse_nyquist_and_run_to_short_waves(tmp_path: Path) -> None:
    truth = relief()
    tables = {"same": table_of(truth, truth), "other": table_of(relief(seed=2), truth)}
    figure = spectra(tables, tmp_path / "spectra.png", coarse_nyquist=4000.0)
    assert is_png(tmp_path / "spectra.png")
    assert len(figure.axes) == 3
    for axes in figure.axes:
        assert axes.get_xscale() == "log"
        assert axes.get_xlim()[0] > axes.get_xlim()[1]
        assert any(list(np.atleast_1d(line.get_xdata())) == [4.0, 4.0] for line in axes.get_lines())
    names = [text.get_text().split(" (")[0] for text in figure.legends[0].get_texts()]
    assert names == ["truth", "same", "other"]


def test_picks_are_judged_where_every_product_has_a_value(tmp_path: Path) -> None:
    observed = np.linspace(-500.0, 500.0, 200)
    good, bad = observed + 1.0, observed + 100.0
    good[:20] = np.nan
    path = tmp_path / "picks.png"
    figure = scatter_picks(
        observed, {"good": good, "bad": bad}, path, label="Bed elevation", units="m"
    )
    assert is_png(path)
    assert titles(figure) == ["good", "bad", "Errors"]
    texts = [axes.texts[0].get_text() for axes in figure.axes[:2]]
    assert texts == ["RMSE 1 m\nbias 1 m", "RMSE 100 m\nbias 1e+02 m"]
    limits = {mesh.get_clim() for axes in figure.axes[:2] for mesh in axes.collections}
    assert len(limits) == 1


def test_a_table_names_units_and_rounds_to_what_matters() -> None:
    frame = pd.DataFrame(
        {
            "method": ["bicubic", "a|b"],
            "n": [26915, 100],
            "rmse": [70.071, 51.012],
            "bias": [-0.04, np.nan],
            "skill": [0.0, 0.2718],
        }
    )
    lines = markdown_table(frame, units={"rmse": "m", "skill": "1"}).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert rows[0] == ["method", "n", "rmse (m)", "bias", "skill"]
    assert rows[2] == ["bicubic", "26,915", "70.1", "−0.0400", "0.000"]
    assert rows[3] == ["a\\|b", "100", "51.0", "–", "0.272"]
    assert len({len(line) for line in lines}) == 1
    assert lines[1].count(":") == 4


def test_the_rule_of_a_column_of_digits_is_one_of_markdown() -> None:
    rule = markdown_table(pd.DataFrame({"n": [1]})).splitlines()[1]
    assert rule == "| -: |"


def test_a_table_does_not_write_minus_nought() -> None:
    shown = markdown_table(pd.DataFrame({"bias": [-0.0001, 50.0, 60.0]}))
    assert "−0.0 " not in shown
    assert " 0.0 " in shown


def test_real_bed_is_drawn(shared_data: Path, tmp_path: Path) -> None:
    import xarray as xr

    with xr.open_dataset(shared_data / "bed/byrd_500m/byrd_bedmachine.nc") as data:
        bed = data["bed"].values.astype(float)
    overview(bed, tmp_path / "byrd.png", **WHAT)
    assert is_png(tmp_path / "byrd.png")


def sheet(name: str, count: int, scale: float = 1.0, **change: Any) -> Sheet:
    """Fields of a region, of which those after the first are ten times as large."""
    drawn = np.random.default_rng(count).normal(0, scale, (12, 20))
    drawn[:, :3] = np.nan
    fields = {f"{name} {i}": drawn * (10 if i else 1) for i in range(count)}
    return Sheet(
        name, **{"extent": (170, 10, 190, 22), "degrees": True, "fields": fields, **change}
    )


def test_regions_share_one_scale_which_is_that_of_the_truth(tmp_path: Path) -> None:
    sheets = [sheet("north", 7), sheet("south", 3, 2.0)]
    figure = field_sheets(sheets, tmp_path / "sheets.png", label="Height", units="m")
    assert is_png(tmp_path / "sheets.png")
    images = [image for axes in figure.axes for image in axes.get_images()]
    assert len(images) == 10
    truth = np.concatenate([s.fields[f"{s.name} 0"].ravel() for s in sheets])
    expected = np.nanpercentile(truth, [0.5, 99.5])
    for image in images:
        assert image.get_clim() == pytest.approx(tuple(expected))


def test_errors_are_on_a_scale_from_nothing_that_holds_all_methods() -> None:
    figure = field_sheets([sheet("north", 2)], label="RMSE", units="K", errors=True)
    low, high = figure.axes[0].get_images()[0].get_clim()
    assert low == 0
    assert high > 10


def test_degrees_are_as_narrow_as_at_the_middle_latitude_and_metres_are_kilometres() -> None:
    fields = {"truth": np.zeros((4, 4))}
    polar = Sheet("north", (0, 55, 20, 65), True, fields)
    assert polar.stretch == pytest.approx(2)
    projected = Sheet("arctic", (0, 0, 40e3, 20e3), False, fields)
    axes = field_sheets([projected], label="Height", units="m").axes[0]
    assert axes.get_xlim() == pytest.approx((0, 40))
    assert axes.get_xlabel() == "x (km)"


def test_a_field_of_land_alone_is_drawn() -> None:
    nothing = {"truth": np.full((4, 4), np.nan)}
    assert field_sheets([sheet("north", 1, fields=nothing)], label="Height", units="m").axes


def days_of(*dates: str) -> pd.DataFrame:
    rows = [(d, w, m, 0.1) for d in dates for w in ("north", "south") for m in ("one", "two")]
    return pd.DataFrame(rows, columns=["date", "where", "method", "rmse"])


@pytest.mark.parametrize(
    ("dates", "panels"), [(("2018-12-30",), 3), (("2018-12-30", "2018-12-31"), 4)]
)
def test_errors_in_time_are_drawn_of_more_than_one_day(
    tmp_path: Path, dates: tuple[str, ...], panels: int
) -> None:
    spectrum = SpectrumSums(16)
    spectrum.add(*np.random.default_rng(0).normal(size=(2, 16, 16)))
    tables = dict.fromkeys(("one", "two"), spectrum.summary(1e4))
    figure = day_charts(tables, days_of(*dates), tmp_path / "days.png", units="m")
    assert is_png(tmp_path / "days.png")
    assert len(figure.axes) == panels


def test_a_day_without_errors_breaks_the_line() -> None:
    tables = dict.fromkeys(("one", "two"), SpectrumSums(16).summary(1e4))
    frame = days_of("2018-12-01", "2018-12-02", "2018-12-04")
    line = day_charts(tables, frame, units="m").axes[-1].get_lines()[0]
    np.testing.assert_array_equal(np.isnan(line.get_ydata()), [False, False, True, False])


def test_a_seventh_method_has_a_line_of_its_own() -> None:
    lines = [tuple(line_of(i).items()) for i in range(14)]
    assert len(set(lines)) == len(lines)
