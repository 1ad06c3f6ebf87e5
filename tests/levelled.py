"""Toy stays with levels, whose every rate is known: for tests of what is drawn as levels."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from rgan.layouts import TableLayout
from rgan.nets.config import CriticConfig, GeneratorConfig
from rgan.sequences import Sequences
from rgan.train.build import build_networks
from rgan.transforms.config import TransformConfig
from rgan.workflow.encoder import Encoder, to_batch
from rgan.workflow.trained import Trained
from teaching import teach

STEPS = 20
GO_ON = 0.9
"""How often the phase goes on to the next one of its cycle, step by step; else to any of all."""
SWITCH = 0.01
"""How often the valve is turned in a step, in both directions."""


def cycle(k: int) -> list[int]:
    """An order of the phases 0 to k - 1 in which no two neighbours have neighbouring codes, as far
    as that can be: 0, 2, 1 of three."""
    return [*range(0, k, 2), *range(1, k, 2)]


def levelled(n: int, seed: int = 0, k: int = 4) -> Sequences:
    """A phase that cycles through k levels, a valve of 0 and 1 that is hardly ever turned, a walk
    around a level that the phase sets, and gaps in the phase (.3 of all steps)."""
    rng = np.random.default_rng(seed)
    after = dict(zip(cycle(k), np.roll(cycle(k), -1), strict=True))
    phase_NT = np.zeros((n, STEPS), int)
    phase_NT[:, 0] = rng.integers(0, k, n)
    valve_NT = np.zeros((n, STEPS), int)
    valve_NT[:, 0] = rng.random(n) < 0.05
    rate_NT = rng.normal(size=(n, STEPS))
    for t in range(1, STEPS):
        goes_on = rng.random(n) < GO_ON
        onward = np.array([after[p] for p in phase_NT[:, t - 1]])
        phase_NT[:, t] = np.where(goes_on, onward, rng.integers(0, k, n))
        valve_NT[:, t] = valve_NT[:, t - 1] ^ (rng.random(n) < SWITCH)
        rate_NT[:, t] = 0.8 * rate_NT[:, t - 1] + 0.6 * rng.normal(size=n)
    rate_NT = np.round(80 + 5 * rate_NT + 8 * (phase_NT == after[0]), 1)
    values_NTF = np.stack([phase_NT, valve_NT, rate_NT], 2)
    observed = np.ones(values_NTF.shape, bool)
    observed[..., 0] = rng.random((n, STEPS)) >= 0.3
    names = "abcdefgh"[:k]
    levels = {"phase": {str(code): name for code, name in enumerate(names)}}
    layout = TableLayout(levels=levels, nominal=("phase",))
    return Sequences(
        values_NTF, observed=observed, feature_names=("phase", "valve", "rate"), layout=layout
    )


def trained_on(data: Sequences, seed: int, steps: int, *, mixture: bool = False) -> Trained:
    """A small generator after so many steps of 64 sequences.

    Args:
        mixture: whether levels are drawn as numbers on a lattice, as other features are.
    """
    encoder = Encoder.fit(data, TransformConfig())
    if mixture:
        spec = dataclasses.replace(encoder.packer.spec, levels=())
        packer = dataclasses.replace(encoder.packer, spec=spec)
        encoder = dataclasses.replace(encoder, packer=packer)
    config = GeneratorConfig(hidden=64, feedback=True)
    generator, _ = build_networks(encoder.packer.spec, config, CriticConfig(hidden=4), seed)
    lattice = encoder.lattice(data)
    assert lattice is not None
    generator.set_lattice(*map(torch.from_numpy, lattice.parts))
    batch = to_batch(encoder.encode(data))
    generator.start(batch)
    teach(generator, batch, steps, 3e-3, 10_000 * seed, falls=True)
    return Trained(generator.requires_grad_(False), encoder)


def transitions(data: Sequences, feature: int, k: int) -> np.ndarray:
    """(k, k) how often each level follows each, where two neighbouring steps are observed."""
    codes_NT, seen_NT = data.values[..., feature], data.observed[..., feature]
    both = seen_NT[:, 1:] & seen_NT[:, :-1]
    pairs = codes_NT[:, :-1][both] * k + codes_NT[:, 1:][both]
    count = np.bincount(np.rint(pairs).astype(int), minlength=k * k).reshape(k, k)
    return count / count.sum(1, keepdims=True)
