"""The commands for people: every damage is named and mended, and nothing else is touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
import zarr
from click.testing import Result
from tests.small import BASE, SOURCE, recipe
from typer.testing import CliRunner

from nunatak import costs, dag
from nunatak.cli import app
from nunatak.commands import gc
from nunatak.commands.diff import WORDS, Difference, compare
from nunatak.commands.logs import Job
from nunatak.commands.status import Status, status
from nunatak.commands.tree import configured, steps, which
from nunatak.config import save, values
from nunatak.errors import StoreError
from nunatak.figures import block_maps
from nunatak.life import host
from nunatak.recipe import Recipe
from nunatak.settle import Settled
from nunatak.tracking.reconcile import hold
from nunatak.tracking.steps import Step
from nunatak.tracking.trace import Trace, physical, read_trace, write_trace
from nunatak.tracking.tracker import Tracker

SHARD = "small/reproject/surface.zarr/surface/c/1/2"
BLOCK = "small/reproject/surface block 1_2"
MANIFEST = "small/degrade/coarse/0_1.json"


def nunatak(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def said(*words: object) -> list[str]:
    result = nunatak(*words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output.splitlines()


def work(made: Recipe, root: Path) -> None:
    """Run every job of a recipe but the evaluation, one after the other."""
    saved = save(made, root)
    for step in dag.steps(made):
        if step.stage != "evaluate":
            names = [word for name, value in step.names.items() for word in (f"--{name}", value)]
            given = ["--recipe", saved, "--results", root, *names]
            data = ["--data", root] if step.stage in ("download", "scan", "reproject") else []
            result = nunatak(step.stage, *given, *data)
            assert result.exit_code == 0, result.exception


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results tree of the small recipe."""
    root = tmp_path_factory.mktemp("commands") / "results"
    work(recipe(), root)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tree in a folder with its configuration, which is the current one."""
    shutil.copytree(made, tmp_path / "results")
    raw = {key: value for key, value in BASE.items() if key not in ("name", "sources")}
    for name, value in {
        "config": {"runs": [{"recipe": "small"}]},
        "sources": {"world": SOURCE},
        "recipes/small": raw,
    }.items():
        path = tmp_path / "config" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(value), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


def contents(root: Path) -> dict[str, bytes]:
    """All files but nunatak's own notes."""
    files = (p for p in root.rglob("*") if p.is_file() and ".nunatak" not in p.parts)
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, 100)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def edit(path: Path) -> None:
    array: Any = zarr.open_array(path.parents[2], mode="r+")
    array[-1, -1] = 1234.5


def edit_manifest(path: Path) -> None:
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["variables"]["bed"]["digest"] = "0" * 64
    path.write_text(json.dumps(raw), encoding="utf-8")


def garble(path: Path) -> None:
    path.write_text("{", encoding="utf-8")


DAMAGE: list[tuple[Callable[[Path], None], str, str]] = [
    (flip, SHARD, f"{BLOCK}: {SHARD} differs from what was written"),
    (truncate, SHARD, f"{BLOCK}: {SHARD} has 100 bytes instead of "),
    (empty, SHARD, f"{BLOCK}: {SHARD} has 0 bytes instead of "),
    (Path.unlink, SHARD, f"{BLOCK}: {SHARD} is missing"),
    (edit, SHARD, f"{BLOCK}: {SHARD} "),
    (
        flip,
        "small/publish/.kept/bicubic.tif",
        "small/publish/bicubic: small/publish/.kept/bicubic.tif differs",
    ),
    (flip, "small/tile/statistics.json", "small/tile: small/tile/statistics.json differs"),
    (
        Path.unlink,
        "small/mosaic/bicubic/0_0.trace",
        "small/mosaic/bicubic block 0_0: small/mosaic/bicubic/0_0.json has no trace",
    ),
    (
        garble,
        "small/mosaic/bicubic/0_0.trace",
        "small/mosaic/bicubic block 0_0: small/mosaic/bicubic/0_0.trace cannot be read",
    ),
]
DERIVED: list[tuple[Callable[[Path], None], str, str]] = [
    (edit_manifest, MANIFEST, f"small/degrade/coarse block 0_1: {MANIFEST} differs"),
    (garble, MANIFEST, f"small/degrade/coarse block 0_1: {MANIFEST} differs"),
    (flip, "small/tile/split.png", "small/tile: small/tile/split.png differs"),
    (Path.unlink, "small/tile/split.png", "small/tile: small/tile/split.png is missing"),
    (empty, "small/publish/bicubic.tif", "small/publish/bicubic: small/publish/bicubic.tif has 0"),
]


