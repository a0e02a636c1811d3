"""The task of segmentations in the training loop, early endings, what a training leaves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from lightning_fabric import Fabric

from nunatak.errors import ConfigError
from nunatak.learn.augment import Distortion, distorted
from nunatak.learn.checkpoint import Checkpoint, load
from nunatak.learn.dataset import Minibatch, Sample
from nunatak.learn.layer_losses import zone_cross_entropy
from nunatak.learn.loop import Run, Stop, fit, over, validated
from nunatak.learn.models.unet import AsppUnet, TwoHead
from nunatak.learn.segmentation import Segmentation
from nunatak.learn.spec import InputSpec, ModelSpec, Network
from nunatak.learn.tasks import Setup, Supervised
from nunatak.method import Distort, Loss, Train
from nunatak.products import Results
from nunatak.registry import TASKS
from nunatak.stages.train import train

SPEC = ModelSpec(1, {"coarse": InputSpec(1, 1)}, 3, 1)
SIDE = 16
LOSSES = (
    Loss(op="zone_cross_entropy", weight=0.5),
    Loss(op="zone_dice", weight=0.5),
    Loss(op="front_dice", args={"dilate": 3}),
)


class Scenes:
    """Images of three zones with a line between two of them: what `Tiles` gives of scenes."""

    def __init__(self, number: int, spec: ModelSpec = SPEC, seed: int = 0) -> None:
        self.inputs = SimpleNamespace(spec=spec)
        self.number, self.seed = number, seed

    def __len__(self) -> int:
        return self.number

    def read(self, position: int, symmetry: int = 0, by: Distortion | None = None) -> Sample:
        rng = np.random.default_rng([self.seed, position])
        edge, spec = int(rng.integers(6, 11)), self.inputs.spec
        zone = np.zeros((1, SIDE, SIDE), dtype=np.float32)
        zone[:, edge:] = 1
        zone[:, :, 12:] = 2
        if by:
            zone = distorted(zone, by, SIDE, nearest=True)
        layers = [zone == code for code in range(spec.classes)]
        line = (zone == 1) & (np.roll(zone, 1, axis=1) == 0)
        target = np.concatenate([*layers, *[line] * spec.lines]).astype(np.float32)
        mask = np.broadcast_to(np.isfinite(zone), target.shape)
        image = np.nan_to_num(zone) + rng.normal(scale=0.3, size=zone.shape).astype(np.float32)
        return Sample({"coarse": image, "prior": image}, target * mask, mask)


def batch(number: int = 4, spec: ModelSpec = SPEC) -> Minibatch:
    tiles = Scenes(number, spec)
    return Minibatch.of([tiles.read(i) for i in range(number)], 1, spec.classes)


def task(network: Network | None = None, precision: Any = "32-true", **change: Any) -> Segmentation:
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    network = network or TwoHead(SPEC, width=2)
    plain = Setup(fabric, network, LOSSES, 1e-2, None, SIDE, 4)
    made: Segmentation = TASKS.call("segmentation", {}, replace(plain, **change))
    return made


def plan(**change: Any) -> Train:
    given = {"task": {"op": "segmentation"}, "losses": LOSSES, "samples": 40, "batch": 4}
    rest = {"lr": 1e-2, "validate_every": 12, "ema": 0.9, "distort": Distort(shift=0.1, rotate=20)}
    return Train.model_validate({**given, **rest, **change})


def run(folder: Path, spec: ModelSpec = SPEC, **change: Any) -> Run:
    network = None
    if spec is not SPEC:
        torch.manual_seed(0)
        network = AsppUnet(spec, width=2)
    folder.mkdir(exist_ok=True)
    tiles, checks = (cast(Any, Scenes(n, spec, seed)) for n, seed in ((10, 0), (6, 1)))
    losses = change.pop("task_losses", LOSSES)
    return Run(task(network, losses=losses), plan(**change), tiles, checks, 5, folder)


def origin() -> Checkpoint:
    return Checkpoint("k", "net", 0, {}, {}, "t", score="loss")


def stopping(after: int) -> Stop:
    """A stop that is due after so many steps."""
    asked: Iterator[bool] = iter([False] * (after - 1) + [True])
    return cast(Stop, type("Soon", (), {"due": property(lambda self: next(asked))})())


def flat(value: Any) -> list[Any]:
    if isinstance(value, torch.Tensor):
        return [value.flatten().tolist()]
    if isinstance(value, dict):
        return [leaf for k, v in value.items() for leaf in (k, *flat(v))]
    return [leaf for v in value for leaf in flat(v)] if isinstance(value, list | tuple) else [value]


def left(folder: Path) -> list[Any]:
    """All that a training leaves behind, but for its own path."""
    found = [flat(vars(load(folder / name))) for name in ("best.pt", "last.pt")]
    return [*found, (folder / "loss.csv").read_text()]


class TestTask:
    def test_a_step_gives_all_terms_and_learns(self) -> None:
        made, given = task(), batch()
        found = [made.step(given) for _ in range(60)]
        assert list(found[0]) == ["loss", "zone_cross_entropy", "zone_dice", "front_dice"]
        weights = [0.5, 0.5, 1]
        terms = [found[0][loss.op] for loss in LOSSES]
        assert found[0]["loss"] == pytest.approx(np.dot(weights, terms), rel=1e-5)
        assert found[-1]["loss"] < 0.6 * found[0]["loss"]

    def test_validation_is_the_loss_times_the_valid_values(self) -> None:
        made, given = task(), batch()
        made.setup.network.eval()
        hidden = given.mask.clone()
        hidden[:, :, :4] = False
        total, count = made.validate(replace(given, mask=hidden))
        assert count == int(hidden.sum()) < given.mask.numel()
        with torch.no_grad():
            logits = made.setup.network(given.inputs)
        expected, _ = made._weighed(logits, replace(given, mask=hidden))
        assert total == pytest.approx(float(expected) * count, rel=1e-5)
        assert made.finish(total, count) == pytest.approx(float(expected), rel=1e-5)

    def test_validation_asks_nothing_of_other_processes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def gathered(part: torch.Tensor) -> torch.Tensor:
            raise AssertionError("another process may have fewer batches")

        made = task()
        monkeypatch.setattr(made, "_whole", gathered)
        with pytest.raises(AssertionError, match="fewer"):
            made.step(batch())
        assert made.validate(batch())[1] == batch().mask.numel()

    def test_losses_are_told_how_many_layers_are_classes(self) -> None:
        given = batch()
        assert int(given.context["classes"]) == int(given.to(torch.device("cpu")).classes) == 3
        logits = torch.randn(given.target.shape)
        zone = given.target[:, :3].argmax(dim=1)
        expected = torch.nn.functional.cross_entropy(logits[:, :3], zone)
        found = zone_cross_entropy(logits, given.target, given.mask, given.context)
        torch.testing.assert_close(found, expected)

    def test_half_precision_trains(self) -> None:
        made, given = task(precision="bf16-mixed"), batch()
        found = [made.step(given)["loss"] for _ in range(30)]
        assert found[-1] < 0.9 * found[0]

    def test_a_map_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="segmentation for a map"):
            task(tiny.Prior(ModelSpec(1, {"coarse": InputSpec(1, 1)})))


class TestLoop:
    @pytest.fixture(scope="class")
    def whole(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Checkpoint]:
        made = run(tmp_path_factory.mktemp("whole"))
        return made, fit(made, origin(), Stop())

    def test_the_score_is_the_mean_loss_over_the_validation_tiles(
        self, whole: tuple[Run, Checkpoint]
    ) -> None:
        made, state = whole
        table = pd.read_csv(made.folder / "loss.csv")
        judged = table.dropna(subset="validation_loss")
        assert list(judged["samples"]) == [12, 24, 36, 40]
        assert state.best == judged["validation_loss"].min()
        best = load(made.folder / "best.pt")
        network = TwoHead(SPEC, width=2)
        network.load_state_dict(best.weights["network"])
        network.eval()
        checks, losses = Scenes(6, seed=1), []
        for part in (range(4), range(4, 6)):
            given = Minibatch.of([checks.read(i) for i in part], 1, 3)
            with torch.no_grad():
                losses.append(float(made.task._weighed(network(given.inputs), given)[0]))
        assert state.best == pytest.approx((4 * losses[0] + 2 * losses[1]) / 6, rel=1e-5)
        assert validated(made, network) == pytest.approx(state.best, rel=1e-6)

    def test_best_and_last_are_the_only_checkpoints(self, whole: tuple[Run, Checkpoint]) -> None:
        made, state = whole
        assert state.samples_seen == 40
        names = {path.name for path in made.folder.iterdir()}
        assert names == {"best.pt", "last.pt", "loss.csv"}

    @pytest.mark.parametrize("steps", [5, 6])
    def test_stopped_and_resumed_it_gives_the_same_bits(
        self, whole: tuple[Run, Checkpoint], tmp_path: Path, steps: int
    ) -> None:
        made = run(tmp_path / "parts")
        part = fit(made, origin(), stopping(steps))
        assert part.samples_seen == 4 * steps
        fit(run(tmp_path / "parts"), load(made.folder / "last.pt"), Stop())
        assert left(made.folder) == left(whole[0].folder)

    def test_distorted_samples_teach_something_else(
        self, whole: tuple[Run, Checkpoint], tmp_path: Path
    ) -> None:
        made = run(tmp_path / "plain", distort=None)
        fit(made, origin(), Stop())
        assert left(made.folder)[2] != left(whole[0].folder)[2]

    def test_a_line_alone_is_learnt(self, tmp_path: Path) -> None:
        spec = ModelSpec(1, {"coarse": InputSpec(1, 1)}, 0, 1)
        losses = (Loss(op="front_distance_dice", args={"dilate": 3}),)
        made = run(
            tmp_path / "line", spec, losses=losses, task_losses=losses, samples=80, distort=None
        )
        state = fit(made, origin(), Stop())
        table = pd.read_csv(made.folder / "loss.csv")
        assert state.best is not None
        assert state.best < 0.9 * table["train_loss"].iloc[0]


def scored(scores: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the validations of a training find these scores, by how often they were asked."""
    found = iter(scores)
    monkeypatch.setattr("nunatak.learn.loop.validated", lambda run, network: next(found))


