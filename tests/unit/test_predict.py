from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray
from tests.identity import Relative

from nunatak.grid import Window
from nunatak.learn.inputs import Inputs, Statistics
from nunatak.learn.predict import fitting, groups, parts, predict, predict_whole
from nunatak.learn.spec import InputSpec, ModelSpec, Network
from nunatak.ops.blend import Lattice, Overlap

HALO = 2
WHOLE = Window(0, tiny.CELLS, 0, tiny.CELLS)
LATTICE = Lattice((tiny.CELLS, tiny.CELLS), 8, 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Inputs]:
    results = tiny.world(tmp_path_factory.mktemp("results"))
    torch.manual_seed(0)
    statistics = Statistics.read(results.tiles / "statistics.json")
    return tiny.built(results).eval(), Inputs(results, statistics, "net")


def field(
    made: tuple[Network, Inputs], core: Window, most: int | None = None
) -> NDArray[np.float32]:
    network, inputs = made

    def prepare(window: Window) -> dict[str, NDArray[np.float32]]:
        return inputs.prepare(inputs.read(window))

    return predict(network, prepare, LATTICE, core, HALO, tiny.SCALE, most)


@pytest.mark.parametrize("most", [2, 4, 64])
def test_windows_run_at_once_give_what_they_give_one_by_one(
    made: tuple[Network, Inputs], most: int
) -> None:
    alone, at_once = field(made, WHOLE), field(made, WHOLE, most)
    assert np.abs(at_once - alone).max() <= 1e-6 * np.abs(alone).max()


def test_they_give_the_same_whatever_the_block(made: tuple[Network, Inputs]) -> None:
    whole = field(made, WHOLE, 4)
    for core in (Window(0, 20, 0, 20), Window(20, 48, 0, 20), Window(11, 37, 13, 48)):
        part = field(made, core, 4)
        expected = whole[(slice(None), *core.at(tiny.SCALE).slices)]
        assert np.abs(part - expected).max() <= 1e-6 * np.abs(whole).max()


@pytest.mark.parametrize("most", [1, 3, 64])
def test_groups_hold_every_window_once_in_order_and_of_one_shape(most: int) -> None:
    found = list(groups(LATTICE, WHOLE, most))
    assert [piece for group in found for piece in group] == list(parts(LATTICE, WHOLE))
    assert all(len({part.shape for _, part in group}) == 1 for group in found)
    assert max(map(len, found)) == min(most, 4)


def test_on_a_processor_windows_run_one_by_one(made: tuple[Network, Inputs]) -> None:
    if made[0].mean.device.type != "cpu":
        pytest.skip("there is a GPU")

    def refuse() -> dict[str, NDArray[np.float32]]:
        raise AssertionError("nothing is to be measured")

    assert fitting(made[0], refuse, HALO, tiny.SCALE) == 1


SHAPE = (50, 70)
GREY = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32).cumsum(1) / 8
OVERLAP = Overlap(SHAPE, 16, 8)


def chances(core: Window, overlap: Overlap = OVERLAP) -> NDArray[np.float32]:
    """(layers, rows, columns) of a block."""
    network = Relative(ModelSpec(1, {"coarse": InputSpec(1, 1)}, 2, 1)).eval()

    def prepare(window: Window) -> dict[str, NDArray[np.float32]]:
        cells = np.ascontiguousarray(GREY[window.slices])[None]
        return {"coarse": cells, "prior": cells}

    return predict_whole(network, prepare, overlap, core, 1)


def test_a_single_window_gives_what_the_network_gives() -> None:
    found = chances(Window(0, 50, 0, 70), Overlap(SHAPE, 80, 40))
    apart = GREY - GREY.mean(dtype=np.float64)
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp(-2 * apart)), atol=1e-5)
    np.testing.assert_allclose(found[1], 1 - found[0], atol=1e-6)


def test_probabilities_are_blended_not_cut_and_what_is_constant_stays_exactly_so() -> None:
    found = chances(Window(0, 50, 0, 70))
    one = torch.sigmoid(torch.tensor(2.0)).numpy()
    assert (found[2] == one).all()
    np.testing.assert_allclose(found[0] + found[1], 1, atol=1e-6)
    assert ((found[0] > 0.2) & (found[0] < 0.8)).mean() > 0.2


def test_windows_that_see_other_means_are_blended_without_a_step() -> None:
    """Beside each other, windows would differ at their edges by what their means differ."""
    steps = {}
    for stride in (16, 8):
        found = chances(Window(0, 50, 0, 70), Overlap(SHAPE, 16, stride))[0]
        exact = 1 / (1 + np.exp(-2 * (GREY - GREY.mean())))
        jumps = np.abs(np.diff(found - exact, axis=1))
        steps[stride] = jumps[:, 15::16].mean() / jumps.mean()
    assert steps[16] > 3
    assert steps[8] < 1.5


@pytest.mark.parametrize("side", [16, 24, 37, 50])
def test_blocks_of_any_size_give_the_same_probabilities(side: int) -> None:
    expected = chances(Window(0, 50, 0, 70))
    for top in range(0, 50, side):
        for left in range(0, 70, side):
            core = Window(top, min(top + side, 50), left, min(left + side, 70))
            np.testing.assert_array_equal(chances(core), expected[(slice(None), *core.slices)])