def ids(cases: list[tuple[Callable[[Path], None], str, str]]) -> list[str]:
    return [f"{damage.__name__} {Path(file).name}" for damage, file, _ in cases]


def test_a_finished_tree_is_whole(root: Path) -> None:
    result = nunatak("verify")
    found = steps(root)
    files = sum(len(getattr(read_trace(root, f.step.path), "files", ())) for f in found)
    assert result.output.startswith(f"{len(found)} steps, {files} files, ")
    assert result.output.endswith("no faults\n")
    assert result.exit_code == 0
    assert said("repair") == ["nothing to repair"]


@pytest.mark.parametrize(("damage", "file", "line"), DAMAGE, ids=ids(DAMAGE))
def test_damage_is_named_and_its_step_alone_is_made_again(
    made: Path, root: Path, damage: Callable[[Path], None], file: str, line: str
) -> None:
    damage(root / file)
    result = nunatak("verify", "--jobs", 1)
    faults = result.output.splitlines()
    assert result.exit_code == 1
    assert len(faults) == 2
    assert faults[0].startswith(line)
    assert faults[1].endswith("1 fault")
    before = contents(root)
    (told,) = said("repair")
    assert told.startswith(f"{line.partition(': ')[0]}: removed, ")
    assert "no faults" in said("verify")[-1]
    gone = before.keys() - contents(root).keys()
    recipes = configured(Path("config/config.yaml"))[1]
    must = [
        f.step.path for f in status(recipes, root, Path()).findings if f.reason == "not made yet"
    ]
    assert len(must) == 2  # and the evaluation
    assert all(before[name] == made.joinpath(name).read_bytes() for name in before.keys() - gone)
    work(recipe(), root)
    assert contents(root).keys() == contents(made).keys()
    assert all(each.equal for each in compare(made, root))
    assert "no faults" in said("verify")[-1]


@pytest.mark.parametrize(("damage", "file", "line"), DERIVED, ids=ids(DERIVED))
def test_what_a_trace_tells_is_written_again_from_it(
    made: Path, root: Path, damage: Callable[[Path], None], file: str, line: str
) -> None:
    damage(root / file)
    faults = said("verify")
    assert len(faults) == 2
    assert faults[0].startswith(line)
    (told,) = said("repair")
    assert told.startswith(f"{line.partition(': ')[0]}: written again from its trace (")
    assert contents(root) == contents(made)


def test_training_refuses_what_tiling_did_not_write(made: Path, tmp_path: Path) -> None:
    root = tmp_path / "results"
    shutil.copytree(made, root)
    task = {"task": {"op": "supervised"}, "losses": [{"op": "l1"}]}
    length = {"samples": 8, "batch": 4, "lr": 1e-3, "validate_every": 8}
    network = {"model": {"op": "residual", "args": {}}, "train": task | length}
    saved = save(recipe(methods={"net": network}), root)
    flip(root / "small/tile/statistics.json")
    words = ("--recipe", saved, "--results", root, "--method", "net", "--member", 0)
    error = nunatak("train", *words).exception
    assert isinstance(error, StoreError)
    assert "small/tile/statistics.json" in str(error)


def test_a_hard_link_edited_in_place_is_damage_to_the_kept_file(root: Path) -> None:
    link, kept = root / "small/tile/split.png", root / "small/tile/.kept/split.png"
    link.unlink()
    link.hardlink_to(kept)
    flip(link)
    faults = said("verify")
    assert len(faults) == 2
    assert "small/tile/.kept/split.png differs" in faults[0]


