"""The command ``rgan``. Each command imports what it needs when it runs, so help stays quick."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rgan.cli import data, demo, devices, evaluate, export, impute, runs, sample, train

app = typer.Typer(
    name="rgan",
    help="Recurrent GANs for real-valued sequences: train, sample, evaluate, with evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
app.command("train")(train.train)
app.command("sample")(sample.sample)
app.command("impute")(impute.impute)
app.command("evaluate")(evaluate.evaluate)
app.command("export")(export.export)
app.command("demo")(demo.demo)
app.command("devices")(devices.devices)


def _version(wanted: bool) -> None:
    if wanted:
        from rgan import __version__

        typer.echo(f"rgan {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed or stopped by a signal, 2 bad input."""
    from rgan.errors import RganError

    try:
        app()
    except RganError as error:
        print(f"rgan: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader, `head` perhaps, has had enough
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
