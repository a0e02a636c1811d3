"""Tasks: what one step of training is, and how a network is judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from nunatak import registry
from nunatak.errors import ConfigError
from nunatak.learn.dataset import Minibatch
from nunatak.learn.losses import adversarial_critic, adversarial_generator
from nunatak.learn.parallel import Pieces, share_norms, whole
from nunatak.learn.spec import Network
from nunatak.method import Loss
from nunatak.ops.degrade import LEAST_VALID
from nunatak.ops.normalise import Transform

_AS_IS = Transform(fitted=False, offset=(0.0,), scale=(1.0,))


@dataclass(frozen=True)
class Setup:
    """What every task is made from.

    Parameters
    ----------
    fabric
        Device, precision and processes.
    network
        The network to train.
    losses
        Terms of the loss.
    lr
        Learning rate after the warm-up.
    clip
        Greatest norm of a gradient, if any.
    size
        Fine cells along the side of a tile's target.
    batch
        Samples a step, of all processes.
    micro_batch
        Most samples that go through the network at once; None for all of a process.
    seed
        Of what a task draws, with the number of a sample.
    coarse
        What normalises the coarse field.
    min_valid
        Share of valid fine cells below which a cell of the coarse field is missing.
    """

    fabric: Fabric
    network: Network
    losses: Sequence[Loss]
    lr: float
    clip: float | None
    size: int
    batch: int
    micro_batch: int | None = None
    seed: int = 0
    coarse: Transform = _AS_IS
    min_valid: float = LEAST_VALID


class Supervised:
    """Minimise the weighted losses between prediction and truth.

    Each process steps on its part of a batch, and all of them come to the same weights.

    Attributes
    ----------
    modules, optimisers
        By name; those of a name belong together.
    forwards
        By the same names, what to call in training: it sees to pieces, and that the gradients of
        all processes are averaged.
    score
        What validation finds, of which the least is best; names its column and manifest's key.

    Raises
    ------
    ConfigError
        If parts of the network would not learn by a loss of its last output.
    """

    staged = False
    score = "rmse"

    def __init__(self, setup: Setup) -> None:
        if setup.network.greedy and not self.staged:
            raise ConfigError(
                "a network with parts that learn by losses of their own alone, and the task"
                f" {type(self).__name__.lower()}",
                "a task that gives every part a loss",
                "use the task cascade, or leave such parts out of the model (end_to_end: true,"
                " velocities: false)",
            )
        self.setup = setup
        self.modules: dict[str, nn.Module] = {}
        self.optimisers: dict[str, Optimizer] = {}
        self.forwards: dict[str, Callable[..., Tensor]] = {}
        self._add("network", setup.network, setup.lr)
        self._call("network", Pieces(self._trained(setup.network), setup.micro_batch))
        ops = [loss.op for loss in setup.losses]
        names = [op if ops.count(op) == 1 else f"{op}_{i}" for i, op in enumerate(ops)]
        self._terms = {
            name: (loss, registry.LOSSES.resolve(loss.op))
            for name, loss in zip(names, setup.losses, strict=True)
        }

    def _trained(self, network: Network) -> nn.Module:
        """What is called in training: the network itself."""
        return network

    def _add(self, name: str, module: nn.Module, lr: float) -> None:
        """Take a module to the device and give it an optimiser; ``initial_lr`` is its full rate."""
        share_norms(self.setup.fabric, module)
        module.to(self.setup.fabric.device).train()
        groups = [{"params": list(module.parameters()), "initial_lr": lr}]
        self.modules[name] = module
        ready = self.setup.fabric.setup_optimizers(self._optimiser(groups, lr))
        self.optimisers[name] = cast(Optimizer, ready)

    def _optimiser(self, groups: list[dict[str, Any]], lr: float) -> Optimizer:
        """What minimises, over groups of parameters."""
        return Adam(groups, lr=lr)

    def _call(self, name: str, module: nn.Module) -> None:
        """Call that module in training.

        Not `Fabric.setup_module`, whose wrapper rounds inputs to half precision.
        """
        self.forwards[name] = self.setup.fabric.strategy.setup_module(module)

    def predict(self, batch: Minibatch, network: nn.Module | None = None) -> Tensor:
        """Run the network, or another, and crop to the target: (B, layers, H, W).

        In physical units, or logits of a segmentation.
        The inputs stay in single precision, since half precision would round heights to metres:
        only the network's arithmetic is in the chosen precision.
        """
        return self._outputs(batch, network)[:, : self.setup.network.spec.layers]

    def _outputs(self, batch: Minibatch, network: nn.Module | None = None) -> Tensor:
        """The same, and after it whatever layers else the network gives."""
        forward = self.forwards["network"]
        if network is not None:
            forward = Pieces(network, self.setup.micro_batch)
        with self.setup.fabric.autocast():
            prediction = forward(batch.inputs)
        return central(prediction, batch.target.shape[-1])

    def objective(self, prediction: Tensor, batch: Minibatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of the losses over the whole batch, and each of them unweighted."""
        return self._weighed(self._whole(prediction), self._gathered(batch))

    def _weighed(self, prediction: Tensor, batch: Minibatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The same over the samples at hand."""
        network = self.setup.network
        context = {**batch.context, "mean": network.mean, "std": network.std}
        terms = {
            name: operation(prediction, batch.target, batch.mask, context, **loss.args)
            for name, (loss, operation) in self._terms.items()
        }
        total = sum(
            (self._terms[name][0].weight * term for name, term in terms.items()),
            start=prediction.new_zeros(()),
        )
        return total, terms

    def _whole(self, part: Tensor) -> Tensor:
        return whole(self.setup.fabric, part)

    def _gathered(self, batch: Minibatch) -> Minibatch:
        inputs = {name: self._whole(values) for name, values in batch.inputs.items()}
        target, mask = self._whole(batch.target), self._whole(batch.mask)
        observed = None if batch.observed is None else self._whole(batch.observed)
        return replace(batch, inputs=inputs, target=target, mask=mask, observed=observed)

    def step(self, batch: Minibatch) -> dict[str, float]:
        """Train on one batch, or this process's part of it.

        Returns
        -------
        dict
            Of the whole batch: ``loss``, the sum, and each term unweighted.
        """
        total, terms = self.objective(self.predict(batch), batch)
        self._descend("network", total)
        return plain({"loss": total, **terms})

    def _descend(self, name: str, loss: Tensor) -> None:
        fabric, optimiser, module = self.setup.fabric, self.optimisers[name], self.modules[name]
        optimiser.zero_grad()
        fabric.backward(loss)
        if self.setup.clip is not None:
            fabric.clip_gradients(
                module, optimiser, max_norm=self.setup.clip, error_if_nonfinite=False
            )
        optimiser.step()

    @torch.no_grad()
    def validate(self, batch: Minibatch, network: nn.Module | None = None) -> tuple[float, int]:
        """Add to the score: what `finish` makes it of, summed over a batch, and a count.

        Here the squared errors of valid cells (target's units squared), and their number.
        """
        error = (self.predict(batch, network) - batch.target)[batch.mask]
        return float(error.double().square().sum()), int(batch.mask.sum())

    def finish(self, total: float, count: float) -> float:
        """The score by the sums of `validate` over all batches: RMSE, in the target's units."""
        return math.sqrt(total / count)

    def optimiser_states(self) -> dict[str, Any]:
        """State of the optimisers and of the precision's scaler, plain values and tensors."""
        states: dict[str, Any] = {n: o.state_dict() for n, o in self.optimisers.items()}
        return {**states, "precision": self.setup.fabric.strategy.precision.state_dict()}

    def restore(self, weights: dict[str, dict[str, Tensor]], states: dict[str, Any]) -> None:
        """Set modules and optimisers to what a checkpoint holds."""
        for name, module in self.modules.items():
            module.load_state_dict(weights[name])
            self.optimisers[name].load_state_dict(states[name])
        self.setup.fabric.strategy.precision.load_state_dict(states["precision"])


def central(field: Tensor, side: int) -> Tensor:
    """The central square of a field, in single precision."""
    crop = (field.shape[-1] - side) // 2
    return field[..., crop : crop + side, crop : crop + side].float()


class Adversarial(Supervised):
    """The same, and a critic that learns to tell predictions from truth.

    The critic sees whole tiles, less the target's mean and in units of its standard deviation;
    where there is no truth, the truth that it is shown is the prediction. A relativistic average
    GAN, as Leong and Horgan 2020, doi 10.5194/tc-14-3687-2020, but the network does receive the
    critic's gradient.

    Parameters
    ----------
    setup
        As for every task.
    critic
        Name of the critic.
    weight
        Of the adversarial term in the network's loss.
    critic_lr
        Learning rate of the critic; 0 takes that of the network.
    critic_steps
        Steps of the critic on a batch before the network's one.

    Raises
    ------
    ConfigError
        If a batch is a single tile, which the critic cannot normalise, or the steps are not
        positive.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        weight: float,
        critic: str = "deepbedmap",
        critic_lr: float = 0.0,
        critic_steps: int = 1,
    ) -> None:
        super().__init__(setup)
        if setup.batch < 2 or critic_steps < 1:
            raise ConfigError(
                f"adversarial: batch {setup.batch}, critic_steps {critic_steps}",
                "a batch of 2 tiles or more, and at least one step of the critic",
            )
        self.weight, self.critic_steps = weight, critic_steps
        module = registry.CRITICS.call(critic, {}, setup.size)
        self._add("critic", module, critic_lr or setup.lr)
        self._call("critic", module)

    def _logits(self, critic: Callable[..., Tensor], field: Tensor) -> Tensor:
        """Logits of the whole batch."""
        network = self.setup.network
        with self.setup.fabric.autocast():
            logits = critic((field - network.mean) / network.std)
        return self._whole(logits.float())

    def step(self, batch: Minibatch) -> dict[str, float]:
        """Train the critic, then the network, on one batch, or this process's part of it.

        Returns
        -------
        dict
            Of the whole batch: ``loss`` (the network's sum), its terms unweighted,
            ``adversarial`` and ``critic``.
        """
        fake = self.predict(batch)
        real = torch.where(batch.mask, batch.target, fake.detach())
        for _ in range(self.critic_steps):
            judged = self.judge(real, fake)
            self._descend("critic", judged)
        total, terms = self.objective(fake, batch)
        adversarial = self.deceive(real, fake)
        total = total + self.weight * adversarial
        self._descend("network", total)
        return plain({"loss": total, **terms, "adversarial": adversarial, "critic": judged})

    def judge(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the critic; the network receives no gradient."""
        critic = self.forwards["critic"]
        return adversarial_critic(self._logits(critic, real), self._logits(critic, fake.detach()))

    def deceive(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the network before the critic; the critic's weights receive no gradient."""
        critic = self.modules["critic"].requires_grad_(False)
        try:
            logits = self._logits(critic, real).detach(), self._logits(critic, fake)
            return adversarial_generator(*logits)
        finally:
            critic.requires_grad_(True)


def plain(terms: dict[str, Tensor]) -> dict[str, float]:
    """Terms of a loss as numbers, fetched from the device at once."""
    values = torch.stack([term.detach().float() for term in terms.values()]).tolist()
    return dict(zip(terms, values, strict=True))
