"""Small labelled sequences with gaps, for the tests of evaluation."""

from __future__ import annotations

import numpy as np

from rgan.sequences import Sequences, Static


def toy(
    n: int, seed: int, *, steps: int = 12, features: int = 3, observed: float = 0.6, shift=0.0
) -> Sequences:
    """Autoregressive series around a level of their own; the class raises the level.

    Units differ widely between features. ``shift`` is in deviations. A fresh seed gives fresh
    subjects of the same population.
    """
    rng = np.random.default_rng(seed)
    labels_N = (rng.random(n) < 0.4).astype(int)
    level = 0.5 * rng.normal(size=(n, 1, features)) + 1.2 * labels_N[:, None, None]
    noise = rng.normal(size=(n, steps, features))
    z = noise.copy()
    for t in range(1, steps):
        z[:, t] = 0.9 * z[:, t - 1] + 0.43 * noise[:, t]
    unit = np.geomspace(2, 30, features)
    values = (z + level + shift) * unit + 10 * unit
    return Sequences(
        values,
        rng.random(values.shape) < observed,
        labels=labels_N,
        subjects=np.arange(n) + 100_000 * seed,
        static=np.stack([50 + 10 * rng.normal(size=n), rng.integers(0, 2, n)], axis=1),
        static_info=(Static("age"), Static("sex", "binary", ("f", "m"))),
        feature_names=tuple(f"v{i}" for i in range(features)),
    )
