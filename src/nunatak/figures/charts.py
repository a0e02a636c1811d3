"""Charts: losses, spectra, and products against observations."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from nunatak.figures.style import (
    COLOURS,
    TRUTH,
    Array,
    Floats,
    figure_of,
    finish,
    lettered,
    line_of,
    plain_numbers,
    quantity,
    styled,
)
from nunatak.metrics.spectral import effective_resolution

_BINS = 100


@styled
def curves(
    frame: pd.DataFrame, path: Path | None = None, *, x: str = "samples", title: str = ""
) -> Figure:
    """Losses against samples seen: one panel a quantity, training and validation together.

    Parameters
    ----------
    frame
        Column ``x``, and columns like ``train_l1`` and ``validation_l1``; what follows ``train_``
        or ``validation_`` is the quantity; other columns are quantities of their own. NaN where
        one was not computed. An axis is logarithmic if its values are positive and span more than
        a factor of 5. The least validation loss has an open circle.
    path
        File to write.
    x
        Name of the column on the horizontal axis.
    title
        Heading of the figure.
    """
    roles: dict[str, list[str]] = {}
    for name in (str(column) for column in frame.columns if column != x):
        role, _, rest = name.partition("_")
        roles.setdefault(rest if role in {"train", "validation"} and rest else name, []).append(
            name
        )
    cols = min(3, len(roles))
    rows = ceil(len(roles) / cols)
    figure = figure_of(3.6 * cols + 0.4, 2.6 * rows + 0.4, title, "constrained")
    grid = figure.subplots(rows, cols, squeeze=False, sharex=True).ravel().tolist()
    for i, (axes, (quantity_name, names)) in enumerate(zip(grid, roles.items(), strict=False)):
        for name in names:
            _curve(axes, frame[[x, name]].dropna(), name)
        values = frame[names].to_numpy(dtype=np.float64)
        values = values[np.isfinite(values)]
        if values.size and 0 < 5 * values.min() < values.max():
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(plain_numbers())
            axes.yaxis.set_minor_formatter(NullFormatter())
        shown = quantity_name if len(names) > 1 else names[0]
        axes.set_title(lettered(i, shown.replace("_", " ")))
        if len(names) > 1:
            axes.legend(loc="best")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(axis="y", color="0.92", linewidth=0.6)
        axes.set_xlabel(f"{x.capitalize()} seen" if i + cols >= len(roles) else "")
    for extra in grid[len(roles) :]:
        extra.remove()
    return finish(figure, path)


def _curve(axes: Axes, curve: pd.DataFrame, name: str) -> None:
    """One loss; a long one is drawn faint under its running median."""
    validates = name.startswith("validation")
    colour = COLOURS[1] if validates else COLOURS[0]
    x, y = (curve.iloc[:, i].to_numpy(dtype=np.float64) for i in (0, 1))
    label = "validation" if validates else "training"
    if y.size > 300:
        axes.plot(x, y, color=colour, linewidth=0.5, alpha=0.25)
        y = pd.Series(y).rolling(y.size // 50, center=True, min_periods=1).median().to_numpy()
    axes.plot(x, y, color=colour, label=label, marker="o" if y.size < 30 else "", markersize=3)
    if validates and y.size:
        best = int(np.argmin(y))
        axes.plot(x[best], y[best], "o", color=colour, markerfacecolor="white", markersize=6)


@styled
def spectra(
    spectrum: Mapping[str, pd.DataFrame],
    path: Path | None = None,
    *,
    coarse_nyquist: float | None = None,
    units: str = "m",
    title: str = "",
) -> Figure:
    """Power, ratio of power and coherence against wavelength, short waves to the right.

    Parameters
    ----------
    spectrum
        Product to the table of :meth:`nunatak.metrics.spectral.SpectrumSums.summary`, all against
        the same truth. The legend gives the effective resolution, marked on the coherence.
    path
        File to write.
    coarse_nyquist
        The shortest wave that the coarse grid holds (m), to be marked.
    units
        Units of the field.
    title
        Heading of the figure.
    """
    figure = figure_of(10.2, 3.6 + 0.3 * bool(title), title, "constrained")
    draw_spectra(figure, spectrum, coarse_nyquist=coarse_nyquist, units=units)
    return finish(figure, path)


def draw_spectra(
    figure: FigureBase,
    spectrum: Mapping[str, pd.DataFrame],
    *,
    coarse_nyquist: float | None,
    units: str,
) -> None:
    """Draw the panels of :func:`spectra` and their legend into a figure, or a part of one."""
    axes = figure.subplots(1, 3, sharex=True)
    first = next(iter(spectrum.values()))
    axes[0].plot(first["wavelength"] / 1e3, first["psd_truth"], color=TRUTH, label="truth")
    for i, (name, table) in enumerate(spectrum.items()):
        line, waves = line_of(i), table["wavelength"] / 1e3
        reach = effective_resolution(waves.to_numpy(), table["coherence"].to_numpy())
        label = f"{name} ({reach:.3g} km)" if reach == reach else name
        columns = ("psd_prediction", "ratio", "coherence")
        for panel, column in zip(axes, columns, strict=True):
            panel.plot(waves, table[column], label=label, **line)
        mark = {**line, "marker": "o", "markerfacecolor": "white", "markersize": 5, "zorder": 3}
        axes[2].plot(reach, 0.5, **mark)
    density = f"Power spectral density ({units}² / (cycle/m)²)"
    names = (density, "Power relative to truth", "Coherence")
    for i, (panel, name) in enumerate(zip(axes, names, strict=True)):
        panel.set_title(lettered(i, name))
        _wavelengths(panel, first["wavelength"] / 1e3)
        if coarse_nyquist:
            panel.axvline(coarse_nyquist / 1e3, color="0.6", linewidth=0.8, linestyle=":")
    if first["psd_truth"].notna().any():
        axes[0].set_yscale("log")
    else:
        figure.text(0.5, 0.55, "No square of the test region is whole: no spectra", ha="center")
    axes[1].axhline(1.0, color=TRUTH, linewidth=0.8)
    axes[1].set_ylim(0.0, 1.5)
    axes[2].axhline(0.5, color=TRUTH, linewidth=0.8, linestyle="--")
    axes[2].set_ylim(0.0, 1.02)
    if coarse_nyquist:
        axes[0].annotate(
            "coarse Nyquist",
            (coarse_nyquist / 1e3, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=7.5,
            color="0.4",
            va="top",
        )
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), 5),
        title="In brackets: effective resolution, where coherence falls below 0.5",
        title_fontsize=8,
    )


def _wavelengths(axes: Axes, waves: pd.Series) -> None:
    """A logarithmic axis of wavelengths, long ones to the left."""
    axes.set_xscale("log")
    axes.set_xlim(waves.max(), waves.min())
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(plain_numbers())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("Wavelength (km)")
    axes.grid(color="0.92", linewidth=0.6)


@styled
def scatter_picks(
    observed: Array,
    products: Mapping[str, Array],
    path: Path | None = None,
    *,
    label: str,
    units: str,
    datum: str = "",
    title: str = "",
) -> Figure:
    """Products against observations: a density panel each, then the errors of all.

    Parameters
    ----------
    observed
        Observations, 1-D; NaN is missing.
    products
        Product to its values at the observations. Where one has none, no product is shown, so
        that all are judged at the same places.
    path
        File to write.
    label, units, datum
        What is observed.
    title
        Heading of the figure.
    """
    given = np.array([np.asarray(v, dtype=np.float64) for v in products.values()])
    kept = ~(np.isnan(given).any(axis=0) | np.isnan(observed))
    given, truth = given[:, kept], np.asarray(observed, dtype=np.float64)[kept]
    count = len(products) + 1
    cols = min(count, 4)
    rows = ceil(count / cols)
    figure = figure_of(2.9 * cols + 0.5, 2.9 * rows + 0.3 * bool(title), title, "constrained")
    grid = figure.subplots(rows, cols, squeeze=False).ravel().tolist()
    for extra in grid[count:]:
        extra.remove()
    _densities(figure, grid[: count - 1], truth, given, units)
    for i, (axes, name) in enumerate(zip(grid, [*products, "Errors"], strict=False)):
        axes.set_title(lettered(i, name))
        axes.set_xlabel(f"Observed ({units})")
    grid[0].set_ylabel(quantity(label, units, datum))
    _error_histogram(grid[count - 1], given - truth, list(products))
    grid[count - 1].set_xlabel(f"Product − observed ({units})")
    return finish(figure, path)


def _densities(figure: Figure, grid: list[Axes], truth: Floats, given: Floats, units: str) -> None:
    """Counts in two dimensions, on one scale, with the line of equality and the errors."""
    edges = np.linspace(*_range(np.append(given, truth)), _BINS + 1)
    counts = [np.histogram2d(truth, each, bins=edges)[0].T for each in given]
    norm = LogNorm(1, max(2.0, *(c.max() for c in counts)))
    for axes, count, each in zip(grid, counts, given, strict=True):
        shown = np.where(count > 0, count, np.nan)
        mesh = axes.pcolormesh(edges, edges, shown, norm=norm, cmap="cividis_r", rasterized=True)
        axes.plot(edges[[0, -1]], edges[[0, -1]], color=TRUTH, linewidth=0.7)
        error = each - truth
        text = f"RMSE {np.sqrt(np.mean(error**2)):.3g} {units}\nbias {np.mean(error):.2g} {units}"
        axes.text(
            0.04, 0.96, text.replace("-", "−"), transform=axes.transAxes, va="top", fontsize=8
        )
        axes.set(aspect="equal", xlim=edges[[0, -1]], ylim=edges[[0, -1]])
    figure.colorbar(mesh, ax=grid, label="Observations", shrink=0.8, pad=0.02, format="{x:,.0f}")


def _error_histogram(axes: Axes, errors: Floats, names: list[str]) -> None:
    reach = float(np.percentile(np.abs(errors), 98)) if errors.size else 1.0
    bins = np.linspace(-reach, reach, 61).tolist()
    for i, (error, name) in enumerate(zip(errors, names, strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        axes.hist(error, bins=bins, histtype="step", color=colour, linewidth=1.4, label=name)
    axes.axvline(0.0, color=TRUTH, linewidth=0.7)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    axes.legend(loc="upper left")


def _range(values: Floats) -> tuple[float, float]:
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, [0.1, 99.9])
    return (low, high) if high > low else (low - 0.5, high + 0.5)
