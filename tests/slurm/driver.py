"""Runs of the workflow on the cluster: begun, watched, killed, waited for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from nunatak.commands.profile import home
from nunatak.config import merge
from nunatak.tracking.steps import Step
from tests.integration import world
from tests.integration.world import CELLS, SIX, Tree
from tests.slurm.cluster import accounts, call, until

RUN = "four"
BLOCKS = ("0_0", "0_1", "1_0", "1_1")
FOUR: dict[str, Any] = merge(
    SIX,
    {
        "title": "Two by two blocks and a network",
        "grid": {"block": CELLS // 2},
        "products": ["residual"],
        "methods": {
            "bicubic": None,
            "residual": {
                "model": {"op": "residual", "args": {"width": 4, "depth": 1, "head": 4}},
                "constraints": [{"op": "block_mean"}],
                "train": {
                    "task": {"op": "supervised"},
                    "losses": [{"op": "l1", "weight": 1.0}],
                    **{"samples": 32, "batch": 4, "lr": 1e-3, "validate_every": 16},
                },
            },
        },
    },
)
_ID = re.compile(r"SLURM run ID: (\S+)")


class Job(NamedTuple):
    """A job as SLURM's accounting knows it.

    Parameters
    ----------
    id, comment
        Number and the rule or group that the executor names.
    state
        As COMPLETED; of one that was started again, the last.
    node
        Where it ran.
    asked
        The resources that it was given, as SLURM writes them.
    """

    id: str
    comment: str
    state: str
    node: str
    asked: str


def train(**values: Any) -> dict[str, Any]:
    """The recipe with other values of its training."""
    return merge(FOUR, {"methods": {"residual": {"train": values}}})


def steps(stage: str, *blocks: str) -> list[Step]:
    """The steps of a stage, of some blocks."""
    names = {"reproject": {"role": "target"}, "degrade": {}}
    known = names.get(stage, {"method": "residual"})
    known |= {"member": "0"} if stage == "infer" else {}
    return [Step(stage, RUN, {**known, "block": block}) for block in blocks]


def profiled(name: str, change: Mapping[str, Any]) -> str:
    """Another profile: the one that `nunatak profile slurm` wrote, with some values changed."""
    usual = yaml.safe_load((home() / "slurm" / "config.yaml").read_text(encoding="utf-8"))
    path = home() / name / "config.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(merge(usual, change)), encoding="utf-8")
    return name


class Driver:
    """A Snakemake that submits the jobs of a tree.

    Parameters
    ----------
    tree
        Where it runs.
    *targets
        What it makes; everything, if there is none.
    profile
        Name of its profile.
    """

    def __init__(self, tree: Tree, *targets: str, profile: str = "slurm") -> None:
        self.tree, self.log = tree, tree.folder / f"driver.{time.time_ns()}.log"
        command, environment = tree.command(
            *(*targets, "--profile", profile, "--set-threads", "train=1"),
            # Each look that finds no end puts off the next one by ten seconds.
            *("--slurm-init-seconds-before-status-checks", "9"),
            cores=8,
        )
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command,
                cwd=tree.project.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    @property
    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(encoding="utf-8")

    @property
    def name(self) -> str:
        """The name that all its jobs have."""
        found = _ID.search(self.output)
        assert found, self.output
        return found[1]

    def active(self, states: str = "R") -> list[str]:
        """Its jobs in some states, by number; of another than a running one, see ``squeue``."""
        if not _ID.search(self.output):
            return []
        command = ("squeue", "--noheader", "--name", self.name, "--states", states)
        return call(*command, "--format", "%A").split()

    def jobs(self) -> list[Job]:
        """Its jobs in the order of their submission, ended or not; each time that one ran."""
        fields = "jobid,comment,state,nodelist,alloctres"
        return [Job(*told) for told in accounts("--duplicates", "--name", self.name, fields=fields)]

    def until(self, done: Callable[[], object], what: str, seconds: float = 60) -> None:
        """Wait for something, as long as the run lasts."""

        def over() -> object:
            assert self.process.poll() is None, self.output
            return done()

        until(over, what, seconds)

    def computing(self, step: Step) -> bool:
        """Whether the job of a step has begun to compute."""
        logs = self.tree.results.glob("logs/**/*.log")
        return any(f"computing {step.path}:" in p.read_text(encoding="utf-8") for p in logs)

    def wait(self, seconds: float = 540) -> None:
        """Wait for the end, which must be a good one; one that does not come is made."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            call("scancel", "--name", self.name)
        assert self.process.returncode == 0, self.output

    def kill(self) -> None:
        """End it at once; its jobs go on."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def same(tree: Tree, reference: Tree) -> None:
    """The product is complete and the same to the bit, and `verify` is clean.

    A run on this machine has nothing to compute: it takes what the cluster made.
    """
    run = tree.run()
    assert run.returncode == 0, run.stdout
    assert not tree.computed()
    assert tree.manifests() == reference.manifests()
    verified = tree.nunatak("verify", "--results", "results")
    assert verified.returncode == 0, verified.stdout


def far(block: str) -> str:
    """The block of six by six whose middle is in a block of two by two, far from its edges."""
    row, col = (int(part) * world.BLOCKS // 2 + 1 for part in block.split("_"))
    return f"{row}_{col}"


def log(tree: Tree, *parts: str) -> Path:
    """The log of a job."""
    return tree.results.joinpath("logs", RUN, *parts).with_suffix(".log")
