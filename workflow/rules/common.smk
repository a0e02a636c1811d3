# Names and lookups that the rules share; what they mean is in src/nunatak.
import sys
from pathlib import Path

SOURCE = str(Path(workflow.basedir) / "src")
sys.path.insert(0, SOURCE)
shell.prefix(f"export PYTHONPATH={SOURCE}${{{{PYTHONPATH:+:$PYTHONPATH}}}}; ")

from nunatak import dag
from nunatak.config import digest, load, save
from nunatak.errors import NunatakError

from snakemake.exceptions import WorkflowError

try:
    SETTINGS, RECIPES = load(config, Path(workflow.basedir) / "config")
except NunatakError as error:
    raise WorkflowError(f"the configuration is not right, nothing was run:\n{error}")

RESULTS, DATA = SETTINGS.results, SETTINGS.data
if workflow.is_main_process:
    for _recipe in RECIPES.values():
        save(_recipe, Path(RESULTS))


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


def recipe_using(wildcards):
    """The checked recipe of a run that uses a source."""
    run = next(name for name, r in RECIPES.items() if wildcards.source in r.sources)
    return f"{RESULTS}/{run}/recipe.json"


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
    """Digest of a source's entry in the catalogue."""
    recipe = next(r for r in RECIPES.values() if wildcards.source in r.sources)
    return recipe.sources[wildcards.source].model_dump_json()


def inputs(stage):
    """What a job of a stage reads."""

    def of(wildcards):
        names = {k: v for k, v in wildcards.items() if k != "run"}
        return [
            f"{RESULTS}/{path}"
            for path in dag.inputs(RECIPES[wildcards.run], stage, **names)
        ]

    return of
