"""Which step reads what: the paths, below the results root, that tie the workflow together."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nunatak.errors import ConfigError
from nunatak.grid import Block
from nunatak.recipe import Recipe
from nunatak.registry import ALBUMS, AS_IS, MASKS, NEIGHBOUR_READERS
from nunatak.tracking.steps import ASKED, Step

_Named = tuple[str, dict[str, str]]
METRICS = ("metrics.csv", "metrics.md", "panels.png", "map.png", "charts.png")
# Made by the target `tune`, and by no other.
SOUGHT = ("trial", "study")
_FEW = 4
TILES = ("overlap.json", "split.png")
SKILL = ("forecast.csv", "forecast.md", "forecast.png")
SERIES = ("fronts.gpkg", "series.csv", "series.png", "map.png")


def _blocks(recipe: Recipe, product: str, blocks: Iterable[Block] | None = None) -> list[str]:
    chosen = recipe.layout.blocks() if blocks is None else blocks
    return [f"{recipe.name}/{product}/{block.name}" for block in chosen]


def _everywhere(recipe: Recipe, product: str) -> list[str]:
    """A product's blocks at all places of a recipe."""
    return [path for place in recipe.places for path in _blocks(recipe.of(place), product)]


def coarse(recipe: Recipe) -> str:
    """The product that is, or holds, the coarse field."""
    by = recipe.coarse
    return f"reproject/{by.role}" if by.degrade.op in AS_IS else "degrade/coarse"


def mapped(recipe: Recipe) -> list[str]:
    """The places of a recipe that become products."""
    scenes = recipe.scenes
    return [p for p in recipe.places if not (scenes and p) or scenes.maps(p)]


def _downloads(sources: Iterable[str]) -> list[str]:
    return [f"download/{source}" for source in sources]


def _origins(recipe: Recipe) -> list[str]:
    """What tells where a product is from: its downloads, and the scan of a source of scenes."""
    albums = [key for key in recipe.origins if recipe.sources[key].reader.op in ALBUMS]
    told = sorted(albums) if recipe.scene else []
    return [
        *_downloads(sorted(set(recipe.origins) - set(told))),
        *(f"{recipe.family}/scan/{source}" for source in told),
    ]


def _gridded(recipe: Recipe) -> list[str]:
    """The sources that the recipe's roles read, sorted."""
    roles = recipe.roles.values()
    return sorted({s for role in roles for s in (role.source, role.geoid) if s})


def _trained(recipe: Recipe, method: str) -> list[str]:
    if recipe.methods[method].train is None:
        return []
    members = range(recipe.members(method))
    return [f"{recipe.family}/train/{method}/{m}/manifest" for m in members]


def _tiled(recipe: Recipe) -> str:
    return f"{recipe.family}/tile/manifest"


def _download(recipe: Recipe, *, source: str) -> list[str]:
    return []


def _scan(recipe: Recipe, *, source: str) -> list[str]:
    return _downloads([source])


def _reproject(recipe: Recipe, *, role: str, block: str) -> list[str]:
    spec = recipe.roles[role]
    sources = [spec.source, *([spec.geoid] if spec.geoid else [])]
    return [*_downloads(sources), *(f"{recipe.family}/scan/{source}" for source in sources)]


def _degrade(recipe: Recipe, *, block: str) -> list[str]:
    one = recipe.layout.named(block)
    wide = recipe.coarse.degrade.op in NEIGHBOUR_READERS
    read = recipe.layout.neighbours(one) if wide else [one]
    return _blocks(recipe, f"reproject/{recipe.coarse.role}", read)


def _tile(recipe: Recipe) -> list[str]:
    roles = {"target", *recipe.conditions, *filter(None, (recipe.split.role, recipe.insitu))}
    read = dict.fromkeys([coarse(recipe), *(f"reproject/{role}" for role in sorted(roles))])
    return [path for product in read for path in _everywhere(recipe, product)]


def _train(recipe: Recipe, *, method: str, member: str) -> list[str]:
    return [_tiled(recipe)]


def _trial(recipe: Recipe, *, method: str, trial: str) -> list[str]:
    return [_tiled(recipe)]


def _study(recipe: Recipe, *, method: str) -> list[str]:
    search = recipe.methods[method].search
    numbers = range(search.trials if search else 0)
    return [f"{recipe.name}/trial/{method}/{n}/manifest" for n in numbers]


def _infer(recipe: Recipe, *, method: str, member: str, block: str) -> list[str]:
    around = list(recipe.layout.neighbours(recipe.layout.named(block)))
    read = [coarse(recipe), *(f"reproject/{role}" for role in recipe.reads(method))]
    fields = [path for product in read for path in _blocks(recipe, product, around)]
    trained = _trained(recipe, method)[int(member) : int(member) + 1]
    return [*(trained or [_tiled(recipe)]), *fields]


