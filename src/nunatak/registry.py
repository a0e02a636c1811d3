"""Name -> operation. A recipe names operations; nothing is imported until one is used.

An operation is a function or class whose **keyword-only** parameters are its arguments in YAML;
what the stage supplies (arrays, specifications) comes positionally. Arguments are checked against
the signature in the source text, so a recipe is validated without importing torch.
Besides the registered names, ``package.module:attribute`` names an operation of the user's own.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from nunatak.errors import ConfigError

_PLAIN = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}


@dataclass(frozen=True)
class Registry:
    """A table of operations of one kind.

    Parameters
    ----------
    kind
        What the operations are, for messages: "model", "loss", ...
    table
        Name to ``module:attribute``.
    """

    kind: str
    table: Mapping[str, str]

    def path(self, name: str) -> str:
        """The ``module:attribute`` of an operation.

        Raises
        ------
        ConfigError
            If the name is not registered; the message lists the names that are.
        """
        if ":" in name:
            return name
        if name not in self.table:
            close = difflib.get_close_matches(name, self.table, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "use one of these names"
            allowed = f"one of {', '.join(sorted(self.table))}, or 'module:attribute'"
            raise ConfigError(f"unknown {self.kind} {name!r}", allowed, hint)
        return self.table[name]

    def resolve(self, name: str) -> Callable[..., Any]:
        """Import the operation of that name."""
        module, _, attribute = self.path(name).partition(":")
        operation: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return operation

    def check(self, name: str, args: Mapping[str, Any]) -> None:
        """Check a name and its arguments without importing the operation.

        Raises
        ------
        ConfigError
            If the name, an argument's name or an argument's plain type is wrong, or a required
            argument is missing.
        """
        allowed = _keywords(self.path(name))
        for key, value in args.items():
            if key not in allowed:
                known = ", ".join(sorted(allowed)) or "no arguments"
                raise ConfigError(f"{self.kind} {name!r} has no argument {key!r}", known)
            kind, _ = allowed[key]
            plain = _PLAIN.get(kind)
            if plain and (
                not isinstance(value, plain) or (isinstance(value, bool) != (kind == "bool"))
            ):
                raise ConfigError(f"{self.kind} {name!r}: {key} is {value!r}", f"{kind}")
        missing = [key for key, (_, required) in allowed.items() if required and key not in args]
        if missing:
            raise ConfigError(
                f"{self.kind} {name!r} lacks {', '.join(missing)}", "a value for each"
            )

    def call(self, name: str, args: Mapping[str, Any], *supplied: Any) -> Any:
        """Resolve an operation and call it with what the stage supplies and its YAML arguments."""
        return self.resolve(name)(*supplied, **args)


@lru_cache(maxsize=256)
def _keywords(path: str) -> dict[str, tuple[str, bool]]:
    """Keyword-only parameters of an operation: name -> (annotation, required)."""
    module, _, attribute = path.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise ConfigError(f"operation {path!r}: no module {module!r}", "an importable module")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    found = [node for node in tree.body if getattr(node, "name", None) == attribute]
    if not found:
        raise ConfigError(
            f"operation {path!r}: {module} defines no {attribute!r}", "its name there"
        )
    return _parameters(found[-1])


def _parameters(node: ast.stmt) -> dict[str, tuple[str, bool]]:
    if isinstance(node, ast.ClassDef):
        inits = [n for n in node.body if getattr(n, "name", None) == "__init__"]
        return _parameters(inits[0]) if inits else {}
    assert isinstance(node, ast.FunctionDef)
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return {a.arg: (ast.unparse(a.annotation) if a.annotation else "", d is None) for a, d in pairs}


READERS = Registry(
    "reader",
    {
        "raster": "nunatak.sources.readers:open_raster",
        "netcdf": "nunatak.sources.readers:open_netcdf",
        "zarr": "nunatak.sources.readers:open_zarr",
        "npy": "nunatak.sources.readers:open_npy",
        "points": "nunatak.sources.points:open_points",
        "vector": "nunatak.sources.vector:open_vector",
        "synthetic": "nunatak.sources.synthetic:open_synthetic",
        "scenes": "nunatak.sources.scenes:open_scenes",
        "synthetic_scenes": "nunatak.sources.album:open_synthetic_scenes",
        "days": "nunatak.sources.days:open_days",
        "synthetic_ocean": "nunatak.sources.ocean_album:open_synthetic_ocean",
        "argo": "nunatak.sources.argo:open_argo",
        "station_csv": "nunatak.sources.station_csv:open_station_csv",
        "synthetic_series": "nunatak.sources.ocean_series:open_station_series",
    },
)
# Those of stations, which tell of no scene but have something of any.
STATIONS = {"argo", "station_csv", "synthetic_series"}
# Those that are asked for a scene, each on a grid of its own.
ALBUMS = {"scenes", "synthetic_scenes", "days", "synthetic_ocean", *STATIONS}
DEGRADE = Registry(
    "degrade",
    {
        "block_mean": "nunatak.ops.degrade:block_mean",
        "spline": "nunatak.ops.degrade:spline",
        "pair": "nunatak.ops.degrade:pair",
        "identity": "nunatak.ops.degrade:identity",
        "tile_zoom": "nunatak.ops.degrade:tile_zoom",
    },
)
NEIGHBOUR_READERS = {"spline"}
# What is taken as it lies in its role: no job makes it.
AS_IS = {"identity"}
NORMALISE = Registry(
    "normalise",
    {
        "identity": "nunatak.ops.normalise:identity",
        "standard": "nunatak.ops.normalise:standard",
        "asinh": "nunatak.ops.normalise:asinh",
    },
)
SPLITS = Registry(
    "split",
    {
        "squares": "nunatak.ops.split:squares",
        "regions": "nunatak.ops.split:regions",
        "groups": "nunatak.ops.split:groups",
        "days": "nunatak.ops.split:days",
        "leaky_tiles": "nunatak.ops.split:leaky_tiles",
    },
)
# Those that let training touch test; nothing keeps their parts apart.
LEAKY = {"leaky_tiles"}
POSTPROCESS = Registry(
    "postprocess",
    {
        "block_mean": "nunatak.ops.postprocess:block_mean",
        "block_mean_above": "nunatak.ops.postprocess:block_mean_above",
        "below": "nunatak.ops.postprocess:below",
        "known": "nunatak.ops.postprocess:known",
    },
)
FIELD_READERS = {"below", "known", "regions"}
# Those of them that ask only where the field is missing, in whatever units it is.
MASKS = {"known"}
SCENE_READERS = {"groups", "days"}
# Those that tell scenes of one group apart by their dates.
DATED = {"days"}
PUBLISH = Registry(
    "publish",
    {
        "map": "nunatak.stages.publish:publish_map",
        "fronts": "nunatak.fronts:publish_fronts",
    },
)
JUDGES = Registry(
    "judge",
    {
        "field": "nunatak.stages.evaluate:judge_field",
        "fronts": "nunatak.front_scores:judge_fronts",
        "days": "nunatak.day_scores:judge_days",
    },
)
# Judges that hold whole scenes of every group of them, and a map of errors for each product.
HOLDING = {"days"}
MODELS = Registry(
    "model",
    {
        "interpolate": "nunatak.learn.models.interpolate:Interpolate",
        "corrected": "nunatak.learn.models.interpolate:Corrected",
        "climatology": "nunatak.learn.models.interpolate:Climatology",
        "residual": "nunatak.learn.models.residual:Residual",
        "srcnn": "nunatak.learn.models.srcnn:Srcnn",
        "deepbedmap": "nunatak.learn.models.deepbedmap:Generator",
        "aspp_unet": "nunatak.learn.models.unet:AsppUnet",
        "two_head": "nunatak.learn.models.unet:TwoHead",
        "resac": "nunatak.learn.models.resac:Resac",
        "resac_subpixel": "nunatak.learn.models.resac_subpixel:ResacSubpixel",
        "liif": "nunatak.learn.models.liif:Liif",
        "jiif": "nunatak.learn.models.jiif:Jiif",
        "fno": "nunatak.learn.models.fno:Fno",
        "sst_attention": "nunatak.learn.models.sst_attention:SstAttention",
    },
)
# Models of stages: what tells, from the scale and their arguments, whether parts of them learn by
# losses of their own alone; and the tasks that give every part a loss.
STAGED = {
    "srcnn": "nunatak.ladder:detached",
    "resac": "nunatak.ladder:joined",
    "resac_subpixel": "nunatak.ladder:joined",
}
STAGEWISE = {"cascade"}
FORECASTERS = Registry(
    "forecaster",
    {
        "persistence": "nunatak.learn.models.forecasters:Persistence",
        "climatology": "nunatak.learn.models.forecasters:Climatology",
        "anomaly_persistence": "nunatak.learn.models.forecasters:AnomalyPersistence",
        "lstm": "nunatak.learn.models.forecasters:Lstm",
        "transformer": "nunatak.learn.models.forecasters:Transformer",
    },
)
CRITICS = Registry(
    "critic",
    {
        "deepbedmap": "nunatak.learn.models.deepbedmap:Discriminator",
        "sst_projection": "nunatak.learn.models.sst_attention:Projection",
    },
)
# Critics that see what a field was made from beside the field, and the tasks that show it to them.
CONDITIONED = {"sst_projection"}
CONDITIONING = {"wgan_gp"}
LOSSES = Registry(
    "loss",
    {
        "l1": "nunatak.learn.losses:l1",
        "l2": "nunatak.learn.losses:l2",
        "log_cosh": "nunatak.learn.losses:log_cosh",
        "relative_l2": "nunatak.learn.losses:relative_l2",
        "topographic": "nunatak.learn.losses:topographic",
        "slope": "nunatak.learn.losses:slope",
        "ssim": "nunatak.learn.losses:ssim",
        "zone_cross_entropy": "nunatak.learn.layer_losses:zone_cross_entropy",
        "zone_dice": "nunatak.learn.layer_losses:zone_dice",
        "front_dice": "nunatak.learn.layer_losses:front_dice",
        "front_distance_dice": "nunatak.learn.layer_losses:front_distance_dice",
    },
)
INSITU = Registry(
    "in-situ loss",
    {
        "mse": "nunatak.learn.insitu_losses:mse",
        "gumbel": "nunatak.learn.insitu_losses:gumbel",
        "frechet": "nunatak.learn.insitu_losses:frechet",
    },
)
TASKS = Registry(
    "task",
    {
        "supervised": "nunatak.learn.tasks:Supervised",
        "cascade": "nunatak.learn.cascade:Cascade",
        "adversarial": "nunatak.learn.tasks:Adversarial",
        "segmentation": "nunatak.learn.segmentation:Segmentation",
        "queried": "nunatak.learn.queried:Queried",
        "wgan_gp": "nunatak.learn.wgan:WganGp",
    },
)
# Tasks with a loss at stations, unless its weight is 0.
STATIONED = {"wgan_gp"}
# Losses that compare no neighbours; tasks that ask for single points, and make coarse fields of
# other scales by block means.
POINTWISE = {"l1", "l2", "log_cosh", "relative_l2"}
RESCALED = {"queried"}
