"""The task of a Wasserstein GAN with gradient penalty, and of stations.

Gulrajani et al. 2017, arXiv:1704.00028; on the sea surface Kim et al. 2023, Int. J. Appl. Earth
Obs. Geoinf. 119, 103312.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from nunatak import registry
from nunatak.errors import ConfigError
from nunatak.learn.dataset import Minibatch
from nunatak.learn.insitu_losses import observed_mean
from nunatak.learn.tasks import Setup, Supervised, central, plain


class WganGp(Supervised):
    """A Wasserstein GAN with gradient penalty, a loss at stations, and the losses of the map.

    The critic scores whole tiles of z-scores beside what they were made from, the inner part of
    ``condition``. Where there is no truth, truth and prediction are 0 before it. All it does is in
    single precision. Its steps and the network's are those of the original: the critic steps on
    every batch, the network on every ``n_critic``-th, so ``samples`` counts those of the critic.

    The network minimises ``weight`` times minus the mean score, plus ``insitu_weight`` times the
    loss at stations, plus the recipe's losses between map and target. Stations are compared with
    the last layer that the network gives, the target with the first.

    Parameters
    ----------
    setup
        As for every task.
    condition
        Name of the input that the critic sees beside a field.
    critic
        Name of the critic, one that takes a field and a condition.
    critic_args
        Arguments of the critic.
    critic_lr
        Learning rate of the critic; 0 takes that of the network.
    n_critic
        Steps of the critic for one of the network.
    penalty
        Weight of the gradient penalty in the critic's loss.
    weight
        Of the adversarial term in the network's loss.
    insitu
        Operation and arguments of the loss at stations, of z-scores; by default ``mse``.
    insitu_weight
        Of that loss; 0 for a recipe without stations.
    beta1, beta2
        Decay of Adam's moments.
    weight_decay
        Adam's, of both networks.

    Raises
    ------
    ConfigError
        If the network has no such input, or there would be no step of the critic.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        condition: str,
        critic: str = "sst_projection",
        critic_args: Mapping[str, Any] | None = None,
        critic_lr: float = 0.0,
        n_critic: int = 5,
        penalty: float = 10.0,
        weight: float = 1.0,
        insitu: Mapping[str, Any] | None = None,
        insitu_weight: float = 10.0,
        beta1: float = 0.0,
        beta2: float = 0.9,
        weight_decay: float = 1e-4,
    ) -> None:
        if condition not in setup.network.spec.inputs or n_critic < 1:
            raise ConfigError(
                f"wgan_gp: condition {condition!r}, n_critic {n_critic}",
                f"one of {', '.join(setup.network.spec.inputs)}, and 1 or more",
            )
        self.adam = {"betas": (beta1, beta2), "weight_decay": weight_decay}
        super().__init__(setup)
        self.condition, self.n_critic, self.penalty = condition, n_critic, penalty
        self.weight, self.insitu_weight = weight, insitu_weight
        loss = insitu or {"op": "mse"}
        self.cost = partial(registry.INSITU.resolve(loss["op"]), **loss.get("args", {}))
        module = registry.CRITICS.call(critic, critic_args or {})
        self._add("critic", module, critic_lr or setup.lr)
        self._call("critic", module)

    def _optimiser(self, groups: list[dict[str, Any]], lr: float) -> Optimizer:
        return Adam(groups, lr=lr, **self.adam)  # type: ignore[arg-type]

    def step(self, batch: Minibatch) -> dict[str, float]:
        """Train the critic on one batch, or this process's part of it, and maybe the network.

        Returns
        -------
        dict
            Of the whole batch, whether the network steps or not: ``loss`` (the network's sum), its
            terms unweighted, ``insitu``, ``adversarial`` and ``critic``.
        """
        number = batch.first // self.setup.batch
        turn = (number + 1) % self.n_critic == 0
        with torch.set_grad_enabled(turn):
            outputs = self._outputs(batch)
        judged = self.judge(outputs.detach()[:, :1], batch)
        self._descend("critic", judged)
        with torch.set_grad_enabled(turn):
            total, terms = self.objective(outputs[:, : self.setup.network.spec.layers], batch)
            insitu, adversarial = (
                self.at_stations(outputs[:, -1:], batch),
                self.deceive(outputs, batch),
            )
            total = total + self.insitu_weight * insitu + self.weight * adversarial
        if turn:
            self._descend("network", total)
        extra = {"insitu": insitu, "adversarial": adversarial, "critic": judged}
        return plain({"loss": total, **terms, **extra})

    def judge(self, fake: Tensor, batch: Minibatch) -> Tensor:
        """Loss of the critic: how much more it likes predictions than truth, and the penalty.

        The penalty is taken at random between the two; where, follows from the seed and a sample's
        number.
        """
        real, fake = self._shown(batch.target, batch), self._shown(fake, batch)
        numbers = range(batch.first, batch.first + len(real))
        drawn = [np.random.default_rng([self.setup.seed, 6, n]).uniform() for n in numbers]
        share = real.new_tensor(drawn).view(-1, 1, 1, 1)
        mixed = torch.lerp(fake, real, share).requires_grad_()
        scores = self._scores(torch.cat([real, fake, mixed]), batch)
        of_real, of_fake, of_mixed = scores.chunk(3)
        penalty = gradient_penalty(of_mixed, mixed)
        return self._whole(of_fake - of_real + self.penalty * penalty).mean()

    def deceive(self, outputs: Tensor, batch: Minibatch) -> Tensor:
        """Loss of the network before the critic; the critic's weights receive no gradient."""
        critic = self.modules["critic"].requires_grad_(False)
        try:
            scores = self._scores(self._shown(outputs[:, :1], batch), batch)
            return -self._whole(scores).mean()
        finally:
            critic.requires_grad_(True)

    def at_stations(self, field: Tensor, batch: Minibatch) -> Tensor:
        """Loss at the stations of the whole batch, of z-scores.

        Raises
        ------
        ConfigError
            If the recipe has none, and the loss has a weight.
        """
        if not self.insitu_weight:
            return field.new_zeros(())
        if batch.observed is None:
            raise ConfigError(
                f"wgan_gp: insitu_weight {self.insitu_weight:g} in a recipe without stations",
                "a role of stations",
                "name it in insitu, or set insitu_weight to 0",
            )
        found, batch = self._whole(field), self._gathered(batch)
        assert batch.observed is not None
        there = self._normal(batch.observed, batch)
        return observed_mean(self.cost, self._normal(found, batch), there, there.isfinite())

    def _normal(self, field: Tensor, batch: Minibatch) -> Tensor:
        """Z-scores of a field of the target's size."""
        side = batch.target.shape[-1]
        cells = {n: central(f, side) for n, f in batch.inputs.items() if n == "normals"}
        return self.setup.network.normal(field, cells)

    def _shown(self, field: Tensor, batch: Minibatch) -> Tensor:
        """What the critic sees of a field: z-scores, 0 where there is no truth."""
        return torch.where(batch.mask > 0, self._normal(field, batch), 0.0)

    def _scores(self, fields: Tensor, batch: Minibatch) -> Tensor:
        """Scores ``(n B, 1)`` of z-scores of n fields of every sample, in single precision."""
        side = batch.target.shape[-1] // batch.scale
        given = self.setup.network.spec.inputs[self.condition]
        seen = central(batch.inputs[self.condition], side * given.ratio)
        seen = seen.repeat(len(fields) // len(seen), 1, 1, 1)
        with torch.autocast(fields.device.type, enabled=False):
            scores: Tensor = self.forwards["critic"](fields, seen)
        return scores


def gradient_penalty(scores: Tensor, fields: Tensor) -> Tensor:
    """Squared distance from 1 of the norm of each score's gradient, ``(B, 1)``.

    Parameters
    ----------
    scores
        ``(B, 1)``, each of its own sample alone.
    fields
        ``(B, C, H, W)``, what they are the scores of.

    Returns
    -------
    Tensor
        ``(B, 1)``, to be differentiated by the critic's weights; 1 where the gradient is 0.
    """
    (gradient,) = torch.autograd.grad(scores.sum(), fields, create_graph=True)
    norm: Tensor = gradient.flatten(1).norm(dim=1, keepdim=True)
    return (norm - 1).square()