def _mosaic(recipe: Recipe, *, method: str, block: str) -> list[str]:
    members = [f"infer/{method}/{m}" for m in range(recipe.members(method))]
    roles = [f"reproject/{c.role}" for c in recipe.methods[method].constraints if c.role]
    one = [recipe.layout.named(block)]
    products = [*members, coarse(recipe), *roles]
    return [path for product in products for path in _blocks(recipe, product, one)]


def _publish(recipe: Recipe, *, method: str) -> list[str]:
    return [
        *_blocks(recipe, f"mosaic/{method}"),
        *_trained(recipe, method),
        _tiled(recipe),
        *_origins(recipe),
    ]


def _refuse_unmapped(recipe: Recipe, method: str) -> None:
    """Refuse what is asked for by name of a place or a method without a map."""
    maps = [recipe.of(place).name for place in mapped(recipe)]
    if recipe.name not in maps:
        few = f"{', '.join(maps[:_FEW])}{' and others' if len(maps) > _FEW else ''}"
        raise ConfigError(f"{recipe.name} has no map of its own", f"one of {few}")
    if method not in recipe.products:
        known = ", ".join(recipe.products)
        raise ConfigError(f"{recipe.name}: no product {method!r}", f"one of {known}")


def _rescale(recipe: Recipe, *, method: str, scale: str) -> list[str]:
    masks = [c.role for c in recipe.methods[method].constraints if c.role and c.op in MASKS]
    roles = dict.fromkeys([*recipe.reads(method), *masks])
    read = [coarse(recipe), *(f"reproject/{role}" for role in roles)]
    fields = [path for product in read for path in _blocks(recipe, product)]
    return [*_trained(recipe, method), _tiled(recipe), *fields, *_origins(recipe)]


def _published(recipe: Recipe) -> list[str]:
    """What is published of all scenes."""
    parts = [recipe.of(place).name for place in mapped(recipe)]
    return [f"{part}/publish/{m}.provenance" for part in parts for m in recipe.products]


def _series(recipe: Recipe) -> list[str]:
    return [*_published(recipe), *_everywhere(recipe, "reproject/target")]


def _compared(recipe: Recipe) -> list[str]:
    """The products that scenes are judged from, beside what is published of them."""
    measured = [] if recipe.target.layers else [f"mosaic/{m}" for m in recipe.products]
    stations = [f"reproject/{recipe.insitu}"] if recipe.insitu else []
    return [*dict.fromkeys(["reproject/target", coarse(recipe), *stations, *measured])]


def _stations(recipe: Recipe) -> list[str]:
    return _downloads([recipe.forecast.source] if recipe.forecast else [])


def _forecast(recipe: Recipe, *, method: str) -> list[str]:
    return [f"{recipe.name}/stations/manifest"]


def _skill(recipe: Recipe) -> list[str]:
    methods = recipe.forecast.methods if recipe.forecast else ()
    return [f"{recipe.name}/forecast/{method}/manifest" for method in methods]


def _evaluate(recipe: Recipe) -> list[str]:
    if recipe.scenes:
        parts = [recipe.of(place) for place in mapped(recipe)]
        fields = [path for part in parts for one in _compared(part) for path in _blocks(part, one)]
        return [_tiled(recipe), *_published(recipe), *fields]
    roles = {"target", *([recipe.split.role] if recipe.split.role else [])}
    picks = recipe.picks
    roles |= {picks.below} if picks and picks.below else set()
    roles |= {part.role for parts in recipe.evaluate.classes.values() for part in parts}
    products = [*(f"mosaic/{m}" for m in recipe.products), coarse(recipe)]
    products += [f"reproject/{role}" for role in sorted(roles)]
    read = [path for product in products for path in _blocks(recipe, product)]
    return [_tiled(recipe), *read, *_downloads([picks.source] if picks else [])]


_INPUTS: dict[str, Callable[..., list[str]]] = {
    "download": _download,
    "scan": _scan,
    "reproject": _reproject,
    "degrade": _degrade,
    "tile": _tile,
    "train": _train,
    "infer": _infer,
    "mosaic": _mosaic,
    "publish": _publish,
    "rescale": _rescale,
    "series": _series,
    "stations": _stations,
    "forecast": _forecast,
    "skill": _skill,
    "evaluate": _evaluate,
    "trial": _trial,
    "study": _study,
}


def inputs(recipe: Recipe, stage: str, **names: str) -> list[str]:
    """What one job of a stage may read.

    Parameters
    ----------
    recipe
        The recipe that the job belongs to.
    stage
        Name of the stage.
    **names
        The job's source, role, method, member, block, scale and trial, as far as the stage has
        them.

    Returns
    -------
    list of str
        Paths of the steps that make it.

    Raises
    ------
    ConfigError
        If the recipe has no product of the method, or the place no map.
    """
    if stage in ASKED:
        _refuse_unmapped(recipe, names["method"])
    return _INPUTS[stage](recipe, **names)


