"""A synthetic world in a file, a copy of the project to run on it, and what its jobs did."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
import zarr
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from nunatak.config import merge
from nunatak.sources.synthetic import World
from nunatak.tracking.steps import Step

ROOT = Path(__file__).resolve().parents[2]
BLOCKS, STEP, SCALE, FINE = 6, 16, 4, 250  # blocks, coarse cells, fine cells, metres
CELLS = BLOCKS * STEP * SCALE
SIDE = CELLS * FINE
SOURCE = """
world:
  title: The synthetic world in a file
  files: [{ url: "file:world.tif" }]
  reader: { op: raster }
  crs: EPSG:3031
  resolution: 250
  vertical_datum: geoid:synthetic
  variables:
    bed: { units: m, standard_name: bedrock_altitude }
    surface: { units: m, standard_name: surface_altitude }
  licence: CC0-1.0
"""
# A square of the split is a block: of block (r, c), (c - 2 r) mod 5 tells. 0 tests, 2 validates.
SIX: dict[str, Any] = {
    "title": "Six by six blocks",
    "grid": {"bounds": [0, 0, SIDE, SIDE], "block": STEP * SCALE},
    "roles": {
        "target": {"source": "world"},
        "surface": None,
        "velocity": None,
        "accumulation": None,
    },
    "conditions": [],
    "picks": None,
    "split": {"by": {"args": {"size": STEP * SCALE * FINE}}, "buffer": 5000},
    "tiles": {
        "size": 4,
        "stride": 2,
        "context": 2,
        "normalise": {"surface": None, "velocity": None, "accumulation": None},
    },
    "evaluate": {"spectrum": 32},
    "methods": {
        "bilinear": None,
        "bicubic_conserving": None,
        "residual": None,
        "deepbedmap": None,
    },
    "products": ["bicubic"],
    "infer": {"window": STEP, "feather": 2},
}
# Squares of the split are 16 coarse cells wide: in rows from the north and columns from the west,
# (column - 2 row) mod 5 is 0 for test and 2 for validation.
THREE: dict[str, Any] = merge(
    SIX,
    {
        "title": "Three by three blocks and a network",
        "grid": {"block": CELLS // 3},
        "roles": {"surface": {"source": "world", "variables": ["surface"], "resolution": 250}},
        "conditions": ["surface"],
        "split": {"buffer": 6000},
        "products": ["residual"],
        "methods": {
            "bicubic": None,
            "residual": {
                "model": {"op": "residual", "args": {"width": 4, "depth": 1, "head": 4}},
                "constraints": [{"op": "block_mean"}, {"op": "below", "role": "surface"}],
                "train": {
                    "task": {"op": "supervised"},
                    "losses": [{"op": "l1", "weight": 1.0}],
                    **{"samples": 32, "batch": 4, "lr": 1e-3, "validate_every": 16},
                },
            },
        },
    },
)
COMPUTED = re.compile(r"computed (\S+)$", re.MULTILINE)
KEPT = re.compile(r"kept (\S+):", re.MULTILINE)


def write_world(path: Path) -> None:
    """Write bed and surface of the synthetic world as a GeoTIFF of two bands.

    The bed of the block in the lower right corner is missing.
    """
    at = (np.arange(CELLS) + 0.5) * FINE
    world = World(0)
    fields = [world.evaluate(name, at, at[::-1]) for name in ("bed", "surface")]
    fields[0][-STEP * SCALE :, -STEP * SCALE :] = np.nan
    profile = {
        "driver": "GTiff",
        **{"width": CELLS, "height": CELLS, "count": 2, "dtype": "float32", "crs": "EPSG:3031"},
        "transform": Affine(FINE, 0, 0, 0, -FINE, SIDE),
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.stack(fields))
        file.descriptions = ("bed", "surface")


@dataclass(frozen=True)
class Project:
    """A copy of the project, with the world's source in its catalogue.

    Parameters
    ----------
    folder
        Where it lies.
    python
        The folder of the ``python`` that its jobs call.
    """

    folder: Path
    python: Path

    def make(self) -> Project:
        """Copy what a run needs of the repository."""
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("src", "workflow", "profiles", "envs", "config"):
            shutil.copytree(ROOT / name, self.folder / name, ignore=ignored)
        shutil.copyfile(ROOT / "Snakefile", self.folder / "Snakefile")
        with (self.folder / "config" / "sources.yaml").open("a", encoding="utf-8") as catalogue:
            catalogue.write(SOURCE)
        return self

    def edited(self, folder: Path, module: str, *, docstring: str = "", after: str = "") -> Project:
        """A copy of the project with text in a module: in its docstring, and at its end."""
        other = Project(folder, self.python)
        shutil.copytree(self.folder, folder)
        path = folder / "src" / "nunatak" / f"{module}.py"
        text = path.read_text(encoding="utf-8")
        assert text.startswith('"""')
        path.write_text(f'"""{docstring}{text[3:]}{after}', encoding="utf-8")
        return other


