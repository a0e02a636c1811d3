"""The part of the command line that people call; it reads a results tree, and runs no stage."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

people = typer.Typer()

ResultsRoot = Annotated[Path, typer.Option("--results", help="The results tree.")]
ConfigFile = Annotated[Path, typer.Option("--configfile", help="The configuration.")]
Jobs = Annotated[
    int | None, typer.Option(min=1, help="Threads that read; one a core if not given.")
]

RESULTS, CONFIG = Path("results"), Path("config/config.yaml")


@people.command()
def status(configfile: ConfigFile = CONFIG) -> None:
    """Say which jobs run or failed, what the next run makes and why; nothing is run."""
    from rich.console import Console
    from rich.table import Table

    from nunatak.commands.status import status as find
    from nunatak.commands.tree import configured

    settings, recipes = configured(configfile)
    found = find(recipes, Path(settings.results), Path(settings.data))
    for line in (*found.last(), *found.lines()):
        typer.echo(line)
    if found.findings:
        table = Table("stage", "steps", "done", "must run", "may follow")
        for row in found.table():
            table.add_row(*map(str, row))
        Console().print(table)


@people.command()
def verify(results: ResultsRoot = RESULTS, jobs: Jobs = None) -> None:
    """Compare every file of a results tree with what its job wrote; exit status 1 on a fault."""
    from nunatak.commands.verify import verify as check

    report = check(results, jobs)
    for line in (*report.faults, report):
        typer.echo(line)
    raise typer.Exit(bool(report.faults))


@people.command()
def repair(
    results: ResultsRoot = RESULTS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
) -> None:
    """Remove what `verify` finds damaged, so that the next run makes it again, and nothing else."""
    from nunatak.commands.repair import repair as mend

    for line in mend(results, dry=dry_run):
        typer.echo(line)


@people.command()
def diff(
    a: Annotated[Path, typer.Argument(help="A results tree.")],
    b: Annotated[Path, typer.Argument(help="Another one.")],
    map_file: Annotated[Path | None, typer.Option("--map", help="A figure to draw, PNG.")] = None,
) -> None:
    """Say which blocks differ between two results trees; exit status 1 if any does."""
    from nunatak.commands.diff import compare, draw

    found = compare(a, b)
    for line in (line for each in found for line in each.lines()):
        typer.echo(line)
    if map_file is not None:
        draw(found, map_file, f"A: {a}, B: {b}")
    raise typer.Exit(not all(each.equal for each in found))


@people.command()
def gc(
    configfile: ConfigFile = CONFIG,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it.")] = False,
) -> None:
    """List what no recipe of a configuration asks for and what killed jobs left, with sizes."""
    from nunatak.commands.gc import collect
    from nunatak.commands.tree import configured

    settings, recipes = configured(configfile)
    needed = [path for run in settings.runs for path in run.overlays]
    for line in collect(Path(settings.results), recipes, needed, delete=delete):
        typer.echo(line)


@people.command()
def costs(
    configfile: ConfigFile = CONFIG,
    csv: Annotated[Path | None, typer.Option(help="A table to write as well.")] = None,
) -> None:
    """Sum the hours, core hours, GPU hours, memory and bytes that made what there is."""
    from rich.console import Console
    from rich.table import Table

    from nunatak.commands import costs as summed
    from nunatak.commands.tree import configured

    settings, recipes = configured(configfile)
    rows = summed.costs(recipes, Path(settings.results))
    whole = summed.total(rows)
    table = Table(box=None, padding=(0, 1, 0, 0))
    for number, head in enumerate(summed.HEADS):
        table.add_column(head, justify="right" if number > 1 else "left", no_wrap=True)
    for row in (*rows, whole):
        table.add_row(*row.cells())
    Console().print(table)
    if whole.unknown:
        typer.echo(f"of {whole.unknown} steps no job left a record: their hours are not in it")
    if csv is not None:
        summed.write(rows, csv)


@people.command()
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


@people.command()
def profile(
    executor: Annotated[str, typer.Argument(help="What runs the jobs: slurm.")] = "slurm",
    partition: Annotated[str | None, typer.Option(help="Partition of every job.")] = None,
    account: Annotated[str | None, typer.Option(help="Account that jobs are charged to.")] = None,
    gpu_partition: Annotated[str | None, typer.Option(help="Partition of training.")] = None,
    gres: Annotated[str | None, typer.Option(help="GPU of a training, as gpu:1.")] = None,
    gpu_infer: Annotated[bool, typer.Option("--gpu-infer", help="Infer on a GPU as well.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Folder of the profile; else of your own profiles.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Write over a profile that is there.")
    ] = False,
) -> None:
    """Write the Snakemake profile of a cluster, its names checked; asks for what is not given."""
    from nunatak.commands import profile as written
    from nunatak.errors import ConfigError

    if executor != "slurm":
        raise ConfigError(f"no profile for {executor}", "slurm", "see docs/how-to/other-executors")

    def name(given: str | None, question: str) -> str | None:
        asks = given is None and sys.stdin.isatty()
        return (typer.prompt(question, default="", show_default=False) if asks else given) or None

    site = written.Site(
        name(partition, "Partition (empty: the cluster's default)"),
        name(account, "Account (empty: yours)"),
        name(gpu_partition, "Partition with GPUs (empty: train without)"),
        name(gres, "GPU of a training, as gpu:1 (empty: none, or one of that partition)"),
        gpu_infer,
    )
    offered = written.offers()
    if offered is None:
        typer.echo("no sinfo here: whether these names exist was not checked", err=True)
    else:
        written.check(site, offered)
    path = written.write(site, folder or written.home() / executor, replace=replace)
    typer.echo(f"{path}: use it with snakemake --profile {folder or executor}")


@people.command()
def schema(
    folder: Annotated[Path, typer.Option(help="Where to write.")] = Path("config/schema"),
) -> None:
    """Write the JSON schemas of the configuration files."""
    from nunatak.config import schemas
    from nunatak.provenance import write_json

    for name, value in schemas().items():
        write_json(folder / f"{name}.schema.json", value)
