"""Whether the parts of a recipe fit each other, which no single part can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from nunatak.errors import NunatakError
from nunatak.registry import FIELD_READERS
from nunatak.source import Elevation

if TYPE_CHECKING:
    from nunatak.recipe import Recipe


def faults(recipe: Recipe) -> Iterator[str]:
    """Names that do not exist, grids that do not fit, values out of range; nothing if all is well.

    Each fault says what was given, what was expected and, where it can, what to do.
    """
    yield from _dangling(recipe)
    try:
        recipe.layout  # noqa: B018
        for role in recipe.roles:
            recipe.ratio(role)
    except NunatakError as error:
        yield str(error)
    low, high = recipe.target.valid_range
    if low <= recipe.mosaic.nodata <= high:
        yield (
            f"mosaic.nodata {recipe.mosaic.nodata:g} is a valid value: expected one outside of"
            f" target.valid_range, {low:g} to {high:g}"
        )
    if recipe.coarse.degrade.op != "pair" and recipe.coarse.role != "target":
        yield f"coarse.role {recipe.coarse.role!r} is a real coarse source: degrade must be 'pair'"
    if recipe.coarse.degrade.op == "pair" and recipe.ratio(recipe.coarse.role) != 1:
        yield f"roles.{recipe.coarse.role}: the coarse field needs the resolution of a coarse cell"
    yield from _fieldless(recipe)
    yield from _incomparable(recipe)


def _fieldless(recipe: Recipe) -> Iterator[str]:
    """Operations that read a field, where no role is named."""
    named = [("split", recipe.split.by.op, recipe.split.role)]
    for method, m in recipe.methods.items():
        named += [(f"methods.{method}.constraints", c.op, c.role) for c in m.constraints]
    for key, op, role in named:
        if op in FIELD_READERS and role is None:
            yield f"{key}: {op!r} reads a field: expected role, one of {', '.join(recipe.roles)}"


def _incomparable(recipe: Recipe) -> Iterator[str]:
    """What meets the target has its units; picks that are heights have its vertical datum too."""
    meeting = ["target", recipe.coarse.role]
    meeting += [c.role for m in recipe.methods.values() for c in m.constraints if c.role]
    meeting += [recipe.picks.below] if recipe.picks and recipe.picks.below else []
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
    if recipe.picks:
        named += [("source", "picks.source", recipe.picks.source)]
        named += [("role", "picks.below", recipe.picks.below)] if recipe.picks.below else []
    for kind, key, name in named:
        if name not in known[kind]:
            yield f"{key}: no {kind} {name!r}; there are {', '.join(known[kind])}"
    read = [(f"roles.{n}", r.source, v) for n, r in recipe.roles.items() for v in r.variables]
    read += [("picks", recipe.picks.source, recipe.picks.variable)] if recipe.picks else []
    for key, source, variable in read:
        have = recipe.sources[source].variables
        if variable not in have:
            yield f"{key}: {source!r} has no {variable!r}, but {', '.join(have)}"
