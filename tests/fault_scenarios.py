"""Disturbances of a training, one function each: it does them, and checks what must hold.

Each takes an empty folder that every user may read, the undisturbed runs and random numbers; it
gives words on what happened, and fails with an ``AssertionError`` where a run was harmed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fault_checks import (
    Filler,
    check_opens,
    check_samples,
    check_whole,
    has_checkpoint,
    may_mount,
    missing_pictures,
    remount,
    saved,
    small_disk,
    the_run,
)
from faults import LONG, PER_EPOCH, TRAIN, Child, Trouble, launch, none_outlives, wait_until

NOBODY = 65534


@dataclass(frozen=True)
class Straight:
    """Runs that nothing disturbed.

    Args:
        short, long: of ``TRAIN`` and of ``LONG``.
        seconds: how long the short one took.
    """

    short: Path
    long: Path
    seconds: float

    @classmethod
    def train(cls, folder: Path) -> Straight:
        """Both, in this folder."""
        runs, seconds = [], 0.0
        for name, words in (("warm", ("--version",)), ("long", LONG), ("short", TRAIN)):
            (folder / name).mkdir()
            began = time.monotonic()
            child = launch(words, folder / name)
            assert child.wait() == 0, child.err
            seconds = time.monotonic() - began
            runs.append(the_run(folder / name))
        assert runs[1] and runs[2]
        return cls(runs[2], runs[1], seconds)


def resumed(run: Path, cwd: Path, straight: Path, *flags: str) -> Child:
    """Resume a run to its end, and check all that must hold."""
    child = launch(("train", "--resume", run, *flags), cwd)
    assert child.wait() == 0, f"the resume failed: {child.out}\n{child.err}"
    assert "Traceback" not in child.err, child.err
    check_whole(run, straight)
    return child


def _wait_for_checkpoint(cwd: Path, epoch: int, child: Child) -> None:
    """Wait until the checkpoint of so many epochs is there."""
    wait_until(lambda: saved(cwd) >= PER_EPOCH * epoch, child)


def stopped(cwd: Path, after: int = 3 * PER_EPOCH) -> Path:
    """A long training stopped by SIGTERM, with some checkpoints."""
    child = launch(LONG, cwd)
    with none_outlives(child):
        wait_until(lambda: saved(cwd) >= after, child)
        child.send(signal.SIGTERM)
        assert child.wait() == 1, child.err
    run = the_run(cwd)
    assert run
    return run


# -- kill -9 ---------------------------------------------------------------------------------


def hit(
    cwd: Path,
    straight: Straight,
    moment: float = -1.0,
    trouble: Trouble | None = None,
    *,
    number: int = signal.SIGKILL,
) -> str:
    """One signal at a moment, or a kill at an operation, to a fresh training or to a resumed one.

    Returns:
        Where it was hit; "" where it came to its end before (which is checked, and removed).
    """
    before = the_run(cwd)
    child = launch(("train", "--resume", before, "-q") if before else TRAIN, cwd, trouble)
    with none_outlives(child):
        if moment >= 0:
            time.sleep(moment)
            child.send(number)
        code = child.wait()
    run = the_run(cwd)
    if code == 0:
        assert run
        check_whole(run, straight.short)
        shutil.rmtree(cwd / "runs")
        return ""
    assert code == -number or (code == 1 and number != signal.SIGKILL), f"{code}: {child.err}"
    assert "Traceback" not in child.err, child.err
    where = ("resumed, " if before else "fresh, ") + child.where
    if run is None:
        shutil.rmtree(cwd / "runs", ignore_errors=True)
        return where
    check_opens(run)
    if not has_checkpoint(run):
        refused = launch(("train", "--resume", run, "-q"), cwd)
        assert refused.wait() == 2, f"without a checkpoint: {refused.err}"
        assert "Traceback" not in refused.err and str(run) in refused.err, refused.err
        shutil.rmtree(cwd / "runs")
        return f"{where}, nothing saved yet"
    return where


def recover(cwd: Path, straight: Straight) -> int:
    """Resume a copy of what was hit to its end and check it; the run itself stays for the next hit.

    Returns:
        How many pictures are missing at the end.
    """
    run = the_run(cwd)
    if run is None:
        return 0
    side = cwd / "copy"
    shutil.copytree(run, side)
    try:
        resumed(side, cwd, straight.short, "-q")
        check_samples(side, cwd)
        return missing_pictures(side, straight.short)
    finally:
        shutil.rmtree(side)


# -- a full disk -----------------------------------------------------------------------------


def disk_full_for_a_while(cwd: Path, straight: Straight, rng: random.Random) -> str:
    """The disk fills while training goes on, and is freed again: it is said, nothing is lost."""
    with small_disk(cwd / "disk") as disk:
        work, filler = disk / "work", Filler(disk / "filler")
        work.mkdir()
        child = launch(LONG, work, notes=cwd)
        with none_outlives(child):
            _wait_for_checkpoint(work, rng.randrange(1, 10), child)
            filler.fill()
            wait_until(lambda: "a picture is not written" in child.err, child)
            filler.free()
            assert child.wait() == 0, child.err
        # a line of history.jsonl may find room in the last page
        _check_said(child, "a checkpoint", "a picture")
        run = the_run(work)
        assert run
        check_whole(run, straight.long)
        check_samples(run, work)
        shutil.copytree(run, cwd / "kept")
    return "went on, said so, lost nothing"


def disk_full_and_its_log(cwd: Path, straight: Straight, rng: random.Random) -> str:
    """What the process says goes to the full disk as well: that does not end it either."""
    with small_disk(cwd / "disk") as disk:
        work, filler = disk / "work", Filler(disk / "filler")
        work.mkdir()
        child = launch(tuple(word for word in LONG if word != "-q"), work, notes=disk)
        with none_outlives(child):
            _wait_for_checkpoint(work, rng.randrange(1, 10), child)
            filler.fill()
            time.sleep(0.7)
            filler.free()
            assert child.wait() == 0, child.err
        run = the_run(work)
        assert run
        check_whole(run, straight.long)
    return "went on, lost nothing but words"


def disk_full_to_the_end(cwd: Path, straight: Straight, rng: random.Random) -> str:
    """The disk stays full: exit code 1, words to act on; freed, it resumes."""
    with small_disk(cwd / "disk") as disk:
        work, filler = disk / "work", Filler(disk / "filler")
        work.mkdir()
        child = launch(LONG, work, notes=cwd)
        with none_outlives(child):
            _wait_for_checkpoint(work, rng.randrange(1, 10), child)
            filler.fill()
            code = child.wait()
        last = saved(work)
        assert code == 1, f"{code}: {child.err}"
        assert "No space left on device" in child.err and "Traceback" not in child.err, child.err
        filler.free()
        run = the_run(work)
        assert run
        check_opens(run)
        resumed(run, work, straight.long, "-q")
    return f"ended with exit code 1 after the checkpoint of step {last}, resumed from it"


def file_size_limit(cwd: Path, straight: Straight, rng: random.Random) -> str:
    """No file may grow beyond a limit, from a moment on: as a quota, without a file system."""
    import resource

    child = launch(LONG, cwd)
    with none_outlives(child):
        _wait_for_checkpoint(cwd, rng.randrange(1, 10), child)
        limits = resource.prlimit(child.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (1000, limits[1]))
        wait_until(lambda: "a picture is not written" in child.err, child)
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, limits)
        assert child.wait() == 0, child.err
    _check_said(child, "a checkpoint", "history.jsonl", "a picture")
    run = the_run(cwd)
    assert run
    check_whole(run, straight.long)
    return "went on, said so, lost nothing"


def _check_said(child: Child, *what: str) -> None:
    assert "Traceback" not in child.err, child.err
    for name in what:
        for words in (f"{name} is not written: ", f"{name} is written again"):
            assert child.err.count(words) == 1, f'"{words}": {child.err}'


# -- a folder that may not be written --------------------------------------------------------


def read_only_at_the_start(cwd: Path, straight: Straight, rng: random.Random) -> str:
    """Nothing may be written: exit code 2, and nothing half-made stands there."""
    (cwd / "runs").mkdir()
    for folder in (cwd, cwd / "runs"):
        folder.chmod(0o555)
    child = launch(TRAIN, cwd, Trouble(uid=_other_user()))
    assert child.wait() == 2, child.err
    assert "Traceback" not in child.err and "may not be written" in child.err, child.err
    assert not list((cwd / "runs").iterdir())
    for folder in (cwd, cwd / "runs"):
        folder.chmod(0o755)
    return "refused with exit code 2, nothing made"


def read_only_for_a_while(cwd: Path, straight: Straight, rng: random.Random) -> str:
    """The run's folder may not be written for a while: it is said, nothing is lost."""
    child, run = _as_other_user(cwd, rng)
    with none_outlives(child):
        _allow(run, False)
        wait_until(lambda: "a picture is not written" in child.err, child)
        _allow(run, True)
        assert child.wait() == 0, child.err
    _check_said(child, "a checkpoint", "history.jsonl", "a picture")
    check_whole(run, straight.long)
    return "went on, said so, lost nothing"


