"""study: what the trials of a search come to, best values first."""

from __future__ import annotations

from typing import Any

import optuna
import pandas as pd
import yaml
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from nunatak.config import merge
from nunatak.dotted import put, take
from nunatak.errors import ConfigError, DataError
from nunatak.figures import history, importances
from nunatak.learn.study import distributions
from nunatak.method import Method
from nunatak.products import Results
from nunatak.provenance import digest_file, read_json, write_text

# With fewer complete trials, an importance is that of chance.
_FEWEST = 5
FILES = ("trials.csv", "history.png", "importance.png")


def table(manifests: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a trial: trial, state, score (NaN if it has none), samples, and the values tried."""
    rows = [
        {
            **{"trial": m["trial"], "state": m["state"]},
            **{"score": m["best"], "samples": m["samples"]},
            **m["values"],
        }
        for m in manifests
    ]
    return pd.DataFrame(rows).astype({"score": float})


def best(manifests: list[dict[str, Any]], method: str) -> dict[str, Any]:
    """The complete trial of the least score, of equal ones the first.

    Raises
    ------
    DataError
        If no trial is complete.
    """
    complete = [m for m in manifests if m["state"] == "complete"]
    if not complete:
        raise DataError(
            f"none of {len(manifests)} trials of {method} is complete",
            "at least one training that comes to its end",
            "search values closer to those of the recipe, or make more trials",
        )
    return min(complete, key=lambda m: (m["best"], m["trial"]))


def overlay(spec: Method, method: str, values: dict[str, Any]) -> dict[str, Any]:
    """What a run merges into its recipe to train a method with some values.

    Lists are replaced when trees merge, so one in which a value lies is given as a whole.

    Parameters
    ----------
    spec, method
        The method, and its name.
    values
        By dotted paths.
    """
    whole: Any = spec.model_dump(mode="json", exclude={"search"})
    for path, value in values.items():
        whole = put(whole, path, value)
    found: dict[str, Any] = {}
    for path in values:
        keys = path.split(".")
        place = next((i for i, key in enumerate(keys) if key.isdigit()), len(keys))
        part = take(whole, ".".join(keys[:place]))
        for key in reversed(keys[:place]):
            part = {key: part}
        found = merge(found, part)
    return {"methods": {method: found}}


def shares(manifests: list[dict[str, Any]], spec: Method) -> dict[str, float]:
    """The importance of each value searched, by Optuna's PED-ANOVA over the complete trials.

    After Watanabe et al. 2023, doi 10.24963/ijcai.2023/488. Empty if too few trials are complete.
    """
    complete = [m for m in manifests if m["state"] == "complete"]
    if len(complete) < _FEWEST:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, given = optuna.create_study(), distributions(spec)
    for m in complete:
        tried = create_trial(params=m["values"], distributions=given, value=m["best"])
        study.add_trial(tried)
    return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))


def study(results: Results, method: str) -> dict[str, Any]:
    """Write what the trials of a method's search came to below ``study/METHOD/``.

    best.yaml is an overlay with the best values, trials.csv a table of all trials, history.png
    shows their scores, importance.png which values mattered.

    Parameters
    ----------
    results
        The results tree, in which all trials are made.
    method
        Whose search.

    Returns
    -------
    dict
        The manifest: method, trials, of the best its trial, score, best and values, and
        the digest of each file.

    Raises
    ------
    ConfigError
        If the method is not searched.
    DataError
        If no trial is complete.
    """
    spec = results.recipe.methods[method]
    if spec.search is None:
        raise ConfigError(f"method {method!r} is not searched", "a method with a section search")
    manifests = [_trial(results, method, number) for number in range(spec.search.trials)]
    chosen, folder = best(manifests, method), results.study(method)
    frame, heading = table(manifests), f"{results.recipe.title}: {method}"
    label, units = _judged(results, chosen["score"])
    text = yaml.safe_dump(overlay(spec, method, chosen["values"]), sort_keys=False)
    said = f"trial {chosen['trial']} of {len(manifests)}: {label} {chosen['best']:.6g} {units}"
    write_text(folder / "best.yaml", f"# {said.strip()}\n{text}")
    write_text(folder / "trials.csv", frame.to_csv(index=False))
    history(frame, folder / "history.png", label=label, units=units or "1", title=heading)
    importances(shares(manifests, spec), folder / "importance.png", title=heading)
    results.wrote(folder / "best.yaml")
    results.keep(*(folder / name for name in FILES))
    told = {name: chosen[name] for name in ("trial", "score", "best", "values")}
    made = {name: {"digest": digest_file(folder / name)} for name in ("best.yaml", *FILES)}
    return {"method": method, "trials": len(manifests), **told, "variables": made}


def _judged(results: Results, score: str) -> tuple[str, str]:
    """A score in words, and its units."""
    if score == "rmse":
        return "Validation RMSE", results.recipe.target.units
    return f"Validation {score}", ""


def _trial(results: Results, method: str, number: int) -> dict[str, Any]:
    results.note(f"{results.recipe.name}/trial/{method}/{number}/manifest", "trial")
    return read_json(results.trial(method, number) / "manifest.json")
