"""Labels read off whole sequences, where they leave too faint a trace to be learnt step by step.

Shape letters: N sequences, T steps, F features, S static columns, K classes, Q summaries,
J strengths.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rgan.nets.batch import Batch
from rgan.nets.layers import full, full_precision
from rgan.nets.spec import SequenceSpec

LIMIT = 5.0
"""Deviations that a summary is kept within."""
FAINT = 0.5
"""A label is read where sequences explain less than this share of its entropy."""
MOST_CLASSES = 20
FEWEST = 25
"""Sequences that each class must have, or how faint its trace is cannot be told."""
SUMMARIES = 15
_LATE = 4
"""The last fourth of a sequence is summed up on its own: it says most about an outcome."""
_TINY = 1e-6
_LEAST_SPREAD = 1e-3
_SLOPES = tuple(np.linspace(0.5, 2.0, 61).tolist())
_STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
_ROWS, _FOLDS, _TURNS = 4000, 5, 20
Array = NDArray[np.float64]


class LabelReader(nn.Module):
    """p(label | sequence) by logistic regression on summaries of a whole sequence.

    By likelihood, a network given the label of each training sequence learns by heart which label
    goes with which sequence, when the label explains little of a sequence that has thousands of
    values. It is then better to draw sequences without a label, p(x), and the label after them,
    p(y | x): both can be learnt from all sequences, and together they are p(x, y).

    ``fit`` finds out by cross-validation how much of the label's entropy sequences explain, and
    switches reading on where that is less than ``FAINT``. The weights are not trained after that.

    Args:
        spec: of the packed sequences; its first ``classes`` condition columns are the label.
    """

    reads: Tensor
    centre: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, spec: SequenceSpec) -> None:
        super().__init__()
        self.classes = spec.classes
        size = SUMMARIES * spec.values + spec.static + spec.condition - spec.classes
        self.register_buffer("reads", torch.zeros((), dtype=torch.bool))
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("weight", torch.zeros(self.classes, size))
        self.register_buffer("bias", torch.zeros(self.classes))

    def hidden(self, condition_NC: Tensor) -> Tensor:
        """The condition as a generator may know it: without the label, where that is read."""
        known_NC = condition_NC.clone()
        known_NC[:, : self.classes] *= ~self.reads
        return known_NC

    def forward(
        self, normal_NK: Tensor, score_NTF: Tensor, seen_NTF: Tensor, batch: Batch
    ) -> Tensor:
        """(N, C) the batch's condition, with labels drawn anew where they are read.

        Args:
            normal_NK: normal noise, which decides where the sequence leaves it open.
            score_NTF: the values in normal scores. seen_NTF: 1 where there is one.
            batch: static attributes, lengths and condition.
        """
        with full_precision(score_NTF.device):
            row_NQ = (self._row(full(score_NTF), seen_NTF, batch) - self.centre) / self.scale
            logit_NK = row_NQ.clamp(-LIMIT, LIMIT) @ self.weight.T + self.bias
            uniform_NK = torch.special.ndtr(full(normal_NK)).clamp(1e-6, 1 - 1e-6)
            soft_NK = torch.softmax(logit_NK, dim=1)
            drawn_N = (logit_NK - torch.log(-torch.log(uniform_NK))).argmax(1)
        hard_NK = nn.functional.one_hot(drawn_N, self.classes).to(soft_NK.dtype)
        label_NK = hard_NK + soft_NK - soft_NK.detach()  # a critic's slope is the soft one's
        given_NK, other = batch.condition.tensor_split((self.classes,), dim=1)
        return torch.cat([torch.where(self.reads, label_NK, given_NK), other], dim=1)

    def _row(self, score_NTF: Tensor, seen_NTF: Tensor, batch: Batch) -> Tensor:
        """(N, Q) summaries, static attributes, and what else is given."""
        found_NQ = _summaries(score_NTF, seen_NTF, batch.lengths)
        return torch.cat([found_NQ, batch.static, batch.condition[:, self.classes :]], dim=1)

    @torch.no_grad()
    def fit(self, score_NTF: Tensor, seen_NTF: Tensor, batch: Batch) -> None:
        """Find out whether to read, and how; the batch's condition holds the true labels."""
        label_NK = batch.condition[:, : self.classes]
        if not 2 <= self.classes <= MOST_CLASSES or int(label_NK.sum(0).min()) < FEWEST:
            return
        row_NQ = self._row(score_NTF, seen_NTF, batch).double()
        centre_Q, scale_Q = row_NQ.mean(0), row_NQ.std(0)
        scale_Q = torch.where(scale_Q > 1e-6, scale_Q, torch.ones_like(scale_Q))
        x_NQ = ((row_NQ - centre_Q) / scale_Q).clamp(-LIMIT, LIMIT).cpu().numpy()
        y_N = label_NK.argmax(1).cpu().numpy()
        strength, unexplained, held = _strength(x_NQ, y_N)
        if 1 - unexplained >= FAINT:
            return
        weight_KQ, bias_K = _regression(x_NQ, y_N, strength)
        slope = _slope(*held)
        weight_KQ = slope * weight_KQ
        bias_K = _fitted_bias(x_NQ @ weight_KQ.T, slope * bias_K, y_N)
        self.centre.copy_(centre_Q)
        self.scale.copy_(scale_Q)
        self.weight.copy_(torch.from_numpy(weight_KQ))
        self.bias.copy_(torch.from_numpy(bias_K))
        self.reads.fill_(True)