def read_only_to_the_end(cwd: Path, straight: Straight, rng: random.Random) -> str:
    """It stays so: exit code 1, words to act on; allowed again, it resumes."""
    child, run = _as_other_user(cwd, rng)
    with none_outlives(child):
        _allow(run, False)
        assert child.wait() == 1, child.err
    assert "Permission denied" in child.err and "Traceback" not in child.err, child.err
    again = launch(("train", "--resume", run, "-q"), cwd, Trouble(uid=_other_user()))
    assert again.wait() == 1, again.err
    assert "cannot be written" in again.err and "Traceback" not in again.err, again.err
    _allow(run, True)
    resumed(run, cwd, straight.long, "-q")
    return "ended with exit code 1, refused to resume, resumed when allowed"


def read_only_disk(cwd: Path, straight: Straight, rng: random.Random) -> str:
    """The disk is mounted read-only when a run is to be resumed."""
    with small_disk(cwd / "disk") as disk:
        run = stopped(disk)
        remount(disk, "ro")
        child = launch(("train", "--resume", run, "-q"), disk, notes=cwd)
        assert child.wait() == 1, child.err
        assert "Read-only file system" in child.err and "Traceback" not in child.err, child.err
        check_samples(run, cwd)
        remount(disk, "rw")
        resumed(run, disk, straight.long, "-q")
    return "refused with exit code 1; sampling worked; resumed when writable"