def test_a_manifest_that_is_gone_is_no_fault_and_is_told(root: Path) -> None:
    for name in (MANIFEST, "small/publish/bicubic.provenance.json", "small/publish/bicubic.tif"):
        (root / name).unlink()
    result = nunatak("verify")
    assert result.exit_code == 0
    assert ", 2 of them without a manifest, " in result.output


def test_a_dry_repair_changes_nothing(root: Path) -> None:
    flip(root / SHARD)
    edit_manifest(root / MANIFEST)
    before = contents(root)
    told = said("repair", "--dry-run")
    assert [": to be removed" in told[0], ": to be written again" in told[1]] == [True, True]
    assert contents(root) == before


def test_a_tree_that_a_run_holds_is_not_changed(root: Path) -> None:
    flip(root / SHARD)
    before = contents(root)
    lock = hold(root)
    assert lock is not None
    with lock:
        for words in (("repair",), ("gc", "--delete")):
            error = nunatak(*words).exception
            assert isinstance(error, StoreError)
            assert "a run works on" in error.what
    assert contents(root) == before


def test_a_folder_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    for words in (("verify", "--results"), ("repair", "--results"), ("diff", tmp_path)):
        assert isinstance(nunatak(*words, tmp_path / "none").exception, StoreError)
    assert not (tmp_path / "none").exists()


