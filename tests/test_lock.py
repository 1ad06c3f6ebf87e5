"""One process at a time writes a run, and a lock left behind is seen as one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rgan.errors import RunError, StorageError
from rgan.runs.lock import STALE_SECONDS, RunLock, holder

HOLD = "import sys, time; from rgan.runs.lock import RunLock\n"
HOLD += "with RunLock(sys.argv[1]): print('mine', flush=True); time.sleep(60)"


@pytest.fixture
def other(tmp_path: Path):
    """A process that holds the lock of tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"mine\n"
    yield process
    process.kill()
    process.communicate()


def foreign(folder: Path, age: float) -> None:
    """A lock of another host, renewed so many seconds ago."""
    path = folder / "lock.json"
    since = "2026-11-22T22:10:05.000000Z"
    path.write_text(json.dumps({"host": "node7", "pid": os.getpid(), "since": since, "token": "x"}))
    os.utime(path, (time.time() - age,) * 2)


def test_nobody_holds_what_is_not_locked(tmp_path):
    assert holder(tmp_path) is None
    with RunLock(tmp_path) as lock:
        mine = holder(tmp_path)
        assert mine is not None and (mine.pid, mine.alive) == (os.getpid(), True)
        assert lock.took_over is None and lock.is_mine()
        lock.check()
    assert list(tmp_path.iterdir()) == []


def test_a_second_writer_is_refused_and_told_who_is_the_first(tmp_path, other):
    with pytest.raises(RunError) as caught, RunLock(tmp_path):
        pass
    message = caught.value.message
    assert f"process {other.pid} on" in message and "--branch" in message
    who = holder(tmp_path)
    assert who is not None and (who.pid, who.alive) == (other.pid, True)


def test_the_same_process_is_no_exception(tmp_path):
    with RunLock(tmp_path), pytest.raises(RunError), RunLock(tmp_path):
        pass
    assert holder(tmp_path) is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_dead_process_is_taken_over(tmp_path, other, number):
    other.send_signal(number)
    other.wait()
    left = holder(tmp_path)
    assert left is not None and left.alive is False
    with RunLock(tmp_path) as lock:
        assert lock.took_over is not None and lock.took_over.pid == other.pid


def test_a_host_that_cannot_be_asked(tmp_path):
    foreign(tmp_path, age=10)
    who = holder(tmp_path)
    assert who is not None and (who.host, who.alive) == ("node7", None)
    with pytest.raises(RunError) as caught, RunLock(tmp_path):
        pass
    assert f'rm "{tmp_path / "lock.json"}"' in caught.value.message
    foreign(tmp_path, age=STALE_SECONDS + 10)
    with RunLock(tmp_path) as lock:
        assert str(lock.took_over).startswith("process ") and "node7" in str(lock.took_over)


def test_a_lock_that_was_taken_away_is_noticed(tmp_path):
    with RunLock(tmp_path) as lock:
        foreign(tmp_path, age=0)
        with pytest.raises(RunError, match="node7"):
            lock.check()
    assert holder(tmp_path) is not None, "another's lock is not deleted"
    (tmp_path / "lock.json").unlink()
    with RunLock(tmp_path) as lock:
        (tmp_path / "lock.json").unlink()
        with pytest.raises(RunError, match="deleted"):
            lock.check()


@pytest.mark.parametrize("text", ["", "null", "[1]", '{"pid": "x"}', "\x00\x00", "[" * 10_000])
def test_a_lock_that_says_nothing_is_no_obstacle(tmp_path, text):
    (tmp_path / "lock.json").write_text(text)
    assert holder(tmp_path) is not None
    with RunLock(tmp_path):
        assert holder(tmp_path).pid == os.getpid()


def test_looking_on_does_not_keep_a_writer_away(tmp_path):
    (tmp_path / "lock.json").write_text("{}")
    code = "import sys; from rgan.runs.lock import holder\nwhile True: holder(sys.argv[1])"
    onlooker = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        time.sleep(0.5)
        for _ in range(50):
            with RunLock(tmp_path):
                pass
        assert onlooker.poll() is None
    finally:
        onlooker.kill()
        onlooker.wait()


def test_a_folder_that_is_gone(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"), RunLock(tmp_path / "gone"):
        pass
