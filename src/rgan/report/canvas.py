"""The paper that figures are drawn on: one look, the same bytes every time, no global state.

Colours are Okabe and Ito's, which people with any common colour blindness tell apart: real data is
always blue, synthetic data always orange.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rgan.runs.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REAL = "#0072B2"
SYNTHETIC = "#D55E00"
THIRD, FOURTH, FIFTH, SIXTH = "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
INK, FAINT, GRID = "#222222", "#6B6B6B", "#E4E4E4"
MAX_FEATURES = 12  # more small pictures than this are not looked at

_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so that every machine has it
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "text.parse_math": False,  # a feature may be called "$x_1$"
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "axes.edgecolor": "#B0B0B0",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.2,
    "path.simplify": True,
}


class Canvas:
    """A white figure with this package's look, saved by ``save``.

    Use as ``with Canvas(7, 4) as canvas:``, so that the look holds while text is made and drawn.

    Args:
        width, height: in inches.
        title: stands at the top left, above everything.
        still: axes stand where ``margins`` puts them, whatever is drawn into them, as in the frames
            of a film; it saves half of the time. Otherwise everything gets the room that it needs.
    """

    def __init__(
        self, width: float, height: float, *, title: str = "", still: bool = False
    ) -> None:
        import matplotlib

        # matplotlib reads its look when text is made and when it is drawn
        self._look: Any = matplotlib.rc_context(_STYLE)  # type: ignore[arg-type, unused-ignore]
        self._size, self._title, self._still = (width, height), title, still
        self.figure: Figure

    def __enter__(self) -> Canvas:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._look.__enter__()
        layout: Any = "none" if self._still else "constrained"
        self.figure = Figure(figsize=self._size, dpi=144, facecolor="white", layout=layout)
        FigureCanvasAgg(self.figure)
        if self._title:
            self.figure.suptitle(
                self._title, x=0.01, ha="left", fontsize=11.5, fontweight="bold", color=INK
            )
        return self

    def __exit__(self, *error: object) -> None:
        self._look.__exit__(*error)

    def save(self, path: str | Path) -> Path:
        """Draws into a PNG, whole or not at all.

        Raises:
            RunError: the file cannot be written.
        """
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            # names in scripts that the font lacks are drawn as boxes
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
            self.figure.savefig(buffer, format="png", metadata={"Software": None})
        write_bytes(path, buffer.getvalue())
        return Path(path)

    def margins(self, left: float, right: float, bottom: float, top: float) -> None:
        """Where the axes of a still canvas begin and end, in inches from its edges."""
        width, height = self._size
        self.figure.subplots_adjust(
            left / width, bottom / height, 1 - right / width, 1 - top / height
        )

    def space(self, **pads: float) -> None:
        """Room around axes, in inches (``h_pad``, ``w_pad``) or as a share of their size."""
        engine: Any = self.figure.get_layout_engine()
        engine.set(**pads)

    def note(self, text: str) -> None:
        """A small remark at the bottom right."""
        self.figure.supxlabel(text, x=0.995, ha="right", fontsize=7.5, color=FAINT)

    def legend(self, *, real: bool, extra: Sequence[tuple[str, dict[str, Any]]] = ()) -> bool:
        """One key for the whole figure, at the top right: colours, then other marks.

        Args:
            real: whether real data is drawn at all.
            extra: label and the look of its line, such as ("mean", {"linewidth": 2}).

        Returns:
            Whether it lies at the bottom, as the title needs the line at the top.
        """
        from matplotlib.lines import Line2D

        entries: list[tuple[str, dict[str, Any]]] = []
        if real:
            entries.append(("real", {"color": REAL, "linewidth": 4}))
        entries += [("synthetic", {"color": SYNTHETIC, "linewidth": 4}), *extra]
        handles = [Line2D([], [], label=label, **look) for label, look in entries]
        # "outside" makes room for it: on the title's line, or below where the title needs the line
        wide = 0.1 * len(self._title) + sum(0.55 + 0.075 * len(label) for label, _ in entries)
        side = "upper" if wide < self._size[0] else "lower"
        place: Any = f"{'' if self._still else 'outside '}{side} right"
        self.figure.legend(
            handles=handles,
            loc=place,
            ncols=len(handles),
            handlelength=1.6,
            columnspacing=1.4,
            borderaxespad=0.3,
        )
        return side == "lower"


def pick_features(n_features: int, most: int = MAX_FEATURES) -> NDArray[np.int64]:
    """Which features to draw: all, or ``most`` spread evenly over them."""
    if n_features <= most:
        return np.arange(n_features)
    return np.unique(np.linspace(0, n_features - 1, most).round().astype(np.int64))


def left_out(n_features: int, most: int = MAX_FEATURES) -> str:
    """What to say when not every feature is drawn, "" when all are."""
    return "" if n_features <= most else f"{most} of {n_features} features"


def with_unit(name: str, unit: str) -> str:
    """ "heart rate [bpm]", or the name alone where there is no unit."""
    return f"{name} [{unit}]" if unit else name


def shorten(text: str, most: int = 28) -> str:
    """Text cut to ``most`` letters, with a sign that it was."""
    return text if len(text) <= most else text[: most - 1] + "…"


def grid(ax: Axes) -> None:
    """Faint lines across, so that heights can be read."""
    ax.grid(True, axis="y", color=GRID, linewidth=0.7)
    ax.tick_params(length=2.5, width=0.7)
