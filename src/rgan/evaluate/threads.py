"""One thread for models so small that more threads cost more than they give."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold OpenMP, BLAS and torch to one thread, and put them back after.

    The judges here are tiny: on free cores a second thread saves a fifth, but where cores are
    shared, threads that wait for each other make the same work take ten times as long. Also a
    decorator: ``@one_thread()``.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    torch = sys.modules.get("torch")  # whoever trains a network has imported it
    before = torch.get_num_threads() if torch else 1
    try:
        with threadpool_limits(1):
            if torch:
                torch.set_num_threads(1)
            yield
    finally:
        if torch:
            torch.set_num_threads(before)