def _other_user() -> int | None:
    return NOBODY if os.geteuid() == 0 else None


def _as_other_user(cwd: Path, rng: random.Random) -> tuple[Child, Path]:
    cwd.chmod(0o777)
    child = launch(LONG, cwd, Trouble(uid=_other_user()))
    _wait_for_checkpoint(cwd, rng.randrange(1, 10), child)
    run = the_run(cwd)
    assert run
    return child, run


def _allow(run: Path, yes: bool) -> None:
    """Let a run's folders and files be written, or not; what vanishes meanwhile does not matter."""
    for folder, _, names in os.walk(run):
        for path in [Path(folder), *(Path(folder) / name for name in names)]:
            with contextlib.suppress(FileNotFoundError):
                path.chmod((0o755 if path.is_dir() else 0o644) if yes else 0o555)


# -- clocks, signals -------------------------------------------------------------------------


def clock_jumps(cwd: Path, straight: Straight, rng: random.Random) -> str:
    """The clock jumps back, by a day or by years, while training goes on, and again on a resume."""
    seconds = -rng.choice([86400, 5 * 365 * 86400])
    jump = (rng.randrange(1, 40), seconds)
    child = launch(LONG, cwd, Trouble(jump=jump))
    with none_outlives(child):
        wait_until(lambda: saved(cwd) >= jump[0] + 2 * PER_EPOCH, child)
        run = the_run(cwd)
        assert run
        second = launch(("train", "--resume", run, "-q"), cwd)
        assert second.wait() == 2 and str(child.pid) in second.err, second.err
        child.kill()
    check_opens(run)
    marked = int((run / "checkpoints" / "latest").read_text())
    steps = sorted(int(path.name) for path in (run / "checkpoints").glob("0*"))
    # the kill may have come between the newest checkpoint and the mark on it
    assert marked in steps[-2:] or marked not in steps, (marked, steps)
    again = launch(("train", "--resume", run, "-q"), cwd, Trouble(jump=(marked + 1, seconds)))
    assert again.wait() == 0, again.err
    check_whole(run, straight.long)
    listed = launch(("runs", "list"), cwd)
    assert listed.wait() == 0 and "finished" in listed.out, listed.err
    return f"checkpoints, history and lock in order ({seconds / 86400:,.0f} days)"


