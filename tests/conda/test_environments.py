"""Each stage works in exactly its environment: what is not in its file fails here."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from nunatak.tracking.steps import STAGES
from tests.conda.conftest import Separate
from tests.conda.reach import reach
from tests.integration.world import ROOT

IMPORT = """
import importlib, json, sys
from importlib.metadata import distributions
for name in sys.argv[1:]:
    importlib.import_module(name)
names = sorted({found.name.lower() for found in distributions()})
print(json.dumps({"prefix": sys.prefix, "installed": names}))
"""
# What an environment must not hold, for its jobs would not miss it in their file.
FOREIGN = {
    "array": {"torch", "rasterio", "matplotlib", "pooch"},
    "fetch": {"torch", "rasterio", "matplotlib"},
    "geo": {"torch", "matplotlib", "pooch"},
    "plot": {"torch", "pooch"},
    "torch": {"pooch"},
}


def family(stage: str) -> str:
    rule = (ROOT / "workflow" / "rules" / f"{stage}.smk").read_text(encoding="utf-8")
    found = re.search(r'conda:\s*"\.\./\.\./envs/(\w+)\.yaml"', rule)
    assert found, stage
    return found[1]


def python(tree: Separate, stage: str, *arguments: str) -> str:
    """Run the Python of a stage's environment, which sees the project's source and no more."""
    prefix = tree.environment(family(stage))
    done = subprocess.run(
        [str(prefix / "bin" / "python"), *arguments],
        env={"PYTHONPATH": str(tree.project.folder / "src"), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_finds_all_it_may_import_in_its_environment(stage: str, separate: Separate) -> None:
    assert f"nunatak {stage}" in python(separate, stage, "-m", "nunatak", stage, "--help")
    modules, packages = reach(stage)
    output = python(separate, stage, "-c", IMPORT, *sorted(modules | packages))
    told = json.loads(output.splitlines()[-1])
    assert Path(told["prefix"]) == separate.environment(family(stage))
    assert not FOREIGN[family(stage)] & set(told["installed"])


def test_every_environment_belongs_to_a_stage() -> None:
    assert {path.stem for path in (ROOT / "envs").glob("*.yaml")} == set(map(family, STAGES))
    assert set(FOREIGN) == set(map(family, STAGES))
