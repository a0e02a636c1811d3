"""A step: one job of the workflow by its name, and the values of the recipe that it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nunatak import registry
from nunatak.provenance import digest_json
from nunatak.tracking.ranged import ranged, trials, unsearched

_SOURCE = ("reader", "variables", "crs", "vertical_datum")


def _of(source: str) -> list[str]:
    """What of a source tells how its files are read; what is in them, scans tell."""
    return [f"sources.{{{source}}}.{key}" for key in _SOURCE]


# What a training follows from besides its model and its own values.
_LEARNT = (
    *("grid", "conditions", "tiles.size", "tiles.context", "split.buffer", "infer.energy"),
    *("methods.{method}.conditions", "methods.{method}.layers", "target.classes", "target.lines"),
)
# What the record of a product's origin tells.
_TOLD = (
    *("title", "summary", "grid", "target", "roles", "conditions", "coarse", "split", "tiles"),
    *("infer", "mosaic", "publish", "scenes", "sources", "methods.{method}"),
)
READS: dict[str, tuple[str, ...]] = {
    "download": ("sources.{source}.files", "sources.{source}.auth"),
    "scan": ("used.{source}", *_of("source")),
    "reproject": ("grid", "target.vertical_datum", "roles.{role}", *_of("source"), *_of("geoid")),
    "degrade": ("grid", "coarse", "target"),
    "tile": ("grid", "scenes", "coarse", "conditions", "split", "tiles", "target.variable"),
    "train": (*_LEARNT, "methods.{method}.model", "methods.{method}.train"),
    "infer": (
        *("grid", "target", "infer", "conditions"),
        *("methods.{method}.model", "methods.{method}.conditions", "methods.{method}.layers"),
    ),
    "mosaic": (
        *("grid", "target", "methods.{method}.members", "methods.{method}.layers"),
        "methods.{method}.constraints",
    ),
    "publish": _TOLD,
    "rescale": _TOLD,
    "series": ("title", "target", "coarse", "scenes", "products", "publish", "series"),
    "stations": (*("forecast.variable", "forecast.stations", "forecast.split", *_of("forecast")),),
    "forecast": (
        *("forecast.history", "forecast.lead", "forecast.split", "forecast.methods.{method}"),
    ),
    "skill": ("title", "forecast.variable", "forecasters", "sources.{forecast}.variables"),
    "evaluate": (
        *("title", "grid", "scenes", "target", "coarse", "products", "split", "picks", "evaluate"),
        *_of("picks"),
    ),
    "trial": (*_LEARNT, "ranged.{method}"),
    "study": ("title", "target", "ranged.{method}", "trials.{method}"),
}
# What stages read where a recipe has it, beside the above; of other recipes nothing is noted.
_WHERE: dict[str, tuple[str, ...]] = {
    "scenes.found": ("scan",),
    "insitu": ("tile", "train", "trial", "evaluate"),
}
STAGES = tuple(READS)
# Made where it is asked for by name: the results tree tells of which there are.
ASKED = ("rescale",)
# A number above 0, written in one way.
SCALE = r"[1-9][0-9]*(?:\.[0-9]*[1-9])?|0\.[0-9]*[1-9]"

PATHS = {
    "download": "download/{source}",
    "scan": "{run}/scan/{source}",
    "reproject": "{run}/reproject/{role}/{block}",
    "degrade": "{run}/degrade/coarse/{block}",
    "tile": "{run}/tile/manifest",
    "train": "{run}/train/{method}/{member}/manifest",
    "infer": "{run}/infer/{method}/{member}/{block}",
    "mosaic": "{run}/mosaic/{method}/{block}",
    "publish": "{run}/publish/{method}.provenance",
    "rescale": "{run}/rescale/{method}/{scale}.provenance",
    "series": "{run}/series/manifest",
    "stations": "{run}/stations/manifest",
    "forecast": "{run}/forecast/{method}/manifest",
    "skill": "{run}/evaluate/forecast",
    "evaluate": "{run}/evaluate/manifest",
    "trial": "{run}/trial/{method}/{trial}/manifest",
    "study": "{run}/study/{method}/manifest",
}

_OPERATIONS = {
    "reader": registry.READERS,
    "degrade": registry.DEGRADE,
    "by": registry.SPLITS,
    "normalise": registry.NORMALISE,
    "model": registry.MODELS,
    "losses": registry.LOSSES,
    "loss": registry.INSITU,
    "forecaster": registry.FORECASTERS,
    "task": registry.TASKS,
    "critic": registry.CRITICS,
    "insitu": registry.INSITU,
    "constraints": registry.POSTPROCESS,
    "publish": registry.PUBLISH,
    "judge": registry.JUDGES,
}


@dataclass(frozen=True)
class Step:
    """One job: a stage and the wildcards that tell it from the stage's other jobs.

    Parameters
    ----------
    stage
        Name of the stage.
    run
        Name of the run in results.
    names
        ``source``, ``role``, ``method``, ``member``, ``block``, ``scale`` and ``trial``, as far as
        the stage has them.
    """

    stage: str
    run: str
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Where its manifest lies below the results root, without a suffix."""
        return PATHS[self.stage].format(run=self.run, **self.names)

    @property
    def name(self) -> str:
        """What the step is called below the folders of logs and benchmarks."""
        return self.path.removesuffix("/manifest").removesuffix(".provenance")

    def manifest(self, root: Path) -> Path:
        """The file that says that the step is done."""
        return root / f"{self.path}.json"

    def values(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """What of a recipe (a JSON value) the step reads, by dotted path."""
        role = recipe["roles"].get(self.names.get("role"), {})
        picks = (recipe.get("picks") or {}).get("source")
        forecast = recipe.get("forecast") or {}
        named = {"source": role.get("source"), "geoid": role.get("geoid"), "picks": picks}
        named["forecast"] = forecast.get("source")
        named |= self.names
        paths = [path.format(**{"method": None, **named}) for path in READS[self.stage]]
        paths += [
            key for key, stages in _WHERE.items() if self.stage in stages and _at(recipe, key)
        ]
        known = {**recipe, "used": used(recipe), "methods": unsearched(recipe["methods"])}
        known |= {"ranged": ranged(recipe), "trials": trials(recipe)}
        known["forecasters"] = list(forecast.get("methods", ()))
        return {path: _at(known, path) for path in self._frozen(recipe) or paths}

    def _frozen(self, recipe: Mapping[str, Any]) -> list[str]:
        """The one value that a frozen training follows from: which model is kept."""
        path = f"methods.{self.names.get('method')}.train.freeze"
        return [path] if self.stage == "train" and _at(recipe, path) else []

    def digests(self, recipe: Mapping[str, Any]) -> dict[str, str]:
        """The digest of each value that the step reads."""
        return {path: digest_json(value) for path, value in self.values(recipe).items()}

    def modules(self, recipe: Mapping[str, Any]) -> list[str]:
        """The stage's module, and those of the operations that its values name."""
        if self._frozen(recipe):
            return []
        found = {f"nunatak.stages.{self.stage}"}
        for path, value in self.values(recipe).items():
            found |= set(_operations(value, path.split(".")))
        return sorted(found)


def used(recipe: Mapping[str, Any]) -> dict[str, list[str]]:
    """The variables that a recipe's roles take of each gridded source, sorted."""
    found: dict[str, set[str]] = {}
    for role in recipe["roles"].values():
        found.setdefault(role["source"], set()).update(role["variables"])
        if role.get("geoid"):
            found.setdefault(role["geoid"], set()).add("geoid")
    return {source: sorted(names) for source, names in found.items()}


def _at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _operations(value: Any, keys: list[str]) -> Iterator[str]:
    """Modules of the operations in a value, told by the nearest key that names their kind."""
    if isinstance(value, list):
        for item in value:
            yield from _operations(item, keys)
    if not isinstance(value, Mapping):
        kind = keys[-1] if keys[-1] == "critic" else ""
        if kind and isinstance(value, str):
            yield _module(kind, value)
        return
    if isinstance(value.get("op"), str):
        kind = next(key for key in reversed(keys) if key in _OPERATIONS)
        yield _module(kind, value["op"])
    for key, item in value.items():
        yield from _operations(item, [*keys, key])


def _module(kind: str, name: str) -> str:
    return _OPERATIONS[kind].path(name).partition(":")[0]
