"""How well a run's imputer fills in what was hidden, beside simple ways.

Shape letters: N sequences, T steps, F features, K draws, M hidden values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.config import Config
from rgan.data.masks import without
from rgan.errors import InputError
from rgan.evaluate.imputation import (
    LEAST_DRAWS,
    Calibration,
    Errors,
    calibration_of,
    errors_of,
    errors_of_draws,
    forward_fill,
    mice,
)
from rgan.report.imputation import draw_calibration
from rgan.runs.atomic import write_json
from rgan.runs.folder import Run
from rgan.sequences import Sequences
from rgan.workflow.filling import hide
from rgan.workflow.imputer import BLOCK, FittedImputer
from rgan.workflow.imputer_levels import most_frequent
from rgan.workflow.judge import load_splits

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class FillScore:
    """How well hidden values were filled in, in the features' deviations in training.

    Args:
        rules: what hid them.
        hidden: how many.
        sequences: of how many sequences.
        draws: K.
        errors: of "rgan", "forward-fill", "mean" and, where it can be computed, "MICE".
        calibration: of the draws.
        features: {feature: {way: its mean absolute error, and "covered": of the 90 % interval}}.
        skipped: way to the reason why it has no errors.
        wrong: {category without an order: {way: its share of wrong levels}}. Nothing else here
            counts these.
    """

    rules: tuple[str, ...]
    hidden: int
    sequences: int
    draws: int
    errors: dict[str, Errors]
    calibration: Calibration
    features: dict[str, dict[str, float]]
    skipped: dict[str, str]
    wrong: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


def score(
    fitted: FittedImputer,
    sequences: Sequences,
    train: Sequences,
    rules: Sequence[str],
    *,
    draws: int = 20,
    seed: int = 0,
    progress: Progress = lambda done, total, what: None,
) -> FillScore:
    """Hide observed values, fill them in, and hold them against what was there.

    Args:
        fitted: the run's imputer.
        sequences: real ones, which it was not fitted to.
        train: the training split, which chained equations learn from.
        rules: what to hide.
        draws: K, at least ``LEAST_DRAWS``.
        seed: of what is hidden and of the draws.
        progress: is told (done, total, what).

    Raises:
        InputError: nothing would be hidden, or too few draws.
    """
    if draws < LEAST_DRAWS:
        raise InputError(
            f"{draws} draws",
            rule=f"at least {LEAST_DRAWS}, or there is no interval of 90 %",
            repair=f"--draws {LEAST_DRAWS + 1}",
        )
    hidden_NTF = hide(sequences, rules, seed)
    visible = without(sequences, hidden_NTF)
    feature_M = np.nonzero(hidden_NTF)[2]
    number_M = ~np.isin(feature_M, fitted.columns.nominal)
    if not number_M.any():
        raise InputError(
            f"{', '.join(rules)} hides nothing but categories without an order",
            rule="at least one number is hidden",
            reason="errors and intervals are those of numbers",
            repair="random:0.2, which gives the shares of wrong levels as well",
        )
    parts: list[NDArray[Any]] = []
    for rows, drawn_KNTF in fitted.blocks(visible, draws, seed):
        parts.append(drawn_KNTF[:, hidden_NTF[rows]])
        progress(min(rows.start + BLOCK, len(sequences)), len(sequences), "drawing")
    draws_KM = np.concatenate(parts, axis=1)
    guesses, skipped = _guesses(fitted, train, visible, hidden_NTF, seed, progress)
    names, hidden_M = sequences.feature_names, sequences.values[hidden_NTF]
    wrong = {
        names[f]: _wrong(feature_M == f, hidden_M, draws_KM, guesses)
        for f in np.unique(feature_M[~number_M])
    }
    feature_M = feature_M[number_M]
    mean_M, std_M = fitted.usual.mean_F[feature_M], fitted.usual.std_F[feature_M]
    truth_M = (hidden_M[number_M] - mean_M) / std_M
    draws_KM = (draws_KM[:, number_M] - mean_M) / std_M
    guesses = {way: (guess_M[number_M] - mean_M) / std_M for way, guess_M in guesses.items()}
    errors = {"rgan": errors_of_draws(draws_KM, truth_M)}
    errors |= {way: errors_of(guess_M, truth_M) for way, guess_M in guesses.items()}
    features = _by_feature(names, feature_M, truth_M, draws_KM, guesses)
    return FillScore(
        rules=tuple(rules),
        hidden=len(hidden_M),
        sequences=int(hidden_NTF.any(axis=(1, 2)).sum()),
        draws=draws,
        errors=errors,
        calibration=calibration_of(draws_KM, truth_M, seed),
        features={} if sequences.is_image else features,
        skipped=skipped,
        wrong=wrong,
    )


def _wrong(
    mine_M: NDArray[np.bool_],
    truth_M: NDArray[Any],
    draws_KM: NDArray[Any],
    guesses: dict[str, NDArray[Any]],
) -> dict[str, float]:
    """The share of wrong levels by each way that gives levels; a regression gives none."""
    ways = {"rgan": most_frequent(draws_KM[:, mine_M])}
    ways |= {w: guess_M[mine_M] for w, guess_M in guesses.items() if w != "MICE"}
    return {w: float((guess != truth_M[mine_M]).mean()) for w, guess in ways.items()}


def _guesses(
    fitted: FittedImputer,
    train: Sequences,
    visible: Sequences,
    hidden_NTF: NDArray[np.bool_],
    seed: int,
    progress: Progress,
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """{way: (M,) values in original units} of simple ways, and why a way is left out."""
    mean_F, std_F = fitted.usual.mean_F, fitted.usual.std_F
    guesses = {
        "forward-fill": forward_fill(visible, mean_F)[hidden_NTF],
        "mean": mean_F[np.nonzero(hidden_NTF)[2]],
    }
    try:
        guesses["MICE"] = mice(
            train,
            visible,
            hidden_NTF,
            mean_F,
            std_F,
            seed=seed,
            progress=lambda done, total: progress(done, total, "chained equations"),
        )
    except InputError as error:
        return guesses, {"MICE": f"{error.found}; {error.rule}"}
    return guesses, {}


def _by_feature(
    names: tuple[str, ...],
    feature_M: NDArray[np.int64],
    truth_M: NDArray[Any],
    draws_KM: NDArray[Any],
    guesses: dict[str, NDArray[Any]],
) -> dict[str, dict[str, float]]:
    """Mean absolute errors of each feature, and how much the interval of 90 % holds."""
    found: dict[str, dict[str, float]] = {}
    for f, name in enumerate(names):
        mine_M = feature_M == f
        if not mine_M.any():
            continue
        truth = truth_M[mine_M]
        ways = {"rgan": np.median(draws_KM[:, mine_M], axis=0)}
        ways |= {way: guess_M[mine_M] for way, guess_M in guesses.items()}
        found[name] = {way: float(np.abs(guess - truth).mean()) for way, guess in ways.items()}
        low, high = np.quantile(draws_KM[:, mine_M], [0.05, 0.95], axis=0, method="weibull")
        found[name]["covered"] = float(((truth >= low) & (truth <= high)).mean())
    return found


def score_run(
    run: Run,
    config: Config,
    fitted: FittedImputer,
    sequences: Sequences,
    rules: Sequence[str],
    *,
    draws: int = 20,
    seed: int = 0,
    progress: Progress = lambda done, total, what: None,
) -> FillScore:
    """``score`` with the run's training split; writes imputation.json and the calibration figure.

    Raises:
        InputError: as ``score``; or the run's data are gone.
    """
    train = load_splits(config, run).train
    found = score(fitted, sequences, train, rules, draws=draws, seed=seed, progress=progress)
    document = {"run": run.info["id"], "fit": fitted.about, "seed": seed, **found.to_dict()}
    write_json(run.path / "imputation.json", document)
    run.figures.mkdir(exist_ok=True)
    draw_calibration(
        found.calibration.levels_L,
        found.calibration.covered_L,
        found.calibration.ranks,
        run.figures / "imputation.png",
        errors={way: errors.mae for way, errors in found.errors.items()},
        features={} if sequences.is_image else found.features,
        title=f"Filled in: {found.hidden:,} values hidden by {', '.join(found.rules)}",
    )
    return found