def _summaries(score_NTF: Tensor, seen_NTF: Tensor, lengths_N: Tensor) -> Tensor:
    """(N, 15F) of each feature mean, its square, least, greatest, first and last value, share of
    steps seen, mean, least and share in the last fourth, whether never seen, when first and last,
    deviation and slope; 0 where unseen."""
    steps = score_NTF.shape[1]
    seen, score_NTF = seen_NTF > 0.5, score_NTF * seen_NTF
    time_T1 = torch.arange(steps, device=score_NTF.device)[:, None]
    fourth_N1 = lengths_N[:, None] // _LATE
    late = seen & (time_T1 >= (lengths_N[:, None] - fourth_N1)[:, None])
    first_N1F = torch.where(seen, time_T1, steps).argmin(1, keepdim=True)
    last_N1F = torch.where(seen, time_T1, -1).argmax(1, keepdim=True)
    mean_NF, ever_NF = _mean(score_NTF, seen), seen.any(1)
    away_NTF = torch.where(seen, score_NTF - mean_NF[:, None], torch.zeros_like(score_NTF))
    parts = [
        mean_NF,
        mean_NF.square(),
        _least(score_NTF, seen),
        -_least(-score_NTF, seen),
        score_NTF.gather(1, first_N1F)[:, 0],
        score_NTF.gather(1, last_N1F)[:, 0],
        seen.sum(1) / lengths_N[:, None],
        _mean(score_NTF, late),
        _least(score_NTF, late),
        late.sum(1) / fourth_N1.clamp(min=1),
        (~ever_NF).to(score_NTF.dtype),
        torch.where(ever_NF, first_N1F[:, 0] / lengths_N[:, None], 1.0),
        last_N1F[:, 0] / lengths_N[:, None],
        (_mean(away_NTF.square(), seen) + _TINY).sqrt(),
        _slopes(away_NTF, seen, lengths_N),
    ]
    return torch.cat(parts, dim=1)


def _slopes(away_NTF: Tensor, seen: Tensor, lengths_N: Tensor) -> Tensor:
    """(N, F) of straight lines through what is seen, for a whole length."""
    steps = away_NTF.shape[1]
    time_NT1 = torch.arange(steps, device=away_NTF.device)[:, None] / lengths_N[:, None, None]
    time_NTF = (time_NT1 - _mean(time_NT1.expand_as(away_NTF), seen)[:, None]) * seen
    return (time_NTF * away_NTF).sum(1) / time_NTF.square().sum(1).clamp(min=_LEAST_SPREAD)


