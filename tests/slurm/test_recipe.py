"""The whole recipe through ``--profile slurm``: what runs where, and that it is the same map."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.world import COMPUTED, Tree
from tests.slurm.cluster import GPU_NODE
from tests.slurm.driver import BLOCKS, RUN, Driver, far, log, same, steps

CHAIN = ("reproject", "degrade", "infer", "mosaic")
WHOLE = ("scan/world", "tile/manifest", "publish/residual.provenance", "evaluate/manifest")
pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_the_whole_recipe(reference: Tree, tmp_path: Path) -> None:
    """Nothing is there but the sources and the frozen model, which a job on the GPU node keeps."""
    tree = Tree(tmp_path, reference.project)
    for part in ("data", "config.yaml", f"results/{RUN}/train/residual/0"):
        given, kept = reference.folder / part, tree.folder / part
        (shutil.copytree if given.is_dir() else shutil.copyfile)(given, kept)
    for name in ("manifest.json", "manifest.trace", "loss.png"):
        (tree.results / RUN / "train" / "residual" / "0" / name).unlink()
    driver = Driver(tree)
    driver.wait()
    told = log(tree, "train", "residual", "0").read_text(encoding="utf-8")
    same(tree, reference)
    jobs = driver.jobs()
    trained = [job for job in jobs if job.node == GPU_NODE]
    assert [job.comment for job in trained] == ["rule_train_wildcards_four_residual_0"]
    assert "gres/gpu=1" in trained[0].asked
    assert re.match(
        rf"on {GPU_NODE}, SLURM job {trained[0].id}, 1 cores, 2900 MB, 480 min, GPU \d, process",
        told,
    )
    assert re.search(r"^used [\d.]+ s, .* MiB$", told, re.MULTILINE)
    assert not any("gpu" in job.asked for job in jobs if job not in trained)
    assert {job.state for job in jobs} == {"COMPLETED"}
    # The chain of a block is one job.
    chains = Counter(job.comment for job in jobs if "wildcards" not in job.comment)
    assert chains == {
        "rule_field_degrade_reproject": len(BLOCKS),
        "rule_product_infer_mosaic": len(BLOCKS),
    }


def test_an_update_of_one_source_block(tree: Tree) -> None:
    tree.change(far("1_0"), 8, 8)
    shutil.rmtree(tree.results / "logs")
    Driver(tree).wait()
    block = {step.path for stage in CHAIN for step in steps(stage, "1_0")}
    assert {*tree.told(COMPUTED)} == block | {"download/world", *(f"{RUN}/{s}" for s in WHOLE)}
