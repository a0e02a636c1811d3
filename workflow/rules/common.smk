# Names and lookups that the rules share; what they mean is in src/nunatak.
import sys
from pathlib import Path

SOURCE = str(Path(workflow.basedir) / "src")
sys.path.insert(0, SOURCE)
shell.prefix(f"export PYTHONPATH='{SOURCE}'${{{{PYTHONPATH:+:$PYTHONPATH}}}}; ")

from nunatak import dag
from nunatak.config import digest, load, save
from nunatak.errors import NunatakError

from snakemake.exceptions import WorkflowError

try:
    SETTINGS, RECIPES = load(config, Path(workflow.basedir) / "config")
except NunatakError as error:
    raise WorkflowError(f"the configuration is not right, nothing was run:\n{error}")

RESULTS, DATA = SETTINGS.results, SETTINGS.data


onstart:
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
    found = []
    for recipe in RECIPES.values():
        found += [f"{RESULTS}/{path}" for path in dag.outputs(recipe)]
        found += [f"{RESULTS}/download/{source}.json" for source in recipe.sources]
    return found


def run_using(source):
    """The name of a run that uses a source."""
    runs = [name for name, recipe in RECIPES.items() if source in recipe.sources]
    if not runs:
        raise WorkflowError(f"no run of this configuration uses the source {source!r}")
    return runs[0]


def recipe_using(wildcards, output):
    """The checked recipe of a run that uses a source.

    Snakemake does not record a parameter that is a function of the output: which of several runs
    lends its recipe does not matter.
    """
    return f"{RESULTS}/{run_using(wildcards.source)}/recipe.json"


def key(stage):
    """One canonical digest of the values that a stage reads, as a parameter."""

    def of(wildcards):
        names = {
            name: wildcards.get(name)
            for name in ("role", "method")
            if wildcards.get(name)
        }
        return digest(RECIPES[wildcards.run], stage, **names)

    return of


def source_key(wildcards):
    """What of a source's entry says which files are fetched."""
    source = RECIPES[run_using(wildcards.source)].sources[wildcards.source]
    return source.model_dump_json(include={"files", "auth"})


def inputs(stage):
    """What a job of a stage reads."""

    def of(wildcards):
        names = {k: v for k, v in wildcards.items() if k != "run"}
        return [
            f"{RESULTS}/{path}"
            for path in dag.inputs(RECIPES[wildcards.run], stage, **names)
        ]

    return of
