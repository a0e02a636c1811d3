"""A channel of what is installed here, the environments that Snakemake makes of it, and a run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from nunatak.config import merge
from tests.conda.channel import build
from tests.integration.world import CELLS, ROOT, THREE, Project, Tree, write_world

RUN = "one"
SAY = '\n\n_say(f"the job\'s Python is in {sys.prefix}")\n'
ONE: dict[str, Any] = merge(THREE, {"title": "One block", "grid": {"block": CELLS}})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.conda)


@pytest.fixture(scope="session")
def conda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for conda and the channel that it installs from, for processes of the tests."""
    folder = tmp_path_factory.mktemp("conda")
    build(folder / "channel", (ROOT / "envs").glob("*.yaml"))
    os.environ["CONDA_CHANNEL"] = str(folder / "channel")
    os.environ["CONDA_PKGS_DIRS"] = str(folder / "cache")
    return folder


class Separate(Tree):
    """A tree whose jobs run in environments of their own."""

    @property
    def envs(self) -> Path:
        """Where Snakemake makes the environments."""
        return self.folder.parent / "environments"

    def command(self, *options: str, cores: int = 2) -> tuple[list[str], dict[str, str]]:
        """The command line and the environment of a run of Snakemake."""
        return super().command("--sdm", "conda", "--conda-prefix", str(self.envs), *options)

    def environment(self, family: str) -> Path:
        """The environment that was made of an environment file."""
        text = (self.project.folder / "envs" / f"{family}.yaml").read_bytes()
        (found,) = (p for p in self.envs.glob("*.yaml") if p.read_bytes() == text)
        return found.with_suffix("")


def made(folder: Path, project: Project) -> Tree:
    """A tree of one block with its world and its configuration."""
    tree = Tree(folder, project)
    tree.world.parent.mkdir(parents=True)
    write_world(tree.world)
    tree.configure({"name": RUN, "set": ONE})
    return tree


@pytest.fixture(scope="session")
def separate(conda: Path) -> Separate:
    """A tree whose environments are made, and in which nothing has run; jobs log their Python."""
    project = Project(conda / "unchanged", ROOT / "tests" / "conda" / "bin").make()
    project = project.edited(conda / "project", "jobs", after=SAY)
    tree = Separate(made(conda / "tree", project).folder, project)
    run = tree.run("--conda-create-envs-only")
    assert run.returncode == 0, run.stdout
    return tree


@pytest.fixture(scope="session")
def finished(separate: Separate) -> Separate:
    """The same tree, in which the whole workflow has run; leave it as it is."""
    run = separate.run()
    assert run.returncode == 0, run.stdout
    return separate


@pytest.fixture
def copy(finished: Separate, tmp_path: Path) -> Separate:
    """A copy of the finished tree and of its project, to change; it shares the environments."""
    (tmp_path / "environments").symlink_to(finished.envs)
    project = Project(tmp_path / "project", finished.project.python)
    shutil.copytree(finished.project.folder, project.folder)
    return Separate(finished.copy(tmp_path / "tree").folder, project)


@pytest.fixture(scope="session")
def plain(finished: Separate, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The same run in the environment of the tests, its jobs with as many threads."""
    folder = tmp_path_factory.mktemp("plain") / "tree"
    tree = made(folder, Project(finished.project.folder, Path(sys.executable).parent))
    run = tree.run()
    assert run.returncode == 0, run.stdout
    return tree
