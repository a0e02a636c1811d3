"""From the files under config/ to checked recipes: everything wrong is said before any job runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from nunatak.errors import ConfigError
from nunatak.provenance import write_text
from nunatak.recipe import Recipe
from nunatak.source import Model, Name, Source
from nunatak.sources.catalogue import load_sources, local_paths, read_yaml
from nunatak.validation import explain

_PATH = re.compile(r"[\w./][\w./+@=-]*")
_TAKEN = ("benchmarks", "download", "logs")


def _path(path: str) -> str:
    """Paths reach shell commands and patterns of file names."""
    if not _PATH.fullmatch(path):
        raise ValueError("a path of letters, digits and ._/+@=- is needed")
    return path


def _free(name: str) -> str:
    if name in _TAKEN:
        raise ValueError(f"the results tree has folders {', '.join(_TAKEN)} of its own")
    return name


Folder = Annotated[str, AfterValidator(_path)]


class Run(Model):
    """One recipe to run: its file under config/recipes, its name in results, what it changes.

    ``overlay`` names files that change it, before ``set`` does.
    """

    recipe: Annotated[Name, AfterValidator(_free)]
    name: Annotated[Name, AfterValidator(_free)] | None = None
    overlay: Folder | tuple[Folder, ...] = ()
    set: dict[str, Any] = Field(default_factory=dict)

    @property
    def overlays(self) -> tuple[Path, ...]:
        """Its overlays, of which each changes what those before it made."""
        return tuple(map(Path, [self.overlay] if isinstance(self.overlay, str) else self.overlay))


class Config(Model):
    """config/config.yaml: where data and results lie, and which recipes run."""

    data: Folder = "data"
    results: Folder = "results"
    runs: Annotated[tuple[Run, ...], Field(min_length=1)]


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Change a tree of mappings: mappings merge, anything else is replaced, null removes a key."""
    merged = dict(base)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def load(config: Mapping[str, Any], folder: Path) -> tuple[Config, dict[str, Recipe]]:
    """Parse and check a configuration and all that it names, but for scenes (`nunatak.albums`).

    Parameters
    ----------
    config
        What config.yaml holds.
    folder
        The folder of sources.yaml and recipes/.

    Returns
    -------
    Config, dict
        The configuration, and the recipes by their name in results.

    Raises
    ------
    ConfigError
        Naming the file, the key, what was given and what is allowed.
    """
    try:
        parsed = Config.model_validate(config)
    except ValidationError as error:
        raise explain(error, "config", Config) from error
    sources = load_sources(folder / "sources.yaml")
    recipes: dict[str, Recipe] = {}
    for run in parsed.runs:
        recipe = load_recipe(run, folder, {k: s.model_dump() for k, s in sources.items()})
        if recipe.name in recipes:
            raise ConfigError(
                f"config: two runs are called {recipe.name!r}", "names that differ", "set name:"
            )
        _refuse_missing(recipe, Path(parsed.data))
        recipes[recipe.name] = recipe
    return parsed, recipes


def load_recipe(run: Run, folder: Path, sources: Mapping[str, Any]) -> Recipe:
    """Read a recipe's file, apply what the run changes, and give it the sources that it names."""
    path = folder / "recipes" / f"{run.recipe}.yaml"
    if not path.exists():
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise ConfigError(f"config: no recipe {run.recipe!r}", f"one of {', '.join(known)}")
    raw = read_yaml(path)
    for change in (*map(_overlay, run.overlays), run.set):
        raw = merge(raw, change)
    if taken := sorted({"name", "sources"} & raw.keys()):
        raise ConfigError(
            f"{path}: {' and '.join(taken)} given in a recipe",
            "the name in the run, sources in sources.yaml",
            "move them there",
        )
    raw["name"] = run.name or run.recipe
    used = _named_sources(raw)
    if unknown := sorted(used - sources.keys()):
        raise ConfigError(
            f"{path}: no source {', '.join(map(repr, unknown))}",
            f"one of {', '.join(sorted(sources))}",
            f"add it to {folder / 'sources.yaml'} or use one of these",
        )
    raw["sources"] = {key: value for key, value in sources.items() if key in used}
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise explain(error, " + ".join(map(str, [path, *run.overlays])), Recipe) from error


def _overlay(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(
            f"config: overlay: no {path}",
            "a file that is there, from the folder in which you call snakemake",
            "leave it out until `snakemake tune` has made it, or name another",
        )
    return read_yaml(path)


def _named_sources(raw: Mapping[str, Any]) -> set[str]:
    """The sources that an unchecked recipe names; what is no mapping or text, names none."""
    roles = raw.get("roles")
    parts = [*(roles.values() if isinstance(roles, Mapping) else ()), raw.get("picks")]
    parts += [raw.get("scenes"), raw.get("forecast")]
    known = [part for part in parts if isinstance(part, Mapping)]
    named = [part.get(key) for part in known for key in ("source", "geoid")]
    return {name for name in named if isinstance(name, str)}


def schemas() -> dict[str, dict[str, Any]]:
    """JSON schemas of the configuration files: config, recipe and sources."""
    source = Source.model_json_schema()
    definitions = source.pop("$defs", {})
    sources = {"type": "object", "additionalProperties": source, "$defs": definitions}
    recipe = Recipe.model_json_schema()
    for key in ("name", "sources"):
        recipe["properties"].pop(key)
    recipe["required"].remove("name")
    return {"config": Config.model_json_schema(), "recipe": recipe, "sources": sources}


def _refuse_missing(recipe: Recipe, data: Path) -> None:
    for key, source in recipe.sources.items():
        for file, path in zip(source.files, local_paths(source, key, Path(), data), strict=True):
            if file.url.startswith("file:") and not path.exists():
                raise ConfigError(
                    f"sources.yaml: {key}.files: no {path}",
                    "a file or folder that is there",
                    "put it there, or set 'data:' in the configuration to the folder that holds it",
                )


def values(recipe: Recipe) -> dict[str, Any]:
    """A recipe as the JSON value that `save` writes."""
    found: dict[str, Any] = json.loads(recipe.model_dump_json())
    return found


def save(recipe: Recipe, results: Path) -> Path:
    """Write the checked recipe where its jobs read it; a file that is already so is left alone."""
    path = results / recipe.name / "recipe.json"
    text = recipe.model_dump_json(indent=1) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    return path


def saved(path: Path) -> Recipe:
    """Read a recipe that `save` wrote."""
    return Recipe.model_validate_json(path.read_text(encoding="utf-8"))
