"""What Snakemake's main process does with a results tree before it schedules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from filelock import FileLock

from nunatak import dag
from nunatak.config import values
from nunatak.recipe import Recipe
from nunatak.tracking.reconcile import Finding, hold, reconcile
from nunatak.tracking.steps import STAGES, Step


def steps(recipes: Iterable[Recipe]) -> list[Step]:
    """Every step of some recipes, each after those that it reads."""
    found = [step for recipe in recipes for step in dag.steps(recipe)]
    return sorted(found, key=lambda step: STAGES.index(step.stage))


def settle(recipes: Mapping[str, Recipe], root: Path) -> FileLock | None:
    """Make the manifests say what is done, and hold the results tree.

    If another run holds it, nothing is changed.

    Returns
    -------
    FileLock or None
        None if another run holds the tree.
    """
    lock = hold(root)
    look(recipes, root, change=lock is not None)
    return lock


def look(recipes: Mapping[str, Recipe], root: Path, *, change: bool = False) -> list[Finding]:
    """Find out which steps must or may run, and change nothing unless asked to."""
    raw = {name: values(recipe) for name, recipe in recipes.items()}
    return reconcile(raw, steps(recipes.values()), root, change=change)
