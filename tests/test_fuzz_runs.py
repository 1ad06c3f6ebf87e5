"""Files of a stranger's run, or of a damaged disk: words to act on, and nothing else happens."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rgan as package
from command_line import content, rgan
from fuzzing import ODD, altered, bounded, doubled, odd_bytes, odd_data, text_of
from rgan.config import from_sections
from rgan.errors import RganError
from rgan.runs import sealed, toml
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.find import find_run, list_runs
from rgan.runs.folder import Run
from rgan.runs.history import History
from rgan.runs.lock import holder

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="bounds memory by /proc and rlimits"
)
MORE = int(os.environ.get("RGAN_FUZZ", "1"))
"""How many times as many examples as usual."""
FAST = settings(
    max_examples=20 * MORE,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
SLOW = settings(FAST, max_examples=8 * MORE)


class Place:
    """A run that can be altered and put back."""

    def __init__(self, root: Path) -> None:
        self.root, self.runs = root, root / "runs"
        flags = ["--max-sequences", 40, "--batch-size", 8, "--device", "cpu", "--runs", self.runs]
        for setting in ("generator.hidden=4", "critic.hidden=4", "critic.channels=4"):
            flags += ["--set", setting]
        flags += ["--set", "train.figures=0", "--set", "train.checkpoint_minutes=0.0000001"]
        answer = rgan("train", "sines", *flags, "--epochs", 3, "-q")
        assert answer.code == 0, answer.err
        self.run = Path(answer.out.strip())
        (root / "outside").write_text("stays")
        shutil.copytree(self.run, root / "template")
        self.outside = self._outside()

    @property
    def newest(self) -> Path:
        return max(self.run.glob("checkpoints/0*"))

    def restore(self) -> None:
        shutil.rmtree(self.run)
        shutil.copytree(self.root / "template", self.run)

    def check_outside(self) -> None:
        """Nothing was written, changed or removed but in the run's own folder."""
        assert self._outside() == self.outside

    def _outside(self) -> dict[str, bytes | None]:
        found = content(self.root)
        own = str(self.run.relative_to(self.root))
        return {path: data for path, data in found.items() if not path.startswith(f"{own}/")}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(autouse=True)
def fresh(place: Place) -> Iterator[None]:
    place.restore()
    yield
    place.restore()
    place.check_outside()


