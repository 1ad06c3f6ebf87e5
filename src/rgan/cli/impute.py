"""``rgan impute``: complete partly observed sequences and images."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rgan.cli import options as o

if TYPE_CHECKING:
    from rgan.sequences import Sequences
    from rgan.workflow.fill_score import FillScore
    from rgan.workflow.filling import Filled


def impute(
    run: Annotated[str, typer.Argument(help="A path, the start of a name, or latest.")],
    file: Annotated[str, typer.Argument(help="What to fill in: any file or folder that is read.")],
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", help=".npz, .npy, .csv, .parquet, .ts or .png; FOLDER/ for stays."
        ),
    ] = "completed.npz",
    draws: Annotated[int, typer.Option(help="How many draws of each missing value.")] = 20,
    each: Annotated[
        bool, typer.Option("--each", help="Write each draw too, beside their median.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same draws.")] = 0,
    hide: Annotated[
        list[str] | None,
        typer.Option(help="Hide observed values by this rule and fill them in; repeatable."),
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(help="Hide values by this rule and print how well they are filled in."),
    ] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Fit the imputer anew.")] = False,
    steps: Annotated[int, typer.Option(help="Updates, where it is fitted.")] = 1500,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, auto.")] = "cpu",
    id_: o.Id = None,
    time: o.Time = None,
    label: o.Label = None,
    static: o.Static = None,
    set_: o.SetOption = None,
    runs: o.Runs = "runs",
    quiet: o.Quiet = False,
) -> None:
    """Fill in what FILE leaves out, as RUN's training data suggests; observed values stay.

    OUT holds the median of the draws in each gap. RUN's imputer is fitted to RUN's training split
    the first time, and kept in the run. Rules: random:0.2, feature:HR,Temp, steps:24-47, block:6,
    region:8x8, like-data.
    """
    from rgan.config import parse_settings
    from rgan.data.masks import parse_mask
    from rgan.runs.find import find_run

    for rule in [*(hide or []), *(score or [])]:
        parse_mask(rule)
    _check(draws, steps, seed, bool(hide), bool(score))
    folder = find_run(run, runs)  # a wrong name is told at once, without loading torch
    given = o.settings_of("data", id=id_, time=time, label=label, static=static)
    settings = {**given, **parse_settings(set_ or [])}

    from rgan.cli.bars import counting, stages
    from rgan.data.masks import without
    from rgan.workflow import fill_score, filling
    from rgan.workflow.imputer_units import odd_units

    def say(text: str) -> None:
        typer.echo(text, err=True)

    configs = filling.configs_of(folder, settings)
    if not score:
        _check_target(file, output, draws if each else 0)
    encoder = filling.encoder_of(folder)
    sequences = filling.to_fill(folder, configs, encoder, file, score=bool(score))
    for note in sequences.notes:
        say(f"  {note}")
    if hide:
        sequences = without(sequences, filling.hide(sequences, hide, seed))
    if not quiet and (refit or not (folder.path / "imputer").exists()):
        say(f"fitting the imputer on the run's training split: {steps:,} updates")
    with counting("fitting the imputer", steps, quiet) as advance:
        fitted = filling.imputer_of(
            folder,
            configs[0],
            encoder,
            refit=refit,
            steps=steps,
            device=device,
            progress=lambda step, loss: advance(1),
            say=say,
        )
    for note in odd_units(sequences, fitted.usual):
        say(f"  {note}")
    if score:
        with stages(quiet) as progress:
            found = fill_score.score_run(
                folder, configs[0], fitted, sequences, score, draws=draws, seed=seed,
                progress=progress,
            )  # fmt: skip
        _print_score(found, folder.figures / "imputation.png", quiet)
        return
    with counting("filling in", len(sequences), quiet) as advance:
        filled = filling.fill(fitted, sequences, draws, seed, each=each, advance=advance)
    _write(filled, sequences, file, output)
    if not quiet:
        _summary(sequences, output, draws, each)


def _check(draws: int, steps: int, seed: int, hide: bool, score: bool) -> None:
    from rgan.errors import ConfigError

    for name, value, least in (("draws", draws, 1), ("steps", steps, 1), ("seed", seed, 0)):
        if value < least:
            raise ConfigError(
                f"--{name} is {value}", rule=f"at least {least}", repair=f"--{name} {least}"
            )
    if draws > 1000:
        raise ConfigError(f"--draws is {draws}", rule="at most 1000", repair="--draws 100")
    if hide and score:
        raise ConfigError(
            "--hide and --score are given",
            rule="values are hidden to be filled in, or to be scored",
            reason="what is scored is not written",
            repair="leave one of them out",
        )


def _place(output: str, number: int, count: int) -> str:
    """OUT-07.npz of OUT.npz; OUT-07/ of OUT/."""
    digits = f"-{number:0{len(str(count))}d}"
    path = Path(output)
    if output.endswith("/"):
        return f"{path.with_name(path.name + digits)}/"
    return str(path.with_name(f"{path.stem}{digits}{path.suffix}"))


def _targets(output: str, count: int) -> list[str]:
    return [output, *(_place(output, number, count) for number in range(1, count + 1))]


def _check_target(file: str, output: str, count: int) -> None:
    """Refuse what cannot be written, before an imputer is fitted for it."""
    from rgan.data.targets import check_folder, check_target, is_folder
    from rgan.errors import InputError

    source = Path(file).expanduser()
    if source.exists() and source.resolve() == Path(output).expanduser().resolve():
        raise InputError(
            f'"{output}" is what is to be filled in',
            rule="completed values go into another file",
            reason="what was observed and what was drawn could not be told apart any more",
            repair=f"-o {source.stem}-completed{source.suffix}",
        )
    for target in _targets(output, count):
        path = Path(target).expanduser()
        check_folder(path) if is_folder(target) else check_target(path)


def _write(filled: Filled, sequences: Sequences, file: str, output: str) -> None:
    """All files get their names at the end, when all of them are whole."""
    from rgan.data.write import Writer
    from rgan.runs.atomic import write_bytes
    from rgan.workflow.filling import in_own_digits

    parts = [filled.middle, *filled.draws]
    targets = _targets(output, len(filled.draws))
    gaps_NTF = ~sequences.observed
    arrays: dict[str, bytes] = {}
    with ExitStack() as stack:
        for target, part in zip(targets, parts, strict=True):
            array = in_own_digits(file, gaps_NTF, part) if output.endswith(".npy") else None
            if array is not None:
                arrays[target] = array
                continue
            writer = stack.enter_context(Writer(target, len(part), part.layout))
            writer.append(part)
    for target, array in arrays.items():
        write_bytes(Path(target).expanduser(), array)


def _summary(sequences: Sequences, output: str, draws: int, each: bool) -> None:
    gaps = int((~sequences.observed & sequences.valid[:, :, None]).sum())
    typer.echo(
        f"{len(sequences):,} sequences, {gaps:,} values filled in "
        f"({1 - sequences.share_observed:.1%}): {Path(output)}"
    )
    if draws > 1 and not each:
        typer.echo(
            f"each gap holds the median of {draws} draws; --each writes all of them, "
            "for figures whose spread is to be right"
        )


_LEVEL_WAYS = {"mean": "most frequent level"}


def _print_score(found: FillScore, figure: Path, quiet: bool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    title = f"{found.hidden:,} values of {found.sequences:,} sequences hidden by "
    table = Table(title=title + ", ".join(found.rules), title_justify="left", box=SIMPLE_HEAD)
    table.caption_justify = "left"
    covered = found.calibration.covered_L[-1]
    table.caption = (
        "errors in the features' deviations in training; CRPS of a single guess is its MAE\n"
        f"90 % intervals of {found.draws} draws hold {covered:.1%} of the truth, "
        f"{found.calibration.width:.2f} deviations wide"
    )
    for name in ("", "MAE", "RMSE", "CRPS"):
        table.add_column(name, justify="left" if not name else "right")
    for way, errors in found.errors.items():
        table.add_row(way, *(f"{value:.3f}" for value in (errors.mae, errors.rmse, errors.crps)))
    Console().print(table)
    for name, wrong in found.wrong.items():
        told = ", ".join(f"{_LEVEL_WAYS.get(w, w)} {share:.3f}" for w, share in wrong.items())
        typer.echo(f"not in the table, {name}: share of wrong levels: {told}")
    for way, why in found.skipped.items():
        typer.echo(f"not computed: {way}: {why}")
    if not quiet:
        typer.echo(f"imputation.json, and the figure: {figure}")
