"""Usefulness in the clinic: recurrent judge, real and synthetic together, tasks, order, groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evaluate_toys import toy
from rgan.evaluate.agreement import spearman
from rgan.evaluate.classifiers import auroc, calibration
from rgan.evaluate.config import EvaluateConfig
from rgan.evaluate.core import evaluate
from rgan.evaluate.groups import groups_of
from rgan.evaluate.result import Evaluation
from rgan.evaluate.scale import Scale
from rgan.evaluate.tasks import history, horizon, tasks_of
from rgan.evaluate.utility import fit_on
from rgan.sequences import Sequences, Static


def judged(train: Sequences, test: Sequences, fake: Sequences, metric: str) -> Evaluation:
    return evaluate(
        train, test, replace(fake, subjects=None), EvaluateConfig(metrics=(metric,), repeats=1)
    )


# -- the recurrent judge -------------------------------------------------------------------------


def by_order(n: int, seed: int) -> Sequences:
    """Two classes that differ in the order of the values alone, which summaries hardly see."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    bump = np.zeros((n, 24, 1))
    for row, late in enumerate(label):
        first, second = sorted(rng.choice(np.arange(2, 22, 2), 2, replace=False))
        high, low = (second, first) if late else (first, second)
        bump[row, high], bump[row, low] = 1.0, -1.0
    values = bump + 0.1 * rng.normal(size=bump.shape)
    return Sequences(values, labels=label, lengths=np.full(n, 24))


def test_a_gru_learns_what_lies_in_the_order_and_is_the_same_each_time():
    train, test = by_order(600, 0), by_order(300, 1)
    how = {"scale": Scale.of(train), "with_static": False}
    first, again = (fit_on(train, "gru", np.array([0, 1]), **how)(test) for _ in range(2))
    assert np.array_equal(first, again)
    assert auroc(test.labels, first) > 0.9


def test_a_gru_takes_gaps_lengths_statics_and_a_lost_class():
    train, test = toy(300, 1), toy(200, 2)
    lengths = np.random.default_rng(0).integers(3, 13, 300)
    within = np.arange(12)[None, :] < lengths[:, None]
    train = replace(train, lengths=lengths, observed=train.observed & within[:, :, None])
    how = {"scale": Scale.of(train), "with_static": True}
    p = fit_on(train, "gru", np.array([0, 1, 2]), **how)(test)
    assert p.shape == (200, 3) and p.sum(1) == pytest.approx(1)
    assert p[:, 2].max() < 0.2
    assert auroc(test.labels, p[:, :2]) > 0.75


def test_probabilities_that_say_too_much_are_seen():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, 4000)
    y = (rng.random(4000) < p).astype(int)
    honest = calibration(y, np.stack([1 - p, p], 1))
    bold = np.where(p > 0.5, 0.99, 0.01)
    loud = calibration(y, np.stack([1 - bold, bold], 1))
    assert honest["calibration error"] < 0.03 < 0.1 < loud["calibration error"]
    assert honest["Brier"] == pytest.approx(((p - y) ** 2).mean())
    assert honest["Brier"] < loud["Brier"]


# -- real and synthetic together -----------------------------------------------------------------


def test_more_of_the_same_helps_a_small_set_and_wrong_labels_harm_it():
    train, test, more = toy(40, 1), toy(300, 2), toy(40, 3)
    good = judged(train, test, more, "augmented")["augmented_linear_auroc"]
    wrong = replace(more, labels=1 - more.labels)
    bad = judged(train, test, wrong, "augmented")["augmented_linear_auroc"]
    assert good.value > bad.value
    assert good.floor == bad.floor, "the floor is real data alone"
    assert bad.value < bad.floor


# -- thresholds ----------------------------------------------------------------------------------


def vitals(n: int, seed: int) -> Sequences:
    """Heart rates that persist, in a stay of 24 hours."""
    rng = np.random.default_rng(seed)
    level = rng.normal(85, 15, (n, 1, 1))
    walk = np.cumsum(rng.normal(0, 3, (n, 24, 1)), axis=1)
    return Sequences(level + walk, feature_names=("Heart Rate",), units=("bpm",), step_unit="h")


def test_the_paper_s_tasks_are_found_by_name_and_answered_by_the_next_hour_alone():
    data = vitals(50, 0)
    tasks = tasks_of(data)
    assert [task.name for task in tasks] == ["HR < 70", "HR > 100"]
    assert horizon(data) == 1 and horizon(replace(data, step=0.25)) == 4
    known, answer = tasks[1].answers(data, 23)
    assert known.all() and np.array_equal(answer, data.values[:, 23, 0] > 100)
    past = history(data, 23)
    assert past.n_steps == 23 and past.labels is None and past.lengths.max() == 23


def test_without_such_names_it_takes_what_is_observed_most():
    data = toy(100, 1)
    names = [task.name for task in tasks_of(data)]
    assert len(names) == 6 and names[0].startswith("v0 < ")


