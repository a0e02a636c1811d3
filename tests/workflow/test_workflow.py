"""Snakemake itself, on a synthetic world of a few kilometres: what runs, and what runs again."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import rasterio
import yaml

from nunatak import dag
from nunatak.albums import load
from nunatak.commands.profile import Site, write
from nunatak.config import merge

ROOT = Path(__file__).resolve().parents[2]
TINY: dict[str, Any] = {
    "grid": {"bounds": [0, 0, 96000, 64000], "block": 192},
    "roles": {"velocity": None, "accumulation": None},
    "conditions": ["surface"],
    "split": {"by": {"args": {"size": 16000}}, "buffer": 6000},
    "tiles": {
        "size": 4,
        "stride": 2,
        "context": 2,
        "normalise": {"velocity": None, "accumulation": None},
    },
    "evaluate": {"spectrum": 32},
    "methods": {
        "bilinear": None,
        "bicubic_conserving": None,
        "residual": {
            "model": {"args": {"width": 4, "depth": 1, "head": 4}},
            "train": {"samples": 32, "batch": 4, "warmup": 0, "validate_every": 16},
        },
    },
    "products": ["bicubic", "residual"],
    "infer": {"window": 48},
}


def configuration(**change: Any) -> dict[str, Any]:
    """One run called tiny, with some values of its recipe changed."""
    run = {"recipe": "bed", "name": "tiny", "set": {**merge(TINY, change)}}
    return {"data": "data", "results": "results", "runs": [run]}


def snakemake(
    folder: Path, config: dict[str, Any], *options: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake on the project's Snakefile, in another folder."""
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    given = ["--directory", str(folder), "--configfile", str(folder / "config.yaml")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", *options, *given],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def jobs(output: str) -> dict[str, int]:
    """How many jobs of each rule a dry run would run."""
    _, found, table = output.partition("Job stats:")
    if not found:
        assert "Nothing to be done" in output, output
        return {}
    counts = dict(re.findall(r"^(\w+) +(\d+)$", table.partition("\ntotal")[0], re.MULTILINE))
    return {rule: int(count) for rule, count in counts.items() if rule != "all"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole workflow has run once."""
    folder = tmp_path_factory.mktemp("workflow")
    run = snakemake(folder, configuration())
    assert run.returncode == 0, run.stdout
    return folder


@pytest.mark.slow
def test_it_runs_to_the_end_and_makes_everything(finished: Path) -> None:
    recipe = load(configuration(), ROOT / "config")[1]["tiny"]
    for path in dag.outputs(recipe):
        assert (finished / "results" / path).stat().st_size > 0, path
    table = pd.read_csv(finished / "results" / "tiny" / "evaluate" / "metrics.csv")
    assert set(table["method"]) == {"bicubic", "residual"}
    assert (table["rmse"] > 0).all()
    with rasterio.open(finished / "results" / "tiny" / "publish" / "residual.tif") as file:
        assert file.shape == recipe.layout.fine.shape
        assert file.transform == recipe.layout.fine.affine


@pytest.mark.slow
def test_a_second_run_has_nothing_to_do(finished: Path) -> None:
    run = snakemake(finished, configuration())
    assert run.returncode == 0
    assert jobs(run.stdout) == {}


LATE = {"publish": 1, "evaluate": 1}
CHANGES = [
    ({"evaluate": {"roughness": 7}}, {"evaluate": 1}),
    ({"mosaic": {"nodata": -32767}}, {"publish": 2}),
    ({"methods": {"residual": {"constraints": [{"op": "block_mean"}]}}}, {"mosaic": 4, **LATE}),
    (
        {"methods": {"residual": {"train": {"lr": 0.002}}}},
        {"train": 1, "infer": 4, "mosaic": 4, **LATE},
    ),
    (
        {"roles": {"surface": {"resampling": "cubic"}}},
        {
            **{"reproject": 4, "tile": 1, "train": 1},
            **{"infer": 8, "mosaic": 8, "publish": 2, "evaluate": 1},
        },
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "expected"), CHANGES, ids=[str(next(iter(c))) for c, _ in CHANGES]
)
def test_a_changed_value_runs_again_what_reads_it(
    finished: Path, change: dict[str, Any], expected: dict[str, int]
) -> None:
    assert jobs(snakemake(finished, configuration(**change), "-n").stdout) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "command"),
    [
        ({}, "exec python -m nunatak train .* --processes 4 "),
        (
            {"mpi": "srun", "nodes": 2, "tasks": 8, "tasks_per_node": 4, "cpus_per_task": 2},
            "exec srun --nodes=2 --ntasks-per-node=4 --cpus-per-task=2 .* --launcher srun ",
        ),
    ],
)
def test_a_profile_with_several_gpus_trains_on_all(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, Any],
    command: str,
) -> None:
    monkeypatch.chdir(ROOT)
    path = write(Site("main", "lab", "gpu", "gpu:a100:4"), tmp_path)
    profile = yaml.safe_load(path.read_text(encoding="utf-8"))
    profile["set-resources"]["train"] |= asked
    path.write_text(yaml.safe_dump(profile), encoding="utf-8")
    longer = configuration(methods={"residual": {"train": {"lr": 0.002}}})
    told = snakemake(finished, longer, "-n", "-p", "--profile", str(tmp_path)).stdout
    assert re.search(rf"'\d+ cores, 10400 MB, 480 min' {command}", told), told


@pytest.mark.slow
def test_another_run_on_the_same_sources_leaves_this_one_alone(finished: Path) -> None:
    config = configuration()
    config["runs"].insert(0, {**config["runs"][0], "name": "other"})
    run = snakemake(finished, config, "results/tiny/evaluate/metrics.csv", "-n")
    assert jobs(run.stdout) == {}


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["degrade/coarse/0_1.json", "publish/residual.tif"])
def test_what_a_trace_can_give_back_is_not_made_again(finished: Path, lost: str) -> None:
    path = finished / "results" / "tiny" / lost
    before = path.read_bytes()
    path.unlink()
    assert jobs(snakemake(finished, configuration(), "-n").stdout) == {}
    assert path.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "lost", ["degrade/coarse.zarr/bed/c/0/1", "train/residual/0/best.pt", "tile/tiles.parquet"]
)
def test_what_is_lost_is_made_again(finished: Path, lost: str) -> None:
    path = finished / "results" / "tiny" / lost
    kept = path.rename(path.with_name("kept"))
    found = jobs(snakemake(finished, configuration(), "-n").stdout)
    kept.rename(path)
    assert found[lost.split("/")[0]] == 1
    assert jobs(snakemake(finished, configuration(), "-n").stdout) == {}


@pytest.mark.slow
def test_the_report_holds_tables_and_figures_and_needs_no_network(finished: Path) -> None:
    nowhere = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https")}
    path = finished / "report.zip"
    run = snakemake(finished, configuration(), "--report", str(path), environment=nowhere)
    assert run.returncode == 0, run.stdout
    with zipfile.ZipFile(path) as archive:
        names = {Path(name).name for name in archive.namelist()}
        page = archive.read("report/report.html").decode()
    shown = {
        *("metrics.csv", "metrics.md", "panels.png", "map.png", "charts.png", "loss.png"),
        *("overlap.json", "split.png", "bicubic.provenance.json", "residual.provenance.json"),
    }
    assert shown <= names
    assert not re.findall(r"""(?:src|href)=["'](https?:[^"']*)""", page)


def test_a_wrong_configuration_stops_before_any_job(tmp_path: Path) -> None:
    run = snakemake(tmp_path, configuration(grid={"scale": 5}))
    assert run.returncode != 0
    assert "the configuration is not right, nothing was run:" in run.stdout
    assert "scale 5 does not divide the grid of 256 x 384 fine cells" in run.stdout
    assert "Traceback" not in run.stdout
    assert not (tmp_path / "results").exists()


def test_the_message_of_a_failing_job_reaches_the_user(tmp_path: Path) -> None:
    false = (
        tmp_path / "data" / "bed" / "byrd_500m" / "byrd_bedmap_points_assigned_to_pixels_mean.csv"
    )
    false.parent.mkdir(parents=True)
    false.write_bytes(b"x" * 2895952)
    picks = {"source": "byrd_picks", "variable": "thickness", "below": "surface"}
    run = snakemake(tmp_path, configuration(picks=picks), "results/download/byrd_picks.json")
    assert run.returncode != 0
    assert hashlib.sha256(false.read_bytes()).hexdigest() in run.stdout
    assert re.search(r"error: .*\n +expected: .*97ad9b5accce8afb4d4f33f6b400d63dcb0e0", run.stdout)
    assert "Traceback" not in run.stdout
    assert not (tmp_path / "results" / "download" / "byrd_picks.json").exists()
