"""``rgan export``: a run's generator as one file that samples without this package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from rgan.errors import InputError, nearest
from rgan.runs.atomic import write_bytes
from rgan.runs.folder import Run
from rgan.workflow.exporting import formats
from rgan.workflow.exporting.about import describe
from rgan.workflow.exporting.module import Sampler
from rgan.workflow.exporting.parity import Parity, check, onnx_runner, same_noise, torch_runner
from rgan.workflow.sampling import load_checkpoint
from rgan.workflow.session import trained_from_checkpoint

Format = Literal["onnx", "torch"]
ENDINGS: dict[str, str] = {"onnx": ".onnx", "torch": ".pt2"}
EXAMPLE, CHECKED = 3, (64, 1, 257)
"""N of the example that the exporters follow, and the N at which the file is checked."""


@dataclass(frozen=True)
class Exported:
    """A written file.

    Args:
        path: the file.
        size: in bytes.
        step: of the checkpoint.
        parity: how far it is from ``rgan sample``; None where it could not be checked.
        warning: of a damaged checkpoint that was passed over, "" if none was.
    """

    path: Path
    size: int
    step: int
    parity: Parity | None
    warning: str = ""


def export(
    run: Run,
    to: str,
    output: str | Path | None = None,
    checkpoint: str | int = "auto",
    stage: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> Exported:
    """Writes the sampling generator of a run as one file, after checking what it samples.

    Args:
        run: the run.
        to: "onnx", or "torch" for an archive of torch.export.
        output: the file, ending in .onnx or .pt2; None: the run's name in the working folder.
        checkpoint: "auto", "latest", "best" or a step.
        stage: is told (done, total, what) as it goes.

    Raises:
        InputError: an unknown format, a wrong ending, or a package is missing.
        RunError: there is no such checkpoint, or the file cannot be written.
        RganError: the file would not sample as the run does; it has not been written.
    """
    path = _target(run, to, output)
    if to == "onnx":
        formats.check_onnx()
    which = int(checkpoint) if str(checkpoint).isdecimal() else str(checkpoint)
    saved = load_checkpoint(run, which)  # a step or a mark
    trained = trained_from_checkpoint(saved)
    if to == "onnx" and trained.generator.config.feedback:
        raise InputError(
            "this generator reads back what it makes, step by step",
            rule="it is exported to torch only",
            reason="written out step by step, its graph takes ONNX's converter an hour",
            repair=f"rgan export {run.path} --to torch",
        )
    if trained.encoder.packer.conditions:
        raise InputError(
            f"this model has conditions: {', '.join(trained.encoder.packer.conditions)}",
            rule="a model without --condition is exported",
            reason="an exported file has no input for them yet",
            repair="rgan sample, or train without --condition",
        )
    sampler = Sampler(trained).eval()
    about = describe(
        sampler,
        trained.encoder.packer,
        run=run.id,
        step=saved.step,
        averaged=bool(saved.state["config"]["train"]["average"]),
    )
    stage(0, 3, "following the network")
    example = same_noise(sampler, trained, EXAMPLE, seed=0)
    program = formats.export_program(
        sampler, {name: torch.from_numpy(array) for name, array in example.items()}
    )
    stage(1, 3, f"writing it as {to}")
    if to == "onnx":
        data = formats.to_onnx(program, sampler, about)
        runner = onnx_runner(data)
    else:
        data = formats.to_torch(program, about)
        runner = torch_runner(data)
    stage(2, 3, "checking it against rgan sample")
    parity = None if runner is None else check(runner, sampler, trained, CHECKED)
    write_bytes(path, data)
    return Exported(path, len(data), saved.step, parity, saved.warning)


def _target(run: Run, to: str, output: str | Path | None) -> Path:
    if to not in get_args(Format):
        raise InputError(
            f'"{to}" is not a format',
            rule=f"one of {', '.join(get_args(Format))}",
            repair=nearest(to, get_args(Format)),
        )
    ending = ENDINGS[to]
    if output is None:
        return Path(f"{run.path.resolve().name}{ending}")
    path = Path(output)
    if path.suffix != ending:
        raise InputError(
            f'"{path}" ends in "{path.suffix}"',
            rule=f"what is exported to {to} ends in {ending}",
            repair=f'-o "{path.with_suffix(ending) if path.name else ending}"',
        )
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(
            f'"{path}" cannot be written: '
            + ("it is a folder" if path.is_dir() else f'there is no folder "{path.parent}"'),
            rule="a file in a folder that exists",
        )
    return path
