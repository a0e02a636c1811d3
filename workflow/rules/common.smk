# Names and lookups that the rules share; what they mean is in src/nunatak.
import sys
from pathlib import Path

SOURCE = str(Path(workflow.basedir) / "src")
sys.path.insert(0, SOURCE)
shell.prefix(f"export PYTHONPATH='{SOURCE}'${{{{PYTHONPATH:+:$PYTHONPATH}}}}; ")

from nunatak import dag
from nunatak.config import load, save
from nunatak.errors import NunatakError
from nunatak.settle import Settled

from snakemake.exceptions import WorkflowError

try:
    SETTINGS, RECIPES = load(config, Path(workflow.basedir) / "config")
except NunatakError as error:
    raise WorkflowError(f"the configuration is not right, nothing was run:\n{error}")

RESULTS, DATA = SETTINGS.results, SETTINGS.data

# A job's own Snakemake leaves this to the main process.
SETTLED = Settled(RECIPES, Path(RESULTS)) if workflow.is_main_process else None


onstart:
    if SETTLED.lock is None:
        raise WorkflowError(
            f"another run works on {RESULTS}: wait for it, or set results: to another folder"
        )
    for checked in RECIPES.values():
        save(checked, Path(RESULTS))


wildcard_constraints:
    run="[A-Za-z][A-Za-z0-9_]*",
    source="[A-Za-z][A-Za-z0-9_]*",
    role="[A-Za-z][A-Za-z0-9_]*",
    method="[A-Za-z][A-Za-z0-9_]*",
    member="[0-9]+",
    block="[0-9]+_[0-9]+",


def everything():
    """Every manifest of every stage: a lost one is made again."""
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
        getattr(checkpoints, gate.stage).get(run=recipe.name, **gate.names)
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
