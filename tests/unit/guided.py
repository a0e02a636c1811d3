"""Windows of a coarse field beside a finer guide, and networks as if trained."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from nunatak.learn.spec import Batch, InputSpec, ModelSpec, Network

AnyNetwork = TypeVar("AnyNetwork", bound=Network)


def spec(scale: int, guide: bool = True, ratio: int | None = None) -> ModelSpec:
    inputs = {"coarse": InputSpec(1, 1)}
    return ModelSpec(scale, inputs | ({"sst": InputSpec(1, ratio or scale)} if guide else {}))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs_of(given: ModelSpec, h: int, w: int, batch: int = 1) -> Batch:
    fields = {
        name: noise(batch, i.channels, h * i.ratio, w * i.ratio, seed=n)
        for n, (name, i) in enumerate(given.inputs.items())
    }
    return {**fields, "prior": 0.5 + 0.3 * fields["coarse"]}


def cut(inputs: Batch, given: ModelSpec, top: int, left: int, h: int, w: int) -> Batch:
    ratios = {**{name: i.ratio for name, i in given.inputs.items()}, "prior": 1}
    return {
        name: inputs[name][..., top * r : (top + h) * r, left * r : (left + w) * r]
        for name, r in ratios.items()
    }


def scaled(network: AnyNetwork) -> AnyNetwork:
    """The network in evaluation mode, its output in units of its own."""
    network.set_scale(0.5, 0.3, 0.1)
    return network.eval()


def stirred(network: AnyNetwork) -> AnyNetwork:
    """The network with its layers that are zero at first drawn at random, as if trained."""
    for n, parameter in enumerate(network.parameters()):
        if not parameter.any():
            seeded = torch.Generator().manual_seed(n)
            nn.init.normal_(parameter, std=0.1, generator=seeded)
    return scaled(network)


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def silent(layer: nn.Module, bias: float = 0.0) -> None:
    """Make a layer give its bias alone."""
    assert isinstance(layer.weight, Tensor)
    assert isinstance(layer.bias, Tensor)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, bias)


def pointwise(module: nn.Module) -> None:
    """Take from convolutions all that they see of other cells."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            with torch.no_grad():
                middle = layer.weight[..., 1, 1].clone()
                layer.weight.zero_()
                layer.weight[..., 1, 1] = middle
