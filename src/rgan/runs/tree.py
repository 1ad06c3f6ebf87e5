"""The lineage of runs as lines of text."""

from __future__ import annotations

from collections.abc import Callable

from rgan.runs.lineage import Lineage, Member


def tree_lines(
    lineage: Lineage, describe: Callable[[Member], str] = lambda member: ""
) -> list[str]:
    """The forest, the newest root first, and so the children of each run.

    Args:
        lineage: the runs; a parent that is not among them stands there as "(not here)".
        describe: what to say of a run beside its name.

    >>> tree_lines(Lineage([]))
    []
    """
    below: dict[Member | str, list[Member]] = {}
    above: dict[Member, Member | str] = {}
    roots: dict[Member | str, None] = {}
    for member in lineage.members:
        parent = _hangs_from(lineage, member, above)
        if parent is None:
            roots[member] = None
            continue
        above[member] = parent
        below.setdefault(parent, []).append(member)
        if isinstance(parent, str):
            roots[parent] = None
    lines: list[str] = []
    for root in roots:
        _draw(
            root,
            below,
            lines,
            lambda node: _say(
                lineage,
                node,
                above.get(node) if isinstance(node, Member) else None,
                below,
                describe,
            ),
        )
    return lines


def _hangs_from(
    lineage: Lineage, member: Member, above: dict[Member, Member | str]
) -> Member | str | None:
    """The run, or the id of the absent one, under which a run is drawn; None for a root."""
    for parent in lineage.parents(member):
        seen: Member | str | None = parent
        while isinstance(seen, Member) and seen is not member:
            seen = above.get(seen)
        if seen is not member:  # else the run is its own ancestor
            return parent
    return next(iter(lineage.missing(member)), None)


def _draw(
    root: Member | str,
    below: dict[Member | str, list[Member]],
    lines: list[str],
    say: Callable[[Member | str], str],
) -> None:
    """One tree; without recursion, since a line of descent may be long."""
    waiting: list[tuple[Member | str, str, str]] = [(root, "", "")]
    while waiting:
        node, first, rest = waiting.pop()
        lines.append(f"{first}{say(node)}")
        children = below.get(node, [])
        for number, child in reversed(list(enumerate(children))):
            last = number == len(children) - 1
            waiting.append(
                (child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
            )


def _say(
    lineage: Lineage,
    node: Member | str,
    above: Member | str | None,
    below: dict[Member | str, list[Member]],
    describe: Callable[[Member], str],
) -> str:
    if isinstance(node, str):
        name = next((m.parent_name(node) for m in below[node] if m.parent_name(node)), "")
        return f"{name + '  ' if name else ''}{node} (not here)"
    parts = [node.name, describe(node)]
    others = [p.name for p in lineage.parents(node) if p is not above]
    others += [f"{m} (not here)" for m in lineage.missing(node) if m != above]
    if len(node.parents) > 1:
        parts.append(f"averaged with {', '.join(others)}" if others else "average")
    elif above is not None:
        parts.append(f"from step {node.from_step:,}")
    if node.stands_for:
        parts.append(f"combined of {len(node.stands_for)}")
    if lineage.is_copy(node):
        parts.append("a copy")
    return "  ".join(part for part in parts if part)
