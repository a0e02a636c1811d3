from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nunatak.errors import ConfigError
from nunatak.learn.insitu_losses import frechet, gumbel, mse, observed_mean
from nunatak.registry import INSITU

Cost = Callable[[Tensor], Tensor]
RS = (1.0, 1.1, 1.5, 2.0)
SHAPES = ((10.0, 1.7), (13.0, 1.7), (15.0, 1.7), (15.0, 2.0))
ERRORS = np.array([0.0, 0.1, 1.0, 3.0])
ARGS: list[tuple[str, dict[str, float]]] = [
    ("mse", {}),
    *(("gumbel", {"r": r}) for r in RS),
    *(("frechet", {"a": a, "s": s}) for a, s in SHAPES),
]
COSTS: list[Cost] = [partial(INSITU.resolve(op), **args) for op, args in ARGS]
each = pytest.mark.parametrize("cost", COSTS, ids=[f"{op}{tuple(a.values())}" for op, a in ARGS])


def slopes(cost: Cost, errors: Any) -> Tensor:
    error = torch.as_tensor(errors, dtype=torch.float32).requires_grad_()
    (found,) = torch.autograd.grad(cost(error).sum(), error)
    return found


def told(cost: Cost, values: Any, gradients: Any) -> None:
    """In single precision, what numpy says in double."""
    found = cost(torch.tensor(ERRORS, dtype=torch.float32))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), values, rtol=2e-6, atol=1e-9)
    np.testing.assert_allclose(slopes(cost, ERRORS).numpy(), gradients, rtol=2e-5, atol=5e-6)


def test_mse_is_the_square() -> None:
    told(mse, ERRORS**2, 2 * ERRORS)


@pytest.mark.parametrize("r", RS)
def test_gumbel_has_its_values_and_gradients(r: float) -> None:
    square = ERRORS**2
    share = 1 - np.exp(-square)
    rise = r * share ** (r - 1) * 2 * ERRORS * np.exp(-square) * square
    told(partial(gumbel, r=r), share**r * square, rise + share**r * 2 * ERRORS)


@pytest.mark.parametrize(("a", "s"), SHAPES)
def test_frechet_has_its_values_and_gradients(a: float, s: float) -> None:
    z = ERRORS / s + (a / (1 + a)) ** (1 / a)
    told(
        partial(frechet, a=a, s=s),
        z**-a + (1 + a) * np.log(z),
        (-a * z ** (-a - 1) + (1 + a) / z) / s,
    )


def test_stated_values() -> None:
    one = torch.tensor([1.0])
    assert float(gumbel(one, r=1.0)) == pytest.approx(0.6321206)
    assert float(gumbel(one, r=2.0)) == pytest.approx(0.3995764)
    assert float(frechet(torch.zeros(1), a=10.0, s=1.7)) == pytest.approx(0.9951588)


@pytest.mark.parametrize(("a", "s"), SHAPES)
def test_the_least_of_frechet_is_as_documented(a: float, s: float) -> None:
    least = (1 + np.log(a / (1 + a))) * (1 + a) / a
    assert float(frechet(torch.zeros(1), a=a, s=s)) == pytest.approx(least, rel=1e-6)


@each
def test_gradients_are_finite_everywhere_and_nought_at_nought(cost: Cost) -> None:
    large = torch.logspace(-30, 6, 200)
    errors = torch.cat([torch.zeros(1), large, -large])
    found = slopes(cost, errors)
    assert bool(found.isfinite().all())
    assert bool(cost(errors).isfinite().all())
    assert abs(float(found[0])) < 1e-5
    torch.testing.assert_close(found[1:201], -found[201:])


@each
@given(st.floats(0, 50), st.floats(1e-2, 50))
def test_a_larger_error_costs_more(cost: Cost, less: float, more: float) -> None:
    a, b = cost(torch.tensor([less, less + more]))
    assert float(b) > float(a) - 1e-6
    if less > 1e-2:
        assert float(b) > float(a)
    torch.testing.assert_close(cost(torch.tensor([-less])), a[None])


@each
def test_half_precision_in_and_around_does_not_matter(cost: Cost) -> None:
    errors = torch.linspace(-4, 4, 33).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = cost(errors)
    assert found.dtype == torch.float32
    assert torch.equal(found, cost(errors.float()))


@each
def test_no_error_costs_nothing(cost: Cost) -> None:
    field = torch.randn(2, 5)
    assert float(observed_mean(cost, field, field, torch.ones(2, 5, dtype=torch.bool))) == 0


def test_one_day_against_seven_is_refused() -> None:
    week = torch.zeros(4, 7, 16)
    with pytest.raises(ValueError, match=r"\(4, 16\).*\(4, 7, 16\)"):
        observed_mean(mse, torch.zeros(4, 16), week, week > -1)
    with pytest.raises(ValueError, match=r"\(4, 1, 16\)"):
        observed_mean(mse, torch.zeros(4, 1, 16), week, week > -1)
    with pytest.raises(ValueError, match=r"\(16,\)"):
        observed_mean(mse, week, week, torch.ones(16))


@each
def test_what_was_not_observed_is_not_counted(cost: Cost) -> None:
    torch.manual_seed(0)
    prediction, target = torch.randn(2, 3, 8)
    mask = torch.rand(3, 8) < 0.3
    plain = (cost(prediction - target) - cost(torch.zeros(1)))[mask].mean()
    gaps = target.masked_fill(~mask, float("nan"))
    prediction.requires_grad_()
    found = observed_mean(cost, prediction, gaps, mask)
    torch.testing.assert_close(found, plain)
    (gradient,) = torch.autograd.grad(found, prediction)
    assert bool((gradient[~mask] == 0).all())
    assert bool((gradient[mask] != 0).all())


@each
def test_nothing_observed_costs_nothing_and_teaches_nothing(cost: Cost) -> None:
    prediction = torch.randn(2, 4, requires_grad=True)
    none = torch.full((2, 4), float("nan"))
    found = observed_mean(cost, prediction, none, none.isfinite())
    assert float(found.detach()) == 0
    (gradient,) = torch.autograd.grad(found, prediction)
    assert torch.equal(gradient, torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("op", "args"),
    [("gumbel", {"r": 0.5}), ("frechet", {"a": 0.0}), ("frechet", {"s": -1.0})],
)
def test_arguments_out_of_range_are_refused(op: str, args: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=op):
        INSITU.call(op, args, torch.zeros(1))
