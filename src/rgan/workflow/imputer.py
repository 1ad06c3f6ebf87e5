"""``FittedImputer``: an imputer with its scaling, from and to original units.

Shape letters: N sequences, T steps, F features, K draws, P pieces of sequences.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rgan.data.split import Splits
from rgan.errors import TrainingError
from rgan.evaluate.scale import Scale
from rgan.layouts import is_nominal
from rgan.nets.imputer import Imputer
from rgan.sequences import Sequences
from rgan.train.imputing import Fitting, Known, fit_imputer
from rgan.train.randomness import Stream, torch_random
from rgan.transforms.config import TransformConfig
from rgan.transforms.sequence import Differences, LocalMax
from rgan.workflow.encoder import Encoder
from rgan.workflow.imputer_levels import Columns, most_frequent
from rgan.workflow.stop import StopSignals
from rgan.workflow.threads import threads

BLOCK = 256
"""Sequences filled in at once. Each block and draw has random numbers of its own, so the first
draws of twenty are the same as those of five."""
STEPS = 1500
"""Updates of a fit, unless others are asked for."""


@dataclass(frozen=True)
class Usual:
    """Mean and deviation of each feature in training, by which odd units are found and errors
    are measured; no single patient's value is kept.

    Args:
        mean_F, std_F: in the features' units; images share one of each over all pixels. Instead of
            a mean, categories without an order have their most frequent level.
    """

    mean_F: NDArray[np.float64]
    std_F: NDArray[np.float64]

    @classmethod
    def of(cls, train: Sequences) -> Usual:
        """Those of the training split."""
        scale = Scale.of(train)
        mean_F = scale.mean_F.copy()
        for f, name in enumerate(train.feature_names):
            if is_nominal(train.layout, name):
                mean_F[f] = most_frequent(train.values[:, :, f][train.observed[:, :, f]])
        return cls(mean_F, scale.std_F)


@dataclass(frozen=True)
class FittedImputer:
    """An imputer that completes sequences in original units.

    Args:
        imputer: on the device that it draws on.
        encoder: of the run, or of the imputer's own where the run's scaling mixes steps.
        usual: what is usual in the training split.
        about: how it was fitted, as JSON data.
    """

    imputer: Imputer
    encoder: Encoder
    usual: Usual
    about: dict[str, Any]

    @property
    def columns(self) -> Columns:
        """What the imputer's columns stand for."""
        return Columns.of(self.encoder.packer)

    def blocks(
        self, sequences: Sequences, count: int, seed: int
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """(rows, (K, n, T, F) completed values) of block after block; what is observed stands there
        untouched, and past a length is NaN.

        Sequences longer than those trained on are filled in piece by piece.

        Args:
            sequences: partly observed, as ``imputer_input.matched`` gives them.
            count: K.
            seed: the same seed gives the same draws.
        """
        most = self.encoder.packer.spec.steps
        for block, start in enumerate(range(0, len(sequences), BLOCK)):
            rows = slice(start, min(start + BLOCK, len(sequences)))
            part = sequences[rows]
            if part.n_steps <= most:
                yield rows, self._draws(part, count, seed, block)
                continue
            whole_KNTF = np.repeat(part.values[None], count, axis=0)
            row_P, start_P = pieces(part.lengths, most)
            steps_PT = start_P[:, None] + np.arange(most)
            cut = _cut(part, row_P, np.minimum(steps_PT, part.n_steps - 1), most)
            drawn_KPTF = self._draws(cut, count, seed, block)
            for piece, (row, first) in enumerate(zip(row_P, start_P, strict=True)):
                length = int(cut.lengths[piece])
                whole_KNTF[:, row, first : first + length] = drawn_KPTF[:, piece, :length]
            yield rows, whole_KNTF

    def _draws(
        self, sequences: Sequences, count: int, seed: int, block: int
    ) -> NDArray[np.float32]:
        known = known_of(self.encoder, sequences)
        device = next(self.imputer.parameters()).device
        n = max(BLOCK, len(sequences))
        drawn = []
        with threads(1), torch.no_grad():
            reading = self.imputer.read(known.partial(np.arange(len(sequences))).to(device))
            for number in range(count):
                random = torch_random(seed, Stream.SAMPLE, (block << 20) + number)
                noise = self.imputer.draw_noise(n, sequences.n_steps, random)
                noise = noise.take(len(sequences)).to(device)
                values_NTC = self.imputer.draw(reading, noise).cpu().numpy()
                drawn.append(self._original(sequences, self.columns.gathered(values_NTC)))
        return np.stack(drawn)

    def _original(self, sequences: Sequences, scaled_NTF: NDArray[Any]) -> NDArray[np.float32]:
        """Scaled values in original units, limited and rounded as the data is."""
        whole = dataclasses.replace(
            sequences, values=scaled_NTF, observed=np.ones(scaled_NTF.shape, np.bool_)
        )
        return self.like_data(sequences, self.encoder.pipeline.invert(whole).values)

    def like_data(self, sequences: Sequences, values_NTF: NDArray[Any]) -> NDArray[np.float32]:
        """Values in original units, limited and rounded as the data is; the observed ones of
        ``sequences`` in their places, and NaN past the lengths."""
        config = self.encoder.config
        whole = dataclasses.replace(
            sequences, values=values_NTF, observed=np.ones(values_NTF.shape, np.bool_)
        )
        like = self.encoder.pipeline.like_data(whole, clip=config.clip, rounding=config.round)
        return np.where(sequences.observed, sequences.values, like.values)


def pieces(lengths_N: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(P,) the sequence of each piece and (P,) the step at which it starts, of at most ``most``
    steps; the last piece of a long sequence ends where the sequence ends.

    >>> [part.tolist() for part in pieces(np.array([3, 10]), 4)]
    [[0, 1, 1, 1], [0, 0, 4, 6]]
    """
    count_N = np.maximum(1, -(-lengths_N // most))
    row_P = np.repeat(np.arange(len(lengths_N)), count_N)
    first_P = np.repeat(np.cumsum(count_N) - count_N, count_N)
    start_P = (np.arange(len(row_P)) - first_P) * most
    return row_P, np.minimum(start_P, np.maximum(lengths_N[row_P] - most, 0))


def _cut(
    sequences: Sequences, row_P: NDArray[np.int64], steps_PT: NDArray[np.int64], most: int
) -> Sequences:
    whole = sequences[row_P]
    lengths_P = np.minimum(whole.lengths - steps_PT[:, 0], most)
    place = (np.arange(len(row_P))[:, None], steps_PT)
    return dataclasses.replace(
        whole, values=whole.values[place], observed=whole.observed[place], lengths=lengths_P
    )


def known_of(encoder: Encoder, sequences: Sequences) -> Known:
    """Sequences scaled for an imputer.

    Labels are not read: an outcome must not shape what is filled in, or a model that is to predict
    it from completed data has seen it.

    Raises:
        DataError: features or static attributes are not those that the run was trained with.
    """
    scaled = encoder.pipeline.apply(sequences)
    columns = Columns.of(encoder.packer)
    values_NTF, observed_NTF = np.nan_to_num(scaled.values, nan=0.0), scaled.observed
    if columns.nominal:
        observed_NTF = observed_NTF[:, :, list(columns.owner)]
        values_NTF = columns.spread(values_NTF) * observed_NTF
    return Known(
        values_NTF,
        observed_NTF,
        encoder.packer.statics.pack(scaled.static, len(scaled)),
        scaled.lengths,
        columns.owner,
    )


def entrywise(encoder: Encoder) -> bool:
    """Whether each value is scaled on its own, so that a hidden one leaves no trace in others."""
    return not any(isinstance(step, Differences | LocalMax) for step in encoder.pipeline.steps)


def fit_to(
    encoder: Encoder,
    splits: Splits,
    *,
    steps: int = STEPS,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[int, float], None] = lambda step, score: None,
) -> FittedImputer:
    """An imputer fitted to a run's training split; its validation split chooses the weights.

    Args:
        encoder: of the run.
        splits: real sequences.
        steps: updates.
        seed: two fits with one seed on one CPU are equal.
        device: to fit on.
        progress: is told (updates made, score).

    Raises:
        TrainingError: it was stopped, or the score is not finite; nothing is kept.
    """
    if not entrywise(encoder):
        plain = dataclasses.replace(encoder.config, scale=TransformConfig().scale)
        encoder = Encoder.fit(splits.train, plain)
    train, validation = (known_of(encoder, part) for part in (splits.train, splits.validation))
    with threads(1), StopSignals() as stop:
        fitting = fit_imputer(
            train,
            validation,
            steps=steps,
            seed=seed,
            device=device,
            progress=progress,
            should_stop=stop,
        )
    _check(fitting)
    about = {"seed": seed, "steps": steps, "kept_step": fitting.steps, "score": fitting.score}
    fitting.imputer.requires_grad_(False)
    return FittedImputer(fitting.imputer, encoder, Usual.of(splits.train), about)


def _check(fitting: Fitting) -> None:
    if fitting.stopped:
        raise TrainingError(
            f"fitting the imputer was stopped by {fitting.stopped}",
            rule="an imputer is kept when it is whole",
            repair="the same line again; it begins anew",
        )
    if not np.isfinite(fitting.score):
        raise TrainingError(
            "the imputer's score is not finite",
            rule="a fit ends with finite weights",
            reason="values far outside their usual range may be in the training data",
            repair="rgan data show SOURCE, and look at the ranges",
        )
