"""Work on the parts of a whole map, in this process or on dask's workers, here or on SLURM.

Parts come back in the order in which they were asked for, whoever made them, so that what is summed
of them is the same to the last bit.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from nunatak.errors import ConfigError
from nunatak.products import Results
from nunatak.recipe import Recipe
from nunatak.tracking.ledger import Ledger
from nunatak.tracking.tracker import Tracker

Item = TypeVar("Item")
Part = TypeVar("Part")
Cluster = Literal["local", "slurm"]
# A recipe as JSON, the results root and, if reads are noted, what a ledger is made of.
_Tree = tuple[str, Path, tuple[Path, bool] | None]

# Parts that wait for a worker, so that none is idle while the last part is summed.
_AHEAD = 2
_PATIENCE = 1800
# Of a worker. By itself dask adds a setting of malloc that has every array paged in anew, which
# takes two workers longer than one process.
_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Crew:
    """Who does the work of a job on the whole map.

    Parameters
    ----------
    client
        dask's client; None lets this process do it.
    workers
        How many processes there are behind the client.
    """

    def __init__(self, client: Any = None, workers: int = 1) -> None:
        self.client, self.workers = client, workers

    def each(
        self, work: Callable[[Results, Item], Part], results: Results, items: Iterable[Item]
    ) -> Iterator[Part]:
        """What a function makes of each item, in the order of the items.

        Parameters
        ----------
        work
            A function of a module, without a state of its own.
        results
            The results tree. What workers read in it is noted in its ledger, as if read here.
        items
            Blocks, say; they are taken a few ahead of the parts.
        """
        if self.client is None:
            yield from (work(results, item) for item in items)
            return
        ledger = results.ledger
        noting = None if ledger is None else (ledger.tracker.data, ledger.recording)
        tree = results.recipe.model_dump_json(), results.root, noting
        waiting = deque[Any]()
        for item in items:
            waiting.append(self.client.submit(_remote, work, tree, item, pure=False))
            if len(waiting) > _AHEAD * self.workers:
                yield _received(results, waiting.popleft())
        while waiting:
            yield _received(results, waiting.popleft())


ALONE = Crew()


def _remote(work: Callable[[Results, Item], Part], tree: _Tree, item: Item) -> tuple[Part, Any]:
    results = _results(*tree)
    part = work(results, item)
    return part, results.ledger.hand_over() if results.ledger else {}


@lru_cache(maxsize=1)
def _results(recipe: str, root: Path, noting: tuple[Path, bool] | None) -> Results:
    """One tree a worker, which compares each file with its trace once."""
    ledger = Ledger(Tracker(root, noting[0]), recording=noting[1]) if noting else None
    return Results(Recipe.model_validate_json(recipe), root, ledger)


def _received(results: Results, future: Any) -> Any:
    part, reads = future.result()
    if results.ledger is not None:
        results.ledger.take_over(reads)
    return part


@contextmanager
def crew(workers: int = 1, cluster: Cluster = "local", memory: int = 2000) -> Iterator[Crew]:
    """Start workers, and stop them at the end.

    Parameters
    ----------
    workers
        How many processes; a single local one is this process itself, without dask.
    cluster
        Beside this process, or jobs of SLURM, in the partition and on the account of this job
        unless dask's own configuration (``jobqueue.slurm``) names others.
    memory
        Megabytes that a worker's job asks SLURM for.

    Raises
    ------
    ConfigError
        If SLURM starts no worker in half an hour.
    """
    if cluster == "local" and workers == 1:
        yield ALONE
        return
    from distributed import Client

    with tempfile.TemporaryDirectory(prefix="nunatak-") as folder:
        started = _slurm(workers, memory, folder) if cluster == "slurm" else _local(workers, folder)
        with started as behind, Client(behind) as client:
            _await(client, cluster)
            yield Crew(client, workers)


def _await(client: Any, cluster: Cluster) -> None:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError as error:
        raise ConfigError(
            f"{cluster}: no worker of dask began in {_PATIENCE // 60} minutes",
            "a partition that starts them meanwhile",
            "look at squeue; ask for fewer, or leave out the resource dask=slurm",
        ) from error


def _local(workers: int, folder: str) -> Any:
    import dask.config
    from distributed import LocalCluster

    with dask.config.set({"distributed.nanny.pre-spawn-environ": _ENVIRONMENT}):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            local_directory=folder,
        )


def _slurm(workers: int, memory: int, folder: str) -> Any:
    from dask_jobqueue import SLURMCluster

    given = {"queue": "SLURM_JOB_PARTITION", "account": "SLURM_JOB_ACCOUNT"}
    named = {option: os.environ[name] for option, name in given.items() if name in os.environ}
    # sbatch would take what this job was given for what the workers' jobs ask for.
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
        del os.environ[name]
    cluster = SLURMCluster(
        cores=1,
        processes=1,
        memory=f"{memory}MB",
        nanny=False,
        python=sys.executable,
        local_directory=folder,
        job_script_prologue=[f"export PYTHONPATH='{Path(__file__).parents[1]}' OMP_NUM_THREADS=1"],
        scheduler_options={"dashboard_address": None},
        silence_logs=logging.CRITICAL,
        **named,
    )
    cluster.scale(workers)
    return cluster
