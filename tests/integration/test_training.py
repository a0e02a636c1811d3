"""When a model is trained again, and when it is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nunatak.config import merge
from tests.integration.world import THREE, Tree

pytestmark = pytest.mark.slow

MANIFEST = "three/train/residual/0/manifest.json"
RECORD = "three/publish/residual.provenance.json"


def configure(tree: Tree, **changed: Any) -> None:
    tree.configure({"name": "three", "set": merge(THREE, changed)})


def freezing(*digests: str) -> dict[str, Any]:
    return {"methods": {"residual": {"train": {"freeze": list(digests)}}}}


def made(tree: Tree) -> None:
    run = tree.run()
    assert run.returncode == 0, run.stdout


def model(tree: Tree) -> dict[str, Any]:
    """The model as the record of the product tells of it."""
    record = json.loads((tree.results / RECORD).read_text(encoding="utf-8"))
    (found,) = record["models"]
    return dict(found)


def test_a_change_where_nothing_is_trained_or_validated(trained: Tree, tmp_path: Path) -> None:
    """In the middle of a test square: the tiles are looked at again, the model stays."""
    tree = trained.copy(tmp_path / "three")
    tree.change("2_4", 8, 8, by=100)
    made(tree)
    computed = tree.computed()
    assert computed["tile"] == computed["reproject"] == computed["evaluate"] == 1
    assert computed["train"] == 0
    assert computed["infer"] > 0
    assert (tree.results / MANIFEST).read_bytes() == (trained.results / MANIFEST).read_bytes()


@pytest.mark.parametrize("block", ["2_0", "2_1"], ids=["training", "validation"])
def test_one_target_follows_its_source(trained: Tree, tmp_path: Path, block: str) -> None:
    """A cell of a tile changes, and the model alone is asked for."""
    tree = trained.copy(tmp_path / "three")
    tree.change(block, 8, 8, by=100)
    run = tree.run(f"results/{MANIFEST}")
    assert run.returncode == 0, run.stdout
    assert tree.computed() == {
        **{"download": 1, "scan": 1, "reproject": 1, "degrade": 1},
        **{"tile": 1, "train": 1},
    }


@pytest.mark.parametrize(
    "change",
    [{"tiles": {"min_valid": 0.4}}, {"split": {"by": {"args": {"seed": 5}}}}],
    ids=["min_valid", "seed"],
)
def test_a_value_that_leaves_the_tiles_as_they_are(
    trained: Tree, tmp_path: Path, change: dict[str, Any]
) -> None:
    tree = trained.copy(tmp_path / "three")
    configure(tree, **change)
    made(tree)
    computed = tree.computed()
    assert computed["tile"] == 1
    assert computed["train"] == computed["infer"] == computed["mosaic"] == 0


def test_code_of_tile_that_leaves_the_tiles_as_they_are(trained: Tree, tmp_path: Path) -> None:
    project = trained.project.edited(tmp_path / "project", "stages/tile", after="_UNUSED = 1\n")
    tree = trained.copy(tmp_path / "three", project)
    made(tree)
    assert tree.computed() == {"tile": 1}


def test_a_frozen_model(trained: Tree, tmp_path: Path) -> None:
    """It is kept while its data change, the record says so, and the thaw trains anew."""
    tree = trained.copy(tmp_path / "three")
    digest = model(tree)["model"]
    configure(tree, **freezing(digest[:16]))
    made(tree)
    assert model(tree)["model"] == digest
    assert model(tree)["frozen"] is True
    assert model(tree)["older_than_its_data"] is False
    tree.change("2_0", 8, 8, by=100)
    made(tree)
    assert tree.computed()["train"] == 0
    assert tree.computed()["infer"] > 0
    assert model(tree)["model"] == digest
    assert model(tree)["older_than_its_data"] is True
    configure(tree)
    made(tree)
    assert tree.computed()["train"] == 1
    assert model(tree)["model"] != digest
    assert "frozen" not in model(tree)


def test_another_model_than_the_frozen_one_is_refused(trained: Tree, tmp_path: Path) -> None:
    tree = trained.copy(tmp_path / "three")
    configure(tree, **freezing("0123456789abcdef"))
    run = tree.run()
    assert run.returncode != 0
    assert "methods.residual.train.freeze is 0123456789abcdef" in run.stdout
    assert "Traceback" not in run.stdout
    best = tree.results / "three" / "train" / "residual" / "0" / "best.pt"
    kept = trained.results / best.relative_to(tree.results)
    assert best.read_bytes() == kept.read_bytes()
