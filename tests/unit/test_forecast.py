"""Forecasts of stations: windows in time, forecasters, training, and what they are judged by."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import buoys, small

from nunatak import dag
from nunatak.config import merge
from nunatak.errors import ConfigError, DataError, DivergedError
from nunatak.figures import forecast_skill
from nunatak.forecast import Forecast, ForecastTrain, Periods
from nunatak.jobs import run
from nunatak.learn import forecasting
from nunatak.learn.windows import Days, Shape, Windows
from nunatak.ops.forecast import (
    Scale,
    correlation,
    day_of_year,
    during,
    normals,
    scores,
    starts,
)
from nunatak.products import Results
from nunatak.provenance import read_json, write_json
from nunatak.recipe import Recipe
from nunatak.source import Op
from nunatak.stages.forecast import forecast
from nunatak.stages.skill import skill
from nunatak.stages.stations import chosen, stations
from nunatak.tracking.steps import Step
from nunatak.tracking.tracker import Tracker

SHAPE = Shape(14, 7, 16)
TRAIN = {"samples": 64, "batch": 16, "lr": 0.01, "validate_every": 32}
METHODS: dict[str, Any] = {
    "persistence": {"forecaster": {"op": "persistence"}},
    "climatology": {"forecaster": {"op": "climatology"}},
    "net": {"forecaster": {"op": "lstm", "args": {"width": 4, "head": 4}}, "train": TRAIN},
}
SECTION: dict[str, Any] = {
    "source": "buoys",
    "variable": "sst",
    "split": buoys.SPLIT,
    "methods": METHODS,
}


def drawn(shape: Shape = SHAPE, batch: int = 5, seed: int = 0) -> Windows:
    """Windows of nonsense, some of it not measured."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(60, shape.stations)).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    plain = rng.normal(size=values.shape).astype(np.float32)
    season = rng.normal(size=(60, 2)).astype(np.float32)
    spread = np.full(shape.stations, 0.5, np.float32)
    return Days(values, plain, season, spread, shape).windows(np.arange(batch))


# What a split is.


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test": [["2015-12-10", "2016-12-31"]]}, "9 days apart"),
        ({"validation": [["2014-06-01", "2015-11-30"]]}, "overlap"),
        ({"train": [["2013-01-01", "2014-01-01"], ["2013-06-01", "2014-06-01"]]}, "overlap"),
        ({"test": [["2016-12-31", "2016-01-01"]]}, "first to a last"),
        ({"test": []}, "at least 1"),
    ],
)
def test_periods_that_touch_or_overlap_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Periods.model_validate({**buoys.SPLIT, **change})


def test_ranges_of_one_part_may_follow_each_other() -> None:
    spans = [["2013-01-01", "2013-12-31"], ["2014-01-01", "2014-12-31"]]
    found = Periods.model_validate({**buoys.SPLIT, "train": spans})
    assert found.ends == (dt.date(2013, 1, 1), dt.date(2016, 12, 31))


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 6))
def test_windows_lie_in_chosen_days_as_a_whole(chosen_days: list[bool], length: int) -> None:
    found = starts(np.array(chosen_days), length).tolist()
    by_hand = [i for i in range(len(chosen_days) - length + 1) if all(chosen_days[i : i + length])]
    assert found == by_hand


# Normals and z-scores.


def test_a_day_of_the_year_is_the_same_in_every_year() -> None:
    days = pd.DatetimeIndex(["2015-02-28", "2015-03-01", "2016-02-29", "2016-03-01", "2016-12-31"])
    assert day_of_year(days).tolist() == [58, 60, 59, 60, 365]


def test_the_climatology_of_a_pure_year_s_cycle_is_that_cycle() -> None:
    dates = pd.date_range("2012-01-01", "2015-12-31")
    day = day_of_year(dates)
    cycle = 10 + 8 * np.cos(2 * np.pi * np.arange(366) / 366)
    values = np.stack([cycle[day], cycle[day]], axis=1)
    values[(day > 100) & (day < 140), 1] = np.nan
    found = normals(values, day, smooth=5)
    np.testing.assert_allclose(found[:, 0], cycle, atol=0.05)
    np.testing.assert_allclose(found[:, 1], cycle, atol=1.0)
    assert np.isnan(normals(np.full((len(day), 1), np.nan), day)).all()


