"""Which values a feature can take at all, in the space that networks see.

Shape letters: N sequences, T steps, F features.

Sampling limits and rounds values as the data is (``ranges``). If a critic saw generated values
before that, it would judge something else than what is sampled, and whole numbers, or pixels that
are exactly black, would give the generator away for nothing. So the generator rounds for itself,
on the same lattice, while it is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rgan.layouts import levels_of
from rgan.nets.spec import Levels
from rgan.sequences import Sequences
from rgan.transforms.pipeline import Pipeline
from rgan.transforms.sequence import Differences, LocalMax

MOST_LEVELS = 8
"""Different values up to which a feature's are taken as levels. Scores of more, such as those of
the coma scale with its 13, come near enough to numbers, and their neighbours are alike."""
MOST_NAMED = 64
"""The same of a category, whose levels are named."""
EACH = 10
"""Observed values for each level, or a lab that is hardly ever measured would have levels too."""
_LOOK = 1000
"""Values that are looked at first: most features have more levels among these already."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """The values that may be, per feature, in transformed units.

    Args:
        step_F: distance between neighbouring values; 0 where any value may be.
        origin_F: one of the values.
        low_F, high_F: the smallest and the largest; infinite where there is none.
    """

    step_F: NDArray[np.float32]
    origin_F: NDArray[np.float32]
    low_F: NDArray[np.float32]
    high_F: NDArray[np.float32]

    @property
    def parts(self) -> tuple[NDArray[np.float32], ...]:
        """Step, origin, low and high."""
        return self.step_F, self.origin_F, self.low_F, self.high_F


def value_lattice(
    pipeline: Pipeline, sequences: Sequences, *, clip: bool, rounding: bool
) -> Lattice | None:
    """The lattice of a fitted pipeline, or None where its transforms mix values of a sequence, so
    that one value's rounding depends on others.

    Args:
        pipeline: fitted to ``sequences``.
        sequences: any of the training sequences.
        clip, rounding: whether samples are limited and rounded.
    """
    if any(isinstance(step, Differences | LocalMax) for step in pipeline.steps):
        return None
    # Probed at the data's own ends: at 0 and 1 a feature around 1e8 would lose all digits.
    seen_NTF, values_NTF = sequences.observed, sequences.values
    first_F = np.where(seen_NTF, values_NTF, np.inf).min(axis=(0, 1)).astype(np.float64)
    last_F = np.where(seen_NTF, values_NTF, -np.inf).max(axis=(0, 1)).astype(np.float64)
    last_F = np.where(last_F > first_F, last_F, first_F + 1.0)  # a constant pixel
    origin_F = _transformed(pipeline, sequences, first_F)
    slope_F = (_transformed(pipeline, sequences, last_F) - origin_F) / (last_F - first_F)
    spans = pipeline.ranges.values
    decimals = [span[2] if rounding else None for span in spans]
    unit_F = np.array([0.0 if d is None else 10.0**-d for d in decimals])
    low_F = np.array([span[0] if clip and span[0] is not None else -np.inf for span in spans])
    high_F = np.array([span[1] if clip and span[1] is not None else np.inf for span in spans])
    return Lattice(
        step_F=(unit_F * slope_F).astype(np.float32),
        origin_F=origin_F.astype(np.float32),
        low_F=(origin_F + slope_F * (low_F - first_F)).astype(np.float32),
        high_F=(origin_F + slope_F * (high_F - first_F)).astype(np.float32),
    )


def value_levels(pipeline: Pipeline, sequences: Sequences, scaled: Sequences) -> Levels:
    """The features that have few levels, with these in transformed units. None of images, and none
    where transforms mix values of a sequence.

    Args:
        pipeline: fitted to ``sequences``.
        sequences: all training sequences, whose layout says which features are categories.
        scaled: the same, transformed.
    """
    mixing = any(isinstance(step, Differences | LocalMax) for step in pipeline.steps)
    if sequences.is_image or mixing:
        return ()
    found = []
    for f, name in enumerate(sequences.feature_names):
        named = bool(levels_of(sequences.layout, name))
        most = MOST_NAMED if named else MOST_LEVELS
        known = scaled.values[:, :, f][scaled.observed[:, :, f]]
        if len(np.unique(known[:_LOOK])) > most:
            continue
        levels = np.unique(known)
        if 2 <= len(levels) <= most and (named or len(known) >= EACH * len(levels)):
            found.append((f, tuple(map(float, levels))))
    return tuple(found)


def _transformed(
    pipeline: Pipeline, sequences: Sequences, value_F: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(F,) what the pipeline makes of one original value of each feature."""
    first = sequences[:1]
    filled = np.broadcast_to(value_F, first.values.shape).astype(np.float32)
    whole = np.array([first.n_steps])
    probe = replace(first, values=filled, observed=np.ones(filled.shape, np.bool_), lengths=whole)
    return np.asarray(pipeline.apply(probe).values[0, 0], dtype=np.float64)
