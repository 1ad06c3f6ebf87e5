"""Filling in with a run's imputer, which is fitted once and kept in the run.

Shape letters: N sequences, T steps, F features, K draws.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.config import Config, changed, from_sections
from rgan.data.masks import hidden, parse_mask
from rgan.errors import ConfigError, InputError
from rgan.runs.folder import Run
from rgan.runs.sealed import taking_up
from rgan.sequences import Sequences
from rgan.train.device import resolve_device
from rgan.workflow.encoder import Encoder
from rgan.workflow.imputer import STEPS, FittedImputer, fit_to
from rgan.workflow.imputer_files import load_imputer, save_imputer
from rgan.workflow.imputer_input import matched, read_partial
from rgan.workflow.judge import load_splits
from rgan.workflow.sampling import load_checkpoint

Say = Callable[[str], None]
Advance = Callable[[int], None]


def configs_of(run: Run, settings: Mapping[str, Any]) -> tuple[Config, Config]:
    """A run's configuration with the place where its data lie now, and the one to read a file by.

    Args:
        run: the run folder.
        settings: ``{"data.key": value}`` to change; all but the place count for the file only.

    Raises:
        ConfigError: another section is to change, or a value breaks its field's rule.
    """
    for path in settings:
        if not path.startswith("data."):
            raise ConfigError(
                f'"{path}" is to change',
                rule="how the file is read may change, and where the run's data lie",
                repair="--set data.source=PATH",
            )
    trained_with = from_sections(run.read_config())
    places = {p: v for p, v in settings.items() if p in ("data.source", "data.data_dir")}
    return changed(trained_with, places), changed(trained_with, settings)


def encoder_of(run: Run) -> Encoder:
    """Scaling and description of a run's data, from its last checkpoint.

    Raises:
        RunError: there is no checkpoint that is whole.
    """
    checkpoint = load_checkpoint(run)
    with taking_up(checkpoint.path):
        return Encoder.from_state(checkpoint.state["encoder"])


def to_fill(
    run: Run, configs: tuple[Config, Config], encoder: Encoder, file: str, score: bool = False
) -> Sequences:
    """What is to be filled in, with features and attributes in the model's order.

    Args:
        run: the run folder.
        configs: as ``configs_of`` gives them.
        encoder: of the run.
        file: a path or a built-in name.
        score: whether it is scored: of the run's own data it is the test split then.

    Raises:
        DataError: it cannot be read, or the model does not know such data.
    """
    own, reading = configs
    if score and _same(file, own.data.source):
        test = load_splits(own, run).test
        note = f"these are the run's own data: its test split of {len(test):,} is scored"
        return replace(matched(test, encoder), notes=(note,))
    found = read_partial(reading.data, file, encoder.packer.step)
    return matched(found, encoder, windowed=own.data.window > 0)


def imputer_of(
    run: Run,
    config: Config,
    encoder: Encoder,
    *,
    refit: bool = False,
    steps: int = STEPS,
    device: str = "cpu",
    progress: Callable[[int, float], None] = lambda step, score: None,
    say: Say = lambda text: None,
) -> FittedImputer:
    """The imputer that a run keeps; a new one, fitted and kept, where it has none.

    Args:
        run: the run folder.
        config: its configuration; ``data.source`` is where its data lie now.
        encoder: of its last checkpoint.
        refit: fit anew in any case.
        steps: updates of a fit.
        device: to fit and to draw on.
        progress: is told (updates made, score).
        say: is told why it is fitted anew.

    Raises:
        RunError: the run's data differ, or the kept imputer is damaged.
        DataError: the run's data are gone.
        TrainingError: the fit was stopped; nothing is kept.
    """
    where = resolve_device(device)
    trained_on = (run.info.get("data") or {}).get("fingerprint")
    kept = None if refit else load_imputer(run)
    if kept is not None and kept.about.get("data") != trained_on:
        say("the run has other data than when its imputer was fitted: it is fitted anew")
        kept = None
    if kept is None:
        splits = load_splits(config, run)
        seed = config.train.seed
        kept = fit_to(encoder, splits, steps=steps, seed=seed, device=where, progress=progress)
        kept.about["data"] = trained_on
        save_imputer(run, kept)
    kept.imputer.to(where).eval()
    return kept


def _same(file: str, source: str) -> bool:
    paths = [Path(text).expanduser() for text in (file, source)]
    if all(path.exists() for path in paths):
        return paths[0].resolve() == paths[1].resolve()
    return file == source


def hide(sequences: Sequences, rules: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """(N, T, F) bool: the observed values that these rules hide.

    Raises:
        InputError: a rule does not fit, or nothing would be hidden.
    """
    hidden_NTF = hidden(sequences, [parse_mask(rule) for rule in rules], seed)
    if not hidden_NTF.any():
        raise InputError(
            f"{', '.join(rules)} hides nothing that was observed",
            rule="at least one value is hidden",
            repair="random:0.2",
        )
    return hidden_NTF


@dataclass(frozen=True)
class Filled:
    """Completed sequences.

    Args:
        middle: each gap with the median of its draws; of categories without an order the level
            that most of them have.
        draws: each of the draws by itself, where they were asked for.
    """

    middle: Sequences
    draws: tuple[Sequences, ...] = ()


def fill(
    fitted: FittedImputer,
    sequences: Sequences,
    draws: int,
    seed: int,
    *,
    each: bool = False,
    advance: Advance = lambda more: None,
) -> Filled:
    """Complete sequences; what is observed stays as it is, to the last bit.

    Args:
        fitted: the run's imputer.
        sequences: as ``to_fill`` gives them.
        draws: K.
        seed: the same seed gives the same draws.
        each: give each draw as well, which takes K times the memory.
        advance: is told how many more sequences are done.
    """
    middle_NTF = np.empty_like(sequences.values)
    each_KNTF = np.empty((draws if each else 0, *middle_NTF.shape), np.float32)
    for rows, drawn_KNTF in fitted.blocks(sequences, draws, seed):
        part = sequences[rows]
        inside_KNTF = np.nan_to_num(drawn_KNTF, nan=0.0)  # past the lengths there is nothing
        middle_NTF[rows] = fitted.like_data(part, fitted.columns.middle(inside_KNTF))
        if each:
            each_KNTF[:, rows] = drawn_KNTF
        advance(len(part))
    observed_NTF = np.repeat(sequences.valid[:, :, None], sequences.n_features, axis=2)

    def whole(values_NTF: NDArray[np.float32]) -> Sequences:
        return replace(sequences, values=values_NTF, observed=observed_NTF)

    return Filled(whole(middle_NTF), tuple(whole(values_NTF) for values_NTF in each_KNTF))


def in_own_digits(file: str, gaps_NTF: NDArray[np.bool_], part: Sequences) -> bytes | None:
    """Completed sequences as the bytes of a ``.npy`` in which observed values have all the digits
    that they came with; None where 32 bits hold them, or the file is no such array.

    Args:
        file: what was filled in.
        gaps_NTF: what was.
        part: the completed sequences.
    """
    path = Path(file).expanduser()
    if path.suffix != ".npy" or not path.is_file():
        return None
    array = np.load(path, allow_pickle=False)
    if array.dtype != np.float64 or array.size != gaps_NTF.size:
        return None
    array[gaps_NTF.reshape(array.shape)] = part.values[gaps_NTF]
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
