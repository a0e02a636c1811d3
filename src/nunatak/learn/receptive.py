"""The receptive field as it is, measured: the halo of inference and the buffer of splits.

Luo et al. 2016, Understanding the effective receptive field, arXiv:1701.04128.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nunatak.errors import ConfigError
from nunatak.learn.spec import Batch, ModelSpec, Network, block_mean

_DOUBLINGS = 4


def measured(
    network: Network,
    spec: ModelSpec,
    *,
    size: int = 48,
    energy: float = 0.999,
    samples: int = 4,
    seed: int = 0,
) -> int:
    """Radius of the effective receptive field of a network, in coarse cells.

    The fine cells of the window's central coarse cell are projected on random directions, and the
    absolute gradient with respect to each input is summed over the squares around that cell. The
    radius is the smallest whose square holds ``energy`` of the sum, the largest of all inputs and
    samples. Inputs are white noise; the prior is noise of the target's mean and deviation.

    Parameters
    ----------
    network, spec
        A trained network and its specification; the network's mode is left as it was.
    size
        Side of the first window (coarse cells); doubled while the radius exceeds half of what the
        window could hold and the gradient has not died out at its border.
    energy
        Share of the absolute gradient to hold, in (0, 1].
    samples
        Random inputs to try.
    seed
        Of the random inputs.

    Returns
    -------
    int
        The radius: cells beyond it on each side matter less than ``1 - energy``.

    Raises
    ------
    ConfigError
        If the radius still grows after four doublings.
    """
    was_training = network.training
    network.eval()
    try:
        for doubling in range(_DOUBLINGS + 1):
            half = max(size * 2**doubling // 2, network.margin + 1)
            profiles = _profiles(network, spec, half, samples, seed)
            radius = max((_radius(profile, energy) for profile in profiles), default=0)
            if 2 * radius <= half or not any(profile[-1] > 0 for profile in profiles):
                return radius
    finally:
        network.train(was_training)
    raise ConfigError(
        f"receptive field: radius {radius} in a window of {2 * half + 1} coarse cells still grows",
        "a network whose output depends on its surroundings only",
        "leave out layers that average the whole window, or lower infer.energy",
    )


def _profiles(
    network: Network, spec: ModelSpec, half: int, samples: int, seed: int
) -> list[Tensor]:
    """Sums of the absolute gradient by distance (0 to ``half``), for each input and sample.

    There are none of a network that gives the same whatever it is shown.
    """
    profiles = []
    for sample in range(samples):
        generator = torch.Generator().manual_seed(seed * samples + sample)
        inputs = _noise(network, spec, 2 * half + 1, generator)
        with torch.enable_grad():
            output = network.inner(inputs, half - network.margin)
            if not output.requires_grad:
                return []
            direction = torch.randn(output.shape, generator=generator).to(output)
            found = torch.autograd.grad(
                (output * direction).sum(), list(inputs.values()), allow_unused=True
            )
        ratios = [1 if name == "prior" else spec.inputs[name].ratio for name in inputs]
        profiles += [_rings(g, r) for g, r in zip(found, ratios, strict=True) if g is not None]
    return profiles


def _noise(network: Network, spec: ModelSpec, size: int, generator: torch.Generator) -> Batch:
    """White noise for every input of a square window, ready to be differentiated."""
    device = network.mean.device
    inputs = {
        name: torch.randn(
            1, given.channels, size * given.ratio, size * given.ratio, generator=generator
        )
        for name, given in spec.inputs.items()
    }
    prior = torch.randn(1, 1, size, size, generator=generator).to(device)
    inputs = {name: field.to(device) for name, field in inputs.items()}
    inputs["prior"] = (network.mean + network.std * prior).detach()
    return {name: field.requires_grad_() for name, field in inputs.items()}


def _rings(gradient: Tensor, ratio: int) -> Tensor:
    """Sums of the absolute gradient by Chebyshev distance from the central coarse cell."""
    cells = block_mean(gradient.abs().double().sum(dim=1, keepdim=True), ratio)[0, 0].cpu()
    half = cells.shape[0] // 2
    away = (torch.arange(cells.shape[0]) - half).abs()
    distance = torch.maximum(away[:, None], away[None, :])
    rings = torch.zeros(half + 1, dtype=cells.dtype)
    return rings.index_add(0, distance.flatten(), cells.flatten())


def _radius(profile: Tensor, energy: float) -> int:
    """The smallest radius that holds a share of the sum; 0 for a gradient of zero."""
    held = profile.cumsum(0)
    return int((held < energy * held[-1]).sum())
