"""forecast: train one method on the series of stations, and forecast the test days with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nunatak.config import values
from nunatak.content import digest_array
from nunatak.errors import ConfigError, DataError
from nunatak.forecast import Forecast, ForecastMethod
from nunatak.learn import forecasting
from nunatak.learn.checkpoint import Checkpoint, digest_state, load, save
from nunatak.learn.windows import Days
from nunatak.ops.forecast import Scale, during, starts
from nunatak.products import Results
from nunatak.provenance import digest_json, write_text

Ints = NDArray[np.int64]


def forecast(results: Results, method: str, *, key: str) -> dict[str, Any]:
    """Write predictions.parquet and, of a method that is trained, best.pt and loss.csv.

    A training is kept while its values, its code and the training and validation days are as they
    were: other test days are forecast with the weights that there are.

    Parameters
    ----------
    results
        The results tree of the recipe.
    method
        Of the section ``forecast``.
    key
        What the training follows from besides the series.

    Returns
    -------
    dict
        The manifest: method, stations, test windows, and of a training its samples, best loss,
        the number of parameters and the digest of the weights.

    Raises
    ------
    ConfigError
        If the method has weights but no section train.
    DataError
        If a station is never measured in training, a part has no window, or the training
        diverges.
    StoreError
        If the checkpoint of this key is damaged.
    """
    spec = results.recipe.forecast
    assert spec is not None
    series = pd.read_csv(results.series, index_col=0, parse_dates=[0], float_precision="round_trip")
    dates = pd.DatetimeIndex(series.index)
    scale = Scale.of(series, during(dates, spec.split.train))
    days = Days.of(series, scale, spec.history, spec.lead)
    folder = results.forecast(method)
    folder.mkdir(parents=True, exist_ok=True)
    network = _network(method, spec.methods[method], days)
    told: dict[str, Any] = {}
    if spec.methods[method].train is not None:
        best = _trained(results, method, network, (series, scale, days), key)
        network.load_state_dict(best.weights["network"])
        told = _told(best)
    first = _windows(spec, dates, "test")
    if not first.size:
        raise DataError(
            "forecast.split.test holds no window",
            f"a range of at least {spec.history + spec.lead} days",
            "make one longer",
        )
    frame = _frame(series, scale, days, first, forecasting.predict(network, days, first))
    path = folder / "predictions.parquet"
    frame.to_parquet(path, index=False)
    results.wrote(path)
    who = {"method": method, "stations": list(series.columns), "windows": len(first)}
    numbers = [digest_array(frame[name].to_numpy()) for name in ("prediction", "truth", "tail")]
    content = digest_json([who, str(dates[first[0]]), *numbers])
    return {**who, **told, "variables": {"predictions": {"digest": content}}}


def _windows(spec: Forecast, dates: pd.DatetimeIndex, part: str) -> Ints:
    """First days of the windows that lie in one range of a part."""
    length, spans = spec.history + spec.lead, getattr(spec.split, part)
    found = [starts(during(dates, [span]), length) for span in spans]
    return np.sort(np.concatenate(found))


def _network(method: str, spec: ForecastMethod, days: Days) -> Any:
    network = forecasting.build(spec.forecaster, days, spec.train.seed if spec.train else 0)
    if spec.train is None and any(True for _ in network.parameters()):
        raise ConfigError(
            f"forecast.methods.{method}: the forecaster has weights, but no section train",
            "a section train, or a forecaster without weights, like persistence",
        )
    return network


def _trained(
    results: Results,
    method: str,
    network: Any,
    known: tuple[pd.DataFrame, Scale, Days],
    key: str,
) -> Checkpoint:
    """The training of this key, as it is there or made now."""
    spec, (series, scale, days) = results.recipe.forecast, known
    assert spec is not None
    dates, train = pd.DatetimeIndex(series.index), spec.methods[method].train
    assert train is not None
    learnt = during(dates, [*spec.split.train, *spec.split.validation])
    seen = digest_json([[*map(str, series.columns)], digest_array(series.to_numpy()[learnt])])
    path, table = (results.forecast(method) / name for name in ("best.pt", "loss.csv"))
    results.wrote(path, table)
    if path.exists() and table.exists():
        best = load(path)
        if (best.key, best.tiles) == (key, seen):
            return best
    training, checks = (_windows(spec, dates, part) for part in ("train", "validation"))
    fitted = forecasting.fit(network, days, training, checks, train)
    names = ("mean", "deviation", "normal", "spread")
    statistics = {name: getattr(scale, name).tolist() for name in names}
    best = replace(
        Checkpoint(key, method, 0, values(results.recipe), statistics, seen, score="loss"),
        samples_seen=fitted.samples,
        trained=fitted.samples,
        best=fitted.best,
        best_samples=fitted.best_samples,
        weights={"network": fitted.weights},
    )
    write_text(table, fitted.losses.to_csv(index=False))
    save(path, best)
    return best


def _told(best: Checkpoint) -> dict[str, Any]:
    weights = best.weights["network"]
    return {
        "samples": best.trained,
        "best_loss": best.best,
        "best_samples": best.best_samples,
        "parameters": sum(weight.numel() for weight in weights.values()),
        "model": digest_state(weights),
    }


def _frame(
    series: pd.DataFrame, scale: Scale, days: Days, first: Ints, scores: NDArray[np.float64]
) -> pd.DataFrame:
    """A row a station and day that is forecast, from every last day of history."""
    history, lead, count = days.shape
    at = first[:, None] + history + np.arange(lead)
    truth = series.to_numpy(np.float64)[at]
    tail = (truth > scale.warm).astype(np.int8) - (truth < scale.cold).astype(np.int8)
    dates, each = pd.DatetimeIndex(series.index), lead * count
    columns = {
        "origin": np.repeat(dates[first + history - 1], each),
        "lead": np.tile(np.repeat(np.arange(1, lead + 1), count), len(first)),
        "date": np.repeat(dates[at.ravel()], count),
        "station": np.tile([*map(str, series.columns)], len(first) * lead),
        "prediction": scale.values(scores).ravel(),
        "truth": truth.ravel(),
        "tail": tail.ravel(),
    }
    return pd.DataFrame(columns)
