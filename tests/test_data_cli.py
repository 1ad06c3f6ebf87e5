"""``rgan data list`` and ``rgan data show``: what they print and what they draw."""

import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from rgan.cli.data import app
from rgan.data.sources import SOURCES
from rgan.errors import ConfigError, InputError, SourceError
from rgan.layouts import ImageLayout
from rgan.report.pictures import draw_sequences
from rgan.report.show import describe_text
from rgan.sequences import Sequences, Static


def invoke(*arguments):
    """The command's output; what it raised is raised here."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def read_png(path):
    from PIL import Image

    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def colours(pixels):
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


# -- list ------------------------------------------------------------------------------------


def test_list_names_every_source(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("RGAN_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "140")
    lines = invoke("list").splitlines()
    for source in SOURCES.values():
        (line,) = [text for text in lines if text.split()[:1] == [source.name]]
        assert source.summary in line and source.shape in line and source.licence in line
        kinds = ("local", "to download") if source.kind == "download" else (source.kind,)
        assert line.rstrip().endswith(kinds)


def test_list_loads_no_torch():
    code = (
        "import sys; from rgan.cli.data import app; app(['list'], standalone_mode=False); "
        "print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "[]"


def test_list_refuses_a_data_folder_that_is_not_there():
    with pytest.raises(SourceError, match="/no/such"):
        invoke("list", "--data-dir", "/no/such")


# -- show ------------------------------------------------------------------------------------


def test_show_icu(tmp_path):
    output = invoke("show", "icu", "--png", str(tmp_path / "icu.png"))
    for part in ("2,000 sequences x 48 steps x 20 features", "SysBP", "mmHg", "died", "14.0 %"):
        assert part in output
    assert "female" in output and "cardiac surgery recovery" in output
    assert colours(read_png(tmp_path / "icu.png")) > 200
    assert colours(read_png(tmp_path / "icu-overview.png")) > 200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["icu-overview.png", "icu.png"]


def test_show_draws_into_the_current_folder_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    invoke("show", "digits", "--no-png", "--size", "4")
    assert not list(tmp_path.iterdir())
    assert "data-digits.png" in invoke("show", "digits")
    assert [path.name for path in tmp_path.iterdir()] == ["data-digits.png"]


def test_show_reads_a_file_of_ones_own(tmp_path):
    values = np.random.default_rng(0).normal(size=(12, 9, 2)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", values=values)
    output = invoke("show", str(tmp_path / "mine.npz"), "--png", str(tmp_path / "mine.png"))
    assert "12 sequences x 9 steps x 2 features" in output
    read_png(tmp_path / "mine.png")


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["icuu"], SourceError, 'did you mean "icu"'),
        (["icu", "--size", "28"], ConfigError, "is not images"),
        (["digits", "--layout", "row"], ConfigError, 'did you mean "rows"'),
        (["digits", "--nan", "maybe"], ConfigError, "data.nan is 'maybe'"),
        (["digits", "--max-sequences", "-2"], ConfigError, "max_sequences is -2"),
        (["sines", "--png", "picture.jpg"], InputError, "it ends in .png"),
        (["sines", "--png", "/no/such/folder/x.png"], InputError, "is not a folder"),
    ],
)
def test_show_errors(arguments, error, says):
    with pytest.raises(error) as caught:
        invoke("show", *arguments)
    assert says in caught.value.message


# -- the text --------------------------------------------------------------------------------


def small(**fields):
    values = np.array([[[1.0, 10.0], [2.0, 0.0]], [[3.0, 0.0], [0.0, 0.0]]])
    observed = np.array([[[1, 1], [1, 0]], [[1, 0], [1, 1]]], dtype=bool)
    return Sequences(values, observed=observed, lengths=np.array([2, 1]), name="small", **fields)


def row(text, name):
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
    return line.split()


def test_text_counts_what_is_observed_within_the_lengths():
    text = describe_text(small(labels=np.array(["a", "b"]), subjects=np.array([5, 5])))
    assert "lengths  1 to 2" in text and "observed 66.7 %" in text
    assert row(text, "x0") == ["x0", "100", "%", "1", "1.1", "2", "2.9", "3"]
    assert row(text, "x1")[1:4] == ["33.3", "%", "10"]
    assert row(text, "a") == ["a", "1", "50.0", "%"]
    assert "subjects 1, up to 2 sequences each" in text


def test_text_of_static_and_continuous_labels():
    info = (Static("age", unit="years"), Static("sex", "binary", ("f", "m")))
    static = np.array([[30.0, 1.0], [np.nan, 0.0]])
    text = describe_text(small(static=static, static_info=info, labels=np.array([0.5, 1.5])))
    assert "30 to 30, median 30 years" in text and "f 50.0 %, m 50.0 %" in text
    assert row(text, "age")[1:3] == ["50.0", "%"]
    assert row(text, "0.5") == ["0.5", "0.55", "1", "1.45", "1.5"]


def test_text_of_a_feature_never_observed():
    s = small()
    observed = s.observed.copy()
    observed[:, :, 1] = False
    text = describe_text(Sequences(s.values, observed=observed, lengths=s.lengths))
    assert row(text, "x1") == ["x1", "0", "%", "-", "-", "-", "-", "-"]


# -- the pictures ----------------------------------------------------------------------------


def test_images_appear_as_they_are(tmp_path):
    """White images give a bright sheet and black ones a dark one: pixels reach the picture."""
    means = []
    for level in (0, 255):
        layout = ImageLayout(6, 4, order="columns")
        values = np.full((200, *layout.shape), level)
        path = draw_sequences(Sequences(values, layout=layout), tmp_path / f"{level}.png")
        means.append(read_png(path)[100:-60, 60:-60].mean())
    assert means[0] < 90 and means[1] > 240


def test_colour_images_keep_their_colour(tmp_path):
    layout = ImageLayout(5, 5, channels=3)
    images = np.zeros((130, 5, 5, 3))
    images[..., 0] = 255
    sequences = Sequences(layout.to_sequences(images), layout=layout)
    pixels = read_png(draw_sequences(sequences, tmp_path / "red.png"))
    assert (pixels == [255, 0, 0]).all(axis=2).mean() > 0.5


def test_gaps_are_grey_and_values_are_not(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 20, 2))
    observed = np.ones(values.shape, dtype=bool)
    observed[:, :, 1] = False
    observed[0, 0, 1] = True
    pixels = read_png(draw_sequences(Sequences(values, observed=observed), tmp_path / "gaps.png"))
    grey = (pixels == round(0.82 * 255)).all(axis=2)
    half = pixels.shape[1] // 2
    assert grey[:, half:].mean() > 0.5 and grey[:, :half].mean() < 0.01


@pytest.mark.parametrize(("n", "features"), [(1, 1), (1, 3), (7, 1), (7, 30), (500, 3)])
def test_any_number_of_rows_and_features(tmp_path, n, features):
    rng = np.random.default_rng(n)
    values = rng.normal(size=(n, 5, features))
    values[:, :, 0] = 3.0  # constant, and still drawn
    labels = np.arange(n) % 3 if n > 3 else None
    sequences = Sequences(values, labels=labels, lengths=rng.integers(1, 6, size=n))
    pixels = read_png(draw_sequences(sequences, tmp_path / "x.png", dpi=40))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10  # no empty page


def test_the_same_data_give_the_same_picture(tmp_path):
    sequences = Sequences(np.random.default_rng(0).normal(size=(300, 8, 2)))
    a = read_png(draw_sequences(sequences, tmp_path / "a.png", dpi=50))
    b = read_png(draw_sequences(sequences, tmp_path / "b.png", dpi=50))
    assert np.array_equal(a, b)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "x.png").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        draw_sequences(small(), tmp_path / "x.png")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
