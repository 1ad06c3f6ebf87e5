"""Usefulness: classifiers, their scores, and what they read of a sequence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from evaluate_toys import toy
from rgan.evaluate.classifiers import accuracy, auprc, auroc, bootstrap, fit
from rgan.evaluate.features import flat_values, statics, summaries, table
from rgan.evaluate.scale import Scale
from rgan.evaluate.utility import labels_unfit, usefulness
from rgan.layouts import ImageLayout
from rgan.sequences import Sequences, Static


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_agree_with_scikit_learn_ties_too(classes):
    rng = np.random.default_rng(classes)
    y = rng.integers(0, classes, 200)
    p = rng.dirichlet(np.ones(classes), 200)
    p[np.arange(200), y] += 0.3
    p = (p / p.sum(1, keepdims=True)).round(1)  # many ties
    hot = np.eye(classes)[y]
    columns = [1] if classes == 2 else range(classes)
    assert accuracy(y, p) == metrics.accuracy_score(y, p.argmax(1))
    assert auroc(y, p) == pytest.approx(
        np.mean([metrics.roc_auc_score(hot[:, c], p[:, c]) for c in columns])
    )
    assert auprc(y, p) == pytest.approx(
        np.mean([metrics.average_precision_score(hot[:, c], p[:, c]) for c in columns])
    )


def test_a_class_absent_from_the_rows_is_left_out_and_none_at_all_is_nan():
    p = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]])
    assert auroc(np.array([0, 1]), p) == 1.0
    assert np.isnan(auroc(np.array([0, 0]), p))


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(40):
        y = rng.integers(0, 2, 150)
        right = rng.random(150) < 0.8
        p = np.eye(2)[np.where(right, y, 1 - y)]
        low, high = bootstrap(accuracy, y, p, seed=seed)
        held += low <= 0.8 <= high
    assert held >= 34


@pytest.mark.parametrize("kind", ["linear", "boosting"])
def test_classifiers_take_gaps_and_a_lost_class(kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).astype(np.float32)
    y = np.array(["no", "yes"])[(x[:, 0] > 0).astype(int)]
    x[rng.random(x.shape) < 0.1] = np.nan
    p = fit(kind, x, y, np.array(["maybe", "no", "yes"]))(x)
    assert p[:, 0].max() == 0
    assert p.sum(1) == pytest.approx(1)
    assert accuracy(np.where(y == "yes", 2, 1), p) > 0.85
    only = fit(kind, x, np.full(300, "no"), np.array(["no", "yes"]))(x[:5])
    assert only.tolist() == [[1, 0]] * 5


def test_real_data_as_synthetic_gives_what_real_data_give():
    train, test = toy(300, 1), toy(200, 2)
    ceiling = usefulness(train, test)
    offered = usefulness(replace(train, subjects=None), test, scale=Scale.of(train))
    assert offered == ceiling
    assert ceiling["linear_auroc"].value > 0.85
    low, high = ceiling["linear_auroc"].interval
    assert low < ceiling["linear_auroc"].value < high
    guess = replace(train, labels=np.random.default_rng(0).permutation(train.labels))
    assert usefulness(guess, test)["linear_auroc"].value < 0.65


def test_summaries_are_those_of_the_observed_values():
    data = Sequences(
        np.array([[[1.0], [9], [3], [5]], [[2], [2], [2], [2]], [[4], [0], [0], [0]]]),
        np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]], dtype=bool)[:, :, None],
    )
    unit = Scale(np.zeros(1), np.ones(1), np.zeros(1), np.ones(1))
    rows = summaries(data, unit)
    slope = np.polyfit([0, 0.5, 0.75], [1, 3, 5], 1)[0]
    assert rows[0] == pytest.approx([3, 1, 5, 1, 5, slope, 2, 0.75], rel=1e-5)
    assert np.isnan(rows[1, :7]).all()
    assert rows[1, 7] == 0
    assert rows[2] == pytest.approx([4, 4, 4, 4, 4, 0, 0, 0.25])


def test_static_attributes_reach_the_classifier_one_hot_where_categorical():
    data = replace(
        toy(3, 0),
        static=np.array([[60, 2], [50, np.nan], [40, 0]]),
        static_info=(Static("age"), Static("unit", "categorical", ("a", "b", "c"))),
    )
    expected = [[60, 0, 0, 1], [50, np.nan, np.nan, np.nan], [40, 1, 0, 0]]
    np.testing.assert_array_equal(statics(data), expected)
    scale = Scale.of(data)
    wide = table(data, scale, with_static=True).shape[1]
    assert wide == table(data, scale, with_static=False).shape[1] + 4


def test_large_images_are_averaged_down():
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 128, 96, 1))
    layout = ImageLayout(128, 96)
    data = Sequences(layout.to_sequences(pixels), layout=layout)
    flat = flat_values(data, Scale.of(data))
    assert flat.shape == (2, 64 * 48)
    standard = (pixels - pixels.mean()) / pixels.std()
    assert flat[0, 0] == pytest.approx(standard[0, :2, :2].mean(), abs=1e-4)


def test_reasons_are_given_where_labels_cannot_be_used():
    data = toy(20, 0)
    assert labels_unfit(data, data, data) == ""
    assert "no labels" in labels_unfit(replace(data, labels=None), data, data)
    assert "continuous" in labels_unfit(replace(data, labels=np.ones(20)), data, data)
    assert "only the class 1" in labels_unfit(replace(data, labels=np.ones(20, int)), data, data)
    assert "candidate" in labels_unfit(data, data, replace(data, labels=None))
    assert "class 7" in labels_unfit(data, data, replace(data, labels=np.full(20, 7)))
