from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import guided
import numpy as np
import pytest
import tiny
import torch
from lightning_fabric import Fabric
from test_loop import everything
from torch import Tensor, nn

from nunatak.config import merge
from nunatak.errors import ConfigError
from nunatak.learn.dataset import Minibatch
from nunatak.learn.models.sst_attention import SstAttention
from nunatak.learn.spec import InputSpec, ModelSpec, Network
from nunatak.learn.tasks import Setup, Supervised
from nunatak.learn.wgan import WganGp, gradient_penalty
from nunatak.method import Loss, Train
from nunatak.products import Results
from nunatak.recipe import Recipe
from nunatak.stages.train import train

SCALE, SIDE = 5, 8
SPEC = ModelSpec(SCALE, {"coarse": InputSpec(1, 1), "week": InputSpec(7, 1)})
ARGS = {"condition": "week", "critic_args": {"width": 2}, "n_critic": 1}


class Linear(nn.Module):
    """A critic that sums a field, times a weight."""

    def __init__(self, *, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, field: Tensor, days: Tensor) -> Tensor:
        return self.gain * field.flatten(1).sum(dim=1, keepdim=True)


def batch(samples: int = 2, context: int = 0) -> Minibatch:
    side = SIDE + 2 * context
    inputs = guided.inputs_of(SPEC, side, side, samples)
    target = 0.5 + 0.3 * guided.noise(samples, 1, SIDE * SCALE, SIDE * SCALE, seed=5)
    mask = torch.ones_like(target, dtype=torch.bool)
    mask[..., :9, :] = False
    observed = torch.full_like(target, float("nan"))
    observed[..., 11::13, 3::17] = 0.7
    return Minibatch(inputs, torch.where(mask, target, 0.0), mask, SCALE, observed=observed)


def network(**args: Any) -> SstAttention:
    torch.manual_seed(0)
    return guided.scaled(SstAttention(SPEC, history="week", width=4, **args))


def setup(given: Network | None = None, **changes: Any) -> Setup:
    precision = changes.pop("precision", "32-true")
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    losses = (Loss(op="l1", weight=0.5),)
    plain = Setup(fabric, given or network(), losses, 1e-3, None, SIDE * SCALE, 2)
    return replace(plain, **changes)


def task(given: Setup | None = None, **args: Any) -> WganGp:
    torch.manual_seed(1)
    return WganGp(given or setup(), **{**ARGS, **args})


