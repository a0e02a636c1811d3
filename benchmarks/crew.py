"""The stages of the whole map by one process and by several, which make the same to the bit.

``python benchmarks/crew.py [--side 8192] [--workers 1 2]`` prints a table of seconds. The map
is of the synthetic world with the bed recipe in blocks of 1024; its product is interpolated.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import repeat
from pathlib import Path

from memory import ONE_THREAD, apart, bed, ground

from nunatak import cli
from nunatak.config import save
from nunatak.grid import Block
from nunatak.products import Results
from nunatak.provenance import digest_file
from nunatak.recipe import Recipe

METHOD, STAGES = "bicubic", ("tile", "evaluate")


def interpolated(side: int) -> Recipe:
    """The bed recipe without a network, in blocks of 1024."""
    recipe = bed(side)
    grid = recipe.grid.model_copy(update={"block": 1024})
    return Recipe.model_validate(
        recipe.model_dump() | {"grid": grid.model_dump(), "products": [METHOD]}
    )


def product(results: Results, block: Block) -> None:
    """The product of a block."""
    recipe = results.folder / "recipe.json"
    cli.infer(recipe, results.root, METHOD, 0, block.name)
    cli.mosaic(recipe, results.root, METHOD, block.name)


def run(results: Results, stage: str, workers: int) -> tuple[float, str]:
    """Make a stage anew: seconds, and the digest of its trace."""
    trace = results.folder / stage / "manifest.trace"
    trace.unlink(missing_ok=True)
    command = [sys.executable, "-m", "nunatak", stage, "--recipe", results.folder / "recipe.json"]
    command += ["--results", results.root, "--workers", str(workers)]
    command += ["--data", results.root] if stage == "evaluate" else []
    start = time.perf_counter()
    subprocess.run(command, env={**os.environ, **ONE_THREAD}, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start, digest_file(trace)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = Results(interpolated(given.side), Path(folder))
        save(results.recipe, results.root)
        for key in results.recipe.sources:
            cli.download(results.folder / "recipe.json", results.root, results.root, key)
            if key != "synthetic_picks":
                cli.scan(results.folder / "recipe.json", results.root, results.root, key)
        blocks = list(results.recipe.layout.blocks())
        apart(ground, repeat(results), blocks)
        run(results, "tile", 1)
        apart(product, repeat(results), blocks)
        print(f"| {len(blocks)} blocks | workers | s | speed |\n| --- | ---: | ---: | ---: |")
        for stage in STAGES:
            found = {workers: run(results, stage, workers) for workers in given.workers}
            assert len({digest for _, digest in found.values()}) == 1, "the same whoever made it"
            first = found[given.workers[0]][0]
            for workers, (seconds, _) in found.items():
                print(f"| {stage} | {workers} | {seconds:.1f} | {first / seconds:.2f} |")


if __name__ == "__main__":
    main()
