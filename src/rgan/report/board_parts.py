"""What TensorBoard's files are made of: many numbers at once, histograms, hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 48
METRICS = (
    *("similarity/best", "similarity/overall", "similarity/mmd2", "similarity/discriminative"),
    *("similarity/tstr", "similarity/image_distance", "loss/generator", "loss/critic"),
    "final/batches_to_converge",
)
"""Tags whose last values stand in the HPARAMS tab beside the settings. The tab takes the list from
the first run that it finds, so the list is the same in all."""
_LEFT_OUT = ("data", "evaluate", "monitor", "stopping", "health")
_MATTERLESS = (
    *("train.device", "train.check_memory", "train.checkpoint_minutes", "train.keep"),
    *("train.real_examples", "train.figures"),
)


def numbers(group: str, values: Mapping[str, float]) -> Any:
    """One summary of many numbers, under the tags ``GROUP/NAME``: far quicker than one for each."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(
        value=[
            Summary.Value(tag=f"{group}/{name}", simple_value=float(value))
            for name, value in values.items()
        ]
    )


def to_histogram(values: NDArray[Any]) -> dict[str, Any] | None:
    """The arguments of ``add_histogram_raw``; None where no value is finite.

    Args:
        values: (K,) numbers; those that are not finite are left out.
    """
    values = values[np.isfinite(values)].astype(np.float64)
    if not len(values):
        return None
    counts, edges = np.histogram(values, bins=BINS)
    return {
        "min": values.min(),
        "max": values.max(),
        "num": len(values),
        "sum": values.sum(),
        "sum_squares": values @ values,
        "bucket_limits": edges[1:].tolist(),
        "bucket_counts": counts.tolist(),
    }


def chosen_settings(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Of a whole configuration the settings that make a difference to what is trained, as
    ``{"section.key": value}``."""
    flat = {
        f"{section}.{key}": value
        for section, keys in sections.items()
        if section not in _LEFT_OUT
        for key, value in keys.items()
    }
    source = sections.get("data", {}).get("source")
    flat |= {"data.source": source} if source else {}
    return {path: value for path, value in flat.items() if path not in _MATTERLESS}


def hyperparameters(settings: Mapping[str, Any]) -> tuple[Any, Any]:
    """Two summaries for the HPARAMS tab, to be written when a training begins.

    They stand in the run's own file, as its numbers do: a folder below the run, which torch's
    ``add_hparams`` makes, would be a run of its own.
    """
    from torch.utils.tensorboard.summary import hparams

    plain = {path: _plain(value) for path, value in settings.items()}
    experiment, start, _ = hparams(plain, dict.fromkeys(METRICS, 0.0))
    return experiment, start


def finished() -> Any:
    """The summary that says that a training came to its end."""
    from torch.utils.tensorboard.summary import hparams

    return hparams({}, {})[2]


def _plain(value: Any) -> str | float:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return value if isinstance(value, int | float | str) else str(value)
