"""The command line: one command a stage, as the rules call them, and commands for people."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nunatak.commands.people import people
from nunatak.errors import NunatakError
from nunatak.jobs import Work, named, run
from nunatak.learn.spread import Launcher, Spread
from nunatak.tracking.steps import Step

if TYPE_CHECKING:
    from nunatak.products import Results

UNFINISHED = 75

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Fine maps of ice and ocean from coarse grids. Run `snakemake` for a whole map.",
)
app.add_typer(people)

RecipeFile = Annotated[Path, typer.Option("--recipe", help="The checked recipe of a run (JSON).")]
ResultsRoot = Annotated[Path, typer.Option("--results", help="The results tree.")]
DataRoot = Annotated[Path, typer.Option("--data", help="What `file:` URLs are relative to.")]
SourceName = Annotated[str, typer.Option("--source", help="A source of the recipe.")]
Role = Annotated[str, typer.Option(help="A role of the recipe.")]
Method = Annotated[str, typer.Option(help="A method of the recipe.")]
Trial = Annotated[int, typer.Option(min=0, help="Which trial of the search.")]
StopAfter = Annotated[float | None, typer.Option(help="Seconds; resumes when run again.")]
MicroBatch = Annotated[int | None, typer.Option(min=1, help="Most samples at once on a device.")]
CheckpointEvery = Annotated[
    float, typer.Option(min=0, help="Seconds between checkpoints, besides validations.")
]
Member = Annotated[int, typer.Option(help="Which member of the ensemble.")]
BlockName = Annotated[str, typer.Option("--block", help="A block, as row_col.")]
Scale = Annotated[str, typer.Option(help="Cells along the side of a coarse cell, above 0.")]
Workers = Annotated[
    int, typer.Option(min=1, help="Processes that share the map; 1 is this one, without dask.")
]
Cluster = Annotated[
    Literal["local", "slurm"], typer.Option(help="Where these are: here, or jobs of SLURM.")
]
WorkerMemory = Annotated[int, typer.Option(min=1, help="Megabytes of a worker's job of SLURM.")]


@app.command()
def download(recipe: RecipeFile, results: ResultsRoot, data: DataRoot, source: SourceName) -> None:
    """Fetch the files of a source, check them, and say what they are."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.download import download as stage

        return stage(tree, source, data)

    _run("download", recipe, results, work, data, source=source)


@app.command()
def scan(recipe: RecipeFile, results: ResultsRoot, data: DataRoot, source: SourceName) -> None:
    """Digest the parts of a source, so that a change reaches what reads those parts alone."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.scan import scan as stage

        return stage(tree, source, data)

    _run("scan", recipe, results, work, data, source=source)


@app.command()
def reproject(
    recipe: RecipeFile, results: ResultsRoot, data: DataRoot, role: Role, block: BlockName
) -> None:
    """Warp the window of a source that one block needs onto the recipe's grid."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.reproject import reproject as stage

        return stage(tree, role, tree.recipe.layout.named(block), data).to_dict()

    _run("reproject", recipe, results, work, data, role=role, block=block)


@app.command()
def degrade(recipe: RecipeFile, results: ResultsRoot, block: BlockName) -> None:
    """Make the coarse field of one block."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.degrade import degrade as stage

        return stage(tree, tree.recipe.layout.named(block)).to_dict()

    _run("degrade", recipe, results, work, block=block)


@app.command()
def tile(
    recipe: RecipeFile,
    results: ResultsRoot,
    workers: Workers = 1,
    cluster: Cluster = "local",
    worker_memory: WorkerMemory = 2000,
) -> None:
    """Index the training samples, prove that splits do not touch, fit the normalisation."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.crew import crew
        from nunatak.stages.tile import tile as stage

        with crew(workers, cluster, worker_memory) as hands:
            return stage(tree, hands)

    _run("tile", recipe, results, work)


@app.command()
def train(
    recipe: RecipeFile,
    results: ResultsRoot,
    method: Method,
    member: Member,
    stop_after: StopAfter = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes to start here, one a device.")
    ] = 1,
    launcher: Annotated[
        Launcher, typer.Option(help="`torchrun` or `srun`, if that started this process.")
    ] = "local",
    micro_batch: MicroBatch = None,
    checkpoint_every: CheckpointEvery = 600,
) -> None:
    """Train one member of a method, or go on where it stopped."""
    spread = Spread(processes, launcher, micro_batch, checkpoint_every)

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.train import train as stage

        manifest = stage(tree, method, member, key=key, stop_after=stop_after, spread=spread)
        return manifest if spread.rank else _finished(manifest)

    if spread.rank:
        _follow(recipe, results, work)
    else:
        names = {"method": method, "member": str(member)}
        step = Step("train", named(recipe, results), names)
        processes = spread.devices * spread.nodes
        run(step, recipe, results, work, processes=processes, nodes=spread.nodes)


