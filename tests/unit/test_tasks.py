from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from lightning_fabric import Fabric
from torch import nn

from nunatak.errors import ConfigError
from nunatak.learn.dataset import Chunks, Minibatch, Tiles
from nunatak.learn.spec import Network, repeat
from nunatak.learn.tasks import Adversarial, Setup, Supervised
from nunatak.method import Loss
from nunatak.ops.split import TRAIN
from nunatak.products import Results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return tiny.world(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def batch(results: Results) -> Minibatch:
    tiles = Tiles.open(results, "net", TRAIN, Chunks())
    found = Minibatch.of([tiles.read(p) for p in (0, 1, 6, 7)], tiny.SCALE)
    assert 0.3 < found.mask.float().mean() < 1
    return found


def setup(results: Results, network: Network | None = None, **changes: Any) -> Setup:
    torch.manual_seed(0)
    precision = changes.pop("precision", "32-true")
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    losses = (Loss(op="l1"), Loss(op="l2", weight=1e-4))
    network = network or tiny.built(results)
    plain = Setup(fabric, network, losses, 1e-3, None, tiny.SIZE * tiny.SCALE, 4)
    return replace(plain, **changes)


def adversarial(given: Setup, **args: Any) -> Adversarial:
    return Adversarial(given, **{"critic": "tiny:Critic", "weight": 0.5, **args})


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("kind", [Supervised, adversarial])
def test_cells_without_truth_change_neither_loss_nor_weights(
    results: Results, batch: Minibatch, kind: Any
) -> None:
    wild = replace(batch, target=torch.where(batch.mask, batch.target, 1e6))
    found = []
    for given in (batch, wild):
        task = kind(setup(results))
        torch.manual_seed(1)
        found.append((task.step(given), weights(task.modules["network"])))
    assert found[0][0] == found[1][0]
    assert same(found[0][1], found[1][1])


def test_a_step_lowers_the_loss(results: Results, batch: Minibatch) -> None:
    task = Supervised(setup(results))
    losses = [task.step(batch)["loss"] for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])


def test_the_loss_is_the_weighted_sum_of_its_terms(results: Results, batch: Minibatch) -> None:
    losses = (Loss(op="l1"), Loss(op="l1", weight=2), Loss(op="l2", weight=1e-3))
    terms = Supervised(setup(results, losses=losses)).step(batch)
    assert list(terms) == ["loss", "l1_0", "l1_1", "l2"]
    assert terms["loss"] == pytest.approx(3 * terms["l1_0"] + 1e-3 * terms["l2"], rel=1e-5)


def test_losses_may_be_in_units_of_the_targets_deviation_about_its_mean(
    results: Results, batch: Minibatch
) -> None:
    network = tiny.built(results)
    args = {"unit": float(network.std)}
    losses = (Loss(op="log_cosh"), Loss(op="log_cosh", args=args), Loss(op="relative_l2"))
    losses += (Loss(op="relative_l2", args={"centred": True}),)
    terms = Supervised(setup(results, network, losses=losses)).step(batch)
    assert terms["log_cosh_0"] == pytest.approx(terms["log_cosh_1"], rel=1e-5)
    assert terms["relative_l2_2"] > 0
    assert terms["relative_l2_2"] != pytest.approx(terms["relative_l2_3"], rel=1e-4)


def test_the_prediction_is_cropped_to_the_core(results: Results, batch: Minibatch) -> None:
    network = tiny.Prior(tiny.built(results).spec)
    found = Supervised(setup(results, network)).predict(batch)
    inner = slice(tiny.CONTEXT, -tiny.CONTEXT)
    expected = repeat(batch.inputs["prior"][..., inner, inner], tiny.SCALE)
    assert torch.equal(found, expected)


def test_half_precision_does_not_round_heights(results: Results, batch: Minibatch) -> None:
    network = tiny.Prior(tiny.built(results).spec)
    inner = slice(tiny.CONTEXT, -tiny.CONTEXT)
    expected = repeat(batch.inputs["prior"][..., inner, inner], tiny.SCALE)
    found = Supervised(setup(results, network, precision="bf16-mixed")).predict(batch)
    assert torch.equal(found, expected)