def _mean(score_NTF: Tensor, seen: Tensor) -> Tensor:
    return (score_NTF * seen).sum(1) / seen.sum(1).clamp(min=1)


def _least(score_NTF: Tensor, seen: Tensor) -> Tensor:
    least_NF = torch.where(seen, score_NTF, torch.full_like(score_NTF, torch.inf)).amin(1)
    return torch.where(seen.any(1), least_NF, torch.zeros_like(least_NF))


def _strength(
    x_NQ: Array, y_N: NDArray[np.int64]
) -> tuple[float, float, tuple[Array, NDArray[np.int64]]]:
    """The best inverse strength of the penalty, the share of the label's entropy that is left
    unexplained with it, and logits and labels of sequences held out; by folds."""
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold

    rows = np.random.default_rng(0).permutation(len(y_N))[:_ROWS]
    x_NQ, y_N = x_NQ[rows], y_N[rows]
    classes = np.unique(y_N)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    logit_JNK = np.zeros((len(_STRENGTHS), len(y_N), len(classes)))
    for train, held in folds.split(x_NQ, y_N):
        for s, strength in enumerate(_STRENGTHS):
            weight_KQ, bias_K = _regression(x_NQ[train], y_N[train], strength)
            logit_JNK[s, held] = x_NQ[held] @ weight_KQ.T + bias_K
    lost_J = [log_loss(y_N, _softmax(logit_NK), labels=classes) for logit_NK in logit_JNK]
    share_K = np.bincount(y_N)[classes] / len(y_N)
    best = int(np.argmin(lost_J))
    unexplained = lost_J[best] / -(share_K * np.log(share_K)).sum()
    return _STRENGTHS[best], float(unexplained), (logit_JNK[best], y_N)


def _slope(logit_NK: Array, y_N: NDArray[np.int64]) -> float:
    """What to multiply logits by so that held-out labels are as sure as they say: a penalised
    regression is less sure than it may be (calibration: Platt 1999), and labels drawn from it would
    say too little of their sequences."""
    zero_K = np.zeros(logit_NK.shape[1])
    lost = []
    for slope in _SLOPES:
        bias_K = _fitted_bias(slope * logit_NK, zero_K, y_N)
        log_NK = np.log(_softmax(slope * logit_NK + bias_K))
        lost.append(-log_NK[np.arange(len(y_N)), y_N].mean())
    return _SLOPES[int(np.argmin(lost))]


def _fitted_bias(logit_NK: Array, bias_K: Array, y_N: NDArray[np.int64]) -> Array:
    """The bias under which classes are as frequent as they are."""
    share_K = np.bincount(y_N, minlength=logit_NK.shape[1]) / len(y_N)
    for _ in range(_TURNS):
        bias_K = bias_K + np.log(share_K / _softmax(logit_NK + bias_K).mean(0))
    return bias_K


def _softmax(logit_NK: Array) -> Array:
    share_NK = np.exp(logit_NK - logit_NK.max(1, keepdims=True))
    return share_NK / share_NK.sum(1, keepdims=True)


def _regression(x_NQ: Array, y_N: NDArray[np.int64], strength: float) -> tuple[Array, Array]:
    """Weights (K, Q) and bias (K,) of a softmax."""
    from sklearn.linear_model import LogisticRegression

    found = LogisticRegression(C=strength, max_iter=1000).fit(x_NQ, y_N)
    weight_KQ, bias_K = found.coef_, found.intercept_
    if len(bias_K) == 1:  # of two classes sklearn gives the second one's alone
        weight_KQ = np.concatenate([-weight_KQ / 2, weight_KQ / 2])
        bias_K = np.concatenate([-bias_K / 2, bias_K / 2])
    return weight_KQ, bias_K