@app.command()
def infer(
    recipe: RecipeFile, results: ResultsRoot, method: Method, member: Member, block: BlockName
) -> None:
    """Predict one block with one member of a method."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.infer import infer as stage

        return stage(tree, method, member, tree.recipe.layout.named(block)).to_dict()

    _run("infer", recipe, results, work, method=method, member=str(member), block=block)


@app.command()
def mosaic(recipe: RecipeFile, results: ResultsRoot, method: Method, block: BlockName) -> None:
    """Combine the members of one block and hold them to the constraints."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.mosaic import mosaic as stage

        return stage(tree, method, tree.recipe.layout.named(block)).to_dict()

    _run("mosaic", recipe, results, work, method=method, block=block)


@app.command()
def publish(recipe: RecipeFile, results: ResultsRoot, method: Method) -> None:
    """Write a finished product as a Cloud-Optimized GeoTIFF, with its provenance."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.publish import publish as stage

        return stage(tree, method)

    _run("publish", recipe, results, work, method=method)


@app.command()
def rescale(recipe: RecipeFile, results: ResultsRoot, method: Method, scale: Scale) -> None:
    """Write a method's map at any scale as a Cloud-Optimized GeoTIFF, with its provenance."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.rescale import rescale as stage

        return stage(tree, method, scale)

    _run("rescale", recipe, results, work, method=method, scale=scale)


@app.command()
def series(recipe: RecipeFile, results: ResultsRoot) -> None:
    """Put the fronts of all scenes in one file, and those of one group in their order in time."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.series import series as stage

        return stage(tree)

    _run("series", recipe, results, work)


@app.command()
def stations(recipe: RecipeFile, results: ResultsRoot, data: DataRoot) -> None:
    """Put the daily series of the stations that are forecast in one table."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.stations import stations as stage

        return stage(tree, data)

    _run("stations", recipe, results, work, data)


@app.command()
def forecast(recipe: RecipeFile, results: ResultsRoot, method: Method) -> None:
    """Train one method of the section forecast, and forecast the test days of the series."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.forecast import forecast as stage

        return stage(tree, method, key=key)

    _run("forecast", recipe, results, work, method=method)


@app.command()
def skill(recipe: RecipeFile, results: ResultsRoot) -> None:
    """Judge all forecasts of series: by lead, by station, and in the tails."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.skill import skill as stage

        return stage(tree)

    _run("skill", recipe, results, work)


@app.command()
def evaluate(
    recipe: RecipeFile,
    results: ResultsRoot,
    data: DataRoot,
    workers: Workers = 1,
    cluster: Cluster = "local",
    worker_memory: WorkerMemory = 2000,
) -> None:
    """Judge every product against the truth and the observations held out."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.crew import crew
        from nunatak.stages.evaluate import evaluate as stage

        with crew(workers, cluster, worker_memory) as hands:
            return stage(tree, data, hands)

    _run("evaluate", recipe, results, work, data)


@app.command()
def trial(
    recipe: RecipeFile,
    results: ResultsRoot,
    method: Method,
    trial: Trial,
    stop_after: StopAfter = None,
    micro_batch: MicroBatch = None,
    checkpoint_every: CheckpointEvery = 600,
) -> None:
    """Make one trial of a method's search, or go on where it stopped."""
    spread = Spread(micro_batch=micro_batch, checkpoint_every=checkpoint_every)

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.trial import trial as stage

        return _finished(stage(tree, method, trial, key=key, stop_after=stop_after, spread=spread))

    _run("trial", recipe, results, work, method=method, trial=str(trial))


@app.command()
def study(recipe: RecipeFile, results: ResultsRoot, method: Method) -> None:
    """Write the best values of a method's search, a table of its trials, and figures."""

    def work(tree: Results, key: str) -> dict[str, Any]:
        from nunatak.stages.study import study as stage

        return stage(tree, method)

    _run("study", recipe, results, work, method=method)


def _finished(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a training, unless it was stopped before its end."""
    if "unfinished" in manifest:
        typer.echo(f"stopped after {manifest['samples']} samples; run again to go on", err=True)
        raise SystemExit(UNFINISHED)
    return manifest


def _run(
    stage: str, recipe: Path, results: Path, work: Work, data: Path = Path(), **names: str
) -> None:
    run(Step(stage, named(recipe, results), names), recipe, results, work, data)


def _follow(recipe: Path, results: Path, work: Work) -> None:
    """Work beside the process that runs the step, which alone decides, logs and commits."""
    from nunatak.config import saved
    from nunatak.products import Results
    from nunatak.tracking.ledger import Ledger
    from nunatak.tracking.tracker import Tracker

    logging.getLogger().setLevel(logging.WARNING)
    work(Results(saved(recipe), results, Ledger(Tracker(results), recording=False)), "")


def main() -> None:
    """Run a command; what the user can mend is said in a few lines, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        app()
    except NunatakError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
