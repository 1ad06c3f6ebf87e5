"""``Sequences`` validates itself, keeps its rows together, and names what breaks a rule."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rgan.errors import DataError
from rgan.layouts import ArrayLayout, TableLayout
from rgan.sequences import Sequences, Static, concatenate

FLOATS = st.floats(-1e6, 1e6, width=32)


@st.composite
def sequences(draw: st.DrawFn, n: int | None = None) -> Sequences:
    """Any valid Sequences: ragged or not, with and without gaps, labels, statics and subjects."""
    n = draw(st.integers(1, 6)) if n is None else n
    t, f = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    labels: Any = draw(
        st.sampled_from(
            [None, np.arange(n) % 2, np.arange(n) % 2 == 0, np.array(list("abcdef"))[:n]]
        )
    )
    static = draw(st.booleans())
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    return Sequences(
        draw(hnp.arrays(np.float32, (n, t, f), elements=FLOATS)),
        observed=draw(st.none() | hnp.arrays(np.bool_, (n, t, f))),
        lengths=draw(st.none() | hnp.arrays(np.int64, n, elements=st.integers(1, t))),
        labels=labels,
        static=rng.integers(0, 2, (n, 2)) if static else None,
        static_info=(Static("age"), Static("male", "binary")) if static else (),
        subjects=draw(st.none() | st.just(np.arange(n) // 2)),
        starts=draw(st.none() | st.just(np.arange(n))),
    )


class TestProperties:
    @given(sequences())
    def test_nan_is_exactly_what_is_not_observed(self, data: Sequences) -> None:
        np.testing.assert_array_equal(np.isnan(data.values), ~data.observed)
        assert not data.observed[~data.valid].any()
        assert 0 <= data.share_observed <= 1

    @given(sequences())
    def test_made_again_from_its_parts_it_is_equal(self, data: Sequences) -> None:
        again = replace(data)
        assert again.equals(data)
        assert again.fingerprint() == data.fingerprint()

    @given(sequences(), st.data())
    def test_rows_stay_together(self, data: Sequences, draw: st.DataObject) -> None:
        rows = draw.draw(hnp.arrays(np.int64, st.integers(1, 8), elements=st.integers(0, 5)))
        rows = rows % len(data)
        part = data[rows]
        for name in ("values", "observed", "lengths", "labels", "static", "subjects", "starts"):
            column = getattr(data, name)
            if column is None:
                assert getattr(part, name) is None
            else:
                np.testing.assert_array_equal(getattr(part, name), column[rows])

    @given(sequences(n=5), st.integers(1, 4))
    def test_parts_join_to_the_whole(self, data: Sequences, cut: int) -> None:
        assert concatenate([data[:cut], data[cut:]]).equals(data)

    @given(sequences())
    def test_slices_masks_and_indices_agree(self, data: Sequences) -> None:
        keep = np.arange(len(data)) >= len(data) // 2
        assert data[keep].equals(data[len(data) // 2 :])
        assert data[np.flatnonzero(keep)].equals(data[keep])
        assert data[0].equals(data[:1])

    @given(sequences())
    def test_features_can_be_reordered_and_back(self, data: Sequences) -> None:
        backwards = data.with_features(data.feature_names[::-1])
        np.testing.assert_array_equal(backwards.values, data.values[:, :, ::-1])
        assert backwards.with_features(data.feature_names).equals(data)

    @settings(max_examples=50)
    @given(sequences(), st.data())
    def test_any_change_changes_the_fingerprint(self, data: Sequences, draw: st.DataObject) -> None:
        values = data.values.copy()
        seen = np.argwhere(data.observed)
        if not len(seen):
            return
        place = tuple(seen[draw.draw(st.integers(0, len(seen) - 1))])
        values[place] = values[place] + 1e3
        changed = replace(data, values=values)
        assert changed.fingerprint() != data.fingerprint()
        assert not changed.equals(data)
        hidden = data.observed.copy()
        hidden[place] = False
        assert replace(data, observed=hidden).fingerprint() != data.fingerprint()

    @given(sequences())
    def test_what_is_written_under_the_mask_is_lost(self, data: Sequences) -> None:
        loud = np.where(data.observed, data.values, 1e9)
        assert replace(data, values=loud).equals(data)


class TestWhatIsFilledIn:
    def test_defaults(self) -> None:
        data = Sequences(np.zeros((2, 3, 2)), lengths=[3, 1])
        assert data.feature_names == ("x0", "x1")
        assert data.units == ("", "")
        assert data.values.dtype == np.float32
        assert (data.n_steps, data.n_features, len(data)) == (3, 2, 2)
        assert data.observed.sum() == 8
        assert not data.fixed_length
        assert data.fully_observed
        assert data.layout == ArrayLayout()

    def test_share_observed_counts_within_the_lengths(self) -> None:
        observed = np.ones((2, 4, 1), dtype=bool)
        observed[0, 1] = False
        data = Sequences(np.zeros((2, 4, 1)), observed=observed, lengths=[2, 2])
        assert data.share_observed == 0.75
        assert not data.fully_observed

    @pytest.mark.parametrize(
        ("labels", "classes"),
        [
            ([1, 0], [0, 1]),
            ([True, False], [False, True]),
            (["b", "a"], ["a", "b"]),
            (np.array(["b", "a"], dtype=object), ["a", "b"]),
            ([0.5, 1.5], []),
            (None, []),
        ],
    )
    def test_classes(self, labels: Any, classes: list[Any]) -> None:
        data = Sequences(np.zeros((2, 1, 1)), labels=labels)
        assert data.classes.tolist() == classes
        assert data.has_classes == bool(classes)

    def test_nothing_can_be_changed(self) -> None:
        with pytest.raises(FrozenInstanceError):
            Sequences(np.zeros((1, 1, 1))).values = np.ones((1, 1, 1))  # type: ignore[misc]


ZEROS = np.zeros((2, 3, 2))
NAN = np.where(np.arange(12).reshape(2, 3, 2) == 9, np.nan, 0)
INF = np.where(np.arange(12).reshape(2, 3, 2) == 9, np.inf, 0)


@pytest.mark.parametrize(
    ("values", "fields", "words"),
    [
        ([[[1.0]], [[1.0], [2.0]]], {}, "ragged"),
        (np.full((1, 1, 1), "x"), {}, "not numbers"),
        (np.zeros((2, 3)), {}, r"shape \(2, 3\)"),
        (np.zeros((0, 3, 1)), {}, r"shape \(0, 3, 1\)"),
        (NAN, {}, "row 1, step 1, column 1 is NaN, and there is no mask"),
        (INF, {}, 'row 1, step 1, column 1 ("x1") is inf'),
        (ZEROS + 1e300, {}, "row 0, step 0, column 0"),
        (NAN, {"observed": np.ones((2, 3, 2), dtype=bool)}, 'row 1, step 1, column 1 ("x1")'),
        (ZEROS, {"observed": np.ones((2, 3), dtype=bool)}, "observed is bool of shape"),
        (ZEROS, {"observed": np.ones((2, 3, 2))}, "observed is float64"),
        (ZEROS, {"lengths": [3, 4]}, "row 1 has the length 4"),
        (ZEROS, {"lengths": [0, 3]}, "row 0 has the length 0"),
        (ZEROS, {"lengths": [1.0, 2.0]}, "lengths are float64"),
        (ZEROS, {"lengths": [1]}, "lengths are int64 of shape"),
        (ZEROS, {"labels": [1]}, "labels have the shape"),
        (ZEROS, {"labels": [1.0, np.nan]}, "labels: row 1 is nan"),
        (ZEROS, {"labels": np.array(["a", None], dtype=object)}, "labels: row 1 is empty"),
        (ZEROS, {"subjects": [[1, 2]]}, "subjects have the shape"),
        (ZEROS, {"feature_names": ("hr",)}, "1 feature names"),
        (ZEROS, {"feature_names": ("hr", "hr")}, '"hr" occurs twice'),
        (ZEROS, {"units": ("bpm",)}, "1 units"),
        (ZEROS, {"step": 0.0}, "step is 0"),
        (ZEROS, {"static": np.zeros((2, 1))}, "0 descriptions"),
        (ZEROS, {"static_info": (Static("age"),)}, "describes 1 columns"),
        (
            ZEROS,
            {"static": [[0], [2]], "static_info": (Static("male", "binary"),)},
            'static "male" holds 2',
        ),
        (
            ZEROS,
            {"static": [[0], [1]], "static_info": (Static("unit", "categorical", ("CCU",)),)},
            'static "unit" holds 1',
        ),
        (
            ZEROS,
            {"static": [[0], [np.inf]], "static_info": (Static("age"),)},
            'static "age" is infinite',
        ),
    ],
)
def test_what_breaks_a_rule_is_named(values: Any, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        Sequences(values, **fields)
    assert words.replace("\\", "") in caught.value.found
    assert caught.value.rule


class TestRefused:
    def test_an_unknown_feature(self) -> None:
        with pytest.raises(DataError, match='no feature "spo2"') as caught:
            Sequences(ZEROS).with_features(["x0", "spo2"])
        assert "x0, x1" in caught.value.rule

    def test_images_of_what_is_no_image(self) -> None:
        with pytest.raises(DataError, match="not images"):
            Sequences(ZEROS).to_images()

    def test_joining_nothing(self) -> None:
        with pytest.raises(DataError, match="nothing"):
            concatenate([])

    @pytest.mark.parametrize(
        "other",
        [
            Sequences(np.zeros((2, 4, 2))),
            Sequences(ZEROS, feature_names=("a", "b")),
            Sequences(ZEROS, layout=TableLayout()),
            Sequences(ZEROS, static=np.zeros((2, 1)), static_info=(Static("age"),)),
        ],
    )
    def test_joining_what_differs(self, other: Sequences) -> None:
        with pytest.raises(DataError, match="differs"):
            concatenate([Sequences(ZEROS), other])
