"""The bundled source ``icu``: 2,000 stays of the PhysioNet / CinC Challenge 2012, hour by hour.

Shape letters: N stays, T = 48 hours, F features, V observed values.

``FEATURES`` states every rule by which ``scripts/build_icu.py`` made the file. The file holds whole
numbers: a value is code x resolution. A parameter outside its plausible range (a pressure of 0 from
a line that is not connected, a temperature of -17.8) counts as not measured; ``icu.json`` beside
the file says how many were dropped by each rule.

The data is (c) its authors under the Open Data Commons Attribution License 1.0; see NOTICE.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rgan.data.builtin import draw_rows
from rgan.errors import SourceError
from rgan.sequences import Sequences, Static

if TYPE_CHECKING:
    from rgan.data.sources import LoadOptions

HOURS = 48
BUNDLED = Path(__file__).parent / "bundled" / "icu.npz"


@dataclass(frozen=True)
class IcuFeature:
    """One feature and the rules that made it.

    Args:
        name: of the feature.
        unit: of its values.
        parameters: names in the raw files, the preferred one first; the next one fills the hours
            in which the one before it was not measured.
        low, high: the plausible range of one raw value, ends included, in ``unit``.
        resolution: what a code of 1 means.
        rule: what stands for an hour with several values: their mean, their sum (urine, a volume
            for each hour), or the last of them (the coma scale, which has whole points only).
    """

    name: str
    unit: str
    parameters: tuple[str, ...]
    low: float
    high: float
    resolution: float
    rule: Literal["mean", "sum", "last"] = "mean"


FEATURES = (
    IcuFeature("HR", "bpm", ("HR",), 20, 300, 0.1),
    IcuFeature("SysBP", "mmHg", ("SysABP", "NISysABP"), 30, 300, 0.1),
    IcuFeature("DiasBP", "mmHg", ("DiasABP", "NIDiasABP"), 10, 200, 0.1),
    IcuFeature("MAP", "mmHg", ("MAP", "NIMAP"), 20, 230, 0.1),
    IcuFeature("Temp", "degC", ("Temp",), 25, 45, 0.01),
    IcuFeature("RespRate", "1/min", ("RespRate",), 3, 80, 0.1),
    IcuFeature("GCS", "points", ("GCS",), 3, 15, 1, "last"),
    IcuFeature("Urine", "mL", ("Urine",), 0, 3000, 1, "sum"),
    IcuFeature("FiO2", "fraction", ("FiO2",), 0.21, 1, 0.001),
    IcuFeature("pH", "", ("pH",), 6.5, 8, 0.001),
    IcuFeature("PaCO2", "mmHg", ("PaCO2",), 5, 200, 0.1),
    IcuFeature("HCT", "%", ("HCT",), 5, 70, 0.1),
    IcuFeature("WBC", "1e9/L", ("WBC",), 0.05, 500, 0.01),
    IcuFeature("Platelets", "1e9/L", ("Platelets",), 1, 3000, 0.1),
    IcuFeature("Na", "mmol/L", ("Na",), 90, 200, 0.1),
    IcuFeature("K", "mmol/L", ("K",), 1, 15, 0.01),
    IcuFeature("HCO3", "mmol/L", ("HCO3",), 1, 60, 0.1),
    IcuFeature("BUN", "mg/dL", ("BUN",), 1, 300, 0.1),
    IcuFeature("Creatinine", "mg/dL", ("Creatinine",), 0.05, 40, 0.01),
    IcuFeature("Glucose", "mg/dL", ("Glucose",), 10, 2000, 0.1),
)

UNITS_OF_CARE = ("coronary care", "cardiac surgery recovery", "medical", "surgical")

STATIC = (
    Static("age", "continuous", unit="years"),
    Static("sex", "binary", levels=("female", "male")),
    Static("unit", "categorical", levels=UNITS_OF_CARE),
)


def read_icu(path: Path = BUNDLED) -> Sequences:
    """All stays of a file that ``scripts/build_icu.py`` wrote, in the order of their record ids.

    Raises:
        SourceError: the file is missing or is not such a file.
    """
    names = [feature.name for feature in FEATURES]
    try:
        with np.load(path, allow_pickle=False) as file:
            parts = {key: file[key] for key in file.files}
        if parts["features"].tolist() != names:
            raise ValueError("its features are others")
        n = len(parts["record"])
        shape_FNT = (len(FEATURES), n, HOURS)
        bits = np.unpackbits(parts["mask"], count=int(np.prod(shape_FNT)))
        observed_FNT = bits.astype(np.bool_).reshape(shape_FNT)
        values_FNT = np.full(shape_FNT, np.nan)
        values_FNT[observed_FNT] = parts["codes"]  # V values, feature by feature
    except (OSError, KeyError, ValueError) as error:
        raise SourceError(
            f"{path} is not the bundled ICU file: {error}",
            rule="it is part of the package, written by scripts/build_icu.py",
            repair="pip install --force-reinstall --no-deps rgan",
        ) from error
    for values_NT, feature in zip(values_FNT, FEATURES, strict=True):
        # Dividing by a whole number gives the decimal that was meant, 98.6 and not 98.60000001.
        values_NT /= round(1 / feature.resolution)
    sex = np.where(parts["sex"] < 0, np.nan, parts["sex"])
    return Sequences(
        np.moveaxis(values_FNT, 0, -1),
        observed=np.moveaxis(observed_FNT, 0, -1),
        labels=parts["died"].astype(np.int64),
        static=np.stack([parts["age"], sex, parts["unit"]], axis=1).astype(np.float32),
        static_info=STATIC,
        subjects=parts["record"].astype(np.int64),
        feature_names=tuple(names),
        units=tuple(feature.unit for feature in FEATURES),
        step=1.0,
        step_unit="h",
        label_name="died",
        name="icu",
    )


def load_icu(options: LoadOptions) -> Sequences:
    """The source ``icu``."""
    stays = read_icu()
    rows = draw_rows(len(stays), options)
    return stays if len(rows) == len(stays) else stays[rows]
