"""Radially averaged power spectra and coherence: down to which wavelength a product is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import fft

from nunatak.errors import DataError
from nunatak.metrics.accumulate import Array, Floats, Sums, fixed, same_shape

_FILLED = 0.01


class _Annuli(NamedTuple):
    """Rings of wavenumber of a patch, on the half plane of a real Fourier transform.

    Wavenumbers are cycles per the longer side of the patch.
    """

    ring: Array
    weight: Floats
    modes: Floats
    wavenumber: Floats
    window: Floats


@lru_cache(maxsize=4)
def _annuli(size: int, aspect: float) -> _Annuli:
    rows, cols = np.meshgrid(fft.fftfreq(size) * size, np.arange(size // 2 + 1), indexing="ij")
    radius = np.hypot(rows / min(aspect, 1.0), cols * max(aspect, 1.0))
    ring = np.minimum(np.rint(radius).astype(np.int64), size // 2 + 1).ravel()
    single = (cols == 0) | ((size % 2 == 0) & (cols == size // 2))
    weight = np.where(single, 1.0, 2.0).ravel()
    modes = np.bincount(ring, weight)[1 : size // 2 + 1].astype(np.float64)
    wavenumber = np.bincount(ring, weight * radius.ravel())[1 : size // 2 + 1] / modes
    hann = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    return _Annuli(ring, weight, modes, wavenumber, np.outer(hann, hann))


@dataclass(eq=False)
class SpectrumSums(Sums):
    """Power of two fields and their cross power, by wavenumber, summed over square patches.

    A patch has its plane removed and a Hann window laid over it. Rings are one cycle per patch
    wide, from 1 to the Nyquist wavenumber. For a result that does not depend on blocks, cut
    patches on one lattice anchored at the corner of the domain (overlap by half a patch makes good
    what the window hides) and add each once.

    Parameters
    ----------
    size
        Side of a patch in cells.
    aspect
        Height of a cell over its width. Rings are round on the ground, and as wide as one cycle
        per the longer side of the patch.
    """

    size: int = fixed()
    aspect: float = field(default=1.0, metadata={"fixed": True})
    patches: int = 0
    skipped: int = 0
    prediction: Floats = field(init=False)
    truth: Floats = field(init=False)
    cross: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.prediction, self.truth, self.cross = np.zeros((3, self.size // 2))

    def add(self, prediction: Array, truth: Array) -> None:
        """Count one patch.

        Parameters
        ----------
        prediction, truth
            Arrays (size, size) in the same units. If less than 1 % of the cells are NaN in either,
            both are filled there with their planes; otherwise the patch is skipped.

        Raises
        ------
        DataError
            If the shape is not ``size`` x ``size``.
        """
        same_shape(prediction=prediction, truth=truth)
        if prediction.shape != (self.size, self.size):
            raise DataError(
                f"spectrum of a patch of {prediction.shape} cells",
                f"{self.size} x {self.size} cells",
                "cut patches of the size that the accumulator was made for",
            )
        given, wanted = (np.asarray(each, dtype=np.float64) for each in (prediction, truth))
        valid = ~(np.isnan(given) | np.isnan(wanted))
        if np.mean(~valid) >= _FILLED:
            self.skipped += 1
            return
        annuli = _annuli(self.size, self.aspect)
        p, t = (fft.rfft2(_residual(each, valid) * annuli.window) for each in (given, wanted))
        self.patches += 1
        self.prediction += self._rings(np.abs(p) ** 2)
        self.truth += self._rings(np.abs(t) ** 2)
        self.cross += self._rings((p * np.conj(t)).real)

    def _rings(self, power: Floats) -> Floats:
        """Sum over the rings. The imaginary part of a cross power cancels between k and -k."""
        annuli = _annuli(self.size, self.aspect)
        sums: Floats = np.bincount(annuli.ring, annuli.weight * power.ravel()).astype(np.float64)
        return sums[1 : self.size // 2 + 1]

    def summary(self, resolution: float) -> pd.DataFrame:
        """Spectra by wavelength, long waves first; NaN where nothing was counted.

        Parameters
        ----------
        resolution
            Width of a cell (m).

        Returns
        -------
        DataFrame
            ``wavelength`` (m); ``psd_prediction``, ``psd_truth``, ``psd_error`` (units squared
            times m squared, two-sided, so that white noise of variance v has PSD
            ``v`` times the area of a cell); ``ratio`` of the first two; ``coherence``, the squared
            magnitude of the mean cross power over the product of the mean powers, 0 to 1.
        """
        annuli = _annuli(self.size, self.aspect)
        cells = max(self.patches, 1) * annuli.modes * np.sum(annuli.window**2)
        sums = (self.prediction, self.truth, self.cross)
        p, t, cross = (each if self.patches else np.full_like(each, np.nan) for each in sums)
        with np.errstate(divide="ignore", invalid="ignore"):
            quotient, coherence = p / t, cross**2 / (p * t)
        psd = resolution**2 * self.aspect / cells
        side = resolution * max(self.aspect, 1.0)
        return pd.DataFrame(
            {
                "wavelength": self.size * side / annuli.wavenumber,
                "psd_prediction": p * psd,
                "psd_truth": t * psd,
                "psd_error": np.maximum(p + t - 2 * cross, 0.0) * psd,
                "ratio": quotient,
                "coherence": coherence,
            }
        )


def _residual(values: Floats, valid: Array) -> Floats:
    """What is left of a patch without its plane of least squares; 0 where it is not valid."""
    axis = np.linspace(-1.0, 1.0, values.shape[0])
    rows, cols = np.meshgrid(axis, axis, indexing="ij")
    design = np.stack([np.ones_like(rows), rows, cols]) * valid
    known = np.where(valid, values, 0.0)
    normal = np.einsum("irc,jrc->ij", design, design)
    plane = np.linalg.solve(normal, np.einsum("irc,rc->i", design, known))
    residual: Floats = known - np.einsum("i,irc->rc", plane, design)
    return residual


def effective_resolution(wavelength: Array, coherence: Array, threshold: float = 0.5) -> float:
    """The wavelength where coherence first falls below a threshold, going to shorter waves.

    Parameters
    ----------
    wavelength
        Wavelengths, in any order.
    coherence
        Coherence at each; NaN is passed over.
    threshold
        Between two wavelengths the crossing is found linearly in the logarithm of wavelength.

    Returns
    -------
    float
        In the units of the wavelength. NaN if there is no such crossing: coherence is below the
        threshold already at the longest wave, or never.
    """
    order = np.argsort(wavelength)[::-1]
    waves, values = np.asarray(wavelength, float)[order], np.asarray(coherence, float)[order]
    waves, values = waves[~np.isnan(values)], values[~np.isnan(values)]
    below = np.flatnonzero(values < threshold)
    if below.size == 0 or below[0] == 0:
        return float("nan")
    i = below[0]
    share = (values[i - 1] - threshold) / (values[i - 1] - values[i])
    return float(waves[i - 1] * (waves[i] / waves[i - 1]) ** share)


def signal_to_error(table: pd.DataFrame) -> Floats:
    """One minus the power of the error over that of the truth: another share that is resolved.

    Parameters
    ----------
    table
        As `SpectrumSums.summary` gives it.

    Returns
    -------
    ndarray
        At each wavelength; 1 is perfect, below 0 the error is larger than the truth. Where it falls
        below 0.5 is the effective resolution of Ballarotta et al. 2019, doi
        10.5194/os-15-1091-2019. Unlike coherence, it sees waves that are right but for their size.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share: Floats = 1.0 - (table["psd_error"] / table["psd_truth"]).to_numpy()
    return share


