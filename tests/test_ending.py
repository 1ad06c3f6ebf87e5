"""Sequences that end by themselves: how long they are, why they end, and what a length may tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy.stats import ks_2samp

from command_line import TINY, rgan
from rgan.config import preset
from rgan.nets.ending import EndingHead
from rgan.nets.feedback import FeedbackGenerator
from rgan.nets.spec import SequenceSpec
from rgan.sequences import Sequences
from rgan.transforms.config import TransformConfig
from rgan.workflow.encoder import Encoder, to_batch
from rgan.workflow.trained import Trained
from teaching import teach

STEPS, HIGH = 16, 1.2


def crossings(n: int, seed: int) -> Sequences:
    """A level that wanders, beside noise. Above ``HIGH`` a sequence ends at once; otherwise two of
    a hundred steps end one for no reason."""
    rng = np.random.default_rng(seed)
    values_NTF = rng.normal(size=(n, STEPS, 2)).astype(np.float32)
    level_N = 0.7 * rng.normal(size=n)
    for t in range(STEPS):
        level_N = 0.9 * level_N + 0.5 * rng.normal(size=n)
        values_NTF[:, t, 0] = level_N
    over_NT = values_NTF[:, :, 0] > HIGH
    first_N = np.where(over_NT.any(1), over_NT.argmax(1) + 1, STEPS)
    return cut(values_NTF, np.minimum(first_N, rng.geometric(0.02, n)))


def cut(values_NTF: NDArray[np.float32], lengths_N: NDArray[np.int64], **more: object) -> Sequences:
    lengths_N = np.minimum(lengths_N, values_NTF.shape[1])
    within_NT = np.arange(values_NTF.shape[1]) < lengths_N[:, None]
    observed_NTF = np.repeat(within_NT[:, :, None], values_NTF.shape[2], 2)
    return Sequences(values_NTF, observed=observed_NTF, lengths=lengths_N, **more)  # type: ignore[arg-type]


def two_lengths(n: int, seed: int) -> Sequences:
    """Half of a class has 4 or 5 steps and half 12; of the other, all have 7 to 9."""
    rng = np.random.default_rng(seed)
    class_N = rng.integers(0, 2, n)
    short_N = np.where(rng.random(n) < 0.5, rng.integers(4, 6, n), 12)
    lengths_N = np.where(class_N == 1, short_N, rng.integers(7, 10, n))
    values_NTF = rng.normal(size=(n, 12, 1)) + 4 * class_N[:, None, None]
    return cut(values_NTF.astype(np.float32), lengths_N, labels=class_N)


def started(data: Sequences, seed: int = 0) -> Trained:
    """Fitted, untrained."""
    torch.manual_seed(seed)
    encoder = Encoder.fit(data, TransformConfig())
    config = replace(preset("feedback").generator, hidden=48)
    generator = FeedbackGenerator(encoder.packer.spec, config)
    generator.start(to_batch(encoder.encode(data)))
    return Trained(generator.eval(), encoder)


def taught(data: Sequences, seed: int, steps: int = 400) -> Trained:
    model = started(data, seed)
    batch = to_batch(model.encoder.encode(data))
    teach(model.generator, batch, steps, 6e-3, 1000 * seed, falls=True)
    return model


def apart(a: Sequences, b: Sequences) -> float:
    return float(ks_2samp(a.lengths, b.lengths).statistic)


def at_the_end(data: Sequences) -> tuple[float, float]:
    """The share of ends before the last step that are above the border, and of other steps."""
    early_N = data.lengths < STEPS
    last_NT = np.arange(STEPS) == (data.lengths - 1)[:, None]
    over_NT = np.nan_to_num(data.values[:, :, 0]) > HIGH
    return over_NT[early_N][last_NT[early_N]].mean(), over_NT[data.valid & ~last_NT].mean()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_sequence_ends_where_its_values_say_so(seed: int) -> None:
    """Sets of 1,500 and 3,000 lie up to .05 apart in their lengths by chance (one in 100); what
    is learnt may add as much again to what its training set is off by. None of the real steps that
    are no ends is above the border; lengths drawn beside the content would leave a share of .02 of
    ends above it, as of any other steps."""
    model, real = taught(crossings(1500, seed), seed), crossings(3000, seed + 10)
    made = model.sample(3000, seed=seed)
    assert apart(real, made) < 0.08
    assert apart(crossings(1500, seed), made) < 0.06
    (real_end, real_other), (end, other) = at_the_end(real), at_the_end(made)
    assert real_end > 0.5 and real_other == 0
    assert end > real_end - 0.2, "most ends are crossings, as in the data"
    assert other < 0.015, "and hardly a crossing is passed over"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_untrained_lengths_are_those_of_the_data(seed: int) -> None:
    """By class, in steps that no sequence of the class ends after too. Of 1,000 against 400 of a
    class, chance alone gives .08 in one of a hundred pairs."""
    data = two_lengths(800, seed)
    made = started(data, seed).sample(2000, seed=seed)
    assert set(made.lengths) <= set(range(1, 13))
    for one in (0, 1):
        assert apart(data[data.labels == one], made[made.labels == one]) < 0.08


def test_training_keeps_lengths_apart_from_how_short_they_are() -> None:
    """Were each sequence's likelihood divided by its own length, the third of class 1's weight that
    its long half has would make two of three short: .17 from the data."""
    data = two_lengths(1500, 0)
    made = taught(data, 0, 200).sample(3000, seed=1)
    one = [s[s.labels == 1] for s in (data, made)]
    assert apart(*one) < 0.08


def test_a_length_tells_nothing_before_the_end() -> None:
    """What is made does not depend on how long it is asked to be, and lengths that are asked for
    hold; nothing stands past an end."""
    data = two_lengths(300, 0)
    model = started(data)
    generator = model.generator
    batch = to_batch(model.encoder.encode(data))
    noise = generator.draw_noise(300, torch.Generator().manual_seed(0))

    def made(lengths_N: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            found = generator(noise, lengths_N, batch.condition)
        past = found.valid == 0
        assert (found.x[past] == 0).all()
        asked = lengths_N > 0
        assert torch.equal(found.lengths[asked], lengths_N[asked])
        assert found.lengths.min() >= 1
        x: torch.Tensor = found.x
        return x

    free, whole = made(torch.zeros(300).long()), made(torch.full((300,), 12))
    short = made(torch.where(torch.arange(300) % 2 > 0, 3, 0))
    within = free[..., 0] != 0
    assert 0.3 < within.float().mean() < 0.9
    assert torch.equal(free[within], whole[within])
    assert torch.equal(short[1::2, :3], whole[1::2, :3])
    assert torch.equal(short[::2], free[::2])


def test_ends_can_be_taught_by_a_critic() -> None:
    generator = started(crossings(300, 0)).generator
    noise = generator.draw_noise(64, torch.Generator().manual_seed(0))
    generator(noise, torch.zeros(64).long(), torch.zeros(64, 0)).x.abs().sum().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_the_likelihood_of_all_lengths_adds_up_to_one() -> None:
    torch.manual_seed(0)
    spec = SequenceSpec(6, 1, classes=2, condition=2, variable_length=True)
    head = EndingHead(3, 4, spec)
    head.start(torch.tensor([2, 2, 4, 6, 6]), torch.eye(2)[[0, 0, 1, 1, 0]])
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
        x_NTI = torch.randn(1, 6, 3).expand(6, -1, -1)
        lengths_N = torch.arange(1, 7)
        loss_NT = head.likelihood(x_NTI, lengths_N, torch.eye(2)[[1]].expand(6, -1))
    valid_NT = (torch.arange(6) < lengths_N[:, None]).float()
    assert (-(loss_NT * valid_NT).sum(1)).exp().sum() == pytest.approx(1, abs=1e-5)


def ward(path: Path) -> Path:
    """Stays of 3 to 9 hours with gaps and an outcome."""
    rng = np.random.default_rng(4)
    lines = ["id,time,rate,level,outcome"]
    for i in range(60):
        for t in range(3 + i % 7):
            level = "" if rng.random() < 0.3 else f"{rng.normal(5, 2):.3f}"
            lines.append(f"{i},{t},{rng.normal(80, 9):.0f},{level},{i % 2}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_at_the_command_line(tmp_path: Path) -> None:
    """Trained, sampled, exported (which compares the file with samples); and a run from before ends
    were generated is refused, not misread."""
    columns = ("--id", "id", "--time", "time", "--label", "outcome", "--preset", "feedback")
    few = ("--set", "train.steps=6", "--set", "train.figures=0", "--batch-size", 8, "--quiet")
    runs = tmp_path / "runs"
    answer = rgan("train", ward(tmp_path / "w.csv"), *columns, *TINY, *few, "--runs", runs)
    assert answer.code == 0, answer.err
    (run,) = runs.iterdir()
    out = tmp_path / "s.npz"
    made = rgan("sample", run, "-n", 300, "-o", out)
    assert made.code == 0, made.err
    with np.load(out) as arrays:
        share = np.bincount(arrays["lengths"], minlength=10)[3:10] / 300
    assert share.sum() > 0.9 and share.min() > 0.04, "3 to 9 steps, each about as often"
    exported = rgan("export", run, "--to", "torch", "-o", tmp_path / "m.pt2")
    assert exported.code == 0, exported.err
    program = torch.export.load(tmp_path / "m.pt2").module()
    found = program(
        lengths=torch.tensor([0, 0, 2, 9, 5]),
        label=torch.tensor([0, 1, 0, 1, 0]),
        noise_global=torch.randn(5, 2),
        noise_step=torch.randn(5, 9, 4),
        mask_uniform=torch.rand(5, 9, 2),
    )
    assert found["lengths_out"][2:].tolist() == [2, 9, 5]
    assert (found["lengths_out"] > 0).all()
    for weights in (run / "checkpoints").glob("0*/model.safetensors"):
        tensors = load_file(weights)
        kept = {name: part for name, part in tensors.items() if ".ending." not in name}
        assert len(kept) < len(tensors)
        save_file(kept, weights)
    refused = rgan("sample", run, "-n", 3, "-o", tmp_path / "no.npz")
    assert refused.code != 0 and not (tmp_path / "no.npz").exists()
    assert "Traceback" not in refused.err
