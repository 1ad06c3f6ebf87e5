"""Recurrences on long sequences: seconds forward and backward, and what is left of the first step.

    python benchmarks/long_sequences.py
    python benchmarks/long_sequences.py --recall 1000

Speed: one layer, forward direction, batches of 32 sequences of 64 inputs and 64 units; the least of
some repeats, the cells in turn, as other work on a machine slows single ones down. Recall: noise,
whose first step alone says which of two classes a sequence is of; a network of one such layer and a
linear one on its last output learns it for some updates (Adam), and is asked about new sequences.
"""

from __future__ import annotations

import argparse
from time import perf_counter

import torch
from common import machine, markdown
from torch import Tensor, nn

from rgan.nets.config import Cell
from rgan.nets.layers import CELLS, Recurrence

N, SIZE = 32, 64
STEPS = (48, 784, 2048, 4096)


def seconds(cell: Cell, steps: int) -> float:
    """Of one pass forward and backward."""
    net = Recurrence(cell, SIZE, SIZE, 1, both_ways=False)
    x_NTI = torch.randn(N, steps, SIZE, requires_grad=True)
    begun = perf_counter()
    net(x_NTI).square().mean().backward()
    return perf_counter() - begun


def speed(repeats: int) -> str:
    """The table of seconds."""
    best = {
        (cell, t): min(seconds(cell, t) for _ in range(repeats)) for t in STEPS for cell in CELLS
    }
    rows = [
        [str(t)]
        + [f"{best[cell, t]:.3f}" for cell in CELLS]
        + [f"{best['lstm', t] / best['scan', t]:.1f}"]
        for t in STEPS
    ]
    return markdown(["steps", *(f"{cell}, s" for cell in CELLS), "lstm / scan"], rows)


def task(n: int, steps: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """(N, T, 2) noise beside a channel that is zero after its first step, and (N,) its class."""
    class_N = torch.randint(0, 2, (n,), generator=random)
    x_NT2 = torch.randn(n, steps, 2, generator=random)
    x_NT2[:, :, 1] = 0
    x_NT2[:, 0, 1] = 2.0 * class_N - 1
    return x_NT2, class_N


def recall(cell: Cell, steps: int, updates: int, seed: int) -> tuple[float, float]:
    """Accuracy of classes of new sequences, and seconds of learning."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    net, head = Recurrence(cell, 2, 32, 1, both_ways=False), nn.Linear(32, 2)
    learner = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=3e-3)
    begun = perf_counter()
    for _ in range(updates):
        x_NT2, class_N = task(32, steps, random)
        learner.zero_grad()
        nn.functional.cross_entropy(head(net(x_NT2)[:, -1]), class_N).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        learner.step()
    took = perf_counter() - begun
    with torch.no_grad():
        x_NT2, class_N = task(500, steps, random)
        return float((head(net(x_NT2)[:, -1]).argmax(1) == class_N).float().mean()), took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--recall", type=int, default=0, metavar="STEPS", help="instead of speed")
    parser.add_argument("--updates", type=int, default=150)
    parser.add_argument("--seeds", default="0,1")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    if not asked.recall:
        print(speed(asked.repeats))
        return
    rows = []
    for cell in CELLS:
        got = [
            recall(cell, asked.recall, asked.updates, s) for s in map(int, asked.seeds.split(","))
        ]
        accuracy = " / ".join(f"{right:.3f}" for right, _ in got)
        rows.append([cell, accuracy, f"{sum(took for _, took in got) / len(got):.1f}"])
    print(markdown(["cell", f"accuracy after {asked.recall} steps", "learning, s"], rows))


if __name__ == "__main__":
    main()
