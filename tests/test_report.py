"""Figures, progress and TensorBoard: that they say what happened, and leave nothing behind."""

from __future__ import annotations

import io
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from rgan.errors import InputError, RunError
from rgan.layouts import ImageLayout
from rgan.report.board import Board
from rgan.report.comparison import autocorrelation
from rgan.report.figures import (
    draw_autocorrelation,
    draw_embedding,
    draw_losses,
    draw_marginals,
    draw_samples,
    make_gif,
)
from rgan.report.progress import PlainProgress, ProgressBar, make_progress
from rgan.report.verdict import Watcher, verdict
from rgan.sequences import Sequences
from rgan.train.events import Ended, EpochEnded, Event, Examined, Noted, Started, Stepped

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def _walks(n: int, seed: int, *, gaps: float = 0.3, features: int = 3) -> Sequences:
    """Random walks with gaps and different lengths."""
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.normal(size=(n, 24, features)), axis=1)
    return Sequences(
        values,
        observed=rng.random(values.shape) >= gaps,
        lengths=rng.integers(12, 25, n),
        feature_names=tuple(f"$wal_k {i}$" for i in range(features)),
        units=("bpm", "") + ("%",) * (features - 2),
        step=0.5,
        step_unit="h",
    )


def _pictures(n: int, *, channels: int = 1, labels: bool = True, order: Any = "rows") -> Sequences:
    layout = ImageLayout(8, 6, channels, order=order)
    images = np.random.default_rng(0).integers(0, 256, (n, 8, 6, channels))
    label = np.arange(n) % 3 if labels else None
    return Sequences(layout.to_sequences(images), labels=label, layout=layout)


def _colours(path: Path) -> set[tuple[int, ...]]:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    return set(map(tuple, np.unique(pixels, axis=0).tolist()))


DRAW = [draw_samples, draw_marginals, draw_autocorrelation, draw_embedding]


# -- figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", DRAW)
def test_a_figure_is_the_same_twice_and_shows_both_sides(tmp_path: Path, draw: Any) -> None:
    real, synthetic = _walks(30, 0), _walks(20, 1)
    draw(real, synthetic, tmp_path / "a.png")
    draw(real, synthetic, tmp_path / "b.png")
    draw(real, _walks(20, 2), tmp_path / "c.png")
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c
    assert {BLUE, ORANGE} <= _colours(tmp_path / "a.png")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize(
    "order,channels", [("rows", 1), ("columns", 3), ("pixels", 2), ("rows", 4)]
)
def test_images_of_any_kind(tmp_path: Path, draw: Any, order: Any, channels: int) -> None:
    pictures = _pictures(12, channels=channels, order=order)
    draw(pictures, pictures[:7], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 2000


@pytest.mark.parametrize("draw", DRAW)
def test_awkward_data(tmp_path: Path, draw: Any) -> None:
    """One sequence, one step, a constant, a feature nobody measured, names the font lacks."""
    one = Sequences(np.ones((1, 1, 1)), feature_names=("脈拍",))
    draw(one, one, tmp_path / "one.png")
    values = np.random.default_rng(0).normal(size=(9, 6, 14)).astype(np.float32)
    values[:, :, 0] = 37.0
    observed = np.ones(values.shape, dtype=bool)
    observed[:, :, 1] = False
    wide = Sequences(values, observed=observed)
    draw(wide, wide, tmp_path / "wide.png")
    wild = Sequences(values * 1e30, observed=observed)
    draw(wide, wild, tmp_path / "wild.png")
    assert len(list(tmp_path.iterdir())) == 3


def test_synthetic_alone_has_no_blue(tmp_path: Path) -> None:
    for name, sequences in (("series", _walks(9, 0)), ("images", _pictures(9))):
        draw_samples(None, sequences, tmp_path / f"{name}.png", title="epoch 3")
        assert BLUE not in _colours(tmp_path / f"{name}.png")
    assert ORANGE in _colours(tmp_path / "series.png")


def test_tiles_show_the_very_pixels(tmp_path: Path) -> None:
    layout = ImageLayout(2, 2, 3)
    image = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]])
    draw_samples(
        None, Sequences(layout.to_sequences(image[None]), layout=layout), tmp_path / "a.png"
    )
    assert set(map(tuple, image.reshape(-1, 3).tolist())) <= _colours(tmp_path / "a.png")


