"""Each metric against a reference, and the laws that make it safe to compute block by block."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from nunatak.errors import DataError
from nunatak.metrics.accumulate import Histogram, strips
from nunatak.metrics.pointwise import ErrorsByClass, ErrorSums, SlopeSums, gradient, skill
from nunatak.metrics.probabilistic import EnsembleSums, crps, interval
from nunatak.metrics.roughness import RoughnessSums, SeamSums, roughness
from nunatak.metrics.spectral import SpectrumSums, effective_resolution

Field = np.ndarray[Any, np.dtype[np.float64]]


def noise(shape: tuple[int, ...], seed: int = 0, scale: float = 1.0) -> Field:
    return np.random.default_rng(seed).normal(0.0, scale, shape)


def errors(prediction: Field, truth: Field, mask: Any = None) -> dict[str, float]:
    sums = ErrorSums()
    sums.add(prediction, truth, mask)
    return sums.summary()


HEAVY: dict[str, Callable[[np.random.Generator], Field]] = {
    "normal": lambda g: g.normal(3.0, 50.0, 20_001),
    "cauchy": lambda g: g.standard_cauchy(20_000) * 10,
    "tiny": lambda g: g.normal(0.0, 0.02, 20_000),
    "few": lambda g: g.normal(0.0, 30.0, 4),
    "skew": lambda g: g.lognormal(2.0, 2.0, 20_000),
}


@pytest.mark.parametrize("kind", HEAVY)
def test_errors_agree_with_numpy(kind: str) -> None:
    error = HEAVY[kind](np.random.default_rng(7))
    found = errors(error, np.zeros_like(error))
    nmad = 1.4826 * np.median(np.abs(error - np.median(error)))
    exact = {
        "rmse": np.sqrt(np.mean(error**2)),
        "mae": np.mean(np.abs(error)),
        "bias": np.mean(error),
    }
    assert found["n"] == error.size
    assert_allclose([found[name] for name in exact], list(exact.values()), rtol=1e-12)
    assert_allclose(found["nmad"], nmad, rtol=2e-4)
    assert_allclose(found["le90"], np.quantile(np.abs(error), 0.9), rtol=1e-4)


def test_errors_by_hand() -> None:
    found = errors(np.array([1.0, 4.0, 3.0]), np.array([0.0, 0.0, 5.0]))
    assert found["rmse"] == pytest.approx(np.sqrt(21 / 3))
    assert found["mae"] == pytest.approx(7 / 3)
    assert found["bias"] == pytest.approx(1.0)
    assert found["nmad"] == pytest.approx(1.4826 * 3.0, rel=1e-4)


def test_nan_is_not_counted_and_a_missing_prediction_is_told() -> None:
    prediction = np.array([1.0, np.nan, 3.0, np.nan, 5.0])
    truth = np.array([0.0, 0.0, np.nan, np.nan, 0.0])
    found = errors(prediction, truth, np.array([True, True, True, True, False]))
    assert (found["n"], found["missing"], found["bias"]) == (1, 1, 1.0)


def test_nothing_counted_is_nan_not_zero() -> None:
    found = errors(np.full(3, np.nan), np.zeros(3))
    assert found["n"] == 0
    assert all(np.isnan(found[name]) for name in ("rmse", "mae", "bias", "nmad", "le90"))


def test_float32_fields_are_compared_in_float64() -> None:
    truth = np.full(1000, -2000.1, dtype=np.float32)
    assert errors(truth + np.float32(0.5), truth)["bias"] == pytest.approx(0.5, rel=1e-3)


@settings(max_examples=25, deadline=None)
@given(arrays(float, (9, 7), elements=st.floats(-1e5, 1e5)), st.integers(1, 8), st.integers(1, 6))
def test_errors_do_not_depend_on_the_cut(field: Field, row: int, col: int) -> None:
    truth = noise((9, 7), scale=100.0)
    whole, parts = ErrorSums(), ErrorSums()
    whole.add(field, truth)
    for rows in (slice(0, row), slice(row, None)):
        for cols in (slice(0, col), slice(col, None)):
            part = ErrorSums()
            part.add(field[rows, cols], truth[rows, cols])
            parts.merge(part)
    assert_array_equal(whole.histogram.counts, parts.histogram.counts)
    for name in ("absolute", "squares"):
        assert getattr(whole, name) == pytest.approx(getattr(parts, name), rel=1e-12)
    assert whole.total == pytest.approx(parts.total, abs=1e-12 * whole.absolute)


@settings(max_examples=25, deadline=None)
@given(st.floats(-500.0, 500.0))
def test_a_shift_adds_to_the_bias_and_leaves_the_spread(shift: float) -> None:
    truth = noise((40, 40), 1, 10.0)
    prediction = truth + noise((40, 40), 2, 5.0)
    before, after = errors(prediction, truth), errors(prediction + shift, truth)
    assert after["bias"] - before["bias"] == pytest.approx(shift, abs=1e-9)
    variance = [s["rmse"] ** 2 - s["bias"] ** 2 for s in (before, after)]
    assert variance[0] == pytest.approx(variance[1], rel=1e-6)
    assert after["nmad"] == pytest.approx(before["nmad"], abs=2e-4 * (abs(shift) + 10.0))


def test_identical_fields_have_no_error() -> None:
    found = errors(noise((30, 30)), noise((30, 30)))
    assert [found[name] for name in ("rmse", "mae", "bias", "nmad", "le90")] == [0.0] * 5


def test_shapes_that_differ_are_an_error() -> None:
    with pytest.raises(DataError, match=r"truth \(4,\)"):
        ErrorSums().add(np.zeros(3), np.zeros(4))


@settings(max_examples=50, deadline=None)
@given(
    arrays(float, st.integers(1, 40), elements=st.floats(-1e6, 1e6)),
    st.floats(0.0, 1.0),
)
def test_quantiles_are_numpys_to_a_bin(values: Field, share: float) -> None:
    histogram = Histogram()
    histogram.add(values)
    largest = np.abs(values).max()
    assert_allclose(
        histogram.quantile(share), np.quantile(values, share), rtol=0, atol=1e-4 * largest + 1e-6
    )


def test_distance_of_shifted_distributions_is_the_shift() -> None:
    values = noise((5000,), 3, 20.0)
    one, other = Histogram(), Histogram()
    one.add(values)
    other.add(values + 7.0)
    assert one.distance(other) == pytest.approx(7.0, rel=1e-3)
    assert one.distance(one) == 0.0


def test_classes_divide_the_cells_between_them() -> None:
    error, distance = noise((1000,), 4), np.linspace(0.0, 10.0, 1000, endpoint=False)
    classes, half = ErrorsByClass([0.0, 2.0, 10.0]), ErrorsByClass([0.0, 2.0, 10.0])
    classes.add(error[:500], np.zeros(500), distance[:500])
    half.add(error[500:], np.zeros(500), distance[500:])
    classes.merge(half)
    table = classes.summary()
    assert list(table["n"]) == [200, 800]
    assert table["rmse"][0] == pytest.approx(np.sqrt(np.mean(error[:200] ** 2)))
    with pytest.raises(DataError, match="ascending"):
        ErrorsByClass([0.0, 0.0])


def test_skill_is_one_for_perfect_and_zero_for_the_baseline() -> None:
    assert (skill(0.0, 5.0), skill(5.0, 5.0), skill(4.0, 5.0)) == pytest.approx((1.0, 0.0, 0.2))
    assert np.isnan(skill(1.0, 0.0))


def plane(north: float, east: float, shape: tuple[int, int] = (12, 15)) -> Field:
    """A plane that rises so much a unit of length; cells are 500 units."""
    rows, cols = np.indices(shape) * 500.0
    return -rows * north + cols * east


def test_gradient_of_a_plane_is_its_slope_and_the_ring_is_nan() -> None:
    north, east = gradient(plane(0.01, -0.02), 500.0)
    assert_allclose(north[1:-1, 1:-1], 0.01)
    assert_allclose(east[1:-1, 1:-1], -0.02)
    assert np.isnan(north[[0, -1]]).all()
    assert np.isnan(east[:, [0, -1]]).all()


@pytest.mark.parametrize("turn", [-170.0, -30.0, 0.0, 45.0, 179.0])
def test_aspect_error_is_the_angle_of_turning_clockwise(turn: float) -> None:
    angles = np.radians([20.0, 20.0 + turn])
    truth, prediction = (plane(0.03 * np.cos(a), 0.03 * np.sin(a)) for a in angles)
    sums = SlopeSums(500.0, 0.0)
    sums.add(prediction, truth)
    found = sums.summary()
    assert found["slope_rmse"] == pytest.approx(0.0, abs=1e-12)
    assert found["aspect_bias"] == pytest.approx(turn, abs=1e-9)
    assert found["aspect_mae"] == pytest.approx(abs(turn), rel=1e-9, abs=1e-9)
    assert found["aspect_sd"] == pytest.approx(0.0, abs=1e-5)
    assert found["n"] == 10 * 13


def test_aspect_is_not_compared_on_the_flat() -> None:
    sums = SlopeSums(500.0, 0.005)
    sums.add(plane(0.01, 0.0), plane(0.001, 0.0))
    found = sums.summary()
    assert (found["n"], found["n_aspect"]) == (130, 0)
    assert found["slope_bias"] == pytest.approx(0.009)
    assert np.isnan(found["aspect_bias"])
    assert np.isnan(found["aspect_sd"])


def test_roughness_agrees_with_numpy() -> None:
    field = noise((11, 13), 5, 40.0) - 2000.0
    found = roughness(field, 5)
    windows = np.lib.stride_tricks.sliding_window_view(field, (5, 5))
    assert_allclose(found[2:-2, 2:-2], windows.std(axis=(2, 3)), rtol=1e-10)
    assert np.isnan(found).sum() == found.size - 7 * 9


def test_roughness_is_nan_exactly_where_the_window_meets_a_nan() -> None:
    field = noise((20, 20))
    field[9, 9] = np.nan
    missing = np.isnan(roughness(field, 5))[2:-2, 2:-2]
    expected = np.zeros((16, 16), dtype=bool)
    expected[5:10, 5:10] = True
    assert_array_equal(missing, expected)


def test_roughness_ignores_a_shift_of_any_size() -> None:
    field = noise((16, 16))
    assert_allclose(roughness(field + 1e6, 3), roughness(field, 3), rtol=1e-7)


def test_roughness_of_an_even_window_is_an_error() -> None:
    with pytest.raises(DataError, match="odd"):
        roughness(np.zeros((9, 9)), 4)


def cut(shape: tuple[int, int], size: int, halo: int) -> list[tuple[slice, slice]]:
    """Blocks with their halos, clipped at the domain's edge, as a stage reads them."""
    rows, cols = (range(0, n, size) for n in shape)

    def span(first: int, n: int) -> slice:
        return slice(max(0, first - halo), min(n, first + size + halo))

    return [(span(r, shape[0]), span(c, shape[1])) for r in rows for c in cols]


