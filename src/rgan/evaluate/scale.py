"""Standardised views of sequences, by the statistics of the real training set alone.

Shape letters: N sequences, T steps, F features, D numbers that stand for one sequence.

Statistics of the synthetic set are never used: a metric whose scale moves with what it judges can
be pleased by moving the scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rgan.layouts import ImageLayout
from rgan.sequences import Sequences


@dataclass(frozen=True)
class Scale:
    """Mean, deviation, least and greatest observed value of each feature of a real set.

    Images share one scale over all features, since all pixels have one unit. A feature that is
    constant or never observed has the deviation 1.

    Args:
        mean_F, std_F, low_F, high_F: (F,) in the features' units.
    """

    mean_F: NDArray[np.float64]
    std_F: NDArray[np.float64]
    low_F: NDArray[np.float64]
    high_F: NDArray[np.float64]

    @classmethod
    def of(cls, real: Sequences) -> Scale:
        """The scale of a real set."""
        f = real.n_features
        mean, std, low, high = np.zeros(f), np.ones(f), np.zeros(f), np.ones(f)
        shared = isinstance(real.layout, ImageLayout)
        for i in range(1 if shared else f):
            part = slice(None) if shared else slice(i, i + 1)
            x = real.values[:, :, part][real.observed[:, :, part]].astype(np.float64)
            if not len(x):
                continue
            deviation = x.std()
            real_spread = deviation > 1e-6 * max(abs(x.mean()), 1e-12)
            mean[part], std[part] = x.mean(), deviation if real_spread else 1.0
            low[part], high[part] = x.min(), x.max() if x.max() > x.min() else x.min() + 1.0
        return cls(mean, std, low, high)

    def standardise(self, data: Sequences) -> NDArray[np.float32]:
        """(N, T, F): (x - mean) / std, and 0, the mean, where not observed."""
        z = (data.values - self.mean_F.astype(np.float32)) / self.std_F.astype(np.float32)
        return np.where(data.observed, z, np.float32(0))

    def minmax(self, data: Sequences) -> NDArray[np.float32]:
        """(N, T, F): (x - low) / (high - low), and the feature's mean where not observed."""
        width_F = (self.high_F - self.low_F).astype(np.float32)
        u = (data.values - self.low_F.astype(np.float32)) / width_F
        fill_F = ((self.mean_F - self.low_F) / (self.high_F - self.low_F)).astype(np.float32)
        return np.where(data.observed, u, fill_F)


def vectors(scale: Scale, *sets: Sequences) -> list[NDArray[np.float32]]:
    """Each set as (N, D) rows: standardised values, and the mask beside them where it says a thing.

    Unobserved values are 0, the feature's mean. The mask is appended for every set or for none: it
    is left out where everything is observed in all of them, since it would add 0 to each distance.

    Args:
        scale: of the real training set.
        sets: (N, T, F) sequences of one description.
    """
    masks = not all(bool(s.observed.all()) for s in sets)
    out = []
    for s in sets:
        z_NTF = scale.standardise(s)
        parts = [z_NTF, s.observed.astype(np.float32)] if masks else [z_NTF]
        out.append(np.concatenate([p.reshape(len(s), -1) for p in parts], axis=1))
    return out


def held(scale: Scale, data: Sequences) -> NDArray[np.float32]:
    """(N, T, F) standardised values, each gap holding the last value observed before it.

    0, the mean, where there is none yet.
    """
    step = np.arange(data.n_steps)[None, :, None]
    latest = np.maximum.accumulate(np.where(data.observed, step, -1), axis=1)
    z = np.take_along_axis(scale.standardise(data), np.maximum(latest, 0), 1)
    return np.where(latest >= 0, z, np.float32(0))


def channels(scale: Scale, data: Sequences) -> NDArray[np.float32]:
    """(N, T, 2F + 1): values held over gaps, masks, and whether the step is within the length."""
    valid_NT1 = data.valid[:, :, None].astype(np.float32)
    mask_NTF = data.observed.astype(np.float32)
    return np.concatenate([held(scale, data) * valid_NT1, mask_NTF, valid_NT1], axis=2)
