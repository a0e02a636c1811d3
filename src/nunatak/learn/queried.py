"""The task of any scale: coarse fields of drawn scales, made of the truth, asked at drawn points.

Chen, Liu and Wang 2021, Learning Continuous Image Representation with Local Implicit Image
Function, arXiv:2012.09161.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd, lcm
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from nunatak.errors import ConfigError
from nunatak.learn.dataset import Minibatch
from nunatak.learn.spec import Batch, Network, area_resample
from nunatak.learn.tasks import Setup, Supervised, plain
from nunatak.ops.normalise import fill_gaps
from nunatak.registry import LOSSES, POINTWISE

# A share of a coarse cell that is rounding.
_SLIVER = 1e-6


class Queried(Supervised):
    """Minimise the weighted losses at drawn fine cells, given coarse fields of drawn scales.

    A batch has one scale, and a window in which its coarse cells are whole: as many as the tiles
    hold. The coarse field is the mean of the window's valid fine cells, missing where they are too
    small a share for the recipe, and is filled and normalised as the recipe's is; the guide is cut
    to the window and stays as fine as it is. No context surrounds the window. Scale, window and
    points follow from the seed and the number of the sample alone. Validation is on whole tiles,
    at the recipe's scale.

    Parameters
    ----------
    setup
        As for every task.
    scales
        The least and the largest scale, between which each is as likely: fine cells along the side
        of a coarse cell, whole numbers or not.
    points
        Fine cells of a sample that the loss is taken at, each once; all, if there are no more.

    Raises
    ------
    ConfigError
        If the network gives one grid alone, the scales are not two of at least 1 that a tile can
        hold, there are no points, or a loss compares neighbouring cells.
    """

    def __init__(self, setup: Setup, *, scales: Sequence[float], points: int) -> None:
        if not hasattr(setup.network, "at"):
            raise ConfigError(
                f"the task queried for a {type(setup.network).__name__.lower()}",
                "a network that gives its field on any grid, like liif, jiif and fno",
                "use the task supervised",
            )
        if len(scales) != 2 or not 1 <= scales[0] <= scales[1] <= setup.size or points < 1:
            raise ConfigError(
                f"queried: scales {', '.join(map(str, scales))}, points {points}",
                f"two scales, the lesser first, from 1 to the {setup.size} fine cells along a tile,"
                " and at least one point",
            )
        for loss in setup.losses:
            if loss.op in LOSSES.table and loss.op not in POINTWISE:
                raise ConfigError(
                    f"the loss {loss.op!r} at single points, which have no neighbours",
                    f"one of {', '.join(sorted(POINTWISE))}",
                )
        super().__init__(setup)
        self.scales, self.points = scales, points

    def _trained(self, network: Network) -> nn.Module:
        return _Asked(network)

    def step(self, batch: Minibatch) -> dict[str, float]:
        """Train on one batch, or this process's part of it; returns as `Supervised.step`."""
        asked = self.drawn(batch)
        with self.setup.fabric.autocast():
            found = self.forwards["network"](asked.inputs)
        total, terms = self.objective(found.float(), asked)
        self._descend("network", total)
        return plain({"loss": total, **terms})

    def drawn(self, batch: Minibatch) -> Minibatch:
        """What a batch becomes.

        Returns
        -------
        Minibatch
            Inputs of the window: the coarse field and its prior ``(B, 1, n, n)``, the guide, and
            ``asked`` ``(B, 1, H, H)``, where a fine cell is drawn. Target and mask are those of the
            drawn cells, row by row, ``(B, 1, points, 1)``.
        """
        frame = self._frame(batch)
        target, mask = (frame.cut(field, batch.scale) for field in (batch.target, batch.mask))
        margin = batch.inputs["prior"].shape[-1] - batch.target.shape[-1] // batch.scale
        guide = {
            name: frame.cut(batch.inputs[name], given.ratio, margin // 2)
            for name, given in self.setup.network.spec.conditions.items()
        }
        asked = self._asked(batch, frame.side).to(mask.device)
        inputs = {**self._coarse(target, mask, frame.cells), **guide, "asked": asked}
        target, mask = (f[asked].reshape(len(f), 1, -1, 1) for f in (target, mask))
        return replace(batch, inputs=inputs, target=target, mask=mask)

    def _frame(self, batch: Minibatch) -> _Frame:
        """The window of a batch: of all its processes, whose first samples are of one batch."""
        setup, side = self.setup, batch.target.shape[-1]
        rng = np.random.default_rng([setup.seed, 4, batch.first // setup.batch])
        scale = rng.uniform(self.scales[0], self.scales[1])
        cells = int(side / scale + 1e-9)
        # Fine cells in which those of every guide are whole.
        ratios = (given.ratio for given in setup.network.spec.conditions.values())
        unit = lcm(*(batch.scale // gcd(batch.scale, ratio) for ratio in ratios))
        fine = round(cells * scale / unit) * unit
        top, left = (unit * rng.integers((side - fine) // unit + 1, size=2)).tolist()
        return _Frame(batch.scale, cells, fine, top, left)

    def _asked(self, batch: Minibatch, side: int) -> Tensor:
        """Which fine cells of a window are drawn: as many of each sample."""
        asked = np.zeros((len(batch.target), side * side), bool)
        for number, cells in enumerate(asked, batch.first):
            rng = np.random.default_rng([self.setup.seed, 5, number])
            cells[rng.choice(cells.size, min(self.points, cells.size), replace=False)] = True
        return torch.from_numpy(asked).view(-1, 1, side, side)

    def _coarse(self, target: Tensor, mask: Tensor, cells: int) -> Batch:
        """The coarse field of a window's truth and its prior, as `Inputs.prepare` gives them."""
        both = torch.cat([torch.where(mask, target, 0), mask.to(target)]).double()
        total, share = area_resample(both, (cells, cells)).chunk(2)
        enough = (share > _SLIVER) & (share >= self.setup.min_valid - _SLIVER)
        means = torch.where(enough, total / share.clamp_min(_SLIVER), torch.nan)
        fallback = float(self.setup.network.mean)
        fields = means.float().cpu().numpy()
        prior = np.stack([fill_gaps(field[0], fallback)[None] for field in fields])
        ready = {"coarse": self.setup.coarse.apply(prior), "prior": prior}
        return {name: torch.from_numpy(field).to(target.device) for name, field in ready.items()}


@dataclass(frozen=True)
class _Frame:
    """A window that is cut out of tiles: its coarse cells a side; its side and corner (fine cells).

    ``scale`` is that of the recipe, which the tiles are of.
    """

    scale: int
    cells: int
    side: int
    top: int
    left: int

    def cut(self, field: Tensor, ratio: int, margin: int = 0) -> Tensor:
        """The window of a field of some ratio, with a margin around it (the recipe's cells)."""
        top, left, side = (n * ratio // self.scale for n in (self.top, self.left, self.side))
        top, left = top + margin * ratio, left + margin * ratio
        return field[..., top : top + side, left : left + side]


class _Asked(nn.Module):
    """A network that is asked for some cells of the fine grid: as many of each sample."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Batch) -> Tensor:
        """``(B, 1, points, 1)``, of the cells where ``asked`` is true."""
        asked, network = inputs["asked"], cast(Any, self.network)
        count, shape = len(asked), tuple(asked.shape[-2:])
        if not hasattr(network, "query"):
            field: Tensor = network.at(inputs, shape)
            return field[asked].reshape(count, 1, -1, 1)
        cell = tuple(n / m for n, m in zip(inputs["prior"].shape[-2:], shape, strict=True))
        places = asked.nonzero()[:, 2:].reshape(count, -1, 2).double() + 0.5
        found: Tensor = network.query(
            network.encode(inputs), places * places.new_tensor(cell), cell
        )
        return found[:, None, :, None]
