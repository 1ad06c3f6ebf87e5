"""What an evaluation found: scores with their floor and copy control, ready for JSON and screen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rgan.evaluate.trial import Better

if TYPE_CHECKING:
    from rich.table import Table

MEMORISED_BELOW = 0.05  # p of the three-sample test


@dataclass(frozen=True)
class Score:
    """One number about the synthetic data, with what real data and copies would have got.

    Args:
        name: in files, "tstr_linear_auroc".
        label: on screen.
        value: mean over repeats.
        spread: standard deviation over repeats; 0 where there is one.
        values: one for each repeat.
        floor: the mean for fresh real data; None where it could not be computed.
        copy: the mean for copies of the training set; None likewise.
        better: "lower" or "higher".
        note: what to know when reading it.
        floor_values, copy_values: one for each repeat in which they were computed.
        interval: 95 % over redrawn test rows, mean of the repeats' ends, where there is one.
        parts: what it is made of (by feature, by judge), means over repeats.
        floor_parts: the same for the floor.
    """

    name: str
    label: str
    value: float
    spread: float
    values: tuple[float, ...]
    floor: float | None
    copy: float | None
    better: Better
    note: str = ""
    floor_values: tuple[float, ...] = ()
    copy_values: tuple[float, ...] = ()
    interval: tuple[float, float] | None = None
    parts: dict[str, float] = field(default_factory=dict)
    floor_parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """All scores of one generator.

    Args:
        scores: in the order of the table.
        skipped: metric or score name to the reason why it has no number.
        sizes: number of sequences of each set.
        config: the settings, as plain data.
    """

    scores: tuple[Score, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Score:
        """The score of this name.

        Raises:
            KeyError: there is none; says why where it was skipped.
        """
        for score in self.scores:
            if score.name == name:
                return score
        raise KeyError(f"no score {name!r}: {self.skipped.get(name, 'not computed')}")

    def __contains__(self, name: object) -> bool:
        return any(score.name == name for score in self.scores)

    @property
    def memorised(self) -> bool | None:
        """Whether the samples look copied; None where no memorisation score was computed.

        Two signs, each enough: the three-sample test finds them closer to the training set in the
        middle repeat (p < 0.05); or their distance to the training set is less than half of what
        that of fresh real data is, which few test sequences suffice to see.
        """
        found: list[bool] = []
        if "three_sample_p" in self:
            values = sorted(self["three_sample_p"].values)
            found.append(values[len(values) // 2] < MEMORISED_BELOW)
        if "nn_ratio" in self:
            ratio = self["nn_ratio"]
            found.append(ratio.value < 0.5 * (1.0 if ratio.floor is None else ratio.floor))
        return any(found) if found else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, without NaN."""
        memorised = {"memorised": self.memorised}
        data = {"version": 1, **memorised, **asdict(self)}
        data["scores"] = [
            {k: list(v) if isinstance(v, tuple) else v for k, v in score.items()}
            for score in data["scores"]
        ]
        return data

    def table(self) -> Table:
        """For the screen, by rich."""
        from rgan.evaluate.table import rich_table

        return rich_table(self)

    def __str__(self) -> str:
        from rgan.evaluate.table import plain_table

        return plain_table(self)
