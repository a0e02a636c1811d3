"""Streaming inference beside its bare network, in fine cells of product per second, in one run.

``python benchmarks/infer.py [--side 4096] [--windows 128 256] [--threads 1 2]`` prints a
table. A residual network with random weights maps a square of the synthetic world, in blocks of
2048, as the stage ``infer`` does: read, normalise, predict, blend, write. *Bare* is the network
alone on the inputs of the same windows, which lie in memory. *No halo* is the network alone on the
same map cut into windows without halo and feather: what these cost is the difference. The best of
some repeats is shown, and the peak memory of the process of each line.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import product, repeat
from pathlib import Path

import torch
from memory import apart, bed, untrained
from torch import Tensor

from nunatak.grid import Block, Window
from nunatak.learn.checkpoint import load_network
from nunatak.learn.inputs import Inputs
from nunatak.learn.predict import keep_memory, parts
from nunatak.learn.spec import Network
from nunatak.ops.blend import Lattice
from nunatak.products import Results
from nunatak.stages.degrade import degrade
from nunatak.stages.infer import infer
from nunatak.stages.reproject import reproject
from nunatak.stages.tile import tile

METHOD = "residual"


def streamed(results: Results) -> float:
    """Seconds of the stage, all blocks."""
    start = time.perf_counter()
    for block in results.recipe.layout.blocks():
        infer(results, METHOD, 0, block)
    return time.perf_counter() - start


def bare(results: Results, halo: int | None, feather: int) -> float:
    """Seconds of the network alone on windows in memory, one block at a time.

    ``halo`` is that of the network if it is not given.
    """
    keep_memory()
    network, reach, statistics = load_network(results, METHOD, 0)
    inputs = Inputs(results, statistics, METHOD)
    edge = reach if halo is None else halo
    lattice = Lattice(results.recipe.layout.shape, results.recipe.infer.window, feather)
    seconds = 0.0
    for block in results.recipe.layout.blocks():
        windows = [part.pad(edge) for _, part in parts(lattice, block.core)]
        seconds += forward(network, [resident(inputs, window) for window in windows])
    return seconds


def resident(inputs: Inputs, window: Window) -> dict[str, Tensor]:
    """The network's inputs of a window."""
    arrays = inputs.prepare(inputs.read(window))
    return {name: torch.from_numpy(array)[None] for name, array in arrays.items()}


def forward(network: Network, batches: Iterable[dict[str, Tensor]]) -> float:
    """Seconds of the network on batches."""
    start = time.perf_counter()
    with torch.inference_mode():
        for batch in batches:
            network(batch)
    return time.perf_counter() - start


def line(kind: str, results: Results, threads: int) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of one way to predict, in a process of its own."""
    torch.set_num_threads(threads)
    ways: dict[str, Callable[[], float]] = {
        "streamed": lambda: streamed(results),
        "bare": lambda: bare(results, None, results.recipe.infer.feather),
        "no halo": lambda: bare(results, 0, 0),
    }
    return ways[kind](), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(kind: str, results: Results, threads: int) -> tuple[float, float]:
    """Call `line` in a fresh process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(line, kind, results, threads).result()


def ground(results: Results, block: Block) -> None:
    """Everything of a block that the stage reads."""
    for role in results.recipe.roles:
        reproject(results, role, block, Path())
    degrade(results, block)


def prepared(folder: Path, side: int) -> Results:
    """A map with everything that the stage reads."""
    results = Results(bed(side), folder)
    apart(ground, repeat(results), list(results.recipe.layout.blocks()))
    apart(tile, [results])
    apart(untrained, [results])
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--windows", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=2)
    given = parser.parse_args()
    print("| window | threads | way | Mcells/s | of bare | peak, MiB |")
    print("| ---: | ---: | --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        base = prepared(Path(folder), given.side)
        for window, threads in product(given.windows, given.threads):
            spec = base.recipe.infer.model_copy(update={"window": window})
            results = Results(base.recipe.model_copy(update={"infer": spec}), base.root)
            runs = {
                kind: [alone(kind, results, threads) for _ in range(given.repeats)]
                for kind in ("streamed", "bare", "no halo")
            }
            least = {kind: min(seconds for seconds, _ in found) for kind, found in runs.items()}
            for kind, seconds in least.items():
                speed, share = given.side**2 / seconds / 1e6, least["bare"] / seconds
                peak = max(peak for _, peak in runs[kind])
                figures = f"{speed:.2f} | {share:.2f} | {peak:,.0f}"
                print(f"| {window} | {threads} | {kind} | {figures} |")


if __name__ == "__main__":
    main()
