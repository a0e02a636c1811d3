"""evaluate: every product against the truth and the observations held out, in one table."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nunatak import gallery, published
from nunatak.crew import ALONE, Crew
from nunatak.dag import METRICS
from nunatak.figures import markdown_table
from nunatak.grid import Block, Window
from nunatak.metrics.pointwise import ErrorSums, skill
from nunatak.ops.degrade import resample
from nunatak.ops.split import TEST
from nunatak.products import Results
from nunatak.provenance import digest_file, write_text
from nunatak.registry import JUDGES
from nunatak.scores import Scores, halo
from nunatak.sections import Within
from nunatak.sources.observations import Observations
from nunatak.splits import labels


def score(results: Results, picks: Observations | None, crew: Crew = ALONE) -> dict[str, Scores]:
    """Sum up every product over the test region, block by block, and at the picks held out.

    Parameters
    ----------
    results
        The finished products.
    picks
        Observations at points, if the recipe has any.
    crew
        Who works on the blocks.
    """
    layout = results.recipe.layout
    points = picks.by_block(layout) if picks else ()
    scores = _scores(results)
    for part in crew.each(_of_block, results, layout.blocks()):
        for method, sums in part.items():
            scores[method].merge(sums)
    for found in crew.each(_of_picks, results, points):
        for method, errors in found.items():
            scores[method].picks.merge(errors)
    return scores


def _scores(results: Results) -> dict[str, Scores]:
    return {method: Scores(results.recipe) for method in results.recipe.products}


def _truth(results: Results, window: Window) -> NDArray[np.float32]:
    target = results.role("target")
    return target.read_first(window)


def _of_block(results: Results, block: Block) -> dict[str, Scores]:
    """The scores of a block's cells, and of the patches that begin in it; none if none is test."""
    test = labels(results, block.core) == TEST
    shown, patches = _patches(results, block)
    scores = _scores(results) if test.any() or patches else {}
    if test.any():
        _score_cells(results, block, test, scores)
    if patches:
        _score_patches(results, shown, patches, scores)
    return scores


def _score_cells(
    results: Results, block: Block, test: NDArray[np.bool_], scores: dict[str, Scores]
) -> None:
    recipe = results.recipe
    edge, name = halo(recipe), recipe.target.variable
    shown = block.core.pad(edge)
    mask = np.pad(test, edge).repeat(recipe.grid.scale, 0).repeat(recipe.grid.scale, 1)
    truth, coarse = _truth(results, shown), results.coarse.read(name, block.core)
    inner = block.core.within(shown).at(recipe.grid.scale).slices
    classes = {c: mask[inner] & held for c, held in _classes(results, block.core).items()}
    for method, sums in scores.items():
        product = results.mosaic(method).read(name, shown)
        sums.add(block.core, product, truth, coarse, mask)
        sums.add_classes(product[inner], truth[inner], classes)


def _classes(results: Results, window: Window) -> dict[str, NDArray[np.bool_]]:
    """Where the fine cells of a window belong to each class."""
    classes = results.recipe.evaluate.classes
    sizes = {r: _size(results, r, window) for parts in classes.values() for r in _roles(parts)}
    return {
        name: np.logical_and.reduce([_holds(sizes[part.role], part) for part in parts])
        for name, parts in classes.items()
    }


def _roles(parts: tuple[Within, ...]) -> list[str]:
    return [part.role for part in parts]


def _size(results: Results, role: str, window: Window) -> NDArray[np.float32]:
    """A role's field on the fine grid; of several variables, the length of the vector."""
    product = results.role(role)
    fields = product.read_all(window)
    size = fields[0] if len(fields) == 1 else np.sqrt(np.square(fields).sum(axis=0))
    return resample(size, product.layout.ratio, results.recipe.grid.scale)


def _holds(values: NDArray[np.float32], part: Within) -> NDArray[np.bool_]:
    low = -np.inf if part.least is None else part.least
    high = np.inf if part.below is None else part.below
    return np.asarray((values >= low) & (values < high))