def pooled(tables: Sequence[pd.DataFrame], weights: Sequence[float]) -> pd.DataFrame:
    """Mean spectra of fields whose cells are of different size.

    Power and cross power of each are interpolated in the logarithm of wavelength to those
    wavelengths of the first that all have, and averaged.

    Parameters
    ----------
    tables
        One or more, as `SpectrumSums.summary` gives them.
    weights
        Of each: how many patches it is from. Those of no weight are left out.

    Returns
    -------
    DataFrame
        As `SpectrumSums.summary`. A single table, and one of nothing, is as it was given.
    """
    kept = [(table, weight) for table, weight in zip(tables, weights, strict=True) if weight > 0]
    if len(kept) < 2:
        return kept[0][0] if kept else tables[0]
    low = max(table["wavelength"].min() for table, _ in kept)
    high = min(table["wavelength"].max() for table, _ in kept)
    waves = kept[0][0]["wavelength"].to_numpy()
    waves = waves[(waves >= low * (1 - 1e-9)) & (waves <= high * (1 + 1e-9))]
    columns = ["psd_prediction", "psd_truth", "psd_error"]
    total = sum(weight for _, weight in kept)
    mean = np.sum([w / total * _interpolated(t, columns, waves) for t, w in kept], axis=0)
    p, t, error = mean
    cross = (p + t - error) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = {"ratio": p / t, "coherence": cross**2 / (p * t)}
    return pd.DataFrame({"wavelength": waves, **dict(zip(columns, mean, strict=True)), **shares})


def _interpolated(table: pd.DataFrame, columns: list[str], waves: Floats) -> Floats:
    """Columns (columns, waves) at other wavelengths."""
    rising = table.sort_values("wavelength")
    at = np.log(rising["wavelength"].to_numpy())
    return np.stack([np.interp(np.log(waves), at, rising[name].to_numpy()) for name in columns])
