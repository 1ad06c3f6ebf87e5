"""Options that several commands share, and how they become settings.

A flag is short for a setting: ``--epochs 20`` is ``--set train.epochs=20``.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

_DATA = "Data"
_LONG = "Long table"
_IMAGES = "Images"

Source = Annotated[str, typer.Argument(help="A built-in name or the path of a file or folder.")]
DataDir = Annotated[
    str, typer.Option(help="Folder with local copies of data sets.", rich_help_panel=_DATA)
]
Drop = Annotated[
    list[str] | None, typer.Option(help="Feature to leave out; repeatable.", rich_help_panel=_DATA)
]
Mask = Annotated[
    list[str] | None,
    typer.Option(
        help="Hide values: random:0.2, steps:24-47, block:6, ...; repeatable.",
        rich_help_panel=_DATA,
    ),
]
Nan = Annotated[
    str | None, typer.Option(help="NaN without a mask: error or missing.", rich_help_panel=_DATA)
]
Window = Annotated[
    int | None, typer.Option(help="Cut series into windows of this length.", rich_help_panel=_DATA)
]
Stride = Annotated[
    int | None, typer.Option(help="Steps between two windows' starts.", rich_help_panel=_DATA)
]
Split = Annotated[
    str | None,
    typer.Option(help="auto, subject, time, official or random.", rich_help_panel=_DATA),
]
MaxSequences = Annotated[
    int | None, typer.Option(help="Keep at most this many, drawn by seed.", rich_help_panel=_DATA)
]
Id = Annotated[
    str | None, typer.Option("--id", help="Column that names a sequence.", rich_help_panel=_LONG)
]
Time = Annotated[str | None, typer.Option(help="Column of time.", rich_help_panel=_LONG)]
Step = Annotated[
    float | None,
    typer.Option(help="Bin width that puts times on a grid.", rich_help_panel=_LONG),
]
Bin = Annotated[
    str | None,
    typer.Option(
        "--bin",
        help="What a bin holds: last, mean, count; gaps: rows are steps.",
        rich_help_panel=_LONG,
    ),
]
Category = Annotated[
    list[str] | None,
    typer.Option(
        help="Feature of text: 'pain=no<some' (in order), 'rhythm=sinus|paced' (in none).",
        rich_help_panel=_LONG,
    ),
]
Label = Annotated[str | None, typer.Option(help="Column of the label.", rich_help_panel=_LONG)]
Static = Annotated[
    list[str] | None,
    typer.Option(help="Column with one value a sequence; repeatable.", rich_help_panel=_LONG),
]
Subject = Annotated[
    str | None, typer.Option(help="Column that says whose it is.", rich_help_panel=_LONG)
]
SubjectFromName = Annotated[
    bool,
    typer.Option(
        "--subject-from-name", help="From image names: First_Last_0001.", rich_help_panel=_IMAGES
    ),
]
Size = Annotated[
    str | None,
    typer.Option(help='Resample images: "28" or "64x48" (H x W).', rich_help_panel=_IMAGES),
]
Layout = Annotated[
    str | None, typer.Option(help="rows, columns, pixels or patches.", rich_help_panel=_IMAGES)
]
Patch = Annotated[
    str | None, typer.Option(help='Patch size for patches: "4x4".', rich_help_panel=_IMAGES)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")]
Runs = Annotated[str, typer.Option("--runs", help="Folder of the runs.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="section.key=value, any setting; repeatable."),
]


def settings_of(section: str, **values: Any) -> dict[str, Any]:
    """``{"section.key": value}`` of the flags that were given."""
    return {
        f"{section}.{key}": tuple(value) if isinstance(value, list) else value
        for key, value in values.items()
        if value is not None and value is not False and value != ""
    }
