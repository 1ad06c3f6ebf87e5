"""How sequences map back to what the user came with: an array, an image or a table.

Shape letters: N sequences, T steps, F features; H, W, C height, width, channels of an image.

A layout is plain data (JSON in, JSON out) and travels with ``Sequences`` and with the model, so
that a sample comes back in the form that the training data had.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rgan.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:  # settings need layouts' names, and must not wait for numpy
    from numpy.typing import NDArray

ImageOrder = Literal["rows", "columns", "pixels", "patches"]
Levels = dict[str, dict[str, str]]
"""The names of a feature's codes, which are whole numbers written as text, as JSON wants keys."""
IMAGE_ORDERS: tuple[ImageOrder, ...] = ("rows", "columns", "pixels", "patches")


@dataclass(frozen=True)
class ArrayLayout:
    """Sequences that came as an array.

    Args:
        dtype: of the array.
        flat: whether it was (N, T), one feature without an axis of its own, instead of (N, T, F).
    """

    dtype: str = "float32"
    flat: bool = False
    kind: Literal["array"] = "array"


@dataclass(frozen=True)
class TableLayout:
    """Sequences that came as a long table: a row for each (id, time).

    Args:
        id: name of the column that says which sequence a row belongs to.
        time: name of the time column.
        label: name of the label column, if there is one.
        container: what to give back: "polars", "pandas", or "file".
        dtypes: column name to dtype name ("int64", "float64", "str") where it is not float32.
        gap: the feature that holds the time since the row above, where rows are events; "" on a
            grid.
        levels: of features that are categories: {feature: {code: name}}.
        nominal: the categories whose levels have no order.
    """

    id: str = "id"
    time: str = "time"
    label: str | None = None
    container: str = "file"
    dtypes: dict[str, str] = field(default_factory=dict)
    gap: str = ""
    levels: Levels = field(default_factory=dict)
    # not in repr, which fingerprints of data without one are made of
    nominal: tuple[str, ...] = field(default=(), repr=False)
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class StaysLayout:
    """Stays that came as a folder with a file for each of them.

    Args:
        form: whose layout it is: "mimic3" (in-hospital mortality of mimic3-benchmarks) or
            "physionet2012".
        gap: the feature that holds the time since the event before, where steps are events; "" on a
            grid.
        levels: of features that are categories: {feature: {code: name}}.
    """

    form: Literal["mimic3", "physionet2012"]
    gap: str = ""
    levels: Levels = field(default_factory=dict)
    kind: Literal["stays"] = "stays"


