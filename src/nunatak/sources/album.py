"""The synthetic glaciers as a source of scenes, without a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from nunatak.errors import SourceError
from nunatak.grid import Window
from nunatak.provenance import digest_json
from nunatak.scene import Scene
from nunatak.source import Source
from nunatak.sources.glacier import Glacier
from nunatak.sources.radar import Image, image

# Windows of one scene are read one after the other.
_image = lru_cache(maxsize=2)(image)


@dataclass(frozen=True)
class SyntheticAlbum:
    """Scenes of synthetic glaciers; see `open_synthetic_scenes`."""

    source: Source
    seed: int
    glaciers: int
    count: int
    coarsening: float

    def scenes(self) -> dict[str, Scene]:
        """What is known of every scene, by name, sorted."""
        return {name: self._scene(*self._numbers[name]) for name in sorted(self._numbers)}

    @cached_property
    def _numbers(self) -> dict[str, tuple[int, int]]:
        """Glacier and number of every scene, by name."""
        return {
            Glacier(self.seed, glacier).acquisition(number).name: (glacier, number)
            for glacier in range(self.glaciers)
            for number in range(self.count)
        }

    def _scene(self, glacier: int, number: int) -> Scene:
        taken = Glacier(self.seed, glacier).acquisition(number, self.coarsening)
        return Scene.model_validate(asdict(taken))

    def holds(self, scene: Scene) -> bool:
        """Whether there is a scene of the same group and date."""
        return (scene.group, scene.date) in {(s.group, s.date) for s in self.scenes().values()}

    def digest(self, name: str, scene: Scene) -> str:
        """Digest of what a scene is a function of."""
        del scene
        return digest_json([self.seed, *self._numbers[name], self.coarsening])

    def raster(self, name: str, scene: Scene) -> SyntheticScene:
        """One scene, to be read."""
        return SyntheticScene(self, name, scene)

    def seen(self, name: str) -> Image:
        """The cells of a scene."""
        glacier, number = self._numbers[name]
        return _image(Glacier(self.seed, glacier), number, self.coarsening)


@dataclass(frozen=True)
class SyntheticScene:
    """One scene of a synthetic glacier."""

    album: SyntheticAlbum
    name: str
    scene: Scene

    @property
    def geobox(self) -> GeoBox:
        """The scene's own grid."""
        return self.scene.geobox

    def read(self, variable: str, window: Window) -> NDArray[np.float32]:
        """Values of a window; the amplitude is NaN beyond the edge of the swath.

        Raises
        ------
        SourceError
            If the variable is none of a scene's.
        """
        declared = self.album.source.variables.get(variable)
        name = (declared and declared.name) or variable
        if name not in Image._fields:
            raise SourceError(
                f"synthetic scenes have no variable {name!r}",
                f"one of {', '.join(Image._fields)}",
                "correct the variable's name in the source",
            )
        field: NDArray[np.float32] = getattr(self.album.seen(self.name), name)
        return field[window.slices].copy()


def open_synthetic_scenes(
    path: Path | str,
    source: Source,
    *,
    seed: int = 0,
    glaciers: int = 3,
    scenes: int = 12,
    coarsening: float = 5.0,
) -> SyntheticAlbum:
    """Open synthetic glaciers as a source of scenes; there is no file, ``path`` is not looked at.

    Parameters
    ----------
    path
        Not used.
    source
        Its entry in the catalogue; it has ``amplitude``, ``zone`` and ``front``.
    seed
        Of the world.
    glaciers
        How many, ``glacier0`` and on.
    scenes
        Of each glacier; more of them change none of the first.
    coarsening
        Factor on the sides of the sensors' cells, of 7 to 20 m.
    """
    return SyntheticAlbum(source, seed, glaciers, scenes, coarsening)
