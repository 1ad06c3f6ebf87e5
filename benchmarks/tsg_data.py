"""The four data sets of the time series benchmark, cut and split as the published tables do it.

Shape letters: N windows, T steps, F features.

Nothing is downloaded. ``stock_data.csv`` and ``energy_data.csv`` (or ``.gz``) are files of TimeGAN
(Yoon et al. 2019), ``ETTh1.csv`` is of ETDataset (Zhou et al. 2021); they are looked for in the
folder of RGAN_DATA or --data-dir, and in ``tsg`` within it. Windows begin at every row, in the
order of the file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from rgan.data.config import DataConfig
from rgan.data.download import data_folder
from rgan.data.load import load
from rgan.errors import SourceError
from rgan.sequences import Sequences

FILES = {
    "stocks": ("stock_data.csv",),
    "energy": ("energy_data.csv", "energy_data.csv.gz"),
    "etth1": ("ETTh1.csv",),
}
NAMES = (*FILES, "sines")
SINES, SINES_FEATURES, SINES_SEED = 10_000, 5, 2019
MOST_SEVENS = 6


def read(name: str, length: int, data_dir: str = "", rows: int = 0) -> Sequences:
    """All windows of a data set.

    Args:
        name: one of ``NAMES``.
        length: T.
        data_dir: the folder of data; "": of RGAN_DATA.
        rows: use the first so many rows of the file only (of sines: sequences); 0: all.

    Raises:
        SourceError: the file is not there.
    """
    if name == "sines":
        return sines(rows or SINES, length)
    config = DataConfig(
        source=str(_find(name, data_dir)),
        time="date" if name == "etth1" else "",
        window=length,
        implausible="keep",
    )
    windows = load(config)
    assert windows.starts is not None
    return windows[np.flatnonzero(windows.starts + length <= rows)] if rows else windows


def in_blocks(windows: Sequences) -> Sequences:
    """Windows that lie within one of several blocks of time, each in training, validation or test.

    Of seven blocks in a row one is for validation and one for testing, so that no step of time is
    in two sets, and yet all sets come from all times: a market's last years are not like its first
    ones, and against those alone even fresh real windows look made up, or copied. Blocks are at
    least four windows long where seven such fit. Each is a subject, for splits within training.

    Args:
        windows: of one long series; others (sines) are given back as they are.
    """
    if windows.starts is None:
        return windows
    t, rows = windows.n_steps, int(windows.starts.max()) + windows.n_steps
    count = 7 * min(MOST_SEVENS, max(1, rows // (4 * t) // 7))
    edges = np.linspace(0, rows, count + 1).astype(np.int64)
    block_N = np.searchsorted(edges, windows.starts, side="right") - 1
    inside = np.flatnonzero(windows.starts + t <= edges[block_N + 1])
    part = np.array(["train", "train", "validation", "train", "train", "test", "train"])
    return replace(windows, subjects=block_N, part=part[block_N % 7])[inside]


def sines(n: int, length: int) -> Sequences:
    """TimeGAN's sines (Yoon et al. 2019, section 5.1, and its authors' program), always the same.

    (sin(f t + p) + 1) / 2 at t = 0, 1, ...; f and p uniform in [0, 0.1], of each feature its own.
    Ten times that here: every score scales values by the real ones, and values within one would
    look standardised, so that bad samples of them were refused in place of judged.
    """
    rng = np.random.default_rng(SINES_SEED)
    frequency, phase = rng.uniform(0, 0.1, (2, n, 1, SINES_FEATURES))
    values_NTF = 5 * (np.sin(frequency * np.arange(length)[:, None] + phase) + 1)
    return Sequences(values_NTF.astype(np.float32), name="sines")


def _find(name: str, data_dir: str) -> Path:
    folder = data_folder(data_dir)
    places = [] if folder is None else [folder / "tsg", folder]
    for place in places:
        for file in FILES[name]:
            if (place / file).is_file():
                return place / file
    raise SourceError(
        f"{FILES[name][0]} is not on this machine",
        rule="it is looked for in the data folder and in tsg within it",
        repair="export RGAN_DATA=FOLDER, or --data-dir FOLDER",
    )
