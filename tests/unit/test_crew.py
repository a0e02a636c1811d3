"""Workers that share a map: nothing shows who did what."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.small import recipe
from typer.testing import CliRunner

from nunatak import dag
from nunatak.cli import app
from nunatak.config import save
from nunatak.crew import Crew, crew
from nunatak.errors import StoreError
from nunatak.metrics.accumulate import Histogram
from nunatak.products import Results
from nunatak.tracking.ledger import Ledger
from nunatak.tracking.tracker import Tracker


def made(root: Path, workers: int) -> Path:
    """A tree whose shared stages so many workers made, in processes of their own as in a rule."""
    saved = save(recipe(), root)
    for step in dag.steps(recipe()):
        names = [word for name, value in step.names.items() for word in (f"--{name}", value)]
        words = [step.stage, "--recipe", saved, "--results", root, *names]
        if step.stage in ("download", "scan", "reproject", "evaluate"):
            words += ["--data", root]
        if step.stage in ("tile", "evaluate"):
            command = [sys.executable, "-m", "nunatak", *map(str, [*words, "--workers", workers])]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert "Traceback" not in done.stderr
        else:
            result = CliRunner().invoke(app, [str(word) for word in words])
            assert result.exit_code == 0, result.exception
    return root


def contents(root: Path) -> dict[str, bytes]:
    """All files of the recipe, of which none tells how long it took."""
    files = (p for p in (root / "small").rglob("*") if p.is_file())
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("alone") / "results", 1)


def test_workers_make_what_one_process_makes(alone: Path, tmp_path: Path) -> None:
    several = contents(made(tmp_path / "results", 2))
    assert {"small/tile/manifest.trace", "small/evaluate/manifest.trace"} <= several.keys()
    assert several == contents(alone)


def first(results: Results, index: int) -> float:
    block = list(results.recipe.layout.blocks())[index]
    return float(np.nanmean(results.role("target").read_first(block.core)))


def tree(root: Path) -> Results:
    return Results(recipe(), root, Ledger(Tracker(root)))


def test_parts_come_in_order_and_what_workers_read_is_noted(alone: Path) -> None:
    here, there = tree(alone), tree(alone)
    blocks = len(list(here.recipe.layout.blocks()))
    items = [n % blocks for n in range(3 * blocks)]
    with crew(2) as hands:
        found = list(hands.each(first, there, iter(items)))
    assert found == list(Crew().each(first, here, items))
    assert here.ledger
    assert there.ledger
    assert here.ledger.reads == there.ledger.reads


def test_what_is_damaged_is_told_as_in_one_process(alone: Path, tmp_path: Path) -> None:
    root = tmp_path / "results"
    shutil.copytree(alone, root)
    shard = root / "small/reproject/target.zarr/bed/c/0/1"
    shard.write_bytes(shard.read_bytes()[:-1])
    told = []
    for workers in (1, 2):
        with crew(workers) as hands, pytest.raises(StoreError) as raised:
            list(hands.each(first, tree(root), [0, 1, 2]))
        told.append((raised.value.what, raised.value.expected, raised.value.do))
    assert told[0] == told[1]
    assert "small/reproject/target.zarr/bed/c/0/1" in told[0][0]


def test_a_histogram_travels_whole() -> None:
    histogram = Histogram()
    histogram.add(np.array([-1e12, -3.5, 0.0, 0.0, 7.25]))
    again = pickle.loads(pickle.dumps(histogram))
    assert (again.counts == histogram.counts).all()
    again.add(np.array([1.0]))
    assert again.counts.sum() == 6
