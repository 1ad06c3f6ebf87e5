"""The curve of the looks at similarity: the best, the convergence, and where training stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rgan.report.canvas import FAINT, REAL, SYNTHETIC, THIRD, Canvas, grid


def draw_similarity(
    curve: Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    metric: str,
    best: Mapping[str, Any] | None = None,
    converged: int | None = None,
    stopped: str = "",
) -> Path:
    """The metric over the steps of training.

    Args:
        curve: looks, each with "step" and "value".
        path: the PNG to write; its folder exists.
        metric: its name.
        best: "step" and "value" of the best checkpoint.
        converged: the step at which the metric first came near its best.
        stopped: why training was stopped early, or "".

    Raises:
        RunError: the file cannot be written.
    """
    steps, values = [look["step"] for look in curve], [look["value"] for look in curve]
    with Canvas(6.4, 3.3, title="Similarity to held-out sequences") as canvas:
        ax = canvas.figure.subplots()
        ax.plot(steps, values, color=SYNTHETIC, marker="o", markersize=3, label="looks")
        if best:
            ax.plot([best["step"]], [best["value"]], "*", color=THIRD, markersize=11,
                    label=f"best, step {best['step']:,}")  # fmt: skip
        if converged is not None:
            ax.axvline(converged, color=REAL, linewidth=1.0, linestyle="--",
                       label=f"within 5 % of its best, step {converged:,}")  # fmt: skip
        if stopped:
            ax.axvline(steps[-1], color=FAINT, linewidth=1.2, linestyle=":", label="stopped")
            canvas.note(f"stopped: {stopped}")
        grid(ax)
        ax.set_xlabel("generator step")
        ax.set_ylabel(metric)
        ax.legend(loc="upper right")
        return canvas.save(path)
