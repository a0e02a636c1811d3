"""Peak memory and seconds of every stage but train, on a small map and on one 16 times its area.

``python benchmarks/memory.py [--small 4096] [--large 16384] [--repeats 1]`` prints a table. Both
maps are of the synthetic world at 250 m, with the bed recipe in blocks of 2048 and its products
bicubic and residual. What is measured are the commands of the workflow's rules, each in a process
of its own and with one thread, as a job. Stages that work by block run on a corner, an edge and a
middle block, and the largest peak counts; tile, publish and evaluate read the whole map, whose
other blocks were filled by the same jobs before. The residual network is not trained: its weights
are random, and its halo is that of the trained network of the recipe unless it measures wider.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

from nunatak import cli, jobs
from nunatak.config import Run, load_recipe, save
from nunatak.grid import Block
from nunatak.products import Results
from nunatak.recipe import Recipe
from nunatak.sources.catalogue import load_sources
from nunatak.tracking.steps import Step

CONFIG = Path(__file__).parent.parent / "config"
METHODS = ("bicubic", "residual")
HALO, WORKERS = 9, 2
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def bed(side: int) -> Recipe:
    """The bed recipe on a square map of a side in cells, around the pole."""
    half = side * 125
    change = {
        "grid": {"bounds": [-half, -half, half, half], "block": 2048},
        "products": list(METHODS),
    }
    sources = load_sources(CONFIG / "sources.yaml")
    dumped = {key: source.model_dump() for key, source in sources.items()}
    return load_recipe(Run(recipe="bed", set=change), CONFIG, dumped)


def untrained(results: Results) -> None:
    """Write a checkpoint of a residual network as it was drawn, with noise in its zero layer."""
    import torch

    from nunatak.learn.checkpoint import Checkpoint, build, reach, save
    from nunatak.learn.inputs import Statistics
    from nunatak.provenance import read_json

    folder, recipe = results.train("residual", 0), results.recipe.model_dump(mode="json")
    torch.manual_seed(0)
    statistics = read_json(results.tiles / "statistics.json")
    network = build(results, "residual", Statistics.of(statistics))
    torch.nn.init.normal_(network.get_parameter("last.weight"), std=0.05)
    weights = {"network": network.state_dict()}
    halo = max(HALO, reach(results, network))
    made = Checkpoint("", "residual", 0, recipe, statistics, "", weights=weights, halo=halo)
    save(folder / "best.pt", made)
    results.wrote(folder / "best.pt")


def trained(results: Results) -> None:
    """Commit that checkpoint as the training's, for the jobs that read it."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        untrained(tree)
        return {"method": "residual", "variables": {"model": {"digest": key}}}

    names = {"method": "residual", "member": "0"}
    step = Step("train", results.recipe.name, names)
    jobs.run(step, results.folder / "recipe.json", results.root, work)


def ground(results: Results, block: Block) -> None:
    """Everything of a block that needs no network, as jobs."""
    recipe, root = results.folder / "recipe.json", results.root
    for role in results.recipe.roles:
        cli.reproject(recipe, root, root, role, block.name)
    cli.degrade(recipe, root, block.name)


def product(results: Results, block: Block) -> None:
    """Everything of a block that needs one, as jobs."""
    import torch

    torch.set_num_threads(1)
    for method in METHODS:
        cli.infer(results.folder / "recipe.json", results.root, method, 0, block.name)
        cli.mosaic(results.folder / "recipe.json", results.root, method, block.name)


def apart(task: Callable[..., object], *arguments: Iterable[Any]) -> None:
    """Map a task over arguments in other processes: a child's peak counts that of its parent."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=spawn) as pool:
        list(pool.map(task, *arguments))


class Meter:
    """Runs commands of the workflow and keeps, by label, the largest time and peak of a process.

    Parameters
    ----------
    results
        The results tree of the map.
    """

    def __init__(self, results: Results) -> None:
        self.results, self.found = results, dict[str, tuple[float, float]]()

    def run(self, label: str, **options: str | Path) -> None:
        """Run one command; the first word of the label is the stage."""
        stage = label.split()[0]
        given = {"recipe": self.results.folder / "recipe.json", **options}
        given["results"] = self.results.root
        command = [sys.executable, "-m", "nunatak", stage]
        command += [text for name, value in given.items() for text in (f"--{name}", str(value))]
        start = time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, **ONE_THREAD})
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f"{' '.join(command)} failed")
        before = self.found.get(label, (0.0, 0.0))
        after = time.perf_counter() - start, usage.ru_maxrss / 1024
        self.found[label] = max(before[0], after[0]), max(before[1], after[1])


def measured(side: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Make a map of a side below a folder; seconds and peak (MiB) of every kind of command."""
    results = Results(bed(side), folder)
    recipe, meter = results.recipe, Meter(results)
    save(recipe, folder)
    rows, cols = recipe.layout.tiling
    chosen = [f"{row}_{col}" for row, col in ((0, 0), (0, cols // 2), (rows // 2, cols // 2))]
    for source in recipe.sources:
        meter.run("download", source=source, data=folder)
    meter.run("scan", source=recipe.roles["target"].source, data=folder)
    blocks = list(recipe.layout.blocks())
    for block in chosen:
        for role in recipe.roles:
            meter.run(f"reproject {role}", role=role, block=block, data=folder)
        meter.run("degrade", block=block)
    apart(ground, repeat(results), blocks)
    meter.run("tile")
    apart(trained, [results])
    for method in METHODS:
        for block in chosen:
            meter.run(f"infer {method}", method=method, member="0", block=block)
            meter.run(f"mosaic {method}", method=method, block=block)
    apart(product, repeat(results), blocks)
    meter.run("publish", method=METHODS[-1])
    meter.run("evaluate", data=folder)
    return meter.found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--small", type=int, default=4096)
    parser.add_argument("--large", type=int, default=16384)
    parser.add_argument("--folder", type=Path, help="where to make the maps, some 10 GB")
    given = parser.parse_args()
    found = []
    for side in (given.small, given.large):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            found.append(measured(side, Path(folder)))
    small, large = (f"{side:,}²" for side in (given.small, given.large))
    print(f"| stage | {small}, MiB | {large}, MiB | ratio | {small}, s | {large}, s |")
    print("| --- |" + " ---: |" * 5)
    for label, (seconds, peak) in found[0].items():
        slower, more = found[1][label]
        ratio, times = more / peak, f"{seconds:.1f} | {slower:.1f}"
        print(f"| {label} | {peak:,.0f} | {more:,.0f} | {ratio:.2f} | {times} |")
    worst = max(peak for _, peak in found[1].values())
    growth = max(found[1][label][1] / peak for label, (_, peak) in found[0].items())
    print(f"\nlargest peak {worst:,.0f} MiB, largest ratio {growth:.2f}")


if __name__ == "__main__":
    main()