def two_signals(cwd: Path, straight: Straight, rng: random.Random) -> str:
    """SIGTERM twice, or Ctrl-C twice, while a slow checkpoint is written."""
    number = rng.choice([signal.SIGTERM, signal.SIGINT])
    child = launch(LONG, cwd, Trouble(slow=0.05))
    with none_outlives(child):
        _wait_for_checkpoint(cwd, rng.randrange(1, 6), child)
        wait_until(lambda: "checkpoint" in child.phases, child)
        child.send(number)
        time.sleep(rng.choice([0.0, 0.01, 0.05, 0.1]))
        child.send(number)
        code = child.wait()
    assert code in (1, 130, -number), f"{code}: {child.err}"
    assert "Traceback" not in child.err, child.err
    run = the_run(cwd)
    assert run
    check_opens(run)
    resumed(run, cwd, straight.long, "-q")
    return f"ended with exit code {code}, resumed"


# -- two at once -----------------------------------------------------------------------------


def two_at_once(cwd: Path, straight: Straight, rng: random.Random) -> str:
    """Three resume one run at the same instant: one trains, the others are told who."""
    run = stopped(cwd)
    words = ("train", "--resume", run, "-q")
    children = [launch(words, cwd, Trouble(slow=0.02)) for _ in range(3)]
    with none_outlives(*children):
        codes = [child.wait() for child in children]
    assert sorted(codes) == [0, 2, 2], codes
    winner = children[codes.index(0)]
    for child in children:
        if child is not winner:
            assert f"process {winner.pid} on" in child.err, child.err
    check_whole(run, straight.long)
    return "one trained, two were refused with exit code 2 and told which process trains"


def holder_killed(cwd: Path, straight: Straight, rng: random.Random) -> str:
    """The process that holds the lock is killed: the next one says that it takes the lock over."""
    child = launch(LONG, cwd)
    with none_outlives(child):
        _wait_for_checkpoint(cwd, rng.randrange(1, 10), child)
        child.kill()
    run = the_run(cwd)
    assert run
    said = resumed(run, cwd, straight.long).out
    assert f"process {child.pid} on" in said and "left behind is taken over" in said, said
    return "the lock left behind was taken over, and that was said"


def lock_of_another_host(cwd: Path, straight: Straight, rng: random.Random) -> str:
    """A lock of another host is respected for five minutes after its last renewal."""
    run = stopped(cwd)
    lock = {"host": "elsewhere", "pid": 4242, "since": "2026-01-02T03:04:05Z", "token": "x"}
    (run / "lock.json").write_text(json.dumps(lock))
    child = launch(("train", "--resume", run, "-q"), cwd)
    assert child.wait() == 2, child.err
    assert 'process 4242 on "elsewhere"' in child.err and "rm " in child.err, child.err
    old = time.time() - 600
    os.utime(run / "lock.json", (old, old))
    said = resumed(run, cwd, straight.long).out
    assert 'process 4242 on "elsewhere"' in said and "taken over" in said, said
    return "a fresh one was respected, an old one taken over"


