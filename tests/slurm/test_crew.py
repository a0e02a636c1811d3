"""Work on the whole map that is shared among jobs which dask starts on the cluster."""

from __future__ import annotations

import pytest

from nunatak.tracking.steps import Step
from tests.integration.world import Tree
from tests.slurm.cluster import accounts
from tests.slurm.driver import RUN, Driver, log, profiled, same

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SHARED = ("tile", "evaluate")


def test_workers_on_the_cluster_make_the_same(tree: Tree, reference: Tree) -> None:
    for stage in SHARED:
        tree.forget(Step(stage, RUN, {}))
        log(tree, stage).unlink(missing_ok=True)
    asked = {"dask": "slurm", "workers": 2}
    name = profiled("shared", {"set-resources": dict.fromkeys(SHARED, asked)})
    known = {*workers()}
    Driver(tree, profile=name).wait()
    for stage in SHARED:
        assert f"computed {RUN}/{stage}/manifest" in log(tree, stage).read_text(encoding="utf-8")
    same(tree, reference)
    assert len({*workers()} - known) == 2 * len(SHARED)


def workers() -> list[str]:
    """Jobs of workers that the cluster has known, as long as tests last, by number."""
    return [job for (job,) in accounts("--name", "dask-worker", fields="jobid")]
