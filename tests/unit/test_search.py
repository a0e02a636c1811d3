"""Searches: what may be searched, the study that jobs share, a trial, and what trials come to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import tiny
import yaml
from pydantic import ValidationError

from nunatak.config import merge, values
from nunatak.dotted import put, take
from nunatak.errors import ConfigError, DataError
from nunatak.learn import study as studies
from nunatak.learn.study import Study, distributions
from nunatak.learn.tasks import Supervised
from nunatak.method import Method
from nunatak.products import Results
from nunatak.recipe import Recipe
from nunatak.search import ends
from nunatak.stages import trial as trying
from nunatak.stages.study import best, overlay, shares, study, table
from nunatak.stages.trial import shortened, trial
from nunatak.tracking.steps import Step

SPACE: dict[str, Any] = {
    "train.lr": {"low": 1e-4, "high": 0.1, "log": True},
    "train.batch": {"choices": [2, 4]},
    "train.losses.1.weight": {"low": 0, "high": 1},
    "model.args.width": {"low": 2, "high": 8},
}


def searched(
    space: dict[str, Any] = SPACE, model: str = "tiny:Tiny", buffer: float = 6000, **search: Any
) -> Recipe:
    """The tiny recipe with a search of its network."""
    plain = values(tiny.recipe(model, buffer))
    given = {"trials": 3, "samples": 24, "space": space, **search}
    return Recipe.model_validate(merge(plain, {"methods": {"net": {"search": given}}}))


def net(**search: Any) -> Method:
    return searched(**search).methods["net"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return tiny.world(tmp_path_factory.mktemp("world"), searched())


@pytest.fixture
def tree(world: Results, tmp_path: Path) -> Results:
    """The tiny world in a folder of its own."""
    return linked(world, tmp_path)


def linked(world: Results, folder: Path) -> Results:
    """The tiny world below another root."""
    (folder / "tiny").mkdir(parents=True)
    for path in world.folder.iterdir():
        (folder / "tiny" / path.name).symlink_to(path)
    return replace(world, root=folder)


def records(tree: Results) -> list[list[optuna.trial.FrozenTrial]]:
    """The trials of every study in the journal."""
    kept = studies.storage(tree.study("net") / "journal.log")
    return [kept.get_all_trials(found._study_id) for found in kept.get_all_studies()]


def made(tree: Results, number: int, key: str = "k", **given: Any) -> dict[str, Any]:
    """A trial whose manifest is kept."""
    manifest = trial(tree, "net", number, key=key, **given)
    path = tree.trial("net", number) / "manifest.json"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return manifest


def test_a_place_in_a_tree_is_changed_in_a_copy() -> None:
    tree = {"a": [{"b": 1}, {"b": 2}], "c": {}}
    assert put(tree, "a.1.b", 3) == {"a": [{"b": 1}, {"b": 3}], "c": {}}
    assert put(tree, "c.new", 0) == {**tree, "c": {"new": 0}}
    assert take(tree, "a.1.b") == 2


@pytest.mark.parametrize("path", ["a.2.b", "a.b", "x.y", "a.0.b.c", "a.2"])
def test_a_place_that_is_not_there(path: str) -> None:
    with pytest.raises(KeyError):
        put({"a": [{"b": 1}]}, path, 0)


@pytest.mark.parametrize(
    ("path", "space", "told"),
    [
        ("train.lrr", {"low": 1, "high": 2}, "unknown key 'lrr'.*lr"),
        ("train.lr", {"low": -1, "high": 2}, "'train.lr' cannot be -1: .*greater than 0"),
        ("train.losses.2.weight", {"low": 1, "high": 2}, "no '2' there"),
        ("train.losses.0.args.x", {"choices": [1, 2]}, "loss 'l1' has no argument 'x'"),
        ("model.args.depth", {"low": 1, "high": 2}, "has no argument 'depth'"),
        ("model.args.width", {"low": 1.5, "high": 4}, "width is 1.5"),
        ("model.args.width", {"choices": [4, "wide"]}, "width is 'wide'"),
        ("model.op", {"choices": ["a", "b"]}, "'model.op' is not searched"),
        ("train.task.op", {"choices": ["supervised", "cascade"]}, "is not searched"),
        ("train.samples", {"low": 8, "high": 64}, "is not searched"),
        ("members", {"choices": [1, 2]}, "is not searched"),
        ("train.lr", {"low": 2, "high": 1}, "low 2 is not below high 1"),
        ("train.lr", {"low": 0, "high": 1, "log": True}, "has no logarithm"),
        ("train.lr", {"choices": [0.1]}, "at least 2"),
    ],
)
def test_what_cannot_be_searched(path: str, space: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){told}"):
        searched({path: space})


def test_a_method_without_training_is_not_searched() -> None:
    search = {"trials": 1, "space": {"model.args.mode": {"choices": ["bilinear", "bicubic"]}}}
    given = merge(values(tiny.recipe()), {"methods": {"plain": {"search": search}}})
    with pytest.raises(ValidationError, match="has no training"):
        Recipe.model_validate(given)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("train.lr", float),
        ("train.losses.1.weight", float),
        ("model.args.width", int),
        ("model.args.dropout", float),
        ("train.batch", int),
        ("train.ema", float),
    ],
)
def test_whole_numbers_are_drawn_where_the_method_takes_no_others(path: str, kind: type) -> None:
    high = {"train.ema": 0.5, "model.args.dropout": 1}.get(path, 16)
    low = 0 if kind is float and path != "train.lr" else 1
    method = net(space={path: {"low": low, "high": high}})
    assert method.search
    assert {type(v) for v in ends(method, path, method.search.space[path])} == {kind}


def test_a_search_follows_from_its_ranges_and_not_from_values_in_them_nor_their_number() -> None:
    def digests(stage: str, **search: Any) -> dict[str, str]:
        recipe = values(searched(**search))
        recipe = merge(recipe, {"methods": {"net": {"train": {"lr": search.get("lr", 0.01)}}}})
        return Step(stage, "tiny", {"method": "net", "trial": "0"}).digests(recipe)

    plain = searched().model_dump()
    chosen = overlay(net(), "net", {"train.lr": 0.5, "train.losses.1.weight": 0.7})
    applied = Recipe.model_validate(merge(plain, chosen))
    step = Step("trial", "tiny", {"method": "net", "trial": "0"})
    assert step.digests(values(applied)) == step.digests(values(searched())) == digests("trial")
    assert digests("trial", trials=9) == digests("trial")
    assert digests("study", trials=9) != digests("study")
    assert digests("trial", seed=1) != digests("trial")
    assert digests("trial", space={**SPACE, "train.batch": {"choices": [4, 8]}}) != digests("trial")
    for stage in ("publish", "train"):
        step = Step(stage, "tiny", {"method": "net", "member": "0"})
        assert step.digests(values(searched())) == step.digests(values(tiny.recipe()))


def test_the_modules_of_all_operations_that_may_be_tried_are_followed() -> None:
    step = Step("trial", "tiny", {"method": "net", "trial": "0"})
    assert step.modules(values(searched())) == [
        *("nunatak.learn.losses", "nunatak.learn.tasks", "nunatak.stages.trial", "tiny")
    ]
    adversarial = tiny.recipe(task=tiny.ADVERSARIAL)
    critics = {"train.task.args.critic": {"choices": ["tiny:Critic", "deepbedmap"]}}
    found = merge(values(adversarial), {"methods": {"net": {"search": {"space": critics}}}})
    found["methods"]["net"]["search"] |= {"seed": 0, "samples": None, "trials": 2}
    assert {"tiny", "nunatak.learn.models.deepbedmap"} <= set(step.modules(found))


def opened(folder: Path, name: str = "a", seed: int = 0) -> Study:
    return Study(folder / "journal.log", name, distributions(net()), seed, 4, 24)


def test_a_job_finds_its_own_trial_again(tmp_path: Path) -> None:
    first = opened(tmp_path).begin(3)
    other = opened(tmp_path).begin(4)
    assert first.values != other.values
    assert set(first.values) == set(SPACE)
    first.report(4, 2.0)
    again = opened(tmp_path).begin(3)
    assert (again.trial.number, again.values, again.curve) == (0, first.values, {4: 2.0})
    again.end()
    assert (opened(tmp_path).begin(3).state, other.state) == ("complete", "running")
    assert len(again.trial.study.trials) == 2


def test_a_job_killed_while_values_are_drawn_goes_on_with_those_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, drawn = studies._draw, []

    def dying(found: optuna.Trial, path: str, given: Any) -> None:
        if len(drawn) == 2:
            raise KeyboardInterrupt
        draw(found, path, given)
        drawn.append((path, found.params[path]))

    monkeypatch.setattr(studies, "_draw", dying)
    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path).begin(0)
    monkeypatch.undo()
    attempt = opened(tmp_path).begin(0)
    assert set(drawn) < set(attempt.values.items())
    assert set(attempt.values) == set(SPACE)
    assert len(attempt.trial.study.trials) == 1


def test_values_follow_from_the_seed_and_the_job(tmp_path: Path) -> None:
    found = [opened(tmp_path / f, seed=s).begin(0).values for f, s in ("a0", "b0", "c1")]
    assert found[0] == found[1] != found[2]


def test_a_line_that_a_killed_writer_left_is_cut_off(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    opened(tmp_path).begin(0).report(4, 1.0)
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 6, "trial_id": 0, "st')
    reader = opened(tmp_path).begin(0)
    reader.report(8, 0.5)
    assert journal.read_bytes().startswith(whole)
    assert opened(tmp_path).begin(0).curve == {4: 1.0, 8: 0.5}


def test_studies_of_other_names_share_a_journal_and_no_trials(tmp_path: Path) -> None:
    opened(tmp_path, "a").begin(0)
    assert len(opened(tmp_path, "b").begin(0).trial.study.trials) == 1


def test_a_shorter_training_keeps_its_proportions() -> None:
    train = tiny.recipe().methods["net"].train
    assert train
    half = shortened(train, 20)
    assert (half.samples, half.warmup, half.validate_every) == (20, 4, 6)
    assert shortened(train, None) is train


def test_a_trial_leaves_its_curve_and_no_checkpoint(tree: Results) -> None:
    manifest = made(tree, 0)
    assert manifest["state"] == "complete"
    assert manifest["samples"] == 24
    assert set(manifest["values"]) == set(SPACE)
    folder = tree.trial("net", 0)
    assert {p.name for p in folder.iterdir()} == {"curve.csv", "manifest.json"}
    curve = pd.read_csv(folder / "curve.csv")
    assert curve["validation_rmse"].min() == manifest["best"]
    assert len(curve) == 4
    ((record,),) = records(tree)
    assert record.value == manifest["best"]


def test_a_trial_that_was_stopped_goes_on_to_the_same_end(
    tree: Results, world: Results, tmp_path: Path
) -> None:
    stopped = trial(tree, "net", 1, key="k", stop_after=0)
    assert stopped["unfinished"]
    assert stopped["samples"] < 24
    assert (tree.trial("net", 1) / "last.pt").exists()
    ((record,),) = records(tree)
    assert record.state.name == "RUNNING"
    manifest = made(tree, 1)
    ((record,),) = records(tree)
    assert record.state.name == "COMPLETE"
    assert trial(linked(world, tmp_path / "other"), "net", 1, key="k") == manifest


def test_a_trial_that_ended_before_its_manifest_was_kept_is_not_trained_again(
    tree: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = made(tree, 0)
    (tree.trial("net", 0) / "curve.csv").unlink()
    monkeypatch.delattr(trying, "fit")
    assert trial(tree, "net", 0, key="k") == manifest
    assert (tree.trial("net", 0) / "curve.csv").exists()


def test_what_a_search_follows_from_begins_another_study(tree: Results) -> None:
    one, other = made(tree, 0), made(tree, 0, key="other")
    assert one["study"] != other["study"]
    assert [len(found) for found in records(tree)] == [1, 1]


def test_a_trial_that_is_given_up_is_over(tree: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda self: True)
    manifest = made(tree, 0)
    assert manifest["state"] == "pruned"
    assert manifest["samples"] < 24
    ((record,),) = records(tree)
    assert record.state.name == "PRUNED"


def test_a_trial_that_diverges_is_over_and_its_values_are_kept_away_from(tree: Results) -> None:
    given = replace(tree, recipe=searched({"train.lr": SPACE["train.lr"]}, "tiny:Diverging"))
    manifest = made(given, 0)
    assert (manifest["state"], manifest["best"], manifest["samples"]) == ("diverged", None, 0)
    ((record,),) = records(given)
    assert record.state.name == "PRUNED"
    assert record.value == float("inf")


def test_losses_are_not_searched_where_they_judge(
    tree: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervised, "score", "loss")
    with pytest.raises(ConfigError, match=r"losses are searched, but .* is judged by them"):
        trial(tree, "net", 0, key="k")
    lone = replace(tree, recipe=searched({"train.lr": SPACE["train.lr"]}))
    assert trial(lone, "net", 0, key="k")["score"] == "loss"
    assert (tree.trial("net", 0) / "curve.csv").read_text().startswith("samples,validation_loss")


def test_a_network_that_does_not_fit_is_refused(tree: Results) -> None:
    with pytest.raises(ConfigError, match=r"split.buffer is 500 m"):
        trial(replace(tree, recipe=searched(buffer=500)), "net", 0, key="k")
    with pytest.raises(ConfigError, match="not searched"):
        trial(tree, "plain", 0, key="k")


def outcome(number: int, score: float | None, state: str = "complete", **given: Any) -> Any:
    lr = 10.0 ** -(1 + number % 4)
    drawn = {"train.lr": lr, "train.batch": 2, "train.losses.1.weight": 0.5, "model.args.width": 4}
    told = {"trial": number, "state": state, "best": score, "samples": 24}
    return {**told, "values": {**drawn, **given}}


def test_the_best_is_complete_and_the_first_of_equal_ones() -> None:
    found = [outcome(0, 3.0), outcome(1, 2.0), outcome(2, 2.0), outcome(3, 1.0, "pruned")]
    assert best(found, "net")["trial"] == 1
    with pytest.raises(DataError, match="none of 1 trials of net is complete"):
        best(found[3:], "net")


def test_an_overlay_makes_the_method_that_was_tried() -> None:
    drawn = outcome(0, 1.0, **{"train.losses.1.weight": 0.25})["values"]
    found = yaml.safe_load(yaml.safe_dump(overlay(net(), "net", drawn)))
    assert set(found["methods"]["net"]["train"]) == {"lr", "batch", "losses"}
    applied = Recipe.model_validate(merge(searched().model_dump(), found)).methods["net"]
    assert applied.train
    assert applied.changed({"search": None}) == net().changed({"search": None, **drawn})
    assert applied.train.losses[1].weight == 0.25
    assert applied.train.losses[1].op == "topographic"


def test_importances_are_of_enough_complete_trials() -> None:
    found = [outcome(n, float(n % 4)) for n in range(12)]
    told = shares(found, net())
    assert sum(told.values()) == pytest.approx(1)
    assert max(told, key=lambda name: told[name]) == "train.lr"
    assert shares(found[:4], net()) == {}


def test_a_study_writes_its_best_values_and_figures(tree: Results) -> None:
    for number in range(3):
        made(tree, number)
    found = study(tree, "net")
    folder = tree.study("net")
    frame = pd.read_csv(folder / "trials.csv")
    assert list(frame["trial"]) == [0, 1, 2]
    assert frame["score"].min() == found["best"]
    assert set(found["variables"]) == {"best.yaml", "trials.csv", "history.png", "importance.png"}
    text = (folder / "best.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# trial {found['trial']} of 3: Validation RMSE ")
    lr = yaml.safe_load(text)["methods"]["net"]["train"]["lr"]
    assert lr == found["values"]["train.lr"]
    assert [len(found) for found in records(tree)] == [3]


def test_a_table_has_a_row_a_trial_and_no_score_where_there_is_none() -> None:
    frame = table([outcome(0, 1.0), outcome(1, None, "diverged")])
    assert frame["score"].isna().tolist() == [False, True]