def left(root: Path, step: str, files: dict[str, str], **manifest: Any) -> None:
    """A step's files, and the trace of them; those below ``.kept`` have links."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    links = {name.replace(".kept/", ""): name for name in files if ".kept/" in name}
    for link, kept in links.items():
        (root / link).hardlink_to(root / kept)
    known = physical(root, [root / name for name in files])
    write_trace(root, step, Trace({}, "", {}, {}, known, links, manifest))
    (root / f"{step}.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_of_a_download_the_damaged_file_alone_goes(tmp_path: Path) -> None:
    left(tmp_path, "download/ice", {"download/ice/a.nc": "aaa", "download/ice/b.nc": "bbb"})
    (tmp_path / "download/ice/b.nc").write_text("bxb", encoding="utf-8")
    (told,) = said("repair", "--results", tmp_path)
    assert told.startswith("download/ice: removed")
    assert contents(tmp_path).keys() == {"download/ice/a.nc"}


@pytest.mark.parametrize(
    ("damaged", "stay"),
    [("best.pt", set()), (".kept/loss.png", {"best.pt", "loss.csv", "last.pt"})],
)
def test_a_training_begins_anew_for_its_weights_and_not_for_its_figure(
    tmp_path: Path, damaged: str, stay: set[str]
) -> None:
    folder = tmp_path / "run/train/net/0"
    names = ("best.pt", "loss.csv", ".kept/loss.png")
    left(tmp_path, "run/train/net/0/manifest", {f"run/train/net/0/{n}": n for n in names})
    (folder / "last.pt").write_text("last", encoding="utf-8")
    truncated = folder / damaged
    truncated.write_text("", encoding="utf-8")
    said("repair", "--results", tmp_path)
    assert contents(folder).keys() == stay


def test_a_frozen_model_is_never_removed(tmp_path: Path) -> None:
    best = "run/train/net/0/best.pt"
    left(tmp_path, "run/train/net/0/manifest", {best: "weights"}, frozen=True)
    (tmp_path / best).write_text("", encoding="utf-8")
    before = contents(tmp_path)
    assert "left as it is" in said("repair", "--results", tmp_path)[0]
    assert contents(tmp_path) == before


def test_equal_trees_do_not_differ(made: Path, root: Path) -> None:
    result = nunatak("diff", made, root)
    assert result.exit_code == 0
    assert "small/reproject/surface: 6 equal" in result.output.splitlines()
    assert "small/tile: equal" in result.output.splitlines()
    assert "different" not in result.output


def test_blocks_that_differ_are_named_and_drawn(made: Path, root: Path) -> None:
    edit_manifest(root / MANIFEST)
    (root / "small/degrade/coarse/1_0.json").unlink()
    (root / "small/publish/bicubic.provenance.json").unlink()
    shutil.copytree(root, root.with_name("other"))
    (root / "small/degrade/coarse/1_2.json").unlink()
    figure = root.with_name("map.png")
    result = nunatak("diff", made, root, "--map", figure)
    lines = result.output.splitlines()
    at = lines.index("small/degrade/coarse: 3 equal, 1 different, 2 only in A")
    assert lines[at + 1 : at + 5] == [
        *("  different: 0_1", "  only in A: 1_0, 1_2"),
        *("  = # =", "  A = A"),
    ]
    assert "small/publish/bicubic: only in A" in lines
    assert result.exit_code == 1
    assert figure.read_bytes().startswith(b"\x89PNG")
    (only,) = (each for each in compare(root, root.with_name("other")) if not each.equal)
    assert only.rows() == ["===", " =B"]


def test_many_different_blocks_are_counted() -> None:
    blocks = {f"{row}_{col}": "#" for row in range(3) for col in range(11)}
    _, named, *_ = Difference("a/reproject/b", blocks).lines()
    assert named.startswith("  different: 0_0, 0_1, 0_2")
    assert named.endswith("1_8 and 13 more")


def test_a_map_of_blocks_has_a_square_a_block_and_the_first_is_pale() -> None:
    figure = block_maps({"a": ["=#", " A"], "b": ["B="]}, WORDS, title="Two")
    one, other = (np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes)
    assert one.shape[:2] == (2, 2)
    assert other.shape[:2] == (1, 2)
    assert len({tuple(cell) for cell in (*one.reshape(4, 4), *other.reshape(2, 4))}) == 5
    assert one[0, 0].min() > one[0, 1].min()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(WORDS.values())


def litter(root: Path) -> dict[str, list[str]]:
    """What may go, by what is said of it, and beside it what looks like it and must stay."""
    files = {
        "old: no run of this name": ["old/recipe.json", "old/notes.txt", "logs/old/tile.log"],
        "download/moon: no run uses": ["download/moon/a.nc", "download/moon.json"],
        "small/infer/bicubic/1: the recipe": [
            *("small/infer/bicubic/1.zarr/bed/c/0/0", "small/infer/bicubic/1/0_0.trace"),
            "small/infer/bicubic/1.lock",
        ],
        "small/reproject/velocity: the recipe": ["small/reproject/velocity/0_0.json"],
        "small/scan/moon: the recipe": ["small/scan/moon.trace"],
        "small/train/net/0: the recipe": ["small/train/net/0/last.pt"],
        "small/publish/net: the recipe": [
            *("small/publish/net.tif", "small/publish/.kept/net.tif"),
            "small/publish/net.provenance.json",
        ],
        "small/degrade/coarse block 7_0: beyond the grid": [
            *("small/degrade/coarse.zarr/bed/c/7/0", "small/degrade/coarse/7_0.json"),
        ],
        "small/degrade/coarse/.0_0.json.12.tmp: left": ["small/degrade/coarse/.0_0.json.12.tmp"],
        "small/mosaic/bicubic.zarr/bed/c/0/0.ab.partial: left": [
            "small/mosaic/bicubic.zarr/bed/c/0/0.ab.partial"
        ],
        "small/mosaic/.bicubic.zarr.x1: left": ["small/mosaic/.bicubic.zarr.x1/zarr.json"],
        "benchmarks/small/.tile.costs.9.tmp: left": ["benchmarks/small/.tile.costs.9.tmp"],
        "small/publish/.publish-x1: left": ["small/publish/.publish-x1/plain.tif"],
    }
    stay = (
        *("mine/a.nc", "report.zip", "small/notes.txt", "small/publish/readme.txt"),
        *("logs/small/tile.log", ".nunatak/.code.json.1.tmp", "download/world/.a.tmp"),
        "small/reproject/of 2020.zarr/zarr.json",
    )
    for name in (*(name for names in files.values() for name in names), *stay):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1234567890", encoding="utf-8")
    return files


def test_what_no_recipe_asks_for_is_listed_and_goes_when_asked(root: Path) -> None:
    before = contents(root)
    files = litter(root)
    littered = contents(root)
    lines = said("gc")
    assert contents(root) == littered
    for what, names in files.items():
        size = 10 * len(names)
        assert any(line.strip().startswith(f"{size} bytes  {what}") for line in lines), what
    assert len(lines) == len(files) + 1
    assert lines[-1].endswith("--delete removes it")
    assert said("gc", "--delete")[:-1] == lines[:-1]
    gone = {name for names in files.values() for name in names}
    assert contents(root) == {k: v for k, v in littered.items() if k not in gone}
    assert before.items() <= contents(root).items()
    assert not (root / "small/train").exists()
    assert (root / ".nunatak/.code.json.1.tmp").exists()
    assert said("gc") == ["nothing to remove"]


TRIED: dict[str, Any] = {
    "methods": {
        "net": {
            "model": {"op": "residual"},
            "train": {
                "task": {"op": "supervised"},
                "losses": [{"op": "l1"}],
                **{"samples": 8, "batch": 2, "lr": 0.01, "validate_every": 4},
            },
            "search": {"trials": 2, "space": {"train.lr": {"low": 0.001, "high": 0.1}}},
        }
    }
}


def test_a_search_that_is_asked_for_stays_with_its_trials_and_no_others(root: Path) -> None:
    for name in ("trial/net/1/last.pt", "trial/net/2/curve.csv", "study/net/journal.log"):
        (root / "small" / name).parent.mkdir(parents=True)
        (root / "small" / name).write_text("0123456789", encoding="utf-8")
    asked = gc.find(root, {"small": recipe(**TRIED)})
    assert [waste.name for waste in asked] == ["small/trial/net/2: the recipe does not ask for it"]
    found = {waste.name.partition(":")[0] for waste in gc.find(root, {"small": recipe()})}
    assert found == {"small/trial/net/1", "small/trial/net/2", "small/study/net"}


def test_maps_of_other_scales_stay_as_long_as_their_method(root: Path) -> None:
    for name in ("bicubic/13.5.tif", "bicubic/13.5.provenance.json", "old/3.tif"):
        path = root / "small/rescale" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}", encoding="utf-8")
    found = gc.find(root, {"small": recipe()})
    assert [waste.name for waste in found] == ["small/rescale/old: the recipe does not ask for it"]
    gc.remove(root, found)
    assert not (root / "small/rescale/old").exists()
    assert (root / "small/rescale/bicubic/13.5.tif").exists()


def test_what_an_overlay_names_stays(root: Path) -> None:
    best = root / "small/study/net/best.yaml"
    best.parent.mkdir(parents=True)
    best.write_text("title: Another title\n", encoding="utf-8")
    run = {"recipe": "small", "overlay": "results/small/study/net/best.yaml"}
    (root / "../config/config.yaml").write_text(yaml.safe_dump({"runs": [run]}), encoding="utf-8")
    assert said("gc", "--delete") == ["nothing to remove"]
    (root / "../config/config.yaml").write_text(
        yaml.safe_dump({"runs": [{"recipe": "small"}]}), encoding="utf-8"
    )
    assert said("gc", "--delete")[0].endswith("small/study/net: the recipe does not ask for it")
    assert not best.exists()


def test_linked_folders_elsewhere_are_left_alone(root: Path) -> None:
    shared = root.with_name("shared")
    shutil.move(root / "download", shared)
    (root / "download").symlink_to(shared)
    (shared / "moon.json").write_text("{}", encoding="utf-8")
    (root / "old").symlink_to(root / "small")
    assert gc.find(root, {}) != []
    assert all("moon" not in waste.name and "old" not in waste.name for waste in gc.find(root, {}))


def test_files_of_several_links_count_once(root: Path) -> None:
    kept = root / "small/publish/.kept/bicubic.tif"
    (root / "small/publish/bicubic.tif").unlink()
    (root / "small/publish/bicubic.tif").hardlink_to(kept)
    tif, other = kept.stat().st_size, recipe(methods={"other": BASE["methods"]["bicubic"]})
    other = other.model_copy(update={"products": ("other",)})
    found = gc.find(root, {"small": other})
    sizes = dict(zip((waste.name for waste in found), gc.sizes(found), strict=True))
    size = sizes["small/publish/bicubic: the recipe does not ask for it"]
    assert tif < size < 1.5 * tif


def test_all_done_is_said(root: Path) -> None:
    made, step = configured(Path("config/config.yaml"))[1]["small"], Step("evaluate", "small")
    expected = Tracker(root).expected(step, values(made))
    write_trace(root, step.path, Trace(**expected, reads={}, files={}, links={}, manifest={}))
    assert said("status") == [f"everything is done: {len(dag.steps(made))} steps"]


def test_status_says_what_runs_why_and_what_may_follow(root: Path) -> None:
    (root / SHARD).unlink()
    for block in ("0_0", "0_1"):
        (root / f"small/reproject/target/{block}.trace").unlink()
    lines = said("status")
    assert "small/reproject/target blocks 0_0, 0_1: not made yet" in lines
    assert f"{BLOCK}: {SHARD} is missing" in lines
    follow = lines.index("then may follow, where what these make comes out different:")
    assert lines[follow + 1] == "  small/degrade/coarse blocks 0_0, 0_1"
    assert "  small/publish/bicubic" in lines[follow:]
    row = next(line for line in lines if "reproject" in line and "│" in line)
    assert [int(cell) for cell in row.replace("│", " ").split()[1:]] == [12, 9, 3, 0]


def test_status_tells_of_searches_apart(root: Path) -> None:
    found = status({"small": recipe(**TRIED)}, root, root)
    lines = list(found.lines())
    first = lines.index("when asked, by `snakemake tune`:")
    assert lines[first + 1 :] == [
        "  small/trial/net: 2, not made yet",
        "  small/study/net: 1, not made yet",
    ]
    assert not any("trial" in line or "study" in line for line in lines[:first])
    assert ("trial", 2, 0, 2, 0) in list(found.table())


def test_status_tells_of_maps_of_other_scales_apart(root: Path) -> None:
    trace = root / "small/rescale/bicubic/13.5.provenance.trace"
    trace.parent.mkdir(parents=True)
    trace.write_text("{}", encoding="utf-8")
    lines = list(status({"small": recipe()}, root, root).lines())
    assert lines[-2:] == ["when asked for by name:", "  small/rescale/bicubic/13.5: not made yet"]
    assert not any("rescale" in line for line in lines[:-2])


def test_status_of_an_empty_folder_is_short(root: Path) -> None:
    shutil.rmtree(root)
    lines = said("status")
    assert "small/mosaic/bicubic blocks 0_0 to 1_2 (6): not made yet" in lines
    assert not any("follow" in line and "│" not in line and "┃" not in line for line in lines)


def logged(step: Step, root: Path) -> None:
    """Run the job of a step as its rule does, with its log."""
    log = root / "logs" / f"{step.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    names = [word for name, value in step.names.items() for word in (f"--{name}", value)]
    given = ["--recipe", str(root / step.run / "recipe.json"), "--results", str(root), *names]
    with log.open("wb") as out:
        subprocess.run([sys.executable, "-m", "nunatak", step.stage, *given], stderr=out)


def test_a_failed_job_is_shown_with_its_message_until_its_step_is_made(root: Path) -> None:
    step = Step("degrade", "small", {"block": "1_2"})
    shard = root / "small/reproject/target.zarr/bed/c/1/2"
    whole = shard.read_bytes()
    (root / f"{step.path}.trace").unlink()
    truncate(shard)
    logged(step, root)
    lines = said("status")
    at = next(i for i, line in enumerate(lines) if line.startswith("small/degrade/coarse block"))
    assert lines[at] == "small/degrade/coarse block 1_2: failed"
    assert lines[at + 1].startswith(f"  on {host()}, at 20")
    assert lines[at + 2] == "  results/logs/small/degrade/coarse/1_2.log"
    assert lines[at + 3].startswith(
        "    error: small/reproject/target/1_2: small/reproject/target.zarr/bed/c/1/2 has 100 bytes"
    )
    shard.write_bytes(whole)
    logged(step, root)
    assert not any("failed" in line for line in said("status"))


def test_of_many_failures_few_are_shown(root: Path) -> None:
    step = Step("evaluate", "small")
    found = [
        Job(step, Path("a.log"), "failed", "n1", "", None, datetime.now(), (word,))
        for word in "abcdefghijklmno"
    ]
    lines = list(Status({}, [], jobs=found).last())
    assert len([line for line in lines if line.endswith(": failed")]) == 10
    assert lines[-1] == "and 5 more jobs"


def test_the_last_run_is_told(root: Path) -> None:
    run = Settled(configured(Path("config/config.yaml"))[1], root, Path())
    run.begin()
    assert "at work" in said("status")[0]
    run.end(well=False)
    assert "ended with failed jobs at" in said("status")[0]
    run.end(well=True)
    assert "ended well at" in said("status")[0]


def test_a_run_that_was_killed_is_told(root: Path) -> None:
    run = """
