"""The synthetic world: one world however it is cut, and physics that a map can be learned from."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage

from nunatak.errors import SourceError
from nunatak.grid import Window
from nunatak.source import Source
from nunatak.sources import synthetic
from nunatak.sources.flights import Region, crossing
from nunatak.sources.noise import key, noise, table, uniform
from nunatak.sources.relief import transfer
from nunatak.sources.synthetic import VARIABLES, World, open_synthetic

DEMO = np.arange(1024) * 250.0 + 125.0
ALONG, ACROSS = np.arange(-2995e3, 3000e3, 10e3), np.arange(-2900e3, 3000e3, 290e3)
PLACES = [(100e3, 100e3), (1295e3, 200e3), (-900e3, 1400e3), (-2950e3, -2950e3)]


@pytest.fixture(scope="module")
def demo() -> dict[str, NDArray[np.float64]]:
    """All variables of 256 x 256 km at 250 m, row 0 at the top."""
    return {v: World(0).evaluate(v, DEMO, DEMO[::-1]).astype(float) for v in VARIABLES}


@pytest.fixture(scope="module")
def continent() -> dict[str, NDArray[np.float32]]:
    """All variables on lines across the continent, up to 3,000 km from the origin."""
    return {v: World(0).evaluate(v, ALONG, ACROSS) for v in VARIABLES}


@pytest.fixture
def source() -> Source:
    return Source.model_validate(
        {
            "title": "world",
            "files": [{"url": "synthetic://world"}],
            "reader": {"op": "synthetic", "args": {"seed": 3}},
            "variables": {"ground": {"name": "bed", "units": "m"}, "vx": {"units": "m yr-1"}},
            "crs": "EPSG:3031",
            "licence": "CC0-1.0",
        }
    )


def spectra(
    bed: NDArray[np.float64], surface: NDArray[np.float64], shortest: float, longest: float
) -> tuple[float, float]:
    """Coherence of two maps in a band of wavelengths (m), and the ratio of their amplitudes."""
    size = 64
    window = np.outer(np.hanning(size), np.hanning(size))

    def transformed(field: NDArray[np.float64]) -> NDArray[np.complex128]:
        field = field - ndimage.gaussian_filter(field, 24)
        tiles = field.reshape(16, size, 16, size).swapaxes(1, 2).reshape(-1, size, size)
        return np.fft.fft2(tiles * window)

    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size, 250.0), np.fft.fftfreq(size, 250.0)))
    band = (f > 1 / longest) & (f <= 1 / shortest)
    below, above = transformed(bed)[:, band], transformed(surface)[:, band]
    powers = (np.abs(below) ** 2).sum(), (np.abs(above) ** 2).sum()
    cross = np.abs((below * above.conj()).sum())
    return float(cross**2 / (powers[0] * powers[1])), float(np.sqrt(powers[1] / powers[0]))


class TestOneWorld:
    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def test_any_block_is_bit_for_bit_what_the_whole_holds_there(self, data: st.DataObject) -> None:
        left, bottom = data.draw(st.sampled_from(PLACES))
        variable = data.draw(st.sampled_from(VARIABLES))
        x, y = left + 250.0 * np.arange(90), bottom + 250.0 * np.arange(70)[::-1]
        whole = World(1).evaluate(variable, x, y)
        rows = slice(*sorted(data.draw(st.tuples(st.integers(0, 70), st.integers(0, 70)))))
        columns = slice(*sorted(data.draw(st.tuples(st.integers(0, 90), st.integers(0, 90)))))
        part = World(1).evaluate(variable, x[columns], y[rows])
        np.testing.assert_array_equal(part, whole[rows, columns])

    @pytest.mark.parametrize("variable", VARIABLES)
    @pytest.mark.parametrize("place", PLACES)
    def test_a_lone_cell_is_what_a_wide_block_holds_there(
        self, variable: str, place: tuple[float, float]
    ) -> None:
        x, y = place[0] + 2e3 * np.arange(60), place[1] + 2e3 * np.arange(60)
        whole = World(0).evaluate(variable, x, y)
        for row, column in [(0, 0), (59, 59), (0, 59), (31, 17)]:
            cell = World(0).evaluate(variable, x[[column]], y[[row]])
            assert cell[0, 0] == whole[row, column]

    @pytest.mark.parametrize("rows", [1, 7, 64])
    def test_strips_of_any_height_give_the_same(
        self, rows: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        x, y = 1300e3 + 250.0 * np.arange(40), 250.0 * np.arange(65)
        whole = World(0).evaluate("surface", x, y)
        monkeypatch.setattr(synthetic, "_ROWS", rows)
        np.testing.assert_array_equal(World(0).evaluate("surface", x, y), whole)

    def test_columns_and_rows_may_come_in_any_order(self) -> None:
        x, y = 250.0 * np.arange(50), 1e6 + 250.0 * np.arange(40)
        whole = World(0).evaluate("bed", x, y)
        order = np.random.default_rng(0).permutation(40)
        np.testing.assert_array_equal(
            World(0).evaluate("bed", x[::-1], y[order]), whole[order, ::-1]
        )

    def test_seeds_make_different_worlds(self) -> None:
        one, other = (World(seed).evaluate("bed", DEMO[:200], DEMO[:200]) for seed in (0, 1))
        assert abs(np.corrcoef(np.diff(one).ravel(), np.diff(other).ravel())[0, 1]) < 0.1

    def test_a_block_needs_no_more_memory_than_a_few_of_itself(self) -> None:
        x, y = 250.0 * np.arange(2048), 250.0 * np.arange(2048)
        tracemalloc.start()
        World(0).evaluate("surface", x, y)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * x.size * y.size * 4

    def test_an_empty_block_is_empty(self) -> None:
        assert World(0).evaluate("bed", [], [1.0]).shape == (1, 0)

    def test_an_unknown_variable_is_an_error_that_names_those_there_are(self) -> None:
        with pytest.raises(SourceError, match="accumulation"):
            World(0).evaluate("geothermal", [0.0], [0.0])


class TestPhysics:
    def test_nothing_is_missing(self, continent: dict[str, NDArray[np.float32]]) -> None:
        assert all(np.isfinite(values).all() for values in continent.values())

    def test_ranges_are_those_of_an_ice_sheet(
        self, continent: dict[str, NDArray[np.float32]]
    ) -> None:
        assert -3500 < continent["bed"].min() < -2000
        assert 1500 < continent["bed"].max() < 3500
        assert 3300 < continent["surface"].max() < 4300
        assert continent["surface"].min() > -1.0
        speed = np.hypot(continent["vx"], continent["vy"])
        assert 500 < speed.max() < 1500
        assert continent["accumulation"].min() >= 30.0 - 1e-3
        assert continent["accumulation"].max() <= 1500.0 + 1e-3

    def test_ice_ends_between_1000_and_2600_km_from_the_origin(
        self, continent: dict[str, NDArray[np.float32]]
    ) -> None:
        distance = np.hypot(*np.meshgrid(ALONG, ACROSS))
        assert continent["surface"][distance < 1000e3].min() > 500.0
        assert np.median(continent["bed"][distance > 2300e3]) < -1500.0
        assert continent["surface"][distance > 2600e3].max() < 100.0

    def test_it_snows_most_at_the_coast(self, continent: dict[str, NDArray[np.float32]]) -> None:
        surface, snow = continent["surface"], continent["accumulation"]
        assert snow[surface > 3000].mean() < 0.2 * snow[(surface > 200) & (surface < 1000)].mean()

    def test_the_surface_is_never_below_the_bed(
        self, continent: dict[str, NDArray[np.float32]]
    ) -> None:
        assert continent["thickness"].min() == 0.0
        np.testing.assert_array_equal(
            continent["thickness"], continent["surface"] - continent["bed"]
        )

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_the_bed_is_a_fractal_of_hurst_exponent_0_7(self, seed: int) -> None:
        bed = World(seed).evaluate("bed", DEMO, DEMO[::2]).astype(float)
        bed -= bed.mean(axis=1, keepdims=True)
        power = (np.abs(np.fft.rfft(bed * np.hanning(DEMO.size))) ** 2).mean(axis=0)
        f = np.fft.rfftfreq(DEMO.size, 250.0)
        band = (f > 1 / 12e3) & (f < 1 / 1e3)
        slope = np.polyfit(np.log(f[band]), np.log(power[band]), 1)[0]
        assert 0.55 < (-slope - 1) / 2 < 0.9

    def test_the_bed_is_as_rough_as_radar_finds_it(
        self, demo: dict[str, NDArray[np.float64]]
    ) -> None:
        bed = demo["bed"]
        mean = ndimage.uniform_filter(bed, 5)
        roughness = np.sqrt(np.maximum(ndimage.uniform_filter(bed**2, 5) - mean**2, 0.0))
        assert 30.0 < roughness.mean() < 65.0
        assert 300.0 < bed.std() < 800.0

    def test_means_over_1_km_lose_relief_that_interpolation_cannot_bring_back(
        self, demo: dict[str, NDArray[np.float64]]
    ) -> None:
        coarse = demo["bed"].reshape(256, 4, 256, 4).mean(axis=(1, 3))
        places = np.meshgrid(*[(np.arange(1024) + 0.5) / 4 - 0.5] * 2, indexing="ij")
        smooth = ndimage.map_coordinates(coarse, places, order=3, mode="nearest")
        assert 25.0 < np.sqrt(np.mean((smooth - demo["bed"])[16:-16, 16:-16] ** 2)) < 60.0

    def test_the_surface_holds_less_of_the_bed_the_shorter_the_wave(
        self, demo: dict[str, NDArray[np.float64]]
    ) -> None:
        bands = [(1400.0, 2000.0), (2000.0, 2800.0), (2800.0, 4000.0), (4000.0, 8000.0)]
        ratios = [spectra(demo["bed"], demo["surface"], *band)[1] for band in bands]
        assert ratios == sorted(ratios)
        assert 0.005 < ratios[0] < ratios[-1] < 0.1

    def test_the_surface_tells_of_the_bed_at_wavelengths_of_2_to_4_km(
        self, demo: dict[str, NDArray[np.float64]]
    ) -> None:
        assert spectra(demo["bed"], demo["surface"], 2000.0, 4000.0)[0] > 0.4
        assert spectra(demo["bed"], demo["surface"], 500.0, 900.0)[0] < 0.1

    def test_more_reaches_the_surface_through_thin_and_sliding_ice(self) -> None:
        thickness, sliding = np.array([1000.0, 2000.0, 1000.0]), np.array([0.0, 0.0, 1.0])
        thin, thick, stream = transfer(3000.0, thickness, sliding)
        assert 0.0 < thick < thin < stream < 1.0

    def test_ice_flows_down_the_smoothed_surface(
        self, demo: dict[str, NDArray[np.float64]]
    ) -> None:
        down, across = np.gradient(ndimage.gaussian_filter(demo["surface"], 40), 250.0)
        descent = demo["vx"] * across - demo["vy"] * down
        inner = descent[100:-100, 100:-100]
        assert (inner < 0).mean() > 0.9

    def test_ice_is_fast_in_troughs_of_the_bed_near_the_margin(self) -> None:
        x, y = np.arange(900e3, 1400e3, 5e3), np.arange(-400e3, 400e3, 5e3)
        world = World(0)
        inland = world.evaluate("surface", x, y)
        near = (inland > 500) & (inland < 2500)
        bed = world.evaluate("bed", x, y)
        speed = np.hypot(world.evaluate("vx", x, y), world.evaluate("vy", x, y))
        deep = bed < np.quantile(bed[near], 0.2)
        assert np.median(speed[near & deep]) > 2 * np.median(speed[near & ~deep])


class TestPicks:
    def test_the_picks_of_a_region_are_those_of_its_parts(self) -> None:
        world = World(0)
        whole = world.picks(10e3, 20e3, 170e3, 90e3)
        parts = [world.picks(10e3, 20e3, 83.1e3, 90e3), world.picks(83.1e3, 20e3, 170e3, 90e3)]
        order = ["line", "x", "y"]
        joined = pd.concat(parts).sort_values(order, ignore_index=True)
        pd.testing.assert_frame_equal(joined, whole.sort_values(order, ignore_index=True))
        assert all(len(part) > 100 for part in parts)

    def test_picks_differ_from_the_bed_by_20_m_and_a_few_by_much_more(self) -> None:
        picks = World(0).picks(0.0, 0.0, 200e3, 200e3)
        some = picks.iloc[:: len(picks) // 100]
        bed = [
            float(World(0).evaluate("bed", [x], [y])[0, 0])
            for x, y in zip(some.x, some.y, strict=True)
        ]
        error = np.abs(some.bed - bed)
        assert 9.0 < error.median() < 18.0
        assert (error > 85.0).mean() < 0.02

    def test_a_few_picks_are_grossly_wrong(self) -> None:
        errors = crossing(0, Region(0.0, 0.0, 200e3, 200e3))["error"]
        assert 0.002 < (errors.abs() > 85.0).mean() < 0.008
        assert errors[errors.abs() < 85.0].std() == pytest.approx(20.0, rel=0.03)

    def test_a_line_is_sounded_every_50_m(self) -> None:
        picks = World(0).picks(0.0, 0.0, 200e3, 200e3)
        steps = picks.groupby("line")[["x", "y"]].diff().dropna()
        length = np.hypot(steps.x, steps.y)
        assert picks.line.nunique() >= 4
        assert np.quantile(length, 0.01) > 49.9
        assert np.quantile(length, 0.99) < 51.0

    def test_nothing_is_sounded_through_the_sea(self) -> None:
        at_sea = World(0).picks(2500e3, 2500e3, 2800e3, 2800e3)
        assert at_sea.empty
        assert list(at_sea.columns) == ["x", "y", "bed", "line"]


class TestReader:
    def test_a_grid_is_sampled_at_the_centres_of_its_cells(self, source: Source) -> None:
        geobox = GeoBox((3, 4), Affine(250, 0, 1000, 0, -250, 5000), "EPSG:3031")
        raster = open_synthetic("", source, seed=3)
        x, y = [1125.0, 1375.0, 1625.0, 1875.0], [4875.0, 4625.0, 4375.0]
        assert raster.geobox is None
        np.testing.assert_array_equal(
            raster.sample("ground", geobox), World(3).evaluate("bed", x, y)
        )

    def test_a_part_of_a_grid_has_the_bits_of_the_whole(self, source: Source) -> None:
        affine = Affine(100 / 3, 0, -2_700_000.1, 0, -100 / 3, 2_300_000.7)
        geobox = GeoBox((60, 70), affine, "EPSG:3031")
        raster = open_synthetic("", source)
        whole = raster.sample("vx", geobox)
        np.testing.assert_array_equal(raster.sample("vx", geobox[20:50, 31:70]), whole[20:50, 31:])

    @pytest.mark.parametrize(
        "geobox",
        [
            GeoBox((2, 2), Affine(250, 0, 0, 0, -250, 0), "EPSG:3413"),
            GeoBox((2, 2), Affine.rotation(30), "EPSG:3031"),
        ],
    )
    def test_a_grid_of_another_crs_or_turned_is_an_error(
        self, source: Source, geobox: GeoBox
    ) -> None:
        with pytest.raises(SourceError, match="EPSG:3031"):
            open_synthetic("", source).sample("ground", geobox)

    def test_windows_cannot_be_read_without_a_grid(self, source: Source) -> None:
        with pytest.raises(SourceError, match="GeoBox"):
            open_synthetic("", source).read("ground", Window(0, 1, 0, 1))

    def test_picks_are_those_of_the_world_of_the_seed(self, source: Source) -> None:
        box = GeoBox.from_bbox((0.0, 0.0, 50e3, 50e3), "EPSG:3031", resolution=1000)
        found = pd.concat(open_synthetic("", source, seed=3).chunks(box))
        pd.testing.assert_frame_equal(found, World(3).picks(0.0, 0.0, 50e3, 50e3))


class TestNoise:
    def test_noise_has_mean_0_and_the_sd_it_is_given(self) -> None:
        places = np.arange(0.0, 400e3, 700.0)
        values = noise(key(0, "test"), 1000.0, 5.0)(places, places)
        assert values.mean() == pytest.approx(0.0, abs=0.1)
        assert values.std() == pytest.approx(5.0, rel=0.03)

    def test_scattered_points_agree_with_the_grid(self) -> None:
        x, y = np.linspace(-5e3, 7e3, 31), np.linspace(2e3, -9e3, 17)
        spline = noise(key(0, "test"), 900.0)
        np.testing.assert_allclose(spline.at(*np.meshgrid(x, y)), spline(x, y), atol=1e-12)

    def test_a_spline_of_equal_numbers_is_that_number(self) -> None:
        nodes = np.arange(-3, 20)
        spline = table(10.0, nodes, nodes, np.full((23, 23), 4.0))
        places = np.linspace(0.0, 170.0, 57)
        np.testing.assert_allclose(spline(places, places), 4.0, rtol=1e-14)

    def test_hashed_numbers_are_white_and_uniform(self) -> None:
        numbers = uniform(key(0, "test"), np.arange(512), np.arange(-256, 256)[:, np.newaxis])
        power = np.abs(np.fft.fft2(numbers)) ** 2 / numbers.size * 3
        assert power.max() < 25.0
        assert np.histogram(numbers, 8, (-1, 1))[0] / numbers.size == pytest.approx(1 / 8, rel=0.02)
