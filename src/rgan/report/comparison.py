"""Figures that lay real and synthetic data over each other.

Shape letters: N sequences, T steps, F features, L lags, H, W, C of an image.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rgan.layouts import ImageLayout
from rgan.report.canvas import (
    FAINT,
    INK,
    REAL,
    SYNTHETIC,
    Canvas,
    grid,
    left_out,
    pick_features,
    shorten,
    with_unit,
)
from rgan.sequences import Sequences

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDES = (REAL, SYNTHETIC)
_FEW_PAIRS = 50  # below this many pairs of values a correlation is noise


def draw_marginals(
    real: Sequences, synthetic: Sequences, path: str | Path, *, title: str = "Values"
) -> Path:
    """How often each value occurs, per feature; for images over all pixels, with mean and spread.

    Args:
        real, synthetic: sequences of the same features, in the same units.
        path: the PNG to write.
        title: stands above everything.

    Raises:
        RunError: the file cannot be written.
    """
    if real.is_image and synthetic.is_image:
        return _draw_pixel_marginals(real, synthetic, path, title)
    features = pick_features(real.n_features)
    with _panels(len(features), title, real.n_features) as canvas:
        for ax, feature in zip(_axes(canvas, len(features)), features, strict=True):
            sides = [s.values[:, :, feature][s.observed[:, :, feature]] for s in (real, synthetic)]
            _draw_histogram(ax, sides)
            label = with_unit(real.feature_names[feature], real.units[feature])
            ax.set_title(shorten(label, 32), fontweight="bold")
        canvas.note("values beyond an axis are counted at its end")
        return canvas.save(path)


def draw_autocorrelation(
    real: Sequences, synthetic: Sequences, path: str | Path, *, title: str = "Autocorrelation"
) -> Path:
    """How much a value tells about the value some steps later, per feature.

    ρ(l) = Σ (x_t - μ)(x_{t+l} - μ) / √(Σ (x_t - μ)² · Σ (x_{t+l} - μ)²), summed over
    all sequences and steps where both values were measured; μ is the feature's mean.

    Args:
        real, synthetic: sequences of the same features and step.
        path: the PNG to write.
        title: stands above everything.

    Raises:
        RunError: the file cannot be written.
    """
    features = pick_features(real.n_features)
    with _panels(len(features), title, real.n_features) as canvas:
        axes = _axes(canvas, len(features))
        lag = "lag" + (f" [{real.step_unit}]" if real.step_unit != "step" else " [steps]")
        for ax, feature in zip(axes, features, strict=True):
            grid(ax)
            ax.axhline(0.0, color=FAINT, linewidth=0.8)
            for sequences, colour in zip((real, synthetic), _SIDES, strict=True):
                rho_L = autocorrelation(sequences, int(feature))
                ax.plot(np.arange(len(rho_L)) * sequences.step, rho_L, color=colour, linewidth=1.6)
            ax.set_ylim(min(-0.1, ax.get_ylim()[0]), 1.05)
            ax.margins(x=0.01)
            ax.set_title(shorten(real.feature_names[feature]), fontweight="bold")
            ax.set_xlabel(lag)
        return canvas.save(path)


def autocorrelation(sequences: Sequences, feature: int) -> NDArray[np.float64]:
    """ρ(l) (L,) for l = 0 to half the steps; NaN where too few pairs were measured."""
    seen_NT = sequences.observed[:, :, feature]
    values_NT = sequences.values[:, :, feature].astype(np.float64)
    known = values_NT[seen_NT]
    lags = max(1, sequences.n_steps // 2) + (sequences.n_steps > 1)
    rho_L = np.full(lags, np.nan)
    if len(known) < 2 or known.std() == 0.0:
        return rho_L
    score_NT = (values_NT - known.mean()) / known.std()
    for lag in range(lags):
        end = sequences.n_steps - lag
        both = seen_NT[:, :end] & seen_NT[:, lag:]
        now, then = score_NT[:, :end][both], score_NT[:, lag:][both]
        size = float(np.sqrt((now**2).sum() * (then**2).sum()))
        if len(now) >= min(_FEW_PAIRS, len(sequences)) and size > 0.0:
            rho_L[lag] = float((now * then).sum()) / size
    return rho_L


# -- panels --------------------------------------------------------------------------------------


def _columns(panels: int) -> int:
    return panels if panels <= 3 else 3 if panels in (5, 6, 9) else 4


def _panels(panels: int, title: str, n_features: int) -> Canvas:
    note = left_out(n_features)
    heading = f"{title}  ·  {note}" if note else title
    columns = _columns(panels)
    return Canvas(max(5.0, 2.3 * columns), 1.7 * -(-panels // columns) + 0.6, title=heading)


def _axes(canvas: Canvas, panels: int) -> list[Axes]:
    canvas.legend(real=True)
    canvas.space(h_pad=0.07, w_pad=0.06)
    columns = _columns(panels)
    axes = canvas.figure.subplots(-(-panels // columns), columns, squeeze=False).ravel().tolist()
    for ax in axes[panels:]:
        ax.set_axis_off()
    return list(axes[:panels])


def _draw_histogram(
    ax: Axes, sides: list[NDArray[np.float32]], edges: NDArray[np.float64] | None = None
) -> None:
    """Real filled, synthetic as an outline, over bins that the real values set."""
    from matplotlib.ticker import MaxNLocator

    if edges is None:
        edges = _bin_edges(*sides)
    for values, colour in zip(sides, _SIDES, strict=True):
        if len(values):
            inside = np.clip(values, edges[0], edges[-1])  # what lies beyond counts at the edge
            share = np.histogram(inside, edges)[0] / len(values)
            filled = colour == REAL
            ax.stairs(
                share, edges, fill=filled, color=colour, alpha=0.45 if filled else 1.0, lw=1.5
            )
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.tick_params(length=2.5, width=0.7)
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.margins(x=0.02)


def _bin_edges(real: NDArray[np.float32], synthetic: NDArray[np.float32]) -> NDArray[np.float64]:
    values = (real if len(real) else synthetic).astype(np.float64)
    if not len(values):
        return np.linspace(0.0, 1.0, 2)
    low, high = np.percentile(values, (0.5, 99.5))
    margin = 0.08 * (high - low) or 1e-6 + 0.5 * abs(high)
    low, high = max(low - margin, values.min()), min(high + margin, values.max())
    for grain in (1.0, 0.1, 0.01):  # values noted to so many digits: a bin holds as many of each
        off_grain = np.abs(values / grain - np.round(values / grain))
        if (off_grain < 0.02).mean() > 0.9 and high - low >= 3 * grain:
            width = grain * max(1, np.ceil((high - low) / grain / 40))
            first = np.round(low / grain) * grain - grain / 2
            return first + width * np.arange(np.ceil((high + grain / 2 - first) / width) + 1)
    return np.linspace(low, high, 41) if high > low else np.array([low - 0.5, high + 0.5])


def _over_images(images_NHW: NDArray[np.float32], what: str) -> NDArray[np.float64]:
    """(H, W): each pixel's mean or standard deviation, 0 where it was never measured."""
    seen_HW = np.maximum(1, (~np.isnan(images_NHW)).sum(axis=0))
    mean_HW = np.nansum(images_NHW, axis=0, dtype=np.float64) / seen_HW
    if what == "mean":
        return np.asarray(mean_HW)
    return np.asarray(np.sqrt(np.nansum((images_NHW - mean_HW) ** 2, axis=0) / seen_HW))


