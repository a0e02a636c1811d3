# Names and lookups that the rules share; what they mean is in src/nunatak.
import sys
from pathlib import Path

SOURCE = str(Path(workflow.basedir) / "src")
sys.path.insert(0, SOURCE)
# For the log of a job, which cannot tell by itself.
ASKED = (
    "NUNATAK_ASKED='{threads} cores, {resources.mem_mb} MB, {resources.runtime} min' "
)

from nunatak import dag
from nunatak.albums import load
from nunatak.config import save
from nunatak.errors import NunatakError
from nunatak.resources import cores, memory, minutes
from nunatak.settle import Settled
from nunatak.tracking.environment import identity, setting
from nunatak.tracking.steps import SCALE

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

try:
    SETTINGS, RECIPES = load(config, Path(workflow.basedir) / "config")
except NunatakError as error:
    raise WorkflowError(f"the configuration is not right, nothing was run:\n{error}")

RESULTS, DATA = SETTINGS.results, SETTINGS.data

# A job's own Snakemake leaves this to the main process.
MAIN = workflow.is_main_process


def environments():
    """What each rule's environment is made of, if its jobs do not run in this process's own."""
    if DeploymentMethod.CONDA not in workflow.deployment_settings.deployment_method:
        return {}
    folder = Path(workflow.basedir) / "workflow" / "rules"
    rules = (rule for rule in workflow.rules if rule.conda_env)
    return {rule.name: identity((folder / rule.conda_env).resolve()) for rule in rules}


onstart:
    if SETTLED.lock is None:
        raise WorkflowError(
            f"another run works on {RESULTS}: wait for it, or set results: to another folder"
        )
    for checked in RECIPES.values():
        save(checked, Path(RESULTS))
    SETTLED.begin()


onsuccess:
    SETTLED.end(well=True)


onerror:
    SETTLED.end(well=False)


wildcard_constraints:
    run="[A-Za-z][A-Za-z0-9_]*(/scenes/[A-Za-z0-9_-]+)?",
    source="[A-Za-z][A-Za-z0-9_]*",
    role="[A-Za-z][A-Za-z0-9_]*",
    method="[A-Za-z][A-Za-z0-9_]*",
    member="[0-9]+",
    block="[0-9]+_[0-9]+",
    trial="[0-9]+",
    scale=SCALE,


def searches(wildcards):
    """Every trial of every search, and what they come to: made when it is asked for."""
    found = [path for recipe in RECIPES.values() for path in dag.sought(recipe)]
    if not found:
        raise WorkflowError(
            "no method of this configuration has a section search: see docs/how-to/tune.md"
        )
    return [f"{RESULTS}/{path}" for path in found]


def everything():
    """Every manifest of every stage but searches: a lost one is made again."""
    found = {path for recipe in RECIPES.values() for path in dag.outputs(recipe)}
    return [f"{RESULTS}/{path}" for path in sorted(found)]


def lender(wildcards, output):
    """The checked recipe of a run that uses a source.

    Snakemake does not record a parameter that is a function of the output: which of several runs
    lends its recipe does not matter.
    """
    runs = [name for name, r in RECIPES.items() if wildcards.source in r.sources]
    if not runs:
        raise WorkflowError(
            f"no run of this configuration uses the source {wildcards.source!r}"
        )
    return f"{RESULTS}/{runs[0]}/recipe.json"


def wait(recipe, stage, names):
    """Wait for gates: what a job reads is told when it is known whether it need run."""
    for gate in SETTLED.gates(recipe, stage, names) if SETTLED else ():
        getattr(checkpoints, gate.stage).get(run=gate.run, **gate.names)
        SETTLED.passed(gate)


def inputs(stage):
    """What a job of a stage reads."""

    def of(wildcards):
        names = {k: v for k, v in wildcards.items() if k != "run"}
        wait(RECIPES[wildcards.run], stage, names)
        return [
            f"{RESULTS}/{path}.json"
            for path in dag.inputs(RECIPES[wildcards.run], stage, **names)
        ]

    return of


def asks(stage):
    """Memory and time that a job of a stage asks for."""

    def recipe(wildcards):
        return RECIPES[wildcards.run] if "run" in wildcards.keys() else None

    return {
        "mem_mb": lambda wildcards, attempt, threads: memory(
            stage, recipe(wildcards), attempt, threads
        ),
        "runtime": lambda wildcards, attempt: minutes(
            stage, recipe(wildcards), attempt
        ),
    }


# Processes and devices are no values of a recipe: a profile sets them as resources of the rule
# (docs/how-to/train.md). Snakemake does not record parameters that are functions of resources.
def train_launcher(wildcards, resources, threads):
    """What starts the processes of a training on several machines: srun, in a job that has tasks."""
    if not resources.get("mpi"):
        return ""
    nodes = resources.get("nodes", 1)
    tasks = resources.get("tasks_per_node") or resources.tasks // nodes
    return (
        f"{resources.mpi} --nodes={nodes} --ntasks-per-node={tasks}"
        f" --cpus-per-task={resources.get('cpus_per_task', threads)}"
        " --gpu-bind=none --kill-on-bad-exit=1 --wait=0 "
    )


def train_options(wildcards, resources):
    """Options of a training that do not change what it learns."""
    launcher = " --launcher srun" if resources.get("mpi") else ""
    return options(resources, "processes", "micro_batch", "checkpoint_every") + launcher


def trial_options(wildcards, resources):
    """The same of a trial, which is one process."""
    return options(resources, "micro_batch", "checkpoint_every")


def options(resources, *names):
    """Resources as options of a command, as far as they are given."""
    given = {name.replace("_", "-"): resources.get(name) for name in names}
    return "".join(f" --{name} {value}" for name, value in given.items() if value)


def crew_options(wildcards, resources, threads):
    """Options of a job on the whole map that do not change what it makes: who shares the work."""
    if resources.get("dask") != "slurm":
        return f" --workers {threads}"
    return (
        f" --workers {resources.get('workers', 4)} --cluster slurm"
        f" --worker-memory {resources.mem_mb}"
    )
