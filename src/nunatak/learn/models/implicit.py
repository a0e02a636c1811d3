"""Networks that are asked for the value at any point: one set of weights for any scale.

A point is asked of the four coarse cells whose centres surround it; at the border of a window the
outermost cells stand in for those that are missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nunatak.errors import ConfigError
from nunatak.learn.spec import Batch, ModelSpec, Network

# So that points on a line between two cells fall on one side of it wherever the window begins.
_NEAR = 1e-6


@dataclass(frozen=True)
class Codes:
    """What a network makes of its inputs before it is asked for points.

    Parameters
    ----------
    lattice
        ``(B, D, h, w)``: of the coarse cells.
    prior
        ``(B, 1, h, w)``, physical units.
    guide
        ``(B, G, h' * ratio, w' * ratio)``: of a guide's cells, if there is one. The ratio is
        that of the specification, or where `at` is given a guide of another, that one.
    first
        Coarse cells above, and left, of the guide's corner.
    """

    lattice: Tensor
    prior: Tensor
    guide: Tensor | None = None
    first: int = 0


@dataclass(frozen=True)
class Neighbour:
    """One of the four coarse cells around each point.

    Parameters
    ----------
    index
        ``(B * N,)``: its row in `rows` of a field on the coarse lattice.
    away
        ``(B * N, 2)``: from its centre to the point, down and right, in half coarse cells.
    weight
        ``(B * N,)``: area of the rectangle between the point and the centre of the opposite
        neighbour, in coarse cells; those of the four add up to 1.
    """

    index: Tensor
    away: Tensor
    weight: Tensor


def centres(first: float, last: float, count: int, device: torch.device) -> Tensor:
    """Centres of ``count`` equal cells from ``first`` to ``last``, double precision."""
    cells = torch.arange(count, dtype=torch.float64, device=device) + 0.5
    return first + cells * ((last - first) / count)


def lattice_points(rows: Tensor, columns: Tensor) -> Tensor:
    """All points of some rows and columns, row by row: ``(rows * columns, 2)``."""
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).reshape(-1, 2)


def rows(field: Tensor) -> Tensor:
    """``(B, C, h, w)`` as one row of channels a cell: ``(B * h * w, C)``."""
    return field.permute(0, 2, 3, 1).reshape(-1, field.shape[1])


def cell_index(cell: Tensor, shape: Sequence[int]) -> Tensor:
    """Where `rows` holds cells ``(B, N, 2)``, by row and column, of a field: ``(B * N,)``."""
    h, w = shape
    sample = torch.arange(len(cell), device=cell.device).unsqueeze(1)
    return ((sample * h + cell[..., 0]) * w + cell[..., 1]).flatten()


def containing(points: Tensor, ratio: Tensor) -> Tensor:
    """Cells of a grid of ``ratio`` cells a coarse cell that points lie in, by row and column.

    The ratio is that of rows, then that of columns, double precision: not whole numbers as a rule.
    """
    return (points * ratio + _NEAR).floor().long()


def neighbours(points: Tensor, shape: Sequence[int]) -> Iterator[Neighbour]:
    """The four coarse cells whose centres surround each point, those beyond the border clamped.

    Parameters
    ----------
    points
        ``(B, N, 2)``, double precision: down and right of the window's corner, in coarse cells.
    shape
        Coarse rows and columns of the window.
    """
    low = (points - 0.5 + _NEAR).floor()
    past = (points - 0.5 - low).clamp(0, 1)
    most = points.new_tensor(shape) - 1
    for down in (0, 1):
        for right in (0, 1):
            step = points.new_tensor([down, right])
            cell = (low + step).clamp_min(0).minimum(most)
            weight = (1 - past - step).abs().prod(dim=-1)
            yield Neighbour(
                cell_index(cell.long(), shape),
                2 * (points - cell - 0.5).flatten(0, 1).float(),
                weight.flatten().float(),
            )


def dense(channels: int, hidden: Sequence[int], out: int) -> nn.Sequential:
    """Dense layers, with ReLU between them."""
    sizes = [channels, *hidden]
    layers: list[nn.Module] = []
    for given, wanted in zip(sizes, hidden, strict=False):
        layers += [nn.Linear(given, wanted), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], out))


class Implicit(Network):
    """Base of networks that encode a window, and are then asked for points in it.

    Nothing in them depends on the scale but the points that they are asked for: `forward` asks for
    the cells of the specification's scale, `at` for any grid, fractional scales included, and
    `query` for any points.

    Parameters
    ----------
    spec
        Inputs and scale; the weights do not depend on the scale.
    chunk
        Most points to ask for at once, of all samples together.
    sizes
        Others that must be positive.

    Raises
    ------
    ConfigError
        If one of them is not.
    """

    def __init__(self, spec: ModelSpec, chunk: int, sizes: Sequence[int]) -> None:
        super().__init__(spec)
        if min(chunk, *sizes) < 1:
            raise ConfigError(
                f"{type(self).__name__.lower()}: chunk {chunk}, sizes {', '.join(map(str, sizes))}",
                "positive numbers",
            )
        self.chunk = chunk

    def encode(self, inputs: Batch, cut: int = 0) -> Codes:
        """What points are asked of, of inputs of a window.

        Parameters
        ----------
        inputs
            As of `forward`.
        cut
            Coarse cells on each side where no point will be asked for.
        """
        raise NotImplementedError

    def values(self, codes: Codes, points: Tensor, cell: tuple[float, float]) -> Tensor:
        """As `query`, all points at once."""
        raise NotImplementedError

    def forward(self, inputs: Batch) -> Tensor:
        """The fine field, ``(B, 1, h * scale, w * scale)``, in the prior's units."""
        return self.inner(inputs, 0)

    def inner(self, inputs: Batch, cut: int) -> Tensor:
        """What `forward` gives, less ``cut`` coarse cells on each side, which are not asked for."""
        h, w = ((n - 2 * cut) * self.spec.scale for n in self.spec.window(inputs))
        return self.at(inputs, (h, w), cut)

    def at(self, inputs: Batch, shape: tuple[int, int], cut: int = 0) -> Tensor:
        """The field on any grid.

        Parameters
        ----------
        inputs
            As of `forward`; but conditions may have any number of cells along a coarse one, and it
            need not be whole.
        shape
            Rows and columns, of equal cells that cover the window less ``cut``.
        cut
            Coarse cells left out on each side.

        Returns
        -------
        Tensor
            ``(B, 1, *shape)``, in the prior's units.
        """
        h, w = inputs["prior"].shape[-2:]
        device = inputs["prior"].device
        down, right = (
            centres(cut, n - cut, cells, device) for n, cells in zip((h, w), shape, strict=True)
        )
        points = lattice_points(down, right).expand(len(inputs["prior"]), -1, -1)
        cell = ((h - 2 * cut) / shape[0], (w - 2 * cut) / shape[1])
        return self.query(self.encode(inputs, cut), points, cell).reshape(-1, 1, *shape)

    def query(self, codes: Codes, points: Tensor, cell: tuple[float, float]) -> Tensor:
        """Values at points, in chunks, so that memory does not grow with their number.

        Parameters
        ----------
        codes
            What `encode` gave.
        points
            ``(B, N, 2)``, double precision: down and right of the window's corner, in coarse cells.
        cell
            Height and width of the cells that the values are for, in coarse cells.

        Returns
        -------
        Tensor
            ``(B, N)``, in the prior's units.
        """
        parts = torch.split(points, max(1, self.chunk // len(points)), dim=1)
        return torch.cat([self.values(codes, part, cell) for part in parts], dim=1)
