"""Every transform inverts, respects what is not observed, and survives being written down."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan.errors import ConfigError, DataError
from rgan.layouts import ImageLayout
from rgan.sequences import Sequences, Static
from rgan.transforms.base import Transform
from rgan.transforms.config import TransformConfig
from rgan.transforms.packing import Packer
from rgan.transforms.pipeline import TRANSFORMS, Pipeline
from rgan.transforms.scale import StaticScale

EVERY = [*TRANSFORMS.values(), StaticScale]
CHAINS = [(name,) for name in TRANSFORMS if name != "pixels"] + [
    ("differences", "zscore"),
    ("local-max", "differences", "symmetric"),
    ("zscore", "local-max"),
]


def vitals(seed: int = 0, n: int = 30, t: int = 8, f: int = 3, gaps: bool = True) -> Sequences:
    """Positive and negative, of very different sizes, ragged, with gaps and an unseen series."""
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.integers(-3, 5, f)
    lengths = rng.integers(2, t + 1, n) if gaps else np.full(n, t)
    observed = rng.random((n, t, f)) < (0.7 if gaps else 1)
    observed[0] = True  # each feature is seen at least twice
    lengths[0] = t
    if gaps:
        observed[-1, :, 0] = False
    static = np.stack([rng.normal(60, 20, n), rng.integers(0, 3, n).astype(float)], axis=1)
    if gaps:
        static[1, 0] = np.nan
    return Sequences(
        (rng.normal(size=(n, t, f)) + rng.normal(size=f)) * size,
        observed=observed,
        lengths=lengths,
        labels=np.arange(n) % 2,
        static=static,
        static_info=(
            Static("age", unit="years"),
            Static("unit", "categorical", levels=("CCU", "CSRU", "MICU")),
        ),
    )


def images(seed: int = 0) -> Sequences:
    layout = ImageLayout(5, 4, 3, order="columns")
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 4, 3))
    pixels[:, 0, 0] = 0  # a corner that is always black
    return Sequences(layout.to_sequences(pixels), layout=layout)


def data_for(transform: type[Transform], seed: int = 0) -> Sequences:
    return images(seed) if transform.name == "pixels" else vitals(seed)


def assert_same(found: Sequences, wanted: Sequences, tolerance: float = 2e-6) -> None:
    """Equal but for float32's rounding, relative to the largest value of the feature."""
    top_F = np.nanmax(np.abs(wanted.values), axis=(0, 1)) + 1e-30
    np.testing.assert_allclose(found.values / top_F, wanted.values / top_F, atol=tolerance)
    if wanted.static is not None:
        assert found.static is not None
        np.testing.assert_allclose(found.static, wanted.static, rtol=1e-5, atol=1e-5)
    exact = {"values": wanted.values, "static": wanted.static}
    assert replace(found, **exact).equals(wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: t.name)
