"""The cluster, up while tests need it, and what a run on this machine alone makes."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.integration.preloaded import python
from tests.integration.world import Project, Tree, write_world
from tests.slurm import cluster as daemons
from tests.slurm.driver import FOUR, RUN, train

_WAS_UP = pytest.StashKey[bool]()


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[_WAS_UP] = daemons.running("slurmctld") is not None


def pytest_sessionfinish(session: pytest.Session) -> None:
    worker = hasattr(session.config, "workerinput")
    if not worker and not session.config.stash[_WAS_UP] and daemons.running("slurmctld"):
        daemons.down()


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers of the session share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Make a folder, unless another worker has."""
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def cluster(common: Path) -> None:
    """Three nodes that are up."""
    if reason := daemons.missing():
        pytest.skip(reason)
    with FileLock(common / "cluster.lock"):
        daemons.up()


@pytest.fixture(scope="session")
def project(common: Path) -> Project:
    """A copy of the project, whose jobs call a plain Python."""
    plain = Path(sys.executable).parent
    folder = once(common / "project", lambda folder: Project(folder, plain).make())
    return Project(folder, plain)


@pytest.fixture(scope="session", autouse=True)
def profile(
    cluster: None, project: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The profile `slurm`, as the command writes it for this cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("configuration")))
        command = [sys.executable, "-m", "nunatak", "profile", "slurm"]
        command += ["--partition", "main", "--account", "lab"]
        command += ["--gpu-partition", "gpu"]
        subprocess.run(command, cwd=project.folder, stdin=subprocess.DEVNULL, check=True)
        yield


@pytest.fixture(scope="session")
def reference(common: Path, project: Project) -> Tree:
    """A tree that was made on this machine alone, its model frozen; leave it as it is."""

    def make(folder: Path) -> None:
        with python(folder / "python") as preloaded:
            tree = Tree(folder / "tree", Project(project.folder, preloaded))
            tree.world.parent.mkdir(parents=True)
            write_world(tree.world)
            tree.configure({"name": RUN, "set": FOUR})
            first = tree.run()
            assert first.returncode == 0, first.stdout
            manifest = tree.results / RUN / "train" / "residual" / "0" / "manifest.json"
            model = json.loads(manifest.read_text(encoding="utf-8"))["model"]
            tree.configure({"name": RUN, "set": train(freeze=[model[:16]])})
            second = tree.run()
            assert second.returncode == 0, second.stdout

    return Tree(once(common / "reference", make) / "tree", project)


@pytest.fixture(autouse=True)
def nodes(request: pytest.FixtureRequest, common: Path) -> Iterator[None]:
    """Share the nodes with tests of other workers, unless a test wants to be `alone`."""
    with (common / "nodes.lock").open("w") as file:
        wanted = fcntl.LOCK_EX if "alone" in request.fixturenames else fcntl.LOCK_SH
        fcntl.flock(file, wanted)
        yield


@pytest.fixture
def alone(nodes: None) -> Iterator[None]:
    """All nodes for a test, which may harm them."""
    yield
    daemons.up()


@pytest.fixture
def tree(reference: Tree, tmp_path: Path) -> Tree:
    """A copy of the reference."""
    return reference.copy(tmp_path / "tree")
