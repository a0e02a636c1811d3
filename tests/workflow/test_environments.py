"""Environment files, the bounds in them, and the container recipe."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from tests.integration.world import Project

ROOT = Path(__file__).resolve().parents[2]
ENVS = sorted((ROOT / "envs").glob("*.yaml"))
# Where conda-forge has another name, or has one distribution as a part of another.
NAMES = {
    "dask": "dask-core",
    "lightning-fabric": "pytorch-lightning",
    "matplotlib": "matplotlib-base",
    "netCDF4": "netcdf4",
    "torch": "pytorch",
}


@pytest.mark.parametrize("file", ENVS, ids=lambda p: p.stem)
def test_lower_bounds_are_those_of_the_package(file: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    parsed = map(Requirement, project["dependencies"])
    bounds = {NAMES.get(each.name, each.name): str(each.specifier) for each in parsed}
    specs = yaml.safe_load(file.read_text(encoding="utf-8"))["dependencies"]
    given = dict(spec.split(" ", 1) for spec in specs)
    assert given.pop("python").startswith(project["requires-python"])
    assert given == {name: bounds[name] for name in given}


def test_the_container_recipe_is_up_to_date(tmp_path: Path) -> None:
    project = Project(tmp_path / "clone", Path(sys.executable).parent).make()
    path = f"{ROOT / 'tests' / 'conda' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "snakemake", "--containerize"]
    run = subprocess.run(
        command,
        cwd=project.folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    kept = (ROOT / "envs" / "Dockerfile").read_text(encoding="utf-8")
    assert kept == run.stdout, "run `make generate`"
