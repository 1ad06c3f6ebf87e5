"""What 2,000 sequences of the preset feedback take on one core, noise and scaling back included.

    python benchmarks/sampling_core.py                    windows of Stocks (or sines) and ICU stays
    python benchmarks/sampling_core.py --hidden 128 96    with these units, too

Runs are trained for twenty steps first: how well one was trained changes nothing. Stocks are looked
for as ``tsg.py`` does. The bar: 2,000 windows of 24 steps and 6 features in under .2 s.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import tsg_data
from common import machine, markdown, reached
from tsg_scores import sampling_milliseconds

from rgan.config import changed, preset
from rgan.data.config import DataConfig
from rgan.data.load import load
from rgan.errors import SourceError
from rgan.sequences import Sequences
from rgan.workflow.fit import fit
from rgan.workflow.sampling import load_trained

COUNT, BAR_SECONDS, STEPS = 2_000, 0.2, 20


def sources() -> dict[str, Sequences]:
    """Windows and stays."""
    try:
        windows = {"stocks": tsg_data.read("stocks", 24)}
    except SourceError:
        windows = {"sines": tsg_data.read("sines", 24)}
    return windows | {"icu": load(DataConfig(source="icu"))}


def seconds(sequences: Sequences, hidden: int, folder: Path, times: int) -> float:
    """The least of several draws."""
    settings = {"train.steps": STEPS, "train.figures": 0, "generator.hidden": hidden}
    run = fit(changed(preset("feedback"), settings), runs=folder, sequences=sequences).run
    trained = load_trained(run)[0]
    found = sampling_milliseconds(lambda n, seed: trained.sample(n, seed=seed), COUNT, times)
    return float(min(found["milliseconds"])) / 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", nargs="+", type=int, default=[128], help="units")
    parser.add_argument("--times", type=int, default=10, help="draws, of which the least counts")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, sequences in sources().items():
            for hidden in options.hidden:
                least = seconds(sequences, hidden, Path(folder) / f"{name}{hidden}", options.times)
                print(f"{name}, {hidden} units: {least:.3f} s", file=sys.stderr, flush=True)
                shape = f"{sequences.n_steps} x {sequences.n_features}"
                bar = "" if name == "icu" else reached(least < BAR_SECONDS)
                rows.append([name, shape, str(hidden), f"{least:.3f}", bar])
    print(machine())
    print(markdown(["data", "steps x features", "units", "seconds", f"< {BAR_SECONDS} s"], rows))


if __name__ == "__main__":
    main()