class TestContract:
    def test_inverts(self, transform: type[Transform]) -> None:
        data = data_for(transform)
        fitted = transform.fit(data)
        assert_same(fitted.invert(fitted.apply(data)), data)

    def test_inverts_data_that_it_was_not_fitted_to(self, transform: type[Transform]) -> None:
        data = data_for(transform)
        other = replace(data, values=data.values * 3 + 1)
        fitted = transform.fit(data)
        assert_same(fitted.invert(fitted.apply(other)), other)

    def test_state_survives_json(self, transform: type[Transform]) -> None:
        data = data_for(transform)
        fitted = transform.fit(data)
        again = transform.from_state(json.loads(json.dumps(fitted.state(), allow_nan=False)))
        assert again == fitted
        assert fitted.state()["name"] == transform.name
        assert again.apply(data).equals(fitted.apply(data))

    def test_unobserved_values_do_not_matter(self, transform: type[Transform]) -> None:
        data = data_for(transform)
        hidden = data.values.copy()
        hidden[~data.observed] = 1e9
        fitted = transform.fit(replace(data, values=hidden))
        assert fitted == transform.fit(data)

    def test_steps_past_the_end_do_not_matter(self, transform: type[Transform]) -> None:
        if transform.name == "pixels":
            pytest.skip("images have no ends")
        data = data_for(transform)
        pad = ((0, 0), (0, 4), (0, 0))
        padded = replace(
            data,
            values=np.pad(data.values, pad, constant_values=-1e9),
            observed=np.pad(data.observed, pad, constant_values=True),
        )
        fitted = transform.fit(padded)
        assert fitted == transform.fit(data)
        short = fitted.apply(padded).values[:, : data.n_steps]
        np.testing.assert_array_equal(short, fitted.apply(data).values)

    def test_unobserved_stays_unobserved(self, transform: type[Transform]) -> None:
        data = data_for(transform)
        fitted = transform.fit(data)
        for changed in (fitted.apply(data), fitted.invert(fitted.apply(data))):
            np.testing.assert_array_equal(changed.observed, data.observed)
            np.testing.assert_array_equal(np.isnan(changed.values), ~data.observed)
            np.testing.assert_array_equal(changed.lengths, data.lengths)
            np.testing.assert_array_equal(changed.labels, data.labels)

    def test_bounded_says_whether_values_are(self, transform: type[Transform]) -> None:
        data = data_for(transform)
        top = np.nanmax(np.abs(transform.fit(data).apply(data).values))
        assert (top <= 1 + 1e-6) == transform.bounded

    def test_original_is_left_alone(self, transform: type[Transform]) -> None:
        data = data_for(transform)
        before = data.fingerprint()
        fitted = transform.fit(data)
        fitted.invert(fitted.apply(data))
        assert data.fingerprint() == before

    def test_more_rows_than_a_chunk(
        self, transform: type[Transform], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = data_for(transform)
        whole = transform.fit(data).apply(data)
        for module in ("base", "sequence"):
            monkeypatch.setattr(f"rgan.transforms.{module}.CHUNK", 4)
        assert transform.fit(data).apply(data).equals(whole)

    def test_damaged_state_is_refused(self, transform: type[Transform]) -> None:
        with pytest.raises(DataError, match="damaged"):
            transform.from_state({"name": transform.name, "surprise": 1})


@pytest.mark.parametrize("names", CHAINS, ids="+".join)
class TestPipeline:
    def test_inverts_through_json_and_packing(self, names: tuple[str, ...]) -> None:
        data = vitals()
        fitted = Pipeline.fit(names, data)
        assert fitted.names == names
        again = Pipeline.from_state(json.loads(json.dumps(fitted.state(), allow_nan=False)))
        assert again == fitted
        transformed = again.apply(data)
        packer = Packer.fit(transformed, bounded=again.bounded)
        back = again.invert(packer.unpack(packer.pack(transformed)))
        assert_same(replace(back, subjects=data.subjects), data, tolerance=1e-5)

    def test_what_is_transformed_is_small(self, names: tuple[str, ...]) -> None:
        if names in (("none",), ("differences",)):
            pytest.skip("these leave the size alone")
        data = vitals()
        transformed = Pipeline.fit(names, data).apply(data)
        assert np.nanmax(np.abs(transformed.values)) < 10
        assert transformed.static is not None
        assert np.nanmax(np.abs(transformed.static)) < 10

    def test_noise_comes_back_as_sequences(self, names: tuple[str, ...]) -> None:
        data = vitals()
        fitted = Pipeline.fit(names, data)
        packer = Packer.fit(fitted.apply(data))
        packed = packer.pack(fitted.apply(data))
        rng = np.random.default_rng(0)
        noise = replace(
            packed,
            x_NTD=rng.normal(size=packed.x_NTD.shape).astype(np.float32),
            static_NS=rng.normal(size=packed.static_NS.shape).astype(np.float32),
        )
        made = fitted.round_like_data(fitted.clip(fitted.invert(packer.unpack(noise))))
        assert made.static_info == data.static_info
        assert made.feature_names == data.feature_names
        low, high = (f(data.values, axis=(0, 1)) for f in (np.nanmin, np.nanmax))
        assert ((made.values >= low) & (made.values <= high))[made.observed].all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 12),
    t=st.integers(2, 9),
    f=st.integers(1, 4),
    gaps=st.booleans(),
    names=st.sampled_from(CHAINS),
)
def test_any_data_inverts(
    seed: int, n: int, t: int, f: int, gaps: bool, names: tuple[str, ...]
) -> None:
    data = vitals(seed, n, t, f, gaps)
    fitted = Pipeline.fit(names, data)
    assert_same(fitted.invert(fitted.apply(data)), data, tolerance=1e-5)


