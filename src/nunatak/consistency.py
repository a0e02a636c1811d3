"""Whether the parts of a recipe fit each other, which no single part can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from nunatak.errors import NunatakError
from nunatak.registry import (
    ALBUMS,
    AS_IS,
    FIELD_READERS,
    LEAKY,
    MASKS,
    MODELS,
    RESCALED,
    SCENE_READERS,
    STAGED,
    STAGEWISE,
    STATIONED,
    STATIONS,
    TASKS,
    Registry,
)
from nunatak.source import Elevation

if TYPE_CHECKING:
    from nunatak.recipe import Recipe


_STAGED = Registry("model of stages", STAGED)


def faults(recipe: Recipe) -> Iterator[str]:
    """Names that do not exist, grids that do not fit, values out of range; nothing if all is well.

    Each fault says what was given, what was expected and, where it can, what to do.
    """
    yield from _dangling(recipe)
    yield from _placeless(recipe)
    try:
        if recipe.grid.bounds is not None:
            recipe.layout  # noqa: B018
        for role in recipe.roles:
            recipe.ratio(role)
    except NunatakError as error:
        yield str(error)
    yield from _layered(recipe)
    yield from _abnormal(recipe)
    stride, window = recipe.infer.stride, recipe.infer.window
    if stride and stride > window:
        yield f"infer.stride {stride}: windows would leave gaps: at most infer.window, {window}"
    low, high = recipe.target.valid_range
    if low <= recipe.mosaic.nodata <= high:
        yield (
            f"mosaic.nodata {recipe.mosaic.nodata:g} is a valid value: expected one outside of"
            f" target.valid_range, {low:g} to {high:g}"
        )
    if recipe.coarse.degrade.op not in {"pair", *AS_IS} and recipe.coarse.role != "target":
        yield f"coarse.role {recipe.coarse.role!r} is a real coarse source: degrade must be 'pair'"
    if recipe.coarse.degrade.op == "pair" and recipe.ratio(recipe.coarse.role) != 1:
        yield f"roles.{recipe.coarse.role}: the coarse field needs the resolution of a coarse cell"
    if recipe.coarse.degrade.op in AS_IS and recipe.grid.scale != 1:
        yield f"grid.scale {recipe.grid.scale}: {recipe.coarse.degrade.op!r} needs a scale of 1"
    yield from _unordered(recipe)
    yield from _fieldless(recipe)
    yield from _incomparable(recipe)
    yield from _untaught(recipe)
    yield from _unlike(recipe)
    yield from _stationless(recipe)
    yield from _uncompared(recipe)


def _placeless(recipe: Recipe) -> Iterator[str]:
    """A grid that lies nowhere, or that scenes would bring a second time."""
    grid = recipe.grid
    given = {"crs": grid.crs, "bounds": grid.bounds, "resolution": grid.resolution}
    if recipe.scenes is None:
        lacking = [key for key, value in given.items() if value is None]
        if lacking:
            yield f"grid: {', '.join(lacking)} not given; expected a value, or a section scenes"
        if recipe.split.by.op in SCENE_READERS:
            yield f"split.by: {recipe.split.by.op!r} tells scenes apart: expected a section scenes"
        if recipe.series:
            yield "series: expected a section scenes, whose dates it follows"
    elif not recipe.scene:
        yield from _albumless(recipe)
        own = {"crs": grid.crs, "bounds": grid.bounds, "shape": grid.shape}
        told = [key for key, value in own.items() if value is not None]
        if told:
            yield f"grid: {', '.join(told)} given; each scene brings its own: remove it"


def _albumless(recipe: Recipe) -> Iterator[str]:
    """A source of scenes that holds none, or that no role reads."""
    key = recipe.scenes.source if recipe.scenes else ""
    albums = ALBUMS - STATIONS
    if key in recipe.sources and recipe.sources[key].reader.op not in albums:
        readers = " or ".join(sorted(albums))
        yield f"scenes.source {key!r} holds no scenes: expected one with the reader {readers}"
    if key not in {role.source for role in recipe.roles.values()}:
        yield f"scenes.source {key!r} is read by no role: name it in roles.target"


def _abnormal(recipe: Recipe) -> Iterator[str]:
    """Normals of what has none, or of samples that they could not follow."""
    if not recipe.tiles.normals:
        return
    if recipe.scenes is None or recipe.target.layers:
        yield "tiles.normals: expected scenes of days, and a target that is measured"
    for method, m in recipe.methods.items():
        if m.train and m.train.distort:
            yield f"methods.{method}.train.distort: normals are of the cells as they lie"
    curved = [n for n, by in recipe.tiles.normalise.items() if by.op != "standard"]
    if curved:
        yield f"tiles.normalise.{curved[0]}: with tiles.normals expected the operation standard"


def _layered(recipe: Recipe) -> Iterator[str]:
    """Layers that are none, that lack some classes, or that stand in another order."""
    target = recipe.target
    lines = len(recipe.roles["target"].variables) if "target" in recipe.roles else 0
    first = 1 if target.classes else 0
    if target.layers and lines < first + len(target.lines):
        yield "roles.target: expected a variable of codes for target.classes, then one a line"
    for method in recipe.methods:
        layers = recipe.layers(method)
        kept = tuple(name for name in target.layers if name in layers)
        told = [name for name in target.classes if name in layers]
        if (
            layers != kept
            or len(set(layers)) < len(layers)
            or len(told)
            not in (
                0,
                len(target.classes),
            )
        ):
            yield (
                f"methods.{method}.layers: {', '.join(layers)}: expected all of target.classes or"
                f" none, then some of target.lines, in the order {', '.join(target.layers)}"
            )
    if recipe.series and recipe.series.area not in target.classes:
        yield f"series.area: no class {recipe.series.area!r}; {', '.join(target.classes)}"


def _unordered(recipe: Recipe) -> Iterator[str]:
    """Days of a field that do not go back in order from the scene's own.

    The first variable is the coarse field, and networks for a history take its days by their place.
    """
    told = [m.model.args.get("history") for m in recipe.methods.values()]
    for name in dict.fromkeys((recipe.coarse.role, *(n for n in told if isinstance(n, str)))):
        if name not in recipe.roles:
            continue
        role = recipe.roles[name]
        known = recipe.sources[role.source].variables
        lags = {variable: known[variable].lag for variable in role.variables}
        given = list(lags.values())
        if any(given) and (given[0] or given != sorted(set(given))):
            ordered = sorted(lags, key=lags.__getitem__)
            yield (
                f"roles.{name}: {', '.join(lags)} lie {', '.join(map(str, given))} days back:"
                " expected the scene's own day (lag 0) first, then others ever farther back; of"
                f" these {', '.join(ordered)}"
            )


def _fieldless(recipe: Recipe) -> Iterator[str]:
    """Operations that read a field, where no role is named."""
    named = [("split", recipe.split.by.op, recipe.split.role)]
    for method, m in recipe.methods.items():
        named += [(f"methods.{method}.constraints", c.op, c.role) for c in m.constraints]
    for key, op, role in named:
        if op in FIELD_READERS and role is None:
            yield f"{key}: {op!r} reads a field: expected role, one of {', '.join(recipe.roles)}"


def _untaught(recipe: Recipe) -> Iterator[str]:
    """Stages that no loss would teach, and tasks for stages where there are none.

    Models and tasks of the user's own are known when training begins.
    """
    for method, m in recipe.methods.items():
        model, task = m.model.op, m.train.task.op if m.train else ""
        if model not in MODELS.table or task not in TASKS.table:
            continue
        key = f"methods.{method}.train.task: {task!r}"
        if model not in STAGED:
            if task in STAGEWISE:
                staged = ", ".join(sorted(STAGED))
                yield f"{key} and the model {model!r}: expected a model of stages, {staged}"
            continue
        try:
            alone = _STAGED.call(model, m.model.args, recipe.grid.scale)
        except NunatakError as error:
            yield f"methods.{method}.model: {error}"
            continue
        if alone and task not in STAGEWISE:
            yield (
                f"{key} and the model {model!r}, parts of which learn by losses of their own alone:"
                f" expected a task that gives every part a loss, {', '.join(sorted(STAGEWISE))}, or"
                " a model without such parts (end_to_end: true, velocities: false)"
            )


def _stationless(recipe: Recipe) -> Iterator[str]:
    """Stations that are not on the fine grid, and losses at stations that are not there."""
    insitu, scale = recipe.insitu, recipe.grid.scale
    if insitu in recipe.roles and recipe.ratio(insitu) != scale:
        yield f"roles.{insitu}: stations need the resolution of a fine cell"
    for method, m in recipe.methods.items():
        task = m.train.task if m.train else None
        if task and task.op in STATIONED and task.args.get("insitu_weight", 1) and not insitu:
            yield (
                f"methods.{method}.train.task: {task.op!r} has a loss at stations: expected a role"
                " of them in insitu, or insitu_weight: 0"
            )


def _unlike(recipe: Recipe) -> Iterator[str]:
    """Tasks that make coarse fields by other operations than the recipe."""
    op = recipe.coarse.degrade.op
    for method, m in recipe.methods.items():
        task = m.train.task.op if m.train else ""
        if task not in RESCALED:
            continue
        key = f"methods.{method}.train.task: {task!r} makes coarse fields of other scales"
        if op != "block_mean":
            yield (
                f"{key} by block means, and coarse.degrade is {op!r}: expected 'block_mean' for all"
            )
        if recipe.tiles.normals:
            yield f"{key}, whose cells have no normals: expected tiles.normals: false"


def _uncompared(recipe: Recipe) -> Iterator[str]:
    """A buffer that is not kept, and published figures that nothing stands beside."""
    if recipe.split.by.op in LEAKY and recipe.split.buffer:
        yield (
            f"split.buffer {recipe.split.buffer:g}: {recipe.split.by.op!r} keeps none: expected 0,"
            " or another operation"
        )
    published = recipe.evaluate.published
    if published and recipe.target.layers:
        yield "evaluate.published: errors of a measured field; expected a target without classes"
    for name in published.mse_over_max if published else ():
        if name not in recipe.products:
            yield (
                f"evaluate.published.mse_over_max: no product {name!r}; there are"
                f" {', '.join(recipe.products)}"
            )


def _incomparable(recipe: Recipe) -> Iterator[str]:
    """What meets the target has its units; picks that are heights have its vertical datum too."""
    meeting = ["target", *([] if recipe.coarse.degrade.op in AS_IS else [recipe.coarse.role])]
    held = [c for m in recipe.methods.values() for c in m.constraints if c.op not in MASKS]
    meeting += [c.role for c in held if c.role]
    meeting += [recipe.picks.below] if recipe.picks and recipe.picks.below else []
    meeting += [recipe.insitu] if recipe.insitu else []
    found = [(f"roles.{r}", recipe.roles[r].source, recipe.roles[r].variables[0]) for r in meeting]
    if recipe.picks:
        found += [("picks", recipe.picks.source, recipe.picks.variable)]
    for key, source, name in found:
        variable = recipe.sources[source].variables[name]
        given, wanted = variable.to or variable.units, recipe.target.units
        if given != wanted:
            yield f"{key}: {name} is in {given!r}: expected the target's units, to: {wanted!r}"
    if recipe.picks and variable.standard_name in get_args(Elevation):
        datum, needed = recipe.sources[source].vertical_datum, recipe.target.vertical_datum
        if datum != needed:
            yield f"picks: {name} is above {datum!r}: expected heights above {needed!r}"


def _dangling(recipe: Recipe) -> Iterator[str]:
    known: dict[str, Mapping[str, Any]] = {
        "role": recipe.roles,
        "method": recipe.methods,
        "source": recipe.sources,
    }
    named = [("role", f"conditions.{i}", name) for i, name in enumerate(recipe.conditions)]
    for method, m in recipe.methods.items():
        held = [c.role for c in m.constraints if c.role]
        named += [("role", f"methods.{method}.constraints", name) for name in held]
        named += [("role", f"methods.{method}.conditions", name) for name in m.conditions or ()]
    named += [("role", "roles", "target"), ("role", "coarse.role", recipe.coarse.role)]
    named += [("method", f"products.{i}", name) for i, name in enumerate(recipe.products)]
    named += [("role", "split.role", recipe.split.role)] if recipe.split.role else []
    named += [("role", "insitu", recipe.insitu)] if recipe.insitu else []
    named += [
        ("role", f"evaluate.classes.{name}", part.role)
        for name, parts in recipe.evaluate.classes.items()
        for part in parts
    ]
    named += [
        ("role", "tiles.normalise", name) for name in recipe.tiles.normalise if name != "coarse"
    ]
    named += [("source", f"roles.{name}.source", r.source) for name, r in recipe.roles.items()]
    named += [("source", f"roles.{n}.geoid", r.geoid) for n, r in recipe.roles.items() if r.geoid]
    named += [("source", "scenes.source", recipe.scenes.source)] if recipe.scenes else []
    if recipe.picks:
        named += [("source", "picks.source", recipe.picks.source)]
        named += [("role", "picks.below", recipe.picks.below)] if recipe.picks.below else []
    named += [("source", "forecast.source", recipe.forecast.source)] if recipe.forecast else []
    for kind, key, name in named:
        if name not in known[kind]:
            yield f"{key}: no {kind} {name!r}; there are {', '.join(known[kind])}"
    read = [(f"roles.{n}", r.source, v) for n, r in recipe.roles.items() for v in r.variables]
    read += [("picks", recipe.picks.source, recipe.picks.variable)] if recipe.picks else []
    if recipe.forecast:
        read += [("forecast", recipe.forecast.source, recipe.forecast.variable)]
    for key, source, variable in read:
        have = recipe.sources[source].variables
        if variable not in have:
            yield f"{key}: {source!r} has no {variable!r}, but {', '.join(have)}"