def test_no_global_state_is_left(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw_samples(_walks(5, 0), _walks(5, 1), tmp_path / "a.png")
    with pytest.raises(RunError):
        draw_samples(_walks(5, 0), _walks(5, 1), tmp_path / "none" / "a.png")
    assert dict(matplotlib.rcParams) == before


def test_drawing_needs_no_pyplot(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from rgan.report.figures import draw_samples\n"
        "from rgan.sequences import Sequences\n"
        "assert 'matplotlib' not in sys.modules and 'torch' not in sys.modules\n"
        "draw_samples(None, Sequences(np.zeros((3, 4, 1))), sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], check=True, timeout=120)


def test_autocorrelation_is_right_with_gaps() -> None:
    rng = np.random.default_rng(0)
    values = np.zeros((3000, 16))
    values[:, 0] = rng.normal(size=3000)
    for t in range(1, 16):
        values[:, t] = 0.8 * values[:, t - 1] + 0.6 * rng.normal(size=3000)
    for share in (1.0, 0.5):
        observed = rng.random((3000, 16, 1)) < share
        rho = autocorrelation(Sequences(values[:, :, None], observed=observed), 0)
        assert rho[0] == pytest.approx(1.0)
        np.testing.assert_allclose(rho, 0.8 ** np.arange(len(rho)), atol=0.03)
    sparse = rng.random((3000, 16, 1)) < 0.01
    rho = autocorrelation(Sequences(values[:, :, None], observed=sparse), 0)
    assert np.isnan(rho[1:]).all()


def test_a_border_pixel_lit_once_does_not_rule_the_plane() -> None:
    from rgan.report.embedding import _flatten, _pca

    layout = ImageLayout(4, 4)
    images = np.zeros((200, 4, 4, 1))
    images[:100, 1:3, 1:3] = 255.0
    images[0, 0, 0] = 20.0
    pictures = Sequences(layout.to_sequences(images), layout=layout)
    places, labels = _pca(*_flatten(pictures, pictures))
    assert labels[0].startswith("component 1: 100%")
    assert np.abs(places[100] - places[300]).max() == 0.0


def test_losses_with_what_histories_hold(tmp_path: Path) -> None:
    epochs: list[dict[str, Any]] = [
        EpochEnded(10 * i, i, {"generator": 1 / i, "critic": 0.5, "r1": 0.1}).as_dict()
        for i in range(1, 9)
    ]
    epochs[3]["losses"]["generator"] = None
    epochs[4]["losses"] = {}
    started = Started(0, 0).as_dict()
    draw_losses([started, *epochs[:5], Started(50, 5).as_dict(), *epochs[5:]], tmp_path / "a.png")
    draw_losses([started, *epochs], tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
    assert {BLUE, ORANGE} <= _colours(tmp_path / "a.png")
    draw_losses([Stepped(1, 0, {"critic": 0.4}).as_dict()], tmp_path / "c.png")
    assert BLUE in _colours(tmp_path / "c.png")
    draw_losses([], tmp_path / "d.png")
    assert BLUE not in _colours(tmp_path / "d.png")


def test_a_film_of_pictures_of_different_sizes(tmp_path: Path) -> None:
    paths = []
    for index, size in enumerate([(20, 10), (30, 40), (10, 10)]):
        paths.append(tmp_path / f"{index}.png")
        Image.new("RGB", size, (80 * index, 0, 0)).save(paths[-1])
    make_gif(paths, tmp_path / "film.gif", seconds=0.2, hold=1.0)
    with Image.open(tmp_path / "film.gif") as film:
        assert (film.n_frames, film.size) == (3, (30, 40))  # type: ignore[attr-defined]
        assert film.info["duration"] == 200
    with pytest.raises(InputError, match="no pictures"):
        make_gif([], tmp_path / "none.gif")
    (tmp_path / "bad.png").write_bytes(b"no")
    with pytest.raises(InputError, match=r"bad\.png"):
        make_gif([tmp_path / "bad.png"], tmp_path / "none.gif")
    assert not (tmp_path / "none.gif").exists()


# -- progress --------------------------------------------------------------------------------


def _training(steps: int = 20) -> list[Event]:
    events: list[Event] = [
        Started(0, 0, steps, 10, 320, {"generator": 1200, "critic": 900}, "cpu"),
    ]
    for step in range(1, steps + 1):
        losses = {"generator": 0.6931, "critic": math.nan if step == 3 else 1.25, "r1": 0.01}
        events.append(Stepped(step, step // 10, losses))
        if step % 10 == 0:
            events.append(EpochEnded(step, step // 10, losses, {"generator": 1e-3}, 0.5, 640.0))
    return [*events, Ended(steps, steps // 10, "finished", "", 75.0)]


def _terminal() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=True, width=120, color_system=None), out


def test_the_bar_says_how_it_goes_and_gives_the_terminal_back() -> None:
    console, out = _terminal()
    with make_progress(console=console) as progress:
        assert isinstance(progress, ProgressBar)
        for event in _training():
            progress(event)
    progress.close()
    text = out.getvalue()
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "epoch 2" in last and "20/20" in last and "G 0.693 C 1.25" in last
    assert "640 seq/s" in last and "r1" not in last
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is shown again


def test_the_bar_gives_the_terminal_back_after_an_error() -> None:
    console, out = _terminal()
    with pytest.raises(ZeroDivisionError), make_progress(console=console) as progress:
        for event in _training()[:5]:
            progress(event)
        raise ZeroDivisionError
    assert out.getvalue().rindex("\x1b[?25h") > out.getvalue().rindex("\x1b[?25l")
    assert console._live_stack == []


def test_a_resumed_bar_starts_where_it_was() -> None:
    console, out = _terminal()
    progress = ProgressBar(console)
    progress(Started(500, 5, 1000, 100, 320))
    progress.close()
    assert "500/1000" in out.getvalue()
    progress(Stepped(501, 5, {}))  # a late event does no harm


def test_without_a_terminal_there_are_plain_lines_now_and_then() -> None:
    out = io.StringIO()
    progress = make_progress(console=Console(file=out, force_terminal=False, width=40))
    assert isinstance(progress, PlainProgress)
    for event in _training():
        progress(event)
    lines = out.getvalue().splitlines()
    assert lines == [
        "step 0 of 20: 320 sequences on cpu, parameters: generator 1,200, critic 900",
        "finished at step 20, epoch 2, after 1 min 15 s",
    ]
    often = PlainProgress(Console(file=out, force_terminal=False, width=40), every=0.0)
    for event in _training():
        often(event)
    assert any(
        re.match(r"epoch 0, step 3 of 20: generator 0.693 critic nan, [\d,]+ sequences/s", line)
        for line in out.getvalue().splitlines()
    )
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ((0.75, 0.9), "balanced"),
        ((0.94, 0.9), "critic ahead (accuracy .94)"),
        ((1.0, 0.9), "critic ahead (accuracy 1.00)"),
        ((0.5, 0.9), "critic behind (accuracy .50)"),
        ((0.75, 0.1), "samples alike (10% of the real diversity)"),
        ((0.95, 0.9, 1.6, 1.6), "critic ahead (accuracy .95), g-factor 1.6"),
        ((0.75, 0.9, 0.6, 0.5), "balanced, g-factor raised to 0.6"),
        ((0.5, 0.9, 0.25, 1.0), "critic behind (accuracy .50), g-factor lowered to 0.25"),
        ((0.75, 0.9, 1.01, 1.0), "balanced"),
        ((0.75, 0.9, math.inf, 1.0), "balanced"),
        ((0.75, 0.9, 1.0, 1.0, 0.2), "samples keep to about 5 modes"),
        ((0.75, 0.1, 1.0, 1.0, 0.2), "samples alike (10% of the real diversity)"),
    ],
)
def test_the_balance_in_words(seen: tuple[float, ...], words: str) -> None:
    assert verdict(*seen) == words


def test_one_batch_does_not_change_the_verdict_but_several_do() -> None:
    watcher = Watcher()
    assert watcher.words == ""
    for accuracy in [0.75] * 5 + [1.0]:
        watcher(Examined(10, 1, accuracy=accuracy, diversity=0.9))
    watcher(Examined(20, 1, accuracy=math.nan))
    assert watcher.words == "balanced"
    for _ in range(10):
        watcher(Examined(30, 1, accuracy=1.0, diversity=0.9))
    assert watcher.words.startswith("critic ahead")
    for _ in range(10):
        watcher(Examined(40, 1, accuracy=0.75, diversity=0.9, twins=0.25))
    assert watcher.words == "samples keep to about 4 modes"
    watcher(Started(0, 0))
    assert watcher.words == ""


def _steered() -> list[Event]:
    """The g-factor goes from 1 to 1.6, while the critic is ahead; then a note."""
    rates = [{"generator": 0.001 * factor, "critic": 0.001} for factor in (1.0, 1.3, 1.6)]
    steps = [Stepped(i + 1, 0, {"critic": 0.1}, rate) for i, rate in enumerate(rates)]
    seen = Examined(1, 0, accuracy=0.97, diversity=0.8)
    return [Started(0, 0, 20, 10, 320), seen, *steps, Noted(3, 0, "collapse: all alike")]


def test_bar_and_lines_judge_the_balance_and_pass_on_notes() -> None:
    words = "critic ahead (accuracy .97), g-factor raised to 1.6"
    console, out = _terminal()
    with ProgressBar(console, every=0.0) as bar:
        for event in _steered():
            bar(event)
    assert words in out.getvalue() and "step 3: collapse: all alike" in out.getvalue()
    plain = io.StringIO()
    lines = PlainProgress(Console(file=plain, force_terminal=False, width=40), every=0.0)
    for event in _steered():
        lines(event)
    *_, step, note = plain.getvalue().splitlines()
    assert step.startswith("epoch 0, step 3 of 20") and step.endswith(f"; {words}")
    assert note == "step 3: collapse: all alike"


def test_quiet_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    console, out = _terminal()
    with make_progress(quiet=True, console=console) as progress:
        for event in _training():
            progress(event)
    assert out.getvalue() == "" and capfd.readouterr() == ("", "")


# -- TensorBoard -----------------------------------------------------------------------------


def _read_board(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def test_tensorboard_finds_what_was_written(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10), (9, 9, 9)).save(tmp_path / "a.png")
    with Board(tmp_path / "board", every=5) as board:
        for event in _training():
            board(event)
        board.images("samples", tmp_path / "a.png", 20)
        board.images("tile", np.zeros((4, 4), dtype=np.uint8), 20)
    found = _read_board(tmp_path / "board")
    assert {"loss/generator", "loss/r1", "rate/generator", "step/critic"} <= set(
        found.Tags()["scalars"]
    )
    assert set(found.Tags()["images"]) == {"samples", "tile"}
    assert [(s.step, round(s.value, 4)) for s in found.Scalars("loss/generator")] == [
        (10, 0.6931),
        (20, 0.6931),
    ]
    assert [s.step for s in found.Scalars("step/generator")] == [5, 10, 15, 20]
    assert found.Images("samples")[0].width == 20


def test_a_resume_hides_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    with Board(tmp_path) as board:
        for event in _training(30):
            board(event)
    with Board(tmp_path) as board:
        board(Started(10, 1, 30, 10, 320))
        board(EpochEnded(20, 2, {"generator": 9.0}))
    steps = [(s.step, round(s.value, 2)) for s in _read_board(tmp_path).Scalars("loss/generator")]
    assert steps == [(10, 0.69), (20, 9.0)]


def test_a_board_without_events_writes_nothing(tmp_path: Path) -> None:
    Board(tmp_path / "board").close()
    with pytest.raises(InputError, match=r"none\.png"):
        Board(tmp_path / "board").images("x", tmp_path / "none.png", 0)
    assert not (tmp_path / "board").exists()


def test_single_real_sequences_stay_away_where_they_may_not_be_shown(tmp_path: Path) -> None:
    """Values shuffled between sequences, step by step, keep each band and no sequence: a picture
    that does not change shows no single one."""
    random = np.random.default_rng(0)
    values = random.normal(size=(40, 12, 2)).cumsum(axis=1)
    mixed = values.copy()
    for step in range(12):
        mixed[:, step] = values[random.permutation(40), step]
    real, shuffled = Sequences(values), Sequences(mixed)
    synthetic = Sequences(random.normal(size=(40, 12, 2)).cumsum(axis=1))

    def picture(data: Sequences, singles: bool) -> bytes:
        path = draw_samples(data, synthetic, tmp_path / "samples.png", singles=singles)
        return path.read_bytes()

    assert picture(real, False) == picture(shuffled, False)
    assert picture(real, True) != picture(shuffled, True)
    path = draw_embedding(real, synthetic, tmp_path / "embedding.png", singles=False)
    assert path.read_bytes() != draw_embedding(real, synthetic, path).read_bytes()


def test_real_images_stay_away_where_they_may_not_be_shown(tmp_path: Path) -> None:
    layout = ImageLayout(8, 8, 1)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 10, 8, 8)).astype(float)
    one, other = (Sequences(part, layout=layout) for part in pixels)
    alone = draw_samples(None, one, tmp_path / "alone.png").read_bytes()
    assert draw_samples(other, one, tmp_path / "hidden.png", singles=False).read_bytes() == alone
    assert draw_samples(other, one, tmp_path / "shown.png").read_bytes() != alone