class TestValues:
    """What each transform is, on numbers that can be checked by eye."""

    series = Sequences(
        np.array([[[2.0], [9.0], [4.0], [8.0]], [[-1.0], [0.0], [1.0], [3.0]]]),
        observed=np.array([[1, 0, 1, 1], [1, 1, 1, 1]], dtype=bool)[:, :, None],
        feature_names=("hr",),
        units=("bpm",),
    )

    def test_zscore(self) -> None:
        values = TRANSFORMS["zscore"].fit(self.series).apply(self.series).values
        assert np.nanmean(values) == pytest.approx(0, abs=1e-6)
        assert np.nanstd(values) == pytest.approx(1, abs=1e-6)

    @pytest.mark.parametrize(("name", "low"), [("minmax", 0), ("symmetric", -1)])
    def test_ranges(self, name: str, low: int) -> None:
        values = TRANSFORMS[name].fit(self.series).apply(self.series).values
        assert (np.nanmin(values), np.nanmax(values)) == (low, 1)

    def test_local_max(self) -> None:
        changed = TRANSFORMS["local-max"].fit(self.series).apply(self.series)
        np.testing.assert_allclose(
            changed.values[:, :, 0], [[0.25, np.nan, 0.5, 1], [-1 / 3, 0, 1 / 3, 1]], rtol=1e-6
        )
        assert [s.name for s in changed.static_info] == ["log-max:hr"]
        np.testing.assert_allclose(np.exp(changed.static), [[8], [3]], rtol=1e-6)

    def test_differences(self) -> None:
        changed = TRANSFORMS["differences"].fit(self.series).apply(self.series)
        np.testing.assert_array_equal(changed.values[:, :, 0], [[0, np.nan, 2, 4], [0, 1, 1, 2]])
        assert changed.static_info == (Static("start:hr", unit="bpm"),)
        np.testing.assert_array_equal(changed.static, [[2], [-1]])

    def test_differences_do_not_drift(self) -> None:
        walk = np.cumsum(np.random.default_rng(0).normal(size=(2, 20_000, 1)), axis=1) + 0.1
        data = Sequences(walk)
        fitted = TRANSFORMS["differences"].fit(data)
        back = fitted.invert(fitted.apply(data))
        np.testing.assert_allclose(back.values, data.values, rtol=2e-7, atol=2e-6)

    @pytest.mark.parametrize("name", ["local-max", "differences"])
    def test_a_series_never_observed_gets_the_median(self, name: str) -> None:
        values = np.array([2.0, 4.0, 8.0, 1.0])[:, None, None] * np.ones((4, 3, 1))
        observed = np.ones((4, 3, 1), dtype=bool)
        observed[3] = False
        data = Sequences(values, observed=observed)
        fitted = TRANSFORMS[name].fit(data)
        changed = fitted.apply(data)
        assert changed.static is not None
        wanted = np.log(4) if name == "local-max" else 4
        assert changed.static[3, 0] == pytest.approx(wanted, rel=1e-6)
        assert_same(fitted.invert(changed), data)

    def test_all_zero_series_has_no_scale(self) -> None:
        data = Sequences(np.array([[[0.0], [0.0]], [[5.0], [1.0]]]))
        fitted = TRANSFORMS["local-max"].fit(data)
        assert_same(fitted.invert(fitted.apply(data)), data)

    def test_pixels(self) -> None:
        data = images()
        changed = TRANSFORMS["pixels"].fit(data).apply(data)
        np.testing.assert_allclose(changed.values, data.values / 127.5 - 1, atol=1e-6)

    def test_constant_static_is_only_shifted(self) -> None:
        data = Sequences(
            np.arange(6.0).reshape(3, 2, 1), static=np.full((3, 1), 7), static_info=(Static("age"),)
        )
        changed = StaticScale.fit(data).apply(data)
        np.testing.assert_array_equal(changed.static, np.zeros((3, 1)))


