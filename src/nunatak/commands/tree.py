"""Which steps a results tree holds, told by the names of its files, and how they are called."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from nunatak.albums import load
from nunatak.config import Config
from nunatak.errors import StoreError
from nunatak.recipe import Recipe
from nunatak.scene import FOLDER
from nunatak.tracking.reconcile import hold
from nunatak.tracking.steps import PATHS, SCALE, Step
from nunatak.validation import read_yaml

_RUN = rf"[A-Za-z][A-Za-z0-9_]*(?:/{FOLDER}/[A-Za-z0-9_-]+)?"
_WILD = {"block": "[0-9]+_[0-9]+", "member": "[0-9]+", "trial": "[0-9]+", "run": _RUN}
_WILD["scale"] = SCALE
_FIELD = re.compile(r"\{(\w+)\}")
_FEW = 4


@dataclass(frozen=True)
class Found:
    """A step that has left a manifest, a trace or both."""

    step: Step
    manifest: bool
    trace: bool


def steps(root: Path) -> list[Found]:
    """The steps that have left something, stage by stage; other files are passed over.

    Raises
    ------
    StoreError
        If there is no such folder.
    """
    _refuse_missing(root)
    found = []
    for stage, path in PATHS.items():
        there = (file for glob in _globs(path) for file in root.glob(f"{glob}.*"))
        files = {file.relative_to(root).as_posix() for file in there}
        pattern = _pattern(path)
        for name in sorted({file.rpartition(".")[0] for file in files}, key=_natural):
            manifest, trace = f"{name}.json" in files, f"{name}.trace" in files
            match = pattern.fullmatch(name)
            if match and (manifest or trace):
                names = match.groupdict()
                found.append(Found(Step(stage, names.pop("run", ""), names), manifest, trace))
    return found


def _globs(path: str) -> list[str]:
    """Of runs, and of their scenes."""
    runs = ["*", f"*/{FOLDER}/*"] if "{run}" in path else [""]
    return [_FIELD.sub("*", path.replace("{run}", run)) for run in runs]


def _pattern(path: str) -> re.Pattern[str]:
    def group(field: re.Match[str]) -> str:
        return f"(?P<{field[1]}>{_WILD.get(field[1], '[A-Za-z][A-Za-z0-9_]*')})"

    return re.compile(_FIELD.sub(group, path.replace(".", r"\.")))


def _natural(name: str) -> list[str | int]:
    """Sorts 2_10 behind 2_9."""
    return [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", name)]


def product(step: Step) -> str:
    """What a step makes or is a block of, below the results root: ``bed/degrade/coarse``."""
    return step.name.rpartition("/")[0] if "block" in step.names else step.name


def told(step: Step) -> str:
    """A step in words: its product, and its block if it is one of a block."""
    block = step.names.get("block")
    return f"{product(step)} block {block}" if block else product(step)


def place(block: str) -> tuple[int, int]:
    """Row and column of a block."""
    row, _, col = block.partition("_")
    return int(row), int(col)


def which(blocks: Collection[str]) -> str:
    """Blocks in words: by name if they are few, else by where they lie and their number."""
    names = sorted(blocks, key=place)
    if len(names) <= _FEW:
        return f"block{'s' if len(names) > 1 else ''} {', '.join(names)}"
    rows, cols = zip(*map(place, names), strict=True)
    top, left, bottom, right = min(rows), min(cols), max(rows), max(cols)
    if len(names) == (bottom - top + 1) * (right - left + 1):
        return f"blocks {top}_{left} to {bottom}_{right} ({len(names)})"
    return f"{len(names)} blocks between {top}_{left} and {bottom}_{right}"


def size(path: Path, seen: set[tuple[int, int]]) -> int:
    """Bytes of a file or of a folder's files; a file of several links, told by ``seen``, once."""
    total = 0
    for file in path.rglob("*") if path.is_dir() else (path,):
        stat = file.lstat()
        if not file.is_dir() and (stat.st_dev, stat.st_ino) not in seen:
            seen.add((stat.st_dev, stat.st_ino))
            total += stat.st_size
    return total


def configured(configfile: Path) -> tuple[Config, dict[str, Recipe]]:
    """The configuration and its recipes, as Snakemake reads them in this folder."""
    return load(read_yaml(configfile), Path("config"))


def held(root: Path) -> FileLock:
    """Hold a results tree, so that no run begins while it is changed.

    Raises
    ------
    StoreError
        If there is no such folder, or a run holds it.
    """
    _refuse_missing(root)
    lock = hold(root)
    if lock is None:
        raise StoreError(f"a run works on {root}", "a results tree at rest", "wait until it ends")
    return lock


def _refuse_missing(root: Path) -> None:
    if not root.is_dir():
        raise StoreError(f"no folder {root}", "a results tree", "name another with --results")
