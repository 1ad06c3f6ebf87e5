"""The image benchmark: an honest rival, figures that see what they are to see, nothing lost."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rgan.config import Config
from rgan.data.load import load
from rgan.evaluate.features import brightness
from rgan.sequences import Sequences

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import dcgan
import images
from image_scores import Judge, draw_beside, seams

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def digits() -> Sequences:
    data = load(dataclasses.replace(Config().data, source="digits"))
    return data[np.random.default_rng(0).permutation(len(data))]


# -- the rival -------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "classes"), [(28, 10), (28, 0), (64, 0)])
@pytest.mark.parametrize("wanted", [160_000, 230_000])
def test_the_rival_has_as_many_weights_as_the_model(side: int, classes: int, wanted: int) -> None:
    pair = dcgan.pair_of(side, classes, wanted)
    assert pair.parameters == pytest.approx(wanted, rel=0.05)
    x_NHW = pair.sample(np.zeros(3, np.int64), seed=1)
    assert x_NHW.shape == (3, side, side) and x_NHW.min() >= 0 and x_NHW.max() <= 1
    assert np.array_equal(x_NHW, pair.sample(np.zeros(3, np.int64), seed=1))
    assert not np.array_equal(x_NHW, pair.sample(np.zeros(3, np.int64), seed=2))


def test_the_rival_learns_within_its_seconds(digits: Sequences) -> None:
    """Images of two plain brightnesses, by class: seconds are enough to tell which is which."""
    labels = np.arange(400) % 2
    x_NHW = np.where(labels, 0.9, 0.1)[:, None, None] * np.ones((1, 8, 8))
    pair, found = dcgan.train(x_NHW.astype(np.float32), labels, 10_000, 4.0, seed=0)
    assert found["steps"] > 20 and 4 <= found["train_cpu_seconds"] < 6
    level = [pair.sample(np.full(50, c), seed=0).mean() for c in (0, 1)]
    assert level[1] - level[0] > 0.3
    made = images.drawn_by(pair, digits[np.isin(digits.labels, (0, 1))], seed=0)  # type: ignore[arg-type]
    assert made.layout == digits.layout and made.values.max() <= 16
    by_class = [made.values[made.labels == c].mean() for c in (0, 1)]
    assert by_class[1] > by_class[0]


# -- figures ---------------------------------------------------------------------------------


def test_seams_are_seen_where_rows_do_not_fit(digits: Sequences) -> None:
    x = brightness(digits)[..., 0]
    real, other = x[:800], x[800:1600]
    floor = seams(real, other)
    assert floor["seam"] == pytest.approx(1, abs=0.05)
    assert floor["worst_seam"] < 1.1
    random = np.random.default_rng(0)
    loose = other + random.normal(0, 0.2, (800, 8, 1)).astype(np.float32)
    assert seams(real, loose)["seam"] > 1.1
    smeared = (other + np.roll(other, 1, axis=1) + np.roll(other, -1, axis=1)) / 3
    assert seams(real, smeared)["seam"] < 0.8
    cut = other.copy()
    cut[:, 4:] += random.normal(0, 0.5, (800, 1, 1))
    assert seams(real, cut)["worst_seam"] > 1.3
    assert seams(real, cut.transpose(0, 2, 1))["worst_seam"] < 1.3


def test_a_judge_tells_useful_images_from_others(digits: Sequences) -> None:
    judge = Judge(digits[:1200], digits[1200:], most=500, steps=40)
    floor = judge.floor()
    assert floor["tstr"] == floor["trts"] > 0.85 and floor["least_class"] > 0.5
    assert floor["fid"] < 30 and floor["coverage"] > 0.8
    seen = digits[:1200]
    assert seen.labels is not None
    mixed = dataclasses.replace(seen, labels=np.random.default_rng(0).permutation(seen.labels))
    found = judge.scores(mixed)
    assert found["tstr"] < 0.5 and found["trts"] < 0.3
    assert found["fid"] == pytest.approx(floor["fid"], rel=0.3), "the images are as real as before"
    less = judge.of_images(digits[np.flatnonzero(digits.labels != 7)][:500])  # type: ignore[arg-type]
    assert less["least_class"] < 0.1 and less["class_shares"]["7"] == less["least_class"]
    plain = Judge(*(dataclasses.replace(x, labels=None) for x in (digits[:600], digits[600:])))
    assert not {"tstr", "trts", "least_class"} & set(plain.floor())


def test_a_picture_has_every_tile(tmp_path: Path) -> None:
    grids = [np.full((20, 6, 5), level, np.uint8) for level in (10, 200)]
    path = draw_beside(grids, tmp_path / "new/both.png")
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    assert [(pixels == level).sum() for level in (10, 200)] == [20 * 6 * 5 * 4] * 2
    assert (pixels[:, : pixels.shape[1] // 2] == 10).sum() == 20 * 6 * 5 * 4


# -- the whole -------------------------------------------------------------------------------


def test_an_interrupted_benchmark_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(images.SETS, "digits", {"data.source": "digits", "data.max_sequences": 400})
    monkeypatch.setattr(images, "QUICK", [100, 4])
    out, pictures = tmp_path / "images.json", tmp_path / "pictures"
    small = ("--set", "generator.hidden=8", "--set", "critic.hidden=8", "--budget", "1", "--quick")
    words = ["images.py", "--data", "digits", *small, "--out", str(out)]
    words += ["--pictures", str(pictures)]
    monkeypatch.setattr(sys, "argv", words)

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(images, "rival", interrupted)
        images.main()
    (first,) = json.loads(out.read_text("utf-8"))["rows"]
    assert first["model"] == "recurrent" and 0 < first["train_cpu_seconds"] < 3
    capsys.readouterr()
    with pytest.raises(SystemExit) as refused:
        images.main()
    assert refused.value.code == 2 and "--resume" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [*words, "--resume"])
    images.main()
    rows = json.loads(out.read_text("utf-8"))["rows"]
    assert [row["model"] for row in rows] == ["recurrent", "dcgan"] and rows[0] == first
    assert rows[1]["train_cpu_seconds"] == pytest.approx(first["train_cpu_seconds"], rel=0.2)
    assert rows[1]["parameters"] == pytest.approx(first["parameters"], rel=0.1)
    assert (pictures / "digits-0.png").stat().st_size > 1000
    before = capsys.readouterr().out
    assert "least class" in before and "FID over the DCGAN's" in before
    monkeypatch.setattr(sys, "argv", ["images.py", "--show", "--out", str(out)])
    images.main()
    assert capsys.readouterr().out == before
