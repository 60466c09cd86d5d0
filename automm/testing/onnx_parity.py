"""Whether a module is the same function in ONNX Runtime as in torch, at shapes it was not exported at."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from automm.testing.requirement import require

OPSET = 20
TOLERANCE = 1e-4


def require_same_in_onnx(
    module: nn.Module,
    example: Mapping[str, Tensor],
    axes: Mapping[str, Mapping[int, str]],
    others: Sequence[Mapping[str, Tensor]],
) -> None:
    """Export `module` and compare it with itself in ONNX Runtime.

    Args:
        module: takes the tensors of `example` in order, returns a tensor or a tuple of tensors.
        example: what it is exported with, by input name; every dynamic axis 2 or longer.
        axes: the dynamic axes of each input and their names.
        others: inputs of other sizes to compare at, a batch of one among them.

    Raises:
        ContractBroken: torch cannot export it, or an output differs by more than 1e-4.
    """
    module = module.eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "module.onnx"
        _export(module, example, axes, path)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    taken = {node.name for node in session.get_inputs()}  # an input that changes nothing is not in the graph
    for inputs in (example, *others):
        with torch.no_grad():
            out = module(*inputs.values())
        expected = [t.numpy() for t in (out if isinstance(out, tuple) else (out,))]
        found = session.run(None, {name: t.numpy() for name, t in inputs.items() if name in taken})
        for at, (left, right) in enumerate(zip(expected, found, strict=True)):
            shapes = {name: tuple(t.shape) for name, t in inputs.items()}
            require(left.shape == right.shape, f"output {at} in ONNX Runtime is {right.shape}, not {left.shape}")
            gap = float(np.abs(left - right).max())
            require(gap <= TOLERANCE, f"output {at} differs by {gap:.1e} in ONNX Runtime, at inputs {shapes}")


def _export(
    module: nn.Module, example: Mapping[str, Tensor], axes: Mapping[str, Mapping[int, str]], path: Path
) -> None:
    chatter = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(chatter), contextlib.redirect_stderr(chatter):
        warnings.simplefilter("ignore")  # they are about the exporter's own insides
        try:
            torch.onnx.export(
                _Positional(module),
                tuple(example.values()),
                path,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(example),
                dynamic_shapes=(tuple(dict(axes[name]) for name in example),),
                external_data=False,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            require(False, f"torch cannot export it to ONNX opset {OPSET}: {error}", cause=error)


class _Positional(nn.Module):
    """Takes its inputs as one list of tensors, whatever the signature of `module`: shapes are declared for a list."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *tensors: Tensor) -> object:
        return self.module(*tensors)
