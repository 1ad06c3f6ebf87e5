"""``RGAN`` and ``RCGAN``: the whole toolkit as estimators, in scikit-learn's manners.

Shape letters: N sequences, T steps, F features.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from torch import Tensor

from rgan.config import Config, changed, differences, from_sections, preset
from rgan.data.frames import from_any, to_like
from rgan.errors import ConfigError, InputError
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.find import find_run
from rgan.runs.folder import Run
from rgan.sequences import Sequences
from rgan.train.events import Ended, Event, Listener
from rgan.workflow.architecture import Architecture, rebuild
from rgan.workflow.changes import describe_data
from rgan.workflow.processes import team
from rgan.workflow.sampling import load_checkpoint
from rgan.workflow.session import Session, open_session, trained_from_checkpoint
from rgan.workflow.stop import StopSignals
from rgan.workflow.trained import Trained


@dataclass(frozen=True)
class _Saved:
    """What a checkpoint of the fitted model holds."""

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


class RGAN(BaseEstimator):
    """A recurrent GAN (Esteban, Hyland & Rätsch 2017, arXiv 1706.02633) over real-valued sequences.

    Given labels, it is conditioned on them (RCGAN). Data go in as they are, in original units, and
    samples come back in the same form: array for array, pandas for pandas, polars for polars.

    Args:
        preset: "default"; "feedback" for a generator that learns by likelihood; "images" for images
            read by rows or columns; or "paper" for the original architecture and optimisers.
        steps: generator updates; None takes the preset's.
        epochs: passes over the data instead of ``steps``.
        batch_size: sequences in a batch; None takes the preset's.
        settings: any other setting, ``{"generator.hidden": 64}``; see ``rgan.config``.
        condition: names of static attributes that are conditions beside the labels instead of being
            generated, ("age", "sex"), so that ``sample`` can be asked for them.
        device: "auto", "cpu", "cuda", "cuda:1", "mps", or several: "cuda:0,1".
        random_state: seed of everything random, 0 or more.
        verbose: whether to show progress.

    >>> import numpy as np
    >>> from rgan import RGAN
    >>> X = np.random.default_rng(0).normal(size=(64, 8, 2))
    >>> model = RGAN(steps=2, batch_size=16, device="cpu").fit(X)
    >>> model.sample(5).shape
    (5, 8, 2)
    """

    conditional: bool | None = None
    architecture_: Architecture

    def __init__(
        self,
        *,
        preset: str = "default",
        steps: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        settings: Mapping[str, Any] | None = None,
        condition: Sequence[str] | str | None = None,
        device: str = "auto",
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.preset = preset
        self.steps = steps
        self.epochs = epochs
        self.batch_size = batch_size
        self.settings = settings
        self.condition = condition
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def configuration(self) -> Config:
        """The whole configuration that ``fit`` will use.

        Raises:
            ConfigError: a setting is unknown or breaks its rule.
        """
        if self.epochs is not None and self.epochs < 1:
            raise ConfigError(
                f"epochs is {self.epochs}", rule="at least one pass, or None", repair="epochs=20"
            )
        given = {
            "train.steps": self.steps,
            "train.epochs": self.epochs,
            "train.batch_size": self.batch_size,
            "model.condition": self.condition,
        }
        fixed = {"train.seed": self.random_state, "train.device": self.device}
        given = {key: value for key, value in given.items() if value is not None}
        return changed(preset(self.preset), {**fixed, **given, **(self.settings or {})})

    def fit(
        self, X: Any, y: Any = None, *, labels: ArrayLike | None = None, **describe: Any
    ) -> Self:
        """Train on sequences.

        Args:
            X: (N, T, F) or (N, T) array in original units; ``Sequences``; or a long pandas or
                polars frame with ``id="..."`` and ``time="..."`` given.
            y: the same as ``labels``, as scikit-learn passes it.
            labels: (N,) classes (integers, text) or a continuous condition (floats); None for an
                unconditional model. In a frame, ``label="..."`` names their column.
            describe: what else is known: ``observed`` (N, T, F) bool, ``lengths``, ``subjects``,
                ``feature_names``, ``units``, or a frame's columns; see ``rgan.data.frames``.

        Returns:
            The fitted estimator.

        Raises:
            DataError: the data break a rule; the message names row and column.
            ConfigError: a setting breaks a rule.
            DivergedError: a loss is not finite.
        """
        if labels is None:
            labels = y
        if labels is not None:
            describe["labels"] = labels
        sequences = X if isinstance(X, Sequences) and not describe else from_any(X, **describe)
        config = self.configuration()
        if self.conditional:
            config = changed(config, {"model.kind": "rcgan"})
        session = open_session(config, sequences)
        self.history_: list[dict[str, Any]] = []
        self.ended_ = self._run(session)
        self.data_ = describe_data(sequences)
        self.config_, self.trained_ = session.config, session.trained
        self._saved = _Saved(
            session.state.step, session.state.tensors(), session.checkpoint_state()
        )
        return self

    def _run(self, session: Session) -> Ended:
        def record(event: Event) -> None:
            if event.kind == "epoch":
                self.history_.append(event.as_dict())

        listeners: list[Listener] = [record]
        progress = None
        if self.verbose:
            from rgan.report.progress import make_progress

            progress = make_progress(quiet=False)
            listeners.append(progress)

        def tell(event: Event) -> None:
            for listener in listeners:
                listener(event)

        with team(session) as session, StopSignals() as stop:
            try:
                return session.run(tell, stop)
            finally:
                if progress is not None:
                    progress.close()

    def sample(
        self,
        n: int = 1,
        *,
        labels: ArrayLike | None = None,
        conditions: Mapping[str, ArrayLike] | None = None,
        label_mix: Mapping[Any, float] | str | None = None,
        random_state: int = 0,
        as_sequences: bool = False,
    ) -> Any:
        """n synthetic sequences in the form that the training data had.

        Args:
            n: how many.
            labels: one label or (n,) labels; None draws them as often as in the training data.
            conditions: name to one value or (n,) values, {"age": 70, "sex": "male"}, of what
                ``condition`` names; the others are drawn as they occur beside these.
            label_mix: how often each class comes, {"died": 0.5, "left": 0.5} or "even", instead of
                labels.
            random_state: the same seed gives the same sequences.
            as_sequences: give ``Sequences`` (with mask, labels and static attributes) instead.

        Raises:
            InputError: not fitted, n below 1, an unknown label, or a condition that was not learnt.
        """
        sequences = self._fitted().sample(n, labels, random_state, conditions, label_mix)
        return sequences if as_sequences else to_like(sequences)

    def save(self, path: str | Path) -> Path:
        """Write the model as a run folder at ``path``, which must not exist yet.

        Raises:
            InputError: not fitted, or the folder is there already or cannot be written.
        """
        self._fitted()
        target = Path(path)
        if target.exists():
            raise InputError(
                f"{target} is there already", rule="a model is saved into a new folder"
            )
        spec = self.trained_.encoder.packer.spec.to_dict()
        run = Run.create(
            target.parent, target.name, data=self.data_, spec=spec, command="RGAN.save"
        )
        run.write_config(self.config_.to_sections())
        run.begin_segment(0)
        for event in self.history_:
            run.history.append(event)
        saved = self._saved
        CheckpointStore(run.checkpoints).save(saved.step, saved.tensors, saved.state)
        run.end_segment(saved.step)
        run.path.rename(target)
        return target

    def _fitted(self) -> Trained:
        if not hasattr(self, "trained_"):
            raise InputError(
                f"this {type(self).__name__} is not fitted",
                rule="fit comes before sample and save",
                repair="model.fit(X)",
            )
        return self.trained_


class RCGAN(RGAN):
    """An RGAN that must have labels, or conditions."""

    conditional = True


def load(
    run: str | Path, *, device: str = "cpu", checkpoint: str | int = "auto", weights: bool = True
) -> RGAN:
    """A fitted estimator from a run folder, of the command line or of ``save``.

    Args:
        run: the folder, the start of its name in ``runs``, or "latest".
        device: where to sample.
        checkpoint: "auto" (the best of a training by likelihood, else the latest), "latest", "best"
            or a step.
        weights: False rebuilds the networks from the configuration alone, without any checkpoint:
            the estimator is not fitted, and ``architecture_`` holds the untrained networks
            (``generator``, ``critic``), their ``layers`` and numbers of ``parameters``.

    Raises:
        RunError: it is no run, or has no whole checkpoint.

    Warns:
        UserWarning: a damaged checkpoint was passed over; names the file.
    """
    folder = find_run(run)
    if not weights:
        architecture = rebuild(folder)
        model = _like(architecture.config, device)
        model.architecture_ = architecture
        return model
    saved = load_checkpoint(folder, checkpoint)
    if saved.warning:
        warnings.warn(saved.warning, stacklevel=2)
    config = from_sections(folder.read_config())
    model = _like(config, device)
    model.trained_ = trained_from_checkpoint(saved, device)
    model.config_, model.data_ = config, folder.info.get("data") or {}
    model.history_ = [e for e in folder.history.read() if e.get("event") == "epoch"]
    model._saved = _Saved(saved.step, saved.tensors, saved.state)
    return model


def _like(config: Config, device: str) -> RGAN:
    """An estimator, not fitted, with a run's configuration."""
    kind = RCGAN if config.model.kind == "rcgan" else RGAN
    own = ("model.kind", "train.seed", "train.device")
    settings = {path: new for path, (_, new) in differences(Config(), config).items()}
    for path in own:
        settings.pop(path, None)
    return kind(device=device, random_state=config.train.seed, settings=settings)
