from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray

from nunatak.grid import Window
from nunatak.learn.inputs import Inputs, Statistics
from nunatak.learn.predict import fitting, groups, parts, predict
from nunatak.learn.spec import Network
from nunatak.ops.blend import Lattice

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
