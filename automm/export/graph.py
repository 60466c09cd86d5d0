"""A trained Model as one ONNX graph: flat tensors in, scores out.

Shape legend: B rows, C outputs.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxscript
import torch
from torch import Tensor, nn

from automm.ensemble import Ensemble
from automm.errors import ExportError
from automm.model import Model
from automm.runtime.manifest import GraphInput
from automm.runtime.preprocess import Preprocess
from automm.tasks.task import Task
from automm.types import Batch, TensorSpec

PRESENT = "present"
SCORES = "scores"
SINGLE_FILE = 2 * 1024**3 - 64 * 1024**2  # protobuf's 2 GB, with room for the graph itself
_CHATTER = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "torch._dynamo", "torch.fx")


class ExportModel(nn.Module):
    """A Model's, or an Ensemble's, `probabilities` over the tensors of `graph_inputs`; every row is its own item."""

    def __init__(self, model: Model | Ensemble, task: Task, inputs: Sequence[GraphInput]) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.inputs = tuple(inputs)
        self.fields = tuple(dict.fromkeys(each.field for each in inputs if each.field is not None))

    def forward(self, *tensors: Tensor) -> Tensor:
        """The tensors of `inputs`, each with a leading B axis, the mask [B, fields] last -> scores [B, C]."""
        items: dict[str, dict[str, Tensor]] = {name: {} for name in self.fields}
        for each, tensor in zip(self.inputs, tensors, strict=True):
            if each.field is not None:
                items[each.field][str(each.key)] = tensor
        present_BF = tensors[-1]
        identity_B = torch.arange(present_BF.shape[0], device=present_BF.device)
        batch = Batch(
            inputs=items,
            rows=dict.fromkeys(self.fields, identity_B),
            present={name: present_BF[:, at] for at, name in enumerate(self.fields)},
        )
        return self.model.probabilities(batch, self.task)


def graph_inputs(preprocessors: Mapping[str, Preprocess]) -> tuple[GraphInput, ...]:
    """The graph's signature: `f` for a field of one tensor, `f.k` for one of several, then the mask of presence."""
    taken = {SCORES}
    inputs = []
    for field, preprocess in preprocessors.items():
        signature = preprocess.signature
        for key, spec in signature.items():
            name = _free(field if len(signature) == 1 else f"{field}.{key}", taken)
            inputs.append(GraphInput(name, field, key, spec.dtype, ("batch", *_dimensions(field, spec)), True))
    mask = _free(PRESENT, taken)
    return (*inputs, GraphInput(mask, None, None, "bool", ("batch", len(preprocessors)), False))


def export_graph(
    file: Path,
    *,
    model: Model | Ensemble,
    task: Task,
    inputs: Sequence[GraphInput],
    arrays: Mapping[str, np.ndarray],
    opset: int,
    single_file: int = SINGLE_FILE,
) -> None:
    """Write the graph to `file`, with dynamic batch and sequence axes and the weights inside (beside it beyond 2 GB).

    Args:
        file: where to; `<file>.data` holds the weights when they do not fit `single_file` bytes.
        model: the trained model; it is not changed.
        task: its task.
        inputs: the signature, from `graph_inputs`.
        arrays: an example of each input by name; repeated until every dynamic axis is longer than one.
        opset: the ONNX operator set.
        single_file: the largest size, in bytes, of weights kept inside the graph.

    Raises:
        ExportError: torch cannot trace or translate the model.
    """
    wrapped = ExportModel(copy.deepcopy(model), task, inputs).cpu().eval()
    example = tuple(torch.from_numpy(_stretched(arrays[each.name], each)) for each in inputs)
    axes = tuple({at: d for at, d in enumerate(each.shape) if isinstance(d, str)} for each in inputs)
    weight = sum(t.numel() * t.element_size() for t in (*wrapped.parameters(), *wrapped.buffers()))
    with _quiet(), torch.no_grad():
        try:
            torch.onnx.export(
                wrapped,
                example,
                file,
                dynamo=True,
                opset_version=opset,
                input_names=[each.name for each in inputs],
                output_names=[SCORES],
                dynamic_shapes=(axes,),
                external_data=weight > single_file,
                optimize=True,
                verbose=False,
                custom_translation_table={torch.ops.aten.where.self: _where},
            )
        except torch.onnx.OnnxExporterError as error:
            raise ExportError(
                f"torch cannot export this model to ONNX opset {opset}: {_first_cause(error)}. {_NEXT}"
            ) from error


_NEXT = "Next: choose another encoder or fusion, or report it to the one that the cause names."


def _where(condition: Any, chosen: Any, other: Any) -> Any:
    """`torch.where` in ONNX operators; ONNX Runtime has no kernel for Where on booleans, which masks are."""
    op = onnxscript.opset18
    if chosen.dtype == onnxscript.BOOL.dtype:
        return op.Or(op.And(condition, chosen), op.And(op.Not(condition), other))
    return op.Where(condition, chosen, other)


def _dimensions(field: str, spec: TensorSpec) -> Iterator[int | str]:
    """Named dimensions belong to their field: two texts have two lengths."""
    return (f"{field}.{each}" if isinstance(each, str) else each for each in spec.shape)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _stretched(array: np.ndarray, spec: GraphInput) -> np.ndarray:
    """`array` with every dynamic axis at least 2 long: torch takes an axis of length 1 for a constant."""
    for axis, size in enumerate(spec.shape):
        if isinstance(size, str) and array.shape[axis] < 2:
            array = np.repeat(array, 2, axis=axis)
    return np.ascontiguousarray(array)


def _first_cause(error: BaseException) -> str:
    """The innermost error of a chain, in one line: the exporter's own message is a page of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Neither warnings nor log lines of the exporter: they concern its own insides, never the user's model."""
    loggers = [logging.getLogger(name) for name in _CHATTER]
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
