"""A fixed change of coordinates in which the numbers of a sequence are unrelated and normal.

Shape letters: N sequences, T steps, F features, K = T F numbers of a sequence, Q points of a table.

Series whose neighbouring values nearly agree (prices, vital signs by the minute) differ from a fake
in what is left when each number's linear prediction from all earlier ones is taken away. Per
feature, that is hundreds of times smaller than the values, so a critic hardly sees it and a
generator hardly makes it. Here it has deviation one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rgan.errors import ConfigError, DataError
from rgan.nets.layers import full, full_precision
from rgan.nets.quantiles import POINTS, WIDTH, from_normal, shares, to_normal
from rgan.nets.spec import SequenceSpec

MOST_NUMBERS = 2048
"""K, above which the matrices take more than they give."""
FLOOR = 1e-3
"""Deviation, in those of the scaled values, below which nothing is amplified any further."""


class Whitening(nn.Module):
    """Innovations and back: u = g(B (x - mean)), x = mean + L g⁻¹(u).

    L is the Cholesky factor of the covariance of all K numbers of a sequence in the order of time,
    B its inverse, so that u_k depends on x_1 ... x_k only and an independent normal u gives
    sequences with the data's means and covariances. g maps each number's own distribution to the
    normal one through a table of quantiles, with straight ends. The covariance has FLOOR² added, so
    that what earlier numbers determine exactly (a column that repeats another) differs from it by
    no more than that.

    Fitted once, to the training sequences, by ``fit``; not trained.

    Raises:
        ConfigError: the sequences have gaps or lengths, or too many numbers.
    """

    mean: Tensor
    into: Tensor
    out: Tensor
    table: Tensor
    change: Tensor

    def __init__(self, spec: SequenceSpec) -> None:
        super().__init__()
        k = spec.steps * spec.values
        why = "have gaps" if spec.masks else "differ in length" if spec.variable_length else ""
        if why or k > MOST_NUMBERS:
            raise ConfigError(
                f"whitening is asked for, and sequences {why or f'have {k:,} numbers'}",
                rule="whitening takes sequences without gaps, of one length, of up to "
                f"{MOST_NUMBERS:,} numbers (steps times features)",
                repair="--set generator.whiten=false --set critic.whiten=false",
            )
        self.shape = (spec.steps, spec.values)
        self.register_buffer("mean", torch.zeros(k))
        self.register_buffer("into", torch.eye(k))
        self.register_buffer("out", torch.eye(k))
        points = torch.linspace(-WIDTH, WIDTH, POINTS)
        self.register_buffer("table", points.repeat(k, 1))
        self.register_buffer("change", torch.ones(spec.values))

    @torch.no_grad()
    def fit(self, values_NTF: Tensor) -> None:
        """Take means, covariances and quantiles from the training sequences.

        Raises:
            DataError: there are fewer sequences than twice the numbers of one.
        """
        n, (t, f) = len(values_NTF), self.shape
        if n < 2 * t * f:
            raise DataError(
                f"there are {n:,} training sequences of {t * f:,} numbers",
                rule="whitening takes twice as many sequences as a sequence has numbers",
                reason="a covariance of fewer would learn them by heart",
                repair="--set generator.whiten=false --set critic.whiten=false",
            )
        x_NK = values_NTF.reshape(n, -1).double().cpu()
        mean_K = x_NK.mean(0)
        centred_NK = x_NK - mean_K
        noise_K = torch.full((t * f,), FLOOR**2, dtype=torch.float64)
        lower_KK = torch.linalg.cholesky(centred_NK.T @ centred_NK / (n - 1) + torch.diag(noise_K))
        identity_KK = torch.eye(t * f, dtype=torch.float64)
        into_KK = torch.linalg.solve_triangular(lower_KK, identity_KK, upper=False)
        plain_NK = centred_NK @ into_KK.T
        table_QK = torch.quantile(plain_NK, shares(), dim=0)
        # What changes no value by half of the floor is rounding, and carries nothing.
        table_QK[:, lower_KK.abs().amax(0) * plain_NK.std(0) < FLOOR / 2] = 0.0
        jumps_NTF = torch.diff(x_NK.view(n, t, f), dim=1)
        change_F = jumps_NTF.std(dim=(0, 1)) if t > 1 else torch.ones(f)
        change_F = torch.where(change_F > 1e-6, change_F, torch.ones_like(change_F))
        for own, found in (("mean", mean_K), ("into", into_KK), ("out", lower_KK),
                           ("table", table_QK.T), ("change", change_F)):  # fmt: skip
            getattr(self, own).copy_(found)

    def colour(self, u_NTF: Tensor) -> Tensor:
        """(N, T, F) independent normal numbers to values."""
        with full_precision(u_NTF.device):
            plain_NK = from_normal(full(u_NTF).flatten(1), self.table)
            return (self.mean + plain_NK @ self.out.T).view(-1, *self.shape)

    def white(self, values_NTF: Tensor) -> Tensor:
        """(N, T, F) values to numbers that are independent and normal where the data are."""
        with full_precision(values_NTF.device):
            plain_NK = (full(values_NTF).flatten(1) - self.mean) @ self.into.T
            return to_normal(plain_NK, self.table).view(-1, *self.shape)
