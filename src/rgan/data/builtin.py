"""What all built-in sources share: the seeded draw of ``max_sequences``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rgan.data.sources import LoadOptions


def draw_rows(n: int, options: LoadOptions) -> NDArray[np.int64]:
    """Which of n rows to keep, ascending: all, or ``max_sequences`` drawn by ``seed``.

    >>> from rgan.data.sources import LoadOptions
    >>> draw_rows(3, LoadOptions())
    array([0, 1, 2])
    """
    if not 0 < options.max_sequences < n:
        return np.arange(n, dtype=np.int64)
    rng = np.random.default_rng(options.seed)
    return np.sort(rng.choice(n, size=options.max_sequences, replace=False)).astype(np.int64)
