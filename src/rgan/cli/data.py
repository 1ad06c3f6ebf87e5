"""``rgan data``: which sources there are, and what one looks like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rgan.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rgan.sequences import Sequences

app = typer.Typer(
    no_args_is_help=True, help="List the built-in data sources, or show what a source holds."
)


@app.command("list")
def list_sources(
    data_dir: Annotated[
        str, typer.Option(help="Folder with local copies; else the variable RGAN_DATA.")
    ] = "",
) -> None:
    """List the built-in sources: what they are, their shape, licence, and where they lie."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from rgan.data.builtin_files import where
    from rgan.data.download import data_folder
    from rgan.data.sources import SOURCES

    if data_dir:
        data_folder(data_dir)  # refuses a folder that is not there
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("source", "what", "N x T x F", "licence", "where"):
        table.add_column(column, no_wrap=column in ("source", "N x T x F"), overflow="fold")
    for source in SOURCES.values():
        place = where(source.name, data_dir) if source.kind == "download" else source.kind
        table.add_row(source.name, source.summary, source.shape, source.licence, place)
    console = Console()
    console.print(table)
    console.print(
        "Any path is a source too: .npz, .npy, .csv, .parquet, .ts, .hea, a folder or zip of\n"
        "images, a folder of stays (mimic3-benchmarks, PhysioNet 2012) or of WFDB records.\n"
        "Look at one with: rgan data show icu",
        markup=False,
        highlight=False,
    )


@app.command("show")
def show(
    source: Annotated[str, typer.Argument(help="A built-in name or the path of a file or folder.")],
    png: Annotated[str, typer.Option(help="The picture; data-NAME.png if not given.")] = "",
    no_png: Annotated[bool, typer.Option("--no-png", help="Print only, draw nothing.")] = False,
    stays: Annotated[
        int, typer.Option(help="Also draw so many single sequences, each as a picture.")
    ] = 0,
    set_: o.SetOption = None,
    seed: Annotated[int, typer.Option(help="Draws the sequences that are kept.")] = 0,
    quiet: o.Quiet = False,
    data_dir: o.DataDir = "",
    drop: o.Drop = None,
    nan: o.Nan = None,
    window: o.Window = None,
    stride: o.Stride = None,
    max_sequences: o.MaxSequences = None,
    id_: o.Id = None,
    time: o.Time = None,
    step: o.Step = None,
    bin_: o.Bin = None,
    category: o.Category = None,
    label: o.Label = None,
    static: o.Static = None,
    subject: o.Subject = None,
    subject_from_name: o.SubjectFromName = False,
    size: o.Size = None,
    layout: o.Layout = None,
    patch: o.Patch = None,
) -> None:
    """Print shape, lengths, gaps, ranges and labels of a source, and draw its sequences.

    Series also get an overview: what is measured when, lengths, labels, each feature's density. It
    shows no single sequence; the other pictures do.
    """
    from rich.console import Console

    from rgan.config import Config, changed, parse_settings
    from rgan.data.load import load
    from rgan.report.show import describe

    settings = o.settings_of(
        "data",
        source=source,
        data_dir=data_dir,
        drop=drop,
        nan=nan,
        window=window,
        stride=stride,
        max_sequences=max_sequences,
        id=id_,
        time=time,
        step=step,
        bin=bin_,
        category=category,
        label=label,
        static=static,
        subject=subject,
        subject_from_name=subject_from_name,
        size=size,
        layout=layout,
        patch=patch,
    )
    settings |= parse_settings(set_ or [])
    sequences = load(changed(Config(), settings).data, seed=seed, quiet=quiet)
    console = Console()
    console.print(describe(sequences))
    if not no_png:
        for path in _draw(sequences, Path(png or f"data-{Path(sequences.name).name}.png"), stays):
            console.print(f"picture: {path}", markup=False, highlight=False, soft_wrap=True)


def _draw(sequences: Sequences, path: Path, stays: int) -> Iterator[Path]:
    """The pictures of a source, each as it is done."""
    from rgan.errors import InputError
    from rgan.report.clinical import draw_overview, draw_stays
    from rgan.report.pictures import draw_sequences

    if stays and sequences.is_image:
        raise InputError("--stays is given, and the sequences are images", rule="series only")
    yield draw_sequences(sequences, path)
    if not sequences.is_image:
        yield draw_overview(sequences, path.with_name(f"{path.stem}-overview.png"))
    if stays:
        yield draw_stays(sequences, path.with_name(f"{path.stem}-stays.png"), stays)