WITH_HALO: dict[str, tuple[Callable[[], Any], int]] = {
    "slope": (lambda: SlopeSums(500.0, 0.0), 1),
    "roughness": (lambda: RoughnessSums(5), 2),
}


@pytest.mark.parametrize("kind", WITH_HALO)
@pytest.mark.parametrize("size", [7, 16, 33])
def test_metrics_with_a_halo_do_not_depend_on_the_cut(kind: str, size: int) -> None:
    make, halo = WITH_HALO[kind]
    truth = np.cumsum(noise((50, 41), 8, 30.0), axis=1)
    prediction = truth + noise((50, 41), 9, 10.0)
    prediction[20:23, 5] = np.nan
    whole, parts = make(), make()
    whole.add(prediction, truth)
    for window in cut(truth.shape, size, halo):
        part = make()
        part.add(prediction[window], truth[window])
        parts.merge(part)
    expected = whole.summary()
    assert expected["n"] > 1500
    assert parts.summary() == pytest.approx(expected, rel=1e-9)


def test_strips_give_every_row_to_one_strip() -> None:
    shape, halo = (5000, 1000), 2
    inner = [range(5000)[rows][halo:-halo] for rows in strips(shape, halo)]
    assert len(inner) > 1
    assert [row for rows in inner for row in rows] == list(range(halo, 5000 - halo))


