"""The finished tree of 6 x 6 blocks, made once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.preloaded import python
from tests.integration.world import SIX, Project, Tree, write_world


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


@pytest.fixture(scope="session")
def finished(project: Project, world: Path, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A tree in which the whole workflow has run once; leave it as it is."""
    tree = Tree(tmp_path_factory.mktemp("six"), project)
    tree.world.parent.mkdir()
    tree.world.write_bytes(world.read_bytes())
    tree.configure({"name": "six", "set": SIX})
    run = tree.run()
    assert run.returncode == 0, run.stdout
    return tree
