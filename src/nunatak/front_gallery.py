"""The pictures of scenes and their fronts, from their stores and files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nunatak import figures
from nunatak.figures import Shown
from nunatak.fronts import labels, read_codes, read_front, thinned, whole
from nunatak.geopackage import DatedFront
from nunatak.products import Results

ROWS = 4


def shown(scene: Results, method: str = "") -> Shown:
    """A scene to draw: its image, its labels, and what a method makes of it if one is named."""
    recipe, acquired = scene.recipe, scene.recipe.acquisition
    zone, front = labels(scene)
    return Shown(
        f"{acquired.group}, {acquired.date}, {acquired.sensor}",
        scene.coarse.read_first(whole(recipe)),
        acquired.bounds,
        acquired.crs is not None,
        true_zone=zone,
        zone=read_codes(scene, method) if method and recipe.told(method) else None,
        true_front=() if front is None else thinned(recipe, front).lines,
        front=read_front(scene, method).lines if method else (),
    )


def panels(scenes: Sequence[Results], method: str, path: Path) -> None:
    """At most `ROWS` scenes, evenly spaced in time, with true and predicted zones."""
    order = sorted(scenes, key=lambda scene: scene.recipe.acquisition.date)
    places = np.unique(np.linspace(0, len(order) - 1, min(ROWS, len(order))).astype(int))
    chosen = [shown(order[place], method) for place in places]
    figures.scene_panels(chosen, path, title=f"{scenes[0].recipe.title}: {method}")


def comparable(scenes: Sequence[Results]) -> list[Results]:
    """The scenes of the commonest CRS; if none has one, those of the commonest shape."""
    located = [scene for scene in scenes if scene.recipe.acquisition.crs]
    chosen = located or list(scenes)
    frames = [_frame(scene) for scene in chosen]
    common = Counter(frames).most_common(1)[0][0]
    return [scene for scene, frame in zip(chosen, frames, strict=True) if frame == common]


def _frame(scene: Results) -> object:
    acquired = scene.recipe.acquisition
    return acquired.crs or acquired.shape


def fronts(
    scenes: Sequence[Results],
    found: Sequence[DatedFront],
    path: Path,
    *,
    centre: NDArray[np.float64] | None = None,
    title: str = "",
) -> None:
    """Fronts coloured by date over the last of some scenes of one place.

    Those whose coordinates do not compare with most others' are left out.
    """
    kept = comparable(scenes)
    names = {scene.recipe.scene for scene in kept}
    last = max(kept, key=lambda scene: scene.recipe.acquisition.date)
    drawn = [(front.date, front.lines) for front in found if front.scene in names]
    figures.front_map(shown(last), drawn, path, centre=centre, title=title)
