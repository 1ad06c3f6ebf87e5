"""Networks in 16 bits: they train, go on to the last bit, and what has to be fine stays fine."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from command_line import TINY, rgan
from rgan.config import Config, changed, from_sections
from rgan.data.load import load
from rgan.errors import ConfigError, DivergedError
from rgan.nets.batch import Batch
from rgan.nets.critic import Votes
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.train import precision
from rgan.train.events import Event, Stepped
from rgan.train.precision import Precision
from rgan.workflow.session import Session, open_session

CPU = torch.device("cpu")
LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}


def session(name: str, **more: object) -> Session:
    settings = {
        **{"data.source": "icu", "data.max_sequences": 80, "train.device": "cpu"},
        **{"generator.hidden": 8, "critic.hidden": 8, "critic.channels": 8},
        **{"train.batch_size": 12, "train.epochs": 2, "train.precision": name},
    }
    settings |= {key.replace("__", "."): value for key, value in more.items()}
    config = changed(Config(), settings)
    return open_session(config, load(config.data, seed=0))


def trained(one: Session, stop_at: int = 99) -> list[Stepped]:
    heard: list[Event] = []
    one.run(heard.append, lambda: "enough" if one.state.step >= stop_at else "")
    return [event for event in heard if isinstance(event, Stepped)]


@pytest.mark.parametrize("name", LOW)
def test_networks_compute_in_16_bits_and_all_else_in_32(name: str) -> None:
    one = session(name)
    inside, votes, contents = set(), [], []
    one.state.critic.convs.register_forward_hook(lambda m, i, out: inside.add(out.dtype))
    one.state.generator.after.register_forward_hook(lambda m, i, out: inside.add(out.dtype))
    one.state.critic.register_forward_hook(lambda m, i, out: votes.append(out))
    one.state.generator.register_forward_hook(lambda m, i, out: contents.append(out))
    told = trained(one, stop_at=2)
    assert inside == {LOW[name], torch.float32}, "penalties are not rounded"
    assert all(isinstance(v, Votes) and v.score.dtype == torch.float32 for v in votes)
    assert all(isinstance(c, Batch) and c.x.dtype == torch.float32 for c in contents)
    tensors = one.state.tensors()
    assert {t.dtype for named in tensors.values() for t in named.values()} == {torch.float32}
    assert one.state.is_finite() and len(told) == 2
    assert one.trained.sample(3).values.shape[0] == 3


def test_losses_are_near_those_of_32_bits() -> None:
    fine, coarse = trained(session("fp32"), 4), trained(session("bf16"), 4)
    for a, b in zip(fine, coarse, strict=True):
        assert a.losses != b.losses
        assert a.losses == pytest.approx(b.losses, rel=0.05, abs=0.01)


@pytest.mark.parametrize("penalty", ["r1r2-fd", "r1", "gradient-penalty"])
def test_the_first_penalty_is_that_of_32_bits(penalty: str) -> None:
    # The critic's own pass is rounded: a difference taken from it would be off by far.
    first = [
        trained(session(name, penalty__name=penalty, penalty__step=0.001), 1)[0].losses["penalty"]
        for name in ("fp32", "bf16")
    ]
    assert first[0] == pytest.approx(first[1], rel=0.05)


@pytest.mark.parametrize("name", LOW)
def test_a_resume_is_the_same_to_the_last_bit(name: str, tmp_path: Path) -> None:
    straight = session(name)
    trained(straight)
    first, store = session(name), CheckpointStore(tmp_path)
    trained(first, stop_at=3)
    store.save(3, first.state.tensors(), first.checkpoint_state())
    data = load(first.config.data, seed=0)
    again = open_session(first.config, data, store.load())
    trained(again)
    assert again.state.step == straight.state.step > 3
    for group, named in straight.state.tensors().items():
        for key, tensor in named.items():
            assert torch.equal(tensor, again.state.tensors()[group][key]), key
    assert straight.state.scales == again.state.scales


def test_a_step_whose_gradient_overflows_is_left_out_and_the_scale_is_halved() -> None:
    one = session("fp16")
    one.state.scales["critic"] = {"scale": 1e38, "clean": 5}
    before = [p.clone() for p in one.state.critic.parameters()]
    trained(one, stop_at=1)
    assert one.state.scales["critic"] == {"scale": 5e37, "clean": 0}
    assert one.state.scales["generator"] == {"scale": precision.LARGEST, "clean": 1}
    assert all(
        torch.equal(a, b) for a, b in zip(before, one.state.critic.parameters(), strict=True)
    )
    saved = one.state.counters()
    other = session("fp16").state
    other.load_counters(saved)
    assert other.scales == one.state.scales


def test_the_scale_grows_again_and_never_leaves_its_bounds() -> None:
    scale = precision.init()
    assert precision.adapt(scale, finite=True)["scale"] == precision.LARGEST
    for _ in range(40):
        scale = precision.adapt(scale, finite=False)
    assert scale == {"scale": precision.SMALLEST, "clean": 0}
    for _ in range(precision.GROWTH):
        scale = precision.adapt(scale, finite=True)
    assert scale == {"scale": 2 * precision.SMALLEST, "clean": 0}


def test_gradients_that_are_not_finite_at_the_smallest_scale_are_seen() -> None:
    one = session("fp16", health__nan="stop")
    with torch.no_grad():
        one.state.critic.head.weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match="nan"):
        trained(one)


def test_what_the_device_cannot_do_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    words = ("train", "sines", *TINY, "--runs", tmp_path / "runs")
    answer = rgan(*words, "--precision", "tf32")
    assert answer.code == 2 and "the device is cpu" in answer.err
    assert "--precision fp32" in answer.err and not (tmp_path / "runs").exists()
    assert rgan(*words, "--precision", "fp8").code == 2
    with pytest.raises(ConfigError, match="on mps it is fp32"):
        Precision("bf16", torch.device("mps"))


def test_the_command_trains_in_bf16_and_goes_on_in_fp32(tmp_path: Path) -> None:
    words = ("train", "sines", *TINY, "--max-sequences", 60, "--runs", tmp_path, "-q")
    few = ("--set", "train.check_memory=false", "--set", "train.figures=0", "--epochs", 1)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        answer = rgan(*words, *few, "--precision", "bf16")
        assert answer.code == 0, answer.err
    assert not said
    run = Run.open(answer.out.strip())
    assert from_sections(run.read_config()).train.precision == "bf16"
    answer = rgan("train", "--resume", run.path, "--precision", "fp32", "--epochs", 2, "-q")
    assert answer.code == 0, answer.err
    changes = Run.open(run.path).info["segments"][-1]["changed"]
    assert changes["train.precision"] == ["bf16", "fp32"]
