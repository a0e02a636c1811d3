"""A tiny world to train on: stores, index and statistics made in a folder, and small networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nunatak.learn.checkpoint import build
from nunatak.learn.inputs import Statistics
from nunatak.learn.spec import Batch, ModelSpec, Network, block_mean, repeat
from nunatak.ops import degrade
from nunatak.ops.normalise import standard
from nunatak.products import Results
from nunatak.recipe import Recipe

CELLS, SCALE, SIZE, CONTEXT = 48, 4, 8, 3


class Tiny(Network):
    """One valid convolution on the coarse lattice, dropout, and the prior."""

    margin = 1

    def __init__(self, spec: ModelSpec, *, width: int = 4, dropout: float = 0.2) -> None:
        super().__init__(spec)
        channels = sum(given.channels for given in spec.inputs.values())
        self.first = nn.Conv2d(channels, width, 3)
        self.drop = nn.Dropout(dropout)
        self.last = nn.Conv2d(width, spec.scale**2, 1)

    def forward(self, inputs: Batch) -> Tensor:
        self.spec.window(inputs)
        given = [block_mean(inputs[n], i.ratio) for n, i in self.spec.inputs.items()]
        features = self.drop(torch.relu(self.first(torch.cat(given, dim=1))))
        detail = nn.functional.pixel_shuffle(self.last(features), self.spec.scale)
        prior = repeat(inputs["prior"][..., 1:-1, 1:-1], self.spec.scale)
        return prior + self.detail * detail.float()


class Prior(Network):
    """The prior as it is, times a weight of 1."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, inputs: Batch) -> Tensor:
        return self.weight * repeat(inputs["prior"], self.spec.scale)


class Diverging(Tiny):
    """Not a number from the start."""

    def forward(self, inputs: Batch) -> Tensor:
        return super().forward(inputs) * float("nan")


class Critic(nn.Module):
    """A small critic that normalises over the batch."""

    def __init__(self, size: int, *, width: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 4, stride=4),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(width * (size // 4) ** 2, 1),
        )

    def forward(self, field: Tensor) -> Tensor:
        logits: Tensor = self.layers(field)
        return logits


ADVERSARIAL = {"op": "adversarial", "args": {"critic": "tiny:Critic", "weight": 0.1}}
SUPERVISED = {"op": "supervised"}


def recipe(model: str = "tiny:Tiny", buffer: float = 6000, **train: Any) -> Recipe:
    """A recipe of 48 x 48 coarse cells at scale 4, with velocity at ratio 2."""
    training = {
        "task": SUPERVISED,
        "losses": [{"op": "l1"}, {"op": "topographic", "weight": 0.1}],
        "samples": 40,
        "batch": 4,
        "lr": 0.01,
        "warmup": 8,
        "validate_every": 12,
        "ema": 0.9,
        "clip": 100.0,
        "seed": 3,
        **train,
    }
    bed = {"units": "m", "standard_name": "bedrock_altitude"}
    speeds = {
        f"v{a}": {"units": "m yr-1", "standard_name": f"land_ice_surface_{a}_velocity"}
        for a in "xy"
    }
    common = {"files": [], "reader": {"op": "synthetic"}, "crs": "EPSG:3031", "licence": "CC0"}
    side = CELLS * 1000.0
    given = {
        "name": "tiny",
        "title": "A tiny world",
        "target": {
            "variable": "bed",
            "standard_name": "bedrock_altitude",
            "long_name": "bed",
            "units": "m",
            "vertical_datum": "EIGEN-GL04C",
            "valid_range": (-9000, 5000),
        },
        "grid": {
            "crs": "EPSG:3031",
            "bounds": (0, 0, side, side),
            "resolution": 1000 / SCALE,
            "scale": SCALE,
            "block": 64,
        },
        "roles": {
            "target": {"source": "beds", "variables": ["bed"]},
            "velocity": {"source": "flows", "variables": ["vx", "vy"], "resolution": 500},
        },
        "conditions": ["velocity"],
        "coarse": {"degrade": {"op": "block_mean"}},
        "split": {"by": {"op": "squares", "args": {"size": 16000.0}}, "buffer": buffer},
        "tiles": {"size": SIZE, "stride": SIZE, "context": CONTEXT},
        "methods": {
            "net": {"model": {"op": model}, "train": training},
            "plain": {"model": {"op": "interpolate"}},
        },
        "products": ["net", "plain"],
        "infer": {"window": 16, "feather": 2},
        "mosaic": {"nodata": -99999.0},
        "sources": {
            "beds": {
                "title": "Beds",
                "variables": {"bed": bed},
                "vertical_datum": "EIGEN-GL04C",
                **common,
            },
            "flows": {"title": "Flows", "variables": speeds, **common},
        },
    }
    return Recipe.model_validate(given)


def relief(side: int, seed: int) -> NDArray[np.float32]:
    """A smooth random field with detail, (side, side)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    field = np.zeros((side, side))
    for _ in range(24):
        wave, phase = rng.uniform(2, 90, 2), rng.uniform(0, 6.28)
        field += rng.normal() * 200 * np.sin(wave[0] * y + wave[1] * x + phase)
    return field.astype(np.float32)


def world(root: Path, spec: Recipe | None = None) -> Results:
    """Write the stores, the index of tiles and the statistics of a tiny world with a hole in it."""
    results = Results(spec or recipe(), root)
    fine = relief(CELLS * SCALE, 0)
    fine[20:50, 30:47] = np.nan
    flow = [100 + relief(CELLS * 2, 1), relief(CELLS * 2, 2)]
    target, velocity = results.role("target").create(), results.role("velocity").create()
    coarse = results.coarse.create()
    means = degrade.block_mean(fine, SCALE)
    for block in results.recipe.layout.blocks():
        target.write(block, {"bed": fine[block.core.at(SCALE).slices]})
        cells = block.core.at(2).slices
        velocity.write(block, {"vx": flow[0][cells], "vy": flow[1][cells]})
        coarse.write(block, {"bed": means[block.core.slices]})
    _index(results)
    fitted = {"coarse": means[None], "velocity": np.stack(flow)}
    op = standard()
    transforms = {name: op.fit(op.sums([values])).to_json() for name, values in fitted.items()}
    rest = fine - degrade.repeat(means, SCALE)
    moments = {
        "mean": float(np.nanmean(fine)),
        "deviation": float(np.nanstd(fine)),
        "detail": float(np.nanstd(rest)),
    }
    text = json.dumps({"transforms": transforms, **moments})
    (results.tiles / "statistics.json").write_text(text)
    return results


def _index(results: Results) -> None:
    corners = [(r, c) for r in range(0, CELLS, SIZE) for c in range(0, CELLS, SIZE)]
    frame = pd.DataFrame(corners, columns=["row", "col"]).astype("int32")
    frame["split"] = np.select([frame["row"] >= 40, frame["row"] >= 32], [2, 1], 0).astype("uint8")
    frame["valid"] = np.float32(1)
    results.tiles.mkdir(parents=True)
    frame.assign(place="").to_parquet(results.tiles / "tiles.parquet")


def built(results: Results, method: str = "net") -> Network:
    """The network of a method, scaled by the statistics of the tree's tiles."""
    return build(results, method, Statistics.read(results.tiles / "statistics.json"))