class TestChoice:
    def test_auto(self) -> None:
        assert Pipeline.fit(("auto",), vitals()).names == ("zscore",)
        assert Pipeline.fit(("auto",), images()).names == ("pixels",)

    @pytest.mark.parametrize(
        ("names", "bounded"),
        [
            (("zscore",), False),
            (("symmetric",), True),
            (("minmax",), True),
            (("local-max",), True),
            (("symmetric", "differences"), False),
            (("differences", "symmetric"), True),
            (("symmetric", "none"), True),
            (("none",), False),
        ],
    )
    def test_bounded_is_the_last_ones(self, names: tuple[str, ...], bounded: bool) -> None:
        assert Pipeline.fit(names, vitals()).bounded == bounded

    def test_unknown_name(self) -> None:
        with pytest.raises(ConfigError, match='"zscor" is not known') as caught:
            Pipeline.fit(("zscor",), vitals())
        assert "zscore" in caught.value.repair
        for names in ((), ("auto", "zscore")):
            with pytest.raises(ConfigError):
                Pipeline.fit(names, vitals())

    def test_pixels_of_what_is_no_image(self) -> None:
        with pytest.raises(DataError, match="not images"):
            Pipeline.fit(("pixels",), vitals())

    def test_config(self) -> None:
        assert TransformConfig() == TransformConfig(scale=("auto",), clip=True, round=True)
        with pytest.raises(pydantic.ValidationError):
            TransformConfig(scales=("auto",))  # type: ignore[call-arg]


class TestRefused:
    @pytest.mark.parametrize("name", ["zscore", "minmax", "symmetric"])
    def test_a_constant_feature_is_named(self, name: str) -> None:
        values = np.random.default_rng(0).normal(size=(4, 3, 2))
        values[:, :, 1] = 37
        with pytest.raises(DataError, match='"temp" is constant') as caught:
            Pipeline.fit((name,), Sequences(values, feature_names=("hr", "temp")))
        assert caught.value.repair == '--drop "temp"'

    @pytest.mark.parametrize("names", CHAINS, ids="+".join)
    def test_a_feature_never_observed_is_named(self, names: tuple[str, ...]) -> None:
        data = vitals()
        observed = data.observed.copy()
        observed[:, :, 1] = False
        with pytest.raises(DataError, match='"x1" is never observed'):
            Pipeline.fit(names, replace(data, observed=observed))

    def test_other_features(self) -> None:
        fitted = Pipeline.fit(("zscore",), vitals())
        with pytest.raises(DataError, match="x0, x2"):
            fitted.apply(vitals().with_features(["x0", "x2"]))

    def test_a_static_of_the_added_name(self) -> None:
        with pytest.raises(DataError, match="already"):
            Pipeline.fit(("differences", "differences"), vitals())

    def test_inverting_what_was_not_applied(self) -> None:
        data = vitals()
        with pytest.raises(DataError, match="start:x0"):
            TRANSFORMS["differences"].fit(data).invert(data)

    def test_damaged_states(self) -> None:
        state = Pipeline.fit(("zscore",), vitals()).state()
        for change in ({"steps": [{"name": "pickle"}]}, {"ranges": {"values": [[1]]}}):
            with pytest.raises(DataError, match="damaged"):
                Pipeline.from_state({**state, **change})
        with pytest.raises(DataError, match="damaged"):
            Pipeline.from_state({})


