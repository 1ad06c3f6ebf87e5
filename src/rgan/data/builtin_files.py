"""The files of the downloadable sources: names, mirrors, checksums of the decompressed bytes."""

from __future__ import annotations

from rgan.data.download import RemoteFile, find_local
from rgan.errors import SourceError

_IDX_NAMES = {
    "train images": ("train-images-idx3-ubyte.gz", 47_040_016),
    "train labels": ("train-labels-idx1-ubyte.gz", 60_008),
    "test images": ("t10k-images-idx3-ubyte.gz", 7_840_016),
    "test labels": ("t10k-labels-idx1-ubyte.gz", 10_008),
}

_MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
}

_FOLDERS = {
    "mnist": ("mnist", "MNIST", "MNIST/raw"),
    "fashion-mnist": ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw"),
}

_SYSTEM = {"mnist": (), "fashion-mnist": ("/usr/share/datasets/fashion-mnist",)}

_SHA256 = {
    "mnist": {
        "train images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "test images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "test labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion-mnist": {
        "train images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "test images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "test labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}

LFW = RemoteFile(
    "lfwcrop_grey.zip",
    ("https://conradsanderson.id.au/lfwcrop/lfwcrop_grey.zip",),
    ("lfwcrop", "lfw"),
    size=200_000_000,  # the pictures themselves are checked by load_lfw
)


def idx_files(name: str) -> dict[str, RemoteFile]:
    """The four files of "mnist" or "fashion-mnist", by what they hold."""
    return {
        what: RemoteFile(
            file,
            tuple(mirror + file for mirror in _MIRRORS[name]),
            _FOLDERS[name],
            _SYSTEM[name],
            _SHA256[name][what],
            size,
        )
        for what, (file, size) in _IDX_NAMES.items()
    }


def where(name: str, data_dir: str = "") -> str:
    """Where a downloadable source is: "local" if all its files are here, else "to download"."""
    files = [LFW] if name == "lfw" else list(idx_files(name).values())
    try:
        found = [find_local(file, data_dir) for file in files]
    except SourceError:
        return "to download"
    return "to download" if None in found else "local"
