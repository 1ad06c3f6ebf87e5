"""Kills a combining with SIGKILL before each thing that it does to the disk, one after the other.

    python killed_combining.py FOLDER

prints a JSON line for each kill: what lay there, and what lay there once it was run again. It is a
process of its own, since it forks, which is safe only where no other thread runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from lineage_runs import trained
from rgan.errors import RunError
from rgan.runs.archive import finish_pending
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.combine import combine
from rgan.runs.find import select_each
from rgan.runs.folder import Run
from rgan.runs.select import run_folders

WRITES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"}


def kill_at(moment: int, root: Path) -> None:
    """From now on, die before the write of this number."""
    count = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        writes = event in WRITES or (event == "open" and isinstance(args[2], int) and args[2] & 3)
        if not writes or not str(args[0]).startswith(str(root)):
            return
        count += 1
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def again(root: Path) -> None:
    """What the command does when it is typed a second time."""
    done = finish_pending(root)
    if not done or not all(any(job.means(name) for job in done) for name in "ab"):
        combine(select_each("ab", root))


def state(root: Path) -> dict[str, Any]:
    """What lies in the folder."""
    archive = root / "archive"
    return {
        "runs": sorted(Run.open(path).id for path in run_folders(root)),
        "archive": sorted(Run.open(path).id for path in run_folders(archive)),
        "hidden": sorted(path.name for path in root.iterdir() if path.name.startswith(".")),
    }


def content(run: Run) -> dict[str, str]:
    """What the combined run holds, without what tells one combining from another."""
    files = {
        str(p.relative_to(run.path)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(run.path.rglob("*"))
        if p.is_file() and p.name != "run.json"
    }
    assert not CheckpointStore(run.checkpoints).load().warning
    return files


def main(folder: Path) -> None:
    a = trained(folder / "whole", "a", end=20)
    trained(folder / "whole", "b", a, begin=10, end=20, tail=10, minute=1)
    for moment in range(1, 1000):
        root = folder / f"killed-{moment}"
        shutil.copytree(folder / "whole", root)
        child = os.fork()
        if not child:
            kill_at(moment, root)
            combine(select_each("ab", root))
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        before = state(root)
        try:
            again(root)
        except RunError:
            assert ended == 0, "only a combining that is done has nothing left to combine"
        after = state(root)
        (run,) = run_folders(root)
        print(json.dumps([ended, before, after, content(Run(run))]), flush=True)
        shutil.rmtree(root)
        if ended == 0:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
