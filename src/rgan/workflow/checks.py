"""What is refused before a training begins, of its configuration and of its data, and what data
settle of it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from rgan.config import Config
from rgan.data.split import Splits
from rgan.errors import ConfigError, DataError, nearest
from rgan.layouts import is_nominal, levels_of
from rgan.objectives.losses import OBJECTIVES
from rgan.sequences import Sequences
from rgan.train.gfactor import make_controller
from rgan.transforms.config import AUTO
from rgan.transforms.lattice import MOST_NAMED
from rgan.transforms.packing import Packer

BATCH_VALUES, LEAST_BATCH, MOST_BATCH = 100_000, 16, 128
"""Values of a batch whose size data settle; and the least and most sequences that it has."""


def check_objective(config: Config) -> None:
    """Refuse a steering or a generator that the objective has no use for."""
    name = config.objective.name
    if config.generator.feedback and config.generator.whiten:
        raise ConfigError(
            "generator.feedback and generator.whiten are both true",
            rule="at most one of them: each says how values are made of noise",
            repair="--set generator.whiten=false",
        )
    if name != "likelihood":
        make_controller(config.gfactor, OBJECTIVES[name].ideal, 1)
        return
    if not config.generator.feedback:
        raise ConfigError(
            "objective.name is likelihood, and this generator's likelihood is not known",
            rule="only a generator that reads back what it has made has one",
            repair="--set generator.feedback=true",
        )
    if config.gfactor.steer != "fixed":
        raise ConfigError(
            f"gfactor.steer is {config.gfactor.steer}, and objective.name is likelihood",
            rule="a critic that rests has no balance with the generator",
            repair="--set gfactor.steer=fixed",
        )
    if config.train.augment:
        raise ConfigError(
            f"train.augment is {config.train.augment:g}, and objective.name is likelihood",
            rule="augmentation is of what a critic sees, and the critic rests",
            repair="--set train.augment=0",
        )


def level_note(config: Config, packer: Packer) -> str:
    """What there is to say of categories without an order that are not drawn as levels; "" where
    all are."""
    drawn = [f for f, _ in packer.spec.levels] if config.generator.feedback else []
    names = [
        f'"{name}"'
        for f, name in enumerate(packer.feature_names)
        if is_nominal(packer.layout, name) and f not in drawn
        if len(levels_of(packer.layout, name)) > 2  # else nothing lies between
    ]
    if not names:
        return ""
    repair = "--preset feedback draws levels as such"
    if config.generator.feedback:
        repair = f"levels are drawn as such in new runs, with up to {MOST_NAMED} levels and a "
        repair += f"scaling of each value on its own (transform.scale={AUTO})"
    return (
        f"{', '.join(names)}: levels have no order, and here they are drawn as numbers rounded to "
        f"levels, so those between two others come too often; {repair}"
    )


def check_conditions(names: tuple[str, ...], sequences: Sequences) -> None:
    """Refuse conditions that are no static attributes."""
    known = [static.name for static in sequences.static_info]
    for name in names:
        if name in known:
            continue
        found = f'the condition "{name}" is not a static attribute of "{sequences.name}"'
        if sequences.labels is not None and name == sequences.label_name:
            raise ConfigError(
                f'the condition "{name}" is the label',
                rule="conditions beside the label are static attributes",
                reason="an RCGAN is conditioned on its label anyway",
                repair="leave it out of --condition",
            )
        raise ConfigError(
            found,
            rule="a condition has one value a sequence"
            + (f": {', '.join(known)}" if known else ", and these data have no static attributes"),
            repair=nearest(name, known) if known else "name a table's columns: --static age",
        )


def check_classes(splits: Splits) -> None:
    """Refuse a split whose held-out sets have a class that training never sees."""
    for name, part in (("validation", splits.validation), ("test", splits.test)):
        unseen = np.setdiff1d(part.classes, splits.train.classes)
        if len(unseen):
            raise DataError(
                f'the class "{unseen[0]}" is in the {name} set only ({len(unseen)} such classes)',
                rule="each class is seen in training",
                reason=f"the split is by {splits.kind}, and keeps together what belongs together",
                repair="another --seed, smaller shares (--set data.test=0.1), or merge the class",
            )


def resolve_kind(config: Config, sequences: Sequences) -> tuple[Config, Sequences]:
    """The configuration with rgan or rcgan in place of auto, and sequences that fit it.

    Raises:
        ConfigError: rcgan, and there are neither labels nor conditions.
    """
    kind = config.model.kind
    if kind == "auto":
        none = sequences.labels is None and not config.model.condition
        kind = "rgan" if none else "rcgan"
    if kind == "rcgan" and sequences.labels is None and not config.model.condition:
        raise ConfigError(
            f'an RCGAN is asked for, and "{sequences.name}" has no labels',
            rule="an RCGAN is conditioned on labels, or on static attributes (--condition)",
            repair="--model rgan, or name the label column: --label COLUMN",
        )
    if kind == "rgan":
        sequences = dataclasses.replace(sequences, labels=None)
    model = dataclasses.replace(config.model, kind=kind)
    return dataclasses.replace(config, model=model), sequences


def resolve_batch(config: Config, sequences: Sequences) -> Config:
    """The configuration with a number in place of a ``train.batch_size`` of 0.

    Batches of about ``BATCH_VALUES`` values: for the same seconds, small pictures gain by more of
    them at a step, and large ones by more steps (benchmarks/LOG.md).
    """
    if config.train.batch_size:
        return config
    values = sequences.n_steps * sequences.n_features
    values = min(BATCH_VALUES, values)
    size = min(MOST_BATCH, max(LEAST_BATCH, 2 ** round(math.log2(BATCH_VALUES / values))))
    return dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=size))
