"""What Context-FID and the correlational score must see, and when they say why they cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluate_toys import toy
from rgan.errors import DataError
from rgan.evaluate.config import EvaluateConfig
from rgan.evaluate.context_fid import context_fid, frechet, inputs
from rgan.evaluate.core import evaluate
from rgan.evaluate.correlational import correlational
from rgan.evaluate.scale import Scale
from rgan.evaluate.ts2vec import TS2VecSettings, encode, fit_encoder, hierarchical_loss
from rgan.sequences import Sequences

SHORT = TS2VecSettings(outputs=32, hidden=16, depth=4, steps=40)


def waves(n: int, seed: int, steps: int = 16) -> Sequences:
    """Three smooth waves of random phase; the second follows the first."""
    rng = np.random.default_rng(seed)
    phase_N11 = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    t_T1 = np.arange(steps)[:, None] / steps
    shape_F = np.array([0.0, 0.5, 2.0])
    values = np.sin(2 * np.pi * 1.5 * t_T1 + phase_N11 + shape_F)
    return Sequences(50 + 10 * values + rng.normal(0, 0.5, values.shape))


def shuffled(data: Sequences) -> Sequences:
    """Each sequence's steps in an order of its own: marginals and correlations stay."""
    rng = np.random.default_rng(0)
    return replace(data, values=np.stack([x[rng.permutation(len(x))] for x in data.values]))


# -- Fréchet -------------------------------------------------------------------------------------


def test_frechet_of_normal_laws_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (200_000, 2)), rng.normal(0, [3.0, 0.5], (200_000, 2))
    b[:, 0] += 1
    # diagonal covariances: |m|² + Σ (σ_a - σ_b)²
    assert frechet(a, b) == pytest.approx(1 + (3 - 1) ** 2 + (1 - 0.5) ** 2, rel=0.02)


def test_frechet_takes_fewer_rows_than_numbers() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 64))
    assert frechet(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet(x, x + 1) == pytest.approx(64, rel=1e-6)


# -- Context-FID ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Sequences:
    return waves(300, 1)


@pytest.fixture(scope="module")
def floor(real: Sequences) -> float:
    """What other waves of the same kind score."""
    return context_fid(real, waves(300, 2), settings=SHORT)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: replace(x, values=x.values + 3),
        lambda x: replace(x, values=np.repeat(x.values[:10], 30, axis=0)),
        shuffled,
        lambda x: replace(
            x, values=x.values + np.random.default_rng(0).normal(0, 2, x.values.shape)
        ),
    ],
    ids=["shift", "ten modes", "shuffled in time", "noise"],
)
def test_context_fid_grows_with_what_is_wrong(real: Sequences, floor: float, spoil) -> None:
    assert context_fid(real, spoil(waves(300, 2)), settings=SHORT) > 3 * floor


def test_context_fid_grows_with_the_shift(real: Sequences) -> None:
    other = waves(300, 2)
    by_shift = [
        context_fid(real, replace(other, values=other.values + shift), settings=SHORT)
        for shift in (0.0, 1.0, 2.0, 4.0)
    ]
    assert by_shift == sorted(by_shift)


def test_context_fid_does_not_depend_on_units(real: Sequences, floor: float) -> None:
    other = waves(300, 2)
    far = [replace(x, values=x.values * 1000 - 7) for x in (real, other)]
    assert context_fid(*far, settings=SHORT) == pytest.approx(floor, rel=1e-2)


def test_the_seed_decides_and_the_global_generator_stays(real: Sequences, floor: float) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert context_fid(real, waves(300, 2), settings=SHORT) == floor
    assert torch.equal(before, torch.random.get_rng_state())
    assert context_fid(real, waves(300, 2), seed=1, settings=SHORT) != floor


def test_a_wrong_pattern_of_gaps_counts() -> None:
    real, same = (toy(200, seed, observed=0.6) for seed in (1, 2))
    wrong = toy(200, 2, observed=0.2)
    near, far = (context_fid(real, x, settings=SHORT) for x in (same, wrong))
    assert np.isfinite(near) and far > 3 * near
    assert inputs(Scale.of(real), real)[0].shape == (200, 12, 6)  # values and masks


