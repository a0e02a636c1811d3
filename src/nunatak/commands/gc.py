"""gc: what lies in a results tree and is of no recipe of the configuration, or of a killed job."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from nunatak import dag
from nunatak.commands.tree import held, product, size, steps, which
from nunatak.recipe import Recipe
from nunatak.scene import FOLDER
from nunatak.tracking.steps import ASKED

_STORES = ("reproject/*", "degrade/*", "infer/*/*", "mosaic/*")
_FOLDED = ("train/*/*", "trial/*/*", "study/*", *(f"{stage}/*" for stage in ASKED))
_PUBLISHED = ("{}.tif", ".kept/{}.tif", "{}.provenance.json", "{}.provenance.trace")
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")
_BLOCK = re.compile("[0-9]+_[0-9]+")
_FILES = re.compile(r"\..+\.tmp|.+\.partial")
_FOLDERS = re.compile(r"\..+\.zarr\..+|\.publish-.+")


@dataclass(frozen=True)
class Waste:
    """Something that no run of the configuration needs.

    Parameters
    ----------
    name
        What it is.
    paths
        Its files and folders.
    """

    name: str
    paths: tuple[Path, ...]


def find(root: Path, recipes: Mapping[str, Recipe], needed: Collection[Path] = ()) -> list[Waste]:
    """Find what no recipe asks for; whatever is not known to be nunatak's is left out.

    Parameters
    ----------
    root
        The results root.
    recipes
        The configured recipes by name.
    needed
        Files that the configuration reads: whatever holds one is left out.
    """
    found = [*_runs(root, recipes), *_downloads(root, recipes)]
    made: dict[str, set[str]] = {}
    for each in steps(root):
        if each.step.stage not in ASKED:
            made.setdefault(each.step.run, set()).add(product(each.step))
    for name, recipe in recipes.items():
        found += _products(root, recipe, made.get(name, set()))
        found += [*_published(root, recipe), *_blocks(root, recipe)]
    taken = {path for waste in found for path in waste.paths}
    found += [
        Waste(f"{path.relative_to(root)}: left by a job that was killed", (path,))
        for folder in (root / "download", *(root / name for name in ("benchmarks", *recipes)))
        for path in _leftovers(folder, taken, deep=folder.name != "download")
    ]
    return [kept for waste in found if (kept := _within(root, waste, needed)).paths]


def _within(root: Path, waste: Waste, needed: Collection[Path]) -> Waste:
    """What of it is there, is not needed, and does not lie elsewhere behind a symbolic link."""
    whole, read = root.resolve(), [path.resolve() for path in needed]
    paths = [path for path in waste.paths if path.exists()]
    paths = [p for p in paths if not any(n.is_relative_to(p.resolve()) for n in read)]
    return Waste(waste.name, tuple(p for p in paths if p.resolve() == whole / p.relative_to(root)))


def _runs(root: Path, recipes: Mapping[str, Recipe]) -> Iterator[Waste]:
    runs = [path for glob in ("*", f"*/{FOLDER}/*") for path in root.glob(f"{glob}/recipe.json")]
    gone: set[str] = set()
    for saved in sorted(runs):
        name = saved.parent.relative_to(root).as_posix()
        if name.partition("/")[0] in gone:
            continue
        if name not in recipes and _NAME.fullmatch(saved.parent.name):
            gone.add(name)
            paths = (saved.parent, root / "logs" / name, root / "benchmarks" / name)
            yield Waste(f"{name}: no run of this name", paths)


def _downloads(root: Path, recipes: Mapping[str, Recipe]) -> Iterator[Waste]:
    used = {source for recipe in recipes.values() for source in recipe.sources}
    folder = root / "download"
    found = {p.name.removesuffix(".json").removesuffix(".trace") for p in folder.glob("[!.]*")}
    for name in sorted(found - used):
        if _NAME.fullmatch(name):
            paths = tuple(folder / f"{name}{suffix}" for suffix in ("", ".json", ".trace"))
            yield Waste(f"download/{name}: no run uses this source", paths)


def _products(root: Path, recipe: Recipe, made: set[str]) -> Iterator[Waste]:
    """Whole products, scans, trainings, searches and all beside them; ``made`` have manifests.

    What was asked for by name stays as long as its method does.
    """
    wanted = {product(step) for step in dag.steps(recipe)}
    wanted |= {f"{recipe.name}/{stage}/{m}" for stage in ASKED for m in recipe.products}
    folder = root / recipe.name
    stores = [path.with_suffix("") for s in _STORES for path in folder.glob(f"{s}.zarr")]
    folders = [path for s in _FOLDED for path in folder.glob(s)]
    found = {str(path.relative_to(root)) for path in (*stores, *folders)}
    for name in sorted((found | made) - wanted):
        parts = name.removeprefix(f"{recipe.name}/").split("/")
        if parts[0] != "publish" and all(map(_NAME.fullmatch, parts)):
            paths = tuple(root / f"{name}{s}" for s in (".zarr", "", ".lock", ".json", ".trace"))
            yield Waste(f"{name}: the recipe does not ask for it", paths)


def _published(root: Path, recipe: Recipe) -> Iterator[Waste]:
    folder = root / recipe.name / "publish"
    found = {path.name.partition(".")[0] for s in _PUBLISHED for path in folder.glob(s.format("*"))}
    wanted = {step.names["method"] for step in dag.steps(recipe) if step.stage == "publish"}
    for name in sorted(found - wanted):
        if _NAME.fullmatch(name):
            title = f"{recipe.name}/publish/{name}: the recipe does not ask for it"
            yield Waste(title, tuple(folder / s.format(name) for s in _PUBLISHED))


def _blocks(root: Path, recipe: Recipe) -> Iterator[Waste]:
    """Blocks of wanted products that lie beyond the recipe's grid."""
    if recipe.places != ("",):
        return
    wanted = {block.name for block in recipe.layout.blocks()}
    for name in sorted({product(s) for s in dag.steps(recipe) if "block" in s.names}):
        shards = root.glob(f"{name}.zarr/*/c/*/*")
        found = {path: f"{path.parent.name}_{path.name}" for path in shards}
        found |= {p: p.stem for s in (".json", ".trace") for p in (root / name).glob(f"*{s}")}
        named = {path: block for path, block in found.items() if _BLOCK.fullmatch(block)}
        beyond = {path: block for path, block in named.items() if block not in wanted}
        if beyond:
            where = which(set(beyond.values()))
            yield Waste(f"{name} {where}: beyond the grid", tuple(sorted(beyond)))


