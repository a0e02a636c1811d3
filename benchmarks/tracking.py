"""What content tracking costs, beside the same work without it, each table from one run.

``python benchmarks/tracking.py [--parts write idle verify skip]`` prints a table a part.

- *write*: blocks of 2048 x 2048 float32 of the synthetic bed, written into one store as jobs commit
  them, with digests, trace and manifest; beside it the same shards written by Zarr and synced.
- *idle*: ``snakemake`` and ``nunatak status`` on a finished tree; beside them a plain Snakemake
  workflow of the same jobs, inputs and outputs, with nothing to do.
- *verify*: ``nunatak verify`` on shards in the page cache.
- *skip*: a job that finds that nothing changed, beside the start of Python.

The finished trees are of jobs that compute nothing, see `pretended.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pretended import ROOT, Pretended, configured, declared

from nunatak import dag, jobs
from nunatak.config import save
from nunatak.config import saved as read
from nunatak.grid import Block
from nunatak.products import Results
from nunatak.provenance import fsync_folder
from nunatak.recipe import Recipe
from nunatak.sources.synthetic import World
from nunatak.tracking.steps import PATHS, STAGES, Step

Figures = tuple[float, float]


def plain(recipe: Recipe, steps: list[Step], folder: Path) -> None:
    """Write a workflow of the same jobs, inputs and outputs, and its outputs as if it had run."""
    reads = {"all": [f"results/{path}" for path in dag.outputs(recipe)]}
    made: dict[str, list[str]] = {}
    for step in steps:
        inputs = dag.inputs(recipe, step.stage, **step.names)
        reads[step.path] = [f"results/{path}.json" for path in inputs]
        wildcards = {name: f"{{{name}}}" for name in step.names}
        made[step.stage] = declared(recipe, Step(step.stage, step.run, wildcards))
        for name in declared(recipe, step):
            path = folder / "results" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (when := 1e9 + 1000 * STAGES.index(step.stage), when))
    (folder / "reads.json").write_text(json.dumps(reads), encoding="utf-8")
    rules = ["import json\nfrom pathlib import Path"]
    rules += ['READS = json.loads(Path("reads.json").read_text())']
    rules += ['rule all:\n    input: READS["all"]']
    for stage, (_, *others) in made.items():
        path = PATHS[stage].replace("{run}", "big")
        outputs = ", ".join(f'"results/{name}"' for name in (f"{path}.json", *others))
        rules.append(
            f'rule {stage}:\n    input: lambda w: READS["{path}".format(**dict(w.items()))]\n'
            f'    output: {outputs}\n    shell: "touch {{output}}"'
        )
    (folder / "Snakefile").write_text("\n\n\n".join(rules) + "\n", encoding="utf-8")


def timed(command: list[str], folder: Path, said: str = "") -> Figures:
    """Run a command in a folder: seconds, and those of CPU.

    Raises
    ------
    RuntimeError
        If it fails, or does not say what it should.
    """
    python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": python, "PYTHONPATH": str(ROOT / "src")}
    start, before = time.perf_counter(), os.times()
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds, after = time.perf_counter() - start, os.times()
    if done.returncode or said not in done.stdout:
        raise RuntimeError(f"{' '.join(command)} said:\n{done.stdout}")
    user = after.children_user - before.children_user
    return seconds, user + after.children_system - before.children_system


def print_table(head: str, ways: dict[str, list[Figures]], more: dict[str, str]) -> None:
    """Print the best of each way, and how it compares with the first."""
    columns = [column for column in (head, "s", "of the first", "CPU, s", *more) if column]
    print(f"\n| {' | '.join(columns)} |\n| --- |" + " ---: |" * (len(columns) - 1))
    first = min(next(iter(ways.values())))[0]
    for way, found in ways.items():
        seconds, busy = min(found)[0], min(cpu for _, cpu in found)
        extra = "".join(f" {value} |" for value in more.values())
        print(f"| {way} | {seconds:.2f} | {seconds / first:.2f} | {busy:.2f} |{extra}")


def measured(work: Callable[[], object]) -> Figures:
    """Seconds of something in this process, and those of CPU."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - busy


