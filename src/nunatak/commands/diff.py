"""diff: which blocks differ between two results trees, by what their manifests say they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nunatak.commands.tree import place, product, steps
from nunatak.provenance import read_json

SAME, DIFFERENT, FIRST, SECOND, NEITHER = "=", "#", "A", "B", " "
WORDS = {SAME: "equal", DIFFERENT: "different", FIRST: "only in A", SECOND: "only in B"}
_NAMED = 20


@dataclass(frozen=True)
class Difference:
    """How a product of one tree compares with that of another.

    Parameters
    ----------
    product
        Its path below the results roots.
    blocks
        One of `WORDS` for each block; a product without blocks has one, named "".
    """

    product: str
    blocks: Mapping[str, str]

    @property
    def equal(self) -> bool:
        """Whether all of it is the same in both trees."""
        return set(self.blocks.values()) == {SAME}

    def rows(self) -> list[str]:
        """A map, north at the top: one character a block, a space where no tree has one."""
        places = {place(block): mark for block, mark in self.blocks.items()}
        down, across = (range(max(at) + 1) for at in zip(*places, strict=True))
        return ["".join(places.get((row, col), NEITHER) for col in across) for row in down]

    def lines(self) -> Iterator[str]:
        """What differs, in words; of blocks that differ with a map of them."""
        marks = list(self.blocks.values())
        counts = {word: marks.count(mark) for mark, word in WORDS.items() if mark in marks}
        if "" in self.blocks:
            yield f"{self.product}: {next(iter(counts))}"
            return
        yield f"{self.product}: {', '.join(f'{n} {word}' for word, n in counts.items())}"
        if self.equal:
            return
        for mark in (DIFFERENT, FIRST, SECOND):
            if names := sorted((b for b, m in self.blocks.items() if m == mark), key=place):
                more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
                yield f"  {WORDS[mark]}: {', '.join(names[:_NAMED])}{more}"
        yield from (f"  {' '.join(row)}" for row in self.rows())


def compare(one: Path, other: Path) -> list[Difference]:
    """Compare two results trees by the digests of the variables in their manifests.

    Raises
    ------
    StoreError
        If one of them is no folder, or a manifest is damaged.
    """
    first, second = _digests(one), _digests(other)
    found = []
    for name in {**first, **second}:
        a, b = first.get(name, {}), second.get(name, {})
        found.append(Difference(name, {block: _mark(a, b, block) for block in {**a, **b}}))
    return found


def _mark(one: Mapping[str, Any], other: Mapping[str, Any], block: str) -> str:
    if block not in other:
        return FIRST
    if block not in one:
        return SECOND
    return SAME if one[block] == other[block] else DIFFERENT


def _digests(root: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Digest of each variable of each block of each product."""
    digests: dict[str, dict[str, dict[str, str]]] = {}
    for found in steps(root):
        if found.manifest:
            variables = read_json(found.step.manifest(root)).get("variables", {})
            held = {name: content["digest"] for name, content in variables.items()}
            digests.setdefault(product(found.step), {})[found.step.names.get("block", "")] = held
    return digests


def draw(found: list[Difference], path: Path, title: str) -> None:
    """Draw maps of the products that differ; nothing if none does."""
    from nunatak.figures import block_maps

    maps = {each.product: each.rows() for each in found if not each.equal and "" not in each.blocks}
    if maps:
        block_maps(maps, WORDS, path, title=title)
