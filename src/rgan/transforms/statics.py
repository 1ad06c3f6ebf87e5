"""Static attributes as columns that networks read, and back.

Shape letters: N sequences, A static attributes, S static columns.

A continuous attribute is one column, a binary one is one column of 0 and 1, a categorical one of K
levels is K columns, one-hot.

Whether an attribute is known is generated too, where the training data leaves it out somewhere, so
that synthetic data is missing as often as real data, and nothing is invented on the way in:

- continuous: the gaps are filled with the mean of the known values, and a binary column "known"
  stands beside;
- binary and categorical: "not known" is one more level, so both are one-hot.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.errors import DataError
from rgan.nets.spec import StaticOutput
from rgan.sequences import Static


@dataclass(frozen=True)
class StaticPacker:
    """How each static attribute is packed.

    Args:
        info: the A attributes.
        missing: for each, whether the training data leaves it out somewhere.
        fill: for each, what stands in for a continuous value that is not known.
    """

    info: tuple[Static, ...] = ()
    missing: tuple[bool, ...] = ()
    fill: tuple[float, ...] = ()

    @classmethod
    def fit(cls, static_NA: NDArray[Any] | None, info: tuple[Static, ...]) -> StaticPacker:
        """Looks at which attributes are left out somewhere.

        Raises:
            DataError: an attribute is never known.
        """
        if static_NA is None:
            return cls()
        unknown_NA = np.isnan(static_NA)
        for column, attribute in enumerate(info):
            if unknown_NA[:, column].all():
                raise DataError(
                    f'static "{attribute.name}" (column {column}) is never known',
                    rule="a static attribute is known for at least one sequence",
                    repair="leave it out",
                )
        fill = np.nanmean(static_NA.astype(np.float64), axis=0)
        return cls(info, tuple(unknown_NA.any(axis=0).tolist()), tuple(fill.tolist()))

    @property
    def outputs(self) -> tuple[tuple[StaticOutput, int], ...]:
        """Kind and number of columns of each output, as ``SequenceSpec.statics`` wants them."""
        outputs: list[tuple[StaticOutput, int]] = []
        for attribute, missing in zip(self.info, self.missing, strict=True):
            if attribute.kind == "continuous":
                outputs += [("continuous", 1), ("binary", 1)] if missing else [("continuous", 1)]
            elif attribute.kind == "binary" and not missing:
                outputs.append(("binary", 1))
            else:
                outputs.append(("categorical", _levels(attribute) + missing))
        return tuple(outputs)

    def only(self, places: list[int]) -> StaticPacker:
        """The packer of the attributes at these places."""
        return StaticPacker(
            tuple(self.info[place] for place in places),
            tuple(self.missing[place] for place in places),
            tuple(self.fill[place] for place in places),
        )

    def pack(self, static_NA: NDArray[Any] | None, n: int) -> NDArray[np.float32]:
        """Attributes (N, A) to static_NS; (N, 0) where there are none.

        Raises:
            DataError: a value is not known of an attribute that the training data always knows.
        """
        if static_NA is None or not self.info:
            return np.zeros((n, 0), dtype=np.float32)
        parts: list[NDArray[Any]] = []
        for column, attribute in enumerate(self.info):
            values_N = static_NA[:, column]
            known_N = ~np.isnan(values_N)
            if not known_N.all() and not self.missing[column]:
                raise DataError(
                    f'static "{attribute.name}" of row {int(np.argmin(known_N))} is not known',
                    rule="it is always known in the data that the model was fitted to",
                    repair="fit on data that has such rows, or leave these rows out",
                )
            if attribute.kind == "continuous":
                parts.append(np.where(known_N, values_N, self.fill[column])[:, None])
                if self.missing[column]:
                    parts.append(known_N[:, None])
            elif attribute.kind == "binary" and not self.missing[column]:
                parts.append(values_N[:, None])
            else:
                levels = _levels(attribute)
                code_N = np.where(known_N, values_N, levels).astype(np.int64)
                parts.append(np.eye(levels + self.missing[column])[code_N])
        return np.concatenate(parts, axis=1).astype(np.float32)

    def unpack(self, static_NS: NDArray[Any]) -> NDArray[np.float32] | None:
        """static_NS, real or generated, to attributes (N, A), NaN where not known.

        Continuous columns as they are, binary ones at least 0.5, categorical ones the largest.
        """
        if not self.info:
            return None
        columns: list[NDArray[Any]] = []
        at = 0
        for attribute, missing in zip(self.info, self.missing, strict=True):
            if attribute.kind == "continuous":
                value_N = static_NS[:, at]
                columns.append(
                    np.where(static_NS[:, at + 1] >= 0.5, value_N, np.nan) if missing else value_N
                )
                at += 1 + missing
            elif attribute.kind == "binary" and not missing:
                columns.append(static_NS[:, at] >= 0.5)
                at += 1
            else:
                levels = _levels(attribute)
                code_N = np.argmax(static_NS[:, at : at + levels + missing], axis=1)
                columns.append(np.where(code_N == levels, np.nan, code_N))
                at += levels + missing
        return np.stack(columns, axis=1).astype(np.float32)

    def state(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "info": [{**asdict(s), "levels": list(s.levels)} for s in self.info],
            "missing": list(self.missing),
            "fill": list(self.fill),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> StaticPacker:
        """What ``state`` wrote."""
        info = tuple(Static(**{**s, "levels": tuple(s["levels"])}) for s in state["info"])
        return cls(info, tuple(state["missing"]), tuple(state["fill"]))


def _levels(attribute: Static) -> int:
    return 2 if attribute.kind == "binary" else len(attribute.levels)
