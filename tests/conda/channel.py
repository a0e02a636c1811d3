"""A conda channel of the packages that are installed here: Python and what environments name.

Nothing is downloaded. Every installed distribution that an environment file names, and all that it
requires, becomes a package under conda's name for it; so does the running Python.
"""

from __future__ import annotations

import asyncio
import json
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pyarrow as pa
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rattler import MatchSpec
from rattler.index import index_fs

# The other names are the same on conda-forge and on PyPI. There, lightning_fabric is a part of
# pytorch-lightning.
CONDA = {
    "dask": "dask-core",
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "lightning-fabric": "pytorch-lightning",
}
PYPI = {conda: pypi for pypi, conda in CONDA.items()}
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
SITE = f"lib/python{PYTHON}/site-packages"
# What no job imports, a third of all files.
LEFT_OUT = {"test", "tests", "include", "idlelib", "tkinter", "turtledemo", "ensurepip"}


@dataclass(frozen=True)
class Package:
    """A package for this platform.

    Parameters
    ----------
    name, version
        As conda knows them.
    depends
        Specifications of the packages that it needs.
    files
        What it installs: the path in an environment, and the file here.
    """

    name: str
    version: str
    depends: list[str]
    files: Mapping[str, Path]

    def write(self, folder: Path) -> None:
        """Write it as a ``.conda`` file, quickly rather than small."""
        stem = f"{self.name}-{self.version}-0"
        with ZipFile(folder / f"{stem}.conda", "w") as archive:
            archive.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
            with _tar(archive, f"pkg-{stem}") as tar:
                for name, file in self.files.items():
                    tar.add(file, name, recursive=False)
            with _tar(archive, f"info-{stem}") as tar:
                for name, value in self._info().items():
                    text = json.dumps(value).encode()
                    member = tarfile.TarInfo(f"info/{name}.json")
                    member.size = len(text)
                    tar.addfile(member, BytesIO(text))

    def _info(self) -> dict[str, object]:
        index = {"name": self.name, "version": self.version, "build": "0", "build_number": 0}
        kinds = ((name, file.is_symlink()) for name, file in self.files.items())
        paths = [{"_path": n, "path_type": "softlink" if s else "hardlink"} for n, s in kinds]
        return {
            "index": {**index, "subdir": "linux-64", "depends": self.depends},
            "paths": {"paths_version": 1, "paths": paths},
            "about": {},
        }


@contextmanager
def _tar(archive: ZipFile, stem: str) -> Iterator[tarfile.TarFile]:
    with (
        archive.open(f"{stem}.tar.zst", "w", force_zip64=True) as file,
        pa.CompressedOutputStream(pa.PythonFile(file, "w"), "zstd") as packed,
        tarfile.open(fileobj=packed, mode="w|", bufsize=1 << 20) as tar,
    ):
        yield tar


def python() -> Package:
    """The running Python, without its packages. Its shared library is found where it is here."""
    base = Path(sys.base_prefix)
    library = Path(sysconfig.get_path("stdlib"))
    files = {
        f"lib/python{PYTHON}/{file.relative_to(library)}": file
        for file in library.rglob("*")
        if file.is_file() and not {*LEFT_OUT, "site-packages"} & {*file.relative_to(library).parts}
    }
    program = (base / "bin" / f"python{PYTHON}").resolve()
    names = ("python", "python3", f"python{PYTHON}")
    version = ".".join(map(str, sys.version_info[:3]))
    return Package("python", version, [], {**files, **{f"bin/{name}": program for name in names}})


def repacked(found: Distribution) -> Package:
    """An installed distribution; its commands are left out."""
    files = {}
    for path in found.files or ():
        if not {*LEFT_OUT, ".."} & {*path.parts}:
            files[f"{SITE}/{path}"] = Path(str(found.locate_file(path)))
    depends = [f"python {PYTHON}.*"]
    for requirement in required(found):
        name = conda_name(requirement.name)
        depends.append(f"{name} {requirement.specifier}".strip())
    return Package(conda_name(found.name), found.version, depends, files)


def conda_name(name: str) -> str:
    """What conda-forge calls a distribution."""
    name = canonicalize_name(name)
    return CONDA.get(name, name)


def required(found: Distribution) -> list[Requirement]:
    """What a distribution requires here, without extras."""
    parsed = (Requirement(text) for text in found.requires or ())
    return [r for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})]


def closure(names: Iterable[str]) -> list[Distribution]:
    """Installed distributions that conda knows by some names, and all that they require."""
    seen: dict[str, Distribution] = {}
    waiting = [PYPI.get(name, name) for name in names]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in seen:
            seen[name] = distribution(name)
            waiting += [requirement.name for requirement in required(seen[name])]
    return list(seen.values())


def named(files: Iterable[Path]) -> set[str]:
    """The packages that environment files name."""
    texts = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)
    specs = {spec for value in texts for spec in value["dependencies"]}
    return {MatchSpec(spec).name.normalized for spec in specs} - {"python"}


def build(channel: Path, files: Iterable[Path]) -> None:
    """Make a channel with all that environment files need."""
    for folder in ("linux-64", "noarch"):
        (channel / folder).mkdir(parents=True)
    for package in [python(), *map(repacked, closure(named(files)))]:
        package.write(channel / "linux-64")
    asyncio.run(index_fs(channel))
