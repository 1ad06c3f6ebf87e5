"""Checkpoints come back bit for bit, and damage to any of their files is noticed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from rgan.errors import ConfigError, RunError
from rgan.runs.checkpoint import CheckpointStore


def _tensors(value: float = 0.0) -> dict[str, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(int(value))
    return {
        "model": {"a.weight": torch.randn(16, 8, generator=generator) + value},
        "optimizer": {"0.exp_avg": torch.full((128,), value)},
    }


def _store(folder: Path, steps: tuple[int, ...] = (100, 200, 300), **options: Any) -> Any:
    store = CheckpointStore(folder)
    for step in steps:
        store.save(step, _tensors(step), {"epoch": step // 100}, **options)
    return store


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return a.contiguous().numpy(force=True).tobytes() == b.contiguous().numpy(force=True).tobytes()


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    state = {"rng": [2**63 - 1, 5], "best": float("inf"), "name": "ü\n\ud800", "x": 0.1, "n": None}
    store = CheckpointStore(tmp_path / "c")
    path = store.save(1200, _tensors(3), state)
    assert path == tmp_path / "c" / "00001200"
    assert sorted(p.name for p in path.iterdir()) == [
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    loaded = store.load()
    assert (loaded.step, loaded.state, loaded.path, loaded.warning) == (1200, state, path, "")
    for group, tensors in _tensors(3).items():
        assert all(_same_bits(loaded.tensors[group][name], t) for name, t in tensors.items())


@pytest.mark.parametrize(
    "dtype",
    [
        torch.bool,
        torch.uint8,
        torch.int64,
        torch.int32,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)], ids=str)
def test_every_dtype_and_shape_is_exact(
    tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    bits = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(0))
    tensor = (bits if dtype is torch.bool else bits * 97 + 1).to(dtype)
    store = CheckpointStore(tmp_path)
    store.save(1, {"model": {"t": tensor}}, {})
    loaded = store.load().tensors["model"]["t"]
    assert loaded.dtype == tensor.dtype and loaded.shape == tensor.shape
    assert torch.equal(loaded, tensor)


def test_nan_and_negative_zero_keep_their_bits(tmp_path: Path) -> None:
    tensor = torch.tensor([float("nan"), -0.0, float("-inf"), 1e-45])
    CheckpointStore(tmp_path).save(1, {"model": {"t": tensor}}, {})
    assert _same_bits(CheckpointStore(tmp_path).load().tensors["model"]["t"], tensor)


def test_views_and_shared_memory_are_saved_apart(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"a": base, "b": base, "row": base[1], "t": base.T, "p": torch.nn.Parameter(base)}
    store = CheckpointStore(tmp_path)
    store.save(1, {"model": tensors, "empty": {}}, {})
    loaded = store.load().tensors
    assert loaded["empty"] == {}
    assert all(torch.equal(loaded["model"][name], t) for name, t in tensors.items())
    loaded["model"]["a"].zero_()
    assert torch.equal(loaded["model"]["b"], torch.arange(12.0).reshape(3, 4))


# -- keeping ---------------------------------------------------------------------------------


def test_the_last_ones_and_the_marked_ones_stay(tmp_path: Path) -> None:
    store = _store(tmp_path, (100, 200), keep=2)
    store.mark_best(100)
    store.mark(200, "smoothest")
    for step in (300, 400, 500):
        store.save(step, _tensors(step), {}, keep=2)
    assert store.steps() == [100, 200, 400, 500]
    store.mark_best(500)
    store.save(600, _tensors(600), {}, keep=2)
    assert store.steps() == [200, 500, 600]
    assert store.load("best").step == 500
    assert store.load("smoothest").step == 200
    assert store.load(600).step == store.load().step == 600


def test_going_back_does_not_prune_the_new_branch(tmp_path: Path) -> None:
    store = _store(tmp_path, (100, 200, 300, 400), keep=4)
    store.save(150, _tensors(150), {}, keep=3)
    assert store.load().step == 150
    assert store.steps() == [150, 300, 400]
    store.save(175, _tensors(175), {}, keep=2)
    assert store.steps() == [150, 175]


def test_a_step_saved_again_is_replaced(tmp_path: Path) -> None:
    store = _store(tmp_path, (100,))
    store.save(100, _tensors(7), {"again": True})
    assert store.load().state == {"again": True}
    assert torch.equal(
        store.load().tensors["optimizer"]["0.exp_avg"], _tensors(7)["optimizer"]["0.exp_avg"]
    )


def test_leftovers_of_a_crash_are_cleaned_and_saved_from(tmp_path: Path) -> None:
    store = _store(tmp_path, (100, 200))
    (tmp_path / ".tmp-dead").mkdir()
    (tmp_path / ".tmp-dead" / "model.safetensors").write_bytes(b"half")
    (tmp_path / "00000200").rename(tmp_path / ".old-00000200")
    assert store.load().step == 200  # the crash came between the two renames
    store.save(300, _tensors(300), {})
    assert store.steps() == [100, 200, 300]
    assert not list(tmp_path.glob(".*"))


def test_bad_requests_write_nothing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c")
    with pytest.raises(ConfigError, match="keep is 0"):
        store.save(1, _tensors(), {}, keep=0)
    for state in ({"a": {1: 2}}, {"a": [torch.zeros(1)]}, {"a": {"b": b"x"}}):
        with pytest.raises(TypeError, match=r"state\.a"):
            store.save(1, _tensors(), state)
    with pytest.raises(ValueError, match="group"):
        store.save(1, {"../model": {}}, {})
    assert not (tmp_path / "c").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("a file")
    with pytest.raises(RunError, match="cannot be written"):
        CheckpointStore(tmp_path / "c").save(1, _tensors(), {})


# -- damage ----------------------------------------------------------------------------------

FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _garble(path: Path) -> None:
    path.write_bytes(b"\x80\x04pickle" * 100)


@pytest.mark.parametrize("damage", [_truncate, _empty, _flip, _garble, Path.unlink])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_latest_falls_back_and_says_so(tmp_path: Path, damage: Any, file: str) -> None:
    store = _store(tmp_path)
    damage(tmp_path / "00000300" / file)
    loaded = store.load()
    assert loaded.step == 200 and loaded.state == {"epoch": 2}
    assert str(tmp_path / "00000300" / file) in loaded.warning and "200" in loaded.warning
    with pytest.raises(RunError, match=file):
        store.load(300)
    store.mark_best(300)
    with pytest.raises(RunError, match=file):
        store.load("best")


def test_every_single_bit_of_the_state_is_guarded(tmp_path: Path) -> None:
    store = _store(tmp_path, (100,))
    path = tmp_path / "00000100" / "state.json"
    whole = path.read_bytes()
    before = store.load().state
    for index in range(len(whole)):
        data = bytearray(whole)
        data[index] ^= 1
        path.write_bytes(data)
        try:
            assert store.load().state == before  # white space between tokens changes nothing
        except RunError as error:
            assert "state.json" in error.message


def test_all_damaged_names_each(tmp_path: Path) -> None:
    store = _store(tmp_path)
    for step in store.steps():
        _flip(tmp_path / f"{step:08d}" / "model.safetensors")
    with pytest.raises(RunError) as caught:
        store.load()
    assert all(f"{step:08d}" in caught.value.message for step in store.steps())
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"00009999\n", b"../../etc", None])
def test_a_bad_pointer_means_the_newest(tmp_path: Path, content: bytes | None) -> None:
    store = _store(tmp_path)
    if content is None:
        (tmp_path / "latest").unlink()
    else:
        (tmp_path / "latest").write_bytes(content)
    assert store.load().step == 300


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c")
    for which in ("latest", "best", 5):
        with pytest.raises(RunError, match="no checkpoint"):
            store.load(which)
    store.save(100, _tensors(), {})
    with pytest.raises(RunError, match="latest, 100"):
        store.load(5)
    with pytest.raises(RunError, match='marked "best"'):
        store.load("best")
    with pytest.raises(RunError, match="step 5"):
        store.mark_best(5)
    for name in ("latest", "00000100", "a/b"):
        with pytest.raises(ValueError):
            store.mark(100, name)


def test_a_state_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    import json

    from rgan.runs.sealed import seal

    store = _store(tmp_path, (100,))
    path = tmp_path / "00000100" / "state.json"
    document = json.loads(path.read_text())
    del document["sha256"]
    document["files"]["../../secret"] = document["files"].pop("model.safetensors")
    path.write_bytes(seal(document))
    with pytest.raises(RunError, match="outside its folder"):
        store.load()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    store = _store(tmp_path, (100,))
    path = tmp_path / "00000100" / "state.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(RunError, match="schema 2"):
        store.load()


# -- kill -9 ---------------------------------------------------------------------------------

_KILLER = textwrap.dedent(
    """
    import os, random, signal, sys, time
    from pathlib import Path

    import torch

    from rgan.runs.checkpoint import CheckpointStore

    store = CheckpointStore(Path(sys.argv[1]))
    rng = random.Random(0)

    def save(step):
        tensors = {"model": {"w": torch.full((200_000,), float(step))}}
        store.save(step, tensors, {"step": step}, keep=2)

    save(1)
    begun = time.monotonic()
    for _ in range(4):
        save(1)
    took = min(0.5, (time.monotonic() - begun) / 4)  # a busy disk takes longer
    torn = trial = 0
    # At least 20 kills, and more where a busy machine let none of them hit a save.
    while trial < 20 or (not torn and time.monotonic() < begun + 90):
        trial += 1
        before = store.load().step
        child = os.fork()
        if child == 0:
            step = before
            while True:
                step += rng.random() < 0.7  # and now and then the same step once more
                save(step)
        time.sleep(4 * took * rng.random())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        rng.random()
        torn += any(Path(sys.argv[1]).glob(".*"))
        loaded = store.load()
        assert loaded.warning == "", loaded.warning
        assert loaded.step >= before, (loaded.step, before)
        assert loaded.state == {"step": loaded.step}
        assert (loaded.tensors["model"]["w"] == loaded.step).all()
    save(loaded.step + 1)
    assert not list(Path(sys.argv[1]).glob(".*"))
    print(torn, loaded.step)
    """
)


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_kill_at_any_moment_leaves_a_latest_that_loads(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _KILLER, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    torn, last = map(int, done.stdout.split())
    assert torn > 0 and last > 1  # some kills did hit a save, and the others got on
