"""The documentation says what is there: generated pages, links, commands, results."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from nunatak import dag
from nunatak.config import Run, load_recipe
from nunatak.recipe import Recipe
from nunatak.registry import READERS, Registry
from nunatak.sources.catalogue import load_sources

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
GENERATED = runpy.run_path(str(DOCS / "generate.py"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
RESULT = re.compile(r"`(results/bed/[\w./]+)`")
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def commands(page: Path) -> Iterator[list[str]]:
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "sh":
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                yield [word for word in words if "PYTHONPATH=" not in word]


@pytest.mark.parametrize("name", GENERATED["PAGES"])
def test_generated_pages_are_up_to_date(name: str) -> None:
    kept = (DOCS / "reference" / f"{name}.md").read_text(encoding="utf-8")
    assert kept == GENERATED["PAGES"][name](), "run `python docs/generate.py`"


def test_every_registry_is_in_the_reference() -> None:
    module = READERS.__class__.__module__
    registries = vars(sys.modules[module]).values()
    tables = [r.table for r in registries if isinstance(r, Registry) and r.table]
    shown = [kinds.table for kinds, _ in GENERATED["KINDS"].values()]
    assert all(table in shown for table in tables)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_relative_links_resolve(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def test_every_page_is_reached_from_the_readme() -> None:
    seen, waiting = set[Path](), [PAGES[0]]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        found = (page.parent / t.partition("#")[0] for t in LINK.findall(prose(page)))
        waiting += {f.resolve() for f in found if f.suffix == ".md" and f.is_file()} - seen
    assert set(PAGES) <= seen


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_name_what_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.M))
    rules = {path.stem for path in (ROOT / "workflow" / "rules").glob("*.smk")}
    stages = {c.callback.__name__ for c in GENERATED["COMMANDS"]}
    for words in commands(page):
        if words[:1] == ["make"]:
            assert set(words[1:]) <= targets, words
        if words[:1] == ["nunatak"]:
            assert words[1] in stages, words
        for option, value in pairwise(words):
            if option == "--configfile":
                assert (ROOT / value).is_file() or value == "config/mine.yaml", words
            if option == "-R":
                assert value in rules, words


def demo() -> Recipe:
    sources = load_sources(ROOT / "config" / "sources.yaml")
    kept = {key: source.model_dump() for key, source in sources.items()}
    return load_recipe(Run(recipe="bed"), ROOT / "config", kept)


@pytest.mark.parametrize("page", [PAGES[0], DOCS / "tutorial.md"], ids=lambda p: p.name)
def test_results_of_the_demo_that_are_named_are_made(page: Path) -> None:
    made = {f"results/{path}" for path in dag.outputs(demo())}
    made |= {f"{path.rpartition('/')[0]}.zarr" for path in made}
    folders = {path[: match.end()] for path in made for match in re.finditer("/", path)}
    made |= folders | {"results/bed/recipe.json"}
    made |= {path.replace(".tif", ".provenance.json") for path in made}
    named = set(RESULT.findall(prose(page)))
    assert named
    assert named <= made
