"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Small networks are faster on one thread, and several tests may run beside each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("RGAN_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no folder of real data: set RGAN_DATA")
    return folder
