"""Train the frozen network of the image metrics and write its weights.

    RGAN_DATA=FOLDER python scripts/train_image_features.py src/rgan/evaluate/assets

FOLDER holds fashion-mnist/*.gz. The network learns 20 classes at once: the ten digits of
scikit-learn's 8 x 8 images and the ten of Fashion-MNIST, whose licences let weights be passed on.
Digits are drawn out to 20 x 20 on 28 x 28, and turned, stretched, moved and sharpened anew each
time they are seen, since there are only 1,500 of them. Adam along one cycle of the rate (Smith &
Topin 2017, arXiv 1708.07120), in one thread: under two minutes of one core. What is held out is
looked at only to print the accuracy; so is MNIST, where FOLDER has it, of which nothing is
learnt.

It writes image_features.safetensors, 16 bits a weight, and image_features.json, and prints the hash
that belongs in ``rgan.evaluate.image_features``. The same seed, machine and versions give the same
bytes; others give a network as good, with another hash. So the file is made once and stays.

Shape letters: N images, H, W height, width.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, interpolate, pad

from rgan.data.config import DataConfig
from rgan.data.load import load
from rgan.errors import RganError, SourceError
from rgan.evaluate.classes import class_probe
from rgan.evaluate.image_features import CLASSES, FeatureNetwork, grey_28

STEPS, CLOTHES, DIGITS, RATE, SMALLEST, DECAY = 1500, 96, 32, 4e-3, 1e-5, 1e-2
HELD_OUT = 297  # digits
Pair = tuple[Tensor, Tensor]


def read(source: str, data_dir: str) -> dict[str, Pair]:
    """{"train": (N1HW images from 0 to 1, N classes 0 to 9), "test": ...}."""
    data = load(DataConfig(source=source, data_dir=data_dir))
    assert data.labels is not None
    part = data.part
    if part is None:
        last = np.random.default_rng(0).permutation(len(data))[-HELD_OUT:]
        part = np.where(np.isin(np.arange(len(data)), last), "test", "train")
    found = {}
    for name in ("train", "test"):
        rows = data[np.flatnonzero(part == name)]
        assert rows.labels is not None
        x_N1HW = framed(rows.to_images()[..., 0] / 16) if source == "digits" else grey_28(rows)
        found[name] = x_N1HW, torch.from_numpy(rows.labels.astype(np.int64))
    return found


def framed(x_NHW: np.ndarray) -> Tensor:
    """(N, 1, 28, 28) digits of 20 x 20 pixels with a margin of 4, as MNIST has them."""
    x_N1HW = torch.from_numpy(np.ascontiguousarray(x_NHW, np.float32))[:, None]
    large = interpolate(x_N1HW, (20, 20), mode="bicubic", align_corners=False)
    return pad(large.clamp(0, 1), (4, 4, 4, 4))


def varied(x_N1HW: Tensor, random: torch.Generator) -> Tensor:
    """Digits turned by up to 20 degrees, stretched, sheared, moved and sharpened, by chance."""
    n = len(x_N1HW)
    u = 2 * torch.rand(7, n, generator=random) - 1
    turn = u[0] * math.radians(20)
    wide, high = 1.05 * torch.exp(0.25 * u[1]), 1.05 * torch.exp(0.25 * u[2])
    shear = 0.3 * u[3]
    rows = (
        torch.stack([wide * turn.cos(), -turn.sin() + shear, 0.15 * u[4]], 1),
        torch.stack([turn.sin(), high * turn.cos(), 0.15 * u[5]], 1),
    )
    grid = affine_grid(torch.stack(rows, 1), list(x_N1HW.shape), align_corners=False)
    moved = grid_sample(x_N1HW, grid, align_corners=False)
    # strokes of MNIST are white with soft edges, those of 8 x 8 pixels are blurred
    gain, level = (2.5 + 1.5 * u[6])[:, None, None, None], 0.45
    return ((moved - level) * gain + 0.5).clamp(0, 1)


def train(clothes: Pair, digits: Pair, seed: int) -> FeatureNetwork:
    """The network after ``STEPS`` batches."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    network = FeatureNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=STEPS, final_div_factor=RATE / 25 / SMALLEST
    )
    began = time.monotonic()
    for step in range(1, STEPS + 1):
        a = torch.randint(len(clothes[0]), (CLOTHES,), generator=random)
        b = torch.randint(len(digits[0]), (DIGITS,), generator=random)
        x_N1HW = torch.cat([varied(digits[0][b], random), clothes[0][a]])
        class_N = torch.cat([digits[1][b], clothes[1][a] + 10])
        loss = cross_entropy(network(x_N1HW), class_N)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cycle.step()
        if not step % 100:
            said = f"step {step:,} of {STEPS:,}, loss {loss.item():.3f}"
            print(f"{said}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return network.eval()


@torch.no_grad()
def accuracies(network: FeatureNetwork, parts: dict[str, Pair], shift: int) -> dict[str, float]:
    """Of the network's own classes, all 20 allowed; and of a linear probe on 2,000 features."""
    features, logits = {}, {}
    for name, (x_N1HW, _) in parts.items():
        features[name] = torch.cat([network.body(x) for x in x_N1HW.split(500)]).numpy()
        logits[name] = network.head(torch.from_numpy(features[name]))
    own = (logits["test"].argmax(1) == parts["test"][1] + shift).float().mean()
    probe = class_probe(features["train"][:2000], parts["train"][1][:2000].numpy())
    guess = probe(features["test"])
    return {
        "own": round(float(own), 4),
        "probe": round(float((guess == parts["test"][1].numpy()).mean()), 4),
    }


def main() -> None:
    """Train, round, judge, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="the folder that gets the two files")
    parser.add_argument("--data-dir", default="", help="instead of the variable RGAN_DATA")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sets = {source: read(source, asked.data_dir) for source in ("digits", "fashion-mnist")}
    network = train(sets["fashion-mnist"]["train"], sets["digits"]["train"], asked.seed)
    kept = {
        name: x.half().contiguous()
        for name, x in network.state_dict().items()
        if "num_batches" not in name  # counts of the training, of no use to a frozen network
    }
    network.load_state_dict({name: x.float() for name, x in kept.items()}, strict=False)
    try:
        sets["mnist"] = read("mnist", asked.data_dir)
    except SourceError as error:
        print(f"no accuracy on MNIST: {error.found}", file=sys.stderr)
    right = {s: accuracies(network, parts, 10 * (s[0] == "f")) for s, parts in sets.items()}
    data = save(kept)
    about = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "parameters": sum(p.numel() for p in network.parameters()),
        "classes": CLASSES,
        "test_accuracy": right,
        "training": {"sets": ["digits", "fashion-mnist"], "steps": STEPS, "seed": asked.seed},
        "torch": torch.__version__,
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "image_features.safetensors").write_bytes(data)
    text = json.dumps(about, indent=2) + "\n"
    (asked.out / "image_features.json").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    try:
        main()
    except RganError as error:
        sys.exit(str(error))
