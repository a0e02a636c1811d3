"""Which step reads what: the paths, below the results root, that tie the workflow together."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nunatak.grid import Block
from nunatak.recipe import Recipe

METRICS = ("metrics.csv", "metrics.md", "panels.png", "map.png", "spectra.png")
RECORD = ".provenance.json"
TILES = ("tiles.parquet", "statistics.json", "overlap.json", "split.png")


def _blocks(recipe: Recipe, product: str, blocks: Iterable[Block] | None = None) -> list[str]:
    chosen = recipe.layout.blocks() if blocks is None else blocks
    return [f"{recipe.name}/{product}/{block.name}.json" for block in chosen]


def _downloads(sources: Iterable[str]) -> list[str]:
    return [f"download/{source}.json" for source in sources]


def _trained(recipe: Recipe, method: str) -> list[str]:
    if recipe.methods[method].train is None:
        return []
    members = range(recipe.members(method))
    return [f"{recipe.name}/train/{method}/{m}/manifest.json" for m in members]


def _reproject(recipe: Recipe, *, role: str, block: str) -> list[str]:
    spec = recipe.roles[role]
    return _downloads([spec.source, *([spec.geoid] if spec.geoid else [])])


def _degrade(recipe: Recipe, *, block: str) -> list[str]:
    return _blocks(recipe, f"reproject/{recipe.coarse.role}", [recipe.layout.named(block)])


def _tile(recipe: Recipe) -> list[str]:
    roles = {"target", *recipe.conditions, *([recipe.split.role] if recipe.split.role else [])}
    read = [f"reproject/{role}" for role in sorted(roles)]
    return [path for product in ["degrade/coarse", *read] for path in _blocks(recipe, product)]


def _train(recipe: Recipe, *, method: str, member: str) -> list[str]:
    return [f"{recipe.name}/tile/{name}" for name in ("tiles.parquet", "statistics.json")]


def _infer(recipe: Recipe, *, method: str, member: str, block: str) -> list[str]:
    around = list(recipe.layout.neighbours(recipe.layout.named(block)))
    read = ["degrade/coarse", *(f"reproject/{role}" for role in recipe.reads(method))]
    fields = [path for product in read for path in _blocks(recipe, product, around)]
    trained = _trained(recipe, method)[int(member) : int(member) + 1]
    return [f"{recipe.name}/tile/statistics.json", *trained, *fields]


def _mosaic(recipe: Recipe, *, method: str, block: str) -> list[str]:
    members = [f"infer/{method}/{m}" for m in range(recipe.members(method))]
    roles = [f"reproject/{c.role}" for c in recipe.methods[method].constraints if c.role]
    one = [recipe.layout.named(block)]
    products = [*members, "degrade/coarse", *roles]
    return [path for product in products for path in _blocks(recipe, product, one)]


def _publish(recipe: Recipe, *, method: str) -> list[str]:
    return [
        *_blocks(recipe, f"mosaic/{method}"),
        *_trained(recipe, method),
        *_downloads(sorted(recipe.sources)),
    ]


def _evaluate(recipe: Recipe) -> list[str]:
    roles = {"target", *([recipe.split.role] if recipe.split.role else [])}
    picks = recipe.picks
    roles |= {picks.below} if picks and picks.below else set()
    products = [*(f"mosaic/{m}" for m in recipe.products), "degrade/coarse"]
    products += [f"reproject/{role}" for role in sorted(roles)]
    read = [path for product in products for path in _blocks(recipe, product)]
    index = f"{recipe.name}/tile/tiles.parquet"
    return [index, *read, *_downloads([picks.source] if picks else [])]


_INPUTS: dict[str, Callable[..., list[str]]] = {
    "reproject": _reproject,
    "degrade": _degrade,
    "tile": _tile,
    "train": _train,
    "infer": _infer,
    "mosaic": _mosaic,
    "publish": _publish,
    "evaluate": _evaluate,
}


def inputs(recipe: Recipe, stage: str, **names: str) -> list[str]:
    """What one job of a stage reads.

    Parameters
    ----------
    recipe
        The recipe that the job belongs to.
    stage
        Name of the stage.
    **names
        The job's role, method, member and block, as far as the stage has them.

    Returns
    -------
    list of str
        Paths below the results root.
    """
    return _INPUTS[stage](recipe, **names)


def outputs(recipe: Recipe) -> list[str]:
    """Everything that a recipe makes, every stage's manifests included.

    Snakemake does not remake a lost intermediate unless it is asked for by name.
    """
    members = [f"infer/{m}/{i}" for m in recipe.products for i in range(recipe.members(m))]
    products = [f"reproject/{role}" for role in recipe.roles]
    products += ["degrade/coarse", *members, *(f"mosaic/{m}" for m in recipe.products)]
    found = [path for product in products for path in _blocks(recipe, product)]
    trained = [path for m in recipe.products for path in _trained(recipe, m)]
    found += [*trained, *(path.replace("manifest.json", "loss.png") for path in trained)]
    found += [f"{recipe.name}/tile/{name}" for name in TILES]
    found += [
        f"{recipe.name}/publish/{m}{end}" for m in recipe.products for end in (".tif", RECORD)
    ]
    return found + [f"{recipe.name}/evaluate/{name}" for name in METRICS]
