"""Forecasters of daily series of stations: from a history to the days that follow, z-scores.

Each is made of a `Shape` and its arguments, and takes `Windows` to ``(B, lead, stations)``.

The networks have 20,737 (LSTM) and 38,401 (Transformer) parameters at 16 stations, 14 days of
history and 7 of lead, as those of Kim et al. 2023, doi 10.1016/j.jag.2023.103312, which publish no
sizes of layers. Those here were found by searching all sizes of such a network for these numbers,
with the features of `Sequence`. LSTM, 20 features, 48 wide: 4 x 48 x (20 + 48 + 2) = 13,440; norm
96; head 48 x 144 + 144 + 144 + 1 = 7,201. Transformer, 64 wide: inputs 20 x 64 + 64 = 1,344;
positions 21 x 64 = 1,344; attention 4 x 64 x 65 = 16,640; two layers of 128, 64 x 128 + 128 + 128 x
64 + 64 = 16,576; three norms 384; head 64 x 32 + 32 + 32 + 1 = 2,113.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nunatak.learn.windows import Shape, Windows


def _latest(values: Tensor, observed: Tensor) -> Tensor:
    """The value (B, 1, S) of the last day on which a station was measured, else of the last."""
    days = torch.arange(1, values.shape[1] + 1, device=values.device)[None, :, None]
    last = (observed * days).argmax(dim=1, keepdim=True)
    none = (observed > 0).any(dim=1, keepdim=True).logical_not()
    return values.gather(1, torch.where(none, values.shape[1] - 1, last))


class Persistence(nn.Module):
    """The last day that was measured, for all days to come; without one, the climatology."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, windows: Windows) -> Tensor:
        """The forecast (B, lead, stations)."""
        return _latest(windows.values, windows.observed).expand(-1, self.shape.lead, -1)


class Climatology(nn.Module):
    """The normals of the days to come."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, windows: Windows) -> Tensor:
        """The forecast (B, lead, stations)."""
        return windows.normal[:, self.shape.history :]


class AnomalyPersistence(nn.Module):
    """The normals of the days to come, and how far the last measured day was from its own."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, windows: Windows) -> Tensor:
        """The forecast (B, lead, stations)."""
        history = self.shape.history
        past, future = windows.normal[:, :history], windows.normal[:, history:]
        return future + _latest(windows.values - past, windows.observed)


class Sequence(nn.Module):
    """A network over the days of one station at a time, past and to come.

    Features of a day: its departure from the climatology (0 to come, or if not measured), in SDs
    of such; whether it was measured; sine and cosine of the day of the year; and which station it
    is, one-hot. What the network tells of each day to come, in the same SDs, is added to
    `AnomalyPersistence`; untrained, it tells 0.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.base = AnomalyPersistence(shape)

    @property
    def features(self) -> int:
        """Features of a day."""
        return 4 + self.shape.stations

    @property
    def days(self) -> int:
        """Days of a window."""
        return self.shape.history + self.shape.lead

    def told(self, days: Tensor) -> Tensor:
        """One number for each day to come, (N, lead, 1), of the features (N, days, features)."""
        raise NotImplementedError

    def forward(self, windows: Windows) -> Tensor:
        """The forecast (B, lead, stations)."""
        told = self.told(self._days(windows)).reshape(-1, self.shape.stations, self.shape.lead)
        base: Tensor = self.base(windows)
        return base + told.mT * windows.spread

    def _days(self, windows: Windows) -> Tensor:
        """Features of all stations' windows, (B * S, days, features)."""
        history, lead, stations = self.shape
        batch = len(windows.values)
        none = windows.observed.new_zeros(batch, lead, stations)
        departure = (windows.values - windows.normal[:, :history]) / windows.spread
        value = torch.cat([departure, none], dim=1)
        known = torch.cat([windows.observed, none], dim=1)
        own = torch.stack([value, known], dim=-1)
        season = windows.season[:, :, None].expand(-1, -1, stations, -1)
        which = torch.eye(stations, device=value.device, dtype=value.dtype)
        which = which.expand(batch, self.days, -1, -1)
        return torch.cat([own, season, which], dim=-1).transpose(1, 2).flatten(0, 1)


def _head(width: int, hidden: int) -> nn.Sequential:
    """From the state of a day to one number, at first 0."""
    last = nn.Linear(hidden, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), last)


class Lstm(Sequence):
    """A recurrent network that goes on into the days to come.

    Parameters
    ----------
    width
        Of its state.
    head
        Of the layer from a day's state to its value.
    """

    def __init__(self, shape: Shape, *, width: int = 48, head: int = 144) -> None:
        super().__init__(shape)
        self.cells = nn.LSTM(self.features, width, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.head = _head(width, head)

    def told(self, days: Tensor) -> Tensor:
        """One number for each day to come."""
        states: Tensor = self.cells(days)[0]
        told: Tensor = self.head(self.norm(states[:, -self.shape.lead :]))
        return told


class Transformer(Sequence):
    """Layers of attention between all days of a window.

    Parameters
    ----------
    width
        Of a day's state.
    layers
        Layers of attention.
    heads
        Of each.
    feedforward
        Hidden width of a layer.
    head
        Of the layer from a day's state to its value.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        width: int = 64,
        layers: int = 1,
        heads: int = 4,
        feedforward: int = 128,
        head: int = 32,
    ) -> None:
        super().__init__(shape)
        self.inputs = nn.Linear(self.features, width)
        self.positions = nn.Parameter(0.02 * torch.randn(self.days, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, feedforward, 0.0, "gelu", batch_first=True, norm_first=True
        )
        norm = nn.LayerNorm(width)
        self.layers = nn.TransformerEncoder(layer, layers, norm, enable_nested_tensor=False)
        self.head = _head(width, head)

    def told(self, days: Tensor) -> Tensor:
        """One number for each day to come."""
        states = self.layers(self.inputs(days) + self.positions)
        told: Tensor = self.head(states[:, -self.shape.lead :])
        return told
