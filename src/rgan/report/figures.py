"""The figures of a run: samples, comparisons of real with synthetic data, losses, and a film."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rgan.errors import InputError
from rgan.report.canvas import (
    FAINT,
    FIFTH,
    FOURTH,
    MAX_FEATURES,
    REAL,
    SIXTH,
    SYNTHETIC,
    THIRD,
    Canvas,
    grid,
)
from rgan.report.comparison import draw_autocorrelation, draw_marginals
from rgan.report.embedding import draw_embedding
from rgan.report.images import draw_image_samples
from rgan.report.series import draw_series_samples
from rgan.runs.atomic import write_bytes
from rgan.sequences import Sequences

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "draw_autocorrelation",
    "draw_embedding",
    "draw_losses",
    "draw_marginals",
    "draw_samples",
    "make_gif",
]

_COLOURS = {"generator": SYNTHETIC, "critic": REAL}
_OTHER_COLOURS = (THIRD, FOURTH, FIFTH, SIXTH)


def draw_samples(
    real: Sequences | None,
    synthetic: Sequences,
    path: str | Path,
    *,
    title: str = "",
    most: int = MAX_FEATURES,
    singles: bool = True,
    still: bool = False,
) -> Path:
    """Samples, beside real data where it is given: grids of tiles for images, curves for series.

    The picture depends on the data alone, byte for byte.

    Args:
        real: real sequences in original units, or None.
        synthetic: sequences of the same features, in original units.
        path: the PNG to write; its folder exists.
        title: stands above everything.
        most: how many features to draw where they are series: fewer are drawn faster.
        singles: whether single real sequences may be shown. If not, the real side of series shows
            bands and means only, and that of images stays away.
        still: the panels of series stand at the same place in every picture of the same features,
            which is faster, and right for a film.

    Returns:
        The path.

    Raises:
        RunError: the file cannot be written.
    """
    if synthetic.is_image and (real is None or real.is_image):
        return draw_image_samples(real if singles else None, synthetic, path, title=title)
    return draw_series_samples(
        real, synthetic, path, title=title, most=most, singles=singles, still=still
    )


def draw_losses(
    history: Sequence[Mapping[str, Any]], path: str | Path, *, title: str = "Losses"
) -> Path:
    """Losses over the steps of training, penalties in a panel of their own.

    Args:
        history: events as ``History.read`` gives them; epochs are drawn, or single steps where no
            epoch is complete; a dotted line stands where training was resumed.
        path: the PNG to write; its folder exists.
        title: stands above everything.

    Raises:
        RunError: the file cannot be written.
    """
    kind = "epoch" if any(event.get("event") == "epoch" for event in history) else "step"
    events = [event for event in history if event.get("event") == kind]
    names = list(dict.fromkeys(name for event in events for name in event.get("losses", {})))
    networks = [name for name in names if name in _COLOURS]
    others = [name for name in names if name not in _COLOURS]
    groups = [group for group in (networks, others) if group] or [[]]
    resumed = [event["step"] for event in history if event.get("event") == "started"][1:]
    with Canvas(4.2 * len(groups) + 1.0, 3.3, title=title) as canvas:
        axes = canvas.figure.subplots(1, len(groups), squeeze=False)[0]
        for ax, group in zip(axes, groups, strict=True):
            _draw_curves(ax, events, group)
            for step in resumed:
                ax.axvline(step, color=FAINT, linewidth=1.0, linestyle=":")
            ax.set_xlabel("generator step")
        axes[0].set_ylabel("loss, mean of the epoch" if kind == "epoch" else "loss")
        return canvas.save(path)


def _draw_curves(ax: Axes, events: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    grid(ax)
    step = np.array([event["step"] for event in events], dtype=np.float64)
    for index, name in enumerate(names):
        found = [event.get("losses", {}).get(name) for event in events]
        values = np.array([np.nan if value is None else value for value in found], dtype=np.float64)
        colour = _COLOURS.get(name, _OTHER_COLOURS[index % len(_OTHER_COLOURS)])
        marker = "o" if len(step) <= 3 else ""
        ax.plot(step, values, color=colour, linewidth=1.5, label=name, marker=marker, markersize=3)
    if names:
        ax.legend(loc="best", handlelength=1.4)
    else:
        ax.set(xticks=[], yticks=[])
        ax.text(0.5, 0.5, "nothing was trained yet", transform=ax.transAxes, ha="center")
    ax.margins(x=0.01)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def make_gif(
    png_paths: Sequence[str | Path], path: str | Path, *, seconds: float = 0.35, hold: float = 2.0
) -> Path:
    """Pictures, in turn, as one film that repeats for ever.

    Args:
        png_paths: the pictures; smaller ones stand on white at the top left.
        path: the GIF to write; its folder exists.
        seconds: how long each picture stays.
        hold: how long the last one stays, in seconds.

    Raises:
        InputError: there are no pictures, or one cannot be read.
        RunError: the file cannot be written.
    """
    from PIL import Image

    if not png_paths:
        raise InputError("there are no pictures to make a film of", rule="at least one picture")
    pictures: list[Image.Image] = []
    for png in png_paths:
        try:
            with Image.open(png) as file:
                pictures.append(file.convert("RGB"))
        except OSError as error:
            raise InputError(f'"{png}" is not a picture that can be read: {error}') from error
    size = (max(p.width for p in pictures), max(p.height for p in pictures))
    frames = []
    for picture in pictures:
        sheet = Image.new("RGB", size, "white")
        sheet.paste(picture)
        frames.append(
            sheet.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        )
    stay = [round(1000 * seconds)] * (len(frames) - 1) + [round(1000 * hold)]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=stay,
        loop=0,
    )
    write_bytes(path, buffer.getvalue())
    return Path(path)