def test_series_of_the_same_kind_teach_the_tasks_and_noise_does_not():
    train, test = vitals(300, 0), vitals(300, 1)
    rng = np.random.default_rng(0)
    noise = replace(train, values=rng.permuted(train.values, axis=1))
    good, bad = (judged(train, test, s, "thresholds") for s in (vitals(300, 2), noise))
    score = good["thresholds_auroc"]
    assert score.value > 0.9 and abs(score.value - score.floor) < 0.03
    assert set(score.parts) == {"HR < 70", "HR > 100"}
    assert bad["thresholds_auroc"].value < score.value - 0.02


def test_images_and_short_sequences_have_no_next_hour():
    short = Sequences(np.random.default_rng(0).normal(size=(40, 5, 1)))
    assert (
        "5 steps" in judged(short[:20], short[20:], short[:20], "thresholds").skipped["thresholds"]
    )


# -- missingness ---------------------------------------------------------------------------------


def gappy(n: int, seed: int, *, together: bool = True, morning: bool = True) -> Sequences:
    """Two labs taken together, more often in the first half; or as often without either."""
    rng = np.random.default_rng(seed)
    rate = np.where(np.arange(16) < 8, 0.6, 0.2) if morning else np.full(16, 0.4)
    first = rng.random((n, 16)) < rate
    second = first if together else rng.random((n, 16)) < rate
    return Sequences(rng.normal(size=(n, 16, 2)), np.stack([first, second], 2))


def test_a_wrong_pattern_at_the_right_rates_is_told_and_the_right_one_is_not():
    train, test = gappy(400, 0), gappy(300, 1)
    right = judged(train, test, gappy(400, 2), "missing_pattern")["missing_pattern"]
    apart = judged(train, test, gappy(400, 2, together=False), "missing_pattern")
    assert abs(right.value) < 0.1 and apart["missing_pattern"].value > 0.45


def test_rates_that_lose_their_hours_are_seen():
    train, test = gappy(400, 0), gappy(300, 1)
    right = judged(train, test, gappy(400, 2), "missing_curve")["missing_curve"]
    flat = judged(train, test, gappy(400, 2, morning=False), "missing_curve")["missing_curve"]
    assert right.value > 0.95 and set(right.parts) == {"x0", "x1"}
    assert flat.value < 0.5


def test_full_data_have_no_pattern():
    full = Sequences(np.random.default_rng(0).normal(size=(60, 8, 2)))
    assert (
        "everything"
        in judged(full[:30], full[30:], full[:30], "missing_pattern").skipped["missing_pattern"]
    )


# -- order and groups ----------------------------------------------------------------------------


def unequal(n: int, seed: int) -> Sequences:
    """Six features that tell less and less of the label; in the old they tell nothing."""
    rng = np.random.default_rng(seed)
    label, age = rng.integers(0, 2, n), rng.uniform(20, 90, n)
    told = np.where(age < 55, label, rng.integers(0, 2, n))
    strength = np.array([2.5, 1.6, 1.0, 0.6, 0.3, 0.0])
    values = rng.normal(size=(n, 8, 6)) + strength * told[:, None, None]
    return Sequences(
        values, labels=label, static=age[:, None], static_info=(Static("age", unit="years"),)
    )


def test_the_order_of_features_is_kept_by_good_data_and_not_by_wrong_signs():
    train, test, good = unequal(500, 0), unequal(400, 1), unequal(500, 2)
    turned = replace(good, values=good.values * np.array([-1, -1, -1, 1, 1, 1], np.float32))
    kept = judged(train, test, good, "features_rank")["features_rank"]
    lost = judged(train, test, turned, "features_rank")["features_rank"]
    assert kept.value > 0.8 > 0.3 > lost.value
    assert "x0, trained on synthetic" in kept.parts
    assert judged(train, test, good, "models_rank")["models_rank"].value > 0.5


def test_rank_correlation_agrees_with_scipy():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, 30).tolist(), rng.integers(0, 6, 30).tolist()
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert np.isnan(spearman([1, 1], [1, 2]))


def test_a_group_that_synthetic_data_serve_badly_is_named():
    train, test, fake = unequal(600, 0), unequal(600, 1), unequal(600, 2)
    young = fake.static[:, 0] < 55
    wrong = np.where(young, 1 - fake.labels, fake.labels)
    fair = judged(train, test, fake, "groups")["groups_gap"]
    unfair = judged(train, test, replace(fake, labels=wrong), "groups")["groups_gap"]
    assert fair.value < 0.1 < 0.3 < unfair.value
    worst = min((name for name in unfair.parts if name.endswith("synthetic")), key=unfair.parts.get)
    assert worst.startswith("age < ")
    assert len(groups_of(train, test)) == 2


def test_groups_need_attributes():
    bare = replace(toy(80, 1), static=None, static_info=())
    assert "no static" in judged(bare[:40], bare[40:], bare[:40], "groups").skipped["groups"]