import sys, time
from pathlib import Path
from nunatak.settle import Settled
Settled({}, Path("results"), Path()).begin()
print("begun", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", run], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert "at work" in said("status")[0]
        process.kill()
    assert "broken off" in said("status")[0]


def test_costs_are_summed_by_stage_and_a_job_that_is_kept_costs_nothing(root: Path) -> None:
    for step in dag.steps(recipe()):
        record = costs.path(root, step.name)
        took = costs.Attempt("n1", "", 36.0, 72.0, 18.0, 100.0, costs.MADE)
        failed = costs.Attempt("n1", "", 3.6, 3.6, 0.0, 900.0, "failed")
        costs.write(record, [failed, took] if step.names.get("block") == "1_2" else [took])
    before = {path: path.read_bytes() for path in root.glob("benchmarks/**/*") if path.is_file()}
    tif = root / "small/publish/bicubic.tif"
    tif.unlink()
    tif.hardlink_to(root / "small/publish/.kept/bicubic.tif")
    logged(Step("degrade", "small", {"block": "1_2"}), root)
    assert "kept" in (root / "logs/small/degrade/coarse/1_2.log").read_text(encoding="utf-8")
    assert all(path.read_bytes() == text for path, text in before.items())
    lines = said("costs", "--csv", "costs.csv")
    rows = pd.read_csv("costs.csv").set_index(["run", "stage"])
    degrade = rows.loc["small", "degrade"]
    assert tuple(degrade[["steps", "jobs", "peak_mib"]]) == (6, 7, 900)
    assert degrade["hours"] == pytest.approx(0.061)
    assert degrade["core_hours"] == pytest.approx(0.121)
    assert degrade["gpu_hours"] == pytest.approx(0.03)
    shards = root.glob("small/degrade/coarse.zarr/bed/c/*/*")
    assert degrade["written_bytes"] == sum(shard.stat().st_size for shard in shards)
    files = [path for path in (root / "small/degrade").rglob("*") if path.is_file()]
    assert degrade["disk_bytes"] == sum(path.stat().st_size for path in files)
    published = rows.loc["small", "publish"]
    assert published["disk_bytes"] < 1.5 * published["written_bytes"]
    assert rows.loc["(shared)", "download"]["steps"] == 1
    made = dag.steps(recipe())
    again = sum(step.names.get("block") == "1_2" for step in made)
    assert lines[-1].split()[:3] == ["all", str(len(made)), str(len(made) + again)]
    assert max(map(len, lines)) <= 80


def test_a_step_without_a_record_is_told(root: Path) -> None:
    costs.path(root, "small/tile").unlink()
    assert said("costs")[-1].startswith("of 1 steps no job left a record")


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ({"2_10", "2_9"}, "blocks 2_9, 2_10"),
        ({"3_7"}, "block 3_7"),
        ({f"{r}_{c}" for r in (2, 3, 4) for c in (6, 7, 8)}, "blocks 2_6 to 4_8 (9)"),
        ({"0_0", "0_1", "5_5", "3_2", "1_9"}, "5 blocks between 0_0 and 5_9"),
    ],
)
def test_blocks_in_words(blocks: set[str], words: str) -> None:
    assert which(blocks) == words
