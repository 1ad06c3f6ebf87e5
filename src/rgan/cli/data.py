"""``rgan data``: which sources there are, and what one looks like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rgan.data.config import DataConfig

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
        "Any path is a source too: .npz, .npy, .csv, .parquet, .ts, a folder or zip of images.\n"
        "Look at one with: rgan data show icu",
        markup=False,
        highlight=False,
    )


@app.command("show")
def show(
    source: Annotated[str, typer.Argument(help="A built-in name or the path of a file or folder.")],
    png: Annotated[str, typer.Option(help="The picture; data-NAME.png if not given.")] = "",
    no_png: Annotated[bool, typer.Option("--no-png", help="Print only, draw nothing.")] = False,
    data_dir: Annotated[str, typer.Option(help="Folder with local copies of data sets.")] = "",
    id_: Annotated[str, typer.Option("--id", help="Table column that names a sequence.")] = "",
    time: Annotated[str, typer.Option(help="Table column of time.")] = "",
    label: Annotated[str, typer.Option(help="Table column of the label.")] = "",
    static: Annotated[
        list[str] | None, typer.Option(help="Table column with one value a sequence; repeatable.")
    ] = None,
    subject: Annotated[str, typer.Option(help="Table column that says whose it is.")] = "",
    subject_from_name: Annotated[
        bool, typer.Option("--subject-from-name", help="From image names: First_Last_0001.")
    ] = False,
    drop: Annotated[
        list[str] | None, typer.Option(help="Feature to leave out; repeatable.")
    ] = None,
    nan: Annotated[str, typer.Option(help="NaN without a mask: error or missing.")] = "error",
    step: Annotated[float, typer.Option(help="Bin width that puts times on a grid.")] = 0.0,
    window: Annotated[int, typer.Option(help="Cut series into windows of this length.")] = 0,
    stride: Annotated[int, typer.Option(help="Steps between two windows' starts.")] = 1,
    size: Annotated[str, typer.Option(help='Resample images: "28" or "64x48" (H x W).')] = "",
    layout: Annotated[str, typer.Option(help="rows, columns, pixels or patches.")] = "rows",
    patch: Annotated[str, typer.Option(help='Patch size for patches: "4x4".')] = "",
    max_sequences: Annotated[int, typer.Option(help="Keep at most this many, drawn.")] = 0,
    seed: Annotated[int, typer.Option(help="Of that draw.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Print shape, lengths, gaps, ranges and labels of a source, and draw its sequences."""
    from rich.console import Console

    from rgan.data.load import load
    from rgan.report.pictures import draw_sequences
    from rgan.report.show import describe

    sequences = load(
        _config(
            source=source,
            data_dir=data_dir,
            id=id_,
            time=time,
            label=label,
            static=tuple(static or ()),
            subject=subject,
            subject_from_name=subject_from_name,
            drop=tuple(drop or ()),
            nan=nan,
            step=step,
            window=window,
            stride=stride,
            size=size,
            layout=layout,
            patch=patch,
            max_sequences=max_sequences,
        ),
        seed=seed,
        quiet=quiet,
    )
    console = Console()
    console.print(describe(sequences))
    if not no_png:
        path = draw_sequences(sequences, Path(png or f"data-{Path(sequences.name).name}.png"))
        console.print(f"picture: {path}", markup=False, highlight=False, soft_wrap=True)


def _config(**fields: Any) -> DataConfig:
    """The section ``data``; what breaks a rule is told as our own error, not as pydantic's."""
    from pydantic import ValidationError

    from rgan.data.config import DataConfig
    from rgan.errors import ConfigError, RganError

    try:
        return DataConfig(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        inner = first.get("ctx", {}).get("error")
        if isinstance(inner, RganError):
            raise inner from None
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f'--{name} is "{first["input"]}"', rule=first["msg"]) from None
