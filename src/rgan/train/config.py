"""Settings of the training loop and its optimisers."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class OptimizerConfig:
    """Sections ``[generator_optimizer]`` and ``[critic_optimizer]``."""

    kind: Literal["adam", "sgd"] = "adam"
    """adam or plain sgd."""
    rate: float = Field(default=2e-3, gt=0.0, allow_inf_nan=False)
    """Learning rate."""
    beta1: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Adam's decay of the mean gradient, or SGD's momentum."""
    beta2: float = Field(default=0.99, ge=0.0, lt=1.0)
    """Adam's decay of the squared gradient."""


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """Section ``[train]``: how long, in what portions, how watched."""

    steps: int = Field(default=6000, ge=1)
    """Generator updates in all, where ``epochs`` is 0; rounded up to whole epochs."""
    epochs: int = Field(default=0, ge=0)
    """Passes over the training sequences; 0 takes as many as ``steps`` need."""
    batch_size: int = Field(default=32, ge=0)
    """Sequences in a batch. 0: so many that a batch has about 100,000 values, from 16 to 128; the
    run's config.toml has the number."""
    balance: float = Field(default=1.0, ge=0.0, le=1.0)
    """How evenly classes are drawn into batches: 0 as often as in the data, 1 all alike. What is
    learnt of each class stays the same; a rare class is only learnt sooner. Samples are drawn with
    the classes' own shares, or with those of ``rgan sample --label-mix``."""
    critic_steps: int = Field(default=1, ge=1)
    """Critic updates for each generator update."""
    schedule: Literal["auto", "constant", "cosine"] = "auto"
    """Learning rates over the whole training: constant, or down to a twentieth along a cosine. auto
    is cosine where the length is given in steps, and constant where it is given in epochs, so that
    three epochs and three more are the same as six."""
    freeze: tuple[str, ...] = ()
    """Weights that are not trained, by the beginning of their names: generator.head,
    critic.recurrence, or a whole network."""
    warmup: int = Field(default=100, ge=0)
    """Updates over which the learning rates rise from zero."""
    average: float = Field(default=0.999, ge=0.0, lt=1.0)
    """Decay of the averaged generator weights (EMA) that sample; 0 samples with the last ones."""
    augment: float = Field(default=0.0, ge=0.0, le=0.8)
    """Probability of each of four random changes (stretched, offset, shifted by a few steps, a
    block hidden) through which the critic sees every sequence, real or generated; they do not show
    in samples. For few sequences, of which a critic learns by heart."""
    seed: int = Field(default=0, ge=0)
    """Everything random follows from it."""
    device: str = "auto"
    """auto, the idlest; cpu, cuda:1, mps; or several, each with a process of its own that works on
    its share of every batch: cuda:0,1 or, on the cores of a CPU, cpu,cpu."""
    threads: int = Field(default=0, ge=0)
    """Threads of each process on a CPU; 0 takes one for small networks and batches, which gain
    little by more, and up to one a core for large ones."""
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    """What networks compute in. tf32: coarser products on GPUs; bf16, fp16: 16 bits, but for
    weights, losses and penalties; fp16 scales the losses so that no gradient is lost."""
    check_memory: bool = True
    """Whether a dry step finds out first if the training fits into the memory that is free."""
    checkpoint_minutes: float = Field(default=2.0, gt=0.0)
    """A checkpoint is written at the end of an epoch when this many minutes have passed."""
    keep: int = Field(default=3, ge=1)
    """How many of the newest checkpoints stay; the best always does."""
    real_examples: Literal["auto", "always", "never"] = "auto"
    """Whether figures and TensorBoard may show single real sequences beside synthetic ones: auto
    shows them where the data name no subjects, so no patient appears unless asked for."""
    figures: int = Field(default=10, ge=0)
    """How many times while training samples from constant noise are drawn."""


HealthKind = Literal["nan", "explosion", "vanishing", "saturation", "collapse"]
Policy = Literal["warn", "lower", "rollback", "stop"]


@dataclass(frozen=True, config=_STRICT)
class HealthConfig:
    """Section ``[health]``: how often a training is examined, and what is done about alarms.

    warn says it; lower takes the learning rates to a half; rollback goes back to the last
    checkpoint and on with a fifth of them; stop ends the training.
    """

    every: int = Field(default=10, ge=0)
    """Updates between two examinations; 0: none but for numbers that are not finite."""
    nan: Literal["rollback", "stop"] = "rollback"
    """A loss, a gradient or a weight is not a finite number."""
    explosion: Policy = "rollback"
    """Updates as large as the weights, or gradients far above their mean."""
    vanishing: Policy = "warn"
    """Gradients far below their mean."""
    saturation: Policy = "warn"
    """A critic that is always right; lower slows the critic only."""
    collapse: Policy = "warn"
    """Samples that are nearly all alike."""
    retries: int = Field(default=3, ge=0)
    """How many times a training is rolled back before it fails."""


@dataclass(frozen=True, config=_STRICT)
class GFactorConfig:
    """Section ``[gfactor]``: the generator's learning rate over the critic's."""

    steer: Literal["fixed", "loss-ratio", "accuracy", "gap", "critic-steps"] = "fixed"
    """fixed; or steered by the losses, by the critic's accuracy on real sequences, by the gap to an
    ideal critic's loss, or, in place of the rates, by the number of critic updates."""
    value: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """The g-factor to begin with: the generator's rate becomes this many times the critic's. 0
    leaves both rates as they are set."""
    target: float = Field(default=0.8, gt=0.5, lt=1.0)
    """For accuracy and critic-steps: the share of real sequences that the critic is to take for
    real."""
    speed: float = Field(default=0.05, gt=0.0, le=1.0)
    """How far the logarithm of the g-factor moves at a look, at most."""
    limit: float = Field(default=8.0, gt=1.0)
    """How many times larger or smaller the g-factor may become."""
    most_critic_steps: int = Field(default=5, ge=1)
    """The most critic updates for each generator update that critic-steps may ask for."""
    every: int = Field(default=10, ge=1)
    """Generator updates between two looks."""
