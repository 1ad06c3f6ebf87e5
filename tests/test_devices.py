"""Which device is taken, and what is said of a busy one, over the data of several machines."""

from __future__ import annotations

import json

import pytest
import torch

from command_line import rgan
from rgan.errors import ConfigError
from rgan.train.device import (
    auto_device,
    busy_words,
    parse_devices,
    resolve_device,
    resolve_devices,
)
from rgan.train.gpus import CudaDevice, Gpu, GpuProcess, idlest, matched, read_gpus
from rgan.train.group import Launch

GIB = 2**30


def gpu(n: int, *, used: float = 0.4, percent: int = 0, pids: tuple[int, ...] = ()) -> Gpu:
    """The n-th A100 of a machine, as NVML tells of it."""
    running = tuple(GpuProcess(pid, "python", 20 * GIB) for pid in pids)
    bus = f"00000000:{0x3B + n:02X}:00.0"
    return Gpu(f"GPU-{n}", bus, "A100", 80 * GIB, int(used * GIB), percent, 40, running)


def cuda(index: int, n: int, *, uuid: bool = True, gibs: int = 80) -> CudaDevice:
    """How torch counts that GPU: without the prefix, and with a shorter place on the bus."""
    bus = f"0000:{0x3B + n:02x}:00.0"
    return CudaDevice(index, str(n) if uuid else "", bus, "A100", gibs * GIB)


SHARED = (
    gpu(0, used=70, percent=99, pids=(811,)),
    gpu(1, used=21, percent=0, pids=(912,)),
    gpu(2),
    gpu(3, used=9.5, percent=55),
)
"""Two with processes of others, one idle, one whose user a container hides."""


def test_auto_takes_the_idle_one_among_busy_ones() -> None:
    seen = [cuda(i, i) for i in range(4)]
    assert auto_device(seen, matched(seen, SHARED), has_mps=False) == "cuda:2"


@pytest.mark.parametrize("uuid", [True, False])
def test_indices_are_torchs_where_nvml_counts_otherwise(uuid: bool) -> None:
    # CUDA_VISIBLE_DEVICES=3,2: torch's 1 is NVML's 2
    seen = [cuda(0, 3, uuid=uuid), cuda(1, 2, uuid=uuid)]
    by_index = matched(seen, SHARED)
    assert by_index == {0: SHARED[3], 1: SHARED[2]}
    assert idlest(seen, by_index) == 1


def test_where_all_are_busy_the_least_busy_is_taken_and_said() -> None:
    seen = [cuda(0, 0), cuda(1, 1), cuda(2, 3)]
    by_index = matched(seen, SHARED)
    assert (
        auto_device(seen, by_index, has_mps=True) == "cuda:1"
    )  # memory held, but nothing computed
    words = busy_words("cuda:1", by_index[1], "auto")
    assert "python (pid 912, 20.0 GiB)" in words and "least busy" in words


def test_a_busy_one_asked_for_by_name_is_named_with_its_user() -> None:
    words = busy_words("cuda:0", SHARED[0], "cuda:0")
    assert "cuda:0 (A100) is busy: python (pid 811, 20.0 GiB)" in words and "--device auto" in words
    assert "55 % busy, 9.5 GiB of 80.0 GiB" in busy_words("cuda:3", SHARED[3], "cuda:3")
    assert busy_words("cuda:2", SHARED[2], "cuda:2") == ""


def test_without_nvml_the_largest_is_taken_and_without_gpus_the_next_kind() -> None:
    seen = [cuda(0, 0, gibs=16), cuda(1, 1, gibs=80)]
    assert auto_device(seen, {}, has_mps=True) == "cuda:1"
    assert auto_device([], {}, has_mps=True) == "mps"
    assert auto_device([], {}, has_mps=False) == "cpu"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cuda:1,3", ("cuda:1", "cuda:3")),
        ("cuda:0,cuda:1", ("cuda:0", "cuda:1")),
        ("cpu", ("cpu",)),
    ],
)
def test_lists_of_devices(text: str, names: tuple[str, ...]) -> None:
    assert parse_devices(text) == names


@pytest.mark.parametrize("text", ["", "cuda:1,", "cuda:1,1", "1", "cpu,1"])
def test_what_is_no_list_of_devices(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        parse_devices(text)


def test_one_device_is_meant_where_nothing_is_trained() -> None:
    with pytest.raises(ConfigError, match="only a training takes several devices"):
        resolve_device("cpu,cpu")


@pytest.mark.parametrize("text", ["cpu,mps", "cpu,cuda:0", "cuda:98,99", "auto,auto"])
def test_devices_that_cannot_train_together_are_refused_before_the_data_are_read(text: str) -> None:
    answer = rgan("train", "sines", "--device", text)
    assert answer.code == 2
    assert "device" in answer.err and "Traceback" not in answer.err


def test_a_launched_process_takes_the_device_that_has_its_place() -> None:
    second = Launch(rank=3, size=4, local_rank=1, local_size=2)
    assert resolve_devices("cpu", second) == (torch.device("cpu"),)
    assert resolve_devices("cpu,cpu", second) == (torch.device("cpu"),)
    with pytest.raises(ConfigError, match=r'2 processes .* device "cpu,cpu,cpu" means 3'):
        resolve_devices("cpu,cpu,cpu", second)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match='device "cuda:99" is not there'):
        resolve_device("cuda:99")


def test_the_command_shows_what_there_is() -> None:
    answer = rgan("devices", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert resolve_device("auto").type == told["taken"].partition(":")[0]
    assert 0 < told["cpu"]["free_bytes"] <= told["cpu"]["total_bytes"]
    text = rgan("devices").out
    assert "cores" in text and "auto takes this" in text and "free for a training" in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_driver_it_says_so() -> None:
    gpus, why = read_gpus()
    if gpus:
        pytest.skip("NVML sees a GPU that torch cannot use")
    assert "driver" in why and resolve_device("auto").type in ("cpu", "mps")
    assert why in " ".join(rgan("devices").out.split())