def test_the_scale_is_of_training_days_alone() -> None:
    frame = buoys.series(3)
    training = during(pd.DatetimeIndex(frame.index), [(dt.date(2013, 1, 1), dt.date(2014, 12, 31))])
    known = Scale.of(frame, training)
    changed = frame.copy()
    changed[~training] += 100
    again = Scale.of(changed, training)
    for name in ("mean", "deviation", "normal", "spread", "cold", "warm"):
        np.testing.assert_array_equal(getattr(known, name), getattr(again, name))
    values = known.scores(frame.to_numpy()[training])
    np.testing.assert_allclose(np.nanmean(values, axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(np.nanstd(values, axis=0), 1)
    np.testing.assert_allclose(known.values(values), frame.to_numpy()[training])
    share = np.nanmean(frame.to_numpy()[training] > known.warm, axis=0)
    np.testing.assert_allclose(share, 0.05, atol=0.01)


def test_a_station_without_training_days_is_named() -> None:
    frame = buoys.series(3)
    training = np.arange(len(frame)) < 300
    frame.loc[training, "buoy1"] = np.nan
    with pytest.raises(DataError, match="buoy1"):
        Scale.of(frame, training)


# Windows.


def test_what_is_not_measured_is_filled_by_the_climatology_and_flagged() -> None:
    frame = buoys.series(2, gaps=0)
    frame.iloc[5, 1] = np.nan
    frame.iloc[20, 0] = np.nan
    scale = Scale.of(frame, np.ones(len(frame), bool))
    days = Days.of(frame, scale, 14, 7)
    windows = days.windows(np.array([0]))
    assert windows.observed.sum() == 27
    assert windows.observed[0, 5, 1] == 0
    assert windows.values[0, 5, 1] == windows.normal[0, 5, 1]
    assert torch.isfinite(windows.values).all()
    assert windows.mask.logical_not().nonzero().tolist() == [[0, 6, 0]]
    torch.testing.assert_close(windows.values[0, 4], torch.from_numpy(days.scores[4]))


def test_windows_without_any_target_teach_nothing() -> None:
    frame = buoys.series(2, gaps=0)
    frame.iloc[14:22] = np.nan
    days = Days.of(frame, Scale.of(frame, np.ones(len(frame), bool)), 14, 7)
    assert days.taught(np.arange(4)).tolist() == [2, 3]


# Forecasters.


@pytest.mark.parametrize(("op", "count"), [("lstm", 20_737), ("transformer", 38_401)])
def test_networks_have_exactly_as_many_parameters_as_the_original(op: str, count: int) -> None:
    network = forecasting.build(Op(op=op), _days(drawn()), 0)
    assert sum(p.numel() for p in network.parameters()) == count


def _days(windows: Windows) -> Days:
    """Days of the shape of some windows."""
    stations = windows.values.shape[2]
    shape = Shape(windows.values.shape[1], windows.target.shape[1], stations)
    empty = np.zeros((60, stations), np.float32)
    return Days(empty, empty, np.zeros((60, 2), np.float32), empty[0], shape)


@pytest.mark.parametrize("op", ["lstm", "transformer"])
def test_an_untrained_network_continues_the_anomaly_and_a_trained_one_may_not(op: str) -> None:
    windows = drawn()
    network = forecasting.build(Op(op=op), _days(windows), 0)
    base = forecasting.build(Op(op="anomaly_persistence"), _days(windows), 0)
    torch.testing.assert_close(network(windows), base(windows))
    assert network(windows).shape == (5, 7, 16)
    torch.nn.init.normal_(network.head[-1].weight)
    found = network(windows)
    assert (found - base(windows)).abs().min() > 0
    for i in range(16):
        one = Windows(*(t.clone() for t in windows))
        one.values[:, :, i] += 1
        moved = (network(one) - found).abs().amax(dim=(0, 1)).nonzero().flatten().tolist()
        assert moved == [i], "stations are told apart, and do not see each other"


def test_networks_do_not_see_their_target() -> None:
    windows = drawn()
    hidden = windows._replace(target=torch.full_like(windows.target, torch.nan))
    for op in ("persistence", "climatology", "anomaly_persistence", "lstm", "transformer"):
        network = forecasting.build(Op(op=op), _days(windows), 0)
        torch.testing.assert_close(network(windows), network(hidden))


def test_baselines_are_what_they_are_called() -> None:
    frame = buoys.series(2, gaps=0)
    frame.iloc[12:14, 0] = np.nan
    frame.iloc[:14, 1] = np.nan
    days = Days.of(frame, Scale.of(frame, np.ones(len(frame), bool)), 14, 7)
    windows = days.windows(np.array([0]))
    told = {
        op: forecasting.build(Op(op=op), days, 0)(windows)[0].numpy()
        for op in ("persistence", "climatology", "anomaly_persistence")
    }
    np.testing.assert_array_equal(told["persistence"][:, 0], np.full(7, days.scores[11, 0]))
    np.testing.assert_array_equal(told["persistence"][:, 1], np.full(7, days.normal[13, 1]))
    np.testing.assert_array_equal(told["climatology"], days.normal[14:21])
    anomaly = days.scores[11, 0] - days.normal[11, 0]
    expected = days.normal[14:21, 0] + anomaly
    np.testing.assert_allclose(told["anomaly_persistence"][:, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(told["anomaly_persistence"][:, 1], days.normal[14:21, 1])


# Losses.


@pytest.mark.parametrize("op", ["mse", "gumbel", "frechet"])
def test_one_day_is_not_compared_with_seven(op: str) -> None:
    target = torch.zeros(4, 7, 16)
    mask = torch.ones_like(target, dtype=torch.bool)
    for shape in ((4, 16), (4, 1, 16), (4, 7, 1)):
        with pytest.raises(ValueError, match="shapes"):
            forecasting.loss(Op(op=op), torch.ones(shape), target, mask)


def test_missing_targets_are_not_in_the_denominator() -> None:
    target = torch.zeros(2, 7, 3)
    target[0] = torch.nan
    prediction = torch.full_like(target, 2.0, requires_grad=True)
    found = forecasting.loss(Op(op="mse"), prediction, target, torch.isfinite(target))
    found.backward()
    assert found == 4
    assert prediction.grad is not None
    assert (prediction.grad[0] == 0).all()
    assert torch.isfinite(prediction.grad).all()


# Training.


def series_days(memory: float = 0.9) -> tuple[Days, np.ndarray, np.ndarray]:
    frame = buoys.series(3, memory=memory)
    training = np.arange(len(frame)) < 730
    days = Days.of(frame, Scale.of(frame, training), 14, 7)
    return days, starts(training, 21), starts(~training, 21)


def fitted(days: Days, first: Any, checks: Any, **change: Any) -> forecasting.Fitted:
    network = forecasting.build(Op(op="lstm", args={"width": 6, "head": 6}), days, 0)
    train = ForecastTrain.model_validate({**TRAIN, **change})
    return forecasting.fit(network, days, first, checks, train)


def test_a_training_is_a_function_of_its_seed() -> None:
    days, first, checks = series_days()
    one, same, other = (fitted(days, first, checks, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(one.weights[k], same.weights[k]) for k in one.weights)
    assert not all(torch.equal(one.weights[k], other.weights[k]) for k in one.weights)
    pd.testing.assert_frame_equal(one.losses, same.losses)
    assert one.samples == 64


def test_training_learns_that_anomalies_fade() -> None:
    days, first, checks = series_days(memory=0.5)
    network = forecasting.build(Op(op="lstm", args={"width": 8, "head": 8}), days, 0)
    before = forecasting.judged(network, days, checks, Op(op="mse"), torch.device("cpu"))
    train = ForecastTrain.model_validate({**TRAIN, "samples": 1600, "validate_every": 320})
    after = forecasting.fit(network, days, first, checks, train).best
    assert after < 0.8 * before


def test_patience_ends_a_training_and_the_best_weights_are_kept() -> None:
    days, first, checks = series_days()
    found = fitted(days, first, checks, samples=4096, lr=1.0, patience=2)
    assert found.samples < 4096
    losses = found.losses.set_index("samples")["validation_loss"]
    assert found.best == losses.min()
    assert found.best_samples == losses.idxmin()
    assert len(losses.loc[found.best_samples :]) == 3


@pytest.mark.parametrize("op", ["gumbel", "frechet"])
def test_losses_for_extremes_train_too(op: str) -> None:
    days, first, checks = series_days()
    found = fitted(days, first, checks, loss={"op": op})
    assert np.isfinite(found.losses.to_numpy()).all()
    assert found.best > 0
    plain = fitted(days, first, checks)
    assert any((found.weights[k] != plain.weights[k]).any() for k in plain.weights)


def test_every_window_is_seen_once_an_epoch() -> None:
    train = ForecastTrain.model_validate({**TRAIN, "batch": 3})
    seen = [forecasting._chosen(train, at, 10) for at in range(0, 30, 3)]
    epochs = np.concatenate(seen).reshape(3, 10)
    assert (np.sort(epochs, axis=1) == np.arange(10)).all()
    assert (epochs[0] != epochs[1]).any()


def test_a_training_that_diverges_or_has_no_window_says_so() -> None:
    days, first, checks = series_days()
    with pytest.raises(DivergedError, match="not finite"):
        fitted(days, first, checks, lr=1e30, samples=640)
    with pytest.raises(DataError, match=r"forecast\.split\.validation"):
        fitted(days, first, checks[:0])


# Judging.


def judged(**columns: Any) -> pd.DataFrame:
    plain = {"method": "m", "station": "a", "lead": 1, "tail": 0}
    return pd.DataFrame({**plain, **columns})


def test_scores_are_rmse_and_correlation_by_lead_station_and_tail() -> None:
    truth = np.array([1.0, 2, 3, 4, np.nan])
    first = judged(prediction=truth + 1, truth=truth, tail=[-1, 0, 0, 1, 0])
    second = judged(prediction=[4.0, 3, 2, 1, 9], truth=truth, lead=2, station="b")
    found = scores(pd.concat([first, second])).set_index(["where", "station", "lead"])
    assert found.loc[("all", "a", "1"), ["n", "rmse", "bias", "correlation"]].tolist() == [
        4,
        1,
        1,
        pytest.approx(1),
    ]
    assert found.loc[("all", "b", "2"), "correlation"] == pytest.approx(-1)
    assert found.loc[("all", "all", "all"), "correlation"] == pytest.approx(0)
    assert found.loc[("all", "all", "all"), "rmse"] == pytest.approx(np.sqrt((4 + 20) / 8))
    assert found.loc[("warm", "a", "1"), "n"] == 1
    assert found.loc[("cold", "a", "1"), "rmse"] == 1
    assert np.isnan(found.loc[("cold", "a", "1"), "correlation"])
    assert found.loc[("cold", "all", "all"), "n"] == 1


def test_correlation_of_little_is_not_made_up() -> None:
    assert np.isnan(correlation(np.array([1.0, 2]), np.array([1.0, 2])))
    assert np.isnan(correlation(np.ones(9), np.arange(9.0)))


# The stages.


def tree(folder: Path, frame: pd.DataFrame, **change: Any) -> Results:
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    buoys.write(frame, data / "buoys.csv")
    section = {**SECTION, **change}
    results = small.tree(
        folder / "results", forecast=section, sources={"buoys": buoys.source(frame)}
    )
    path = results.folder / "recipe.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(results.recipe.model_dump_json())
    return results


def job(results: Results, stage: str, work: Any, **names: str) -> bool:
    data = results.root.parent / "data"
    path = results.folder / "recipe.json"
    return run(Step(stage, results.recipe.name, names), path, results.root, work, data)


def made(results: Results) -> list[str]:
    """Look at the file and run all that is not done; which steps were computed."""
    data = results.root.parent / "data"
    digest = Tracker(results.root, data).files.digest(data / "buoys.csv")
    manifest = {"contents": {"buoys.csv": digest}, "variables": {"files": {"digest": digest}}}
    write_json(results.root / "download" / "buoys.json", manifest)
    spec = results.recipe.forecast
    assert spec is not None
    found = ["stations"] if job(results, "stations", lambda t, key: stations(t, data)) else []
    for method in spec.methods:
        if job(
            results,
            "forecast",
            lambda t, key, m=method: forecast(t, m, key=key),
            method=method,
        ):
            found.append(method)
    return found + (["skill"] if job(results, "skill", lambda t, key: skill(t)) else [])


ALL = ["stations", *METHODS, "skill"]


def test_every_method_forecasts_the_same_test_days_and_is_judged(tmp_path: Path) -> None:
    frame = buoys.series(3)
    results = tree(tmp_path, frame)
    assert made(results) == ALL
    assert made(results) == []
    told = pd.read_parquet(results.forecast("persistence") / "predictions.parquet")
    assert told["date"].min() == pd.Timestamp("2016-01-15")
    assert told["date"].max() == pd.Timestamp("2016-12-31")
    row = told[(told["origin"] == "2016-03-01") & (told["station"] == "buoy2")].iloc[3]
    assert row["lead"] == 4
    assert row["date"] == pd.Timestamp("2016-03-05")
    last = frame.loc[:"2016-03-01", "buoy2"].dropna().iloc[-1]
    assert row["prediction"] == pytest.approx(last, abs=0.002)
    other = pd.read_parquet(results.forecast("net") / "predictions.parquet")
    same = ["origin", "lead", "date", "station", "truth", "tail"]
    pd.testing.assert_frame_equal(told[same], other[same])
    table = pd.read_csv(results.folder / "evaluate" / "forecast.csv", dtype={"lead": str})
    whole = table[(table["where"] == "all") & (table["station"] == "all")]
    rmse = whole.set_index(["method", "lead"])["rmse"]
    assert rmse["persistence", "1"] < rmse["persistence", "7"]
    assert rmse["persistence", "1"] < rmse["climatology", "1"]
    assert {"warm", "cold"} < set(table["where"])
    manifest = read_json(results.forecast("net") / "manifest.json")
    assert manifest["samples"] == 64
    assert manifest["windows"] == 366 - 20
    for name in dag.SKILL:
        assert (results.folder / "evaluate" / name).is_file()


def test_a_changed_test_day_is_forecast_again_but_nothing_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = buoys.series(3)
    results = tree(tmp_path, frame)
    made(results)
    best = (results.forecast("net") / "best.pt").read_bytes()
    trained: list[int] = []
    fit = forecasting.fit
    monkeypatch.setattr(forecasting, "fit", lambda *a: trained.append(1) or fit(*a))
    frame.loc["2016-05-05", "buoy0"] = 30.0
    buoys.write(frame, tmp_path / "data" / "buoys.csv")
    assert made(results) == ALL
    assert not trained
    assert (results.forecast("net") / "best.pt").read_bytes() == best
    told = pd.read_parquet(results.forecast("net") / "predictions.parquet")
    assert told["truth"].max() == 30
    frame.loc["2013-05-05", "buoy0"] = 30.0
    buoys.write(frame, tmp_path / "data" / "buoys.csv")
    assert made(results) == ALL
    assert trained == [1]


def test_a_file_that_grows_beyond_the_split_changes_nothing(tmp_path: Path) -> None:
    frame = buoys.series(3)
    results = tree(tmp_path, frame)
    made(results)
    path = tmp_path / "data" / "buoys.csv"
    path.write_text(path.read_text() + "2017-03-01,buoy1,12.0\n")
    assert made(results) == ["stations"]


def test_the_stations_that_are_named_are_forecast(tmp_path: Path) -> None:
    spec = Forecast.model_validate({**SECTION, "stations": ["buoy2", "buoy0"]})
    found = chosen(buoys.series(3), spec)
    assert list(found.columns) == ["buoy2", "buoy0"]
    with pytest.raises(DataError, match="buoy9"):
        chosen(
            buoys.series(3), Forecast.model_validate({**SECTION, "stations": ["buoy0", "buoy9"]})
        )


def test_a_network_that_nobody_trains_is_refused(tmp_path: Path) -> None:
    results = tree(tmp_path, buoys.series(2), methods={"net": {"forecaster": {"op": "lstm"}}})
    with pytest.raises(ConfigError, match="section train"):
        made(results)


def test_a_source_of_a_grid_is_refused(tmp_path: Path) -> None:
    results = tree(tmp_path, buoys.series(2), source="world", variable="bed")
    with pytest.raises(DataError, match="holds no stations"):
        stations(results, tmp_path / "data")


def test_a_section_that_names_what_is_not_there_is_refused() -> None:
    source = {"buoys": buoys.source(buoys.series(2))}
    with pytest.raises(ValueError, match="salinity"):
        small.recipe(forecast={**SECTION, "variable": "salinity"}, sources=source)
    with pytest.raises(ValueError, match=r"forecast\.source"):
        small.recipe(forecast=SECTION)


def test_the_steps_of_a_forecast_stand_apart_from_those_of_the_map() -> None:
    source = {"buoys": buoys.source(buoys.series(2))}
    recipe: Recipe = small.recipe(forecast=SECTION, sources=source)
    found = {step.path: step for step in dag.steps(recipe)}
    assert dag.inputs(recipe, "stations") == ["download/buoys"]
    assert dag.inputs(recipe, "forecast", method="net") == ["small/stations/manifest"]
    assert dag.inputs(recipe, "skill") == [f"small/forecast/{m}/manifest" for m in METHODS]
    assert {"small/stations/manifest", "small/evaluate/forecast"} <= found.keys()
    assert "small/scan/buoys" not in found
    assert "download/buoys" not in dag.inputs(recipe, "publish", method="bicubic")
    assert {f"small/evaluate/{name}" for name in dag.SKILL} <= set(dag.outputs(recipe))
    assert dag.gates(recipe, "forecast", method="net") == []
    plain = recipe.model_dump(mode="json")
    kinds = found["small/forecast/net/manifest"].modules(plain)
    assert {"nunatak.learn.models.forecasters", "nunatak.learn.insitu_losses"} < set(kinds)
    assert "nunatak.learn.models.forecasters" not in found["small/evaluate/forecast"].modules(plain)


FORECASTS = [f"small/forecast/{method}/manifest" for method in sorted(METHODS)]
STATIONS, SKILL = "small/stations/manifest", "small/evaluate/forecast"
TRAINED = ["small/forecast/net/manifest"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"forecast": {"methods": {"net": {"train": {"lr": 0.5}}}}},
            ["small/forecast/net/manifest"],
        ),
        ({"forecast": {"methods": {"other": METHODS["net"]}}}, [SKILL]),
        ({"forecast": {"history": 10}}, FORECASTS),
        ({"forecast": {"stations": ["buoy0"]}}, [STATIONS]),
        ({"forecast": {"split": {"gap": 20}}}, [STATIONS, *FORECASTS]),
        ({"sources": {"buoys": {"variables": {"sst": {"to": "K"}}}}}, [STATIONS, SKILL]),
        ({"title": "Other"}, [SKILL]),
    ],
    ids=str,
)
def test_a_value_is_followed_by_the_steps_that_read_it(
    change: dict[str, Any], expected: list[str]
) -> None:
    source = {"buoys": buoys.source(buoys.series(2))}
    whole = {"forecast": SECTION, "sources": source}
    before, after = (
        {step.path: step.digests(recipe.model_dump(mode="json")) for step in dag.steps(recipe)}
        for recipe in (small.recipe(**merge(whole, c)) for c in ({}, change))
    )
    told = {path for path in before if before[path] != after[path]}
    assert told & {STATIONS, SKILL, *FORECASTS} == set(expected)


def test_a_figure_has_a_line_a_method_in_every_panel(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = [
        judged(
            method=method,
            lead=lead,
            prediction=rng.normal(size=90),
            truth=rng.normal(size=90),
            tail=np.repeat([-1, 0, 1], 30),
        )
        for method in ("one", "two")
        for lead in (1, 2, 3)
    ]
    figure = forecast_skill(scores(pd.concat(parts)), tmp_path / "a.png", units="degC")
    assert [len(axes.lines) for axes in figure.axes] == [2] * 6
    assert (tmp_path / "a.png").is_file()
