"""Which column of a long table is what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rgan.data.columns import Table
from rgan.data.config import BinRule, parse_category
from rgan.data.plausible import Judge
from rgan.errors import DataError


@dataclass(frozen=True)
class Roles:
    """Which column is what; see ``DataConfig``. Columns without a role are features."""

    id: str = ""
    time: str = ""
    label: str = ""
    subject: str = ""
    static: tuple[str, ...] = ()
    nan: Literal["error", "missing"] = "error"
    step: float = 0.0
    bin: BinRule = "last"
    category: tuple[str, ...] = ()
    judge: Judge = field(default_factory=Judge)

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """The levels of the columns that are categories."""
        return {found.name: found.levels for found in map(parse_category, self.category)}

    @property
    def nominal(self) -> tuple[str, ...]:
        """The columns that are categories without an order."""
        return tuple(found.name for found in map(parse_category, self.category) if found.nominal)

    @property
    def named(self) -> list[str]:
        """The columns that are no features."""
        roles = (self.id, self.time, self.label, self.subject, *self.static)
        return [name for name in roles if name]


def check_roles(table: Table, roles: Roles) -> None:
    """Refuse columns that are not there, or that have two roles.

    Raises:
        DataError: names the column.
    """
    pairs = [("id", roles.id), ("time", roles.time), ("label", roles.label)]
    pairs += [("subject", roles.subject), *(("static", column) for column in roles.static)]
    taken: dict[str, str] = {}
    for role, name in pairs:
        if not name or (role == "subject" and name == roles.id):
            continue
        table.column(name, role)
        if name in taken:
            raise DataError(
                f'column "{name}" is asked for as {taken[name]} and as {role}',
                rule="a column has one role",
            )
        taken[name] = role
    if not [name for name in table.columns if name not in taken]:
        raise DataError("no column is left for the features", rule="at least one feature")
    if roles.step and not roles.time:
        raise DataError(
            f"the bin width is {roles.step:g}, and no time column is named",
            rule="bins need times",
            repair="--time NAME",
        )
    _check_bins(roles)
    for name in roles.levels:
        table.column(name, "category")
        if name in taken:
            raise DataError(
                f'column "{name}" is asked for as {taken[name]} and as category',
                rule="categories are features; those with one value per id are static",
            )


def _check_bins(roles: Roles) -> None:
    """A rule for bins needs bins; events need times, and no bins."""
    if roles.bin in ("mean", "count") and not roles.step:
        raise DataError(
            f"--bin {roles.bin} is asked for, and no bin width is given",
            rule="bins have a width, in hours for timestamps",
            repair=f"--bin {roles.bin} --step 1",
        )
    if roles.bin == "gaps" and (roles.step or not roles.time):
        raise DataError(
            "--bin gaps is asked for, and "
            + ("a bin width is given" if roles.step else "no time column is named"),
            rule="each row is then a step, and the time since the row above a feature",
            repair="--time NAME --bin gaps",
        )
