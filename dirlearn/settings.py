"""What a recipe of a training may say: bounded models, one for each section."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict

from dirlearn.schedules import Rate, Schedule

Node = str | dict[str, Any]
"""A part by name: ``name``, or ``{name: {parameter: value}}``."""
PriorName = Literal["mmd", "mixture", "moments", "adversarial", "per_sample"]
Beta = Annotated[float, Field(ge=0, lt=1)]


LOSS: Final = "loss"


class Section(BaseModel):
    """Base of every section. Unknown names are refused; numbers must be finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True)


class Data(Section):
    """Pictures taken to be free of degradation."""

    train: Node | list[Node] = Field(description="a data set, or several")
    validation: Node | list[Node] = Field(description="pictures for the sample grids and for validation")
    patch: int = Field(64, ge=8, le=4096, description="side of the patches [px]")
    flips: bool | Literal["horizontal"] = Field(
        True, description="mirror and turn patches; horizontal: only left to right, for scenes with a sky above"
    )


class Networks(Section):
    """The networks of Stage I."""

    encoder: Node = "light"
    decoder: Node = "light"
    estimator: Node = "jsd"
    critic: Node = "local"


class Training(Section):
    """How something is trained."""

    steps: int = Field(2000, ge=1, description="optimiser steps")
    batch: int = Field(16, ge=1, description="pictures a step, over all processes and accumulation")
    accumulate: int = Field(1, ge=1, description="parts of a batch that are computed one after the other")
    rate: Rate = Field(Rate(), validate_default=True, description="learning rate")
    optimiser: Literal["adam", "adamw"] = "adam"
    betas: Annotated[tuple[Beta, Beta], Strict(False)] = Field((0.9, 0.999), description="of Adam")
    weight_decay: float = Field(0.0, ge=0, le=1)
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0 for none")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights that are used; 0 for none")


class StageOne(Training):
    """Stage I: Eq. 5 and 6."""

    lambda_: Schedule = Field(
        Schedule(law="exponential", start=1e-3, end=1.0, steps=1000), alias="lambda", description="weight of D_AKL"
    )
    beta: Schedule = Field(Schedule(end=1.0), description="weight of DiRNet's prior")
    beta_star: Schedule = Field(Schedule(end=1.0), description="weight of DfRNet's prior")
    reconstruction: float = Field(1.0, ge=0, description="weight of the L1 loss of DfRNet's pictures")
    prior: PriorName = Field("mmd", description="how far representations lie from N(0, I)")


class Heading(Training):
    """A training with a task's head."""

    head: Node | None = Field(None, description="the task's network T")
    head_from: str | None = Field(None, description="an earlier row, whose trained head this one starts from")
    head_rate: float = Field(
        1.0, ge=0, le=100, description="learning rate of the head, as a factor of that of the rest; 0 freezes it"
    )


class Task(Heading):
    """A training of what makes pictures, and of a head on them."""

    gamma1: float = Field(0.0, ge=0, description="weight of the task's loss")
    gamma2: float = Field(1.0, ge=0, description="weight of the L1 loss of pictures")


class Refinement(Task):
    """Stage II: Eq. 8."""

    rate: Rate = Field(Rate(initial=1e-3), description="learning rate")
    alignment: Node = Field("guided", description="the network A")


class Search(Section):
    """How parameters of an ISP are sought without gradients, by what a frozen head makes of its pictures."""

    method: Literal["cmaes", "tpe"] = Field("cmaes", description="CMA-ES, or the tree-structured Parzen estimator")
    trials: int = Field(200, ge=1, le=100_000, description="settings that are tried")
    pictures: int = Field(64, ge=1, le=100_000, description="training patches that each is tried on, always the same")
    objective: str = Field(LOSS, description="loss, or a figure of the task's usual metric: mIoU, AP, ...")


Bounds = Annotated[tuple[float, float], Strict(False)]


class Developing(Task):
    """An ISP of its own on the RAW that the recipe's views are developed from, and a head on its pictures."""

    after: str = Field(description="id of the step of the views up to which they stay as they are")
    stages: list[str | dict[str, Any]] = Field(min_length=1, description="isp_sim stages in place of the further ones")
    tune: dict[str, Bounds] = Field(
        default_factory=dict, description="parameters that are tuned, `step.parameter`, and between what"
    )
    tune_rate: float = Field(10.0, gt=0, le=1e4, description="their learning rate, as a factor of that of the rest")
    search: Search | None = Field(None, description="seek them without gradients, for a frozen head")


class Pairs(Task):
    """A baseline that learns from pairs, first alone and then with a head."""

    alone: int = Field(0, ge=0, description="optimiser steps by L1 before the head joins, beside `steps` with it")


class Run(Section):
    """Where and how to compute."""

    path: str = Field("out/run", description="the run's folder")
    device: str = Field("auto", description="auto, cpu, cuda, ...")
    precision: Literal["no", "bf16"] = "no"
    workers: int = Field(0, ge=0, le=256, description="processes that make batches; 0 makes them on the device")
    log_every: int = Field(50, ge=1, description="[steps]")
    validate_every: int = Field(500, ge=1, description="[steps]")
    checkpoint_every: int = Field(500, ge=1, description="[steps]")
    keep: int = Field(2, ge=1, description="checkpoints that are kept")


class Shown(Section):
    """What the picture of the latents shows."""

    scenes: int = Field(5, ge=1, le=20, description="scenes, each from a picture of its own while there are enough")
    copies: int = Field(40, ge=1, le=1000, description="degraded copies of each scene")


class Probes(Section):
    """What representations of held-back pictures tell of the scene, and of its degradation."""

    pictures: Node | list[Node] | None = Field(
        None, description="held-back pictures; if not given, those of the test sets and of validation"
    )
    degradation: str = Field("seen", description="which of the evaluation's degradations")
    limit: int = Field(16, ge=1, le=4096, description="pictures at the most")
    patches: int = Field(6, ge=1, le=64, description="scenes that are cut from each picture at the most")
    copies: int = Field(10, ge=2, le=1000, description="degraded copies of each scene")
    side: int | None = Field(None, ge=16, le=4096, description="side of a scene [px]; the training's if not given")
    shown: Shown = Field(Shown(), description="the picture of the latents")
    seed: int = Field(1, ge=0, le=1 << 20, description="of the places of the scenes and of their degradations")


class Evaluation(Section):
    """What the methods are measured on."""

    sets: dict[str, Node | list[Node]] = Field(default_factory=dict, description="test sets by name")
    degradations: dict[str, str | dict[str, Any]] = Field(
        default_factory=dict, description="isp_sim recipes by name; the recipe's own views are called `seen`"
    )
    metrics: Node | list[Node] | None = Field(None, description="of heads; the usual ones of the task if not given")
    pictures: list[Node] = Field(["psnr", "ssim"], min_length=1, description="how restored pictures are measured")
    crop: int | None = Field(None, ge=16, description="measure only the middle of each picture [px]")
    limit: int | None = Field(None, ge=1, description="pictures of each set")
    seed: int = Field(1, ge=0, description="of the degradations")
    probes: Probes | None = Field(Probes(), description="what is asked of the representations; null for nothing")
