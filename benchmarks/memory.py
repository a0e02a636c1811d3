"""Peak memory and seconds of every stage but train, on a small map and on one 16 times its area.

``python benchmarks/memory.py [--small 4096] [--large 16384] [--repeats 1]`` prints a table. Both
maps are of the synthetic world at 250 m, with the bed recipe in blocks of 2048 and its products
bicubic and residual. What is measured are the commands of the workflow's rules, each in a process
of its own and with one thread, as a job. Stages that work by block run on a corner, an edge and a
middle block, and the largest peak counts; tile, publish and evaluate read the whole map, whose
other blocks were filled by the same stages before. The residual network is not trained: its weights
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

from nunatak.config import Run, load_recipe, save
from nunatak.grid import Block
from nunatak.products import Results
from nunatak.recipe import Recipe
from nunatak.sources.catalogue import load_sources

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
    from nunatak.provenance import read_json, write_json

    folder, recipe = results.train("residual", 0), results.recipe.model_dump(mode="json")
    torch.manual_seed(0)
    network = build(results, "residual")
    torch.nn.init.normal_(network.get_parameter("last.weight"), std=0.05)
    statistics = read_json(results.tiles / "statistics.json")
    weights = {"network": network.state_dict()}
    halo = max(HALO, reach(results, network))
    made = Checkpoint("", "residual", 0, recipe, statistics, "", weights=weights, halo=halo)
    save(folder / "best.pt", made)
    write_json(folder / "manifest.json", {"method": "residual", "member": 0, "halo": halo})


def ground(results: Results, block: Block) -> None:
    """Everything of a block that needs no network."""
    from nunatak.stages.degrade import degrade
    from nunatak.stages.reproject import reproject

    for role in results.recipe.roles:
        reproject(results, role, block, Path())
    degrade(results, block)


def product(results: Results, block: Block) -> None:
    """Everything of a block that needs one."""
    import torch

    from nunatak.provenance import write_text
    from nunatak.stages.infer import infer
    from nunatak.stages.mosaic import mosaic

    torch.set_num_threads(1)
    for method in METHODS:
        infer(results, method, 0, block)
        manifest = mosaic(results, method, block)
        write_text(results.manifest(f"mosaic/{method}", block.name), manifest.to_json())


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
        if stage != "download":
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
    data, done = folder, folder / "done.json"
    for source in recipe.sources:
        place = folder / "download" / f"{source}.json"
        meter.run("download", source=source, data=data, out=place)
    blocks = list(recipe.layout.blocks())
    apart(ground, repeat(results), blocks)
    for block in chosen:
        for role in recipe.roles:
            meter.run(f"reproject {role}", role=role, block=block, data=data, out=done)
        meter.run("degrade", block=block, out=done)
    meter.run("tile")
    apart(untrained, [results])
    apart(product, repeat(results), blocks)
    for method in METHODS:
        for block in chosen:
            meter.run(f"infer {method}", method=method, member="0", block=block, out=done)
            meter.run(f"mosaic {method}", method=method, block=block, out=done)
    meter.run("publish", method=METHODS[-1], out=folder / "map.tif", record=folder / "map.json")
    meter.run("evaluate", data=data)
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