@dataclass(frozen=True)
class ImageLayout:
    """Images of H x W x C read as sequences.

    ``rows``: T=H, F=W·C. ``columns``: T=W, F=H·C. ``pixels``: T=H·W, F=C.
    ``patches``: T=(H/h)·(W/w), F=h·w·C, row by row of patches of ``patch`` = (h, w).

    Args:
        height, width, channels: of one image, in pixels.
        order: how a sequence walks over the image.
        patch: (h, w), only for ``patches``; must divide height and width.
        low, high: the range of a pixel, 0 to 255 for the usual 8-bit images.

    Raises:
        ConfigError: an unknown order, or a patch that does not divide the image.

    >>> ImageLayout(8, 6, 1, order="columns").shape
    (6, 8)
    """

    height: int
    width: int
    channels: int = 1
    order: ImageOrder = "rows"
    patch: tuple[int, int] | None = None
    low: float = 0.0
    high: float = 255.0
    kind: Literal["image"] = "image"

    def __post_init__(self) -> None:
        if self.order not in IMAGE_ORDERS:
            raise ConfigError(
                f'layout "{self.order}" is not known',
                rule="an image is read as rows, columns, pixels or patches",
                repair=nearest(self.order, IMAGE_ORDERS),
            )
        if self.order == "patches":
            patch_h, patch_w = self.patch or (0, 0)
            if not patch_h or not patch_w or self.height % patch_h or self.width % patch_w:
                raise ConfigError(
                    f"patches of {patch_h}x{patch_w} do not tile an image of "
                    f"{self.height}x{self.width}",
                    rule="the patch's height and width divide the image's",
                    repair="--layout patches --patch 4x4",
                )

    @property
    def shape(self) -> tuple[int, int]:
        """(T, F) of one image read this way."""
        h, w, c = self.height, self.width, self.channels
        if self.order == "rows":
            return h, w * c
        if self.order == "columns":
            return w, h * c
        if self.order == "pixels":
            return h * w, c
        patch_h, patch_w = self.patch or (1, 1)
        return (h // patch_h) * (w // patch_w), patch_h * patch_w * c

    def to_sequences(self, images_NHWC: NDArray[Any]) -> NDArray[Any]:
        """Images (N, H, W, C) to values (N, T, F). Exactly undone by ``to_images``."""
        if images_NHWC.shape[1:] != (self.height, self.width, self.channels):
            raise DataError(
                f"images have the shape {images_NHWC.shape[1:]}",
                rule=f"this layout reads {(self.height, self.width, self.channels)}",
            )
        n = len(images_NHWC)
        if self.order == "columns":
            images_NHWC = images_NHWC.transpose(0, 2, 1, 3)
        elif self.order == "patches":
            patch_h, patch_w = self.patch or (1, 1)
            tiles = images_NHWC.reshape(
                n, self.height // patch_h, patch_h, self.width // patch_w, patch_w, self.channels
            )
            images_NHWC = tiles.transpose(0, 1, 3, 2, 4, 5)
        return images_NHWC.reshape(n, *self.shape).copy()

    def to_images(self, values_NTF: NDArray[Any]) -> NDArray[Any]:
        """Values (N, T, F) to images (N, H, W, C)."""
        if values_NTF.shape[1:] != self.shape:
            raise DataError(
                f"sequences have (T, F) = {values_NTF.shape[1:]}",
                rule=f"this layout needs {self.shape}",
            )
        n, h, w, c = len(values_NTF), self.height, self.width, self.channels
        if self.order == "columns":
            return values_NTF.reshape(n, w, h, c).transpose(0, 2, 1, 3)
        if self.order == "patches":
            patch_h, patch_w = self.patch or (1, 1)
            tiles = values_NTF.reshape(n, h // patch_h, w // patch_w, patch_h, patch_w, c)
            return tiles.transpose(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return values_NTF.reshape(n, h, w, c)


Layout = ArrayLayout | TableLayout | StaysLayout | ImageLayout


def levels_of(layout: Layout, feature: str) -> dict[int, str]:
    """The names of a feature's codes; empty where it is a number."""
    levels = layout.levels if isinstance(layout, TableLayout | StaysLayout) else {}
    return {int(code): name for code, name in levels.get(feature, {}).items()}


def is_nominal(layout: Layout, feature: str) -> bool:
    """Whether a feature is a category whose levels have no order."""
    return isinstance(layout, TableLayout) and feature in layout.nominal


def layout_to_dict(layout: Layout) -> dict[str, Any]:
    """A layout as plain JSON data."""
    fields = asdict(layout)
    if not fields.get("nominal", True):  # as versions before wrote it, and read it
        del fields["nominal"]
    return fields


def layout_from_dict(data: dict[str, Any]) -> Layout:
    """The layout that ``layout_to_dict`` wrote.

    Raises:
        DataError: the kind or a field is not known.
    """
    kinds: dict[str, type[Any]] = {
        "array": ArrayLayout,
        "table": TableLayout,
        "stays": StaysLayout,
        "image": ImageLayout,
    }
    fields = dict(data)
    if fields.get("patch") is not None:
        fields["patch"] = tuple(fields["patch"])
    if "nominal" in fields:
        fields["nominal"] = tuple(fields["nominal"])
    try:
        layout: Layout = kinds[fields.pop("kind")](**fields)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"layout {data!r} is not one", rule=f"kind is one of {list(kinds)}"
        ) from error
    return layout
