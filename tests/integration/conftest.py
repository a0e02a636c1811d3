"""Finished trees, made once a session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.integration.preloaded import python
from tests.integration.world import SIX, THREE, Project, Tree, write_world


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of the project as it is now, whatever is edited while tests run."""
    with python(tmp_path_factory.mktemp("python")) as folder:
        yield Project(tmp_path_factory.mktemp("project"), folder).make()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic world in a file."""
    path = tmp_path_factory.mktemp("world") / "world.tif"
    write_world(path)
    return path


def run(
    factory: pytest.TempPathFactory,
    project: Project,
    world: Path,
    name: str,
    recipe: dict[str, Any],
) -> Tree:
    """A folder in which the whole workflow has run once, whichever of pytest's workers did it."""
    shared = factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    tree = Tree(shared / name, project)
    with FileLock(shared / f"{name}.lock"):
        if tree.folder.exists():
            return tree
        made = Tree(shared / f"{name}.making", project)
        made.world.parent.mkdir(parents=True)
        shutil.copyfile(world, made.world)
        made.configure({"name": name, "set": recipe})
        done = made.run()
        assert done.returncode == 0, done.stdout
        made.folder.rename(tree.folder)
    return tree


@pytest.fixture(scope="session")
def finished(project: Project, world: Path, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The finished tree of 6 x 6 blocks; leave it as it is."""
    return run(tmp_path_factory, project, world, "six", SIX)


@pytest.fixture(scope="session")
def trained(project: Project, world: Path, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A finished tree of 3 x 3 blocks with a trained network; leave it as it is."""
    return run(tmp_path_factory, project, world, "three", THREE)
