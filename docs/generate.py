"""Write the reference pages that follow from the package: run `python docs/generate.py`.

Names, types, defaults and bounds come from the package. What a key of the configuration means is
said in reference/keys.yaml; a key that it lacks, or has too many, is an error.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import yaml
from typer.models import ArgumentInfo

from nunatak import registry
from nunatak.cli import app
from nunatak.commands.people import people
from nunatak.config import schemas
from nunatak.registry import Registry
from nunatak.sources.catalogue import load_sources

DOCS = Path(__file__).resolve().parent
CATALOGUE = DOCS.parent / "config" / "sources.yaml"
COMMANDS = (*app.registered_commands, *people.registered_commands)
NOTE = "<!-- Written by docs/generate.py; do not edit. -->"
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
KINDS: dict[str, tuple[Registry, str]] = {
    "Models": (registry.MODELS, "`methods.*.model`"),
    "Tasks": (registry.TASKS, "`methods.*.train.task`"),
    "Critics": (registry.CRITICS, "`critic` of the tasks `adversarial` and `wgan_gp`"),
    "Forecasters": (registry.FORECASTERS, "`forecast.methods.*.forecaster`"),
    "Losses": (registry.LOSSES, "`methods.*.train.losses`"),
    "In-situ losses": (
        registry.INSITU,
        "`insitu` of the task `wgan_gp`, `forecast.methods.*.train.loss`",
    ),
    "Degrade": (registry.DEGRADE, "`coarse.degrade`"),
    "Normalise": (registry.NORMALISE, "`tiles.normalise`"),
    "Splits": (registry.SPLITS, "`split.by`"),
    "Postprocess": (registry.POSTPROCESS, "`methods.*.constraints`"),
    "Publishers": (registry.PUBLISH, "`publish`"),
    "Judges": (registry.JUDGES, "`evaluate.judge`"),
    "Readers": (registry.READERS, "`reader` of a source"),
}


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; line breaks and bars in cells are made harmless."""
    lines = [list(heads)]
    lines += [["---"] * len(lines[0]), *(list(row) for row in rows)]
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def kind(schema: dict[str, Any]) -> str:
    """What a value must be, in words, from its JSON schema."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(kind(arm) for arm in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        fixed = schema.get("prefixItems")
        if not fixed:
            return f"list of {kind(schema['items'])}"
        return f"list of {len(fixed)} {'dates' if 'format' in fixed[0] else 'numbers'}"
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return f"name: {kind(inner)}" if isinstance(inner, dict) else "mapping"
    bounds = "".join(f" {sign} {schema[key]:g}" for key, sign in BOUNDS.items() if key in schema)
    return f"{schema['type']}{bounds}"


def default(key: str, schema: dict[str, Any], required: list[str]) -> str:
    """The default of a key, as YAML would have it."""
    if key in required:
        return "**required**"
    if "$ref" in schema:
        return "its defaults"
    empty: dict[str, Any] | None = {} if schema.get("type") == "object" else None
    return f"`{json.dumps(schema.get('default', empty))}`"


def section(name: str, model: dict[str, Any], meanings: dict[str, str]) -> str:
    """The keys of one model."""
    keys, required = model["properties"], model.get("required", [])
    if set(keys) != set(meanings):
        raise SystemExit(f"keys.yaml: {name}: these differ: {set(keys) ^ set(meanings)}")
    rows = [[f"`{k}`", kind(s), default(k, s, required), meanings[k]] for k, s in keys.items()]
    head = str(model.get("description", "")).replace("``", "`")
    return f"### {name}\n\n{head}\n\n{table(['key', 'value', 'default', 'meaning'], rows)}"


def configuration() -> str:
    """Every key of every configuration file."""
    meanings = yaml.safe_load((DOCS / "reference" / "keys.yaml").read_text(encoding="utf-8"))
    given = schemas()
    recipe, sources = given["recipe"], given["sources"]
    source = sources["additionalProperties"]
    files = {
        "config/config.yaml": {"Config": given["config"], **given["config"]["$defs"]},
        "config/sources.yaml": {"Source": source, **sources["$defs"]},
        "config/recipes/*.yaml": {"Recipe": recipe, **recipe["$defs"]},
    }
    parts, done = [NOTE, "# Configuration", meanings.pop("intro").strip()], set[str]()
    for file, models in files.items():
        parts.append(f"## `{file}`")
        for name in [n for n in models if n not in done]:
            done.add(name)
            parts.append(section(name, models[name], meanings.get(name, {})))
    if set(meanings) - done:
        raise SystemExit(f"keys.yaml: no model {', '.join(set(meanings) - done)}")
    return "\n\n".join(parts) + "\n"


def definition(path: str) -> ast.ClassDef | ast.FunctionDef:
    """The source of an operation; nothing is imported."""
    module, _, attribute = path.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec
    assert spec.origin
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    nodes = (n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef))
    return next(node for node in nodes if node.name == attribute)


def arguments(node: ast.ClassDef | ast.FunctionDef) -> list[list[str]]:
    """Name, type, default and meaning of what an operation takes from YAML."""
    text = parameters(ast.get_docstring(node) or "")
    init: ast.stmt | None = node
    if isinstance(node, ast.ClassDef):
        init = next((n for n in node.body if getattr(n, "name", "") == "__init__"), None)
    if not isinstance(init, ast.FunctionDef):
        return []
    pairs = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    return [
        [
            f"`{a.arg}`",
            f"`{ast.unparse(a.annotation)}`" if a.annotation else "",
            f"`{ast.unparse(value)}`" if value else "**required**",
            text.get(a.arg, ""),
        ]
        for a, value in pairs
    ]


def parameters(doc: str) -> dict[str, str]:
    """Meanings of the parameters that a numpydoc docstring describes."""
    found: dict[str, str] = {}
    lines = doc.partition("Parameters\n----------\n")[2].splitlines()
    names: list[str] = []
    for i, line in enumerate(lines):
        if line.startswith("---") or (line and lines[i + 1 : i + 2] == ["-" * len(line)]):
            break
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.split(",")]
        for name in names if line.startswith(" ") else []:
            found[name] = f"{found.get(name, '')} {line.strip()}".strip().replace("``", "`")
    return found


def operation(name: str, path: str) -> str:
    """One operation: what it does and what it takes."""
    node = definition(path)
    summary = (ast.get_docstring(node) or "").split("\n\n")[0].replace("``", "`")
    rows = arguments(node)
    parts = [f"### `{name}`", f"{' '.join(summary.split())} (`{path}`)"]
    parts += [table(["argument", "type", "default", "meaning"], rows)] if rows else []
    return "\n\n".join(parts)


def operations() -> str:
    """Every registered operation, by kind."""
    parts = [
        NOTE,
        "# Operations",
        "Wherever a recipe or source says `{ op: NAME, args: {...} }`, NAME is one of these, or"
        " `package.module:attribute` of [your own](../how-to/add-an-operation.md). An operation"
        " without a table takes no arguments.",
    ]
    for title, (kinds, place) in KINDS.items():
        parts += [f"## {title}", f"In {place}."]
        parts += [operation(name, path) for name, path in kinds.table.items()]
    return "\n\n".join(parts) + "\n"


def command(callback: Callable[..., Any]) -> str:
    """One command: what it does, and its options."""
    rows = []
    hints = get_type_hints(callback, include_extras=True)
    for name, parameter in inspect.signature(callback).parameters.items():
        plain, option = get_args(hints[name])
        argument = isinstance(option, ArgumentInfo)
        usual = name.upper() if argument else f"--{name.replace('_', '-')}"
        flags = [option.default, *option.param_decls] if option.default is not ... else [usual]
        needed = parameter.default is inspect.Parameter.empty
        value = "**required**" if needed else f"`{parameter.default}`"
        kinds = [each for each in get_args(plain) or (plain,) if each is not NoneType]
        types = [each if isinstance(each, str) else each.__name__ for each in kinds]
        rows.append([f"`{', '.join(flags)}`", " or ".join(types).lower(), value, option.help or ""])
    heading = f"## `nunatak {callback.__name__}`\n\n{inspect.getdoc(callback)}"
    return f"{heading}\n\n{table(['option', 'type', 'default', 'meaning'], rows)}"


def cli() -> str:
    """Every command of the command line."""
    parts = [
        NOTE,
        "# Command line",
        "`nunatak COMMAND`, or `python -m nunatak COMMAND`. The commands named after stages are"
        " what the rules call; the others are for people. A fault that the user can mend is told"
        " in a few lines and gives exit status 1. `train` and `trial` give 75 when they were asked"
        " to stop before their end; the same command goes on from there.",
    ]
    parts += [
        command(c.callback)
        for c in (*app.registered_commands, *people.registered_commands)
        if c.callback
    ]
    return "\n\n".join(parts) + "\n"


def sources() -> str:
    """Every data set of the catalogue."""
    rows, notes = [], []
    for key, s in load_sources(CATALOGUE).items():
        names = [f"`{name}` ({v.to or v.units})" for name, v in s.variables.items()]
        login = "Earthdata login" if s.auth == "earthdata" else ""
        where = sorted({f.url.split(":")[0].replace("https", "http") for f in s.files})
        resolution = f"{s.resolution:g}" if s.resolution else ""
        datum = s.vertical_datum or ""
        rows.append([f"`{key}`", s.title, ", ".join(names), resolution, datum, s.crs])
        rows[-1] += [", ".join(filter(None, [*where, login])), s.licence]
        if s.citation:
            notes.append(f"- `{key}`: {' '.join(s.citation.split())}")
    heads = ["key", "title", "variables (units)", "resolution", "datum", "CRS", "from", "licence"]
    intro = (
        "What `config/sources.yaml` holds. Resolution is in units of the CRS. From: `http` and"
        " `ftp` are downloaded, `cds` and `copernicusmarine` with the user's own key, `file` must"
        " lie below the data root, `synthetic` is computed."
        " `nunatak sources` prints the list. [How to add one](../how-to/add-a-source.md)."
    )
    parts = [NOTE, "# Sources", intro, table(heads, rows), "## Citations", "\n".join(notes)]
    return "\n\n".join(parts) + "\n"


PAGES = {
    "cli": cli,
    "configuration": configuration,
    "operations": operations,
    "sources": sources,
}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (DOCS / "reference" / f"{name}.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
