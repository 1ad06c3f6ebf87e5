"""Does a model trained on synthetic sequences predict real ones?

Shape letters: P trials, N sequences, T steps, F features, B sequences of a batch, K inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.comparable import check_comparable
from rgan.evaluate.discriminative import FEWEST, legacy_unfit
from rgan.evaluate.scale import Scale, held
from rgan.evaluate.threads import one_thread
from rgan.evaluate.trial import About, Measure, Metric, Tick, Trial, Unscorable, register
from rgan.sequences import Sequences

LEGACY_UPDATES, QUICK_UPDATES = 5000, 160
LAGS = 3
MOST_ROWS = 60_000  # of the regression, drawn at random above that
Floats = NDArray[np.float32]


class PredictiveLegacy(Metric):
    """Mean absolute error of a small GRU (Yoon et al. 2019, TimeGAN, section 5)."""

    name = "predictive_legacy"
    controls_once = "always"

    def about(self, quick: bool) -> tuple[About, ...]:
        note = f"{QUICK_UPDATES} of {LEGACY_UPDATES} steps" if quick else "TimeGAN's protocol"
        return (About("predictive_legacy", "predictive (legacy)", "lower", note),)

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        return legacy_unfit(train)

    def measure(self, trial: Trial) -> dict[str, Measure]:
        return self.run([trial], lambda: None)[0]

    def run(self, trials: Sequence[Trial], tick: Tick) -> list[dict[str, Measure]]:
        updates = QUICK_UPDATES if trials[0].quick else LEGACY_UPDATES
        return [{self.name: Measure(score)} for score in legacy_errors(trials, updates, tick)]


def legacy_errors(trials: Sequence[Trial], updates: int, tick: Tick) -> list[float]:
    """Mean absolute error, on real training sequences, of a GRU trained on synthetic ones.

    A GRU of max(1, F // 2) units reads all features but the last (the feature itself where F = 1)
    and predicts the last feature one step on, through a sigmoid; values are min-max scaled by the
    real set; Adam at 0.001 on the absolute error over batches of 128. As published, but that only
    observed targets count, and that what is not observed is the feature's mean among the inputs.
    """
    import torch

    from rgan.evaluate.small_gru import BATCH, SmallGRUs, as_steps, train_side_by_side

    if min(len(t.candidate) for t in trials) < FEWEST:
        raise Unscorable(f"it needs {FEWEST} synthetic sequences")
    f = trials[0].train.n_features
    rngs = [np.random.default_rng(t.seed) for t in trials]
    data = [_next_steps(t.candidate, t.scale) for t in trials]
    batch = min(BATCH, min(len(x) for x, _, _ in data))
    networks = SmallGRUs([t.seed for t in trials], max(1, f - 1), max(1, f // 2))

    def loss(step: int) -> torch.Tensor:
        rows = [rng.permutation(len(x))[:batch] for rng, (x, _, _) in zip(rngs, data, strict=True)]
        x, y, m = (as_steps([d[i][r] for d, r in zip(data, rows, strict=True)]) for i in range(3))
        error = (torch.sigmoid(networks(x)) - y[:, :, 0]).abs() * m[:, :, 0]
        return (error.sum((0, 2)) / m.sum((0, 2, 3)).clamp(min=1)).sum()

    with one_thread():
        train_side_by_side(networks, loss, updates, tick)
        return [_legacy_error(networks, p, trial) for p, trial in enumerate(trials)]


def _legacy_error(networks, p: int, trial: Trial) -> float:  # type: ignore[no-untyped-def]
    import torch

    from rgan.evaluate.small_gru import as_steps

    x, y, m = _next_steps(trial.train, trial.scale)
    if not m.any():
        raise Unscorable("the last feature is nowhere observed after the first step")
    error, copies = 0.0, len(networks.w_in)
    for start in range(0, len(x), 256):
        part = slice(start, start + 256)
        with torch.no_grad():
            guess = torch.sigmoid(networks(as_steps([x[part]] * copies)))[:, p].numpy().T
        error += float((np.abs(guess - y[part, :, 0]) * m[part, :, 0]).sum())
    return error / float(m.sum())


def _next_steps(data: Sequences, scale: Scale) -> tuple[Floats, Floats, Floats]:
    """Inputs (N, T-1, F-1), targets (N, T-1, 1), and which targets count (N, T-1, 1)."""
    u = scale.minmax(data)
    x = u[:, :-1, :-1] if data.n_features > 1 else u[:, :-1]
    return x, u[:, 1:, -1:], data.observed[:, 1:, -1:].astype(np.float32)


def one_step_errors(
    fit_on: Sequences, test: Sequences, *, scale: Scale | None = None, seed: int = 0
) -> dict[str, float]:
    """Root mean square error of each feature one step ahead, in real standard deviations.

    Ridge regression, fitted on one set and tested on the other, from the last three steps of all
    features (each the last value observed so far, 0 = the mean where there is none yet) and which
    of them were measured. Only observed targets count. 1 is what predicting the mean gives.

    Args:
        fit_on: (N, T, F) sequences, original units.
        test: (M, T, F) sequences, the same units.
        scale: of the real training set; None: of ``test``.
        seed: of the draw of rows where there are more than 60,000.

    Raises:
        DataError: the sets are not comparable.
    """
    check_comparable(test, fit_on)
    scale = scale or Scale.of(test)
    x, y, m = _regression(fit_on, scale, seed)
    x_test, y_test, m_test = _regression(test, scale, seed)
    gram = x.T @ x if m.all() else None
    errors = {}
    for f, name in enumerate(fit_on.feature_names):
        rows, rows_test = m[:, f], m_test[:, f]
        if not rows.any() or not rows_test.any():
            continue
        x_f = x if gram is not None else x[rows]
        a = (gram if gram is not None else x_f.T @ x_f).astype(np.float64)
        a[np.diag_indices_from(a)] += 1e-2 * len(x_f)  # the penalty, small beside unit variances
        weights = np.linalg.solve(a, (x_f.T @ y[rows, f]).astype(np.float64))
        gap = x_test[rows_test] @ weights - y_test[rows_test, f]
        errors[name] = float(np.sqrt((gap**2).mean()))
    return errors


def _regression(
    data: Sequences, scale: Scale, seed: int
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Inputs (R, K), targets (R, F) and which of them are observed (R, F)."""
    z = scale.standardise(data)
    masks = [] if data.fully_observed else [data.observed.astype(np.float32)]
    # A lag before the first step repeats nothing: it is 0 and not observed.
    columns = [_lagged(part, lag) for part in (held(scale, data), *masks) for lag in range(LAGS)]
    columns.append(np.ones((*z.shape[:2], 1), dtype=np.float32))
    x = np.concatenate(columns, axis=2)[:, :-1].reshape(-1, sum(c.shape[2] for c in columns))
    y = z[:, 1:].reshape(-1, data.n_features)
    m = data.observed[:, 1:].reshape(-1, data.n_features)
    some = np.flatnonzero(m.any(1))
    if len(some) > MOST_ROWS:
        some = np.random.default_rng(seed).permutation(some)[:MOST_ROWS]
    return x[some], y[some], m[some]


def _lagged(part: Floats, lag: int) -> Floats:
    out = np.zeros_like(part)
    out[:, lag:] = part[:, : part.shape[1] - lag]
    return out


class Predictive(Metric):
    """One step ahead, all features, on held-out subjects."""

    name = "predictive"

    def about(self, quick: bool) -> tuple[About, ...]:
        note = "RMSE in standard deviations, held-out subjects"
        return (About("predictive", "predictive (held out)", "lower", note),)

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        return "sequences have one step" if train.n_steps < 2 else ""

    def measure(self, trial: Trial) -> dict[str, Measure]:
        parts = one_step_errors(trial.candidate, trial.test, scale=trial.scale, seed=trial.seed)
        if not parts:
            raise Unscorable("no feature is observed after the first step in both sets")
        return {"predictive": Measure(float(np.mean(list(parts.values()))), parts)}


register(PredictiveLegacy())
register(Predictive())