@dataclass(frozen=True)
class Tree:
    """A folder with a world, a configuration and results.

    Parameters
    ----------
    folder
        Where it lies.
    project
        What is run there.
    """

    folder: Path
    project: Project

    @property
    def results(self) -> Path:
        """The results root."""
        return self.folder / "results"

    @property
    def world(self) -> Path:
        """The file of the source."""
        return self.folder / "data" / "world.tif"

    def configure(self, *runs: dict[str, Any]) -> None:
        """Write the configuration of some runs of the recipe ``bed``."""
        config = {
            "data": "data",
            "results": "results",
            "runs": [{"recipe": "bed", **r} for r in runs],
        }
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def command(self, *options: str, cores: int = 2) -> tuple[list[str], dict[str, str]]:
        """The command line and the environment of a run of Snakemake."""
        given = ["--directory", str(self.folder), "--configfile", str(self.folder / "config.yaml")]
        given += ["--cores", str(cores)]
        path = [str(self.project.python), str(Path(sys.executable).parent), os.environ["PATH"]]
        environment = {**os.environ, "PATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}
        return [sys.executable, "-m", "snakemake", *options, *given], environment

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Begin a run in a process group of its own, which can be killed with all its jobs."""
        command, environment = self.command(*options, "--nolock")
        return subprocess.Popen(
            command,
            cwd=self.project.folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def run(self, *options: str, cores: int = 2) -> subprocess.CompletedProcess[str]:
        """Run Snakemake, with empty logs."""
        shutil.rmtree(self.results / "logs", ignore_errors=True)
        command, environment = self.command(*options, cores=cores)
        return subprocess.run(
            command,
            cwd=self.project.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def nunatak(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the project in the tree's folder."""
        environment = {**self.command()[1], "PYTHONPATH": str(self.project.folder / "src")}
        return subprocess.run(
            [str(self.project.python / "python"), "-m", "nunatak", *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def status(self) -> list[str]:
        """What `nunatak status` says."""
        config = self.folder / "config"
        shutil.copytree(self.project.folder / "config", config, dirs_exist_ok=True)
        told = self.nunatak("status", "--configfile", "config.yaml")
        assert told.returncode == 0, told.stdout
        return told.stdout.splitlines()

    def told(self, pattern: re.Pattern[str]) -> list[str]:
        """The steps of which the logs of the last run tell something."""
        logs = (p.read_text(encoding="utf-8") for p in self.results.glob("logs/**/*.log"))
        return sorted(step for text in logs for step in pattern.findall(text))

    def computed(self) -> Counter[str]:
        """How many jobs of each stage the last run computed."""
        return Counter(_stage(step) for step in self.told(COMPUTED))

    def kept(self) -> Counter[str]:
        """How many jobs of each stage ran and found that nothing had changed."""
        return Counter(_stage(step) for step in self.told(KEPT))

    def forget(self, step: Step) -> None:
        """Remove the manifest and the trace of a step."""
        for suffix in ("json", "trace"):
            (self.results / f"{step.path}.{suffix}").unlink(missing_ok=True)

    def copy(self, folder: Path, project: Project | None = None) -> Tree:
        """A copy with times and hard links."""
        subprocess.run(["cp", "-a", str(self.folder), str(folder)], check=True)
        return Tree(folder, project or self.project)

    def manifests(self) -> dict[str, bytes]:
        """Every manifest by its path."""
        found = {p for p in self.results.rglob("*.json") if not _aside(p, self.results)}
        return {str(p.relative_to(self.results)): p.read_bytes() for p in sorted(found)}

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Every array of every product, read without the checks of a job."""
        found = {}
        for path in sorted(self.results.glob("**/*.zarr")):
            for name, array in zarr.open_group(path, mode="r").arrays():
                found[f"{path.relative_to(self.results)}/{name}"] = np.asarray(array[...])
        return found

    def change(self, block: str, down: int, across: int, by: float = 4.0) -> None:
        """Raise the bed in one fine cell of a coarse cell, told from the corner of a block."""
        row, col = (int(part) * STEP for part in block.split("_"))
        window = Window((col + across) * SCALE, (row + down) * SCALE, 1, 1)
        with rasterio.open(self.world, "r+") as file:
            file.write(file.read(1, window=window) + np.float32(by), 1, window=window)


def _aside(path: Path, results: Path) -> bool:
    """Whether a file is no manifest: Zarr's own, the recipe, the tracker's caches, kept copies."""
    parts = path.relative_to(results).parts
    return path.name in ("zarr.json", "recipe.json") or any(p.startswith(".") for p in parts)


def _stage(step: str) -> str:
    first, *rest = step.split("/")
    return first if first == "download" else rest[0]
