"""A finished results tree of jobs that read, note and commit as the real ones, without computing.

Manifests and traces are those of blocks of 2048.
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
from nunatak.albums import load
from nunatak.config import save
from nunatak.content import Manifest
from nunatak.grid import Block, Window
from nunatak.products import Results
from nunatak.provenance import digest_json
from nunatak.recipe import Recipe
from nunatak.sources.watched import GEOMETRY
from nunatak.stages.scan import parts
from nunatak.store import Product
from nunatak.tracking.steps import Step

ROOT = Path(__file__).parent.parent
BLOCK, RESOLUTION = 2048, 250
BESIDE = {"tile": "statistics.json", "train": "best.pt"}
HALO = 4  # of what infers, in coarse cells


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
        made = getattr(self, f"_{step.stage}")(tree, block, **step.names)
        names = [variable.name for variable in made.layout.variables]
        for name in names:
            self._leave(shard := made.path / name / "c" / str(block.row) / str(block.col))
            tree.wrote(shard)
        fields = dict.fromkeys(names, np.zeros(block.core.shape, np.float32))
        shape = block.core.shape
        return Manifest.of(made.layout.product, block.name, shape, fields).to_dict()

    def _reproject(self, tree: Results, at: Block, *, role: str, block: str) -> Product:
        assert tree.ledger is not None
        scan = f"{tree.recipe.name}/scan/{tree.recipe.roles[role].source}"
        tree.note(scan, GEOMETRY)
        for name in tree.recipe.roles[role].variables:
            tree.ledger.note(scan, name, (at.row, at.row + 2, at.col, at.col + 2))
        return tree.role(role)

    def _degrade(self, tree: Results, at: Block, *, block: str) -> Product:
        _check(tree.role("target"), at.core)
        return tree.coarse

    def _infer(self, tree: Results, at: Block, *, method: str, member: str, block: str) -> Product:
        trained = tree.recipe.methods[method].train is not None
        tree.trained(method, int(member)) if trained else tree.tiled("statistics.json")
        for product in (tree.coarse, *(tree.role(role) for role in tree.recipe.reads(method))):
            _check(product, at.core.pad(HALO))
        return tree.member(method, int(member))

    def _mosaic(self, tree: Results, at: Block, *, method: str, block: str) -> Product:
        for member in range(tree.recipe.members(method)):
            _check(tree.member(method, member), at.core)
        return tree.mosaic(method)

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
            cut, part = parts(64, 1), {**digest, "pieces": "0123456789abcdef" * 64 * 64}
            names = tree.recipe.sources[step.names["source"]].variables
            return {
                "rows": cut,
                "cols": cut,
                "variables": {GEOMETRY: digest, **dict.fromkeys(names, part)},
            }
        if step.stage in BESIDE:
            self._leave(path := (tree.root / step.path).with_name(BESIDE[step.stage]))
            tree.wrote(path)
        seen = [f"training/{name}" for name in ("target", "coarse", *tree.recipe.conditions)]
        names = ("files", "model", "statistics.json", "training", *seen)
        return {"variables": dict.fromkeys(names, digest)}

    def _leave(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.shard)


def _check(product: Product, window: Window) -> None:
    for variable in product.layout.variables:
        product.check(variable.name, window)


def declared(recipe: Recipe, step: Step) -> list[str]:
    """The files of a step that Snakemake knows of, its manifest first."""
    manifest = f"{step.path}.json"
    if "block" in step.names or step.stage in ("download", "scan"):
        return [manifest]
    if "member" in step.names:
        return [manifest, f"{Path(step.path).parent}/loss.png"]
    if "method" in step.names:
        return [manifest, f"{step.path.removesuffix('.provenance')}.tif"]
    beside = f"{recipe.name}/{step.stage}/"
    return [manifest, *(p for p in dag.outputs(recipe) if p.startswith(beside) and p != manifest)]
