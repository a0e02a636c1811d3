"""A workflow that is killed again and again ends with what an undisturbed one gives."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.integration.world import COMPUTED, SIX, Tree

pytestmark = pytest.mark.slow

KILLS = 20
_BEGUN = re.compile(r"computing (\S+):")


def begun(tree: Tree) -> bool:
    return any(_BEGUN.search(p.read_text()) for p in tree.results.glob("logs/**/*.log"))


def killed(tree: Tree, seconds: float) -> list[str]:
    """Run the workflow and kill it with all its jobs, some time after the first began to compute.

    Returns
    -------
    list of str
        The steps that it broke off.
    """
    shutil.rmtree(tree.results / "logs", ignore_errors=True)
    with tree.start() as run:
        while run.poll() is None and not begun(tree):
            time.sleep(0.02)
        time.sleep(seconds)
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    return sorted({*tree.told(_BEGUN)} - {*tree.told(COMPUTED)})


def test_random_kills(finished: Tree, tmp_path: Path) -> None:
    tree, dice = Tree(tmp_path, finished.project), random.Random(0)
    shutil.copytree(finished.world.parent, tree.world.parent)
    tree.configure({"name": "six", "set": SIX})
    broken = []
    for _ in range(KILLS):
        broken += killed(tree, dice.uniform(0, 1.5))
        if dice.random() < 0.5:
            shutil.rmtree(tree.folder / ".snakemake")
    assert len(broken) >= KILLS // 2, "the kills hit too few jobs to show anything"
    run = tree.run("--nolock")
    assert run.returncode == 0, run.stdout
    assert tree.manifests() == finished.manifests()
    expected, found = finished.arrays(), tree.arrays()
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, name)
    verified = tree.nunatak("verify", "--results", "results")
    assert verified.returncode == 0, verified.stdout
