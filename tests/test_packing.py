"""Packing: what networks read is what the data says, and unpacking gives the data back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan.errors import DataError, InputError
from rgan.layouts import ImageLayout, TableLayout
from rgan.sequences import Sequences, Static
from rgan.transforms.packed import Packed
from rgan.transforms.packing import Packer

STATICS = (
    Static("age", "continuous", unit="years"),
    Static("height", "continuous", unit="cm"),
    Static("male", "binary", levels=("female", "male")),
    Static("smoker", "binary", levels=("no", "yes")),
    Static("unit", "categorical", levels=("CCU", "CSRU", "MICU")),
    Static("ward", "categorical", levels=("A", "B")),
)


def ward_data(seed: int = 0, n: int = 40, labels: str = "str") -> Sequences:
    """Ragged sequences of three features, the second and third with gaps; half the statics too."""
    rng = np.random.default_rng(seed)
    t, f = 7, 3
    lengths = rng.integers(1, t + 1, n)
    lengths[:2] = (1, t)
    observed = rng.random((n, t, f)) < 0.6
    observed[:, :, 0] = True
    static = np.stack(
        [
            rng.normal(size=n),
            rng.normal(size=n),
            *(rng.integers(0, k, n) for k in (2, 2, 3, 2)),
        ],
        axis=1,
    )
    for column in (1, 3, 5):
        static[rng.choice(n, 5, replace=False), column] = np.nan
    kinds = {
        "str": np.array(["died", "left", "moved"])[np.arange(n) % 3],
        "int": (np.arange(n) % 2).astype(np.int8),
        "bool": np.arange(n) % 2 == 0,
        "float": rng.normal(50, 20, n),
        "none": None,
    }
    return Sequences(
        rng.normal(size=(n, t, f)),
        observed=observed,
        lengths=lengths,
        labels=kinds[labels],
        static=static,
        static_info=STATICS,
        feature_names=("hr", "temp", "lactate"),
        units=("bpm", "C", "mmol/L"),
        step=0.5,
        step_unit="h",
        layout=TableLayout(id="stay", time="hour", label="outcome"),
        label_name="outcome",
        name="ward",
    )


@pytest.fixture(params=["str", "int", "bool", "float", "none"])
def data(request: pytest.FixtureRequest) -> Sequences:
    return ward_data(labels=request.param)


def through_json(packer: Packer) -> Packer:
    return Packer.from_state(json.loads(json.dumps(packer.state(), allow_nan=False)))


def test_unpack_gives_back_what_was_packed(data: Sequences) -> None:
    packer = Packer.fit(data)
    back = packer.unpack(packer.pack(data))
    if data.labels is not None and data.labels.dtype.kind == "f":
        np.testing.assert_allclose(back.labels, data.labels, rtol=1e-5)
        back = replace(back, labels=data.labels)
    assert back.equals(data)
    assert back.labels is None or back.labels.dtype == data.labels.dtype
    assert (back.label_name, back.name) == (data.label_name, data.name)


def test_state_survives_json_and_packs_the_same(data: Sequences) -> None:
    packer = Packer.fit(data, bounded=True)
    again = through_json(packer)
    assert again == packer
    assert again.spec.bounded
    one, two = packer.pack(data), again.pack(data)
    for name in ("x_NTD", "static_NS", "lengths_N", "condition_NC"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_spec_counts_what_is_packed(data: Sequences) -> None:
    packer = Packer.fit(data)
    packed = packer.pack(data)
    assert packer.spec.masks == (1, 2)
    assert packer.spec.variable_length
    assert packed.x_NTD.shape == (40, packer.spec.steps, packer.spec.channels) == (40, 7, 5)
    assert packed.static_NS.shape == (40, packer.spec.static)
    assert packed.condition_NC.shape == (40, packer.spec.condition)
    kinds = [array.dtype for array in (packed.x_NTD, packed.static_NS, packed.condition_NC)]
    assert kinds == [np.float32] * 3
    assert packed.lengths_N.dtype == np.int64


def test_nothing_unobserved_is_packed_as_a_value() -> None:
    data = ward_data()
    packed = Packer.fit(data).pack(data)
    assert np.isfinite(packed.x_NTD).all()
    assert np.isfinite(packed.static_NS).all()
    assert (packed.x_NTD[:, :, :3][~data.observed] == 0).all()
    np.testing.assert_array_equal(packed.x_NTD[:, :, 3:] == 1, data.observed[:, :, 1:])


def test_missing_statics_are_known_as_missing() -> None:
    packer = Packer.fit(ward_data())
    assert packer.spec.statics == (
        ("continuous", 1),
        ("continuous", 1),
        ("binary", 1),
        ("binary", 1),
        ("categorical", 3),
        ("categorical", 3),
        ("categorical", 3),
    )


def test_generated_statics_become_plausible_values() -> None:
    data = ward_data()
    packer = Packer.fit(data)
    rng = np.random.default_rng(1)
    packed = packer.pack(data)
    noisy = replace(packed, static_NS=rng.normal(0.5, 1, packed.static_NS.shape))
    static = packer.unpack(noisy).static  # Sequences itself refuses codes that are no levels
    assert static is not None
    assert np.isfinite(static[:, [0, 2, 4]]).all()
    assert all(0 < np.isnan(static[:, column]).mean() < 1 for column in (1, 3, 5))


def test_generated_masks_are_read_at_a_half() -> None:
    data = ward_data()
    packer = Packer.fit(data)
    packed = packer.pack(data)
    packed.x_NTD[:, :, 3] = 0.5
    packed.x_NTD[:, :, 4] = 0.49
    back = packer.unpack(packed)
    np.testing.assert_array_equal(back.observed[:, :, 1], data.valid)
    assert not back.observed[:, :, 2].any()


def test_data_without_gaps_needs_no_masks() -> None:
    data = Sequences(np.zeros((3, 4, 2)))
    spec = Packer.fit(data).spec
    assert (spec.masks, spec.channels, spec.static, spec.condition) == ((), 2, 0, 0)
    assert not spec.variable_length


def test_images_keep_their_layout() -> None:
    layout = ImageLayout(4, 6, 3, order="patches", patch=(2, 3))
    images = np.random.default_rng(0).random((5, 4, 6, 3)).astype(np.float32)
    packer = through_json(Packer.fit(Sequences(layout.to_sequences(images), layout=layout)))
    back = packer.unpack(packer.pack(Sequences(layout.to_sequences(images), layout=layout)))
    np.testing.assert_array_equal(back.to_images(), images)


@pytest.mark.parametrize("rows", [slice(3, 9), [4, 1, 1], np.arange(40) % 2 == 0, 7])
def test_rows_of_packed_stay_together(rows: object) -> None:
    data = ward_data()
    packer = Packer.fit(data)
    part = packer.pack(data)[rows]  # type: ignore[arg-type]
    assert isinstance(part, Packed)
    assert packer.unpack(part).equals(data[rows])  # type: ignore[arg-type]


class TestConditions:
    def test_classes_are_one_hot_and_found_from_text(self) -> None:
        packer = Packer.fit(ward_data(labels="int"))
        np.testing.assert_array_equal(packer.condition([0, 1]), [[1, 0], [0, 1]])
        np.testing.assert_array_equal(packer.condition(["1"]), [[0, 1]])
        np.testing.assert_array_equal(packer.condition(1), [[0, 1]])
        assert packer.classes == (0, 1)
        assert packer.class_counts == (20, 20)

    def test_unknown_class_is_refused_with_the_known_ones(self) -> None:
        packer = Packer.fit(ward_data())
        with pytest.raises(InputError, match=r"'die'.*\n.*died, left, moved") as caught:
            packer.condition(["die"])
        assert 'did you mean "died"?' in caught.value.repair

    def test_floats_are_standardised(self) -> None:
        data = ward_data(labels="float")
        packer = Packer.fit(data)
        condition_NC = packer.condition(data.labels)
        assert condition_NC.shape == (40, 1)
        assert abs(condition_NC.mean()) < 1e-6
        assert condition_NC.std() == pytest.approx(1, abs=1e-5)
        for wrong in ("high", np.nan):
            with pytest.raises(InputError):
                packer.condition([wrong])

    def test_labels_given_to_unpack_win(self) -> None:
        data = ward_data()
        packer = Packer.fit(data)
        back = packer.unpack(packer.pack(data), labels=["left"] * len(data))
        assert back.labels is not None
        assert set(back.labels) == {"left"}

    def test_a_model_without_labels_takes_none(self) -> None:
        packer = Packer.fit(ward_data(labels="none"))
        with pytest.raises(InputError, match="without labels"):
            packer.condition([1])
        assert packer.pack(ward_data()).condition_NC.shape == (40, 0)
        assert packer.draw_labels(np.random.default_rng(0), 4) is None

    def test_one_constant_continuous_label_is_refused(self) -> None:
        with pytest.raises(DataError, match="every label is 2"):
            Packer.fit(Sequences(np.zeros((3, 2, 1)), labels=np.full(3, 2.0)))


class TestDraws:
    def test_labels_come_as_often_as_in_the_data(self) -> None:
        labels = np.array(["a"] * 90 + ["b"] * 10)
        packer = Packer.fit(Sequences(np.zeros((100, 2, 1)), labels=labels))
        drawn = packer.draw_labels(np.random.default_rng(0), 20_000)
        assert drawn is not None
        assert drawn.dtype == labels.dtype
        assert (drawn == "b").mean() == pytest.approx(0.1, abs=0.01)

    def test_continuous_labels_follow_the_quantiles(self) -> None:
        data = ward_data(labels="float", n=400)
        drawn = through_json(Packer.fit(data)).draw_labels(np.random.default_rng(0), 20_000)
        wanted = np.quantile(data.labels, [0.1, 0.5, 0.9])
        np.testing.assert_allclose(np.quantile(drawn, [0.1, 0.5, 0.9]), wanted, atol=1.5)

    def test_each_class_has_its_own_lengths(self) -> None:
        labels = np.arange(60) % 2
        lengths = np.where(labels == 0, 2, 5)
        lengths[:2] = (3, 6)
        packer = through_json(
            Packer.fit(Sequences(np.zeros((60, 6, 1)), lengths=lengths, labels=labels))
        )
        rng = np.random.default_rng(0)
        asked = rng.integers(0, 2, 3_000)
        drawn = packer.draw_lengths(rng, asked, 3_000)
        assert set(drawn[asked == 0]) == {2, 3}
        assert set(drawn[asked == 1]) == {5, 6}
        assert (drawn[asked == 0] == 3).mean() == pytest.approx(1 / 30, abs=0.02)
        assert set(packer.draw_lengths(rng, None, 3_000)) == {2, 3, 5, 6}

    def test_the_same_seed_draws_the_same(self) -> None:
        packer = Packer.fit(ward_data())
        one, two = (np.random.default_rng(5) for _ in range(2))
        np.testing.assert_array_equal(packer.draw_labels(one, 9), packer.draw_labels(two, 9))
        np.testing.assert_array_equal(
            packer.draw_lengths(one, None, 9), packer.draw_lengths(two, None, 9)
        )


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"feature_names": ("hr", "temp", "ph")}, "features are"),
            ({"labels": None}, "no labels"),
            ({"static": None, "static_info": ()}, "static attributes are"),
        ],
    )
    def test_other_descriptions(self, change: dict[str, object], words: str) -> None:
        data = ward_data()
        with pytest.raises(DataError, match=words):
            Packer.fit(data).pack(replace(data, **change))  # type: ignore[arg-type]

    def test_a_gap_where_training_had_none(self) -> None:
        data = ward_data()
        observed = data.observed.copy()
        observed[1, 4, 0] = False
        with pytest.raises(DataError, match='"hr" of row 1, step 4'):
            Packer.fit(data).pack(replace(data, observed=observed))

    def test_a_missing_static_where_training_had_none(self) -> None:
        data = ward_data()
        assert data.static is not None
        static = data.static.copy()
        static[3, 0] = np.nan
        with pytest.raises(DataError, match='static "age" of row 3'):
            Packer.fit(data).pack(replace(data, static=static))

    def test_a_static_that_is_never_known(self) -> None:
        data = Sequences(
            np.zeros((2, 2, 1)), static=np.full((2, 1), np.nan), static_info=(Static("age"),)
        )
        with pytest.raises(DataError, match='"age"'):
            Packer.fit(data)

    def test_a_damaged_state(self) -> None:
        state = Packer.fit(ward_data()).state()
        del state["labels"]
        with pytest.raises(DataError, match="damaged"):
            Packer.from_state(state)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from(["str", "int", "bool", "none"])
)
def test_any_ward_comes_back(seed: int, n: int, labels: str) -> None:
    rows = np.random.default_rng(seed).integers(0, 40, n)
    packer = through_json(Packer.fit(ward_data(seed, labels=labels)))
    part = ward_data(seed, labels=labels)[rows]
    assert packer.unpack(packer.pack(part)).equals(part)