# -- damage ----------------------------------------------------------------------------------


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1 << 3
    path.write_bytes(data)


def _emptied(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def _add(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes() + data)


def _text(text: str) -> Callable[[Path], None]:
    return lambda path: Path(path).write_text(text)


DAMAGES: dict[str, tuple[str, Callable[[Path], None], bool]] = {
    "the weights cut short": ("NEWEST/model.safetensors", _cut, True),
    "a bit of the weights flipped": ("NEWEST/model.safetensors", _flip, True),
    "a bit of the optimiser flipped": ("NEWEST/optimizer.safetensors", _flip, True),
    "the weights missing": ("NEWEST/model.safetensors", Path.unlink, True),
    "state.json missing": ("NEWEST/state.json", Path.unlink, True),
    "state.json cut short": ("NEWEST/state.json", _cut, True),
    "a bit of state.json flipped": ("NEWEST/state.json", _flip, True),
    "state.json full of zeros": ("NEWEST/state.json", _text("\0" * 4096), True),
    "the newest checkpoint empty": ("NEWEST", _emptied, True),
    "latest missing": ("checkpoints/latest", Path.unlink, False),
    "latest pointing nowhere": ("checkpoints/latest", _text("00009999\n"), False),
    "latest pointing out of the run": ("checkpoints/latest", _text("../../x\n"), False),
    "latest empty": ("checkpoints/latest", _text(""), False),
    "a torn last line of the history": ("history.jsonl", _add(b'{"event": "epo'), False),
    "zeros at the end of the history": ("history.jsonl", _add(bytes(700)), False),
    "a lock full of zeros": ("lock.json", _text("\0" * 128), False),
}
"""What is damaged: (file, how, whether it is to be named)."""


def damaged(cwd: Path, straight: Straight, damage: str) -> str:
    """A stopped run is damaged and resumed: what is damaged is named, the end is the same."""
    template = cwd.parent / "stopped"
    if not template.is_dir():
        template.mkdir()
        for share in (0.55, 0.65, 0.45, 0.75, 0.35):
            hit(template, straight, share * straight.seconds, number=signal.SIGTERM)
            run = the_run(template)
            if run and len(list(run.glob("checkpoints/0*"))) == 3:
                break
            shutil.rmtree(template / "runs", ignore_errors=True)
    shutil.copytree(template / "runs", cwd / "runs")
    run = the_run(cwd)
    assert run, "no run was stopped in its middle"
    place, do, named = DAMAGES[damage]
    newest = max(run.glob("checkpoints/0*"))
    path = run / place.replace("NEWEST", f"checkpoints/{newest.name}")
    do(path)
    child = resumed(run, cwd, straight.short)
    if named:
        assert str(path) in child.out, child.out
        assert "is used instead" in child.out, child.out
    return "named, the checkpoint before it used" if named else "made no difference"


Scenario = Callable[[Path, Straight, random.Random], str]
SHORT: list[Scenario] = [
    *(disk_full_for_a_while if may_mount() else file_size_limit, read_only_at_the_start),
    *(read_only_to_the_end, clock_jumps, two_signals, two_at_once),
]
LATER: list[Scenario] = [
    *(disk_full_and_its_log, disk_full_to_the_end, file_size_limit, read_only_for_a_while),
    *(read_only_disk, holder_killed, lock_of_another_host),
]
NEED_ROOT: list[Scenario] = [
    *(disk_full_for_a_while, disk_full_and_its_log, disk_full_to_the_end, read_only_disk),
]
SHORT_DAMAGES = (
    *("the weights cut short", "a bit of state.json flipped", "the newest checkpoint empty"),
    *("latest pointing nowhere", "zeros at the end of the history"),
)
