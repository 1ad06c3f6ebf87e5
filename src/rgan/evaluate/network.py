"""A recurrent classifier of labels: the third judge of usefulness beside linear and boosting.

Shape letters: N sequences, T steps, D channels (values held over gaps, masks, validity), S static
columns, C classes, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rgan.evaluate.classifiers import Floats, standardiser
from rgan.evaluate.features import statics
from rgan.evaluate.scale import Scale, channels
from rgan.evaluate.threads import one_thread
from rgan.sequences import Sequences

HIDDEN, BATCH, EPOCHS, PATIENCE = 32, 64, 25, 4


class GRUClassifier(nn.Module):
    """A GRU over the steps; its mean and last valid state, and the static columns, to classes."""

    def __init__(self, channels: int, static: int, classes: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(channels, HIDDEN, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(2 * HIDDEN + static, classes)

    def forward(self, x_NTD: Tensor, static_NS: Tensor) -> Tensor:
        """(N, C) logits."""
        states_NTH = self.rnn(x_NTD)[0]
        valid_NT1 = x_NTD[..., -1:]
        count_N = valid_NT1.sum((1, 2)).clamp(min=1)
        mean_NH = (states_NTH * valid_NT1).sum(1) / count_N[:, None]
        rows = torch.arange(len(x_NTD))
        last_NH = states_NTH[rows, count_N.long() - 1]
        out: Tensor = self.head(self.drop(torch.cat([mean_NH, last_NH, static_NS], 1)))
        return out


class SequenceJudge:
    """Fitted by ``fit_gru``: sequences to (N, C) probabilities."""

    def __init__(
        self,
        network: GRUClassifier,
        scale: Scale,
        ready: Callable[[NDArray[Any]], Floats] | None,
    ) -> None:
        self.network, self.scale, self.ready = network, scale, ready

    def inputs(self, data: Sequences) -> tuple[Tensor, Tensor]:
        """Both inputs of the network."""
        static_NS = self.ready(statics(data)) if self.ready else np.zeros((len(data), 0))
        x_NTD = np.clip(channels(self.scale, data), -10, 10)
        return torch.from_numpy(x_NTD), torch.from_numpy(static_NS.astype(np.float32))

    @one_thread()
    def __call__(self, data: Sequences) -> Floats:
        """(N, C) probabilities."""
        self.network.eval()
        with torch.no_grad():
            parts = zip(*(part.split(512) for part in self.inputs(data)), strict=True)
            logits = torch.cat([self.network(*part) for part in parts])
        return torch.softmax(logits.double(), 1).numpy()


@one_thread()
def fit_gru(
    data: Sequences,
    codes_N: NDArray[np.int64],
    classes: int,
    *,
    scale: Scale,
    with_static: bool,
    seed: int = 0,
) -> SequenceJudge:
    """Train a GRU of 32 units on labelled sequences.

    Adam at 0.005 on batches of 64, the weights with the least log loss on a fifth of the sequences,
    stopped after 4 epochs without a lower one.

    Args:
        data: (N, T, F) sequences in original units.
        codes_N: the class of each, 0..C-1.
        classes: C.
        scale: of the real training set.
        with_static: whether to read static attributes.
        seed: of weights, order and dropout; the global generator is left as it was.
    """
    columns = statics(data) if with_static else np.zeros((len(data), 0))
    ready = standardiser(columns) if columns.shape[1] else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        size = 2 * data.n_features + 1
        judge = SequenceJudge(GRUClassifier(size, columns.shape[1], classes), scale, ready)
        order = torch.randperm(len(data))
        held, rows = order[: len(data) // 5], order[len(data) // 5 :]
        _train(judge.network, judge.inputs(data), torch.from_numpy(codes_N), rows, held)
    return judge


def _train(
    network: GRUClassifier, x: tuple[Tensor, Tensor], y_N: Tensor, rows: Tensor, held: Tensor
) -> None:
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    best: dict[str, Any] = {}
    lowest, waited = np.inf, 0
    for _ in range(EPOCHS):
        network.train()
        for part in rows[torch.randperm(len(rows))].split(BATCH):
            optimiser.zero_grad(set_to_none=True)
            cross_entropy(network(x[0][part], x[1][part]), y_N[part]).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
        network.eval()
        with torch.no_grad():
            judged = held if len(held) else rows
            loss = float(cross_entropy(network(x[0][judged], x[1][judged]), y_N[judged]))
        if loss < lowest:
            best = {name: weight.clone() for name, weight in network.state_dict().items()}
            lowest, waited = loss, 0
        else:
            waited += 1
        if waited >= PATIENCE:
            break
    if best:
        network.load_state_dict(best)
