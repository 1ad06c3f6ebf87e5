"""Lineage: who comes from whom, whatever clocks, copies, gaps and tampering say."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import time
from pathlib import Path

import pytest

from lineage_runs import bare
from rgan.errors import RunError
from rgan.runs.chain import chain
from rgan.runs.folder import Run
from rgan.runs.lineage import Lineage, Member, newest_first
from rgan.runs.tree import tree_lines


def names(runs: list[Run]) -> list[str]:
    return [run.path.name for run in runs]


def edit(run: Run, **fields: object) -> None:
    """Change run.json as nobody should."""
    run.run_json.write_text(json.dumps(run.info | fields))


def test_the_run_trained_last_comes_first(tmp_path: Path) -> None:
    runs = [bare(tmp_path, name, minute=m) for name, m in (("x", 5), ("y", 9), ("z", 1))]
    assert names(newest_first(runs)) == ["y", "x", "z"]


def test_a_child_comes_before_its_parent_whatever_the_clocks_say(tmp_path: Path) -> None:
    parent = bare(tmp_path, "parent", minute=100)
    child = bare(tmp_path, "child", parent, minute=5)
    grandchild = bare(tmp_path, "grandchild", child, minute=1)
    between = bare(tmp_path, "between", minute=50)
    later = bare(tmp_path, "later", minute=200)
    expected = ["later", "grandchild", "child", "parent", "between"]
    for order in itertools.permutations([parent, child, grandchild, between, later]):
        assert names(newest_first(order)) == expected


def test_runs_of_one_moment_are_sorted_by_path(tmp_path: Path) -> None:
    runs = [bare(tmp_path, name) for name in "bca"]
    assert names(newest_first(runs)) == names(newest_first(runs[::-1])) == ["c", "b", "a"]


def test_a_combined_run_stands_for_its_originals(tmp_path: Path) -> None:
    combined = bare(tmp_path, "combined", minute=1, stands_for=["gone", "also gone"])
    child = bare(tmp_path, "child", minute=0)
    edit(child, parent="also gone")
    lineage = Lineage.of([combined, child])
    (member,) = [m for m in lineage.members if m.name == "child"]
    assert [m.name for m in lineage.parents(member)] == ["combined"]
    assert lineage.missing(member) == []
    assert [m.name for m in lineage.members] == ["child", "combined"]


def test_a_combined_run_is_newer_than_what_it_stands_for(tmp_path: Path) -> None:
    original = bare(tmp_path, "original", minute=9)
    combined = bare(tmp_path, "combined", minute=1, stands_for=[original.id])
    assert names(newest_first([original, combined])) == ["combined", "original"]


def test_the_tree_shows_branches_and_what_is_not_here(tmp_path: Path) -> None:
    root = bare(tmp_path, "root", minute=0)
    left = bare(tmp_path, "left", root, minute=1, step=1200)
    bare(tmp_path, "leaf", left, minute=2, step=3400)
    bare(tmp_path, "right", root, minute=3, step=10)
    lost = bare(tmp_path / "elsewhere", "lost", minute=0)
    bare(tmp_path, "orphan", lost, minute=9, step=7)
    lineage = Lineage.of(Run(path) for path in tmp_path.iterdir() if path.name != "elsewhere")
    assert tree_lines(lineage) == [
        f"lost  {lost.id} (not here)",
        "└─ orphan  from step 7",
        "root",
        "├─ right  from step 10",
        "└─ left  from step 1,200",
        "   └─ leaf  from step 3,400",
    ]


def test_copies_are_told(tmp_path: Path) -> None:
    run = bare(tmp_path, "one")
    shutil.copytree(run.path, tmp_path / "two")
    child = bare(tmp_path, "child", run, minute=3)
    lineage = Lineage.of([run, Run(tmp_path / "two"), child])
    (note,) = lineage.notes
    assert "2 folders are copies of one run" in note and "one" in note and "two" in note
    assert lineage.members[0].name == "child"
    drawn = "\n".join(tree_lines(lineage))
    assert drawn.count("a copy") == 2 and drawn.count("child") == 1


def test_a_circle_is_told_and_nothing_hangs(tmp_path: Path) -> None:
    a, b, c = (bare(tmp_path, name, minute=i) for i, name in enumerate("abc"))
    below = bare(tmp_path, "below", c, minute=9)
    for run, parent in ((a, b), (b, c), (c, a)):
        edit(run, parent=parent.id)
    edit(bare(tmp_path, "self", minute=4), parent=Run(tmp_path / "self").id)
    lineage = Lineage.of(Run(path) for path in tmp_path.iterdir())
    (note,) = lineage.notes
    assert "circle" in note and "below" not in note and "self" not in note
    assert sorted(m.name for m in lineage.members) == ["a", "b", "below", "c", "self"]
    assert [m.name for m in lineage.members].index("below") < 4
    lines = tree_lines(lineage)
    assert sum(line.endswith("from step 0") for line in lines) == 3 and len(lines) == 5
    assert names([Run(m.path) for m in lineage.members if m.path == below.path]) == ["below"]


def test_what_strangers_wrote_is_only_text(tmp_path: Path) -> None:
    odd = [None, 7, [], {}, "", "\x1b[2J", [7], [{"id": 3}], {"a": 1}, float("1e400"), "\ud800"]
    fields = ("parent", "parents", "stands_for", "segments", "name", "created", "id")
    draw = random.Random(0)
    members = []
    for number in range(200):
        info = {field: draw.choice(odd) for field in fields if draw.random() < 0.7}
        members.append(Member(tmp_path / f"run{number}\x1b[31m", info))
    lineage = Lineage(members)
    assert len(lineage.members) == 200
    assert "\x1b" not in "".join(tree_lines(lineage))


def test_a_long_line_of_descent_is_quick(tmp_path: Path) -> None:
    members = [
        Member(tmp_path / f"{i}", {"id": f"{i}", "parent": f"{i - 1}", "created": f"{-i}"})
        for i in range(3000)
    ]
    random.Random(1).shuffle(members)
    begun = time.monotonic()
    lineage = Lineage(members)
    assert [m.id for m in lineage.members] == [str(i) for i in reversed(range(3000))]
    assert len(tree_lines(lineage)) == 3001  # and the parent of the first, which is not here
    assert time.monotonic() - begun < 5


# -- chains ----------------------------------------------------------------------------------


def test_a_chain_is_sorted_by_ancestry(tmp_path: Path) -> None:
    a = bare(tmp_path, "a", minute=9)
    b = bare(tmp_path, "b", a, minute=5)
    c = bare(tmp_path, "c", b, minute=1)
    for order in itertools.permutations([a, b, c]):
        assert names(chain(order)) == ["a", "b", "c"]


def test_a_fork_is_refused_with_the_tree(tmp_path: Path) -> None:
    a = bare(tmp_path, "a")
    b, c = bare(tmp_path, "b", a, step=10), bare(tmp_path, "c", a, step=20)
    with pytest.raises(RunError, match="a fork") as caught:
        chain([a, b, c])
    assert "└─ b  from step 10" in str(caught.value) and "├─ c" in str(caught.value)


def test_strangers_are_refused_with_the_tree(tmp_path: Path) -> None:
    a = bare(tmp_path, "a")
    b = bare(tmp_path, "b", a)
    c = bare(tmp_path, "c", b)
    with pytest.raises(RunError, match="strangers") as caught:
        chain([a, c])  # b, between them, is not among them
    assert f"{b.id} (not here)" in str(caught.value)
    with pytest.raises(RunError, match="strangers"):
        chain([a, bare(tmp_path, "x")])


def test_copies_and_circles_are_no_chain(tmp_path: Path) -> None:
    a = bare(tmp_path, "a")
    shutil.copytree(a.path, tmp_path / "again")
    with pytest.raises(RunError, match="copies of one run"):
        chain([a, Run(tmp_path / "again")])
    b = bare(tmp_path, "b", a)
    edit(a, parent=b.id)
    with pytest.raises(RunError, match="circle"):
        chain([a, b])


def test_an_average_joins_no_chain_but_may_begin_one(tmp_path: Path) -> None:
    a, x = bare(tmp_path, "a"), bare(tmp_path, "x")
    parents = [{"id": run.id, "name": run.path.name, "step": 5} for run in (a, x)]
    mean = bare(tmp_path, "mean")
    edit(mean, parent=a.id, parents=parents)
    with pytest.raises(RunError, match="average of several"):
        chain([a, mean])
    assert names(chain([bare(tmp_path, "child", mean), mean])) == ["mean", "child"]
    assert "averaged with x" in "\n".join(tree_lines(Lineage.of([a, x, mean])))
