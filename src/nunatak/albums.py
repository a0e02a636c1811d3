"""The configuration with its scenes: recipes of scenes are told which there are.

Apart from `nunatak.config`, which jobs read their recipe with: they need no reader of albums.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nunatak import config as plain
from nunatak.config import Config
from nunatak.errors import ConfigError
from nunatak.ops.split import NONE
from nunatak.recipe import Recipe
from nunatak.registry import ALBUMS, READERS, SCENE_READERS, SPLITS
from nunatak.scene import Scene, Scenes
from nunatak.sources.catalogue import local_paths
from nunatak.sources.raster import Album
from nunatak.validation import explain


def load(config: Mapping[str, Any], folder: Path) -> tuple[Config, dict[str, Recipe]]:
    """As `nunatak.config.load`; of a recipe of scenes, each scene's own recipe comes after it.

    Raises
    ------
    ConfigError
        As that does, or as `with_scenes`, or if a scene does not suit the scale.
    """
    parsed, recipes = plain.load(config, folder)
    found: dict[str, Recipe] = {}
    for given in recipes.values():
        recipe = with_scenes(given, Path(parsed.results), Path(parsed.data))
        found[recipe.name] = recipe
        for part in map(recipe.of, recipe.places):
            part.layout  # noqa: B018
            found[part.name] = part
    return parsed, found


def with_scenes(recipe: Recipe, results: Path, data: Path) -> Recipe:
    """A recipe that knows its scenes, if it is one of scenes.

    A scene that is in no split, as a day of the gap between two, is left out unless it is mapped.

    Raises
    ------
    ConfigError
        If what is to be mapped is in none of them.
    """
    if recipe.scenes is None:
        return recipe
    key = recipe.scenes.source
    found = _joined(recipe, results, data)
    groups = {scene.group for scene in found.values()}
    asked = {*recipe.scenes.mapped, *([recipe.series.group] if recipe.series else [])}
    if unknown := sorted(asked - groups):
        raise ConfigError(
            f"{recipe.name}: no scene of {', '.join(unknown)} in {key}",
            f"one of {', '.join(sorted(groups))}",
            "correct scenes.mapped and series.group",
        )
    try:
        scenes = Scenes.model_validate({**recipe.scenes.model_dump(), "found": found})
    except ValidationError as error:
        raise explain(error, f"{recipe.name}: scenes", Scenes) from error
    kept = {name: s for name, s in found.items() if scenes.maps(name) or _learnt(recipe, s)}
    scenes = scenes.model_copy(update={"found": kept})
    return recipe.model_copy(update={"scenes": scenes})


def _learnt(recipe: Recipe, scene: Scene) -> bool:
    """Whether a scene may be in a split; of those that splits cut into parts, some part is."""
    by = recipe.split.by
    if by.op not in SCENE_READERS:
        return True
    labels = SPLITS.call(by.op, by.args, scene.geobox.zoom_to((1, 1)), scene)
    return bool((labels != NONE).any())


def _joined(recipe: Recipe, results: Path, data: Path) -> dict[str, Scene]:
    """The scenes of which every album that a role reads has something."""
    assert recipe.scenes is not None
    read = {role.source for role in recipe.roles.values()} - {recipe.scenes.source}
    others = sorted(k for k in read if recipe.sources[k].reader.op in ALBUMS)
    found = _album(recipe, recipe.scenes.source, results, data).scenes()
    for key in others:
        other = _album(recipe, key, results, data)
        kept = {name: scene for name, scene in found.items() if other.holds(scene)}
        if not kept:
            raise ConfigError(
                f"{recipe.name}: {key} has none of the days of {recipe.scenes.source}:"
                f" {_span(other.scenes())} beside {_span(found)}",
                "sources that share days: they are joined by date",
                "check the dates of both, and the reader's dates",
            )
        found = kept
    return found


def _span(scenes: Mapping[str, Scene]) -> str:
    dates = sorted(scene.date for scene in scenes.values())
    return f"{dates[0]} to {dates[-1]}" if dates else "none"


def _album(recipe: Recipe, key: str, results: Path, data: Path) -> Album:
    source = recipe.sources[key]
    path = local_paths(source, key, results / "download" / key, data)[0]
    album: Album = READERS.call(source.reader.op, source.reader.args, path, source)
    return album
