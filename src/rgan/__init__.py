"""Recurrent GANs for real-valued sequences: train, sample, evaluate, with evidence.

    from rgan import RGAN
    synthetic = RGAN(steps=2000).fit(X).sample(1000)

``RGAN`` and ``RCGAN`` are the estimators; ``load`` opens what was saved; ``Sequences`` is what
everything here speaks. They are imported when first used, so that the command line starts fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rgan.model import RCGAN, RGAN, load
    from rgan.sequences import Sequences, Static

__version__ = "0.1.0"
__all__ = ["RCGAN", "RGAN", "Sequences", "Static", "__version__", "load"]

_HOMES = {
    "RGAN": "rgan.model",
    "RCGAN": "rgan.model",
    "load": "rgan.model",
    "Sequences": "rgan.sequences",
    "Static": "rgan.sequences",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rgan' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
