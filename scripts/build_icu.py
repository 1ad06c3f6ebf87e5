"""Build the bundled source ``icu`` from the raw files of the PhysioNet / CinC Challenge 2012.

    python scripts/build_icu.py RAW_FOLDER OUT

RAW_FOLDER holds set-a.tar.gz and Outcomes-a.txt from https://physionet.org/content/challenge-2012.
OUT gets icu.npz and icu.json (what was dropped, and why). The same raw files give the same bytes.

The rules, beside those in ``rgan.data.icu.FEATURES``:
  1. Set a only: sets b and c stay untouched, for tests on stays that nobody trained on.
  2. A row without a parameter's name is dropped, as is one at 48:00 (after the last hour).
  3. Hour h holds what was measured from h:00 to h:59.
  4. A stay is left out if the heart rate was measured in fewer than 24 of the 48 hours, or if its
     outcome is not known.
  5. Of the rest 2,000 are drawn by a fixed seed, in strata of outcome x unit of care, each with its
     share of the whole (largest remainders).

Shape letters: N stays, T = 48 hours, F features.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
import tarfile
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.data.icu import FEATURES, HOURS

STAYS = 2000
SEED = 2012
LEAST_HR_HOURS = 24

PARAMETERS = {p: feature for feature in FEATURES for p in feature.parameters}


@dataclass
class Stay:
    """One stay: codes (T, F) with -1 for not measured, and what was known on admission."""

    record: int
    codes_TF: NDArray[np.int64]
    about: dict[str, float] = field(default_factory=dict)


def read_stay(text: str, counts: Counter[str]) -> Stay:
    """One raw file: lines ``HH:MM,Parameter,Value`` in the order of time."""
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    about: dict[str, float] = {}
    for time, parameter, value in list(csv.reader(io.StringIO(text)))[1:]:
        counts["rows read"] += 1
        if not parameter:
            counts["rows without a parameter's name"] += 1
            continue
        number, hour = float(value), int(time.split(":")[0])
        if parameter in ("RecordID", "Age", "Gender", "ICUType"):
            about[parameter] = number
        if parameter not in PARAMETERS:
            continue
        feature = PARAMETERS[parameter]
        if hour >= HOURS:
            counts["values at 48:00"] += 1
        elif not feature.low <= number <= feature.high:
            counts[f"{parameter} outside {feature.low:g} to {feature.high:g} {feature.unit}"] += 1
        else:
            values[parameter, hour].append(number)
    codes_TF = np.full((HOURS, len(FEATURES)), -1, dtype=np.int64)
    for column, feature in enumerate(FEATURES):
        for hour in range(HOURS):
            for parameter in feature.parameters:
                found = values.get((parameter, hour))
                if found:
                    codes_TF[hour, column] = code(found, feature.rule, feature.resolution)
                    break
    return Stay(int(about["RecordID"]), codes_TF, about)


def code(values: list[float], rule: str, resolution: float) -> int:
    """The whole number that stands for an hour's values."""
    per_unit = round(1 / resolution)
    value = values[-1] if rule == "last" else sum(values)
    if rule == "mean":
        value /= len(values)
    return round(value * per_unit)


