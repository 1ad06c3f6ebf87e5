"""Runs that descend from each other in one line, which is what can be combined."""

from __future__ import annotations

from collections.abc import Iterable

from rgan.errors import RunError
from rgan.runs.folder import Run
from rgan.runs.lineage import Lineage, Member
from rgan.runs.tree import tree_lines


def chain(runs: Iterable[Run]) -> list[Run]:
    """Runs that descend from each other in one line, the oldest first, whatever order they are in.

    Raises:
        RunError: they are copies, averages, strangers or forks; shows the tree.
    """
    by_member = {Member.of(run): run for run in runs}
    lineage = Lineage(by_member)

    def refusal(
        found: str, rule: str = "each run but the first is a child of another one"
    ) -> RunError:
        tree = "\n".join(f"    {line}" for line in [*tree_lines(lineage), *lineage.notes])
        return RunError(f"{found}:\n{tree}", rule=f"combined runs form one line: {rule}")

    if lineage.notes:
        raise refusal("these runs are no line", "no copies and no circles")
    children: dict[Member, Member] = {}
    roots = []
    for member in lineage.members:
        above = lineage.parents(member)
        if not above:
            roots.append(member)
        elif len(member.parents) > 1:
            raise refusal(f'"{member.name}" is an average of several runs', "one parent each")
        elif above[0] in children:
            pair = f'"{children[above[0]].name}" and "{member.name}"'
            raise refusal(f'{pair} are both children of "{above[0].name}", a fork')
        else:
            children[above[0]] = member
    if len(roots) != 1:
        names = ", ".join(f'"{root.name}"' for root in reversed(roots))
        raise refusal(f"{names} are strangers to each other")
    line = roots
    while line[-1] in children:
        line.append(children[line[-1]])
    return [by_member[member] for member in line]