def weights(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def moved(before: list[Tensor], module: nn.Module) -> bool:
    return not all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


class TestPenalty:
    def test_none_for_a_gradient_of_norm_one(self) -> None:
        fields = guided.noise(3, 1, 6, 6).requires_grad_()
        slope = nn.functional.normalize(guided.noise(36, seed=1), dim=0)
        scores = (fields.flatten(1) * slope).sum(dim=1, keepdim=True)
        torch.testing.assert_close(gradient_penalty(scores, fields), torch.zeros(3, 1))

    def test_of_a_linear_critic_it_is_known(self) -> None:
        fields, critic = guided.noise(2, 1, 3, 3).requires_grad_(), Linear(gain=2.0)
        penalty = gradient_penalty(critic(fields, fields), fields)
        torch.testing.assert_close(penalty, torch.full((2, 1), (2 * 3 - 1.0) ** 2))
        penalty.mean().backward()
        assert critic.gain.grad is not None
        assert float(critic.gain.grad) == pytest.approx(2 * (2 * 3 - 1) * 3)

    def test_of_no_gradient_it_is_one_and_can_be_differentiated(self) -> None:
        fields, critic = guided.noise(2, 1, 3, 3).requires_grad_(), Linear(gain=0.0)
        penalty = gradient_penalty(critic(fields, fields), fields)
        assert torch.equal(penalty, torch.ones(2, 1))
        penalty.mean().backward()
        assert critic.gain.grad is not None
        assert bool(critic.gain.grad.isfinite())

    def test_the_critics_loss_is_the_distance_and_the_penalty(self) -> None:
        given = task(critic="test_wgan:Linear", critic_args={"gain": 0.5}, penalty=10.0)
        data = batch()
        fake = given.predict(data).detach()
        z = (fake - 0.5) / 0.3 - (data.target - 0.5) / 0.3
        distance = 0.5 * (z * data.mask).flatten(1).sum(dim=1).mean()
        expected = float(distance) + 10 * (0.5 * SIDE * SCALE - 1) ** 2
        assert float(given.judge(fake, data).detach()) == pytest.approx(expected, rel=1e-5)


def test_the_network_receives_the_critics_gradient() -> None:
    given = task()
    outputs = given._outputs(batch())
    given.deceive(outputs, batch()).backward()
    found = {n: p.grad for n, p in given.setup.network.named_parameters()}
    seen = [n for n, g in found.items() if g is not None and bool((g != 0).any())]
    assert set(seen) == {n for n in found if not n.startswith("heads.1")}
    assert all(p.grad is None and p.requires_grad for p in given.modules["critic"].parameters())


def test_the_critics_loss_sends_no_gradient_to_the_network() -> None:
    given = task()
    given.judge(given.predict(batch()).detach(), batch()).backward()
    assert all(p.grad is None for p in given.setup.network.parameters())
    assert all(p.grad is not None for p in given.modules["critic"].parameters())


def test_stations_teach_the_second_output_and_pixels_the_first() -> None:
    given = task(weight=0.0)
    for layer, loss in ((0, given.objective), (1, given.at_stations)):
        found = given._outputs(batch())[:, layer : layer + 1]
        value = loss(found, batch())
        (value[0] if isinstance(value, tuple) else value).backward()
        heads = [given.setup.network.heads[n] for n in range(2)]
        taught = [
            any(p.grad is not None and bool(p.grad.any()) for p in h.parameters()) for h in heads
        ]
        assert taught == [layer == 0, layer == 1]
        given.setup.network.zero_grad(set_to_none=True)


def test_the_loss_at_stations_is_of_z_scores_where_something_was_measured() -> None:
    given, data = task(), batch()
    assert data.observed is not None
    field = guided.noise(*data.target.shape)
    there = data.observed.isfinite()
    expected = (((field - 0.7) / 0.3)[there] ** 2).mean()
    torch.testing.assert_close(given.at_stations(field, data), expected)


def test_with_normals_z_scores_are_of_every_cell() -> None:
    given, data = task(), batch(context=2)
    side = (SIDE + 4) * SCALE
    mean, std = guided.noise(2, 1, side, side), 1 + guided.noise(2, 1, side, side, seed=1).abs()
    normals = torch.cat([mean, std], dim=1)
    data = replace(data, inputs={**data.inputs, "normals": normals})
    inner = slice(2 * SCALE, -2 * SCALE)
    expected = (data.target - mean[..., inner, inner]) / std[..., inner, inner]
    torch.testing.assert_close(given._shown(data.target, data)[data.mask], expected[data.mask])
    assert np.isfinite(given.step(data)["loss"])


def test_without_stations_the_loss_at_them_is_to_be_switched_off() -> None:
    bare = replace(batch(), observed=None)
    with pytest.raises(ConfigError, match="insitu_weight"):
        task().step(bare)
    assert task(insitu_weight=0.0).step(bare)["insitu"] == 0


def test_cells_without_truth_change_nothing() -> None:
    data = batch()
    wild = replace(data, target=torch.where(data.mask, data.target, torch.nan))
    found = []
    for given in (data, wild):
        trained = task()
        torch.manual_seed(2)
        found.append((trained.step(given), weights(trained.setup.network)))
    assert found[0][0] == found[1][0]
    assert all(map(torch.equal, found[0][1], found[1][1]))


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    terms = task(weight=2.0, insitu={"op": "frechet", "args": {"a": 10.0}}).step(batch())
    assert list(terms) == ["loss", "l1", "insitu", "adversarial", "critic"]
    parts = 0.5 * terms["l1"] + 10 * terms["insitu"] + 2 * terms["adversarial"]
    assert terms["loss"] == pytest.approx(parts, rel=1e-5)


def test_the_network_steps_on_every_fifth_batch_and_the_critic_on_all() -> None:
    given, found = task(n_critic=5), []
    for step in range(10):
        before = {name: weights(module) for name, module in given.modules.items()}
        given.step(replace(batch(), first=2 * step))
        found.append({name: moved(before[name], m) for name, m in given.modules.items()})
    assert [step["network"] for step in found] == [n % 5 == 4 for n in range(10)]
    assert all(step["critic"] for step in found)


def test_adam_is_that_of_the_original() -> None:
    for optimiser in task(critic_lr=1e-5).optimisers.values():
        group = optimiser.param_groups[0]
        assert (group["betas"], group["weight_decay"]) == ((0.0, 0.9), 1e-4)
    assert task(critic_lr=1e-5).optimisers["critic"].param_groups[0]["initial_lr"] == 1e-5


def test_a_batch_of_one_tile_is_enough() -> None:
    assert np.isfinite(task(setup(batch=1)).step(batch(1))["loss"])


def test_the_critic_is_in_single_precision() -> None:
    given, kinds = task(setup(precision="bf16-mixed")), []
    for module in (given.setup.network, given.modules["critic"]):
        first = module.first if module is given.setup.network else module.field[0]
        first.register_forward_hook(lambda _m, _i, out: kinds.append(out.dtype))
    given.step(batch())
    assert kinds == [torch.bfloat16, torch.float32, torch.float32]


def test_a_critic_learns_to_tell_truth_from_prediction() -> None:
    given, data = task(), batch()
    fake = given.predict(data).detach()
    torch.manual_seed(0)
    for _ in range(40):
        loss = given.judge(fake, data)
        given._descend("critic", loss)
    real, wrong = (given._scores(given._shown(f, data), data).mean() for f in (data.target, fake))
    assert float(real.detach()) > float(wrong.detach())


def test_the_task_supervised_trains_the_map_of_the_same_network() -> None:
    given = Supervised(setup())
    assert given.predict(batch()).shape == batch().target.shape
    before = [weights(head) for head in given.setup.network.heads]
    losses = [given.step(batch())["loss"] for _ in range(30)]
    assert losses[-1] < 0.9 * losses[0]
    assert [moved(b, h) for b, h in zip(before, given.setup.network.heads, strict=True)] == [
        True,
        False,
    ]
    square, cells = given.validate(batch())
    assert cells == int(batch().mask.sum())
    assert np.isfinite(square)


@pytest.mark.parametrize("args", [{"condition": "month"}, {"n_critic": 0}])
def test_arguments_that_make_no_sense_are_refused(args: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="wgan_gp"):
        task(**args)


def spec(task: str = "wgan_gp", **args: Any) -> dict[str, Any]:
    return {
        "task": {"op": task, "args": args},
        "losses": [{"op": "l1"}],
        "samples": 8,
        "batch": 1,
        "lr": 1e-4,
        "validate_every": 8,
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (spec(), "condition"),
        (spec(condition="week", insitu={"op": "weibull"}), "weibull"),
        (spec(condition="week", insitu={"op": "gumbel", "args": {"q": 1}}), "'q'"),
        (spec(condition="week", critic="deepbedmap"), "deepbedmap"),
        (spec(condition="week", critic="sst_projection", critic_args={"depth": 1}), "depth"),
        (spec("adversarial", weight=1.0, critic="sst_projection"), "sst_projection"),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_read(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Train.model_validate(given)
    fits = spec(condition="week", critic="sst_projection", insitu={"op": "gumbel"})
    assert Train.model_validate(fits).task.op == "wgan_gp"


def test_a_loss_at_stations_needs_stations_on_the_fine_grid() -> None:
    op = {"op": "wgan_gp", "args": {"condition": "velocity"}}
    with pytest.raises(ValueError, match="expected a role of them in insitu"):
        tiny.recipe(task=op)
    stations = {"source": "beds", "variables": ["bed"], "resolution": 500}
    change = {"insitu": "stations", "roles": {"stations": stations}}
    with pytest.raises(ValueError, match=r"roles\.stations: stations need"):
        Recipe.model_validate(merge(tiny.recipe().model_dump(mode="json"), change))


def world(folder: Path) -> Results:
    """The tiny world with stations, to be trained by this task."""
    args = {"condition": "velocity", "critic": "test_wgan:Linear", "n_critic": 3}
    args |= {"insitu": {"op": "gumbel", "args": {"r": 1.5}}}
    plain = tiny.recipe().model_dump(mode="json")
    change = {
        "insitu": "stations",
        "roles": {"stations": plain["roles"]["target"]},
        "methods": {"net": {"train": {"task": {"op": "wgan_gp", "args": args}}}},
    }
    results = tiny.world(folder, Recipe.model_validate(merge(plain, change)))
    field = np.full(results.recipe.layout.fine.shape, np.nan, np.float32)
    field[5::11, 7::13] = 40.0
    product = results.role("stations").create()
    for block in results.recipe.layout.blocks():
        product.write(block, {"bed": field[block.core.at(tiny.SCALE).slices]})
    return results


def test_stopped_and_resumed_is_bit_for_bit_as_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nunatak.stages.train.curves", lambda frame, path: None)
    whole, parts = world(tmp_path / "whole"), world(tmp_path / "parts")
    manifest = train(whole, "net", 0, key="k")
    for _ in range(9):
        assert train(parts, "net", 0, key="k", stop_after=0)["unfinished"]
    assert train(parts, "net", 0, key="k", stop_after=0) == manifest
    assert everything(parts) == everything(whole)


def test_the_penalty_follows_from_the_seed_and_the_number_of_a_sample() -> None:
    data, found = batch(), []
    for seed, first in ((3, 0), (3, 0), (4, 0), (3, 2)):
        given = task(setup(seed=seed))
        fake = given.predict(data).detach()
        found.append(float(given.judge(fake, replace(data, first=first)).detach()))
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_a_restored_task_goes_on_as_the_first() -> None:
    first, second = task(), task()
    first.step(batch())
    states = copy.deepcopy(first.optimiser_states())
    second.restore({n: copy.deepcopy(m.state_dict()) for n, m in first.modules.items()}, states)
    found = []
    for given in (first, second):
        torch.manual_seed(5)
        found.append((given.step(batch()), weights(given.setup.network)))
    assert found[0][0] == found[1][0]
    assert all(map(torch.equal, found[0][1], found[1][1]))
