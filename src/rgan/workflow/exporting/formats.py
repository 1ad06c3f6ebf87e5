"""The exported network as bytes: a .pt2 archive of torch.export, or ONNX.

Shape letters: N sequences.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from rgan.errors import InputError
from rgan.workflow.exporting.about import KEY
from rgan.workflow.exporting.module import Sampler
from rgan.workflow.exporting.recurrence import shapes_at_once

OPSET = 20
EXTRA_FILE = f"{KEY}.json"


def export_program(sampler: Sampler, example: dict[str, Tensor]) -> ExportedProgram:
    """The network as a graph, for any N.

    Args:
        sampler: in evaluation mode.
        example: inputs of more than one sequence.
    """
    n = Dim("N", min=1)
    # strict: the layers ask for len(x), which only reading the code itself keeps open for any N.
    with quiet(), shapes_at_once():
        program = torch.export.export(
            sampler, (), example, dynamic_shapes={name: {0: n} for name in example}, strict=True
        )
    program.example_inputs = None
    for graph_module in program.graph_module.modules():
        for node in getattr(graph_module, "graph", program.graph).nodes:
            # They hold lines of code and paths of this machine.
            for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn"):
                node.meta.pop(key, None)
    return program


def to_torch(program: ExportedProgram, about: dict[str, Any]) -> bytes:
    """A .pt2 archive, with the description as the extra file ``rgan.json``."""
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(program, buffer, extra_files={EXTRA_FILE: _text(about)})
    return buffer.getvalue()


def to_onnx(program: ExportedProgram, sampler: Sampler, about: dict[str, Any]) -> bytes:
    """An ONNX model with everything in one file, and the description in its metadata.

    Raises:
        InputError: the packages for it are not installed.
    """
    check_onnx()
    import onnx

    names = [port.name for port in sampler.inputs()]
    made = [port.name for port in sampler.outputs()]
    with quiet(), shapes_at_once():
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=names,
            output_names=made,
            opset_version=OPSET,
            verbose=False,
        )
        assert exported is not None
        model = exported.model_proto
    _tidy(model)
    model.producer_name = KEY
    model.producer_version = str(about["made_by"]["rgan"])
    onnx.helper.set_model_props(model, {KEY: _text(about)})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def check_onnx() -> None:
    """Refuse early where ONNX files cannot be written.

    Raises:
        InputError: a package is missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            f'the package "{error.name}" is not installed',
            rule="writing ONNX needs onnx and onnxscript",
            repair="pip install 'rgan[export]'",
        ) from error


def _tidy(model: Any) -> None:
    """Takes out what only speaks of the program that was exported, and names the free axis N."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")
    graph.name = KEY
    for port in (*graph.input, *graph.output):
        port.type.tensor_type.shape.dim[0].dim_param = "N"


def _text(about: dict[str, Any]) -> str:
    return json.dumps(about, ensure_ascii=False, allow_nan=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' remarks on themselves, which no user can do anything about."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    loggers.append(logging.getLogger("torch.onnx._internal.exporter._registration"))
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
