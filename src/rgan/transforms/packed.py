"""``Packed``: the plain arrays that networks read.

Shape letters: N sequences, T steps, F features, M mask channels, D = F + M, S static columns,
C condition columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Packed:
    """N packed sequences.

    Args:
        x_NTD: float32, F values (0 where not observed or past the length), then M masks.
        static_NS: float32; S may be 0.
        lengths_N: int64, in 1..T.
        condition_NC: float32; C may be 0.
    """

    x_NTD: NDArray[np.float32]
    static_NS: NDArray[np.float32]
    lengths_N: NDArray[np.int64]
    condition_NC: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.x_NTD)

    def __getitem__(self, rows: ArrayLike | slice) -> Packed:
        """The packed sequences of these rows: a slice, an index, indices or a bool mask."""
        index = rows if isinstance(rows, slice) else np.atleast_1d(np.asarray(rows))
        return Packed(
            self.x_NTD[index],
            self.static_NS[index],
            self.lengths_N[index],
            self.condition_NC[index],
        )
