"""Windows and splits: no shared subject, no shared step of time, no empty set."""

from __future__ import annotations

import logging
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan.data.config import DataConfig
from rgan.data.split import Splits, split
from rgan.data.windows import cut_windows
from rgan.errors import ConfigError, DataError
from rgan.layouts import ImageLayout
from rgan.sequences import Sequences


def numbered(lengths: list[int]) -> Sequences:
    """Series whose every value is a number of its own, so that shared steps show."""
    n, t = len(lengths), max(lengths)
    return Sequences(np.arange(n * t, dtype=float).reshape(n, t, 1), lengths=np.array(lengths))


def sets(splits: Splits) -> list[Sequences]:
    return [splits.train, splits.validation, splits.test]


def share_steps(splits: Splits) -> bool:
    seen = [set(part.values[part.observed].tolist()) for part in sets(splits)]
    return any(a & b for a, b in combinations(seen, 2))


def share_subjects(splits: Splits) -> bool:
    seen = [set(part.subjects.tolist()) for part in sets(splits)]  # type: ignore[union-attr]
    return any(a & b for a, b in combinations(seen, 2))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(2, 12), st.integers(1, 7))
def test_windows_are_slices_of_their_series(lengths: list[int], window: int, stride: int) -> None:
    series = numbered(lengths)
    if max(lengths) < window:
        with pytest.raises(DataError, match="--window"):
            cut_windows(series, window, stride)
        return
    cut = cut_windows(series, window, stride)
    expected = [
        (row, start)
        for row, length in enumerate(lengths)
        for start in range(0, length - window + 1, stride)
    ]
    assert cut.starts is not None
    assert cut.subjects is not None
    assert list(zip(cut.subjects.tolist(), cut.starts.tolist(), strict=True)) == expected
    for index, (row, start) in enumerate(expected):
        assert np.array_equal(cut.values[index], series.values[row, start : start + window])


def test_windows_keep_what_belongs_to_the_series() -> None:
    series = Sequences(
        np.zeros((2, 6, 1)),
        labels=np.array(["a", "b"]),
        subjects=np.array([7, 9]),
        starts=np.array([100, 0]),
    )
    cut = cut_windows(series, 4, 2)
    assert cut.labels is not None
    assert cut.starts is not None
    assert cut.subjects is not None
    assert cut.labels.tolist() == ["a", "a", "b", "b"]
    assert cut.starts.tolist() == [100, 102, 0, 2]
    assert cut.subjects.tolist() == [7, 7, 9, 9]


def test_short_series_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        cut_windows(numbered([10, 3, 2]), 5)
    assert "2 of 3 series" in caplog.text


def test_windows_refuse() -> None:
    with pytest.raises(ConfigError, match="stride is 0"):
        cut_windows(numbered([10]), 5, 0)
    images = Sequences(np.zeros((2, 4, 4)), layout=ImageLayout(4, 4))
    with pytest.raises(DataError, match="images"):
        cut_windows(images, 2)


@settings(deadline=None)
@given(st.integers(120, 300), st.integers(1, 9), st.integers(2, 8), st.integers(1, 8))
def test_windows_of_few_series_share_no_step(
    length: int, series: int, window: int, stride: int
) -> None:
    windows = cut_windows(numbered([length] * series), window, stride)
    splits = split(windows, DataConfig())
    assert splits.kind == "time"
    assert not share_steps(splits)
    for subject in range(series):
        ends = [part.starts[part.subjects == subject] for part in sets(splits)]  # type: ignore[index]
        assert ends[0].max() < ends[1].min() < ends[2].min()


def test_windows_of_many_subjects_share_nobody() -> None:
    windows = cut_windows(numbered([30] * 20), 10)
    splits = split(windows, DataConfig(), seed=1)
    assert splits.kind == "subject"
    assert not share_subjects(splits)
    assert not share_steps(splits)
    assert sum(map(len, sets(splits))) == len(windows)