def _draw_pixel_marginals(
    real: Sequences, synthetic: Sequences, path: str | Path, title: str
) -> Path:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    with Canvas(9.0, 2.6, title=title) as canvas:
        canvas.legend(real=True)
        axes = canvas.figure.subplots(1, 5, width_ratios=[2, 1, 1, 1, 1])
        sides = [s.values[s.observed] for s in (real, synthetic)]
        assert isinstance(real.layout, ImageLayout)
        _draw_histogram(axes[0], sides, np.linspace(real.layout.low, real.layout.high, 33))
        axes[0].set(xlabel="pixel value")
        axes[0].set_ylabel("share of pixels (log)")
        axes[0].set_yscale("log")
        axes[0].yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.4g}"))
        axes[0].yaxis.set_minor_formatter(NullFormatter())
        axes[0].spines["left"].set_visible(True)
        pictures = [s.to_images()[..., 0] for s in (real, synthetic)]
        for offset, what in enumerate(("mean", "deviation")):
            maps = [_over_images(picture, what) for picture in pictures]
            for side, (image, colour) in enumerate(zip(maps, _SIDES, strict=True)):
                ax = axes[1 + 2 * offset + side]
                ax.imshow(image, cmap="gray", vmin=0.0, vmax=max(float(maps[0].max()), 1e-6))
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set(visible=True, color=colour, linewidth=1.5)
                ax.set_title(what, color=INK)
        return canvas.save(path)
