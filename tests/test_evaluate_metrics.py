"""What each metric must see, and what it must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evaluate_toys import toy
from rgan.errors import DataError
from rgan.evaluate.comparable import check_comparable
from rgan.evaluate.discriminative import discriminate, legacy_scores
from rgan.evaluate.marginals import (
    distances_1d,
    marginal_distances,
    missingness_differences,
    static_distances,
)
from rgan.evaluate.memorisation import Memorisation, memorisation
from rgan.evaluate.mmd import Kernel, mmd2, mmd2_rows, mmd_p_value
from rgan.evaluate.predictive import legacy_errors, one_step_errors
from rgan.evaluate.scale import Scale, vectors
from rgan.evaluate.split import split_rows
from rgan.evaluate.temporal import (
    autocorrelation,
    autocorrelation_distances,
    cross_correlation,
    cross_correlation_distances,
)
from rgan.evaluate.trial import Trial
from rgan.evaluate.utility import usefulness
from rgan.layouts import ImageLayout
from rgan.sequences import Sequences


def shuffled_in_time(data: Sequences, seed: int = 0) -> Sequences:
    order = np.random.default_rng(seed).permuted(
        np.tile(np.arange(data.n_steps), (len(data), 1)), axis=1
    )[:, :, None]
    values = np.take_along_axis(data.values, order, 1)
    return replace(data, values=values, observed=np.take_along_axis(data.observed, order, 1))


def trial_of(candidate: Sequences, *, n: int = 300, quick: bool = True, seed: int = 0) -> Trial:
    train, test = toy(n, 1), toy(150, 2)
    return Trial("synthetic", train, test, candidate, Scale.of(train), seed, quick)


# -- what may be compared ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"feature_names": ("a", "b", "c")}, "feature names differ"),
        ({"step": 2.0}, "times between steps differ"),
        ({"units": ("mmol/l", "", "")}, 'units of "v0" differ'),
    ],
)
def test_sets_of_another_description_are_refused(change, says):
    real = replace(toy(20, 0), units=("mg/dl", "", ""))
    with pytest.raises(DataError, match=says):
        check_comparable(real, replace(real, **change))


def test_another_length_or_image_layout_is_refused():
    with pytest.raises(DataError, match="numbers of steps differ"):
        mmd2(toy(20, 0), toy(20, 0, steps=11))
    pixels = np.random.default_rng(0).uniform(0, 255, (5, 4, 4))
    rows = Sequences(pixels, layout=ImageLayout(4, 4))
    with pytest.raises(DataError, match="layouts differ"):
        check_comparable(rows, replace(rows, layout=ImageLayout(4, 4, order="columns")))


@pytest.mark.parametrize("form", ["standardised", "minmax"])
@pytest.mark.parametrize("other_way", [False, True])
def test_a_forgotten_inverse_transform_is_refused_by_every_metric(form, other_way):
    real = toy(60, 0)
    scale = Scale.of(real)
    scaled = scale.standardise(real) if form == "standardised" else scale.minmax(real)
    sets = [real, replace(toy(60, 0), values=scaled)]
    if other_way:
        sets.reverse()
    for metric in (mmd2, marginal_distances, autocorrelation_distances, one_step_errors):
        with pytest.raises(DataError, match="different scales"):
            metric(*sets)


def test_bad_generators_are_compared_not_refused():
    real = toy(60, 0)
    constant = replace(real, values=np.full(real.values.shape, real.values[real.observed].mean()))
    zeros = replace(real, values=np.zeros(real.values.shape))
    for bad in (constant, zeros, toy(60, 1, shift=5.0), replace(real, values=real.values * 3)):
        check_comparable(real, bad)


# -- masks -----------------------------------------------------------------------------------------


def test_values_under_the_mask_change_nothing():
    real, clean = toy(80, 0), toy(80, 1)
    noise = np.random.default_rng(9).normal(1e4, 1e4, clean.values.shape)
    dirty = replace(clean, values=np.where(clean.observed, clean.values, noise))
    for metric in (
        mmd2,
        marginal_distances,
        autocorrelation_distances,
        cross_correlation_distances,
        one_step_errors,
        usefulness,
    ):
        assert metric(real, dirty) == metric(real, clean)
    scale = Scale.of(real)
    for view in (scale.standardise(dirty), scale.minmax(dirty), *vectors(scale, dirty)):
        assert np.isfinite(view).all()
        assert np.abs(view).max() < 100


def test_the_missingness_itself_is_seen():
    real = toy(400, 0)
    assert max(missingness_differences(real, toy(400, 1)).values()) < 0.05
    gaps = missingness_differences(real, toy(400, 1, observed=0.3))
    assert all(gap == pytest.approx(0.3, abs=0.05) for gap in gaps.values())
    assert mmd2(real, toy(400, 1, observed=0.3)) > 10 * abs(mmd2(real, toy(400, 1)))


# -- distributions ---------------------------------------------------------------------------------


def test_mmd_is_unbiased_and_grows_with_the_shift():
    same = [mmd2(toy(200, 10 + s), toy(200, 20 + s)) for s in range(5)]
    assert max(map(abs, same)) < 0.004
    assert abs(np.mean(same)) < 0.002
    shifted = [mmd2(toy(200, 10), toy(200, 20, shift=d)) for d in (0.3, 0.6, 1.2)]
    assert max(same) < shifted[0] < shifted[1] < shifted[2]


def test_mmd_equals_the_double_sum_of_its_definition():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(600, 3)), rng.normal(1, size=(70, 3))  # more rows than one block
    x, y = x.astype(np.float32), y.astype(np.float32)
    kernel = Kernel.of(x)

    def gram(a, b):
        square = ((a[:, None].astype(float) - b[None]) ** 2).sum(-1)
        widths = kernel.median * np.array([0.25, 0.5, 1, 2, 4])
        return np.exp(-square[..., None] / (2 * widths**2)).mean(-1)

    xx, yy, xy = gram(x, x), gram(y, y), gram(x, y)
    n, m = len(x), len(y)
    expected = (xx.sum() - n) / n / (n - 1) + (yy.sum() - m) / m / (m - 1) - 2 * xy.mean()
    assert mmd2_rows(x, y, kernel) == pytest.approx(expected, abs=1e-5)


def test_the_permutation_test_tells_a_shift_from_chance():
    assert mmd_p_value(toy(100, 0), toy(100, 1)) > 0.05
    assert mmd_p_value(toy(100, 0), toy(100, 1, shift=0.8)) < 0.02


def test_distances_of_numbers_agree_with_scipy():
    from scipy import stats

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=200), rng.normal(0.4, 2, size=90).round(1)
    w1, ks = distances_1d(x, y)
    assert w1 == pytest.approx(stats.wasserstein_distance(x, y))
    assert ks == pytest.approx(stats.ks_2samp(x, y).statistic)


def test_a_shift_of_one_deviation_is_a_marginal_distance_of_one():
    real = toy(300, 0)
    moved = replace(real, values=real.values + 0.5 * Scale.of(real).std_F)
    for w1, _ in marginal_distances(real, moved).values():
        assert w1 == pytest.approx(0.5, rel=1e-3)


def test_static_attributes_are_compared_by_their_kind():
    real = toy(300, 0)
    changed = real.static.copy()
    changed[:, 0] += 10
    changed[:, 1] = 1
    parts = static_distances(real, replace(real, static=changed))
    assert parts["age"] == pytest.approx(1, abs=0.1)
    assert parts["sex"] == pytest.approx(0.5, abs=0.1)


# -- dependence ------------------------------------------------------------------------------------


def test_autocorrelation_with_gaps_is_that_of_the_process():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(10_000, 20, 1))
    for t in range(1, 20):
        z[:, t] = 0.8 * z[:, t - 1] + 0.6 * z[:, t]
    data = Sequences(z, rng.random(z.shape) < 0.3)
    r_LF, _ = autocorrelation(data, Scale.of(data), 4)
    assert r_LF[:, 0] == pytest.approx([0.8, 0.64, 0.512, 0.41], abs=0.03)


def test_only_the_order_in_time_moves_autocorrelation():
    real = toy(400, 0)
    mixed = shuffled_in_time(toy(400, 1))
    near = np.mean(list(autocorrelation_distances(real, toy(400, 1)).values()))
    far = np.mean(list(autocorrelation_distances(real, mixed).values()))
    assert far > 2 * near
    assert marginal_distances(real, mixed) == marginal_distances(real, toy(400, 1))


def test_cross_correlation_equals_numpy_where_all_is_observed_and_pairs_count_where_not():
    full = toy(50, 0, observed=1.1)
    r_FF, _ = cross_correlation(full, Scale.of(full))
    assert r_FF == pytest.approx(np.corrcoef(full.values.reshape(-1, 3).T), abs=1e-4)
    apart = full.observed.copy()
    apart[:, ::2, 0] = False
    apart[:, 1::2, 1] = False
    parts = cross_correlation_distances(replace(full, observed=apart), full)
    assert set(parts) == {"v0", "v1", "v2"}  # v0 and v1 are never together, but each is with v2
    gone = replace(full, observed=full.observed & (np.arange(3) != 0))
    assert set(cross_correlation_distances(gone, full)) == {"v1", "v2"}


# -- telling apart, predicting, memorising ---------------------------------------------------------


def test_the_strong_judge_passes_real_data_and_sees_shuffled_time():
    real = [discriminate(trial_of(toy(240, 3 + s), seed=s))[0] for s in range(3)]
    assert abs(np.mean(real)) < 0.08
    score, parts = discriminate(trial_of(shuffled_in_time(toy(240, 3))))
    assert score > 0.2
    assert {name.split(",")[0] for name in parts} == {"network", "boosting"}


def test_the_strong_judge_is_repeatable_and_leaves_torch_as_it_was():
    import torch

    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first = discriminate(trial_of(toy(120, 3), n=120))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert discriminate(trial_of(toy(120, 3), n=120)) == first


def test_the_legacy_judge_sees_a_shift_and_trains_each_trial_as_if_alone():
    train = toy(200, 1, features=8, steps=6)
    same, moved = (toy(200, 3, features=8, steps=6, shift=shift) for shift in (0, 3))
    trials = [
        Trial("synthetic", train, same, candidate, Scale.of(train), seed)
        for seed, candidate in enumerate((same, moved))
    ]
    ticks = []
    together = legacy_scores(trials, 300, lambda: ticks.append(1))
    alone = [legacy_scores([trial], 300, lambda: None)[0] for trial in trials]
    assert together == pytest.approx(alone, abs=0.03)
    assert together[0] < 0.2 < 0.35 < together[1]
    assert len(ticks) == 2


def test_the_small_grus_compute_what_torch_computes():
    import torch

    from rgan.evaluate.small_gru import SmallGRUs, as_steps

    ours = SmallGRUs([3, 4], inputs=5, hidden=2)
    x_BTF = np.random.default_rng(0).normal(size=(7, 6, 5)).astype(np.float32)
    with torch.no_grad():
        out_TPB = ours(as_steps([x_BTF, x_BTF]))
        for p in range(2):
            theirs = torch.nn.GRU(5, 2, batch_first=True)
            theirs.weight_ih_l0.copy_(ours.w_in[p])
            theirs.weight_hh_l0.copy_(ours.w_state[p])
            theirs.bias_ih_l0.copy_(ours.b_in[p, :, 0])
            theirs.bias_hh_l0.copy_(ours.b_state[p, :, 0])
            states_BTH = theirs(torch.from_numpy(x_BTF))[0]
            expected = states_BTH @ ours.w_out[p, 0] + ours.b_out[p, 0, 0]
            assert torch.allclose(out_TPB[:, p].T, expected, atol=1e-5)


def test_prediction_learns_from_real_order_and_not_from_shuffled():
    test = toy(200, 2, observed=1.1)
    good = np.mean(list(one_step_errors(toy(200, 3, observed=1.1), test).values()))
    mixed = shuffled_in_time(toy(200, 3, observed=1.1))
    bad = np.mean(list(one_step_errors(mixed, test).values()))
    assert good == pytest.approx(0.43 / Scale.of(test).std_F[0] * 2, rel=0.1)  # its noise
    assert bad > 1.1 * good
    wrong = legacy_errors([trial_of(toy(200, 3, shift=3.0))], 80, lambda: None)[0]
    assert wrong > 1.2 * legacy_errors([trial_of(toy(200, 3))], 80, lambda: None)[0]


def test_copies_are_found_and_real_data_are_not():
    train, test = toy(300, 1), toy(150, 2)
    copies = memorisation(train, test, train[:100])
    assert copies["nn_share"] > 0.97
    assert copies["nn_ratio"] < 0.01
    assert copies["three_sample_p"] < 0.001
    fresh = [memorisation(train, test, toy(100, 3 + s)) for s in range(5)]
    assert np.mean([f["nn_share"] for f in fresh]) == pytest.approx(0.5, abs=0.08)
    assert np.mean([f["nn_ratio"] for f in fresh]) > 0.9
    assert min(f["three_sample_p"] for f in fresh) > 0.05
    noisy = replace(train[:100], values=train.values[:100] + 0.05 * Scale.of(train).std_F)
    assert memorisation(train, test, noisy)["three_sample_p"] < 0.05


def test_memorising_a_part_shows():
    train, test = toy(300, 1), toy(150, 2)
    half = train[:60].values, toy(60, 3).values
    observed = np.concatenate([train[:60].observed, toy(60, 3).observed])
    mixed = Sequences(np.concatenate(half), observed, feature_names=train.feature_names)
    trial = Trial("synthetic", train, test, mixed, Scale.of(train))
    found = {name: m.value for name, m in Memorisation().measure(trial).items()}
    assert found["nn_share"] > 0.6
    assert found["three_sample_p"] < 0.05


# -- parts -----------------------------------------------------------------------------------------


def test_no_subject_is_on_both_sides_of_a_split():
    data = replace(toy(90, 0), subjects=np.repeat(np.arange(30), 3))
    rest, part = split_rows(data, 0.3, np.random.default_rng(0))
    assert not set(data.subjects[rest]) & set(data.subjects[part])
    assert sorted([*rest, *part]) == list(range(90))
    assert 18 <= len(part) <= 36


def test_windows_of_one_series_are_parted_by_time_without_overlap():
    starts = np.arange(100)
    data = replace(toy(100, 0), subjects=np.zeros(100, int), starts=starts)
    for seed in range(5):
        rest, part = split_rows(data, 0.3, np.random.default_rng(seed))
        assert len(part) == 30
        gaps = np.abs(starts[rest][:, None] - starts[part][None])
        assert gaps.min() >= data.n_steps