class TestPatience:
    def test_a_training_ends_after_that_many_validations_without_a_better_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scored([9.0, 7.0, 8.0, 6.0, 6.0, 7.0, 1.0], monkeypatch)
        made = run(tmp_path / "a", samples=400, validate_every=8, patience=2)
        state = fit(made, origin(), Stop())
        assert (state.samples_seen, state.best, state.best_samples) == (48, 6.0, 32)
        assert state.fruitless == 2
        assert over(state, made.train)
        assert load(made.folder / "best.pt").samples_seen == 32
        assert load(made.folder / "last.pt").samples_seen == 48
        assert len(pd.read_csv(made.folder / "loss.csv")) == 12

    def test_it_goes_on_to_the_end_without_patience(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scored([1.0, *[2.0] * 20], monkeypatch)
        made = run(tmp_path / "a", samples=80, validate_every=8)
        state = fit(made, origin(), Stop())
        assert (state.samples_seen, state.fruitless) == (80, 9)

    @pytest.mark.parametrize("steps", [1, 5, 6, 9])
    def test_stopped_and_resumed_it_ends_at_the_same_sample(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
    ) -> None:
        scores = [9.0, 7.0, 8.0, 8.0, 8.0, 1.0]
        folders = []
        for name, parts in (("whole", []), ("parts", [steps])):
            scored(scores, monkeypatch)
            made = run(tmp_path / name, samples=400, validate_every=8, patience=3)
            state = origin()
            for part in parts:
                state = fit(made, state, stopping(part))
                assert not over(state, made.train)
                made, state = (
                    run(tmp_path / name, samples=400, validate_every=8, patience=3),
                    load(made.folder / "last.pt"),
                )
            folders.append(fit(made, state, Stop()).samples_seen)
        assert folders == [40, 40]
        assert left(tmp_path / "parts") == left(tmp_path / "whole")

    def test_an_ended_training_takes_no_further_step(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scored([1.0, 2.0], monkeypatch)
        made = run(tmp_path / "a", samples=400, validate_every=8, patience=1)
        fit(made, origin(), Stop())
        before = left(made.folder)
        again = fit(made, load(made.folder / "last.pt"), Stop())
        assert again.samples_seen == 16
        assert left(made.folder) == before


class Absolute(Supervised):
    """Judged by the mean absolute error, called a loss."""

    score = "loss"

    def validate(self, batch: Minibatch, network: Any = None) -> tuple[float, int]:
        with torch.no_grad():
            error = (self.predict(batch, network) - batch.target)[batch.mask]
        return float(error.abs().double().sum()), int(batch.mask.sum())

    def finish(self, total: float, count: float) -> float:
        return total / count


class Whole(tiny.Tiny):
    """Sees its window as a whole."""

    whole = True

    def forward(self, inputs: Any) -> torch.Tensor:
        return super().forward(inputs) + inputs["coarse"].mean()


class TestStage:
    @pytest.fixture(autouse=True)
    def _no_figures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("nunatak.stages.train.curves", lambda frame, path: None)

    @pytest.fixture
    def made(self, tmp_path: Path) -> Callable[..., Results]:
        def of(model: str = "tiny:Tiny", **change: Any) -> Results:
            return tiny.world(tmp_path, tiny.recipe(model, **change))

        return of

    def test_the_manifest_names_what_the_task_is_judged_by(
        self, made: Callable[..., Results]
    ) -> None:
        results = made(task={"op": "test_segment_task:Absolute"})
        manifest = train(results, "net", 0, key="k")
        table = pd.read_csv(results.train("net", 0) / "loss.csv")
        assert "validation_rmse" not in table
        assert manifest["best_loss"] == table["validation_loss"].min()
        assert "best_rmse" not in manifest

    def test_an_impatient_training_is_finished(
        self, made: Callable[..., Results], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scored([3.0, 5.0, 4.0, 1.0], monkeypatch)
        results = made(samples=4000, validate_every=8, patience=2)
        manifest = train(results, "net", 0, key="k")
        assert (manifest["samples"], manifest["best_samples"]) == (24, 8)
        assert "unfinished" not in manifest
        assert load(results.train("net", 0) / "best.pt").halo == 1
        assert train(results, "net", 0, key="k") == manifest

    def test_a_training_that_is_stopped_before_is_not(
        self, made: Callable[..., Results], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scored([3.0, 5.0, 4.0, 1.0], monkeypatch)
        results = made(samples=4000, validate_every=8, patience=2)
        found = train(results, "net", 0, key="k", stop_after=0)
        assert found == {"method": "net", "member": 0, "samples": 4, "unfinished": True}

    def test_no_checkpoint_is_kept_but_best_and_last(self, made: Callable[..., Results]) -> None:
        results = made(validate_every=4)
        train(results, "net", 0, key="k")
        files = {p.name for p in results.train("net", 0).rglob("*") if p.is_file()}
        assert files == {"best.pt", "last.pt", "loss.csv"}

    def test_a_network_that_sees_the_whole_window_has_no_halo(
        self, made: Callable[..., Results]
    ) -> None:
        results = made("test_segment_task:Whole", buffer=1000)
        assert train(results, "net", 0, key="k")["halo"] == Whole.margin
        assert math.isfinite(load(results.train("net", 0) / "best.pt").best or math.nan)
