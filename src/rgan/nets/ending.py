"""The head that ends a sequence: after each step it may be over, in the light of what was made.

Shape letters: N sequences, T steps, I inputs, K classes. What is drawn has its sequences last, as
in ``stepping``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot, silu

from rgan.nets.decisions import straight_through_step
from rgan.nets.spec import SequenceSpec
from rgan.nets.stepping import first_of, last_of, linear

DOUBT = 2.0
"""Sequences' worth of doubt that a step's own frequency of ends is more than its neighbours'."""
CLASS_DOUBT = 5.0
"""The same that a class's frequency is more than that of all."""
_NEAR = 12
"""A neighbourhood is this share of all steps to either side."""


class EndingHead(nn.Module):
    """The hazard that a sequence ends after a step, given the class, the recurrence's state and
    what the step itself holds: a logit for each step and class as often as sequences of the data
    end there, and what a network adds to it.

    The network begins near zero, so that untrained lengths are already as frequent as the data's.
    The last of T steps ends a sequence in any case and has no likelihood.

    Discrete-time survival by logistic regression: Cox 1972 (Regression models and life-tables,
    section 6); by a network: Gensheimer & Narasimhan 2019 (arXiv 1805.00917).

    Args:
        size: I. hidden: units.
        spec: of the packed sequences.
    """

    base: Tensor
    mean: Tensor

    def __init__(self, size: int, hidden: int, spec: SequenceSpec) -> None:
        super().__init__()
        self.steps, self.classes = spec.steps, spec.classes
        self.net = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, 1))
        self.register_buffer("base", torch.zeros(1 + spec.classes, spec.steps))
        self.register_buffer("mean", torch.tensor(float(spec.steps)))
        with torch.no_grad():
            last_of(self.net).weight.mul_(0.01)
            last_of(self.net).bias.zero_()

    @torch.no_grad()
    def start(self, lengths_N: Tensor, label_NK: Tensor) -> None:
        """Begin with the hazards of these lengths.

        ``base`` holds the logits over all sequences, and by how much those of each class differ.
        """
        at_NT = one_hot(lengths_N - 1, self.steps).double()
        group_GN = torch.cat([label_NK.new_ones(len(label_NK), 1), label_NK], dim=1).T.double()
        ends_GT = group_GN @ at_NT
        there_GT = ends_GT.flip(1).cumsum(1).flip(1)
        share_T = (ends_GT[0] + DOUBT * self._nearby(ends_GT[0], there_GT[0])) / (
            there_GT[0] + DOUBT
        )
        share_GT = (ends_GT + CLASS_DOUBT * share_T) / (there_GT + CLASS_DOUBT)
        share_GT[0] = share_T
        logit_GT = torch.logit(share_GT.clamp(1e-6, 1 - 1e-6))
        logit_GT[1:] -= logit_GT[0]
        self.base.copy_(logit_GT)
        self.mean.copy_(lengths_N.double().mean())

    def _nearby(self, ends_T: Tensor, there_T: Tensor) -> Tensor:
        """(T,) the share of ends in the neighbourhood of each step; past the longest sequence it
        is that of its last step."""
        width = max(1, self.steps // _NEAR)
        time_T = torch.arange(self.steps, device=ends_T.device)
        near_TT = ((time_T[:, None] - time_T).abs() <= width).double()
        return (near_TT @ ends_T / (near_TT @ there_T).clamp(min=1)).clamp(1e-3, 1)

    def _base(self, label_NK: Tensor) -> Tensor:
        """(N, T) logits to begin with; those of all where no class is known."""
        return self.base[0] + label_NK.to(self.base.dtype) @ self.base[1:]

    def likelihood(self, x_NTI: Tensor, lengths_N: Tensor, label_NK: Tensor) -> Tensor:
        """(N, T) minus the logarithm of how likely a sequence goes on, or ends, after each step.

        Args:
            x_NTI: the state and what is known after each step. lengths_N: 1..T.
            label_NK: one-hot, zero where the class is not known.
        """
        logit_NT = self.net(x_NTI).squeeze(-1) + self._base(label_NK)
        ends_NT = one_hot(lengths_N - 1, self.steps).to(logit_NT.dtype)
        loss_NT = binary_cross_entropy_with_logits(logit_NT, ends_NT, reduction="none")
        return nn.functional.pad(loss_NT[:, :-1], (0, 1))  # the last step ends it by itself

    def per_step(self, loss_NT: Tensor) -> Tensor:
        """(N,) a sequence's sum, for a step of the data's mean length.

        Not of its own length: short sequences would count more than long ones, and what is learnt
        would end too early.
        """
        return loss_NT.sum(1) / self.mean

    def logits(self, x_IN: Tensor) -> Tensor:
        """(N,) what the network adds."""
        hidden_HN = silu(linear(first_of(self.net), x_IN))
        return linear(last_of(self.net), hidden_HN)[0]


class Ends:
    """Which sequences go on, while they are made step by step.

    Args:
        head: decides; None: every sequence has the length that is asked for.
        asked_N: the lengths that are asked for; 0 where the head decides.
        label_NK: one-hot, zero where the class is not known.
    """

    def __init__(self, head: EndingHead | None, asked_N: Tensor, label_NK: Tensor) -> None:
        self.head, self.asked_N = head, asked_N
        self.base_NT = None if head is None else head._base(label_NK)
        self.going: list[Tensor] = []

    def after(self, x_IN: Tensor, noise_N: Tensor) -> None:
        """Decide whether each sequence is over after one more step, by logistic noise, with the
        slopes of soft decisions.

        Args:
            x_IN: the state and what is known after the step.
        """
        if self.head is None or self.base_NT is None:
            return
        before_N = self.going[-1] if self.going else torch.ones_like(noise_N)
        logit_N = self.head.logits(x_IN) + self.base_NT[:, len(self.going)] + noise_N
        self.going.append(before_N * (1 - straight_through_step(logit_N)))

    def lengths(self) -> Tensor:
        """(N,) int64, of the finished sequences."""
        if not self.going:
            return self.asked_N
        made_N = self._going().detach().sum(1).round().long()
        return torch.where(self.asked_N > 0, self.asked_N, made_N)

    def keep(self, valid_NT: Tensor) -> Tensor:
        """(N, T) of 1 within a sequence and 0 past it, with slopes where the head decided.

        Args:
            valid_NT: of ``lengths``.
        """
        if not self.going:
            return valid_NT
        return torch.where(self.asked_N[:, None] > 0, valid_NT, self._going())

    def _going(self) -> Tensor:
        """(N, T) whether each step is still within the sequence; the first always is."""
        return torch.stack([torch.ones_like(self.going[0]), *self.going[:-1]], dim=1)
