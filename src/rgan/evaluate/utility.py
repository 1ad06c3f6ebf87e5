"""Is synthetic data useful? Train on one kind of data, test on the other, where labels are classes.

Shape letters: N sequences, K features of a row, C classes.

TSTR: train on synthetic, test on held-out real. Its floor trains on the real training set and tests
on the same held-out sequences: that is TRTR, what real data would have given. TRTS: train on real,
test on synthetic; high where each synthetic sequence looks like its label, even if few kinds are
made. (Esteban et al. 2017, section 4.2.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.classifiers import SCORES, Floats, Kind, bootstrap, calibration, fit
from rgan.evaluate.comparable import check_comparable
from rgan.evaluate.features import table
from rgan.evaluate.scale import Scale
from rgan.evaluate.trial import About, Measure, Metric, Trial, register
from rgan.sequences import Sequences

KINDS = ("linear", "boosting", "gru")
QUICK_KINDS = KINDS[:2]
Learnt = Callable[[Sequences], Floats]
"""A trained classifier: sequences to probabilities (N, C)."""
LABELS = {"accuracy": "accuracy", "auroc": "AUROC", "auprc": "AUPRC"}
MOST_CLASSES = 100


def labels_unfit(train: Sequences, test: Sequences, candidate: Sequences) -> str:
    """Why labels cannot be used, or ""."""
    if train.labels is None:
        return "the data have no labels"
    if not train.has_classes:
        return "the labels are continuous, not classes"
    classes = np.union1d(train.classes, test.classes) if test.has_classes else train.classes
    if len(train.classes) < 2:
        return f"the training set has only the class {train.classes[0]}"
    if len(classes) > MOST_CLASSES:
        return f"there are {len(classes)} classes; it is made for up to {MOST_CLASSES}"
    if not test.has_classes or not candidate.has_classes:
        return f"the {'candidate' if test.has_classes else 'test'} sequences have no class labels"
    strange = np.setdiff1d(candidate.classes, classes)
    return (
        f"the candidate has the class {strange[0]}, unknown to the real data"
        if len(strange)
        else ""
    )


def fit_on(
    data: Sequences, kind: str, classes_C: NDArray[Any], *, scale: Scale, with_static: bool
) -> Learnt:
    """A classifier of labels, trained on a labelled set.

    Args:
        data: (N, T, F) labelled sequences, original units.
        kind: of ``KINDS``.
        classes_C: all classes, those that ``data`` lacks too.
        scale: of the real training set.
        with_static: whether it may read static attributes.
    """
    assert data.labels is not None
    if kind != "gru":
        rows: Kind = "linear" if kind == "linear" else "boosting"
        x_NK = table(data, scale, with_static=with_static)
        predict = fit(rows, x_NK, data.labels, classes_C)
        return lambda other: predict(table(other, scale, with_static=with_static))
    from rgan.evaluate.network import fit_gru  # torch is not needed for the others

    codes_N = np.searchsorted(classes_C, data.labels)
    return fit_gru(data, codes_N, len(classes_C), scale=scale, with_static=with_static)


def usefulness(
    fit_set: Sequences, test_set: Sequences, *, scale: Scale | None = None, intervals: bool = True
) -> dict[str, Measure]:
    """Scores of the two quick classifiers trained on one labelled set and tested on another.

    Args:
        fit_set: (N, T, F) labelled sequences, original units.
        test_set: (M, T, F) labelled sequences, the same units.
        scale: of the real training set; None: of ``fit_set``.
        intervals: whether to give 95 % intervals over redrawn test rows.

    Returns:
        "linear_accuracy", "linear_auroc", "linear_auprc", "boosting_accuracy", ...

    Raises:
        DataError: the sets are not comparable.
    """
    check_comparable(fit_set, test_set)
    how = how_to_read(scale or Scale.of(fit_set), fit_set, test_set)
    classes = np.union1d(fit_set.classes, test_set.classes)
    models = {kind: fit_on(fit_set, kind, classes, **how) for kind in QUICK_KINDS}
    return scores_of(models, test_set, classes, intervals)


def how_to_read(scale: Scale, *sets: Sequences) -> dict[str, Any]:
    return {"scale": scale, "with_static": len({s.static_info for s in sets}) == 1}


def scores_of(
    models: dict[str, Learnt], test_set: Sequences, classes_C: NDArray[Any], intervals: bool
) -> dict[str, Measure]:
    """Every score of each classifier; AUROC's parts say how well its probabilities are calibrated.

    Args:
        models: by name.
        test_set: labelled sequences.
        classes_C: what the columns of the answers mean.
        intervals: whether to give 95 % intervals over redrawn test rows.
    """
    assert test_set.labels is not None
    y_N = np.searchsorted(classes_C, test_set.labels)
    out = {}
    for kind, predict in models.items():
        p_NC = predict(test_set)
        for name, score in SCORES.items():
            value = score(y_N, p_NC)
            known = intervals and math.isfinite(value)
            out[f"{kind}_{name}"] = Measure(
                value,
                calibration(y_N, p_NC) if name == "auroc" else {},
                bootstrap(score, y_N, p_NC) if known else None,
            )
    return out


class Usefulness(Metric):
    """What TSTR, TRTS and their like share."""

    note: str
    title = ""
    controls_once = "quick"

    def about(self, quick: bool) -> tuple[About, ...]:
        return tuple(
            About(
                f"{self.name}_{kind}_{score}",
                f"{self.title or self.name.upper()} {LABELS[score]}, {kind}",
                "higher",
                self.note,
            )
            for kind in (QUICK_KINDS if quick else KINDS)
            for score in SCORES
        )

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        return labels_unfit(train, test, candidate)

    def score(self, trial: Trial, learn: Sequences, test: Sequences, shared: bool) -> dict:
        """Train on ``learn``, test on ``test``; ``shared``: ``learn`` is the whole training set."""
        how = how_to_read(trial.scale, trial.train, trial.test, trial.candidate)
        classes = np.union1d(trial.train.classes, trial.test.classes)
        models: dict[str, Learnt] = {}
        for kind in QUICK_KINDS if trial.quick else KINDS:
            key = ("fitted on the training set", kind, len(learn), how["with_static"])
            model = trial.cache.get(key) if shared else None
            models[kind] = model or fit_on(learn, kind, classes, **how)
            if shared:
                trial.cache[key] = models[kind]
        found = scores_of(models, test, classes, intervals=trial.kind == "synthetic")
        return {f"{self.name}_{name}": measure for name, measure in found.items()}


class TSTR(Usefulness):
    """Train on synthetic, test on real."""

    name = "tstr"
    fresh = 0.0
    grows = True
    note = "floor: trained on real (TRTR)"

    def measure(self, trial: Trial) -> dict[str, Measure]:
        # The floor's candidate is the training set: the same model as TRTS needs.
        return self.score(trial, trial.candidate, trial.test, shared=trial.kind == "floor")


class TRTS(Usefulness):
    """Train on real, test on synthetic."""

    name = "trts"
    fresh = 0.2
    note = "above the floor: too easy, or copied"

    def measure(self, trial: Trial) -> dict[str, Measure]:
        return self.score(trial, trial.train, trial.candidate, shared=trial.kind != "floor")


register(TSTR())
register(TRTS())
