"""Known vitals and labs, the range in which a value is possible at all, and what lies outside it.

A heart rate of -3, a systolic pressure of 11,647 or a temperature of 98.6 in a column of degrees
Celsius is a fault or another unit. What is done about it is a setting (``data.implausible``); that
it is counted and said is none.

The ranges are wide: they are to hold what a patient can have, not what is healthy. Those of the
bundled stays (``rgan.data.icu``) are the same.

Shape letters: N sequences, T steps, F features.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rgan.errors import DataError
from rgan.sequences import Sequences

Policy = Literal["auto", "keep", "missing", "error"]

ANOTHER_UNIT = 0.5
"""Share of a feature's values beyond which they are not single faults but another unit."""


@dataclass(frozen=True)
class Possible:
    """The possible range of one vital or lab.

    Args:
        low, high: ends of the range, included.
        unit: of both.
        names: what it is called, in small letters and digits only.
        labs: whether the name is one of a laboratory sheet, too short to be sure of elsewhere.
        other: (low, high, unit) in which a value is likely to be in another unit.
    """

    low: float
    high: float
    unit: str
    names: tuple[str, ...]
    labs: bool = False
    other: tuple[float, float, str] | None = None


_FAHRENHEIT = (77.0, 113.0, "Fahrenheit")
_PERCENT = (20.0, 100.0, "per cent")

KNOWN: tuple[Possible, ...] = (
    Possible(20, 300, "bpm", ("heartrate", "hr", "pulse", "pulserate")),
    Possible(
        30, 300, "mmHg", ("systolicbloodpressure", "sysbp", "sysabp", "nisysabp", "sbp", "nisysbp")
    ),
    Possible(
        10,
        200,
        "mmHg",
        ("diastolicbloodpressure", "diasbp", "diasabp", "nidiasabp", "dbp", "nidiasbp"),
    ),
    Possible(20, 230, "mmHg", ("meanbloodpressure", "meanbp", "meanarterialpressure", "mbp")),
    Possible(20, 230, "mmHg", ("map", "nimap"), labs=True),
    Possible(25, 45, "degC", ("temperature", "temp", "bodytemperature"), other=_FAHRENHEIT),
    Possible(3, 80, "1/min", ("respiratoryrate", "resprate", "breathingrate")),
    Possible(
        20, 100, "%", ("oxygensaturation", "spo2", "sao2", "o2sat"), other=(0.2, 1, "parts of one")
    ),
    Possible(0.2, 1, "fraction", ("fractioninspiredoxygen", "fio2"), other=_PERCENT),
    Possible(3, 15, "points", ("glascowcomascaletotal", "glasgowcomascaletotal", "gcs")),
    Possible(6.5, 8, "", ("ph",), labs=True),
    Possible(10, 2000, "mg/dL", ("glucose",), labs=True),
    Possible(0.3, 500, "kg", ("weight", "bodyweight"), labs=True),
    Possible(30, 250, "cm", ("height", "bodyheight"), labs=True),
    Possible(0, 3000, "mL", ("urine",), labs=True),
    Possible(5, 200, "mmHg", ("paco2",)),
    Possible(10, 800, "mmHg", ("pao2",)),
    Possible(5, 70, "%", ("hct", "hematocrit", "haematocrit"), labs=True),
    Possible(0.05, 500, "1e9/L", ("wbc",), labs=True),
    Possible(1, 3000, "1e9/L", ("platelets",), labs=True),
    Possible(90, 200, "mmol/L", ("na", "sodium"), labs=True),
    Possible(1, 15, "mmol/L", ("k", "potassium"), labs=True),
    Possible(0.2, 20, "mmol/L", ("mg", "magnesium"), labs=True),
    Possible(1, 60, "mmol/L", ("hco3", "bicarbonate"), labs=True),
    Possible(1, 300, "mg/dL", ("bun",), labs=True),
    Possible(0.05, 40, "mg/dL", ("creatinine",), labs=True),
    Possible(0.05, 50, "mmol/L", ("lactate",), labs=True),
    Possible(0.3, 10, "g/dL", ("albumin",), labs=True),
    Possible(1, 10_000, "IU/L", ("alp",), labs=True),
    Possible(1, 50_000, "IU/L", ("alt", "ast"), labs=True),
    Possible(0.05, 100, "mg/dL", ("bilirubin",), labs=True),
    Possible(10, 1000, "mg/dL", ("cholesterol",), labs=True),
    Possible(0, 1000, "ug/L", ("troponini", "troponint"), labs=True),
    Possible(0, 1, "", ("mechvent",), labs=True),
    Possible(0, 120, "years", ("age", "ageyears", "ageinyears", "admissionage", "ageatadmission")),
)

_BY_NAME = {name: possible for possible in KNOWN for name in possible.names}


