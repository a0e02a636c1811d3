"""The command line: one command a stage, as the rules call them, and commands for people."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from nunatak.errors import NunatakError

UNFINISHED = 75

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Fine maps of ice and ocean from coarse grids. Run `snakemake` for a whole map.",
)

RecipeFile = Annotated[Path, typer.Option("--recipe", help="The checked recipe of a run (JSON).")]
ResultsRoot = Annotated[Path, typer.Option("--results", help="The results tree.")]
DataRoot = Annotated[Path, typer.Option("--data", help="What `file:` URLs are relative to.")]
Out = Annotated[Path, typer.Option("--out", help="The file that says that this step is done.")]
Role = Annotated[str, typer.Option(help="A role of the recipe.")]
Method = Annotated[str, typer.Option(help="A method of the recipe.")]
Member = Annotated[int, typer.Option(help="Which member of the ensemble.")]
BlockName = Annotated[str, typer.Option("--block", help="A block, as row_col.")]
Key = Annotated[str, typer.Option(help="Digest of the values that this step reads.")]


@app.command()
def download(
    recipe: RecipeFile, source: Annotated[str, typer.Option()], data: DataRoot, out: Out
) -> None:
    """Fetch the files of a source, check them, and say what they are."""
    from nunatak.config import saved
    from nunatak.provenance import write_json
    from nunatak.stages.download import download as stage

    spec = saved(recipe).sources[source]
    write_json(out, stage(spec, source, out.parent / source, data_root=data))


@app.command()
def reproject(
    recipe: RecipeFile, results: ResultsRoot, data: DataRoot, role: Role, block: BlockName, out: Out
) -> None:
    """Warp the window of a source that one block needs onto the recipe's grid."""
    from nunatak.stages.reproject import reproject as stage

    tree = _results(recipe, results)
    _commit(out, stage(tree, role, tree.recipe.layout.named(block), data).to_json())


@app.command()
def degrade(recipe: RecipeFile, results: ResultsRoot, block: BlockName, out: Out) -> None:
    """Make the coarse field of one block."""
    from nunatak.stages.degrade import degrade as stage

    tree = _results(recipe, results)
    _commit(out, stage(tree, tree.recipe.layout.named(block)).to_json())


@app.command()
def tile(recipe: RecipeFile, results: ResultsRoot) -> None:
    """Index the training samples, prove that splits do not touch, fit the normalisation."""
    from nunatak.stages.tile import tile as stage

    stage(_results(recipe, results))


@app.command()
def train(
    recipe: RecipeFile,
    results: ResultsRoot,
    method: Method,
    member: Member,
    key: Key,
    out: Out,
    stop_after: Annotated[
        float | None, typer.Option(help="Seconds; resumes when run again.")
    ] = None,
) -> None:
    """Train one member of a method, or go on where it stopped."""
    from nunatak.provenance import write_json
    from nunatak.stages.train import train as stage

    manifest = stage(_results(recipe, results), method, member, key=key, stop_after=stop_after)
    if "unfinished" in manifest:
        typer.echo(f"stopped after {manifest['samples']} samples; run again to go on", err=True)
        raise typer.Exit(UNFINISHED)
    write_json(out, manifest)


@app.command()
def infer(
    recipe: RecipeFile,
    results: ResultsRoot,
    method: Method,
    member: Member,
    block: BlockName,
    out: Out,
) -> None:
    """Predict one block with one member of a method."""
    from nunatak.stages.infer import infer as stage

    tree = _results(recipe, results)
    _commit(out, stage(tree, method, member, tree.recipe.layout.named(block)).to_json())


@app.command()
def mosaic(
    recipe: RecipeFile, results: ResultsRoot, method: Method, block: BlockName, out: Out
) -> None:
    """Combine the members of one block and hold them to the constraints."""
    from nunatak.stages.mosaic import mosaic as stage

    tree = _results(recipe, results)
    _commit(out, stage(tree, method, tree.recipe.layout.named(block)).to_json())


@app.command()
def publish(
    recipe: RecipeFile,
    results: ResultsRoot,
    method: Method,
    out: Out,
    record: Annotated[Path, typer.Option(help="The provenance record to write.")],
) -> None:
    """Write a finished product as a Cloud-Optimized GeoTIFF, with its provenance."""
    from nunatak.provenance import write_json
    from nunatak.stages.publish import publish as stage

    write_json(record, stage(_results(recipe, results), method, out))


@app.command()
def evaluate(recipe: RecipeFile, results: ResultsRoot, data: DataRoot) -> None:
    """Judge every product against the truth and the observations held out."""
    from nunatak.stages.evaluate import evaluate as stage

    stage(_results(recipe, results), data)


@app.command()
def sources(
    catalogue: Annotated[Path, typer.Option(help="The catalogue.")] = Path("config/sources.yaml"),
) -> None:
    """List the data sets of the catalogue."""
    from rich.console import Console
    from rich.table import Table

    from nunatak.sources.catalogue import load_sources

    table = Table("key", "title", "variables", "CRS", "vertical datum", "licence")
    for key, s in load_sources(catalogue).items():
        datum = s.vertical_datum or ""
        table.add_row(key, s.title, ", ".join(s.variables), s.crs[:40], datum, s.licence)
    Console().print(table)


@app.command()
def schema(
    folder: Annotated[Path, typer.Option(help="Where to write.")] = Path("config/schema"),
) -> None:
    """Write the JSON schemas of the configuration files."""
    from nunatak.config import schemas
    from nunatak.provenance import write_json

    for name, value in schemas().items():
        write_json(folder / f"{name}.schema.json", value)


def _results(recipe: Path, results: Path):  # type: ignore[no-untyped-def]
    from nunatak.config import saved
    from nunatak.products import Results

    return Results(saved(recipe), results)


def _commit(out: Path, text: str) -> None:
    from nunatak.provenance import write_text

    write_text(out, text)


def main() -> None:
    """Run a command; what the user can mend is said in a few lines, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        app()
    except NunatakError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