@pytest.mark.parametrize(
    ("n", "steps", "says"),
    [(12, 16, "12 sequences"), (40, 1, "one step"), (40, 1100, "1100 steps")],
)
def test_what_cannot_be_encoded_is_refused(n: int, steps: int, says: str) -> None:
    with pytest.raises(DataError, match=says):
        context_fid(waves(n, 1, steps), waves(n, 2, steps))


def test_encodings_have_the_published_size_and_keep_the_order_of_rows() -> None:
    x = inputs(Scale.of(waves(30, 1)), waves(30, 1))[0]
    encoder = fit_encoder(x, seed=0, settings=TS2VecSettings(steps=1))
    z = encode(encoder, x)
    assert z.shape == (30, 320)
    np.testing.assert_allclose(encode(encoder, x[::-1], numbers=200), z[::-1], atol=1e-5)


def test_partners_that_agree_lose_less_than_partners_mixed_up() -> None:
    z_BTK = 5 * torch.eye(32).reshape(4, 8, 32)
    right = hierarchical_loss(z_BTK, z_BTK)
    for wrong in (z_BTK.roll(1, 0), z_BTK.roll(1, 1)):  # another sequence, another step
        assert right < 0.01 and hierarchical_loss(z_BTK, wrong) > 1


# -- the correlational score ---------------------------------------------------------------------


def test_correlational_is_the_published_sum() -> None:
    a, b = waves(80, 1), shuffled(waves(90, 2))
    b = replace(b, values=b.values[:, :, [0, 2, 1]])
    r, s = (np.corrcoef(x.values.reshape(-1, 3).T.astype(np.float64)) for x in (a, b))
    direct = (abs(r - s)[1, 0] + abs(r - s)[2, 0] + abs(r - s)[2, 1]) / 10
    assert direct > 0.1
    assert correlational(a, b) == pytest.approx(direct, abs=1e-6)
    assert correlational(a, a) == 0


def test_correlational_with_gaps_is_near_the_one_without() -> None:
    real, other = waves(400, 1), shuffled(waves(400, 2))
    other = replace(other, values=other.values[:, :, [0, 2, 1]])
    gaps = replace(other, observed=np.random.default_rng(0).random(other.values.shape) < 0.5)
    assert correlational(real, other) > 0.1
    assert correlational(real, gaps) == pytest.approx(correlational(real, other), abs=0.01)


def test_features_never_seen_together_cannot_be_correlated() -> None:
    real = waves(20, 1)
    turns = np.arange(16)[:, None] % 3 == np.arange(3)
    apart = replace(real, observed=np.broadcast_to(turns, real.values.shape))
    with pytest.raises(DataError, match="observed together"):
        correlational(real, apart)
    with pytest.raises(DataError, match="one feature"):
        correlational(*(Sequences(np.arange(45.0).reshape(9, 5, 1)) for _ in "ab"))


# -- in an evaluation ----------------------------------------------------------------------------


def test_an_evaluation_has_both_with_floor_and_copy_and_quick_ones_say_why_not() -> None:
    config = EvaluateConfig(metrics=("context_fid", "correlational"), repeats=1, size=60)
    sets = waves(120, 1), waves(60, 2), shuffled(waves(120, 3))
    found = evaluate(*sets, config)
    fid = found["context_fid"]
    assert fid.floor is not None and fid.copy is not None
    assert fid.value > 2 * max(fid.floor, fid.copy)
    assert "correlational" in found
    quick = evaluate(*sets, replace(config, quick=True))
    assert "correlational" in quick and "quick" in quick.skipped["context_fid"]


def test_one_feature_and_few_sequences_are_left_out_with_the_reason() -> None:
    config = EvaluateConfig(metrics=("context_fid", "correlational", "mmd"), repeats=1)
    sets = [Sequences(np.random.default_rng(i).random((15, 6, 1))) for i in range(3)]
    found = evaluate(*sets, config)
    assert "one feature" in found.skipped["correlational"]
    assert "20" in found.skipped["context_fid"]