class TestLikeData:
    def scores(self) -> Sequences:
        rng = np.random.default_rng(0)
        values = np.stack(
            [
                rng.integers(3, 16, (50, 4)),
                rng.normal(37, 1, (50, 4)).round(1),
                rng.random((50, 4)),
            ],
            axis=2,
        )
        static = rng.integers(18, 90, (50, 1))
        return Sequences(
            values,
            feature_names=("gcs", "temp", "noise"),
            static=static,
            static_info=(Static("age"),),
        )

    def test_rounds_to_the_decimals_of_the_data(self) -> None:
        data = self.scores()
        fitted = Pipeline.fit(("zscore",), data)
        off = replace(data, values=data.values + 0.0123, static=data.static + 0.3)
        rounded = fitted.round_like_data(off)
        np.testing.assert_array_equal(rounded.values[:, :, :2], data.values[:, :, :2])
        np.testing.assert_array_equal(rounded.values[:, :, 2], off.values[:, :, 2])
        np.testing.assert_array_equal(rounded.static, data.static)

    def test_what_comes_in_tens_or_hundreds_is_made_so(self) -> None:
        rng = np.random.default_rng(0)
        values = np.stack(
            [
                10 * rng.integers(1, 100, (50, 4)),
                100 * rng.integers(0, 9, (50, 4)),
                100 * rng.integers(0, 2, (50, 4)),  # two values may be a switch of any size
            ],
            axis=2,
        ).astype(np.float32)
        data = Sequences(values)
        fitted = Pipeline.fit(("zscore",), data)
        assert [span[2] for span in fitted.ranges.values] == [-1, -2, 0]
        off = replace(data, values=data.values + 4.3)
        rounded = fitted.round_like_data(off).values
        np.testing.assert_array_equal(rounded[..., :2], data.values[..., :2])
        np.testing.assert_array_equal(rounded[..., 2], data.values[..., 2] + 4)

    def test_training_data_is_already_so(self) -> None:
        data = self.scores()
        fitted = Pipeline.fit(("zscore",), data)
        assert fitted.clip(data).equals(data)
        assert fitted.round_like_data(data).equals(data)

    def test_clips_to_the_range_of_the_data(self) -> None:
        data = self.scores()
        fitted = Pipeline.fit(("zscore",), data)
        clipped = fitted.clip(replace(data, values=data.values * 3 - 20, static=data.static * 9))
        assert (clipped.values[:, :, 0].min(), clipped.values[:, :, 0].max()) == (3, 15)
        assert clipped.static is not None
        assert clipped.static.max() == data.static.max()

    def test_both_at_once_are_both_in_turn(self) -> None:
        data = self.scores()
        fitted = Pipeline.fit(("zscore",), data)
        off = replace(data, values=data.values * 1.37 - 3.3, static=data.static * 1.7)
        in_turn = fitted.round_like_data(fitted.clip(off))
        assert fitted.like_data(off).equals(in_turn)
        assert fitted.like_data(off, clip=False).equals(fitted.round_like_data(off))
        assert fitted.like_data(off, rounding=False).equals(fitted.clip(off))
        assert fitted.like_data(off, clip=False, rounding=False).equals(off)

    def test_codes_are_left_alone(self) -> None:
        fitted = Pipeline.fit(("zscore",), vitals())
        assert fitted.ranges.static[1] is None

    def test_no_negative_zero(self) -> None:
        data = self.scores()
        fitted = Pipeline.fit(("none",), data)
        rounded = fitted.round_like_data(replace(data, values=data.values * 0 - 0.01))
        assert not np.signbit(rounded.values[:, :, 0]).any()


def test_faces_survive_the_way_there_and_back() -> None:
    root = Path(os.environ.get("RGAN_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
    archive = root / "lfwcrop" / "lfwcrop_grey.zip"
    if not archive.exists():
        pytest.skip(f"no {archive.name}; set RGAN_DATA to the folder that has it")
    import io
    import zipfile

    from PIL import Image

    with zipfile.ZipFile(archive) as file:
        names = sorted(n for n in file.namelist() if n.endswith(".pgm"))[:50]
        faces = np.stack([np.asarray(Image.open(io.BytesIO(file.read(n)))) for n in names])
    layout = ImageLayout(64, 64, order="patches", patch=(8, 8))
    data = Sequences(layout.to_sequences(faces[..., None]), layout=layout)
    fitted = Pipeline.fit(("auto",), data)
    packer = Packer.fit(fitted.apply(data), bounded=fitted.bounded)
    back = fitted.invert(packer.unpack(packer.pack(fitted.apply(data))))
    np.testing.assert_array_equal(fitted.round_like_data(back).to_images()[..., 0], faces)
