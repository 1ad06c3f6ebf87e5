"""The first step of sequences in which nothing is missing: a mixture of many small normal parts.

Shape letters: N sequences, F features drawn, G columns of levels given, K parts.

All that comes later starts from the first step, which a recurrence learns from one step in T only;
and the first steps of windows of one long series, its rows, lie along narrow and crooked paths,
which a chain of features, each in the light of those before, follows badly. Many small parts, each
of them fitted to some dozens of rows, follow them well (``benchmarks/LOG.md``).
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from rgan.nets.values import HALF_LOG_TAU

EACH = 64
"""Sequences for each part: fewer would be learnt by heart."""
LEAST = 16
"""Sequences below which a part is left out: it would be somebody's."""
FEWEST, MOST = 8, 300
"""Parts."""
WIDEST = 128
"""Features above which there is no opening: each draw takes a covariance in hand."""
LARGEST = 1 << 20
"""Numbers of all parts' covariances together."""
ROWS = 20_000
"""Sequences that are fitted to, at most."""
_TURNS = 30
_WIDE = 1e-4
"""What is added to each variance, in squared normal scores."""
_DOUBT = 0.1
"""Sequences' worth of doubt that levels are other in one part than in all."""
_NEVER = -50.0
"""The logarithm of how often a level comes that never does."""


class Opening(nn.Module):
    """p(first step | levels) by normal parts, each of which knows how often it has which level.

    ``fit`` finds the parts, by expectation and maximisation (Dempster et al. 1977), and they are
    not trained after that. Those of fewer than ``LEAST`` sequences are left out. With too few
    sequences for ``FEWEST`` parts, ``fits`` stays false.

    Args:
        features: F. levels: G, columns of one-hot levels (of classes, or of features that have
            few); a level that is not known has zeros.
    """

    fits: Tensor
    share: Tensor
    table: Tensor
    centre: Tensor
    root: Tensor

    def __init__(self, features: int, levels: int) -> None:
        super().__init__()
        parts = min(MOST, LARGEST // features**2)
        self.register_buffer("fits", torch.zeros((), dtype=torch.bool))
        self.register_buffer("share", torch.full((parts,), -torch.inf))
        self.register_buffer("table", torch.zeros(parts, levels))
        self.register_buffer("centre", torch.zeros(parts, features))
        self.register_buffer("root", torch.eye(features).repeat(parts, 1, 1))

    @staticmethod
    def suits(features: int) -> bool:
        """Whether there are features, and not too many."""
        return 0 < features <= WIDEST

    @torch.no_grad()
    def fit(self, hot_NG: Tensor, score_NF: Tensor) -> None:
        """Find the parts, where there are sequences enough."""
        parts = min(len(self.share), len(score_NF) // EACH)
        if parts < FEWEST:
            return
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        order_N = np.random.default_rng(0).permutation(len(score_NF))[:ROWS]
        score_NF, hot_NG = score_NF.double().cpu()[order_N], hot_NG.double().cpu()[order_N]
        mixture = GaussianMixture(
            parts, reg_covar=_WIDE, max_iter=_TURNS, init_params="k-means++", random_state=0
        )
        with warnings.catch_warnings():  # a little further than this it learns rows by heart
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(score_NF.numpy())
        part_NK = torch.from_numpy(mixture.predict_proba(score_NF.numpy()))
        kept_K = part_NK.sum(0) >= LEAST
        part_NK, parts = part_NK[:, kept_K], int(kept_K.sum())
        count_KG = part_NK.T @ hot_NG + _DOUBT * hot_NG.mean(0)
        root_KFF = torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)[kept_K])
        last = slice(-parts, None)  # a chance of nearly 1 finds a part, and none that is empty
        share_K, centre_KF = (torch.from_numpy(x) for x in (mixture.weights_, mixture.means_))
        self.share[last] = share_K[kept_K].log().to(self.share)
        self.table[last] = (count_KG / (part_NK.sum(0) + _DOUBT)[:, None]).log().to(self.table)
        self.table.clamp_(min=_NEVER)
        self.centre[last] = centre_KF[kept_K].to(self.centre)
        self.root[last] = root_KFF.to(self.root)
        self.fits.fill_(True)

    def likelihood(self, hot_NG: Tensor, score_NF: Tensor) -> Tensor:
        """(N,) minus the logarithm of the density of the first step's scores."""
        away_KFN = (score_NF[:, None] - self.centre).permute(1, 2, 0)
        z_KFN = torch.linalg.solve_triangular(self.root, away_KFN, upper=False)
        size_K = self.root.diagonal(dim1=1, dim2=2).log().sum(1)
        whole = score_NF.shape[1] * HALF_LOG_TAU
        log_NK = (-0.5 * z_KFN.square().sum(1) - size_K[:, None]).T - whole
        return -torch.logsumexp(self._shares(hot_NG) + log_NK, dim=1)

    def draw(self, hot_GN: Tensor, chance_N: Tensor, normal_FN: Tensor) -> Tensor:
        """(F, N) scores.

        Args:
            chance_N: uniform, which part. normal_FN: where in it.
        """
        below_NK = self._shares(hot_GN.T).exp().cumsum(1)[:, :-1]
        part_N = (below_NK < chance_N[:, None]).sum(1)
        away_NF = torch.einsum("nfe,en->nf", self.root[part_N], normal_FN)
        return (self.centre[part_N] + away_NF).T

    def _shares(self, hot_NG: Tensor) -> Tensor:
        """(N, K) the logarithm of each part's share, in the light of the levels."""
        return torch.log_softmax(self.share + hot_NG @ self.table.T, dim=1)
