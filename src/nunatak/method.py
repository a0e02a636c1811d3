"""A way to make the product, as a recipe tells it: a model, and how it is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from nunatak import registry
from nunatak.search import Search
from nunatak.search import faults as unsearchable
from nunatak.source import Model, Name, Op, checked, one_of


class Loss(Model):
    """One term of the loss and its weight."""

    op: str
    args: dict[str, Any] = {}
    weight: float = 1.0

    @model_validator(mode="after")
    def _known(self) -> Loss:
        checked(registry.LOSSES, self.op, self.args)
        return self


class Distort(Model):
    """How far training samples are moved (sides of a tile), scaled and rotated (degrees) at most.

    ``share`` of them are; see `nunatak.learn.augment`.
    """

    shift: Annotated[float, Field(ge=0, lt=1)] = 0.0
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class Train(Model):
    """How a model is trained; every count is in samples, so that devices do not matter.

    ``patience`` ends a training after that many validations without a better one.

    ``freeze`` keeps trained models, named by the beginnings of their digests (in the manifests
    of the stage train), one for each member, whatever becomes of data, values and code.
    """

    task: one_of(registry.TASKS)  # type: ignore[valid-type]
    losses: Annotated[tuple[Loss, ...], Field(min_length=1)]
    samples: Annotated[int, Field(gt=0)]
    batch: Annotated[int, Field(gt=0)]
    lr: Annotated[float, Field(gt=0)]
    warmup: Annotated[int, Field(ge=0)] = 0
    validate_every: Annotated[int, Field(gt=0)]
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    clip: Annotated[float, Field(gt=0)] | None = None
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augment: bool = True
    distort: Distort | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    freeze: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")], ...] = ()

    @model_validator(mode="after")
    def _known_parts(self) -> Train:
        args, conditioned = self.task.args, registry.CONDITIONED
        if "critic" in args:
            critic = args["critic"]
            checked(registry.CRITICS, critic, args.get("critic_args", {}))
            sees, shown = critic in conditioned, self.task.op in registry.CONDITIONING
            if critic in registry.CRITICS.table and sees != shown:
                raise ValueError(f"critic {critic}: not one of those of the task {self.task.op}")
        if "insitu" in args:
            loss = Op.model_validate(args["insitu"])
            checked(registry.INSITU, loss.op, loss.args)
        return self


class Constraint(Model):
    """A postprocessing operation and, if it needs one, the role of the field that it reads."""

    op: str
    args: dict[str, Any] = {}
    role: Name | None = None

    @model_validator(mode="after")
    def _known(self) -> Constraint:
        checked(registry.POSTPROCESS, self.op, self.args)
        return self


class Method(Model):
    """A way to make the product: a model, and how it is trained unless it needs no training.

    ``conditions`` are the roles that the model reads beside the coarse field; by default all that
    the recipe names. ``constraints`` hold the blended field, in their order. ``members`` differ in
    the seed of their training; the product is their mean. ``layers`` are those of the target's
    classes and lines that the model tells, by default all: all classes or none, then lines.
    ``search`` tries other values for it.
    """

    model: one_of(registry.MODELS)  # type: ignore[valid-type]
    conditions: tuple[Name, ...] | None = None
    layers: tuple[Name, ...] | None = None
    constraints: tuple[Constraint, ...] = ()
    train: Train | None = None
    members: Annotated[int, Field(ge=1)] = 1
    search: Search | None = None

    @model_validator(mode="after")
    def _members_differ(self) -> Method:
        if self.members > 1 and self.train is None:
            raise ValueError(f"{self.members} members of a method without train would be equal")
        frozen = self.train.freeze if self.train else ()
        if frozen and len(frozen) != self.members:
            raise ValueError(f"freeze names {len(frozen)} models for {self.members} members")
        for fault in unsearchable(self):
            raise ValueError(fault)
        return self
