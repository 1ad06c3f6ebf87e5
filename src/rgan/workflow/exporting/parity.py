"""Does an exported file give what ``Trained.sample`` gives from the same noise?

Shape letters: N sequences, T steps, F features, A static attributes, K columns.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rgan.errors import RganError
from rgan.sequences import Sequences
from rgan.train.randomness import Stream, numpy_random, torch_random
from rgan.transforms.conditions import ClassCondition
from rgan.transforms.ranges import Range
from rgan.workflow.exporting.module import Sampler
from rgan.workflow.trained import BLOCK, Trained

Arrays = dict[str, NDArray[Any]]
Runner = Callable[[Arrays], Mapping[str, NDArray[Any]]]

TOLERANCE = 1e-4
"""Largest difference of a value, as a share of what its feature spans."""
MOST_STEPPED = 1e-3
"""Share of a feature's values that may be rounded one step beside, for they stood between two; a
single one is let pass, since of few values one is much."""
MOST_DECIDED = 0.01
"""Share of sequences in which a decision (observed or not, a level) may fall otherwise."""


@dataclass(frozen=True)
class Parity:
    """How far a file is from ``Trained.sample``.

    Args:
        sequences: how many were compared.
        largest: largest difference of a value, as a share of what its feature spans.
        stepped: share of values that were rounded to the neighbouring step, of the feature with the
            most, its first such value aside.
        decided: share of sequences in which something was decided otherwise; their values are not
            compared, since all that follows from a decision differs.
    """

    sequences: int
    largest: float
    stepped: float
    decided: float

    @property
    def holds(self) -> bool:
        """Whether all three are within what rounding errors explain."""
        return (
            self.largest <= TOLERANCE
            and self.stepped <= MOST_STEPPED
            and self.decided <= MOST_DECIDED
        )

    def __str__(self) -> str:
        return (
            f"largest difference {self.largest:.1e} of a feature's span, "
            f"at most {self.stepped:.2%} of a feature's values rounded one step beside, "
            f"{self.decided:.2%} of {self.sequences} sequences decided otherwise"
        )


def same_noise(sampler: Sampler, trained: Trained, n: int, seed: int) -> Arrays:
    """The inputs from which ``trained.sample(n, seed=seed)`` makes its sequences.

    Args:
        sampler: says which inputs there are.
        trained: whose noise it is.
        n: at most ``BLOCK``.
        seed: of the sample.
    """
    packer = trained.encoder.packer
    rng = numpy_random(seed, Stream.LABELS, 0)
    drawn = packer.draw_labels(rng, BLOCK)
    lengths_N = packer.draw_lengths(rng, drawn, BLOCK)
    plain = trained.generator.draw_plain(BLOCK, torch_random(seed, Stream.SAMPLE, 0))
    inputs: Arrays = {
        "lengths": trained.generator.asked(torch.from_numpy(lengths_N)).numpy(),
        "noise_global": plain.whole.numpy(),
        "noise_step": plain.steps.numpy(),
        "mask_uniform": plain.masks.numpy(),
        "static_uniform": plain.static.numpy(),
    }
    if drawn is not None:
        labels = packer.labels
        if isinstance(labels, ClassCondition):
            inputs["label"] = labels.indices(drawn)
        else:
            inputs["label"] = drawn.astype(np.float64)
    return {port.name: inputs[port.name][:n] for port in sampler.inputs()}


def check(run: Runner, sampler: Sampler, trained: Trained, sizes: tuple[int, ...]) -> Parity:
    """Compares a file with ``trained.sample`` at several N.

    Raises:
        RganError: they differ by more than rounding errors explain.
    """
    parts = []
    for seed, n in enumerate(sizes):
        made = run(same_noise(sampler, trained, n, seed))
        parts.append(compare(made, trained.sample(n, seed=seed), trained))
    total = sum(part.sequences for part in parts)
    worst = Parity(
        sequences=total,
        largest=max(part.largest for part in parts),
        stepped=max(part.stepped for part in parts),
        decided=sum(part.decided * part.sequences for part in parts) / total,
    )
    if not worst.holds:
        raise RganError(
            f"what was exported does not sample as the run does: {worst}",
            rule=f"at most {TOLERANCE:g}, {MOST_STEPPED:.1%} and {MOST_DECIDED:.0%}",
            reason="it would be another model; no file was written",
        )
    return worst


def compare(made: Mapping[str, NDArray[Any]], real: Sequences, trained: Trained) -> Parity:
    """How far a file's sequences are from ``Trained``'s."""
    ranges = trained.encoder.pipeline.ranges
    same_N = (made["observed"] == real.observed).all(axis=(1, 2)) & (
        made["lengths_out"] == real.lengths
    )
    labels = trained.encoder.packer.labels
    if "label_out" in made and isinstance(labels, ClassCondition) and real.labels is not None:
        same_N &= made["label_out"] == labels.indices(real.labels)
    rounding = trained.encoder.config.round
    pairs = [(made["values"], real.values, ranges.values)]
    if real.static is not None:
        coded = [column for column, span in enumerate(ranges.static) if span is None]
        same_N &= _equal(made["static"][:, coded], real.static[:, coded]).all(axis=1)
        same_N &= (np.isnan(made["static"]) == np.isnan(real.static)).all(axis=1)
        free = [column for column, span in enumerate(ranges.static) if span is not None]
        spans = tuple(span for span in ranges.static if span is not None)
        pairs.append((made["static"][:, free], real.static[:, free], spans))
    largest, stepped = 0.0, 0.0
    for ours, theirs, spans in pairs:
        for column, span in enumerate(spans):
            a, b = ours[same_N][..., column].ravel(), theirs[same_N][..., column].ravel()
            known = ~np.isnan(b)
            difference, flips = _apart(a[known], b[known], span, rounding)
            largest = max(largest, difference)
            stepped = max(stepped, max(0, flips - 1) / max(1, int(known.sum())))
    return Parity(len(real), largest, stepped, 1 - float(same_N.mean()))


def _apart(
    ours: NDArray[Any], theirs: NDArray[Any], span: Range, rounding: bool
) -> tuple[float, int]:
    """The largest difference as a share of the span, and how many are one rounding step apart."""
    if not len(theirs):
        return 0.0, 0
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    if not np.isfinite(a).all():
        return float("inf"), 0
    low, high, decimals = span
    width = float(np.ptp(b)) if low is None or high is None else high - low
    # Large numbers that differ little are told apart by float32 itself no better than this.
    grain = 4 * float(np.finfo(np.float32).eps) * float(np.abs(b).max())
    width = max(width, grain / TOLERANCE, 1e-30)
    apart, flips = np.abs(a - b), 0
    if rounding and decimals is not None:
        step = 10.0**-decimals
        beside = (apart > step / 2) & (apart < step * 1.5)
        apart, flips = np.where(beside, 0.0, apart), int(beside.sum())
    return float(apart.max()) / width, flips


def _equal(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)))


def torch_runner(data: bytes) -> Runner:
    """Runs a .pt2 archive."""
    module: Any = torch.export.load(io.BytesIO(data)).module()

    def run(inputs: Arrays) -> Mapping[str, NDArray[Any]]:
        with torch.no_grad():
            made = module(**{name: torch.from_numpy(a) for name, a in inputs.items()})
        return {name: tensor.numpy() for name, tensor in made.items()}

    return run


def onnx_runner(data: bytes) -> Runner | None:
    """Runs an ONNX model; None where onnxruntime is not installed."""
    try:
        import onnxruntime  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Arrays) -> Mapping[str, NDArray[Any]]:
        return dict(zip(names, session.run(names, inputs), strict=True))

    return run
