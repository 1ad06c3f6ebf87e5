"""An imputer in its run's folder: ``imputer/model.safetensors`` and ``imputer/imputer.json``.

The JSON holds sizes, scaling, how it was fitted, and the SHA-256 of the weights, so half of a copy
is noticed. Nothing is pickled, and nothing that is read is run.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from safetensors import SafetensorError

from rgan.errors import DataError, RganError, RunError
from rgan.nets.imputer import Imputer, ImputerSizes
from rgan.runs import atomic
from rgan.runs.folder import Run
from rgan.runs.sealed import to_bytes
from rgan.train.build import load_networks
from rgan.workflow.encoder import Encoder
from rgan.workflow.imputer import FittedImputer, Usual
from rgan.workflow.imputer_levels import Columns

SCHEMA = 1
FOLDER, MODEL, ABOUT = "imputer", "model.safetensors", "imputer.json"
MOST_BYTES = 2**30
MOST_UNITS = 2**12


def folder_of(run: Run) -> Path:
    """Where a run keeps its imputer."""
    return run.path / FOLDER


def save_imputer(run: Run, fitted: FittedImputer) -> Path:
    """Write an imputer into its run, whole or not at all; one that is there is replaced.

    Raises:
        StorageError: it cannot be written; what was there is untouched.
    """
    target = folder_of(run)
    weights = to_bytes("model", fitted.imputer.state_dict())
    document = {
        "schema": SCHEMA,
        "sizes": fitted.imputer.sizes.to_dict(),
        "encoder": fitted.encoder.state(),
        "usual": {"mean": fitted.usual.mean_F.tolist(), "std": fitted.usual.std_F.tolist()},
        "about": fitted.about,
        "weights": {"bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()},
    }
    temporary = target.with_name(f"{atomic.TEMPORARY}{secrets.token_hex(4)}-{FOLDER}")
    with atomic.explain_os_errors(target):
        try:
            temporary.mkdir()
            atomic.write_synced(temporary / MODEL, weights)
            atomic.write_json(temporary / ABOUT, document)
            atomic.replace_folder(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def load_imputer(run: Run) -> FittedImputer | None:
    """The imputer of a run; None where it has none.

    Raises:
        RunError: it is damaged, of a newer version, or not one.
    """
    folder = folder_of(run)
    if not (folder / ABOUT).exists():
        return None
    try:
        document = atomic.read_json(folder / ABOUT, 2**26)
        weights = atomic.read_bytes(folder / MODEL, MOST_BYTES)
        if document["schema"] != SCHEMA:
            raise ValueError(f"it follows schema {document['schema']}")
        if hashlib.sha256(weights).hexdigest() != document["weights"]["sha256"]:
            raise ValueError(f"{MODEL} is not what was written (SHA-256 differs)")
        encoder = Encoder.from_state(document["encoder"])
        spec, columns = encoder.packer.spec, Columns.of(encoder.packer).count
        sizes = _sizes(document["sizes"], columns, spec.static)
        imputer = Imputer(sizes)
        tensors = safetensors.torch.load(weights)
        load_networks({"imputer": imputer}, {f"imputer.{k}": v for k, v in tensors.items()})
        imputer.requires_grad_(False).eval()
        usual = _usual(document["usual"], spec.values)
        return FittedImputer(imputer, encoder, usual, dict(document["about"]))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RganError) as error:
        found = error.found if isinstance(error, RganError) else str(error) or repr(error)
        raise RunError(
            f'"{folder}" does not hold an imputer that can be used: {found}',
            rule=f"{ABOUT} and {MODEL} are what rgan wrote",
            repair=f"rgan impute {run.path} FILE --refit",
        ) from error


def _usual(data: Any, features: int) -> Usual:
    mean_F, std_F = (np.asarray(data[name], dtype=np.float64) for name in ("mean", "std"))
    if not (mean_F.shape == std_F.shape == (features,) and (std_F > 0).all()):
        raise DataError(f"usual values of {mean_F.shape} features", rule=f"({features},), above 0")
    return Usual(mean_F, std_F)


def _sizes(data: Any, columns: int, static: int) -> ImputerSizes:
    """Sizes that fit the run, and that a stranger cannot make endless."""
    sizes = ImputerSizes(**data)
    units = (sizes.hidden, sizes.drawing)
    if not all(isinstance(size, int) and 1 <= size <= MOST_UNITS for size in units):
        raise DataError(f"its layers have {units} units", rule=f"1 to {MOST_UNITS}")
    if (sizes.values, sizes.static) != (columns, static):
        raise DataError(
            f"it is made for {sizes.values} features and {sizes.static} static columns",
            rule=f"as its scaling: {columns} and {static}",
        )
    return sizes
