"""The image metrics see what is wrong with images, in features that never change."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import TINY, rgan
from evaluate_toys import toy
from rgan.config import Config
from rgan.data.load import load
from rgan.errors import DataError, RganError
from rgan.evaluate import image_features as own
from rgan.evaluate.config import EvaluateConfig
from rgan.evaluate.core import evaluate
from rgan.evaluate.image_features import image_features
from rgan.evaluate.image_metrics import frechet, neighbourhoods
from rgan.evaluate.result import Evaluation
from rgan.layouts import ImageLayout
from rgan.runs.find import list_runs
from rgan.sequences import Sequences
from test_image_distance import Images, blurred, drawn

BOTH = EvaluateConfig(metrics=("images", "image_classes"), repeats=1, quick=True)


@pytest.fixture(scope="module")
def digits() -> Sequences:
    data = load(dataclasses.replace(Config().data, source="digits"))
    return data[np.random.default_rng(0).permutation(len(data))]


@pytest.fixture(scope="module")
def halves(digits: Sequences) -> tuple[Sequences, Sequences]:
    return digits[:898], digits[898:1796]


def pictures(data: Sequences) -> Images:
    return data.layout.to_images(data.values)  # type: ignore[union-attr,no-any-return]


def images_of(x_NHWC: Images, order: str = "rows", **more: float) -> Sequences:
    layout = ImageLayout(*x_NHWC.shape[1:], order=order, **more)  # type: ignore[arg-type]
    return Sequences(layout.to_sequences(x_NHWC.astype(np.float32)), layout=layout)


# -- the formulas ----------------------------------------------------------------------------


def test_the_frechet_distance_of_known_normal_distributions() -> None:
    x = np.random.default_rng(0).normal(size=(500, 5)).astype(np.float32)
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet(x, x + 2) == pytest.approx(5 * 4, rel=1e-5)
    spread = x - x.mean(0)
    assert frechet(spread, 3 * spread) == pytest.approx(4 * np.trace(np.cov(x.T)), rel=1e-5)
    turned = spread @ np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    assert frechet(spread, 3 * turned) == pytest.approx(frechet(3 * turned, spread), rel=1e-4)


def test_neighbourhoods_of_points_that_can_be_counted() -> None:
    """Real points at 0, 1, ..., 9: balls of 0 reach to 3 (third) and to 5 (fifth neighbour)."""
    real = np.arange(10, dtype=np.float32)[:, None]
    same = neighbourhoods(real, real)
    assert same["image_precision"] == same["image_recall"] == same["image_coverage"] == 1
    far = neighbourhoods(real, real + 100)
    assert set(far.values()) == {0.0}
    one = neighbourhoods(real, np.full((10, 1), 4.0, np.float32))
    assert one["image_precision"] == 1
    assert one["image_recall"] == 0.1, "the made balls have no size: only 4 itself is in them"
    # fifth neighbours of 0..9 reach 5 4 3 3 3 3 3 3 4 5; 4 lies in the balls of 0 to 8, not 9's
    reach = np.array([5, 4, 3, 3, 3, 3, 3, 3, 4, 5])
    inside = (np.abs(np.arange(10) - 4) <= reach).sum()
    assert one["image_coverage"] == inside / 10
    assert one["image_density"] == pytest.approx(inside / 5)


# -- images ----------------------------------------------------------------------------------


def test_real_images_are_near_and_spoilt_ones_the_further_the_worse(
    halves: tuple[Sequences, Sequences],
) -> None:
    real, other = halves
    real_NK, x_NHWC = image_features(real), pictures(other)
    rng = np.random.default_rng(0)
    floor = frechet(real_NK, image_features(other))
    assert floor < 0.02 * real_NK.var(0).sum()
    noise = rng.normal(0, 16, x_NHWC.shape)
    seams = rng.normal(0, 16, (len(x_NHWC), 8, 1, 1))
    worse = {
        "blur": (blurred(x_NHWC), blurred(blurred(x_NHWC))),
        "noise": (x_NHWC + 0.1 * noise, x_NHWC + 0.3 * noise),
        "seams": (x_NHWC + 0.1 * seams, x_NHWC + 0.2 * seams),
        "fade": (0.8 * x_NHWC, 0.5 * x_NHWC),
    }
    for name, pair in worse.items():
        little, much = (frechet(real_NK, image_features(drawn(other, x))) for x in pair)
        assert 2 * floor < little < 0.8 * much, name


def test_what_is_never_drawn_is_missed(halves: tuple[Sequences, Sequences]) -> None:
    real, other = halves
    real_NK = image_features(real)
    assert other.labels is not None
    without = [np.resize(np.flatnonzero(other.labels >= k), 898) for k in (0, 1, 4, 7)]
    found = [frechet(real_NK, image_features(other[rows])) for rows in without]
    assert found == sorted(found) and found[1] > 3 * found[0]
    few = neighbourhoods(real_NK, image_features(other[np.resize(np.arange(50), 898)]))
    all_of_them = neighbourhoods(real_NK, image_features(other))
    assert few["image_precision"] > 0.8 and all_of_them["image_precision"] > 0.8
    assert few["image_recall"] < 0.1 < 0.8 < all_of_them["image_recall"]
    assert few["image_coverage"] < 0.5 < 0.9 < all_of_them["image_coverage"]
    noise = drawn(other, np.random.default_rng(0).random((898, 8, 8, 1)) * 16)
    assert neighbourhoods(real_NK, image_features(noise))["image_precision"] < 0.1


def judged(halves: tuple[Sequences, Sequences], candidate: Sequences) -> Evaluation:
    return evaluate(*halves, candidate, BOTH)


def test_an_evaluation_has_them_with_real_against_real_beside(
    halves: tuple[Sequences, Sequences],
) -> None:
    train = halves[0]
    assert train.labels is not None
    found = judged(halves, train[np.flatnonzero(train.labels != 3)])
    assert not found.skipped
    fid = found["image_fid"]
    assert fid.floor and fid.copy and fid.value > 2 * fid.floor and fid.value > 2 * fid.copy
    least = found["image_least_class"]
    assert least.value < 0.1 and min(least.parts, key=lambda c: least.parts[c]) == "3"
    assert least.floor is not None and least.floor > 0.6
    assert found["image_label_agreement"].value > 0.95
    names = ("image_precision", "image_recall", "image_density", "image_coverage")
    assert all(found[name].floor and found[name].better == "higher" for name in names)
    assert judged(halves, train).to_dict() == judged(halves, train).to_dict()


def test_classes_that_cannot_be_seen_are_not_counted(
    halves: tuple[Sequences, Sequences],
) -> None:
    rng = np.random.default_rng(0)
    mixed = [dataclasses.replace(x, labels=rng.permutation(x.labels)) for x in halves]  # type: ignore[arg-type]
    found = evaluate(*mixed, mixed[0], BOTH)
    assert "held-out images only" in found.skipped["image_classes"] and "image_fid" in found
    plain = [dataclasses.replace(x, labels=None) for x in halves]
    assert evaluate(*plain, plain[0], BOTH).skipped["image_classes"] == "the images have no classes"


def test_other_data_are_refused_with_the_reason() -> None:
    series = toy(40, 0)
    found = evaluate(series, toy(40, 1), series, BOTH)
    no = "the data are no images"
    assert not found.scores and found.skipped == {"images": no, "image_classes": no}
    with pytest.raises(DataError, match="no images"):
        image_features(series)
    rng = np.random.default_rng(0)
    train, test = (images_of(rng.random((5, 6, 4, 1)) * 255) for _ in range(2))
    few = evaluate(train, test, train, BOTH)
    assert "6 images" in few.skipped["images"]


def test_rgan_evaluate_prints_and_writes_them(tmp_path: Path) -> None:
    quick = ("--set", "train.check_memory=false", "--set", "train.steps=4", "-q")
    data = ("--set", "data.max_sequences=300", "--runs", tmp_path)
    assert rgan("train", "digits", *TINY, *quick, *data).code == 0
    (run,) = list_runs(tmp_path)
    answer = rgan("evaluate", run.path, "--metric", "images", "--repeats", 1)
    assert answer.code == 0 and "FID" in answer.out and "coverage" in answer.out
    scores = json.loads(run.evaluation_json.read_text("utf-8"))["scores"]
    fid = next(score for score in scores if score["name"] == "image_fid")
    assert fid["value"] > 5 * fid["floor"] > 0


# -- the network -----------------------------------------------------------------------------


def test_how_images_are_stored_makes_no_difference() -> None:
    x_NHWC = np.random.default_rng(0).random((20, 28, 28, 1)).astype(np.float32) * 255
    plain_NK = image_features(images_of(x_NHWC))
    assert plain_NK.shape == (20, own.FEATURES) and (plain_NK.std(0) > 0).any()
    for same in (
        images_of(x_NHWC, "columns"),
        images_of(x_NHWC, "pixels"),
        images_of(x_NHWC / 127.5 - 1, low=-1.0, high=1.0),
        images_of(np.repeat(x_NHWC, 3, axis=3)),
        images_of(np.concatenate([np.repeat(x_NHWC, 3, axis=3), 0 * x_NHWC], axis=3)),
        images_of(x_NHWC.repeat(2, axis=1).repeat(2, axis=2)),
    ):
        whole_NK = image_features(same)[:, : own.FEATURES]
        assert np.allclose(whole_NK, plain_NK, rtol=1e-3, atol=1e-3)
    assert np.allclose(image_features(images_of(x_NHWC))[:7], image_features(images_of(x_NHWC[:7])))
    gap = dataclasses.replace(images_of(x_NHWC), observed=np.zeros((20, 28, 28), bool))
    assert np.allclose(image_features(gap), image_features(images_of(0 * x_NHWC)))


def test_images_of_any_size_have_features() -> None:
    rng = np.random.default_rng(0)
    for h, w, c in ((1, 1, 1), (28, 28, 1), (2, 50, 1), (40, 9, 3), (64, 64, 2), (300, 29, 1)):
        features_NK = image_features(images_of(rng.random((4, h, w, c)) * 255))
        views = 2 if max(h, w) > 28 else 1
        assert features_NK.shape == (4, views * own.FEATURES) and np.isfinite(features_NK).all()


def test_what_averaging_hides_is_seen_in_large_images() -> None:
    """Noise whose mean over 2 x 2 pixels is nought leaves the image of 28 pixels as it is."""
    x_NHWC = np.random.default_rng(0).random((200, 28, 28, 1)).repeat(2, 1).repeat(2, 2)
    sides = np.tile(np.array([[1, -1], [-1, 1]]), (28, 28))[None, :, :, None]
    fine = 0.5 * x_NHWC + 0.25 + 0.2 * sides
    real_NK, made_NK = (image_features(images_of(255 * x)) for x in (0.5 * x_NHWC + 0.25, fine))
    whole = [x_NK[:, : own.FEATURES] for x_NK in (real_NK, made_NK)]
    assert np.allclose(*whole, atol=1e-2)
    assert frechet(real_NK, made_NK) > 100 * max(0.01, frechet(*whole))


def test_pieces_reach_from_edge_to_edge() -> None:
    x_N1HW = torch.arange(64.0).repeat(64, 1)[None, None]
    pieces = own.cut_outs(x_N1HW)
    assert len(pieces) == 4 and all(piece.shape == (1, 1, 28, 28) for piece in pieces)
    assert {(float(p.min()), float(p.max())) for p in pieces} == {(0, 27), (36, 63)}
    (one,) = own.cut_outs(x_N1HW[:, :, :20, :40])
    assert one.shape == (1, 1, 28, 28) and (one.min(), one.max()) == (6, 33)
    assert not own.cut_outs(x_N1HW[:, :, :28, :28])


def test_the_shipped_network_is_the_one_its_papers_tell_of() -> None:
    data = own.WEIGHTS.read_bytes()
    about = json.loads(own.WEIGHTS.with_suffix(".json").read_text("utf-8"))
    assert own.SHA256 == about["sha256"] == hashlib.sha256(data).hexdigest()
    assert len(data) == about["bytes"] < 500_000
    page = (Path(__file__).parents[1] / "docs/images.md").read_text("utf-8")
    assert own.SHA256 in page
    for name, right in about["test_accuracy"].items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {name} |")]
        assert f"| {right['own']:.3f} | {right['probe']:.3f} |" in row


@pytest.fixture
def fresh() -> Iterator[None]:
    """Nothing remembered of the network, before and after."""
    own.network.cache_clear()
    yield
    own.network.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_a_changed_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(own.WEIGHTS.read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "image_features.safetensors"
    path.write_bytes(data)
    monkeypatch.setattr(own, "WEIGHTS", path)
    image = images_of(np.zeros((1, 28, 28, 1)))
    with pytest.raises(RganError, match="has the SHA-256") as caught:
        image_features(image)
    assert own.SHA256 in caught.value.message and "pip install" in caught.value.message
    path.unlink()
    with pytest.raises(RganError, match="cannot be read"):
        image_features(image)