@pytest.mark.parametrize("kind", WITH_HALO)
def test_metrics_with_a_halo_do_not_depend_on_the_strips(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = np.cumsum(noise((50, 41), 8, 30.0), axis=1)
    whole, cut_up = WITH_HALO[kind][0](), WITH_HALO[kind][0]()
    whole.add(truth[::-1], truth, truth > 0)
    monkeypatch.setattr("nunatak.metrics.accumulate._CELLS", 7 * 41)
    cut_up.add(truth[::-1], truth, truth > 0)
    assert cut_up.summary() == pytest.approx(whole.summary(), rel=1e-9)


def test_roughness_sums_tell_bias_and_ratio() -> None:
    truth = noise((60, 60), 10, 4.0)
    sums = RoughnessSums(5)
    sums.add(truth * 0.5, truth)
    found = sums.summary()
    assert found["truth"] == pytest.approx(float(np.nanmean(roughness(truth, 5))))
    assert found["ratio"] == pytest.approx(0.5)
    assert found["bias"] == pytest.approx(-0.5 * found["truth"])
    assert found["distance"] == pytest.approx(0.5 * found["truth"], rel=1e-3)
    with pytest.raises(DataError, match="size"):
        sums.merge(RoughnessSums(7))


def test_seams_show_where_blocks_are_shifted_and_not_elsewhere() -> None:
    field = noise((64, 64), 11)
    seams = ([16, 32, 48], [32])
    clean, stepped = SeamSums(1.0), SeamSums(1.0)
    clean.add(field, seams)
    field[:, 32:] += 20.0
    stepped.add(field, seams)
    assert clean.summary()["ratio"] == pytest.approx(1.0, abs=0.1)
    assert stepped.summary()["ratio"] > 3.0
    assert stepped.summary()["interior"] == pytest.approx(clean.summary()["interior"])


def test_a_kink_is_a_seam_too() -> None:
    field = np.abs(np.arange(40.0) - 19.5)[None, :] * np.ones((40, 1))
    sums = SeamSums(1.0)
    sums.add(field, ([], [20]))
    assert sums.summary()["seam"] == pytest.approx(1.0)
    assert sums.summary()["interior"] == 0.0


def test_seams_do_not_depend_on_the_cut() -> None:
    field = np.cumsum(noise((48, 48), 12), axis=0)
    whole, parts = SeamSums(2.0), SeamSums(2.0)
    whole.add(field, (range(16, 48, 16), range(16, 48, 16)), (range(0, 48, 4), range(0, 48, 4)))
    for rows, cols in cut((48, 48), 16, 1):
        lines = [
            [[n - s.start for n in range(0, 49, step)] for s in (rows, cols)] for step in (16, 4)
        ]
        parts.add(field[rows, cols], tuple(lines[0]), tuple(lines[1]))
    assert parts.summary() == pytest.approx(whole.summary(), rel=1e-9)


def spectrum(prediction: Field, truth: Field, size: int = 64) -> SpectrumSums:
    sums = SpectrumSums(size)
    for row in range(0, truth.shape[0] - size + 1, size):
        for col in range(0, truth.shape[1] - size + 1, size):
            patch = np.s_[row : row + size, col : col + size]
            sums.add(prediction[patch], truth[patch])
    return sums


def test_psd_of_white_noise_is_its_variance_times_the_cell() -> None:
    field = noise((512, 512), 13, 3.0)
    found = spectrum(field, field).summary(500.0)
    assert_allclose(found["psd_truth"][2:].mean(), 9.0 * 500.0**2, rtol=0.02)
    assert_allclose(found["wavelength"].iloc[-1], 1000.0, rtol=0.01)


@pytest.mark.parametrize("size", [32, 33])
def test_psd_is_the_mean_over_rings_of_the_whole_plane(size: int) -> None:
    field = np.cumsum(noise((size, size), 31), axis=0)
    sums = SpectrumSums(size)
    sums.add(field, field)
    row, col = np.indices((size, size)) - (size - 1) / 2
    design = np.stack([np.ones(size * size), row.ravel(), col.ravel()], axis=1)
    plane_of = design @ np.linalg.lstsq(design, field.ravel(), rcond=None)[0]
    hann = np.cos(np.pi * row / size) ** 2 * np.cos(np.pi * col / size) ** 2
    power = np.abs(np.fft.fft2((field - plane_of.reshape(field.shape)) * hann)) ** 2
    k = np.fft.fftfreq(size, 1 / size)
    ring = np.rint(np.hypot(k[:, None], k))
    expected = [power[ring == n].mean() / np.sum(hann**2) for n in range(1, size // 2 + 1)]
    assert_allclose(sums.summary(1.0)["psd_truth"], expected, rtol=1e-9)


def test_a_wave_stands_at_its_wavelength() -> None:
    wave = np.sin(2 * np.pi * np.arange(64) * 8 / 64)[None, :] * np.ones((64, 1))
    found = spectrum(wave, wave).summary(100.0)
    peak = found["wavelength"][int(found["psd_truth"].argmax())]
    assert peak == pytest.approx(800.0, rel=0.02)


def test_identical_fields_have_ratio_and_coherence_one_and_no_error() -> None:
    field = np.cumsum(noise((128, 128), 14), axis=0)
    found = spectrum(field, field).summary(500.0)
    assert_allclose(found["ratio"], 1.0)
    assert_allclose(found["coherence"], 1.0)
    assert (found["psd_error"] <= 1e-12 * found["psd_truth"]).all()
    assert np.isnan(effective_resolution(found["wavelength"], found["coherence"]))


def test_independent_noise_is_not_coherent() -> None:
    found = spectrum(noise((512, 512), 15), noise((512, 512), 16)).summary(500.0)
    assert found["coherence"].max() < 0.1
    assert_allclose(found["psd_error"][2:].mean(), 2 * 500.0**2, rtol=0.03)
    assert np.isnan(effective_resolution(found["wavelength"], found["coherence"]))


def test_a_plane_and_a_factor_do_not_change_coherence() -> None:
    truth, other = noise((256, 256), 17), noise((256, 256), 18)
    base = spectrum(truth + other, truth).summary(500.0)
    bent = spectrum(3.0 * (truth + other) + plane(0.1, 0.2, (256, 256)), truth).summary(500.0)
    assert_allclose(bent["coherence"], base["coherence"], rtol=1e-6)
    assert_allclose(bent["ratio"], 9 * base["ratio"], rtol=1e-6)


@pytest.mark.parametrize("cutoff", [2500.0, 4000.0, 8000.0])
def test_effective_resolution_of_a_low_passed_field_is_the_cutoff(cutoff: float) -> None:
    truth, other = noise((512, 512), 19), noise((512, 512), 20)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(512, 500.0), np.fft.fftfreq(512, 500.0)))
    passed = np.where(radius < 1 / cutoff, np.fft.fft2(truth), np.fft.fft2(other))
    prediction = np.fft.ifft2(passed).real
    found = spectrum(prediction, truth, 128).summary(500.0)
    resolved = effective_resolution(found["wavelength"], found["coherence"])
    assert resolved == pytest.approx(cutoff, rel=0.1)


def test_effective_resolution_is_interpolated_in_the_logarithm() -> None:
    waves = np.array([500.0, 1000.0, 2000.0, 4000.0])
    assert effective_resolution(waves, np.array([0.1, 0.4, 0.6, 0.9])) == pytest.approx(
        np.sqrt(1000.0 * 2000.0)
    )
    assert np.isnan(effective_resolution(waves, np.array([0.9, 0.9, 0.9, 0.4])))


def test_spectra_merge_and_count_patches() -> None:
    truth, prediction = noise((128, 128), 21), noise((128, 128), 22)
    whole = spectrum(prediction, truth)
    parts = spectrum(prediction[:64], truth[:64])
    parts.merge(spectrum(prediction[64:], truth[64:]))
    assert whole.patches == parts.patches == 4
    assert_allclose(parts.summary(1.0), whole.summary(1.0), rtol=1e-9)


def test_patches_with_many_gaps_are_skipped_and_few_are_filled() -> None:
    truth = np.cumsum(noise((64, 64), 23), axis=1) - 1500.0
    holed, broken = truth.copy(), truth.copy()
    holed[10, 10:20] = np.nan
    broken[:8] = np.nan
    sums, full = SpectrumSums(64), SpectrumSums(64)
    full.add(truth, truth)
    sums.add(broken, truth)
    assert (sums.patches, sums.skipped) == (0, 1)
    assert sums.summary(1.0)["ratio"].isna().all()
    sums.add(holed, truth)
    assert sums.patches == 1
    long = full.summary(1.0)["psd_truth"][:5]
    assert_allclose(sums.summary(1.0)["psd_prediction"][:5], long, rtol=0.1)
    with pytest.raises(DataError, match="64 x 64"):
        sums.add(truth[:32], truth[:32])


def test_crps_is_the_integral_of_the_squared_step() -> None:
    members, truth = np.array([0.0, 1.0, 4.0]), 2.0
    x = np.linspace(-1.0, 6.0, 70_001)
    step = (members[:, None] <= x).mean(axis=0) - (truth <= x)
    assert crps(members, np.array(truth)) == pytest.approx(np.trapezoid(step**2, x), rel=1e-3)
    pairs = np.abs(members[:, None] - members).sum()
    fair = np.abs(members - truth).mean() - pairs / (2 * 3 * 2)
    assert crps(members, np.array(truth), fair=True) == pytest.approx(fair)


def test_crps_of_one_member_is_the_absolute_error() -> None:
    truth = noise((10,), 24)
    assert_allclose(crps(np.zeros((1, 10)), truth), np.abs(truth))
    assert np.isnan(crps(np.zeros((1, 10)), truth, fair=True)).all()


def test_fair_crps_does_not_depend_on_the_size_of_the_ensemble() -> None:
    truth = noise((40_000,), 25)
    means = [crps(noise((m, 40_000), 26), truth, fair=True).mean() for m in (2, 16)]
    assert means[0] == pytest.approx(means[1], rel=0.03)


def test_an_interval_of_few_members_is_all_of_them() -> None:
    members = np.array([[3.0], [1.0], [2.0]])
    assert [float(end[0]) for end in interval(members, 0.9)] == [1.0, 3.0]
    assert [float(end[0]) for end in interval(members, 0.5)] == [1.0, 3.0]


@pytest.mark.parametrize("count", [3, 19])
def test_an_ensemble_that_the_truth_belongs_to_is_calibrated(count: int) -> None:
    sums, half = EnsembleSums(count), EnsembleSums(count)
    both, centre = noise((count + 1, 200, 200), 27), noise((200, 200), 28, 5.0)
    field = both + centre
    sums.add(field[:-1, :100], field[-1, :100])
    half.add(field[:-1, 100:], field[-1, 100:])
    sums.merge(half)
    found = sums.summary()
    assert found["coverage_50"] == pytest.approx(0.5, abs=0.01)
    assert found["coverage_90"] == pytest.approx(found["coverage_90_expected"], abs=0.01)
    assert found["spread_skill"] == pytest.approx(1.0, abs=0.02)
    assert_allclose(sums.rank_histogram(), 1 / (count + 1), rtol=0.1)
    assert sums.rank_histogram().sum() == pytest.approx(1.0)


def test_ties_share_their_ranks() -> None:
    sums = EnsembleSums(3)
    sums.add(np.zeros((3, 5)), np.zeros(5))
    assert_allclose(sums.rank_histogram(), 0.25)


def test_an_ensemble_that_is_too_narrow_is_found_out() -> None:
    sums = EnsembleSums(10)
    sums.add(noise((10, 5000), 29, 0.3), noise((5000,), 30))
    found = sums.summary()
    assert found["spread_skill"] < 0.4
    assert found["coverage_90"] < 0.5


def test_a_large_block_takes_constant_memory() -> None:
    truth = np.zeros((2048, 2048), dtype=np.float32)
    prediction = truth + np.float32(1.5)
    accumulators: list[Any] = [ErrorSums(), RoughnessSums(5), SlopeSums(250.0, 0.0)]
    tracemalloc.start()
    for sums in accumulators:
        sums.add(prediction, truth)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert accumulators[0].summary()["bias"] == pytest.approx(1.5)
    assert peak < 150e6
