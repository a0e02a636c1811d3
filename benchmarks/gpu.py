"""Training and inference of DeepBedMap beside the bare model, in one run; meant for a GPU.

``python benchmarks/gpu.py [--side 4096] [--steps 50] [--precision bf16-mixed] [--tiny]`` prints a
table. The network is the bed recipe's ``deepbedmap`` with the surface at a tenth and the velocity
at half of a coarse cell, its weights random, on a square of the synthetic world. *Training* steps
on batches that are read from the stores while the last one is used, *inference* is the stage
``infer`` of all blocks: read, normalise, predict, blend, write. *Bare* is the same step on one
batch that lies on the device, and the network on windows that lie there. The last line is what a
map of 22,000 x 18,000 cells would take at that speed. ``--tiny`` is a small network on a small
map, to see that the script runs; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from memory import CONFIG

from nunatak.config import Run, load_recipe, merge
from nunatak.grid import Window
from nunatak.learn.checkpoint import Checkpoint, build, load_network, reach, save
from nunatak.learn.dataset import Chunks, Minibatch, Tiles, prefetch, training
from nunatak.learn.inputs import Arrays, Inputs, Statistics
from nunatak.learn.parallel import joined
from nunatak.learn.predict import fitting, groups, parts
from nunatak.learn.spec import Batch
from nunatak.learn.spread import Spread
from nunatak.learn.tasks import Setup, Supervised
from nunatak.ops.blend import Lattice
from nunatak.ops.split import TRAIN
from nunatak.products import Results
from nunatak.provenance import read_json
from nunatak.recipe import Recipe
from nunatak.registry import TASKS
from nunatak.sources.catalogue import load_sources
from nunatak.stages.degrade import degrade
from nunatak.stages.infer import infer
from nunatak.stages.reproject import reproject
from nunatak.stages.tile import tile

METHOD, CONTINENT = "deepbedmap", 22_000 * 18_000
TINY: dict[str, Any] = {
    "split": {"by": {"args": {"size": 16000}}, "buffer": 1000},
    "tiles": {"size": 8, "stride": 8, "context": 1},
    "infer": {"window": 16},
    "methods": {METHOD: {"model": {"args": {"blocks": 1, "width": 8, "growth": 4}}}},
}


def recipe(side: int, change: dict[str, Any]) -> Recipe:
    """The bed recipe on a square map of a side in cells, with the original's resolutions."""
    half = side * 125
    fixed = {
        "grid": {"bounds": [-half, -half, half, half], "block": 2048},
        "roles": {"surface": {"resolution": 100}, "velocity": {"resolution": 500}},
        "products": [METHOD],
    }
    sources = load_sources(CONFIG / "sources.yaml")
    dumped = {key: source.model_dump() for key, source in sources.items()}
    return load_recipe(Run(recipe="bed", set=merge(fixed, change)), CONFIG, dumped)


def prepared(folder: Path, spec: Recipe) -> Results:
    """A map with everything that training and inference read, and a model as it was drawn."""
    results = Results(spec, folder)
    for block in spec.layout.blocks():
        for role in spec.roles:
            reproject(results, role, block, Path())
        degrade(results, block)
    tile(results)
    torch.manual_seed(0)
    statistics = read_json(results.tiles / "statistics.json")
    network = build(results, METHOD, Statistics.of(statistics))
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    weights, halo = {"network": network.state_dict()}, reach(results, network)
    dumped = spec.model_dump(mode="json")
    made = Checkpoint("", METHOD, 0, dumped, statistics, "", weights=weights, halo=halo)
    save(results.train(METHOD, 0) / "best.pt", made)
    return results


def waited() -> float:
    """The time, when the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(work: Callable[[], object]) -> float:
    """Seconds that something takes on the device."""
    start = waited()
    work()
    return waited() - start


def task(results: Results, precision: str, batch: int) -> Supervised:
    """The recipe's task on this machine's device."""
    spec = results.recipe.methods[METHOD].train
    assert spec is not None
    fabric = joined(Spread(), precision)
    network = build(results, METHOD, Statistics.read(results.tiles / "statistics.json"))
    side = results.recipe.tiles.size * results.recipe.grid.scale
    setup = Setup(
        *(fabric, network.to(fabric.device), spec.losses, spec.lr, spec.clip, side, batch)
    )
    made: Supervised = TASKS.call(spec.task.op, spec.task.args, setup)
    return made


def steps(results: Results, precision: str, batch: int, count: int) -> tuple[float, float]:
    """Steps a second as in a training, and on one batch that lies on the device."""
    made, tiles = task(results, precision, batch), Tiles.open(results, METHOD, TRAIN, Chunks())
    device = made.setup.fabric.device

    def stepped(batches: Iterable[Minibatch]) -> None:
        for given in batches:
            made.step(given.to(device))

    source = prefetch(tiles, training(0, 0, batch, len(tiles), augment=True))
    warm = list(islice(source, 3))
    stepped(warm)
    resident = warm[0].to(device)
    bare = seconds(lambda: stepped([resident] * count))
    read = seconds(lambda: stepped(islice(source, count)))
    source.close()
    return count / read, count / bare


def cells(results: Results) -> tuple[float, float]:
    """Fine cells a second of the stage infer, and of the network on windows on the device."""
    blocks, shape = list(results.recipe.layout.blocks()), results.recipe.layout.fine.shape
    network, halo, statistics = load_network(results, METHOD, 0)
    inputs, device = Inputs(results, statistics, METHOD), network.mean.device
    spec, scale = results.recipe.infer, results.recipe.grid.scale
    lattice = Lattice(results.recipe.layout.shape, spec.window, spec.feather)

    def ready(window: Window) -> Arrays:
        return inputs.prepare(inputs.read(window.pad(halo)))

    def resident(windows: list[Window]) -> Batch:
        found = [ready(window) for window in windows]
        stacked = {n: torch.stack([torch.from_numpy(f[n]) for f in found]) for n in found[0]}
        return {name: values.to(device) for name, values in stacked.items()}

    def forward(batch: Batch) -> None:
        with torch.inference_mode():
            network(batch)

    bare = 0.0
    for block in blocks:
        _, first = next(parts(lattice, block.core))
        most = fitting(network, partial(ready, first), halo, scale)
        for group in groups(lattice, block.core, most):
            batch = resident([part for _, part in group])
            bare += seconds(partial(forward, batch))
    read = sum(seconds(partial(infer, results, METHOD, 0, block)) for block in blocks)
    area = shape[0] * shape[1]
    return area / read, area / bare


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    if given.tiny:
        given.side, given.steps, given.batch = 256, 2, 4
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    print(f"On {gpu}, {given.precision}.\n" if gpu else "No GPU was there: on the processor.\n")
    with tempfile.TemporaryDirectory() as folder:
        results = prepared(Path(folder), recipe(given.side, TINY if given.tiny else {}))
        rows = {
            f"training, steps of {given.batch}/s": steps(
                results, given.precision, given.batch, given.steps
            ),
            "inference, fine cells/s": cells(results),
        }
    print("| | nunatak | bare | of bare |")
    print("| --- | ---: | ---: | ---: |")
    for name, (ours, bare) in rows.items():
        print(f"| {name} | {ours:,.2f} | {bare:,.2f} | {ours / bare:.2f} |")
    continent = CONTINENT / rows["inference, fine cells/s"][0]
    print(f"\n22,000 x 18,000 cells at this speed: {continent:,.0f} s on one device.")


if __name__ == "__main__":
    main()