def _leftovers(folder: Path, taken: set[Path], *, deep: bool) -> Iterator[Path]:
    for where, folders, files in os.walk(folder):
        at = Path(where)
        yield from (at / name for name in sorted(files) if _FILES.fullmatch(name))
        yield from (at / name for name in sorted(folders) if _FOLDERS.fullmatch(name))
        inner = [name for name in folders if at / name not in taken]
        folders[:] = [name for name in inner if deep and not _FOLDERS.fullmatch(name)]


def sizes(found: Iterable[Waste]) -> list[int]:
    """Bytes of each on the disk; a file of several links counts once."""
    seen: set[tuple[int, int]] = set()
    return [sum(size(path, seen) for path in waste.paths) for waste in found]


def remove(root: Path, found: Iterable[Waste]) -> None:
    """Remove what was found, and the folders that are empty then."""
    for path in (path for waste in found for path in waste.paths):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        above = path.relative_to(root).parents
        with suppress(OSError):
            for parent in list(above)[:-2]:
                (root / parent).rmdir()


def collect(
    root: Path,
    recipes: Mapping[str, Recipe],
    needed: Collection[Path] = (),
    *,
    delete: bool = False,
) -> Iterator[str]:
    """Find what no recipe asks for, and remove it if asked to; the parameters are as of `find`.

    Yields
    ------
    str
        What was found and its size; then how much it is together.

    Raises
    ------
    StoreError
        If a run holds a tree that is to be changed.
    """
    with held(root) if delete else nullcontext():
        found = find(root, recipes, needed)
        bytes_ = sizes(found)
        for waste, size in zip(found, bytes_, strict=True):
            yield f"{decimal(size):>9}  {waste.name}"
        if delete:
            remove(root, found)
        said = "removed" if delete else "--delete removes it"
        yield f"{decimal(sum(bytes_))}, {said}" if found else "nothing to remove"
