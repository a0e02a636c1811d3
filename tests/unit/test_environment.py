"""What stands for the packages of jobs that run in an environment of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.small import recipe

from nunatak.config import save, values
from nunatak.jobs import run
from nunatak.tracking.environment import VARIABLE, identity, setting
from nunatak.tracking.reconcile import reconcile
from nunatak.tracking.steps import Step
from nunatak.tracking.trace import read_trace, write_trace

STEP = Step("degrade", "small", {"block": "0_0"})


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """An environment file, with another one beside it."""
    for name in ("array", "array2"):
        (tmp_path / f"{name}.yaml").write_text("dependencies: [zarr]\n", encoding="utf-8")
    return tmp_path / "array.yaml"


def test_an_environment_is_its_file_and_its_pins(env: Path) -> None:
    before = identity(env)
    env.with_name("array2.yaml").write_text("dependencies: []\n", encoding="utf-8")
    assert identity(env) == before
    pin = env.with_name("array.linux-64.pin.txt")
    pin.write_text("@EXPLICIT\n", encoding="utf-8")
    pinned = identity(env)
    pin.write_text("@EXPLICIT\nhttps://example.org/a-1-0.conda\n", encoding="utf-8")
    again = identity(env)
    env.write_text("dependencies: [zarr, numpy]\n", encoding="utf-8")
    assert len({before, pinned, again, identity(env)}) == 4


@pytest.mark.parametrize("known", [{}, {"degrade": "0f", "infer": "a1"}])
def test_jobs_are_told_through_a_shell(known: dict[str, str]) -> None:
    code = "from nunatak.tracking.environment import told; print(told())"
    shell = f"export {setting(known)}; {sys.executable} -c '{code}'"
    told = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(known)


class Tree:
    """A results tree with one step, which computes nothing."""

    def __init__(self, root: Path) -> None:
        self.root, self.recipe = root, recipe()
        save(self.recipe, root)

    def run(self, told: str | None) -> bool:
        """Run the step, in an environment or not; whether it was computed."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(VARIABLE, f"mosaic:x,degrade:{told}" if told else "")
            return run(STEP, self.root / "small" / "recipe.json", self.root, lambda *_: {})

    def open(self, identities: dict[str, str] | None = None) -> list[str]:
        """Why the step must run, as Snakemake's main process sees it."""
        found = reconcile(
            {"small": values(self.recipe)}, [STEP], self.root, identities=identities, change=False
        )
        return [finding.reason for finding in found]

    def edit(self, **change: Any) -> None:
        trace = read_trace(self.root, STEP.path)
        assert trace
        write_trace(self.root, STEP.path, replace(trace, **change))

    def older(self) -> None:
        """As if the step had been computed with an older NumPy."""
        trace = read_trace(self.root, STEP.path)
        assert trace
        self.edit(environment={**trace.environment, "numpy": "numpy 1.0"})


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_without_environments_versions_count(tree: Tree) -> None:
    assert tree.run(None)
    assert tree.open() == []
    tree.older()
    assert "packages changed: numpy 1.0 -> numpy" in tree.open()[0]


def test_with_environments_their_files_count(tree: Tree) -> None:
    assert tree.run("abc")
    tree.older()
    assert tree.open({"degrade": "abc"}) == []
    assert tree.open({"degrade": "other"}) == ["the files of its environment changed"]


def test_a_step_of_an_unknown_environment_is_looked_at_once(tree: Tree) -> None:
    assert tree.run(None)
    assert tree.open({"degrade": "abc"}) == ["the files of its environment changed"]
    assert not tree.run("abc")
    assert tree.open({"degrade": "abc"}) == []


def test_a_trace_from_before_environments_can_be_read(tree: Tree) -> None:
    assert tree.run(None)
    path = tree.root / f"{STEP.path}.trace"
    raw = json.loads(path.read_text(encoding="utf-8"))
    del raw["identity"]
    path.write_text(json.dumps(raw), encoding="utf-8")
    assert tree.open() == []


def test_a_job_goes_by_the_versions_that_it_sees(tree: Tree) -> None:
    assert tree.run("abc")
    assert not tree.run("other")
    assert tree.open({"degrade": "other"}) == []
    tree.older()
    assert tree.run("other")


def test_a_step_that_is_kept_outside_still_knows_its_environment(tree: Tree) -> None:
    assert tree.run("abc")
    assert not tree.run(None)
    assert tree.open({"degrade": "abc"}) == []
    assert VARIABLE not in os.environ
