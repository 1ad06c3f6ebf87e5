"""Every order of reading an image inverts exactly, for any size, and walks as it says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgan.errors import ConfigError, DataError
from rgan.layouts import (
    IMAGE_ORDERS,
    ArrayLayout,
    ImageLayout,
    Layout,
    TableLayout,
    layout_from_dict,
    layout_to_dict,
)
from rgan.sequences import Sequences


@st.composite
def image_layouts(draw: st.DrawFn) -> ImageLayout:
    """Any order; height and width are multiples of the patch, seldom equal."""
    patch_h, patch_w = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    order = draw(st.sampled_from(IMAGE_ORDERS))
    return ImageLayout(
        height=patch_h * draw(st.integers(1, 5)),
        width=patch_w * draw(st.integers(1, 5)),
        channels=draw(st.integers(1, 4)),
        order=order,
        patch=(patch_h, patch_w) if order == "patches" else None,
    )


def numbered(layout: ImageLayout, n: int = 3) -> np.ndarray[Any, Any]:
    """Images in which every pixel is another number, so that any swap shows."""
    shape = (n, layout.height, layout.width, layout.channels)
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@given(image_layouts(), st.integers(1, 4))
def test_every_order_inverts_exactly(layout: ImageLayout, n: int) -> None:
    images_NHWC = numbered(layout, n)
    values_NTF = layout.to_sequences(images_NHWC)
    assert values_NTF.shape == (n, *layout.shape)
    np.testing.assert_array_equal(layout.to_images(values_NTF), images_NHWC)


@given(image_layouts(), st.sampled_from(["uint8", "int32", "float64"]))
def test_the_type_of_a_pixel_is_kept(layout: ImageLayout, dtype: str) -> None:
    images_NHWC = (numbered(layout) % 256).astype(dtype)
    values_NTF = layout.to_sequences(images_NHWC)
    assert values_NTF.dtype == dtype
    assert layout.to_images(values_NTF).dtype == dtype


@given(image_layouts())
def test_layouts_survive_json(layout: ImageLayout) -> None:
    assert layout_from_dict(json.loads(json.dumps(layout_to_dict(layout)))) == layout


class TestOrders:
    """A 2 x 3 image in two colours: 0..5 in the first, 100..105 in the second."""

    image = np.stack([np.arange(6), np.arange(6) + 100], axis=1).reshape(1, 2, 3, 2)

    def read(self, order: Any, patch: tuple[int, int] | None = None) -> list[list[int]]:
        layout = ImageLayout(2, 3, 2, order=order, patch=patch)
        return layout.to_sequences(self.image)[0].tolist()

    def test_rows(self) -> None:
        assert self.read("rows") == [[0, 100, 1, 101, 2, 102], [3, 103, 4, 104, 5, 105]]

    def test_columns(self) -> None:
        assert self.read("columns") == [[0, 100, 3, 103], [1, 101, 4, 104], [2, 102, 5, 105]]

    def test_pixels(self) -> None:
        assert self.read("pixels") == [[k, 100 + k] for k in range(6)]

    def test_patches(self) -> None:
        assert self.read("patches", (2, 1)) == self.read("columns")
        assert self.read("patches", (1, 3)) == self.read("rows")

    def test_patches_go_row_by_row(self) -> None:
        layout = ImageLayout(4, 4, order="patches", patch=(2, 2))
        first_T = layout.to_sequences(numbered(layout, 1))[0, :, 0]
        assert first_T.tolist() == [0, 2, 8, 10]


@given(image_layouts())
def test_sequences_give_their_images_back(layout: ImageLayout) -> None:
    images_NHWC = numbered(layout)
    data = Sequences(layout.to_sequences(images_NHWC), layout=layout)
    np.testing.assert_array_equal(data[1:].to_images(), images_NHWC[1:])


@pytest.mark.parametrize(
    "layout",
    [
        ArrayLayout(dtype="float64"),
        TableLayout(id="stay", time="h", label="died", container="polars", dtypes={"hr": "int64"}),
        TableLayout(),
    ],
)
def test_other_layouts_survive_json(layout: Layout) -> None:
    assert layout_from_dict(json.loads(json.dumps(layout_to_dict(layout)))) == layout


class TestRefused:
    def test_unknown_order_suggests_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match='"row" is not known') as caught:
            ImageLayout(2, 2, order="row")  # type: ignore[arg-type]
        assert '"rows"' in caught.value.repair

    @pytest.mark.parametrize("patch", [None, (3, 2), (2, 3), (0, 2)])
    def test_patches_that_do_not_tile(self, patch: tuple[int, int] | None) -> None:
        with pytest.raises(ConfigError, match="do not tile"):
            ImageLayout(4, 4, order="patches", patch=patch)

    @pytest.mark.parametrize("order", ["rows", "columns", "pixels"])
    def test_images_of_another_size(self, order: Any) -> None:
        layout = ImageLayout(2, 3, order=order)
        with pytest.raises(DataError, match="shape"):
            layout.to_sequences(np.zeros((1, 3, 2, 1)))
        with pytest.raises(DataError, match=r"\(T, F\)"):
            layout.to_images(np.zeros((1, 5, 5)))

    @pytest.mark.parametrize(
        "data", [{}, {"kind": "cube"}, {"kind": "image"}, {"kind": "array", "depth": 3}]
    )
    def test_what_is_no_layout(self, data: dict[str, Any]) -> None:
        with pytest.raises(DataError, match="is not one"):
            layout_from_dict(data)

    def test_values_that_do_not_fit_the_layout(self) -> None:
        with pytest.raises(DataError, match="layout"):
            Sequences(np.zeros((1, 3, 2)), layout=ImageLayout(2, 3))
