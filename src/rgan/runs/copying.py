"""The files of a combined run, taken from the runs that it stands for.

Links are not followed, and a checkpoint is checked when it is copied: what is damaged stays behind.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rgan.errors import RunError, StorageError
from rgan.runs import atomic
from rgan.runs.details import checkpoints
from rgan.runs.folder import Run
from rgan.runs.parts import Part

Say = Callable[[str], None]


def copy_figures(part: Part, figures: Path, first: bool) -> None:
    """The pictures of its part; they are numbered by the step, which goes on from run to run."""
    for path in sorted(part.run.figures.glob("samples-*.png")):
        digits = path.stem.removeprefix("samples-")
        if digits.isdigit() and (part.begin < int(digits) or first) and int(digits) <= part.end:
            _copy(path, figures / f"samples-{int(digits):08d}.png")


def copy_checkpoints(parts: list[Part], last_good: Path, run: Run, say: Say) -> None:
    """All good ones; where two runs have one of the same step, the younger run's."""
    marks: dict[str, int] = {}
    chosen: dict[int, Path] = {}
    for part in parts:
        for found in checkpoints(part.run.checkpoints):
            step = found["step"]
            if part.begin <= step <= part.end:
                chosen[step] = part.run.checkpoints / f"{step:08d}"
                marks |= dict.fromkeys(found["marks"], step)
    chosen[parts[-1].end] = last_good
    copied = []
    for serial, (step, source) in enumerate(sorted(chosen.items()), start=1):
        try:
            _copy_checkpoint(source, run.checkpoints / f"{step:08d}", serial)
            copied.append(step)
        except StorageError:
            raise
        except RunError as error:
            say(f"left out: {error.found}")
    marks = {mark: step for mark, step in marks.items() if step in copied}
    for mark, step in {**marks, "latest": parts[-1].end}.items():
        atomic.write_text(run.checkpoints / mark, f"{step:08d}\n")


def _copy_checkpoint(source: Path, target: Path, serial: int) -> None:
    """One checkpoint, checked when it is copied; its serial number is that of its new place.

    Raises:
        RunError: it is damaged; nothing of it is left.
        StorageError: the copy cannot be written.
    """
    from rgan.runs.sealed import read_checkpoint, seal

    target.mkdir()
    try:
        document = _document(source / "state.json")
        for name in document["files"]:
            _copy(source / name, target / name)
        _copy(source / "state.json", target / "state.json")
        read_checkpoint(target)
    except StorageError:
        raise
    except RunError as error:
        shutil.rmtree(target)
        raise RunError(error.found.replace(str(target), str(source))) from error
    del document["sha256"]
    atomic.write_bytes(target / "state.json", seal({**document, "serial": serial}))


def _document(state_json: Path) -> dict[str, Any]:
    """A checkpoint's state.json, before its seal is checked."""
    try:
        document = json.loads(state_json.read_bytes())
        if all(isinstance(name, str) and Path(name).name == name for name in document["files"]):
            return dict(document)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise RunError(f'"{state_json}" is damaged: it is not what rgan writes')


def copy_rest(last: Part, run: Run, say: Say) -> None:
    """Of the last run: its configuration, its samples, and its evaluation if it is of the last
    good checkpoint."""
    source = last.run
    _copy(source.config_toml, run.config_toml)
    for path in sorted(source.samples.rglob("*")):
        target = run.samples / path.relative_to(source.samples)
        if path.is_file() and not path.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(path, target)
    if not source.evaluation_json.is_file():
        return
    if last.end < max(map(int, _numbers(source.checkpoints)), default=0):
        say("the evaluation is left out: it is of a checkpoint that is cut")
        return
    _copy(source.evaluation_json, run.evaluation_json)
    for path in sorted(source.figures.glob("*.png")):
        if not path.name.startswith("samples-") and path.name != "losses.png":
            _copy(path, run.figures / path.name)


def _numbers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_dir() and path.name.isdigit()]


def _copy(source: Path, target: Path) -> None:
    """A file's content, on the disk; a link is not followed.

    Raises:
        RunError: the source cannot be read.
        StorageError: the copy cannot be written.
    """
    if source.is_symlink():
        raise RunError(f'"{source}" is a link', rule="a run's files are files")
    with ExitStack() as files:
        with _explained(source):
            reading = files.enter_context(source.open("rb"))
        with atomic.explain_os_errors(target):
            writing = files.enter_context(target.open("wb"))
        while True:
            with _explained(source):
                data = reading.read(1 << 20)
            with atomic.explain_os_errors(target):
                if not data:
                    writing.flush()
                    os.fsync(writing.fileno())
                    return
                writing.write(data)


@contextmanager
def _explained(source: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f'"{source}" cannot be read: {error.strerror}', rule="a run's files can be read"
        ) from error
