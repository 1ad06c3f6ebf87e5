"""From transformed ``Sequences`` to the plain arrays that networks read, and back.

Shape letters: N sequences, T steps, F features, M mask channels, D = F + M, S static columns,
C condition columns. ``rgan.nets.spec`` says what stands in them.

The packer keeps all that is needed to build ``Sequences`` from generated arrays: names, units,
layout, classes, and how often each length and class occurs. It keeps no single patient's data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgan.errors import DataError
from rgan.layouts import ImageLayout, Layout, layout_from_dict, layout_to_dict
from rgan.nets.spec import Levels, SequenceSpec
from rgan.sequences import Sequences, Static
from rgan.transforms.conditions import (
    ClassCondition,
    Condition,
    Unconditional,
    condition_from_state,
    fit_condition,
)
from rgan.transforms.lengths import LengthCounts
from rgan.transforms.packed import Packed
from rgan.transforms.statics import StaticPacker


@dataclass(frozen=True)
class Packer:
    """Packs sequences of one description, and unpacks what was generated. Made by ``fit``.

    Args:
        spec: sizes and kinds for the networks.
        feature_names, units, step, step_unit, layout, label_name, name: as in ``Sequences``.
        statics: how static attributes are packed.
        labels: how labels become condition columns.
        lengths: how often each length occurred.
        conditions: names of the static attributes that are conditions, in the data's order; the
            others are generated.
    """

    spec: SequenceSpec
    feature_names: tuple[str, ...]
    units: tuple[str, ...]
    step: float
    step_unit: str
    layout: Layout
    label_name: str
    name: str
    statics: StaticPacker = field(default_factory=StaticPacker)
    labels: Condition = field(default_factory=Unconditional)
    lengths: LengthCounts = field(default_factory=lambda: LengthCounts(()))
    conditions: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        sequences: Sequences,
        *,
        bounded: bool = False,
        conditions: tuple[str, ...] = (),
        levels: Levels = (),
    ) -> Packer:
        """Reads the description of transformed training sequences.

        Args:
            sequences: the training data, after the transforms.
            bounded: whether their values lie in [-1, 1] (``Pipeline.bounded``).
            conditions: names of static attributes that are not to be generated.
            levels: the features that have few levels (``value_levels``).

        Raises:
            DataError: a static attribute that is never known, a continuous label that never varies.
        """
        labels = fit_condition(sequences.labels)
        statics = StaticPacker.fit(sequences.static, sequences.static_info)
        made, given = _parts(statics, conditions)
        own = sum(size for _, size in statics.only(given).outputs)
        gaps_F = (~sequences.observed & sequences.valid[:, :, None]).any(axis=(0, 1))
        spec = SequenceSpec(
            steps=sequences.n_steps,
            values=sequences.n_features,
            masks=tuple(np.flatnonzero(gaps_F).tolist()),
            statics=statics.only(made).outputs,
            condition=labels.columns + own,
            classes=labels.columns if isinstance(labels, ClassCondition) else 0,
            variable_length=not sequences.fixed_length,
            bounded=bounded,
            given=own,
            across=_across(sequences.layout),
            levels=levels,
        )
        class_N = None
        if isinstance(labels, ClassCondition) and sequences.labels is not None:
            class_N = labels.indices(sequences.labels)
        return cls(
            spec=spec,
            feature_names=sequences.feature_names,
            units=sequences.units,
            step=float(sequences.step),
            step_unit=sequences.step_unit,
            layout=sequences.layout,
            label_name=sequences.label_name,
            name=sequences.name,
            statics=statics,
            labels=labels,
            lengths=LengthCounts.fit(sequences.lengths, class_N),
            conditions=tuple(statics.info[place].name for place in given),
        )

    @property
    def static_info(self) -> tuple[Static, ...]:
        """The static attributes, after the transforms."""
        return self.statics.info

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes in ascending order; empty where labels are no classes."""
        return self.labels.classes if isinstance(self.labels, ClassCondition) else ()

    @property
    def class_counts(self) -> tuple[int, ...]:
        """How many training sequences each class had."""
        return self.labels.counts if isinstance(self.labels, ClassCondition) else ()

    def pack(self, sequences: Sequences) -> Packed:
        """Transformed sequences as arrays. ``unpack`` gives them back.

        Labels are left out where the packer was fitted without.

        Raises:
            DataError: the sequences do not match the description that was fitted.
        """
        self._check(sequences)
        masks = list(self.spec.masks)
        x_NTD = np.concatenate(
            [np.nan_to_num(sequences.values, nan=0.0), sequences.observed[:, :, masks]],
            axis=2,
            dtype=np.float32,
        )
        n, static_NA = len(sequences), sequences.static
        made, given = _parts(self.statics, self.conditions)
        static_NS = self.statics.only(made).pack(_columns(static_NA, made), n)
        labels = sequences.labels if self.labels.columns else None
        condition_NC = self.condition(labels, _columns(static_NA, given), n)
        return Packed(x_NTD, static_NS, sequences.lengths, condition_NC)

    def unpack(self, packed: Packed, *, labels: ArrayLike | None = None) -> Sequences:
        """Arrays, real or generated, as sequences in the transformed space.

        A value is observed where its mask channel is at least 0.5; features without a mask channel
        are observed within the length.

        Args:
            packed: what a generator made, or ``pack`` gave.
            labels: (N,) labels to put in; None: those of the condition.

        Raises:
            InputError: a label that the training data did not have.
        """
        f = self.spec.values
        valid_NT = np.arange(self.spec.steps)[None, :] < packed.lengths_N[:, None]
        observed_NTF = np.repeat(valid_NT[:, :, None], f, axis=2)
        observed_NTF[:, :, list(self.spec.masks)] &= packed.x_NTD[:, :, f:] >= 0.5
        label_NC, given_NC = np.split(packed.condition_NC, [self.labels.columns], axis=1)
        if labels is not None:
            label_NC = self.labels.encode(labels)
        return Sequences(
            packed.x_NTD[:, :, :f],
            observed=observed_NTF,
            lengths=packed.lengths_N,
            labels=self.labels.decode(label_NC),
            static=self._statics(packed.static_NS, given_NC),
            static_info=self.static_info,
            feature_names=self.feature_names,
            units=self.units,
            step=self.step,
            step_unit=self.step_unit,
            layout=self.layout,
            label_name=self.label_name,
            name=self.name,
        )

    def condition(
        self, labels: ArrayLike | None, given_NA: NDArray[Any] | None = None, n: int = 0
    ) -> NDArray[np.float32]:
        """Labels (N,) and conditions to condition_NC: classes one-hot, a continuous label
        standardised; then static attributes as ``StaticPacker`` packs them.

        Args:
            labels: None where the packer was fitted without.
            given_NA: (N, A) the attributes ``conditions``, transformed.
            n: N, where there are no labels.

        Raises:
            InputError: a label that the training data did not have (the known ones are named).
        """
        _, given = _parts(self.statics, self.conditions)
        label_NC = np.zeros((n, 0), dtype=np.float32)
        if labels is not None:
            label_NC = self.labels.encode(labels)
        given_NC = self.statics.only(given).pack(given_NA, len(label_NC))
        return np.concatenate([label_NC, given_NC], axis=1)

    def draw_labels(self, rng: np.random.Generator, n: int) -> NDArray[Any] | None:
        """n labels as often as in the training data; None where it had none."""
        return self.labels.draw(rng, n)

    def draw_lengths(
        self, rng: np.random.Generator, labels: ArrayLike | None, n: int
    ) -> NDArray[np.int64]:
        """n lengths as often as in the training data, each class from its own lengths.

        Raises:
            InputError: a class that the training data did not have.
        """
        class_N = None
        if isinstance(self.labels, ClassCondition) and labels is not None:
            class_N = self.labels.indices(labels)
        return self.lengths.draw(rng, class_N, n)

    def state(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "spec": self.spec.to_dict(),
            "feature_names": list(self.feature_names),
            "units": list(self.units),
            "step": self.step,
            "step_unit": self.step_unit,
            "layout": layout_to_dict(self.layout),
            "label_name": self.label_name,
            "name": self.name,
            "statics": self.statics.state(),
            "labels": self.labels.state(),
            "lengths": self.lengths.state(),
            "conditions": list(self.conditions),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Packer:
        """The packer that ``state`` wrote.

        Raises:
            DataError: a part is missing or not one.
        """
        try:
            return cls(
                spec=SequenceSpec.from_dict(state["spec"]),
                feature_names=tuple(state["feature_names"]),
                units=tuple(state["units"]),
                step=float(state["step"]),
                step_unit=state["step_unit"],
                layout=layout_from_dict(state["layout"]),
                label_name=state["label_name"],
                name=state["name"],
                statics=StaticPacker.from_state(state["statics"]),
                labels=condition_from_state(state["labels"]),
                lengths=LengthCounts.from_state(state["lengths"]),
                conditions=tuple(state.get("conditions", ())),  # versions before wrote none
            )
        except (KeyError, TypeError) as error:
            raise DataError(
                f"the packer's state is damaged: {error}", rule="it is what Packer.state() wrote"
            ) from error

    def _statics(
        self, static_NS: NDArray[Any], given_NC: NDArray[Any]
    ) -> NDArray[np.float32] | None:
        """All static attributes (N, A), those generated and those given."""
        if not self.statics.info:
            return None
        static_NA = np.empty((len(static_NS), len(self.statics.info)), dtype=np.float32)
        parts = _parts(self.statics, self.conditions)
        for places, packed in zip(parts, (static_NS, given_NC), strict=True):
            if places:
                static_NA[:, places] = self.statics.only(places).unpack(packed)
        return static_NA

    def _check(self, sequences: Sequences) -> None:
        """Raises where sequences do not match what was fitted."""
        rule = "the same as in the data that the model was fitted to"
        for what, found, known in (
            ("features", sequences.feature_names, self.feature_names),
            ("steps", sequences.n_steps, self.spec.steps),
            ("static attributes", _names(sequences.static_info), _names(self.static_info)),
        ):
            if found != known:
                raise DataError(f"{what} are {found}, not {known}", rule=rule)
        if sequences.labels is None and self.labels.columns:
            raise DataError("the sequences have no labels", rule=f"labelled, {rule}")
        unmasked = [i for i in range(self.spec.values) if i not in self.spec.masks]
        gap_NTF = (~sequences.observed & sequences.valid[:, :, None])[:, :, unmasked]
        if gap_NTF.any():
            row, step, place = np.argwhere(gap_NTF)[0]
            raise DataError(
                f'"{self.feature_names[unmasked[place]]}" of row {row}, step {step} is missing',
                rule="it is never missing in the data that the model was fitted to",
                reason="a gap without a mask channel would be learnt as a value",
                repair="fit on data that has such gaps, or leave these rows out",
            )


def _names(info: tuple[Static, ...]) -> tuple[tuple[str, str, int], ...]:
    return tuple((s.name, s.kind, len(s.levels)) for s in info)


def _parts(statics: StaticPacker, conditions: tuple[str, ...]) -> tuple[list[int], list[int]]:
    """The places of the attributes that are generated, and of those that are conditions."""
    made: list[int] = []
    given: list[int] = []
    for place, static in enumerate(statics.info):
        (given if static.name in conditions else made).append(place)
    return made, given


def _columns(static_NA: NDArray[Any] | None, places: list[int]) -> NDArray[Any] | None:
    return None if static_NA is None else static_NA[:, places]


def _across(layout: Layout) -> int:
    """How many pixels a step has side by side; 0 where steps are no rows or columns of an image."""
    if not isinstance(layout, ImageLayout) or layout.order not in ("rows", "columns"):
        return 0
    return layout.width if layout.order == "rows" else layout.height
