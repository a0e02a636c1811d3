"""What a stage may import while it runs, told from source texts."""

from __future__ import annotations

import re
from pathlib import Path

import nunatak
from nunatak import registry
from nunatak.registry import Registry
from nunatak.tracking.code import facts

SRC = Path(nunatak.__file__).parent
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
    modules: set[str] = set()
    packages: set[str] = set()
    waiting = {"nunatak.jobs", f"nunatak.stages.{stage}"}
    while waiting:
        module = waiting.pop()
        if module in modules:
            continue
        modules.add(module)
        text = source(module)
        found = facts(text, module)
        packages |= set(found["foreign"])
        waiting |= set(found["imports"])
        for name, operations in REGISTRIES.items():
            if re.search(rf"\b{name}\.(?:resolve|call)\(", text):
                waiting |= {path.partition(":")[0] for path in operations.table.values()}
    return modules, packages


def source(module: str) -> str:
    """The source text of a module of the project."""
    stem = SRC.joinpath(*module.split(".")[1:])
    path = stem.with_suffix(".py")
    return (path if path.is_file() else stem / "__init__.py").read_text(encoding="utf-8")
