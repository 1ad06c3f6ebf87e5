"""Static attributes drawn together, from normal numbers: a Gaussian copula.

Shape letters: N sequences, S static columns, C condition columns.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor, nn

from rgan.nets.batch import Batch
from rgan.nets.decisions import columns_of, decide_statics
from rgan.nets.layers import full, full_precision
from rgan.nets.quantiles import from_normal, normal_scores, shares, straight_table
from rgan.nets.spec import SequenceSpec

STEEP = 1.7
"""A sigmoid this steep is nearest to the normal distribution's."""
_DRAWS, _ROUNDS = 20_000, 40
_DOUBT = 20.0
"""Sequences' worth of doubt that a condition shifts a column."""
Array = NDArray[np.float64]


class StaticCopula(nn.Module):
    """Latent normal columns: correlated noise, and what the condition adds (a Gaussian copula with
    probit margins for levels; Liu et al. 2009, arXiv 0903.0649).

    Fitted to the training sequences' attributes by ``fit``; not trained. It holds means,
    correlations and quantiles; the outermost quantiles lie near single values.
    """

    root: Tensor
    slopes: Tensor
    centre: Tensor
    base: Tensor
    table: Tensor

    def __init__(self, spec: SequenceSpec) -> None:
        super().__init__()
        self.spec = spec
        s, c = spec.static, spec.condition
        for name, shape in {"root": (s, s), "slopes": (c, s), "centre": (c,), "base": (s,)}.items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("table", straight_table(s))

    def forward(self, normal_NS: Tensor, condition_NC: Tensor) -> Tensor:
        """(N, S) normal noise to static columns, levels decided."""
        if not self.spec.static:
            return normal_NS
        with full_precision(normal_NS.device):
            latent_NS = full(normal_NS) @ self.root.T + self.base
            latent_NS = latent_NS + (full(condition_NC) - self.centre) @ self.slopes
            hard_NS = decide_statics(STEEP * latent_NS, self.spec)
            soft_NS = from_normal(latent_NS, self.table)
        soft_S = columns_of(self.spec, "continuous").to(latent_NS.device)
        return torch.where(soft_S, soft_NS, hard_NS)

    @torch.no_grad()
    def fit(self, batch: Batch) -> None:
        """Estimate everything from the packed training sequences."""
        if not self.spec.static:
            return
        static_NS = batch.static.cpu().double().numpy()
        condition_NC = batch.condition.cpu().double().numpy()
        soft_S = columns_of(self.spec, "continuous").numpy()
        slopes_CS, own_SS = _moments(static_NS, soft_S, condition_NC - condition_NC.mean(0))
        found = {
            "root": np.linalg.cholesky(own_SS), "slopes": slopes_CS,
            "centre": condition_NC.mean(0),
            "table": np.quantile(static_NS, shares().numpy(), axis=0).T,
        }  # fmt: skip
        for name, value in found.items():
            getattr(self, name).copy_(torch.from_numpy(np.ascontiguousarray(value)))
        self._calibrate(batch, torch.from_numpy(~soft_S))

    def _calibrate(self, batch: Batch, hard_S: Tensor) -> None:
        """Find the means at which levels are as frequent as in the data."""
        random = torch.Generator().manual_seed(0)
        rows = torch.randint(len(batch), (_DRAWS,), generator=random)
        normal_NS = torch.randn(_DRAWS, self.spec.static, generator=random)
        condition_NC = batch.condition.cpu()[rows]
        wanted_S = batch.static.cpu().mean(0).clamp(0.5 / len(batch), 1 - 0.5 / len(batch))
        for _ in range(_ROUNDS):
            found_S = self(normal_NS, condition_NC).mean(0).clamp(0.5 / _DRAWS, 1 - 0.5 / _DRAWS)
            change_S = torch.special.ndtri(wanted_S) - torch.special.ndtri(found_S)
            self.base += 0.5 * torch.where(hard_S, change_S, torch.zeros_like(change_S))


def _moments(static_NS: Array, soft_S: NDArray[np.bool_], c_NC: Array) -> tuple[Array, Array]:
    """What the condition adds (C, S), and the correlations of the rest (S, S), both latent."""
    n = len(static_NS)
    rng = np.random.default_rng(0)
    plain_NS = static_NS.copy()
    for j in np.flatnonzero(soft_S):
        plain_NS[:, j] = normal_scores(plain_NS[:, j], rng)
    rate_S = np.clip(static_NS.mean(0), 0.5 / n, 1 - 0.5 / n)
    height_S = np.where(soft_S, 1.0, _height(np.where(soft_S, 0.5, rate_S)))
    plain_NS = (plain_NS - plain_NS.mean(0)) / np.maximum(plain_NS.std(0), 1e-6)
    power_CC = c_NC.T @ c_NC
    held = np.eye(len(power_CC)) * (_DOUBT * np.trace(power_CC) / n + 1e-6)
    slopes_CS = np.linalg.solve(power_CC + held, c_NC.T @ plain_NS)
    rest_NS = plain_NS - c_NC @ slopes_CS
    own_SS = (rest_NS.T @ rest_NS / n) / height_S / height_S[:, None]
    return slopes_CS / height_S, _proper(np.clip(own_SS, -0.95, 0.95))


def _height(rate_S: Array) -> Array:
    """What a normal number above a border and its standardised indicator have in common."""
    density = np.exp(-(ndtri(rate_S) ** 2) / 2) / np.sqrt(2 * np.pi)
    common: Array = density / np.sqrt(rate_S * (1 - rate_S))
    return common


def _proper(correlation_SS: Array) -> Array:
    """The correlations with ones on the diagonal and no negative direction."""
    correlation_SS[np.eye(len(correlation_SS), dtype=bool)] = 1.0
    values, vectors = np.linalg.eigh(correlation_SS)
    mended = (vectors * np.maximum(values, 1e-3)) @ vectors.T
    scale = 1 / np.sqrt(np.diag(mended))
    proper: Array = mended * scale * scale[:, None]
    return proper
