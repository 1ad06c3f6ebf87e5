"""What the critic sees of generated values is what will be sampled."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rgan.layouts import ImageLayout
from rgan.nets.decisions import on_lattice
from rgan.sequences import Sequences
from rgan.transforms.lattice import value_lattice
from rgan.transforms.pipeline import Pipeline


def vitals() -> Sequences:
    """Whole numbers, one decimal, and a feature without a grid."""
    random = np.random.default_rng(0)
    whole = random.integers(3, 16, (40, 6))
    tenths = np.round(random.normal(37, 1, (40, 6)), 1)
    free = random.normal(size=(40, 6))
    return Sequences(np.stack([whole, tenths, free], axis=2))


@pytest.mark.parametrize("scale", ["zscore", "minmax", "symmetric", "none"])
def test_rounding_on_the_lattice_is_rounding_in_original_units(scale: str) -> None:
    data = vitals()
    pipeline = Pipeline.fit((scale,), data)
    lattice = value_lattice(pipeline, data, clip=True, rounding=True)
    assert lattice is not None
    made = np.random.default_rng(1).normal(0, 3, data.values.shape).astype(np.float32)
    parts = torch.stack([torch.from_numpy(part) for part in lattice.parts])
    seen = on_lattice(torch.from_numpy(made), parts).numpy()

    def sampled(values: np.ndarray) -> np.ndarray:
        return pipeline.like_data(pipeline.invert(Sequences(values))).values

    raw = pipeline.invert(Sequences(seen)).values
    # What the critic saw is what is sampled, up to float32: rounding it again changes nothing.
    assert np.allclose(raw, sampled(seen), atol=2e-4)
    # The same rounding as of the raw values, but for ties.
    assert (np.abs(sampled(seen) - sampled(made)) < 1e-3).mean() > 0.999


def test_real_data_stand_on_it() -> None:
    data = vitals()
    pipeline = Pipeline.fit(("zscore",), data)
    lattice = value_lattice(pipeline, data, clip=True, rounding=True)
    assert lattice is not None
    real = torch.from_numpy(pipeline.apply(data).values)
    parts = torch.stack([torch.from_numpy(part) for part in lattice.parts])
    assert torch.allclose(on_lattice(real, parts), real, atol=2e-5)


def test_the_gradient_passes_unrounded() -> None:
    values = torch.tensor([[[0.3, 99.0]]], requires_grad=True)
    parts = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-2.0, -2.0], [2.0, 2.0]])
    out = on_lattice(values, parts)
    assert out.tolist() == [[[0.0, 2.0]]]
    out.sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[[1.0, 1.0]]]


def test_nothing_is_rounded_or_limited_unless_asked() -> None:
    data = vitals()
    pipeline = Pipeline.fit(("zscore",), data, limits=False)
    lattice = value_lattice(pipeline, data, clip=False, rounding=False)
    assert lattice is not None
    made = torch.randn(4, 6, 3) * 50
    parts = torch.stack([torch.from_numpy(part) for part in lattice.parts])
    assert torch.equal(on_lattice(made, parts), made)


def test_transforms_that_mix_values_have_none() -> None:
    data = vitals()
    pipeline = Pipeline.fit(("differences",), data)
    assert value_lattice(pipeline, data, clip=True, rounding=True) is None


def test_pixels_have_levels() -> None:
    pixels = np.random.default_rng(0).integers(0, 17, (10, 8, 8)).astype(float)
    data = Sequences(pixels, layout=ImageLayout(8, 8, 1, high=16))
    pipeline = Pipeline.fit(("auto",), data)
    lattice = value_lattice(pipeline, data, clip=True, rounding=True)
    assert lattice is not None
    assert np.allclose(lattice.step_F, 2 / 16)


def test_limits_are_not_kept_unless_asked() -> None:
    state = Pipeline.fit(("none",), vitals(), limits=False).state()
    assert all(low is None and high is None for low, high, _ in state["ranges"]["values"])


@pytest.mark.parametrize(("mean", "deviation"), [(5e6, 2.6e6), (5e8, 1e8), (101325, 10)])
def test_large_numbers_keep_their_range(mean: float, deviation: float) -> None:
    values = np.round(np.random.default_rng(0).normal(mean, deviation, (60, 8, 1)))
    data = Sequences(values)
    pipeline = Pipeline.fit(("zscore",), data)
    lattice = value_lattice(pipeline, data, clip=True, rounding=True)
    assert lattice is not None
    scaled = pipeline.apply(data).values
    assert np.isclose(lattice.low_F[0], scaled.min(), atol=1e-3)
    assert np.isclose(lattice.high_F[0], scaled.max(), atol=1e-3)
