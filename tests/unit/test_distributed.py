"""Trainings over two processes, and in pieces, beside those of one."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.multiprocessing import ProcessExitedException, start_processes

from nunatak.errors import ConfigError
from nunatak.learn.checkpoint import load
from nunatak.learn.dataset import Chunks, Minibatch, Tiles
from nunatak.learn.parallel import Pieces, joined, share
from nunatak.learn.spread import Spread
from nunatak.learn.tasks import Setup, Supervised
from nunatak.method import Loss
from nunatak.ops.split import TRAIN
from nunatak.products import Results
from nunatak.registry import TASKS
from nunatak.stages.train import train

# Of the largest value of each tensor, after 12 steps of Adam; measured: 1.4e-7 and 1.1e-5. A
# critic's loss is of the order of 1, its terms cancel, and Adam divides by small gradients.
TOLERANCE = {"supervised": 1e-6, "adversarial": 5e-5, "wgan_gp": 5e-5}
KINDS = tuple(TOLERANCE)
STEPS, BATCH = 12, 8
TWO = Spread(launcher="torchrun")
TASK: dict[str, dict[str, Any]] = {
    "supervised": tiny.SUPERVISED,
    "adversarial": {
        "op": "adversarial",
        "args": {"critic": "test_distributed:Critic", "weight": 0.5, "critic_steps": 2},
    },
    "wgan_gp": {
        "op": "wgan_gp",
        "args": {"condition": "velocity", "critic": "test_distributed:Judge"}
        | {"n_critic": 2, "insitu_weight": 0.0},
    },
    "signalled": {"op": "test_distributed:Fickle"},
    "dying": {"op": "test_distributed:Fickle", "args": {"dies": True}},
}
LOSSES = (
    Loss(op="l1"),
    Loss(op="topographic", weight=0.1),
    Loss(op="ssim", args={"data_range": 2000.0}, weight=50.0),
)


class Steady(tiny.Tiny):
    """Without dropout, whose draws follow from how a batch is cut."""

    def __init__(self, spec: Any) -> None:
        super().__init__(spec, dropout=0.0)


class Critic(tiny.Critic):
    """Without biases that no loss depends on: Adam blows up the rounding of their gradients."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.layers[0] = nn.Conv2d(1, 4, 4, stride=4, bias=False)
        self.layers[4] = nn.Linear(4 * (size // 4) ** 2, 1, bias=False)


class Judge(nn.Module):
    """A small critic of fields beside a condition."""

    def __init__(self) -> None:
        super().__init__()
        self.field = nn.Conv2d(1, 4, 4, stride=4)
        self.days = nn.Conv2d(2, 4, 4, stride=4)

    def forward(self, field: Tensor, days: Tensor) -> Tensor:
        seen = torch.tanh(self.field(field)).mean((2, 3))
        return (seen * torch.tanh(self.days(days)).mean((2, 3))).sum(dim=1, keepdim=True)


class Fickle(Supervised):
    """The second process gets a signal, or dies, at its third step."""

    def __init__(self, setup: Setup, *, dies: bool = False) -> None:
        super().__init__(setup)
        self.dies, self.steps = dies, 0

    def step(self, batch: Minibatch) -> dict[str, float]:
        terms = super().step(batch)
        self.steps += 1
        if self.steps == 3 and self.setup.fabric.global_rank == 1:
            if self.dies:
                os._exit(9)
            os.kill(os.getpid(), signal.SIGUSR1)
        return terms


def world(root: Path, kind: str) -> Results:
    spec = tiny.recipe(
        "test_distributed:Steady", task=TASK[kind], batch=BATCH, samples=80, validate_every=24
    )
    return Results(spec, root) if root.exists() else tiny.world(root, spec)


def half(devices: int) -> Fabric:
    """Processes that compute in half precision, which `joined` leaves to GPUs."""
    strategy = DDPStrategy() if devices > 1 else "auto"
    environment = TorchElasticEnvironment() if devices > 1 else LightningEnvironment()
    fabric = Fabric(
        accelerator="cpu",
        strategy=strategy,
        devices=devices,
        precision="bf16-mixed",
        plugins=[environment],
    )
    fabric.launch()
    return fabric


def stepped(
    results: Results, kind: str, spread: Spread, given: Fabric | None = None
) -> dict[str, Tensor]:
    """Weights and buffers after some steps, by module and name, and the last losses."""
    fabric = given or joined(spread, "32-true")
    torch.manual_seed(0)
    side, spec = tiny.SIZE * tiny.SCALE, TASK[kind]
    setup = Setup(
        *(fabric, tiny.built(results), LOSSES, 1e-2, 50.0, side, BATCH), spread.micro_batch
    )
    task: Supervised = TASKS.call(spec["op"], spec.get("args", {}), setup)
    tiles = Tiles.open(results, "net", TRAIN, Chunks())
    for step in range(STEPS):
        mine = share(fabric, BATCH)
        plan = [(step * BATCH + i) * 5 % len(tiles) for i in range(BATCH)][mine]
        batch = Minibatch.of([tiles.read(p) for p in plan], tiny.SCALE)
        terms = task.step(replace(batch, first=step * BATCH + mine.start))
    found = {f"{n}.{k}": t for n, m in task.modules.items() for k, t in m.state_dict().items()}
    return {**found, **{name: torch.tensor(value) for name, value in terms.items()}}


def difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest, relative to the largest value of each tensor."""
    assert a.keys() == b.keys()
    pairs = [(a[name].double(), b[name].double()) for name in a]
    return max(float((x - y).abs().max() / x.abs().max().clamp_min(1e-12)) for x, y in pairs)


def together(work: Callable[[Path], Any], folder: Path) -> list[Any]:
    """What a function of a folder returns in each of two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(_begin, (work, folder, port), nprocs=2, start_method="fork")
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def _begin(rank: int, work: Callable[[Path], Any], folder: Path, port: int) -> None:
    given = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "GROUP_WORLD_SIZE": 1}
    rest = {"GROUP_RANK": 0, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port, "MASTER_ADDR": "localhost"}
    os.environ.update({name: str(value) for name, value in {**given, **rest}.items()})
    (folder / f"{rank}.json").write_text(json.dumps(work(folder)))


def steps_of_two(folder: Path) -> None:
    for kind in KINDS:
        for most in (None, 1):
            found = stepped(
                world(folder / kind, kind), kind, Spread(launcher="torchrun", micro_batch=most)
            )
            torch.save(found, folder / f"{kind}-{most}-{os.environ['RANK']}.pt")
    found = stepped(world(folder / "adversarial", "adversarial"), "adversarial", TWO, half(2))
    torch.save(found, folder / f"half-{os.environ['RANK']}.pt")


@pytest.fixture(scope="module")
def stepped_by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steps")
    for kind in KINDS:
        world(folder / kind, kind)
    together(steps_of_two, folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [None, 1])
def test_two_processes_come_to_the_weights_of_one(
    stepped_by_two: Path, kind: str, most: int | None
) -> None:
    alone = stepped(world(stepped_by_two / kind, kind), kind, Spread())
    both = [torch.load(stepped_by_two / f"{kind}-{most}-{rank}.pt") for rank in (0, 1)]
    assert difference(both[0], both[1]) == 0
    assert difference(alone, both[0]) < TOLERANCE[kind]


def test_two_processes_in_half_precision(stepped_by_two: Path) -> None:
    alone = stepped(
        world(stepped_by_two / "adversarial", "adversarial"), "adversarial", Spread(), half(1)
    )
    both = [torch.load(stepped_by_two / f"half-{rank}.pt") for rank in (0, 1)]
    assert difference(both[0], both[1]) == 0
    names = [name for name in alone if name.startswith("network")]
    pick = [{name: found[name] for name in names} for found in (alone, both[0])]
    assert 0 < difference(*pick) < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_come_to_the_weights_of_the_whole(tmp_path: Path, kind: str) -> None:
    results = world(tmp_path / kind, kind)
    found = [stepped(results, kind, Spread(micro_batch=most)) for most in (None, 2)]
    assert difference(*found) < TOLERANCE[kind]


def test_a_mean_of_the_parts_means_would_be_noticed(tmp_path: Path) -> None:
    """The parts hold different numbers of valid cells, so that the figures above can fail."""
    results = world(tmp_path / "world", "supervised")
    tiles = Tiles.open(results, "net", TRAIN, Chunks())
    plan = [i * 5 % len(tiles) for i in range(BATCH)]
    cells = [tiles.read(p).mask.sum() for p in plan]
    assert len({int(sum(cells[i : i + 4])) for i in (0, 4)}) == 2


def trainings_of_two(folder: Path) -> list[dict[str, Any]]:
    one, parts = (world(folder / name, "adversarial") for name in ("one", "parts"))
    told = [train(one, "net", 0, key="k", spread=TWO)]
    told += [train(parts, "net", 0, key="k", stop_after=0, spread=TWO) for _ in range(2)]
    told.append(train(parts, "net", 0, key="k", spread=TWO))
    return [*told, train(world(folder / "signalled", "signalled"), "net", 0, key="k", spread=TWO)]


@pytest.fixture(scope="module")
def trained_by_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    folder = tmp_path_factory.mktemp("trainings")
    for name, kind in (("one", "adversarial"), ("parts", "adversarial"), ("signalled",) * 2):
        world(folder / name, kind)
    return folder, together(trainings_of_two, folder)


def test_two_processes_stopped_and_resumed_are_as_never_stopped(
    trained_by_two: tuple[Path, list[Any]],
) -> None:
    folder, (told, _) = trained_by_two
    assert [t["samples"] for t in told] == [80, 8, 16, 80, 24]
    assert told[3] == told[0]
    tables = [
        (folder / name / "tiny/train/net/0/loss.csv").read_text() for name in ("one", "parts")
    ]
    assert tables[0] == tables[1]


def test_a_training_of_two_processes_is_that_of_one(
    trained_by_two: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    folder, (told, _) = trained_by_two
    alone = world(tmp_path / "world", "adversarial")
    manifest = train(alone, "net", 0, key="k")
    assert told[0]["best_rmse"] == pytest.approx(manifest["best_rmse"], rel=1e-5)
    tables = [
        pd.read_csv(root / "tiny/train/net/0/loss.csv") for root in (folder / "one", alone.root)
    ]
    pd.testing.assert_frame_equal(*tables, rtol=1e-5)


def test_a_signal_to_one_process_stops_all_after_the_same_sample(
    trained_by_two: tuple[Path, list[Any]],
) -> None:
    folder, told = trained_by_two
    stopped = [t[-1] for t in told]
    assert stopped == [{"method": "net", "member": 0, "samples": 24, "unfinished": True}] * 2
    path = folder / "signalled" / "tiny/train/net/0/last.pt"
    assert load(path).samples_seen == 24


def dying(folder: Path) -> None:
    spread = Spread(launcher="torchrun", checkpoint_every=0)
    train(world(folder / "dying", "dying"), "net", 0, key="k", spread=spread)


def test_one_process_goes_on_where_two_were_when_one_died(tmp_path: Path) -> None:
    results, whole = (world(tmp_path / name, "dying") for name in ("dying", "whole"))
    with pytest.raises(ProcessExitedException):
        together(dying, tmp_path)
    assert load(results.train("net", 0) / "last.pt").samples_seen == 16
    found = [train(r, "net", 0, key="k") for r in (results, whole)]
    assert found[0]["best_rmse"] == pytest.approx(found[1]["best_rmse"], rel=1e-5)
    tables = [pd.read_csv(r.train("net", 0) / "loss.csv") for r in (results, whole)]
    pd.testing.assert_frame_equal(*tables, rtol=1e-5)


def test_checkpoints_by_the_clock_change_nothing(tmp_path: Path) -> None:
    often, seldom = (world(tmp_path / name, "supervised") for name in ("often", "seldom"))
    found = train(often, "net", 0, key="k", spread=Spread(checkpoint_every=0))
    assert found == train(seldom, "net", 0, key="k")
    tables = [(r.train("net", 0) / "loss.csv").read_text() for r in (often, seldom)]
    assert tables[0] == tables[1]


def test_processes_that_do_not_divide_the_batch_are_refused() -> None:
    fabric = joined(Spread(), "32-true")
    assert share(fabric, 7) == slice(0, 7)
    fabric.strategy.__dict__["world_size"] = 2
    with pytest.raises(ConfigError, match="a batch of 7 samples on 2 processes"):
        share(fabric, 7)


def test_a_network_that_normalises_over_the_batch_is_not_cut_in_pieces() -> None:
    with pytest.raises(ConfigError, match="micro-batches of 2"):
        Pieces(nn.Sequential(nn.BatchNorm2d(3)), 2)


def test_a_launcher_that_did_not_start_this_process_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    with pytest.raises(ConfigError, match="SLURM_PROCID is not set"):
        _ = Spread(launcher="srun").rank


def test_processes_of_srun_are_told_by_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PROCID": "5", "NTASKS": "8", "NNODES": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    spread = Spread(launcher="srun")
    assert (spread.rank, spread.nodes, spread.devices) == (5, 2, 4)
    assert (Spread().rank, Spread().nodes, Spread().devices) == (0, 1, 1)
