"""A finished results tree of jobs that read, note and commit as the real ones, without computing.

It is of one run, one role and one method; manifests and traces are those of blocks of 2048.
"""

from __future__ import annotations

import os
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nunatak import dag, jobs, settle
from nunatak.config import load, save
from nunatak.content import Manifest
from nunatak.grid import Block
from nunatak.products import Results
from nunatak.provenance import digest_json
from nunatak.recipe import Recipe
from nunatak.sources.watched import GEOMETRY
from nunatak.stages.scan import parts
from nunatak.store import Product
from nunatak.tracking.steps import Step

ROOT = Path(__file__).parent.parent
BLOCK, RESOLUTION = 2048, 250
SCAN = "big/scan/synthetic"


def configured(folder: Path, tiling: tuple[int, int]) -> Recipe:
    """Write a configuration of one role and one method, cut into rows and columns of blocks."""
    rows, cols = (BLOCK * RESOLUTION * count for count in tiling)
    gone = dict.fromkeys(("surface", "velocity", "accumulation"))
    changed: dict[str, Any] = {
        "grid": {"bounds": [0, 0, cols, rows], "block": BLOCK},
        "roles": gone,
        "conditions": [],
        "tiles": {"normalise": gone},
        "picks": None,
        "methods": dict.fromkeys(("bilinear", "bicubic_conserving", "residual", "deepbedmap")),
        "products": ["bicubic"],
    }
    config = {"runs": [{"recipe": "bed", "name": "big", "set": changed}]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "config").symlink_to(ROOT / "config")
    return load(config, ROOT / "config")[1]["big"]


@dataclass(frozen=True)
class Pretended:
    """The jobs of a run without their computing.

    Parameters
    ----------
    recipe, root
        The recipe of the run, and the results root.
    shard
        What every file holds that a job leaves.
    """

    recipe: Recipe
    root: Path
    shard: bytes

    def finish(self) -> list[Step]:
        """Do every step of the run, and return them."""
        saved, steps = save(self.recipe, self.root), settle.steps([self.recipe])
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            for step in steps:
                work = self._block if "block" in step.names else self._whole
                jobs.run(step, saved, self.root, partial(work, step))
        return steps

    def _block(self, step: Step, tree: Results, key: str) -> dict[str, Any]:
        block = tree.recipe.layout.named(step.names["block"])
        made = self._read(step.stage, tree, block)
        self._leave(shard := made.path / "bed" / "c" / str(block.row) / str(block.col))
        tree.wrote(shard)
        field = np.zeros(block.core.shape, np.float32)
        return Manifest.of(made.layout.product, block.name, field.shape, {"bed": field}).to_dict()

    def _read(self, stage: str, tree: Results, block: Block) -> Product:
        """Note what a job of a stage reads, and return the product that it writes."""
        target, member = tree.role("target"), tree.member("bicubic", 0)
        if stage == "reproject":
            assert tree.ledger is not None
            tree.note(SCAN, GEOMETRY)
            tree.ledger.note(SCAN, "bed", (block.row, block.row + 2, block.col, block.col + 2))
            return target
        if stage == "degrade":
            target.check("bed", block.core)
            return tree.coarse
        if stage == "infer":
            tree.note("big/tile/manifest", "statistics.json")
            tree.coarse.check("bed", block.core.pad(4))
            return member
        member.check("bed", block.core)
        return tree.mosaic("bicubic")

    def _whole(self, step: Step, tree: Results, key: str) -> dict[str, Any]:
        """Read all of all inputs, and leave all declared files."""
        assert tree.ledger is not None
        for path in dag.inputs(tree.recipe, step.stage, **step.names):
            for name in (tree.ledger.tracker.manifest(path) or {})["variables"]:
                tree.note(path, name)
        for path in declared(tree.recipe, step)[1:]:
            self._leave(tree.root / path)
            tree.keep(tree.root / path)
        digest = {"digest": digest_json(step.path)}
        if step.stage == "scan":
            cut, pieces = parts(64, 1), "0123456789abcdef" * 64 * 64
            held = {GEOMETRY: digest, "bed": {**digest, "pieces": pieces}}
            return {"rows": cut, "cols": cut, "variables": held}
        return {"variables": dict.fromkeys(("files", "statistics.json", "training"), digest)}

    def _leave(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.shard)


def declared(recipe: Recipe, step: Step) -> list[str]:
    """The files of a step that Snakemake knows of, its manifest first."""
    manifest = f"{step.path}.json"
    if "block" in step.names or step.stage in ("download", "scan"):
        return [manifest]
    beside = f"{recipe.name}/{step.stage}/"
    return [manifest, *(p for p in dag.outputs(recipe) if p.startswith(beside) and p != manifest)]
