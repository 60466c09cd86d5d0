"""Small real models over a made-up table of pictures and questions, untrained: an export must hold for any weights."""

import importlib.util
from pathlib import Path

import numpy as np

from automm import registry
from automm.building import build_model, fit_preprocessors
from automm.export.checkpoint import Trained
from automm.settings import ComponentSettings
from automm.types import Column, FieldSpec, Schema, Table

SCHEMA = Schema((FieldSpec("image", "image"), FieldSpec("question", "text")))
QUESTIONS = (
    "what is it?",
    "what is left of the red one, and how many are there of its shape?",
    "red?",
    "is it a circle or not?",
)
CANDIDATE = {
    "encoder.image.name": "convnet",
    "encoder.image.options.convnet.width": 16,
    "encoder.image.options.convnet.channels": 8,
    "encoder.text.name": "text_transformer",
    "encoder.text.options.text_transformer.width": 16,
    "fusion.name": "concat",
    "training.solver": "gradient",
}


def make_table(rows=12):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (20, 24, 3), np.uint8) for _ in range(4)]
    index = np.arange(rows, dtype=np.int64)
    return Table(
        SCHEMA,
        {"image": Column(images, index % 4), "question": Column(QUESTIONS, index * 3 % 4)},
        [("yes", "no", "circle")[at % 3] for at in range(rows)],
        list(range(rows)),
    )


def make_trained(fusion="concat", **more):
    return _trained(make_table(), {**CANDIDATE, "fusion.name": fusion, **more})


def _trained(table, candidate):
    task = registry.get("task", "vqa").factory()
    task.fit(table)
    preprocessors = fit_preprocessors(candidate, table.schema, table)
    model = build_model(candidate, table.schema, task, preprocessors=preprocessors, seed=1).eval()
    rows = [table.row(at) for at in range(6)]
    metrics = {"valid": {"accuracy": 0.5}}
    return Trained(model, task, ComponentSettings("vqa"), table.schema, candidate, preprocessors, rows, metrics)


def tool_main(argv):
    """`tools/export_onnx.py`, which is no package."""
    spec = importlib.util.spec_from_file_location("export_onnx", Path(__file__).parents[2] / "tools" / "export_onnx.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(argv)


def make_text_only():
    """A model of one field: the cheapest to export."""
    whole = make_table()
    schema = Schema((SCHEMA["question"],))
    table = Table(schema, {"question": whole.columns["question"]}, whole.targets, whole.ids)
    candidate = {path: value for path, value in CANDIDATE.items() if not path.startswith("encoder.image")}
    candidate["encoder.text.options.text_transformer.layers"] = 0
    return _trained(table, candidate)
