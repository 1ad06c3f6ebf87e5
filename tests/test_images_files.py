"""Folders and zips of images: labels, subjects, sizes, and files that are no images."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rgan.data.config import DataConfig
from rgan.data.files import read_path
from rgan.data.images import read_images, resize_area
from rgan.errors import ConfigError, DataError, SourceError
from rgan.layouts import ImageLayout

DATA = Path(os.environ.get("RGAN_DATA", Path(__file__).parents[2] / "shared/data"))


def picture(path: Path, seed: int, shape: tuple[int, ...] = (6, 5)) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def test_a_folder_with_labels_reads_exactly(tmp_path: Path) -> None:
    pixels = [picture(tmp_path / name, i) for i, name in enumerate(("cat/b.png", "dog/a.pgm"))]
    (tmp_path / "README.txt").write_text("not an image")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "x.png").write_text("not an image")
    s = read_images(tmp_path)
    assert s.labels is not None
    assert s.labels.tolist() == ["cat", "dog"]
    assert np.array_equal(s.to_images()[..., 0], np.stack(pixels))
    assert s.layout == ImageLayout(6, 5, 1)


@pytest.mark.parametrize("order", ["columns", "pixels", "patches"])
def test_layouts(tmp_path: Path, order: str) -> None:
    pixels = picture(tmp_path / "a.png", 0, (6, 4, 3))
    picture(tmp_path / "b.png", 1, (6, 4, 3))
    s = read_images(tmp_path, order=order, patch="3x2" if order == "patches" else "")
    assert np.array_equal(s.to_images()[0], pixels)
    assert s.labels is None


def test_zip_equals_folder_and_is_not_unpacked(tmp_path: Path) -> None:
    for i in range(4):
        picture(tmp_path / "in" / f"Ann_Lee_{i:04d}.png", i)
    outside = tmp_path / "outside.png"
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((tmp_path / "in").iterdir()):
            archive.write(file, file.name)
    a, b = (read_images(p, subject_from_name=True) for p in (tmp_path / "in", path))
    assert a.equals(b)
    assert a.subjects is not None
    assert set(a.subjects) == {"Ann_Lee"}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../outside.png", file.read_bytes())
    read_images(path)
    assert not outside.exists()


def test_official_parts(tmp_path: Path) -> None:
    for i, name in enumerate(("train/cat/a", "train/dog/a", "test/cat/a", "test/dog/b")):
        picture(tmp_path / f"{name}.png", i)
    s = read_images(tmp_path)
    assert s.part is not None
    assert s.labels is not None
    assert s.part.tolist() == ["test", "test", "train", "train"]
    assert s.labels.tolist() == ["cat", "dog", "cat", "dog"]


def test_colour_makes_all_colour_and_transparent_is_white(tmp_path: Path) -> None:
    grey = picture(tmp_path / "a.png", 0)
    clear = np.zeros((6, 5, 4), dtype=np.uint8)
    Image.fromarray(clear).save(tmp_path / "b.png")
    images = read_images(tmp_path).to_images()
    assert images.shape == (2, 6, 5, 3)
    assert np.array_equal(images[0, :, :, 2], grey)
    assert (images[1] == 255).all()


def test_sixteen_bits(tmp_path: Path) -> None:
    pixels = np.array([[0, 1000], [40000, 65535]], dtype=np.uint16)
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    s = read_images(tmp_path)
    assert np.array_equal(s.to_images()[0, :, :, 0], pixels)
    assert isinstance(s.layout, ImageLayout)
    assert s.layout.high == 65535
    picture(tmp_path / "c.png", 0, (2, 2))
    with pytest.raises(DataError, match="depth"):
        read_images(tmp_path)


def test_sizes_must_agree_or_be_made_to(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 0, (6, 5))
    picture(tmp_path / "b.png", 1, (8, 5))
    with pytest.raises(DataError, match=r"8x5[\s\S]*--size 6x5"):
        read_images(tmp_path)
    assert read_images(tmp_path, size="4x3").to_images().shape == (2, 4, 3, 1)
    assert read_images(tmp_path, size="4").to_images().shape == (2, 4, 4, 1)


@given(*(st.integers(1, 12) for _ in range(4)))
def test_area_keeps_the_mean_and_whole_factors_average(h: int, w: int, h2: int, w2: int) -> None:
    image = np.random.default_rng(h).random((2, h, w, 1))
    small = resize_area(image, (h2, w2))
    assert np.allclose(small.mean(axis=(1, 2)), image.mean(axis=(1, 2)), atol=1e-5)
    assert np.allclose(resize_area(image, (h, w)), image, atol=1e-6)
    whole = image.repeat(h2, axis=1).repeat(w2, axis=2)
    assert np.allclose(resize_area(whole, (h, w)), image, atol=1e-5)


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no images"):
        read_images(tmp_path)
    picture(tmp_path / "a_1.png", 0)
    (tmp_path / "b.png").write_bytes((tmp_path / "a_1.png").read_bytes()[:40])
    with pytest.raises(SourceError, match=r"b\.png"):
        read_images(tmp_path)
    picture(tmp_path / "b.png", 1)
    with pytest.raises(DataError, match='"b" gives no subject'):
        read_images(tmp_path, subject_from_name=True)
    with pytest.raises(ConfigError, match="tile"):
        read_images(tmp_path, order="patches", patch="4x4")
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(SourceError, match="zip"):
        read_path(tmp_path / "x.zip", DataConfig())


def test_a_limit_is_drawn_by_seed(tmp_path: Path) -> None:
    for i in range(12):
        picture(tmp_path / f"{i}.png", i)
    a, b, c = (read_images(tmp_path, limit=5, seed=seed) for seed in (0, 0, 1))
    assert len(a) == 5
    assert a.equals(b)
    assert not a.equals(c)


def test_faces() -> None:
    path = DATA / "lfwcrop/lfwcrop_grey.zip"
    if not path.exists():
        pytest.skip("lfwcrop is not in the data folder")
    config = DataConfig(max_sequences=40, size="32", subject_from_name=True)
    s = read_path(path, config)
    assert s.values.shape == (40, 32, 32)
    assert s.labels is None
    assert s.subjects is not None
    assert all("_" in name for name in s.subjects)
    assert 20 < s.values.mean() < 235