def possible(feature: str, *, labs: bool = False) -> Possible | None:
    """The possible range of a feature of this name; None where the name says nothing.

    Args:
        feature: "Heart Rate", "heart_rate", "HR".
        labs: whether names are those of a clinical folder, so that "K" is potassium.

    >>> possible("Heart_Rate").high, possible("K")
    (300, None)
    """
    found = _BY_NAME.get(re.sub(r"[^a-z0-9]", "", feature.lower()))
    return found if found is not None and (labs or not found.labs) else None


@dataclass(frozen=True)
class Judge:
    """Finds impossible values of known vitals, and does with them what the setting says.

    Args:
        policy: "keep" only notes them; "missing" makes them unobserved; "error" refuses them.
        labs: whether features are named as in a clinical folder.
        skip: features that are not judged.
    """

    policy: Literal["keep", "missing", "error"] = "keep"
    labs: bool = False
    skip: tuple[str, ...] = ()

    @classmethod
    def of(cls, policy: Policy, *, stays: bool = False, skip: tuple[str, ...] = ()) -> Judge:
        """By the setting; "auto" is "missing" for a folder of stays, whose units are known."""
        if policy == "auto":
            policy = "missing" if stays else "keep"
        return cls(policy, labs=stays, skip=skip)

    def judge(self, feature: str, values_V: NDArray[np.floating]) -> tuple[NDArray[np.bool_], str]:
        """Which observed values of a feature stay observed, and a note, "" where all are possible.

        Raises:
            DataError: policy "error"; or "missing", and most values are impossible, so that the
                unit must be another.
        """
        known = possible(feature, labs=self.labs)
        if known is None or feature in self.skip:
            return np.ones(len(values_V), dtype=np.bool_), ""
        # in float32, where the ends are what Sequences make of them
        low, high = np.float32(known.low), np.float32(known.high)
        bad_V = (values_V.astype(np.float32) < low) | (values_V.astype(np.float32) > high)
        if not bad_V.any():
            return ~bad_V, ""
        text = _told(feature, known, values_V[bad_V], len(values_V))
        mostly = bad_V.sum() > ANOTHER_UNIT * len(values_V) and len(values_V) >= 10
        if self.policy == "error" or (self.policy == "missing" and mostly):
            raise _refused(text, feature, self.policy)
        if self.policy == "missing":
            return ~bad_V, f"{text}: taken as not measured"
        return np.ones(len(values_V), dtype=np.bool_), f"{text}: kept"

    def judge_static(
        self, attribute: str, column_N: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], str]:
        """The numbers of a static attribute, NaN where one is not known or does not stay, and a
        note; as ``judge``."""
        known_N = np.flatnonzero(~np.isnan(column_N))
        stays_V, note = self.judge(attribute, column_N[known_N])
        judged_N = column_N.copy()
        judged_N[known_N[~stays_V]] = np.nan
        return judged_N, note


def check_plausible(sequences: Sequences, judge: Judge) -> Sequences:
    """The sequences with what a judge says of their values and static attributes: in ``notes``, in
    ``observed``, and as NaN.

    Raises:
        DataError: the judge refuses a feature's values.
    """
    if sequences.is_image:
        return sequences
    notes: list[str] = []
    observed = sequences.observed.copy()
    for f, name in enumerate(sequences.feature_names):
        seen_NT = sequences.observed[:, :, f]
        stays_V, note = judge.judge(name, sequences.values[:, :, f][seen_NT])
        observed[:, :, f][seen_NT] = stays_V
        notes += [note] if note else []
    static = None if sequences.static is None else sequences.static.copy()
    for a, info in enumerate(sequences.static_info):
        if static is not None and info.kind == "continuous":
            static[:, a], note = judge.judge_static(info.name, static[:, a])
            notes += [note] if note else []
    if not notes:
        return sequences
    notes = [*sequences.notes, *notes]
    return replace(sequences, observed=observed, static=static, notes=tuple(notes))


def _told(feature: str, known: Possible, bad_V: NDArray[np.floating], total: int) -> str:
    """Counts, and no single value: notes are printed where patients' values may not be."""
    below = int((bad_V < known.low).sum())
    sides = [f"{n:,} {word}" for n, word in ((below, "below"), (len(bad_V) - below, "above")) if n]
    text = f'"{feature}": {len(bad_V):,} of {total:,} values outside {known.low:g} to '
    text += f"{known.high:g} {known.unit}".rstrip() + f" ({', '.join(sides)}"
    if known.other is not None:
        low, high, unit = known.other
        like = int(((bad_V >= low) & (bad_V <= high)).sum())
        text += f"; {like:,} as if in {unit}" if like else ""
    return text + ")"


def _refused(text: str, name: str, policy: Policy) -> DataError:
    return DataError(
        text,
        rule="values lie in the range that is possible for what the name says",
        reason="most of its values outside mean another unit"
        if policy == "missing"
        else "data.implausible is error",
        repair=f"convert the unit; or --set data.implausible=keep, or --drop '{name}'",
    )
