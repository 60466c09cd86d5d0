"""Encoders as graphs: the same numbers in ONNX Runtime, at other batch sizes and text lengths too.

Encoders of one kind share a graph, because most of an export's time is spent once a graph.
"""

import io

import numpy as np
import onnxruntime
import pytest
import torch
from cases import CASES, inputs
from torch import nn

GRAPHS = {
    "from scratch": ["convnet", "convnet with everything", "text_transformer", "bag of embeddings"],
    "cells": ["periodic", "embedding"],
    "timm": ["timm NLC", "timm NCHW", "timm NHWC", "timm NCHW layers", "timm NLC layers"],
    "transformers": ["transformers", "transformers layers"],
    "open_clip": ["open_clip_image", "open_clip_text", "open_clip_text on transformers"],
}


class SideBySide(nn.Module):
    """Several encoders as one function of tensors."""

    def __init__(self, encoders, names):
        super().__init__()
        self.encoders, self.names = nn.ModuleList(encoders), names

    def forward(self, *tensors):
        rest, out = list(tensors), []
        for encoder, names in zip(self.encoders, self.names, strict=True):
            out += encoder({name: rest.pop(0) for name in names})
        return tuple(out)


def exported(encoders, preprocessors, examples):
    signatures = [spec for preprocess in preprocessors for spec in preprocess.signature.values()]
    shapes = [
        {at: torch.export.Dim.DYNAMIC for at, size in enumerate(("items", *spec.shape)) if isinstance(size, str)}
        for spec in signatures
    ]
    program = torch.onnx.export(
        SideBySide(encoders, [list(example) for example in examples]).eval(),
        tuple(tensor for example in examples for tensor in example.values()),
        dynamo=True,
        opset_version=20,
        input_names=[f"{at}.{name}" for at, example in enumerate(examples) for name in example],
        dynamic_shapes=(tuple(shapes),),
        verbose=False,
    )
    buffer = io.BytesIO()
    program.save(buffer)
    return onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("names", GRAPHS.values(), ids=GRAPHS)
def test_the_graph_is_the_same_function(names, request):
    cases = [CASES[name] for name in names]
    encoders, preprocessors = zip(*(case.build(request) for case in cases), strict=True)
    examples = [inputs(p, case.values[:3]) for p, case in zip(preprocessors, cases, strict=True)]
    session = exported(encoders, preprocessors, examples)
    read = {spec.name for spec in session.get_inputs()}
    for chosen in (slice(0, 1), slice(1, 3), slice(0, 4)):
        arrays = [p([*case.values[chosen], None]) for p, case in zip(preprocessors, cases, strict=True)]
        feed = {f"{at}.{name}": array for at, each in enumerate(arrays) for name, array in each.items()}
        found = session.run(None, {name: array for name, array in feed.items() if name in read})
        for name, encoder, each in zip(names, encoders, arrays, strict=True):
            with torch.no_grad():
                wanted = encoder({key: torch.from_numpy(array) for key, array in each.items()})
            for ours in wanted:
                np.testing.assert_allclose(found.pop(0), ours.numpy(), atol=2e-5, rtol=1e-4, err_msg=name)
