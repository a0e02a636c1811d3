"""The catalogue of sources (``config/sources.yaml``), and where their files lie once downloaded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from nunatak.errors import ConfigError, SourceError
from nunatak.source import Name, Source
from nunatak.sources.places import place
from nunatak.validation import explain, read_yaml

__all__ = ["load_sources", "local_paths", "read_yaml"]

_CATALOGUE = dict[Name, Source]


def load_sources(path: Path) -> dict[str, Source]:
    """Load and check every source of a catalogue.

    Parameters
    ----------
    path
        The YAML file: a mapping of keys to sources.

    Returns
    -------
    dict
        Key to source, in the order of the file.

    Raises
    ------
    ConfigError
        If anything in the file cannot be; every fault is listed with the file, the key, what was
        given and what is expected.
    """
    try:
        sources = TypeAdapter(_CATALOGUE).validate_python(read_yaml(path))
    except ValidationError as error:
        raise explain(error, str(path), _CATALOGUE) from error
    for key, source in sources.items():
        _distinct(source, key, path)
    return sources


def local_paths(source: Source, key: str, folder: Path, data_root: Path) -> list[Path]:
    """Where the files of a downloaded source lie; nothing is fetched or looked at.

    Parameters
    ----------
    source
        The source.
    key
        Its key in the catalogue, for messages.
    folder
        The folder that its files were fetched into.
    data_root
        The folder that relative ``file:`` URLs start from; such files are used in place.

    Returns
    -------
    list of Path
        One path a file, in the order of the source; ``Path("synthetic")`` for a synthetic one.

    Raises
    ------
    SourceError
        If a URL names no file, or leaves the data root.
    """
    try:
        return [place(file, folder, data_root) for file in source.files]
    except SourceError as error:
        raise SourceError(f"{key}: {error.what}", error.expected, error.do) from error


def _distinct(source: Source, key: str, path: Path) -> None:
    try:
        names = Counter(local_paths(source, key, Path(), Path()))
    except SourceError as error:
        raise ConfigError(f"{path}: {error.what}", error.expected, error.do) from error
    twice = [str(name) for name, count in names.items() if count > 1]
    if twice:
        raise ConfigError(
            f"{path}: {key}.files: {', '.join(twice)} would be written twice",
            "files of different names in one source",
            "make two sources of it, or name a member",
        )