def _patches(results: Results, block: Block) -> tuple[Window, list[Window]]:
    """Squares of the test region that begin in a block, for spectra, and a window that holds them.

    They lie on a lattice of the domain, half overlapping.
    """
    recipe, core = results.recipe, block.core
    size = max(1, recipe.evaluate.spectrum // recipe.grid.scale)
    step = max(1, size // 2)
    whole = Window(core.top, core.bottom + size, core.left, core.right + size)
    shown = whole.clip(recipe.layout.shape)
    test = labels(results, shown) == TEST
    corners = product(
        range(-(-core.top // step) * step, min(core.bottom, shown.bottom - size + 1), step),
        range(-(-core.left // step) * step, min(core.right, shown.right - size + 1), step),
    )
    patches = [Window(top, top + size, left, left + size) for top, left in corners]
    return shown, [patch for patch in patches if test[patch.within(shown).slices].all()]


def _score_patches(
    results: Results, shown: Window, patches: list[Window], scores: dict[str, Scores]
) -> None:
    recipe = results.recipe
    truth = _truth(results, shown)
    places = [patch.within(shown).at(recipe.grid.scale).slices for patch in patches]
    places = [at for at in places if np.isnan(truth[at]).mean() < 0.01]
    for method, sums in scores.items():
        field = results.mosaic(method).read(recipe.target.variable, shown)
        for at in places:
            sums.spectrum.add(field[at], truth[at])


def _of_picks(results: Results, picks: tuple[Block, pd.DataFrame]) -> dict[str, ErrorSums]:
    block, points = picks
    recipe, scale = results.recipe, results.recipe.grid.scale
    held = (labels(results, block.core) == TEST).repeat(scale, 0).repeat(scale, 1)
    at = points["row"].to_numpy(), points["col"].to_numpy()
    kept = held[at]
    if not kept.any():
        return {}
    at, observed = (at[0][kept], at[1][kept]), points["value"].to_numpy()[kept]
    if recipe.picks and recipe.picks.below:
        above = results.role(recipe.picks.below)
        field = above.read_first(block.core)
        ratio = above.layout.ratio
        observed = field[at[0] * ratio // scale, at[1] * ratio // scale] - observed
    errors = {method: ErrorSums() for method in recipe.products}
    for method, sums in errors.items():
        field = results.mosaic(method).read(recipe.target.variable, block.core)
        sums.add(field[at], observed)
    return errors


def table(scores: dict[str, Scores]) -> pd.DataFrame:
    """One row a method and place: test cells, those of each class, then the picks held out.

    ``skill`` is 1 - RMSE over that of the first method, at the same place.
    """
    cells = {method: s.row() for method, s in scores.items()}
    picks = {method: s.picks.summary() for method, s in scores.items() if s.picks.n}
    classes = next(iter(scores.values())).classes.by
    places = [("test cells", cells)]
    places += [(c, {m: s.classes.by[c].summary() for m, s in scores.items()}) for c in classes]
    rows = []
    for where, figures in (*places, ("radar picks", picks)):
        for method, row in figures.items():
            first = next(iter(figures.values()))
            gain = skill(row["rmse"], first["rmse"])
            rows.append({"method": method, "where": where, "skill": gain, **row})
    return pd.DataFrame(rows)


def evaluate(results: Results, data: Path, crew: Crew = ALONE) -> dict[str, Any]:
    """Write the table of metrics and the figures below ``evaluate/``, by the recipe's judge.

    Parameters
    ----------
    results
        The finished products.
    data
        The folder that ``file:`` URLs are relative to.
    crew
        Who works on the blocks.

    Returns
    -------
    dict
        The manifest: the digest of each file.
    """
    by, folder = results.recipe.evaluate.judge, results.folder / "evaluate"
    folder.mkdir(parents=True, exist_ok=True)
    frame, page = JUDGES.call(by.op, by.args, results, data, crew, folder)
    write_text(folder / "metrics.csv", frame.to_csv(index=False))
    write_text(folder / "metrics.md", page)
    paths = [folder / name for name in METRICS]
    results.keep(*paths)
    return {"variables": {path.name: {"digest": digest_file(path)} for path in paths}}


def judge_field(results: Results, data: Path, crew: Crew, folder: Path) -> tuple[pd.DataFrame, str]:
    """Judge fields of a measured quantity: errors, spectra, roughness, seams; draw the figures.

    Returns
    -------
    DataFrame, str
        The table, and the page that shows it.
    """
    picks = Observations.open(results, data) if results.recipe.picks else None
    scores = score(results, picks, crew)
    gallery.draw(results, scores, folder, crew)
    frame = table(scores)
    beside = published.counted(results, frame, crew)
    return beside, _page(results, frame) + published.section(results.recipe, beside)


def _page(results: Results, frame: pd.DataFrame) -> str:
    recipe = results.recipe
    units, datum = recipe.target.units, recipe.target.vertical_datum
    lines = [
        f"# {recipe.title}: held-out test regions",
        "",
        *published.warning(recipe),
        f"Errors are product minus truth in {units}"
        + (f", heights above {datum}." if datum else "."),
        f"Skill is 1 - RMSE / RMSE of {recipe.products[0]}. Effective resolution (m) is where",
        "coherence with the truth falls below 0.5; consistency is the RMSE of the degraded product",
        "against the coarse field; the seam ratio compares block boundaries with other cells.",
        "",
        markdown_table(frame),
        "",
    ]
    return "\n".join(lines)