def test_convolutions_run_in_the_chosen_precision(results: Results, batch: Minibatch) -> None:
    task = Supervised(setup(results, precision="bf16-mixed"))
    kinds = []
    task.setup.network.first.register_forward_hook(lambda _m, _i, out: kinds.append(out.dtype))
    assert task.predict(batch).dtype == torch.float32
    assert kinds == [torch.bfloat16]


def test_validation_is_the_squared_error_over_valid_cells(
    results: Results, batch: Minibatch
) -> None:
    task = Supervised(setup(results))
    task.setup.network.eval()
    square, cells = task.validate(batch)
    with torch.no_grad():
        error = (task.predict(batch) - batch.target).double().numpy()[batch.mask.numpy()]
    assert cells == error.size
    assert square == pytest.approx(float((error**2).sum()))


def test_gradients_are_clipped(results: Results, batch: Minibatch) -> None:
    task = Supervised(setup(results, clip=1e-3))
    task.step(batch)
    grads = [p.grad.flatten() for p in task.setup.network.parameters() if p.grad is not None]
    assert float(torch.cat(grads).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_the_network_receives_the_critics_gradient(results: Results, batch: Minibatch) -> None:
    task = adversarial(setup(results))
    fake = task.predict(batch)
    real = torch.where(batch.mask, batch.target, fake.detach())
    task.deceive(real, fake).backward()
    found = {n: p.grad for n, p in task.setup.network.named_parameters()}
    assert all(g is not None and bool((g != 0).any()) for g in found.values())
    assert all(p.grad is None for p in task.modules["critic"].parameters())
    assert all(p.requires_grad for p in task.modules["critic"].parameters())


def test_the_critics_loss_sends_no_gradient_to_the_network(
    results: Results, batch: Minibatch
) -> None:
    task = adversarial(setup(results))
    task.judge(batch.target, task.predict(batch)).backward()
    assert all(p.grad is None for p in task.setup.network.parameters())
    assert all(p.grad is not None for p in task.modules["critic"].parameters())


@pytest.mark.parametrize("moved", ["network", "critic"])
def test_each_step_moves_its_own_weights_only(
    results: Results, batch: Minibatch, moved: str
) -> None:
    task = adversarial(setup(results))
    for name, optimiser in task.optimisers.items():
        if name != moved:
            optimiser.param_groups[0]["lr"] = 0.0
    before = {n: [p.clone() for p in m.parameters()] for n, m in task.modules.items()}
    task.step(batch)
    for name, module in task.modules.items():
        pairs = zip(before[name], module.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) == (name != moved)


def test_the_adversarial_term_changes_what_the_network_learns(
    results: Results, batch: Minibatch
) -> None:
    found = []
    for weight in (0.0, 10.0):
        task = adversarial(setup(results), weight=weight)
        torch.manual_seed(1)
        task.step(batch)
        found.append(weights(task.setup.network))
    assert not same(*found)


def test_the_critic_takes_the_steps_that_it_is_given(results: Results, batch: Minibatch) -> None:
    task = adversarial(setup(results), critic_steps=3, critic_lr=1e-4)
    task.step(batch)
    counts = {
        name: {int(s["step"]) for s in optimiser.state_dict()["state"].values()}
        for name, optimiser in task.optimisers.items()
    }
    assert counts == {"network": {1}, "critic": {3}}
    assert task.optimisers["critic"].param_groups[0]["initial_lr"] == 1e-4


def test_a_batch_of_one_tile_is_refused(results: Results) -> None:
    with pytest.raises(ConfigError, match="batch 1"):
        adversarial(setup(results, batch=1))


def test_an_unknown_critic_is_refused_with_the_names_there_are(results: Results) -> None:
    with pytest.raises(ConfigError, match="deepbedmap"):
        adversarial(setup(results), critic="deepbedmpa")


def test_a_restored_task_goes_on_as_the_first(
    results: Results, batch: Minibatch, tmp_path: Path
) -> None:
    first, second = adversarial(setup(results)), adversarial(setup(results))
    first.step(batch)
    states = copy.deepcopy(first.optimiser_states())
    second.restore({n: weights(m) for n, m in first.modules.items()}, states)
    found = []
    for task in (first, second):
        torch.manual_seed(5)
        found.append((task.step(batch), weights(task.setup.network)))
    assert found[0][0] == found[1][0]
    assert same(found[0][1], found[1][1])