def write(folder: Path, given: argparse.Namespace) -> None:
    """Write blocks with and without tracking, in turns."""
    recipe, root = configured(folder, (given.side, given.side)), folder / "results"
    saved, blocks, world = save(recipe, root), list(recipe.layout.blocks()), World(0)
    fields = []
    for block in blocks[:: given.side + 1]:
        box = recipe.layout.geobox(4, block.core)
        x, y = (box.coordinates[dimension].values for dimension in ("x", "y"))
        fields.append(world.evaluate("bed", x, y))

    def tracked() -> None:
        for block, field in of_each():
            step = Step("mosaic", "big", {"method": "bicubic", "block": block.name})
            jobs.run(step, saved, root, partial(commit, block, field))

    def commit(block: Block, field: NDArray[np.float32], job: Results, key: str) -> dict[str, Any]:
        return job.mosaic("bicubic").create().write(block, {"bed": field}).to_dict()

    def untracked() -> None:
        for block, field in of_each():
            store = Results(read(saved), root).mosaic("bicubic").create()
            shard = store.path / "bed" / "c" / str(block.row) / str(block.col)
            shard.unlink(missing_ok=True)
            zarr.open_array(store.path / "bed", mode="r+")[block.core.at(4).slices] = field
            with shard.open("rb") as stream:
                os.fsync(stream.fileno())
            fsync_folder(shard.parent)

    def of_each() -> list[tuple[Block, NDArray[np.float32]]]:
        return [(block, fields[i % len(fields)]) for i, block in enumerate(blocks)]

    ways: dict[str, list[Figures]] = {"Zarr, synced": [], "as jobs commit": []}
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        for _ in range(given.repeats):
            ways["Zarr, synced"].append(measured(untracked))
            for trace in root.glob("big/mosaic/bicubic/*.trace"):
                trace.unlink()
            ways["as jobs commit"].append(measured(tracked))
    print_table(f"{len(blocks)} blocks", ways, {})


def idle(folder: Path, given: argparse.Namespace) -> None:
    """Ask for what is done already."""
    ours, theirs = folder / "ours", folder / "plain"
    for path in (ours, theirs):
        path.mkdir()
    recipe = configured(ours, tuple(given.tiling))
    steps = Pretended(recipe, ours / "results", b"a shard").finish()
    plain(recipe, steps, theirs)
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory"]
    nothing, config = "Nothing to be done", str(ours / "config.yaml")
    own = [*snakemake, str(ours), "--snakefile", str(ROOT / "Snakefile"), "--configfile", config]
    status = [sys.executable, "-m", "nunatak", "status", "--configfile", config]
    commands = {
        "plain Snakemake": ([*snakemake, str(theirs)], theirs, nothing),
        "snakemake": (own, ROOT, nothing),
        "nunatak status": (status, ours, "everything is done"),
    }
    timed(*commands["snakemake"])
    ways: dict[str, list[Figures]] = {name: [] for name in commands}
    for _ in range(given.repeats):
        for name, command in commands.items():
            ways[name].append(timed(*command))
    print_table(f"{len(steps):,} steps", ways, {})


def verify(folder: Path, given: argparse.Namespace) -> None:
    """Digest every file of a tree."""
    recipe = configured(folder, (given.side, given.side))
    shard = np.random.default_rng(0).bytes(13 << 20)
    steps = Pretended(recipe, folder / "results", shard).finish()
    count = sum(("block" in s.names) + len(declared(recipe, s)) - 1 for s in steps)
    size, command = len(shard) * count / 1e9, [sys.executable, "-m", "nunatak", "verify"]
    found = [timed(command, folder, "no fault") for _ in range(given.repeats + 1)][1:]
    print_table(f"{size:.1f} GB", {"verify": found}, {"GB/s": f"{size / min(found)[0]:.1f}"})


def skip(folder: Path, given: argparse.Namespace) -> None:
    """Start a job that is done."""
    Pretended(configured(folder, (3, 3)), folder / "results", b"a shard").finish()
    job = [sys.executable, "-m", "nunatak", "degrade", "--recipe", "results/big/recipe.json"]
    job += ["--results", "results", "--block", "1_1"]
    commands = {"Python": ([sys.executable, "-c", ""], ""), "a job that is kept": (job, "kept")}
    ways: dict[str, list[Figures]] = {name: [] for name in commands}
    for _ in range(3 * given.repeats):
        for name, (command, said) in commands.items():
            ways[name].append(timed(command, folder, said))
    print_table("one process", ways, {})


PARTS = {"write": write, "idle": idle, "verify": verify, "skip": skip}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--side", type=int, default=7, help="blocks along a side: write, verify")
    parser.add_argument("--tiling", type=int, nargs=2, default=[25, 40], help="blocks: idle")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files lie, some 3 GB")
    given = parser.parse_args()
    for part in given.parts:
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            PARTS[part](Path(name), given)


if __name__ == "__main__":
    main()
