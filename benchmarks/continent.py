"""What a whole continent costs before any job runs, beside a plain Snakemake of the same jobs.

``python benchmarks/continent.py`` prints a table: a dry run of a map of which nothing is made, and
a run, a dry run and ``nunatak status`` of a finished one. The map is the bed recipe on 22,000 x
18,000 cells in blocks of 2048, each role from a source of its own, five members of one network.
The finished tree is of jobs that compute nothing, see `pretended.py`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from pretended import BLOCK, RESOLUTION, ROOT, Pretended
from tracking import Figures, plain, print_table, timed

from nunatak.albums import load
from nunatak.recipe import Recipe

ROWS, COLS, MEMBERS = 18_000, 22_000, 5
ROLES = ("target", "surface", "velocity", "accumulation")


def project(folder: Path) -> Recipe:
    """A copy of the workflow whose catalogue has a source a role, and the recipe of a continent."""
    for name in ("config", "workflow"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copyfile(ROOT / "Snakefile", folder / "Snakefile")
    (folder / "src").symlink_to(ROOT / "src")
    path = folder / "config" / "sources.yaml"
    known = yaml.safe_load(path.read_text(encoding="utf-8"))
    alike = {f"{role}_source": known["synthetic"] for role in ROLES}
    path.write_text(yaml.safe_dump(known | alike), encoding="utf-8")
    changed: dict[str, Any] = {
        "grid": {"bounds": [0, 0, COLS * RESOLUTION, ROWS * RESOLUTION], "block": BLOCK},
        "roles": {role: {"source": f"{role}_source"} for role in ROLES},
        "picks": None,
        "methods": {"residual": {"members": MEMBERS}},
        "products": ["residual"],
    }
    config = {"runs": [{"recipe": "bed", "name": "big", "set": changed}]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return load(config, folder / "config")[1]["big"]


def counted(command: list[str], folder: Path) -> int:
    """The jobs that a dry run counts."""
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return int(re.findall(r"^total +(\d+)", told.stdout + told.stderr, re.MULTILINE)[0])


def compared(ways: dict[str, tuple[list[str], Path]], head: str, said: str, repeats: int) -> None:
    """Time commands in turns, and print their table."""
    found: dict[str, list[Figures]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, (command, folder) in ways.items():
            found[way].append(timed(command, folder, said))
    print_table(head, found, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ours, bare, empty = (Path(name, part) for part in ("ours", "plain", "empty"))
        for folder in (ours, bare, empty):
            folder.mkdir()
        recipe = project(ours)
        snakemake = [sys.executable, "-m", "snakemake", "--cores", "2"]
        own, dry = [*snakemake, "--configfile", "config.yaml"], ["--dry-run", "--quiet", "rules"]
        jobs = counted([*own, *dry], ours)

        finished = Path(name, "finished")
        steps = Pretended(recipe, finished, b"a shard").finish()
        plain(recipe, steps, bare)
        for file in ("Snakefile", "reads.json"):
            shutil.copyfile(bare / file, empty / file)
        ways = {
            "plain Snakemake": ([*snakemake, *dry], empty),
            "snakemake": ([*own, *dry], ours),
        }
        compared(ways, f"dry run, {jobs:,} jobs", "", given.repeats)

        shutil.rmtree(ours / "results", ignore_errors=True)
        finished.rename(ours / "results")
        timed(own, ours, "Nothing to be done")
        status = [sys.executable, "-m", "nunatak", "status", "--configfile", "config.yaml"]
        ways = {"plain Snakemake": (snakemake, bare), "snakemake": (own, ours)}
        compared(ways, f"no-op, {len(steps):,} steps", "Nothing to be done", given.repeats)
        compared({"nunatak status": (status, ours)}, "", "everything is done", given.repeats)


if __name__ == "__main__":
    main()