def draw(died_N: NDArray[np.int64], unit_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the drawn stays, ascending: stratified by outcome and unit of care."""
    stratum_N = died_N * 10 + unit_N
    strata, sizes = np.unique(stratum_N, return_counts=True)
    share = sizes * STAYS / len(stratum_N)
    take = np.floor(share).astype(int)
    for i in np.argsort(-(share - take), kind="stable")[: STAYS - take.sum()]:
        take[i] += 1
    rng = np.random.default_rng(SEED)
    rows = [
        rng.choice(np.flatnonzero(stratum_N == s), size=k, replace=False)
        for s, k in zip(strata, take, strict=True)
    ]
    return np.sort(np.concatenate(rows))


def write_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """An .npz whose bytes depend on the arrays alone: not compressed, no time of day."""
    part = path.with_name(path.name + ".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, member.getvalue())
    part.replace(path)


def pack(stays: list[Stay], died: dict[int, int]) -> dict[str, NDArray[Any]]:
    """The arrays of icu.npz: codes of observed values and mask bits, feature by feature."""
    codes_FNT = np.stack([stay.codes_TF.T for stay in stays], axis=1)
    observed_FNT = codes_FNT >= 0
    codes_V = codes_FNT[observed_FNT]
    if codes_V.max() > np.iinfo(np.uint16).max:
        raise SystemExit(f"a code of {codes_V.max()} does not fit 16 bits: widen a resolution")
    about = [stay.about for stay in stays]
    return {
        "features": np.array([feature.name for feature in FEATURES]),
        "codes": codes_V.astype("<u2"),
        "mask": np.packbits(observed_FNT.ravel()),
        "record": np.array([stay.record for stay in stays], dtype="<i4"),
        "died": np.array([died[stay.record] for stay in stays], dtype="u1"),
        "age": np.array([a["Age"] for a in about], dtype="u1"),
        "sex": np.array([a["Gender"] for a in about], dtype="i1"),
        "unit": np.array([a["ICUType"] - 1 for a in about], dtype="u1"),
    }


def read_outcomes(path: Path) -> dict[int, int]:
    """Record id to death in hospital, 0 or 1."""
    with path.open(newline="") as file:
        return {int(r["RecordID"]): int(r["In-hospital_death"]) for r in csv.DictReader(file)}


def build(raw: Path, out: Path) -> dict[str, Any]:
    """Write icu.npz and icu.json into ``out``; the report is returned as well."""
    counts: Counter[str] = Counter()
    died = read_outcomes(raw / "Outcomes-a.txt")
    stays = []
    with tarfile.open(raw / "set-a.tar.gz") as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            file = archive.extractfile(member) if member.name.endswith(".txt") else None
            if file is not None:
                stays.append(read_stay(file.read().decode("ascii"), counts))
    stays.sort(key=lambda stay: stay.record)
    counts["stays read"] = len(stays)
    heart = [feature.name for feature in FEATURES].index("HR")
    enough = [s for s in stays if (s.codes_TF[:, heart] >= 0).sum() >= LEAST_HR_HOURS]
    counts[f"stays with HR in fewer than {LEAST_HR_HOURS} hours"] = len(stays) - len(enough)
    known = [stay for stay in enough if stay.record in died]
    counts["stays without an outcome"] = len(enough) - len(known)
    rows = draw(
        np.array([died[stay.record] for stay in known]),
        np.array([int(stay.about["ICUType"]) for stay in known]),
    )
    arrays = pack([known[row] for row in rows], died)
    counts["stays written"] = len(rows)
    counts["deaths written"] = int(arrays["died"].sum())
    counts["values written"] = len(arrays["codes"])
    out.mkdir(parents=True, exist_ok=True)
    write_npz(out / "icu.npz", arrays)
    raw_files = ("set-a.tar.gz", "Outcomes-a.txt")
    report = {
        "source": "PhysioNet / Computing in Cardiology Challenge 2012, set a",
        "url": "https://physionet.org/content/challenge-2012/1.0.0/",
        "licence": "Open Data Commons Attribution License v1.0",
        "built_by": "scripts/build_icu.py",
        "seed": SEED,
        "sha256": hashlib.sha256((out / "icu.npz").read_bytes()).hexdigest(),
        "raw_decompressed_sha256": {name: sha256(raw / name) for name in raw_files},
        "counts_over_all_stays_read": dict(sorted(counts.items())),
    }
    (out / "icu.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def sha256(path: Path) -> str:
    """Of the decompressed bytes, since archives are repacked."""
    import gzip

    data = path.read_bytes()
    return hashlib.sha256(gzip.decompress(data) if path.suffix == ".gz" else data).hexdigest()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    print(json.dumps(build(Path(sys.argv[1]), Path(sys.argv[2])), indent=2))
