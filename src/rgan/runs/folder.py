"""``Run``: a run folder as an object, every path in it a property.

Nothing depends on the folder's name; ``run.json`` holds the run's id and its times.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rgan.errors import ConfigError, InputError, RunError
from rgan.runs import toml
from rgan.runs.atomic import TEMPORARY, read_bytes, write_json, write_text
from rgan.runs.history import History
from rgan.runs.info import checked, first_info, iso, read_info, utc_now

_OWN_FILES = ("run.json", "config.toml", "history.jsonl", "clock")
_OWN_FIGURES = ("samples-*.png", "samples.gif", "losses.png")
PROBE = "probe"
"""The file by which a disk is tried before TensorBoard writes to it; gone at once."""


class Run:
    """One run folder that exists. Made by ``Run.create`` or ``Run.open``.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    # -- making and opening ------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        root: str | Path,
        name_hint: str,
        started: datetime | None = None,
        *,
        device: str = "cpu",
        **fields: Any,
    ) -> Run:
        """Makes a new run folder, ``ROOT/2026-11-22T22-10-05-icu-rcgan``, with its run.json.

        Args:
            root: the folder of all runs; made if it is not there.
            name_hint: what the run is called, such as "icu-rcgan".
            started: when, UTC where it has no zone; now if not given.
            device: what training runs on, for the description of the machine.
            fields: more fields of run.json, such as ``parent`` and ``data``.

        Raises:
            InputError: the folder cannot be made or written; nothing has been made.
        """
        root = Path(root)
        moment = datetime.now(UTC) if started is None else started
        created = iso(moment)
        _check_writable(root)
        stamp = created[:19].replace(":", "-")
        slug = re.sub(r"[^A-Za-z0-9._]+", "-", name_hint).strip("-.")[:60] or "run"
        try:
            root.mkdir(parents=True, exist_ok=True)
            run = cls(_make_unique(root / f"{stamp}-{slug}"))
        except OSError as error:
            raise _not_writable(root, error.strerror or str(error)) from error
        write_json(run.run_json, first_info(name_hint, created, device) | checked(fields))
        for folder in (run.checkpoints, run.samples, run.figures):
            folder.mkdir()
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """The run in this folder.

        Raises:
            RunError: it is not a run, its run.json is damaged, or a newer version wrote it.
        """
        run = cls(path)
        if not run.run_json.is_file():
            raise RunError(
                f'"{path}" is not a run: {_why_not(run.path)}',
                rule="a run is a folder that holds run.json",
                repair=_nearby_run(run.path),
            )
        run.info  # noqa: B018  reading it is the check
        return run

    # -- paths -------------------------------------------------------------------------------

    @property
    def run_json(self) -> Path:
        """What the run is: id, status, versions, machine, data, segments."""
        return self.path / "run.json"

    @property
    def config_toml(self) -> Path:
        """The whole resolved configuration."""
        return self.path / "config.toml"

    @property
    def history_jsonl(self) -> Path:
        """Events, one a line."""
        return self.path / "history.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints; see ``CheckpointStore``."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """The folder of samples drawn as training goes."""
        return self.path / "samples"

    @property
    def figures(self) -> Path:
        """The folder of figures."""
        return self.path / "figures"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def evaluation_json(self) -> Path:
        """What ``rgan evaluate`` found."""
        return self.path / "evaluation.json"

    @property
    def report_html(self) -> Path:
        """The report."""
        return self.path / "report.html"

    @property
    def history(self) -> History:
        """The event file, to read or to add to."""
        return History(self.history_jsonl)

    # -- run.json ----------------------------------------------------------------------------

    @property
    def info(self) -> dict[str, Any]:
        """What run.json says now.

        Raises:
            RunError: it is missing, damaged, or of a newer version.
        """
        return read_info(self.run_json)

    @property
    def id(self) -> str:
        """The run's own id, kept when the folder is renamed or copied."""
        return str(self.info["id"])

    def update_info(self, **fields: Any) -> dict[str, Any]:
        """Changes fields of run.json, and its time of update.

        Args:
            fields: the new values; anything but ``schema``, ``id``, ``created``, ``updated``.

        Returns:
            The whole new run.json.

        Raises:
            RunError: run.json cannot be read or written.
            ValueError: a field is not the caller's to set, or the status is not known.
        """
        info = self.info | checked(fields) | {"updated": utc_now()}
        write_json(self.run_json, info)
        return info

    def begin_segment(
        self, from_step: int, changed: Mapping[str, Any] | None = None, **more: Any
    ) -> None:
        """Notes that training begins or goes on from a step, and removes what a killed one left.

        Args:
            from_step: where.
            changed: the settings that are others than before, {"section.key": [old, new]}.
            more: what else there is to say of this segment.
        """
        # Only names that the run's one writer gives: an evaluation may be writing beside it.
        own = (self.path, _OWN_FILES), (self.figures, _OWN_FIGURES), (self.tensorboard, (PROBE,))
        for folder, names in own:
            for name in names:
                for path in folder.glob(f"{TEMPORARY}*-{name}"):
                    path.unlink(missing_ok=True)
        (self.tensorboard / PROBE).unlink(missing_ok=True)
        *before, last = self.info["segments"] or [None]
        if last is not None:
            # A killed training could not say how far it came, or said more or less than was saved.
            before.append(last if last.get("status") else {**last, "status": "killed"})
            before[-1]["to_step"] = from_step
        segment = {
            "started": utc_now(),
            "from_step": from_step,
            "to_step": from_step,
            "changed": dict(changed or {}),
            **more,
        }
        self.update_info(status="running", segments=[*before, segment])

    def progress(self, step: int, **numbers: Any) -> None:
        """Notes how far the last segment has come: up to a step that is saved.

        Args:
            step: generator updates made.
            numbers: the same in other words, for the run as a whole: epoch, total_steps.
        """
        *before, last = self.info["segments"]
        segments = [*before, {**last, "to_step": step}]
        self.update_info(segments=segments, progress={"step": step, **numbers})

    def end_segment(self, to_step: int, status: str = "finished", reason: str = "") -> None:
        """Notes how far the last segment came, and how and why it ended."""
        *before, last = self.info["segments"]
        last = {**last, "to_step": to_step, "status": status, "reason": reason}
        last["ended"] = utc_now()
        self.update_info(status=status, segments=[*before, last])

    @property
    def last_trained(self) -> str:
        """When the run was made or last resumed, ISO text in UTC, which sorts as time does."""
        info = self.info
        return str(max([info["created"], *(segment["started"] for segment in info["segments"])]))

    # -- config.toml -------------------------------------------------------------------------

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Writes the configuration: sections of scalars and lists.

        Raises:
            ConfigError: a value has no TOML form.
            RunError: the file cannot be written.
        """
        header = "The whole configuration of this run, written by rgan."
        write_text(self.config_toml, toml.dumps(config, header=header))

    def read_config(self) -> dict[str, Any]:
        """The sections of config.toml.

        Raises:
            RunError: it is missing or damaged.
        """
        try:
            text = read_bytes(self.config_toml, 2**20).decode("utf-8")
            return toml.loads(text, source=f'"{self.config_toml}"')
        except FileNotFoundError as error:
            raise RunError(
                f'"{self.config_toml}" is missing', rule="a run holds its configuration"
            ) from error
        except (ConfigError, UnicodeDecodeError, OSError) as error:
            raise RunError(f'"{self.config_toml}" cannot be read: {error}') from error


def _make_unique(wanted: Path) -> Path:
    for number in range(1, 10_000):
        path = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue  # made in the same second, here or by another process
        return path
    raise OSError(f"ten thousand runs are called {wanted.name}")


def _check_writable(root: Path) -> None:
    """Refuses a root that cannot be written before any folder on the way to it is made."""
    here = root
    while not here.exists() and not here.is_symlink() and here != here.parent:
        here = here.parent
    if not here.is_dir():
        raise _not_writable(root, f'"{here}" is not a folder')
    if not os.access(here, os.W_OK | os.X_OK):
        raise _not_writable(root, f'"{here}" may not be written by this user')


def _not_writable(root: Path, why: str) -> InputError:
    return InputError(
        f'runs cannot be written to "{root}": {why}',
        rule="the folder for runs can be made and written",
        repair="--runs ~/runs",
    )


def _why_not(path: Path) -> str:
    if not path.exists():
        return "there is nothing of that name"
    return "it is a file" if path.is_file() else "there is no run.json in it"


def _nearby_run(path: Path) -> str:
    """A run just above or just below, which is what was probably meant."""
    for parent in path.absolute().parents:
        if (parent / "run.json").is_file():
            return f'"{parent}"'
    below = sorted(path.glob("*/run.json")) if path.is_dir() else []
    if below:
        return f'"{below[-1].parent}"'
    return f'rgan runs list --runs "{path if path.is_dir() else path.parent}"'
