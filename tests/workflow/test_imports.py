"""The directions of imports, and that a recipe is data."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nunatak.tracking.steps import PATHS, STAGES, Step

SRC = Path(__file__).resolve().parents[2] / "src" / "nunatak"
RULES = SRC.parents[1] / "workflow" / "rules"
MODULES = sorted(SRC.rglob("*.py"))
LAYERS = [
    {"ahead", "dotted", "errors", "life", "units"},
    {"grid", "ladder", "registry", "provenance", "validation"},
    {"content", "costs", "tracking", "usage"},
    {"source", "store"},
    {"scene"},
    {"recipe", "consistency", "forecast", "method", "search", "sections"},
    {
        "apart",
        "products",
        "config",
        "dag",
        "splits",
        "sources",
        "ops",
        "metrics",
        "figures",
        "day_sums",
        "scores",
        "resources",
    },
    {
        "albums",
        "cog",
        "constraints",
        "crew",
        "fronts",
        "geopackage",
        "learn",
        "gallery",
        "normal_fit",
        "normals",
        "origin",
        "published",
        "statistics",
    },
    {"day_gallery", "day_table", "front_gallery"},
    {"day_scores", "front_scores"},
    {"stages"},
    {"jobs", "settle"},
    {"cli", "commands", "__main__"},
]


def layer(part: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if part in names)


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names |= {f"{module}.{a.name}" if module == "nunatak" else module for a in node.names}
    return names


def part(path: Path) -> str:
    return path.relative_to(SRC).with_suffix("").parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_point_down(path: Path) -> None:
    if path.parent == SRC and path.name == "__init__.py":
        return
    for name in imported(path):
        pieces = name.split(".")
        if pieces[0] == "nunatak" and len(pieces) > 1 and not pieces[1].startswith("__version"):
            assert layer(pieces[1]) <= layer(part(path)), f"{path.name} imports {name}"


def test_stages_do_not_import_stages() -> None:
    for path in (SRC / "stages").glob("*.py"):
        assert not any(n.startswith("nunatak.stages") for n in imported(path)), path.name


def test_only_learning_imports_torch_and_nothing_imports_snakemake() -> None:
    for path in MODULES:
        roots = {name.split(".")[0] for name in imported(path)}
        assert "snakemake" not in roots, path
        allowed = part(path) == "learn" or path.name in {"train.py", "infer.py"}
        assert allowed or "torch" not in roots, path


def test_only_searches_import_optuna() -> None:
    importing = {path for path in MODULES if any(n.startswith("optuna") for n in imported(path))}
    assert importing == {SRC / "learn" / "study.py", SRC / "stages" / "study.py"}
    assert {p.name for p in MODULES if "nunatak.learn.study" in imported(p)} == {
        "study.py",
        "trial.py",
    }


def test_no_recipe_is_named_in_code_or_rules() -> None:
    names = {p.stem for p in (RULES.parents[1] / "config" / "recipes").glob("*.yaml")}
    assert names
    for path in RULES.glob("*.smk"):
        text = path.read_text(encoding="utf-8")
        assert not any(f'"{name}"' in text or f"'{name}'" in text for name in names), path
    for path in MODULES:
        if part(path) != "sources":
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            assert not names & {n.value for n in nodes if isinstance(n, ast.Constant)}, path


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = "('torch', 'numpy', 'rasterio')"
    code = f"import sys, nunatak.cli; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_one_noun_everywhere() -> None:
    stages = {p.stem for p in (SRC / "stages").glob("*.py")} - {"__init__"}
    rules = {p.stem for p in RULES.glob("*.smk")} - {"common"}
    assert stages == rules
    for stage in stages:
        tree = ast.parse((SRC / "stages" / f"{stage}.py").read_text(encoding="utf-8"))
        functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
        assert stage in functions
        rule = (RULES / f"{stage}.smk").read_text(encoding="utf-8")
        assert re.search(rf"^(rule|checkpoint) {stage}:$", rule, re.MULTILINE)
        assert f"python -m nunatak {stage} " in rule
        for directive in ("log:", "benchmark:", "conda:", "message:", "shell:"):
            assert directive in rule, f"{stage} lacks {directive}"


@pytest.mark.parametrize("stage", STAGES)
def test_logs_and_benchmarks_are_named_as_steps(stage: str) -> None:
    rule = (RULES / f"{stage}.smk").read_text(encoding="utf-8")
    names = {name: f"{{{name}}}" for name in re.findall(r"{(\w+)}", PATHS[stage])}
    name = Step(stage, names.pop("run", ""), names).name.replace("{", "{{").replace("}", "}}")
    assert f'f"{{RESULTS}}/logs/{name}.log"' in rule
    assert f'f"{{RESULTS}}/benchmarks/{name}.tsv"' in rule