def test_random_windows_only_by_name(caplog: pytest.LogCaptureFixture) -> None:
    windows = cut_windows(numbered([200]), 10)
    splits = split(windows, DataConfig(split="random"))
    assert share_steps(splits)  # which is why it must be asked for
    assert splits.kind == "random"
    assert "--set data.split=auto" in caplog.text, "and why it is said"


def test_windows_that_share_nothing_are_split_at_random_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    windows = cut_windows(numbered([200, 60]), 10, stride=10)
    splits = split(windows, DataConfig(split="random"))
    assert not share_steps(splits) and not caplog.text


@settings(deadline=None)
@given(st.integers(20, 80), st.integers(0, 5))
def test_repeated_subjects_are_in_one_set(n: int, seed: int) -> None:
    subjects = np.random.default_rng(seed).integers(0, n // 2, n)
    s = Sequences(np.zeros((n, 2, 1)), subjects=subjects)
    splits = split(s, DataConfig(), seed)
    assert splits.kind == "subject"
    assert not share_subjects(splits)
    assert sum(map(len, sets(splits))) == n


def test_rows_keep_the_classes_shares() -> None:
    labels = np.repeat([0, 1, 2], [700, 280, 20])
    s = Sequences(np.arange(2000.0).reshape(1000, 2, 1), labels=labels, subjects=np.arange(1000))
    splits = split(s, DataConfig(), seed=5)
    assert splits.kind == "row"
    assert [len(part) for part in sets(splits)] == [700, 150, 150]
    for part in sets(splits):
        assert np.bincount(part.labels)[2] / len(part) == pytest.approx(0.02, abs=0.007)
    assert not share_steps(splits)


@given(st.lists(st.integers(2, 9), min_size=1, max_size=6).filter(lambda c: sum(c) >= 12))
def test_every_class_is_trained_on(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    s = Sequences(np.zeros((len(labels), 2, 1)), labels=labels)
    splits = split(s, DataConfig())
    assert set(splits.train.labels.tolist()) == set(range(len(counts)))  # type: ignore[union-attr]
    enough = {c for c, count in enumerate(counts) if count >= 3}
    assert enough <= set(splits.test.labels.tolist())  # type: ignore[union-attr]


def test_the_seed_decides() -> None:
    s = Sequences(np.arange(200.0).reshape(100, 2, 1))
    a, b, c = (split(s, DataConfig(), seed) for seed in (0, 0, 1))
    assert a.test.equals(b.test)
    assert not a.test.equals(c.test)


def test_official_parts_stay() -> None:
    part = np.array(["train"] * 60 + ["test"] * 40)
    s = Sequences(np.arange(200.0).reshape(100, 2, 1), part=part, labels=np.arange(100) % 4)
    splits = split(s, DataConfig(), seed=2)
    assert splits.kind == "official"
    assert np.array_equal(splits.test.values, s.values[60:])
    assert len(splits.validation) == 9
    assert set(splits.validation.part) == {"train"}  # type: ignore[arg-type]
    only = split(s[:60], DataConfig())
    assert only.kind == "row"


def test_official_parts_with_subjects_and_windows() -> None:
    part = np.array(["train"] * 3 + ["test"] * 2)
    series = Sequences(np.arange(500.0).reshape(5, 100, 1), part=part)
    splits = split(cut_windows(series, 10), DataConfig())
    assert splits.kind == "official"
    assert not share_steps(splits)


@pytest.mark.parametrize(
    ("kind", "n"), [("time", 50), ("subject", 50), ("official", 50), ("auto", 2), ("random", 2)]
)
def test_what_does_not_fit_is_refused(kind: str, n: int) -> None:
    s = Sequences(np.zeros((n, 2, 1)))
    with pytest.raises(DataError, match="split"):
        split(s, DataConfig(split=kind))  # type: ignore[arg-type]


def test_a_window_too_long_for_a_share() -> None:
    windows = cut_windows(numbered([30]), 10)
    with pytest.raises(DataError, match="smaller --window"):
        split(windows, DataConfig())