def steps(recipe: Recipe) -> list[Step]:
    """Every step of a recipe, each after those that it reads.

    A recipe of scenes has those of all scenes together, and each scene's own recipe the rest.
    """
    found: list[_Named] = []
    if not recipe.scene:
        found += _shared(recipe)
    if recipe.scene or not recipe.scenes:
        found += _placed(recipe)
    if not recipe.scene:
        found += [("series", {})] if recipe.series else []
        found += [*_forecasts(recipe), ("evaluate", {}), *_searching(recipe)]
    order = list(_INPUTS)
    found.sort(key=lambda named: order.index(named[0]))
    return [Step(stage, recipe.name, names) for stage, names in found]


def _shared(recipe: Recipe) -> list[_Named]:
    """Steps of which there is one for all places, up to the trained models."""
    trained = [
        (m, str(i))
        for m in recipe.products
        if recipe.methods[m].train
        for i in range(recipe.members(m))
    ]
    return [
        *(("download", {"source": s}) for s in sorted(recipe.sources)),
        *(("scan", {"source": s}) for s in _gridded(recipe)),
        ("tile", {}),
        *(("train", {"method": m, "member": i}) for m, i in trained),
    ]


def _placed(recipe: Recipe) -> list[_Named]:
    """Steps of one place, block by block."""
    blocks = [block.name for block in recipe.layout.blocks()]
    members = [(m, str(i)) for m in recipe.products for i in range(recipe.members(m))]
    made = recipe.coarse.degrade.op not in AS_IS
    found: list[_Named] = [
        *(("reproject", {"role": r, "block": b}) for r in recipe.roles for b in blocks),
        *(("degrade", {"block": b}) for b in blocks if made),
    ]
    if recipe.scenes and not recipe.scenes.maps(recipe.scene):
        return found
    return [
        *found,
        *(("infer", {"method": m, "member": i, "block": b}) for m, i in members for b in blocks),
        *(("mosaic", {"method": m, "block": b}) for m in recipe.products for b in blocks),
        *(("publish", {"method": m}) for m in recipe.products),
    ]


def _forecasts(recipe: Recipe) -> list[_Named]:
    """Steps of the series of stations, which no map is needed for."""
    if recipe.forecast is None:
        return []
    each = [("forecast", {"method": m}) for m in recipe.forecast.methods]
    return [("stations", {}), *each, ("skill", {})]


def _searching(recipe: Recipe) -> list[_Named]:
    """Steps of searches, which are made when they are asked for."""
    asked = {m: s.search.trials for m, s in recipe.methods.items() if s.search}
    return [
        *(("trial", {"method": m, "trial": str(i)}) for m, n in asked.items() for i in range(n)),
        *(("study", {"method": m}) for m in asked),
    ]


def gates(recipe: Recipe, stage: str, **names: str) -> list[Step]:
    """The steps whose end tells which jobs of a stage need to run at all, in their order.

    A scan tells which parts of a source changed, the stage `tile` whether training sees a change.
    """
    sources: list[str] = []
    if stage in ("reproject", "degrade"):
        spec = recipe.roles[names["role"] if stage == "reproject" else recipe.coarse.role]
        sources = [spec.source, *([spec.geoid] if spec.geoid else [])]
    elif stage not in ("download", "scan", "stations", "forecast", "skill"):
        sources = _gridded(recipe)
    found = [Step("scan", recipe.family, {"source": source}) for source in sources]
    late = stage in ("train", "infer", "mosaic", "publish", *ASKED, "series", "evaluate", *SOUGHT)
    return [*found, *([Step("tile", recipe.family)] if late else [])]


def outputs(recipe: Recipe) -> list[str]:
    """Everything that a recipe makes by itself: manifests of its stages, and files for people.

    Snakemake does not remake a lost intermediate unless it is asked for by name.
    """
    made = [step for step in steps(recipe) if step.stage not in SOUGHT]
    found = [f"{step.path}.json" for step in made]
    for step in made:
        found += [f"{recipe.name}/{name}" for name in _beside(step)]
    return found


def _beside(step: Step) -> list[str]:
    """The files for people that a step makes, below the folder of its run."""
    method = step.names.get("method", "")
    if step.stage == "train":
        return [f"train/{method}/{step.names['member']}/loss.png"]
    if step.stage == "publish":
        return [f"publish/{method}.tif"]
    if step.stage == "skill":
        return [f"evaluate/{name}" for name in SKILL]
    names = {"tile": TILES, "series": SERIES, "evaluate": METRICS}.get(step.stage, ())
    return [f"{step.stage}/{name}" for name in names]


def sought(recipe: Recipe) -> list[str]:
    """Everything that the searches of a recipe make, which is made when it is asked for."""
    return [f"{step.path}.json" for step in steps(recipe) if step.stage in SOUGHT]
