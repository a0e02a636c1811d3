"""Networks for a field beside a finer guide, by their registered names, within the pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from guided import cut, inputs_of, scaled, spec
from lightning_fabric import Fabric

from nunatak.learn.cascade import Cascade
from nunatak.learn.checkpoint import reach
from nunatak.learn.dataset import Chunks, Minibatch, Tiles
from nunatak.learn.inputs import Arrays
from nunatak.learn.models.interpolate import Interpolate
from nunatak.learn.models.liif import Liif
from nunatak.learn.predict import run
from nunatak.learn.spec import Network
from nunatak.learn.tasks import Setup, Supervised
from nunatak.method import Loss
from nunatak.ops.split import TRAIN

NAMES = ["resac", "resac_subpixel", "liif", "jiif", "fno"]


@pytest.mark.parametrize("name", NAMES)
def test_a_step_on_tiles_teaches_every_weight(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    results = tiny.world(tmp_path, tiny.recipe(name))
    network = tiny.built(results)
    tiles = Tiles.open(results, "net", TRAIN, Chunks())
    batch = Minibatch.of([tiles.read(0)], tiny.SCALE)
    kind = Cascade if hasattr(network, "climb") else Supervised
    fabric = Fabric(accelerator="cpu", devices=1)
    task = kind(Setup(fabric, network, (Loss(op="l1"),), 1e-3, None, 32, 1))
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    for _ in range(2):
        assert np.isfinite(task.step(batch)["loss"])
    # Of the sub-pixel levels the last layers are zero at first: a second step moves all.
    assert not [n for n, p in network.named_parameters() if torch.equal(p, before[n])]


def test_an_operator_needs_no_halo(tmp_path: Path) -> None:
    results = tiny.world(tmp_path, tiny.recipe("fno"))
    network = tiny.built(results)
    assert (network.whole, reach(results, network)) == (True, 0)


@pytest.mark.parametrize("kind", [Interpolate, Liif])
def test_a_window_run_with_a_halo_is_cropped(kind: type[Network]) -> None:
    given = spec(3, guide=False)
    torch.manual_seed(0)
    network = scaled(kind(given))
    inputs = inputs_of(given, 9, 8)
    windows: list[Arrays] = [
        {name: field[0].numpy() for name, field in part.items()}
        for part in (inputs, cut(inputs, given, 0, 0, 9, 8))
    ]
    expected = network(inputs).detach()[0, :, 6:21, 6:18].numpy()
    for found in run(network, windows, 2, 3):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
