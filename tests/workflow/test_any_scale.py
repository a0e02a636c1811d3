"""Maps at other scales through Snakemake: made when asked for by name, again if it must be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rasterio
from tests.workflow.test_workflow import configuration, jobs, snakemake

MAP = "results/tiny/rescale/liif/6.5.tif"
METHOD = {
    "model": {"op": "liif", "args": {"width": 4, "blocks": 1, "hidden": [8]}},
    "train": {
        "task": {"op": "queried", "args": {"scales": [2, 6.5], "points": 64}},
        "losses": [{"op": "l1"}],
        **{"samples": 16, "batch": 4, "lr": 0.001, "validate_every": 16},
    },
}
CHANGE: dict[str, Any] = {
    "methods": {"residual": None, "liif": METHOD},
    "products": ["bicubic", "liif"],
    "split": {"buffer": 12000},
}


def configured(**change: Any) -> dict[str, Any]:
    return configuration(**{**CHANGE, **change})


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one map was asked for."""
    folder = tmp_path_factory.mktemp("rescale")
    run = snakemake(folder, configured(), MAP)
    assert run.returncode == 0, run.stdout
    return folder


@pytest.mark.slow
def test_what_is_asked_for_is_made_and_no_more(asked: Path) -> None:
    with rasterio.open(asked / MAP) as file:
        assert file.shape == (416, 624)
        assert tuple(file.bounds) == pytest.approx((0, 0, 96000, 64000), abs=1e-6)
    trace = json.loads((asked / MAP).with_name("6.5.provenance.trace").read_text(encoding="utf-8"))
    read = {path.removeprefix("tiny/").rpartition("/")[0] for path, *_ in trace["reads"]}
    assert {"degrade/coarse", "reproject/surface", "train/liif/0"} <= read
    made = {path.name for path in (asked / "results" / "tiny").iterdir()}
    assert "rescale" in made
    assert not {"infer", "mosaic", "publish"} & made
    assert "rescale" not in jobs(snakemake(asked, configured(), "-n").stdout)


@pytest.mark.slow
def test_asked_for_again_it_is_kept(asked: Path) -> None:
    assert jobs(snakemake(asked, configured(), MAP, "-n").stdout) == {}
    path = asked / MAP
    before = path.read_bytes()
    path.unlink()
    assert jobs(snakemake(asked, configured(), MAP, "-n").stdout) == {}
    assert path.read_bytes() == before, "a trace gives it back"


@pytest.mark.slow
def test_it_is_made_again_when_what_it_follows_from_changed(asked: Path) -> None:
    again = jobs(snakemake(asked, configured(infer={"window": 40}), MAP, "-n").stdout)
    assert again == {"rescale": 1}
    assert not (asked / MAP).exists(), "what is out of date does not stay"
    assert jobs(snakemake(asked, configured(), MAP, "-n").stdout) == {}
    assert (asked / MAP).exists()
    coarse = {"coarse": {"degrade": {"args": {"min_valid": 0.9}}}}
    again = jobs(snakemake(asked, configured(**coarse), MAP, "-n").stdout)
    assert again["rescale"] == 1
    assert again["degrade"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tiny/rescale/gone/3.tif", "no product 'gone'"),
        ("tiny/rescale/liif/03.tif", "MissingRule"),
        ("tiny/rescale/liif/0.tif", "MissingRule"),
    ],
)
def test_what_cannot_be_had_is_refused(asked: Path, name: str, message: str) -> None:
    run = snakemake(asked, configured(), f"results/{name}", "-n")
    assert run.returncode != 0
    assert message in run.stdout


@pytest.mark.slow
def test_a_method_of_one_grid_names_those_that_can(asked: Path) -> None:
    usual = {"model": {"op": "climatology"}}
    change = {"methods": {**CHANGE["methods"], "usual": usual}, "products": ["usual", "liif"]}
    run = snakemake(asked, configured(**change), "results/tiny/rescale/usual/3.tif")
    assert run.returncode != 0
    assert "'usual' gives its own scale alone" in run.stdout
    assert "liif" in run.stdout
    assert "Traceback" not in run.stdout


@pytest.mark.slow
def test_interpolation_is_made_at_any_scale(asked: Path) -> None:
    path = asked / "results/tiny/rescale/bicubic/3.tif"
    run = snakemake(asked, configured(), "results/tiny/rescale/bicubic/3.tif")
    assert run.returncode == 0, run.stdout
    with rasterio.open(path) as file:
        assert file.shape == (192, 288)
