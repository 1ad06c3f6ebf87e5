"""Labels that leave a faint trace: read off the sequences that were made, never learnt by heart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from command_line import TINY, rgan
from rgan.config import preset
from rgan.nets.feedback import FeedbackGenerator
from rgan.sequences import Sequences
from rgan.transforms.config import TransformConfig
from rgan.workflow.encoder import Encoder, to_batch
from rgan.workflow.sampling import load_trained
from rgan.workflow.trained import Trained
from teaching import teach

LIKELY = ("--preset", "feedback", *TINY, "--quiet")


def stays(n: int, trace: float, seed: int = 0) -> Sequences:
    """Two of seven stays are 'sick'; all steps of their two features lie higher, by ``trace``."""
    rng = np.random.default_rng(seed)
    sick_N = rng.random(n) < 2 / 7
    values_NTF = rng.normal(size=(n, 10, 2)) + rng.normal(size=(n, 1, 2))
    values_NTF += trace * sick_N[:, None, None]
    observed_NTF = rng.random(values_NTF.shape) < 0.7
    values_NTF[~observed_NTF] = np.nan
    labels = np.where(sick_N, "sick", "well")
    return Sequences(values_NTF.astype(np.float32), observed=observed_NTF, labels=labels)


def started(data: Sequences) -> Trained:
    """Fitted, untrained."""
    torch.manual_seed(0)
    encoder = Encoder.fit(data, TransformConfig())
    config = preset("feedback").generator
    generator = FeedbackGenerator(encoder.packer.spec, config)
    generator.start(to_batch(encoder.encode(data)))
    return Trained(generator.eval(), encoder)


def trained(data: Sequences, steps: int = 300) -> Trained:
    model = started(data)
    teach(model.generator, to_batch(model.encoder.encode(data)), steps, 5e-3)
    return model


def auroc(learn: Sequences, judge: Sequences) -> float:
    """Of a classifier that learns from one set, on the other."""
    x, z = (np.nanmean(np.where(s.observed, s.values, 0), 1) for s in (learn, judge))
    found = LogisticRegression().fit(x, learn.labels == "sick")
    return float(roc_auc_score(judge.labels == "sick", found.predict_proba(z)[:, 1]))


@pytest.mark.parametrize(("trace", "reads"), [(0.0, True), (0.6, True), (5.0, False)])
def test_a_label_is_read_where_its_trace_is_faint(trace: float, reads: bool) -> None:
    assert started(stays(600, trace)).generator.reads_labels is reads


def test_too_few_of_a_class_are_not_read() -> None:
    """From ten nothing can be told; and a model without labels has none to read."""
    data = stays(600, 0.5)
    few = data[np.flatnonzero((data.labels == "well") | (np.arange(600) < 35))]
    assert 2 <= (few.labels == "sick").sum() < 25
    assert not started(few).generator.reads_labels
    without = Sequences(data.values, observed=data.observed)
    assert not started(without).generator.reads_labels


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_samples_say_of_their_label_what_real_ones_say(seed: int) -> None:
    """A classifier that learnt from samples knows real sequences about as well as one that learnt
    from real ones. Bounds: an AUROC of 1,500 sequences has a deviation of about .015."""
    model, real = trained(stays(1500, 0.8, seed)), stays(1500, 0.8, seed + 10)
    assert model.generator.reads_labels
    made, others = model.sample(1500, seed=seed), stays(1500, 0.8, seed + 20)
    best = auroc(real, others)
    assert best > 0.65, "there is something to be learnt"
    assert auroc(made, others) > best - 0.03
    assert abs(auroc(real, made) - best) < 0.06, "and samples are as hard to tell as real ones"
    share = (made.labels == "sick").mean()
    assert abs(share - 2 / 7) < 0.06, "labels are about as frequent as in the data"


def test_asked_labels_are_found_not_stuck_on() -> None:
    """What had the label anyway stays as it is, and the rest is made anew."""
    model = started(stays(800, 0.8))
    plain = model.sample(150, seed=3)
    asked = model.sample(150, "sick", seed=3)
    assert (asked.labels == "sick").all()
    right = plain.labels == "sick"
    assert 10 < right.sum() < 120
    same = [np.array_equal(a, b, equal_nan=True)
            for a, b in zip(asked.values, plain.values, strict=True)]  # fmt: skip
    assert np.array_equal(same, right)
    wanted = np.where(np.arange(150) % 2, "sick", "well")
    assert (model.sample(150, wanted, seed=3).labels == wanted).all()
    longer = model.sample(1100, "sick", seed=3)  # over two blocks
    assert (longer.labels == "sick").all()
    prefix = longer.values[:150]  # but for the last bits, of products with other neighbours
    assert np.allclose(prefix, asked.values, atol=1e-5, equal_nan=True), "a sample's prefix"
    assert len(np.unique(longer.values[:, 0, 0][longer.observed[:, 0, 0]])) > 600, "all differ"


def test_what_reads_is_saved_with_the_run(tmp_path: Path) -> None:
    """Trained, loaded, sampled at the command line; the label is in nobody's input."""
    answer = rgan("train", "icu", *LIKELY, "--set", "train.steps=44", "--runs", tmp_path)
    assert answer.code == 0, answer.err
    model, _ = load_trained("latest", tmp_path)
    assert model.generator.reads_labels
    for label in (1, 0):
        path = tmp_path / f"{label}.npz"
        made = rgan("sample", "latest", "-n", 40, "--label", label, "-o", path, "--runs", tmp_path)
        assert made.code == 0, made.err
        with np.load(path, allow_pickle=False) as file:
            assert (file["labels"] == label).all()
            assert len(file["labels"]) == 40
    refused = rgan("sample", "latest", "--label", "dead", "--runs", tmp_path)
    assert refused.code == 2
    assert "the classes are 0, 1" in refused.err
