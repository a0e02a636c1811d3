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
from nunatak.recipe import Recipe
from nunatak.registry import READERS
from nunatak.scene import Scenes
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

    Raises
    ------
    ConfigError
        If what is to be mapped is in none of them.
    """
    if recipe.scenes is None:
        return recipe
    key = recipe.scenes.source
    source = recipe.sources[key]
    path = local_paths(source, key, results / "download" / key, data)[0]
    album: Album = READERS.call(source.reader.op, source.reader.args, path, source)
    found = album.scenes()
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
    return recipe.model_copy(update={"scenes": scenes})
