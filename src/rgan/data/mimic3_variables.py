"""The 17 variables of mimic3-benchmarks: their units, and what is text: levels and spellings.

Two systems of record, CareVue and MetaVision, spell the coma scale differently; both spellings of a
level get one code, and the one that is written back is one that the benchmark's own reader knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Variable:
    """One of the 17.

    Args:
        name: as the layout spells it.
        unit: "" if it has none.
        levels: code to name, for what is text; the names are those that are written.
        spellings: further names of the codes, in small letters.
        points: whether it is a whole number of points without names.
    """

    name: str
    unit: str = ""
    levels: dict[int, str] = field(default_factory=dict)
    spellings: dict[str, int] = field(default_factory=dict)
    points: bool = False

    def code(self, text: str) -> int | None:
        """The code of a level's text: a known spelling, or the number itself; else None."""
        words = " ".join(text.lower().split())
        if words in self.spellings:
            return self.spellings[words]
        for code, name in self.levels.items():
            if words in (name.lower(), str(code), f"{code}.0"):
                return code
        return None


VARIABLES: tuple[Variable, ...] = (
    Variable(
        "Capillary refill rate",
        levels={0: "0.0", 1: "1.0"},
        spellings={
            **{"normal <3 secs": 0, "normal < 3 secs": 0, "brisk": 0},
            **{"abnormal >3 secs": 1, "abnormal > 3 secs": 1, "delayed": 1},
        },
    ),
    Variable("Diastolic blood pressure", "mmHg"),
    Variable("Fraction inspired oxygen", "fraction"),
    Variable(
        "Glascow coma scale eye opening",
        "points",
        {1: "1 No Response", 2: "2 To pain", 3: "3 To speech", 4: "4 Spontaneously"},
        {"none": 1, "no response": 1, "to pain": 2, "to speech": 3, "spontaneously": 4},
    ),
    Variable(
        "Glascow coma scale motor response",
        "points",
        {
            **{1: "1 No Response", 2: "2 Abnorm extensn", 3: "3 Abnorm flexion"},
            **{4: "4 Flex-withdraws", 5: "5 Localizes Pain", 6: "6 Obeys Commands"},
        },
        {
            **{"no response": 1, "abnormal extension": 2, "abnormal flexion": 3},
            **{"flex-withdraws": 4, "localizes pain": 5, "obeys commands": 6},
        },
    ),
    Variable("Glascow coma scale total", "points", points=True),
    # Who has a tube cannot speak, which says another thing than no response; the total counts 1.
    Variable(
        "Glascow coma scale verbal response",
        "points",
        {
            **{0: "1.0 ET/Trach", 1: "1 No Response", 2: "2 Incomp sounds"},
            **{3: "3 Inapprop words", 4: "4 Confused", 5: "5 Oriented"},
        },
        {
            **{"no response-ett": 0, "no response": 1, "incomprehensible sounds": 2},
            **{"inappropriate words": 3, "confused": 4, "oriented": 5},
        },
    ),
    Variable("Glucose", "mg/dL"),
    Variable("Heart Rate", "bpm"),
    Variable("Height", "cm"),
    Variable("Mean blood pressure", "mmHg"),
    Variable("Oxygen saturation", "%"),
    Variable("Respiratory rate", "1/min"),
    Variable("Systolic blood pressure", "mmHg"),
    Variable("Temperature", "degC"),
    Variable("Weight", "kg"),
    Variable("pH"),
)
"""In the order of the files' columns."""

NAMES = tuple(variable.name for variable in VARIABLES)
