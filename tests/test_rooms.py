"""Who may import whom: a room imports itself and the rooms in rows below it, and nothing else.

All imports count, also those inside functions and those for types only.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "rgan"

ROWS: tuple[tuple[str, ...], ...] = (
    ("cli", "__main__"),
    ("search", "model"),
    ("workflow",),
    ("config", "privacy"),
    ("data", "transforms", "evaluate", "report", "review"),
    ("train", "runs", "sequences", "layouts"),
    ("nets", "objectives"),
    ("errors",),
)
SIDEWAYS = {
    ("sequences", "layouts"): "sequences carry their layout",
    ("objectives", "nets"): "a penalty differentiates a critic",
    ("__main__", "cli"): "it is another door to the same command line",
}
NEVER = {
    ("evaluate", "train"): "what is evaluated is sequences, whoever made them",
}


def row_of(room: str) -> int:
    """The row of a room, 0 at the top."""
    for row, rooms in enumerate(ROWS):
        if room in rooms:
            return row
    raise AssertionError(f'the room "{room}" has no row: add it to ROWS in {__file__}')


def imports(file: Path, root: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import of this package in a file, relative ones resolved."""
    package = [root.name, *file.relative_to(root).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # "from rgan import errors" names the room only in the alias
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def arrows(root: Path) -> Iterator[tuple[str, str, str]]:
    """(from room, to room, where) of every import from one room of the package to another."""
    rooms = {path.stem for path in root.iterdir() if path.is_dir() or path.suffix == ".py"}
    for file in sorted(root.rglob("*.py")):
        here = file.relative_to(root).parts[0].removesuffix(".py")
        if here == "__init__":
            continue  # the package's front door may show anything
        for line, name in imports(file, root):
            parts = name.split(".")
            if parts[0] != root.name or len(parts) < 2:
                continue
            # what is no room is a name from the front door, which is above all rooms
            there = parts[1] if parts[1] in rooms else "__init__"
            if there != here:
                yield here, there, f"{file.relative_to(root)}:{line}"


def faults(root: Path) -> list[str]:
    """Every arrow that breaks the rule, and every cycle between rooms."""
    found: list[str] = []
    graph: dict[str, set[str]] = {}
    for here, there, where in arrows(root):
        graph.setdefault(here, set()).add(there)
        if there == "__init__":
            if here != "cli":
                found.append(f"{where}: {here} imports the package's front door")
        elif (here, there) in NEVER:
            found.append(f"{where}: {here} never imports {there}: {NEVER[here, there]}")
        elif row_of(here) >= row_of(there) and (here, there) not in SIDEWAYS:
            found.append(f"{where}: {here} imports {there}, which is not below it")
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        found.append(f"cycle: {' -> '.join(error.args[1])}")
    return found


def test_no_import_goes_up_and_none_in_a_circle() -> None:
    assert faults(SOURCE) == []


def test_every_room_has_a_row() -> None:
    rooms = {p.name for p in SOURCE.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    rooms |= {p.stem for p in SOURCE.glob("*.py")} - {"__init__"}
    assert rooms
    for room in rooms:
        row_of(room)


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("nets/a.py", "from rgan.train.loop import f", "nets imports train"),
        ("nets/a.py", "import rgan.train", "nets imports train"),
        ("nets/a.py", "from rgan import train", "nets imports train"),
        ("nets/a.py", "from ..train import loop", "nets imports train"),
        ("nets/a.py", "def f():\n    from rgan.cli import main", "nets imports cli"),
        ("nets/a.py", "from rgan import RGAN", "front door"),
        ("data/a.py", "from rgan.transforms import base", "data imports transforms"),
        ("evaluate/a.py", "from rgan.train import loop", "evaluate never imports train"),
        ("errors.py", "from rgan import layouts", "errors imports layouts"),
        ("train/a.py", "from rgan.nets import b", None),
        ("train/a.py", "from .loop import f\nimport numpy", None),
    ],
)
def test_the_walk_finds_what_it_should(
    tmp_path: Path, file: str, text: str, fault: str | None
) -> None:
    root = tmp_path / "rgan"
    for room in ("nets", "train", "cli", "data", "transforms", "evaluate"):
        (root / room).mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "layouts.py"):
        (root / name).write_text("")
    (root / file).write_text(text)
    found = faults(root)
    assert bool(found) == (fault is not None)
    assert fault is None or fault in found[0]


def test_a_cycle_is_found(tmp_path: Path) -> None:
    root = tmp_path / "rgan"
    for here, there in (("nets", "objectives"), ("objectives", "nets")):
        (root / here).mkdir(parents=True)
        (root / here / "a.py").write_text(f"import rgan.{there}")
    assert any(fault.startswith("cycle: ") for fault in faults(root))
