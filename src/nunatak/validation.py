"""Strict parsing of YAML, and every fault in it with its place, for a user to mend."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from nunatak.errors import ConfigError, NunatakError

_LONGEST = 80


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, of which YAML keeps the last in silence."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen and name != "<<":
                raise ConfigError(
                    f"{self.name}: line {line}: key {name!r} is given twice (first on line "
                    f"{seen[name]})",
                    "each key once",
                    "remove or rename one of the two",
                )
            seen[name] = line
        return node


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping, without running anything that it contains.

    Parameters
    ----------
    path
        The file, in UTF-8.

    Returns
    -------
    dict
        Its content; merge keys (``<<``) are resolved.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not YAML, repeats a key, or is not a mapping.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            content = yaml.load(stream, Loader=_Loader)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "a file that can be read") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}", "YAML in UTF-8") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: given {_short(content)}", "a mapping of keys to values")
    return content


def explain(error: ValidationError, file: str, kind: Any = None) -> ConfigError:
    """Turn what pydantic found into one error that lists every fault with its place.

    Parameters
    ----------
    error
        What pydantic raised.
    file
        The configuration file, as the message names it.
    kind
        The model, or annotation such as ``dict[str, Source]``, that was validated; with it an
        unknown key is answered with the keys that are known there.

    Returns
    -------
    ConfigError
        ``what`` has a line ``file: a.b.c: given X, expected Y`` for every fault; ``do`` has the
        closest known key for every unknown one.
    """
    lines, hints = [], []
    for fault in error.errors(include_url=False):
        place = ".".join(str(part) for part in fault["loc"] if part != "[key]") or "top level"
        known = _fields(kind, fault["loc"][:-1])
        if fault["type"] == "extra_forbidden":
            close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
            hints += [f"{place}: did you mean {close[0]!r}?" for _ in close]
        lines.append(f"{file}: {place}: {_said(fault, known)}")
    return ConfigError("\n".join(lines), do="\n  ".join(hints) or f"correct {file}")


def _said(fault: Mapping[str, Any], known: list[str]) -> str:
    """What is wrong with one value: what was given, and what was expected."""
    message, given = str(fault["msg"]), _short(fault["input"])
    if fault["type"] == "missing":
        return "given nothing, expected a value"
    if fault["type"] == "extra_forbidden":
        expected = f"one of {', '.join(known)}" if known else "no such key"
        return f"given the unknown key {fault['loc'][-1]!r}, expected {expected}"
    if cause := _cause(fault):
        expected = "; ".join(part for part in (cause.expected, cause.do) if part)
        return f"given {cause.what}, expected {expected}"
    if fault["type"] == "value_error":
        message = message.removeprefix("Value error, ")
        return message if isinstance(fault["input"], Mapping) else f"given {given}: {message}"
    message = message.removeprefix("Input should be ")
    return f"given {given}, expected {message[:1].lower()}{message[1:]}"


def _cause(fault: Mapping[str, Any]) -> NunatakError | None:
    """The error of our own behind a ValueError that a validator raised from it."""
    raised = fault.get("ctx", {}).get("error")
    cause = getattr(raised, "__cause__", None)
    return cause if isinstance(cause, NunatakError) else None


def _fields(kind: Any, place: tuple[int | str, ...]) -> list[str]:
    """The keys known at a place inside a model or annotation; none if they are not fixed."""
    if get_origin(kind) is Annotated:
        return _fields(get_args(kind)[0], place)
    if get_origin(kind) in (Union, types.UnionType):
        return next((found for arm in get_args(kind) if (found := _fields(arm, place))), [])
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if not place:
            return list(kind.model_fields)
        field = kind.model_fields.get(str(place[0]))
        return _fields(field.annotation, place[1:]) if field else []
    if get_origin(kind) in (dict, tuple, list) and place:
        inner = get_args(kind)[1 if get_origin(kind) is dict else 0]
        return _fields(inner, place[1:])
    return []


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
