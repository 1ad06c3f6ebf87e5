"""``rgan train``: learn from a source, or go on with a run."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rgan.cli import options as o

if TYPE_CHECKING:
    from rgan.config import Config
    from rgan.workflow.fit import Outcome


def train(
    source: Annotated[
        str, typer.Argument(help="A built-in name or the path of a file or folder.")
    ] = "",
    resume: Annotated[
        str, typer.Option(help="Go on with this run: a path, a glob, the start of a name, latest.")
    ] = "",
    branch: Annotated[
        bool, typer.Option("--branch", help="With --resume: go on in a new run beside it.")
    ] = False,
    new_data: Annotated[
        bool, typer.Option("--new-data", help="With --resume: the data may have changed.")
    ] = False,
    newest: Annotated[
        bool, typer.Option("--newest", help="With --resume: of several that match, the newest.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="rgan, rcgan (conditioned on labels) or auto.")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(help="Static attributes as conditions: age,sex; repeatable."),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="default, feedback (by likelihood), images (rows), or paper.")
    ] = "",
    config: Annotated[str, typer.Option(help="A TOML file of settings.")] = "",
    set_: o.SetOption = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data, in all.")] = None,
    batch_size: Annotated[
        str | None, typer.Option(help="Sequences in a batch; auto: as many as fit in memory.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random follows from it.")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto: the idlest; cpu, cuda:1, mps; several: cuda:0,1.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, tf32, bf16 or fp16; weights and losses stay fp32.")
    ] = None,
    runs: o.Runs = "runs",
    quiet: o.Quiet = False,
    data_dir: o.DataDir = "",
    drop: o.Drop = None,
    mask: o.Mask = None,
    nan: o.Nan = None,
    window: o.Window = None,
    stride: o.Stride = None,
    split: o.Split = None,
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
    """Train a recurrent GAN on SOURCE; or go on with a run (--resume).

    Ctrl-C saves and prints the line that resumes. Settings come from the preset, then --config,
    then flags, then --set; the whole configuration is written to the run's config.toml.
    """
    if os.environ.get("RANK", "0") != "0":
        _serve()
    from rgan.config import parse_settings
    from rgan.errors import ConfigError

    names = [name.strip() for text in condition or [] for name in text.split(",") if name.strip()]
    flags = o.settings_of("model", kind=model, condition=names or None)
    shrink = batch_size == "auto"
    if shrink:
        batch_size = None
    flags |= o.settings_of(
        "train",
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        device=device,
        precision=precision,
    )
    data = o.settings_of(
        "data",
        data_dir=data_dir,
        drop=drop,
        mask=mask,
        nan=nan,
        window=window,
        stride=stride,
        split=split,
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
    if epochs is not None and epochs < 1:  # as a setting, 0 leaves the length to train.steps
        raise ConfigError(
            f"--epochs is {epochs}", rule="at least one pass over the data", repair="--epochs 20"
        )
    settings = {**flags, **data, **parse_settings(set_ or [])}
    if bool(source) == bool(resume):
        raise ConfigError(
            "a source and --resume are given" if source else "no source is given",
            rule="train takes a SOURCE, or --resume RUN",
            repair="rgan train icu" if not source else f"rgan train --resume {resume}",
        )
    given = {"--branch": branch, "--new-data": new_data, "--newest": newest}
    if not resume and any(given.values()):
        raise ConfigError(
            f"{next(flag for flag, on in given.items() if on)} without --resume",
            rule="it says how to go on with a run",
            repair="rgan train --resume RUN",
        )
    if resume:
        how = _How(branch, new_data, newest, shrink)
        _resume(resume, runs, settings, preset or config, how, quiet)
    else:
        _new(source, runs, preset or "default", config, settings, quiet, shrink)


def _serve() -> None:
    """Of several processes that torchrun has started, all but the first only compute."""
    from rgan.train.group import launched

    if launched() is not None:
        from rgan.workflow.following import main_launched

        raise typer.Exit(main_launched())


def _new(
    source: str,
    runs: str,
    preset: str,
    config: str,
    settings: dict[str, Any],
    quiet: bool,
    shrink: bool,
) -> None:
    resolved = resolve(source, preset, config, settings)
    from rgan.report.progress import make_progress
    from rgan.workflow.fit import fit

    say = _speaker(quiet)
    sequences = _load(resolved, quiet)
    say(summary(sequences))
    for note in sequences.notes:
        say(f"  {note}")
    progress = make_progress(quiet)
    try:
        outcome = fit(
            resolved,
            runs=runs,
            sequences=sequences,
            listeners=(progress,),
            command=shlex.join(["rgan", *sys.argv[1:]]),
            shrink=shrink,
            say=say,
        )
    finally:
        progress.close()
    _close(outcome, quiet)


@dataclass(frozen=True)
class _How:
    """How to go on with a run: the flags that belong to --resume."""

    branch: bool
    new_data: bool
    newest: bool
    shrink: bool


def _resume(
    name: str, runs: str, settings: dict[str, Any], other: str, how: _How, quiet: bool
) -> None:
    from rgan.errors import ConfigError

    if other:
        raise ConfigError(
            f'--resume with the preset or configuration "{other}"',
            rule="a resumed run keeps its own configuration; single settings may change",
            repair="--set section.key=value",
        )
    from rgan.runs.find import find_run

    run = find_run(name, runs, newest=how.newest)  # a wrong name is told at once, without torch

    from rgan.report.progress import make_progress
    from rgan.workflow.fit import branch, resume

    say = _speaker(quiet)
    say(f"{'branching from' if how.branch else 'resuming'} {run.path}")
    progress = make_progress(quiet)
    command = shlex.join(["rgan", *sys.argv[1:]])
    listeners = (progress,)
    try:
        if how.branch:
            outcome = branch(
                run,
                settings=settings,
                new_data=how.new_data,
                listeners=listeners,
                shrink=how.shrink,
                say=say,
                command=command,
            )
        else:
            outcome = resume(
                run,
                settings=settings,
                new_data=how.new_data,
                listeners=listeners,
                shrink=how.shrink,
                say=say,
            )
    finally:
        progress.close()
    _close(outcome, quiet)


def resolve(source: str, preset: str, config: str, settings: dict[str, Any]) -> Config:
    """The configuration of a new run: preset, then file, then settings."""
    from rgan.config import changed
    from rgan.config import preset as named

    base = named(preset)
    if config:
        base = changed(base, _read_file(config))
    if Path(source).exists():
        source = str(Path(source).resolve())  # so that a resume finds it from anywhere
    return changed(base, {"data.source": source, **settings})


def _read_file(path: str) -> dict[str, Any]:
    from rgan.errors import ConfigError
    from rgan.runs import toml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}", rule="--config names a TOML file of sections"
        ) from error
    settings: dict[str, Any] = {}
    for section, keys in toml.loads(text, source=path).items():
        if not isinstance(keys, dict):
            raise ConfigError(f'{path}: "{section}" stands in no section', rule="[section] first")
        settings |= {f"{section}.{key}": value for key, value in keys.items()}
    return settings


def _load(config: Config, quiet: bool) -> Any:
    from rgan.data.load import check_trainable, load

    sequences = load(config.data, seed=config.train.seed, quiet=quiet)
    check_trainable(sequences)
    return sequences


def summary(sequences: Any) -> str:
    """One line on what is trained on."""
    s = sequences
    line = f"{s.name}: {len(s):,} sequences of {s.n_steps} steps and {s.n_features} features"
    if not s.fully_observed:
        line += f", {100 * s.share_observed:.0f} % observed"
    if s.has_classes:
        line += f", {len(s.classes)} classes ({s.label_name})"
    return line


def _speaker(quiet: bool) -> Any:
    return (lambda text: None) if quiet else typer.echo


def _close(outcome: Outcome, quiet: bool) -> None:
    """Say where everything lies and what to do next; exit 1 where training was cut short."""
    path, ended = outcome.run.path, outcome.ended
    if ended.status == "interrupted":
        typer.echo(f"stopped by {ended.reason} at step {ended.step:,}; everything is saved.")
        typer.echo(f"go on with:  rgan train --resume {shlex.quote(str(path))}")
        raise typer.Exit(1)
    if quiet:
        typer.echo(str(path))
        return
    if ended.reason:
        typer.echo(f"stopped early: {ended.reason}")
    typer.echo(f"trained to step {ended.step:,} in {ended.seconds:.0f} s: {path}")
    typer.echo(f"sample:    rgan sample {shlex.quote(str(path))} -n 1000 -o synthetic.npz")
    typer.echo(f"evaluate:  rgan evaluate {shlex.quote(str(path))}")
