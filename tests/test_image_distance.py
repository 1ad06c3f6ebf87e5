"""The distance between sets of images ranks them as somebody who looks at them would."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from command_line import TINY, rgan
from rgan.config import Config
from rgan.data.load import load
from rgan.layouts import ImageLayout
from rgan.sequences import Sequences
from rgan.workflow.image_distance import ImageDistance, features
from rgan.workflow.monitor_scores import Scorer
from test_resume import events, tiny

Images = NDArray[np.float32]


@pytest.fixture(scope="module")
def digits() -> Sequences:
    data = load(dataclasses.replace(Config().data, source="digits"))
    return data[np.random.default_rng(0).permutation(len(data))]


@pytest.fixture(scope="module")
def distance(digits: Sequences) -> ImageDistance:
    found = ImageDistance.of(digits[300:600], digits[:300])
    assert found
    return found


def drawn(like: Sequences, images_NHWC: Images) -> Sequences:
    values = like.layout.to_sequences(images_NHWC.astype(np.float32))  # type: ignore[union-attr]
    return dataclasses.replace(like, values=values)


def blurred(x_NHWC: Images) -> Images:
    """Each pixel averaged with its neighbours above, below, left and right."""
    padded = np.pad(x_NHWC, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    middle, far = padded[:, 1:-1, 1:-1], (padded[:, 2:, 1:-1], padded[:, :-2, 1:-1])
    return (2 * middle + sum(far) + padded[:, 1:-1, 2:] + padded[:, 1:-1, :-2]) / 6


def test_real_images_are_at_no_distance(digits: Sequences, distance: ImageDistance) -> None:
    found = [distance(digits[i : i + 300]) for i in (600, 900, 1200)]
    assert max(map(abs, found)) < 0.005


def test_each_way_to_spoil_images_is_told_and_the_stronger_the_more(
    digits: Sequences, distance: ImageDistance
) -> None:
    other = digits[600:900]
    x_NHWC = other.layout.to_images(other.values)  # type: ignore[union-attr]
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 16, x_NHWC.shape)
    mixed = x_NHWC.reshape(300, -1)[:, rng.permutation(64)].reshape(x_NHWC.shape)
    worse = {
        "blur": (blurred(x_NHWC), blurred(blurred(x_NHWC))),
        "shift": (np.roll(x_NHWC, 1, 2), np.roll(x_NHWC, 2, 2)),
        "noise": (x_NHWC + 0.2 * noise, x_NHWC + 0.4 * noise),
        "fade": (0.8 * x_NHWC, 0.5 * x_NHWC),
        "order": (x_NHWC[:, :, ::-1], mixed),
    }
    for name, pair in worse.items():
        little, much = (distance(drawn(other, images)) for images in pair)
        assert 0.02 < little < much, name


def test_what_is_never_drawn_is_missed(digits: Sequences, distance: ImageDistance) -> None:
    pool = digits[600:]
    assert pool.labels is not None and pool.has_classes
    found = []
    for missing in (0, 3, 6, 9):
        rows = np.flatnonzero(np.isin(pool.labels, pool.classes[missing:]))
        found.append(distance(pool[np.resize(rows, 300)]))
    assert found == sorted(found) and found[1] > 0.005 and found[3] > 0.08
    few = [distance(pool[np.resize(np.arange(k), 300)]) for k in (100, 10, 1)]
    assert few == sorted(few) and few[1] > 0.05 and few[2] > 0.5


@pytest.mark.parametrize("order", ["rows", "columns", "pixels"])
def test_how_images_are_read_makes_no_difference(order: str) -> None:
    x_NHWC = np.random.default_rng(0).random((30, 9, 7, 2)).astype(np.float32) * 255
    rows, other = ImageLayout(9, 7, 2), ImageLayout(9, 7, 2, order=order)  # type: ignore[arg-type]
    one, same = (Sequences(layout.to_sequences(x_NHWC), layout=layout) for layout in (rows, other))
    assert np.array_equal(features(one), features(same))


def test_images_of_any_size_have_features() -> None:
    rng = np.random.default_rng(0)
    for h, w, c in ((1, 1, 1), (2, 5, 1), (40, 100, 3), (257, 31, 1)):
        layout = ImageLayout(h, w, c)
        sets = [Sequences(layout.to_sequences(rng.random((4, h, w, c)) * 255), layout=layout)
                for _ in range(3)]  # fmt: skip
        found = ImageDistance.of(sets[0], sets[1])
        assert found and np.isfinite(found(sets[2])), (h, w, c)


def test_other_data_have_no_such_distance(digits: Sequences) -> None:
    assert ImageDistance.of(Sequences(np.ones((5, 4, 2))), Sequences(np.ones((5, 4, 2)))) is None
    alike = digits[np.zeros(5, int)]
    assert ImageDistance.of(alike, digits[:5]) is None
    assert ImageDistance.of(digits[:1], digits[:5]) is None


def test_a_look_at_images_has_it_and_overall_counts_it(digits: Sequences) -> None:
    scorer = Scorer.of(digits[:300], digits[300:600], 200)
    scorer.settle()
    other = digits[600:800]
    good = scorer.score(lambda n, labels, seed: other)
    x_NHWC = other.layout.to_images(other.values)  # type: ignore[union-attr]
    bad = scorer.score(lambda n, labels, seed: drawn(other, blurred(x_NHWC)))
    assert bad["image_distance"] > 10 * abs(good["image_distance"])
    without = {name: value for name, value in bad.items() if name != "overall"}
    assert scorer.overall(without) == bad["overall"]
    del without["image_distance"]
    assert scorer.overall(without) < bad["overall"]


def test_it_chooses_the_best_checkpoint(tmp_path: object) -> None:
    from rgan.workflow.fit import fit

    more = {"data__source": "digits", "data__max_sequences": 200, "train__epochs": 2}
    looks = {"monitor__every": 1, "monitor__budget": 0.0, "monitor__metric": "image_distance"}
    run = fit(tiny(**more, **looks), runs=str(tmp_path)).run
    found = [e["values"]["image_distance"] for e in events(run.path, "similarity")]
    assert len(found) == 2 and run.info["best"]["metric"] == "image_distance"
    assert run.info["best"]["value"] == pytest.approx(min(found))
    answer = rgan("train", "sines", *TINY, "--set", "monitor.metric=image_distance")
    assert answer.code == 2 and "no images" in answer.err and "monitor.metric=overall" in answer.err
