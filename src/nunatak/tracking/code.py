"""What code and which packages a step runs: digests of modules without comments and docstrings."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from blake3 import blake3

from nunatak.provenance import digest_json, write_json

_PACKAGE = Path(__file__).parents[1]
# These word messages, refuse, find an operation that is a value already, or share out the work: no
# result follows.
_ASIDE = {"errors", "validation", "consistency", "registry", "tracking", "crew"}


class Code:
    """Digests of modules and versions of packages, remembered in a file while nothing changes.

    Parameters
    ----------
    cache
        The file; it may be lost at any time, and many processes may write it.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self._known = _load(cache)
        self._changed = False
        self._closures: dict[tuple[str, ...], dict[str, Any]] = {}

    def closure(self, modules: Iterable[str]) -> dict[str, Any]:
        """What modules run.

        Returns
        -------
        dict
            ``code``, one digest of the modules and of all that they import in their package, and
            ``environment``, the versions of the other packages that these import, and Python's.
        """
        roots = tuple(sorted(modules))
        if roots not in self._closures:
            self._closures[roots] = self._close(roots)
            if self._changed:
                write_json(self.cache, self._known)
                self._changed = False
        return self._closures[roots]

    def _close(self, roots: tuple[str, ...]) -> dict[str, Any]:
        found: dict[str, str] = {}
        foreign: set[str] = set()
        waiting = list(roots)
        while waiting:
            module = waiting.pop()
            if module in found:
                continue
            facts = self._facts(module)
            found[module] = facts["digest"]
            foreign |= set(facts["foreign"])
            waiting += facts["imports"]
        versions = {name: self._version(name) for name in sorted(foreign)}
        python = ".".join(map(str, sys.version_info[:2]))
        return {
            "code": digest_json(found),
            "environment": {"python": python, **{k: v for k, v in versions.items() if v}},
        }

    def _facts(self, module: str) -> dict[str, Any]:
        path = _file(module)
        stat = path.stat()
        stamp = [str(path), stat.st_size, stat.st_mtime_ns]
        known: dict[str, Any] = self._known["modules"].get(module, {})
        if known.get("stamp") != stamp:
            known = {"stamp": stamp, **facts(path.read_text(encoding="utf-8"), module)}
            self._known["modules"][module] = known
            self._changed = True
        return known

    def _version(self, name: str) -> str:
        stamp = _installed()
        known = self._known["packages"].get(sys.prefix, {})
        if known.get("stamp") != stamp:
            known = self._known["packages"][sys.prefix] = {"stamp": stamp, "versions": {}}
        if name not in known["versions"]:
            known["versions"][name] = _version(name)
            self._changed = True
        return str(known["versions"][name])


def _load(cache: Path) -> dict[str, Any]:
    empty: dict[str, Any] = {"modules": {}, "packages": {}}
    try:
        return {**empty, **json.loads(cache.read_text(encoding="utf-8"))}
    except (OSError, ValueError):
        return empty


def facts(text: str, module: str) -> dict[str, Any]:
    """Parse a module: its digest, the modules of its package and the packages that it imports.

    Comments, blank lines and docstrings do not count.
    """
    tree = ast.parse(text)
    names = sorted(_imported(tree))
    package = module.partition(".")[0]
    inside = [n for n in names if n.split(".")[0] == package]
    foreign = {n.split(".")[0] for n in names} - {package} - sys.stdlib_module_names
    near = {_nearest(name) for name in inside} - {None}
    return {
        "digest": blake3(ast.dump(_bare(tree), annotate_fields=False).encode()).hexdigest(),
        "imports": sorted(name for name in near if name and not _aside(name)),
        "foreign": sorted(foreign),
    }


def _imported(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _nearest(name: str) -> str | None:
    """The module that a dotted name is, or lies in."""
    while name:
        try:
            _file(name)
        except ModuleNotFoundError:
            name = name.rpartition(".")[0]
        else:
            return name
    return None


def _aside(module: str) -> bool:
    parts = module.split(".")
    return parts[0] == _PACKAGE.name and len(parts) > 1 and parts[1] in _ASIDE


def _bare(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree


@lru_cache(maxsize=1024)
def _file(module: str) -> Path:
    """The source file of a module, which is not imported if it is one of ours."""
    parts = module.split(".")
    if parts[0] == _PACKAGE.name:
        stem = _PACKAGE.joinpath(*parts[1:])
        for path in (stem.with_suffix(".py"), stem / "__init__.py"):
            if (path.is_file() and stem != _PACKAGE) or path == _PACKAGE / "__init__.py":
                return path
        raise ModuleNotFoundError(module)
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return Path(spec.origin)


def _installed() -> list[Any]:
    """Changes when a package is installed or removed."""
    folders = [Path(p) for p in sys.path if p.endswith("-packages")]
    return [[str(f), f.stat().st_mtime_ns] for f in folders if f.is_dir()]


@lru_cache(maxsize=1)
def _distributions() -> dict[str, list[str]]:
    return dict(metadata().packages_distributions())


def _version(name: str) -> str:
    found = sorted(set(_distributions().get(name, [])))
    return " ".join(f"{d} {metadata().version(d)}" for d in found)


def metadata() -> ModuleType:
    """The module that knows installed packages, which a job that is kept does not need."""
    return import_module("importlib.metadata")