def clean(*calls: Callable[[], Any]) -> None:
    """Each call answers, or says in words why it does not."""
    with bounded(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a damaged checkpoint was passed over
        for call in calls:
            try:
                call()
            except RganError as error:
                assert error.found and "\x1b" not in error.message


def command(*words: object) -> Callable[[], None]:
    """A command in this process: whatever is raised but its exit comes through."""

    def call() -> None:
        answer = rgan(*words)
        assert answer.code in (0, 1, 2), answer
        assert answer.code == 0 or answer.err.strip() or answer.out.strip(), answer

    return call


def readers(place: Place) -> list[Callable[[], Any]]:
    """What reads a run without its weights."""
    run = place.run
    return [
        *(lambda: Run.open(run), lambda: Run(run).last_trained, lambda: list_runs(place.runs)),
        *(lambda: find_run("latest", place.runs), lambda: find_run(run.name[:12], place.runs)),
        *(lambda: Run(run).history.read(), lambda: holder(run)),
        *(command("runs", "list", "--runs", place.runs), command("runs", "show", run)),
        *(command("runs", "tree", "--runs", place.runs), command("runs", "compare", run, run)),
    ]


def loaders(place: Place) -> list[Callable[[], Any]]:
    """What takes up its weights."""
    store = CheckpointStore(place.run / "checkpoints")
    target = place.run / "sampled.npy"
    return [
        *(store.load, lambda: store.load("best"), lambda: store.load(10), store.steps, store.marks),
        command("sample", place.run, "-n", 3, "-o", target, "-q"),
        lambda: package.load(place.run),
    ]


def trainers(place: Place) -> list[Callable[[], Any]]:
    return [command("train", "--resume", place.run, "--epochs", 4, "-q")]


# -- run.json, lock.json, history.jsonl ------------------------------------------------------


def info_of(place: Place) -> Any:
    return json.loads((place.root / "template" / "run.json").read_text())


@FAST
@given(data=st.data())
def test_any_run_json(place: Place, data: st.DataObject) -> None:
    info = info_of(place)
    changed = data.draw(st.one_of(odd_data(info).map(text_of), odd_bytes(text_of(info))))
    (place.run / "run.json").write_bytes(changed)
    clean(*readers(place))


@SLOW
@given(data=st.data())
def test_a_run_of_any_run_json_is_resumed_and_sampled_or_refused(
    place: Place, data: st.DataObject
) -> None:
    place.restore()
    (place.run / "run.json").write_bytes(data.draw(odd_data(info_of(place)).map(text_of)))
    clean(*loaders(place)[-2:], *trainers(place))
    place.check_outside()


LOCK = {"host": "h", "pid": 1, "space": "", "since": "2026-01-01T00:00:00Z", "token": "t"}


@FAST
@given(odd_data(LOCK).map(text_of) | odd_bytes(text_of(LOCK)))
def test_any_lock(place: Place, changed: bytes) -> None:
    (place.run / "lock.json").write_bytes(changed)
    clean(lambda: holder(place.run), command("runs", "list", "--runs", place.runs))


@FAST
@given(data=st.data())
def test_any_history(place: Place, data: st.DataObject) -> None:
    path = place.run / "history.jsonl"
    whole = (place.root / "template" / "history.jsonl").read_bytes()
    events = [json.loads(line) for line in whole.splitlines()]
    lines = odd_data(events).map(
        lambda found: b"\n".join(
            json.dumps(event).encode() for event in (found if isinstance(found, list) else [found])
        )
    )
    path.write_bytes(data.draw(lines | odd_bytes(whole)))
    history = History(path)
    clean(history.read, lambda: history.truncate_after(5), lambda: history.append({"step": 1}))
    clean(*readers(place))


@SLOW
@given(data=st.data())
def test_a_run_of_any_history_is_resumed_or_refused(place: Place, data: st.DataObject) -> None:
    place.restore()
    path = place.run / "history.jsonl"
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    odd = data.draw(odd_data(events))
    lines = odd if isinstance(odd, list) else [odd]
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    clean(lambda: package.load(place.run), *trainers(place))


# -- config.toml -----------------------------------------------------------------------------


def toml_of(sections: Any) -> bytes:
    try:
        return toml.dumps(sections).encode("utf-8", "surrogatepass")
    except (RganError, AttributeError):
        return repr(sections).encode("utf-8", "replace")


@FAST
@given(data=st.data())
def test_any_config(place: Place, data: st.DataObject) -> None:
    sections = Run(place.root / "template").read_config()
    path = place.run / "config.toml"
    odd = data.draw(odd_data(sections, 1))
    clean(lambda: from_sections(odd if isinstance(odd, dict) else {"train": odd}))
    path.write_bytes(data.draw(st.just(toml_of(odd)) | odd_bytes(toml_of(sections))))
    clean(lambda: from_sections(Run(place.run).read_config()), *readers(place))


# -- checkpoints -----------------------------------------------------------------------------


def sealed_text(document: Any) -> bytes:
    """A state.json whose own hash is right, as a stranger can make it."""
    if not isinstance(document, dict):
        return text_of(document)
    return sealed.seal({k: v for k, v in document.items() if k != "sha256"})


def state_of(place: Place) -> Any:
    return json.loads((place.newest / "state.json").read_text())


@FAST
@given(data=st.data())
def test_any_state_and_tensor_file_of_a_checkpoint(place: Place, data: st.DataObject) -> None:
    place.restore()
    name = data.draw(st.sampled_from(["state.json", "model.safetensors", "optimizer.safetensors"]))
    path = place.newest / name
    path.write_bytes(data.draw(odd_bytes(path.read_bytes())))
    clean(*loaders(place)[:5])


@FAST
@given(data=st.data())
def test_any_sealed_state(place: Place, data: st.DataObject) -> None:
    place.restore()
    (place.newest / "state.json").write_bytes(sealed_text(data.draw(odd_data(state_of(place)))))
    clean(*loaders(place))
    place.check_outside()


@SLOW
@given(data=st.data())
def test_any_sealed_state_is_resumed_or_refused(place: Place, data: st.DataObject) -> None:
    place.restore()
    (place.newest / "state.json").write_bytes(sealed_text(data.draw(odd_data(state_of(place), 1))))
    clean(*trainers(place))
    place.check_outside()


def header_of(path: Path) -> tuple[Any, bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def put_tensors(place: Place, name: str, data: bytes) -> None:
    """A tensor file, and a state.json that says it is as it was written."""
    (place.newest / name).write_bytes(data)
    document = state_of(place)
    document["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (place.newest / "state.json").write_bytes(sealed_text(document))


@FAST
@given(data=st.data())
def test_any_header_of_tensors_under_a_right_seal(place: Place, data: st.DataObject) -> None:
    place.restore()
    name = data.draw(st.sampled_from(["model.safetensors", "optimizer.safetensors"]))
    header, body = header_of(place.newest / name)
    text = json.dumps(data.draw(odd_data(header))).encode()
    claimed = data.draw(st.just(len(text)) | st.sampled_from([0, 2**60, 2**64 - 1, 10**9]))
    put_tensors(place, name, struct.pack("<Q", claimed) + text + body)
    clean(*loaders(place))
    if data.draw(st.integers(0, 3)) == 0:
        clean(*trainers(place))


@FAST
@given(
    st.sampled_from(["latest", "best"]),
    st.text(max_size=20) | st.sampled_from(["../../x", "/etc", "0" * 300, "00000001/..", "٣" * 8]),
)
def test_any_mark(place: Place, name: str, text: str) -> None:
    (place.run / "checkpoints" / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    clean(*loaders(place)[:5])


def test_a_mark_that_is_a_folder_a_link_or_a_pipe(place: Place) -> None:
    marks = place.run / "checkpoints"
    for make in (Path.mkdir, lambda path: path.symlink_to("/etc/passwd"), os.mkfifo):
        (marks / "latest").unlink(missing_ok=True)
        make(marks / "latest")
        clean(*loaders(place))
        if (marks / "latest").is_dir():
            (marks / "latest").rmdir()


@pytest.mark.parametrize("key", ["schema", "id", "status", "segments"])
def test_a_key_that_stands_twice(place: Place, key: str) -> None:
    for value in ODD[::5]:
        (place.run / "run.json").write_bytes(doubled(info_of(place), key, value))
        clean(*readers(place))


@pytest.mark.parametrize("file", ["run.json", "config.toml", "history.jsonl", "lock.json"])
def test_a_file_that_is_a_folder_a_link_or_a_pipe(place: Place, file: str) -> None:
    for make in (
        Path.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(place.root / "outside"),
        os.mkfifo,
    ):
        place.restore()
        (place.run / file).unlink(missing_ok=True)
        make(place.run / file)
        clean(*readers(place), *loaders(place), *trainers(place))
        place.check_outside()


@pytest.mark.parametrize("name", ["checkpoints", "figures", "tensorboard", "history.jsonl"])
def test_a_run_whose_own_files_lie_elsewhere_is_not_written(place: Place, name: str) -> None:
    elsewhere = place.root / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "samples-00000099.png").write_text("somebody's")
    (elsewhere / "00000001").mkdir(exist_ok=True)
    before = content(elsewhere)
    path = place.run / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(elsewhere if "." not in name else elsewhere / "samples-00000099.png")
    answer = rgan("train", "--resume", place.run, "--epochs", 4, "-q")
    assert answer.code == 2 and f'"{path}" is a link to' in answer.err, answer
    assert content(elsewhere) == before
    shutil.rmtree(elsewhere)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("generator", "hidden"), 10**9),
        (("generator", "layers"), 10**8),
        (("generator", "noise_step"), 10**9),
        (("critic", "channels"), 10**9),
        (("train", "batch_size"), 10**12),
        (("train", "steps"), 10**18),
        (("data", "max_sequences"), 10**15),
        (("data", "source"), "../../outside"),
        (("train", "device"), "cuda:99"),
        (("train", "seed"), 10**40),
    ],
)
def test_settings_of_a_size_that_no_machine_has(
    place: Place, path: tuple[str, str], value: Any
) -> None:
    document = state_of(place)
    config = altered(document["state"]["config"], path, "put", value)
    document["state"]["config"] = config
    (place.newest / "state.json").write_bytes(sealed_text(document))
    (place.run / "config.toml").write_bytes(toml_of(config))
    clean(*loaders(place), *readers(place))


@pytest.mark.parametrize("step", [-1, 10**30, 2**63, 1.5, "7", None, True])
def test_a_step_that_is_none(place: Place, step: Any) -> None:
    for path in (("step",), ("state", "counters", "step"), ("serial",)):
        place.restore()
        document = altered(state_of(place), path, "put", step)
        (place.newest / "state.json").write_bytes(sealed_text(document))
        clean(*loaders(place), *trainers(place))
