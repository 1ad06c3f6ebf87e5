"""``rgan evaluate --without``: the same samples judged with and without features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from command_line import TINY, rgan


def test_what_a_feature_contributes_is_told_beside_the_whole(tmp_path: Path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 120)
    values = rng.normal(size=(120, 8, 3))
    values[:, :, 1] += 3 * labels[:, None]  # only the second feature says which class it is
    names = np.array(["HR", "Temp", "SpO2"])
    np.savez(tmp_path / "toy.npz", values=values, labels=labels, feature_names=names)
    where = ("--runs", tmp_path / "runs", "-q")
    small = (*TINY, "--set", "train.steps=2", "--set", "train.figures=0", "--epochs", 1)
    small = (*small, "--set", "train.check_memory=false")
    assert rgan("train", tmp_path / "toy.npz", *small, *where).code == 0
    quick = ("--quick", "--repeats", 1, "--metric", "tstr", "--metric", "marginals")
    answer = rgan("evaluate", "latest", *quick, "--without", "Temp", *where)
    assert answer.code == 0, answer.err
    assert "Without Temp" in answer.out
    (run,) = (tmp_path / "runs").iterdir()
    found = json.loads((run / "contribution.json").read_text())
    assert found["features"] == ["Temp"] and not (run / "evaluation.json").exists()
    floors = {
        part: {score["name"]: score["floor"] for score in found[part]["scores"]}
        for part in ("with", "without")
    }
    name = next(n for n in floors["with"] if n.startswith("tstr") and n.endswith("auroc"))
    assert floors["with"][name] > 0.9 and floors["without"][name] < 0.75
    for odd, words in (("BP", "BP"), (",", "no feature"), ("HR,Temp,SpO2", "at least one")):
        bad = rgan("evaluate", "latest", *quick, "--without", odd, *where)
        assert bad.code == 2 and words in bad.err, bad.err
