"""What a stage may import while it runs, told from source texts."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import nunatak
from nunatak import registry
from nunatak.registry import Registry

SRC = Path(nunatak.__file__).parents[1]
REGISTRIES = {name: value for name, value in vars(registry).items() if isinstance(value, Registry)}


def reach(stage: str) -> tuple[set[str], set[str]]:
    """Follow the imports of a stage's jobs, those in functions too, and operations resolved there.

    Returns
    -------
    set of str
        The modules of the project, with those of every registered operation of the kinds that one
        of them resolves.
    set of str
        The other packages that these import.
    """
    modules: set[Path] = set()
    packages: set[str] = set()
    waiting = {"nunatak.jobs", f"nunatak.stages.{stage}"}
    while waiting:
        name = waiting.pop()
        if name.partition(".")[0] != "nunatak":
            packages.add(name.partition(".")[0])
            continue
        path = nearest(name)
        if path not in modules:
            modules.add(path)
            text = path.read_text(encoding="utf-8")
            waiting |= imported(text) | resolved(text)
    dotted = (path.relative_to(SRC).with_suffix("") for path in modules)
    ours = {".".join(path.parts).removesuffix(".__init__") for path in dotted}
    return ours, packages - sys.stdlib_module_names


def nearest(name: str) -> Path:
    """The source file of a module, or of that which an attribute lies in."""
    stem = SRC.joinpath(*name.split("."))
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            return path
    return nearest(name.rpartition(".")[0])


def imported(text: str) -> set[str]:
    """What a source text imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def resolved(text: str) -> set[str]:
    """The modules of all operations of the kinds that a source text resolves."""
    called = (r for n, r in REGISTRIES.items() if re.search(rf"\b{n}\.(?:resolve|call)\(", text))
    return {path.partition(":")[0] for kind in called for path in kind.table.values()}
