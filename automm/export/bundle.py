"""From a trained model to a bundle that is whole, proved and alone: written beside its place, renamed into it last."""

from __future__ import annotations

import gc
import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from automm.ensemble import Ensemble
from automm.errors import ExportError
from automm.export.checkpoint import Trained, replacing
from automm.export.graph import SCORES, export_graph, graph_inputs
from automm.export.latency import measure_latency
from automm.export.parity import MOST_ROWS, check_parity
from automm.runtime.bundle import GOLDEN
from automm.runtime.kinds import save_preprocess
from automm.runtime.manifest import MANIFEST, SCHEMA, GraphInput
from automm.runtime.predictor import Predictor
from automm.runtime.rows import ROWS, read_rows, write_rows
from automm.settings import ExportSettings
from automm.training.allocator import LITTLE, give_back

VARIANT = "fp32"
_FILE = f"model.{VARIANT}.onnx"
_VERSIONS = ("automm", "torch", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow", "tokenizers")


def write_bundle(
    out: Path, trained: Trained, settings: ExportSettings, *, config_yaml: str = "", timed: bool = True
) -> dict[str, Any]:
    """Export `trained` as the bundle `out`, which replaces an older bundle there.

    Args:
        out: the bundle's folder; a folder that is no bundle is never overwritten.
        trained: the model, its preprocessing, and raw rows to prove the export on.
        settings: opset, tolerance, how many golden rows.
        config_yaml: the run's configuration, stored with the bundle and hashed.
        timed: whether its latency is measured; `write_latency` does so later, where something else is running now.

    Returns:
        The manifest.

    Raises:
        ExportError: it cannot be exported, or is not the same function; then nothing is left behind.
        DataError: a raw row cannot be read.
    """
    if out.exists() and not (out / MANIFEST).is_file() and (out.is_file() or any(out.iterdir())):
        raise ExportError(f"{out} exists and is no bundle; it is not overwritten. Next: choose another folder.")
    if not trained.rows:
        raise ExportError("an export is proved on raw rows, and none were given. Next: give at least one.")
    with replacing(out) as folder:
        (folder / "config.yaml").write_text(config_yaml, encoding="utf-8")
        rows = _write_golden(folder / GOLDEN, trained, settings.golden)
        fields = _write_preprocess(folder, trained)
        inputs = graph_inputs(trained.preprocessors)
        manifest = _manifest(trained, settings, fields, inputs, config_yaml)
        _write_graph(folder / _FILE, trained, inputs, rows, settings.opset)
        gc.collect()  # the graphs that were traced refer to each other, and are large: no need to have a session beside
        give_back(LITTLE)
        _write_expected(folder, [])
        _write_manifest(folder, manifest)
        _prove(folder, trained, manifest, rows, manifest["golden"]["tolerance"])
        _write_manifest(folder, manifest)
        if timed:
            manifest = write_latency(folder)
        Predictor.open(folder)  # as a user will: every hash, every golden row
    give_back(LITTLE)
    return manifest


def write_latency(folder: Path) -> dict[str, Any]:
    """Measure how long a bundle takes on this machine, and write it in its manifest, which comes back."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    golden = read_rows((folder / GOLDEN / ROWS).read_text(encoding="utf-8"), lambda name: folder / GOLDEN / name)
    (variant,) = manifest["graphs"][0]["variants"]
    variant["latency"] = measure_latency(Predictor.open(folder, verify=False), golden)
    _write_manifest(folder, manifest)
    return manifest


def _write_golden(folder: Path, trained: Trained, golden: int) -> list[dict[str, Any]]:
    """Store the golden rows and return them as the bundle holds them, so that both sides read the same bytes."""
    chosen = trained.rows[: max(golden, 1)]
    write_rows(folder, chosen, {spec.name: spec.modality for spec in trained.schema.inputs})
    return read_rows((folder / ROWS).read_text(encoding="utf-8"), lambda name: folder / name)


def _write_preprocess(folder: Path, trained: Trained) -> list[dict[str, Any]]:
    fields = []
    for number, (name, preprocess) in enumerate(trained.preprocessors.items()):
        place = f"preprocess/{number}"
        saved = {**save_preprocess(preprocess, folder / place), "folder": place}
        fields.append({"name": name, "modality": trained.schema[name].modality, "preprocess": saved})
    return fields


def _write_graph(
    file: Path, trained: Trained, inputs: tuple[GraphInput, ...], rows: list[dict[str, Any]], opset: int
) -> None:
    arrays = {}
    for name, preprocess in trained.preprocessors.items():
        ready = preprocess([row.get(name) for row in rows[:2]])
        arrays.update({each.name: ready[str(each.key)] for each in inputs if each.field == name})
    arrays[inputs[-1].name] = np.ones((len(rows[:2]), len(trained.preprocessors)), np.bool_)
    export_graph(file, model=trained.model, task=trained.task, inputs=inputs, arrays=arrays, opset=opset)


def _manifest(
    trained: Trained,
    settings: ExportSettings,
    fields: list[dict[str, Any]],
    inputs: tuple[GraphInput, ...],
    config_yaml: str,
) -> dict[str, Any]:
    """Everything but what is measured on the written files."""
    labels = list(trained.task.labels)
    outputs = trained.task.outputs(trained.model.widths)
    scores = {"name": SCORES, "dtype": "float32", "shape": ["batch", outputs]}
    variant = {"name": VARIANT, "file": _FILE, "requires": [], "opset": settings.opset, "metrics": trained.metrics}
    return {
        "schema": SCHEMA,
        "task": {"name": trained.task_settings.name, "decode": trained.task.DECODE, "labels": labels},
        "fields": fields,
        "graphs": [{"name": "model", "inputs": list(map(vars, inputs)), "outputs": [scores], "variants": [variant]}],
        "golden": {"tolerance": settings.tolerance * trained.task.score_scale},
        "candidate": trained.candidate,
        **_members(trained),
        "config": {"file": "config.yaml", "sha256": hashlib.sha256(config_yaml.encode()).hexdigest()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _VERSIONS}},
        "files": {},
    }


def _members(trained: Trained) -> dict[str, Any]:
    """What an ensemble is made of, or how many models a soup."""
    if trained.soup:
        return {"soup": trained.soup}
    if not isinstance(trained.model, Ensemble):
        return {}
    pairs = zip(trained.model.weights, trained.members, strict=True)
    return {"members": [{"weight": weight, "candidate": member.candidate} for weight, member in pairs]}


def _prove(
    folder: Path, trained: Trained, manifest: dict[str, Any], golden: list[dict[str, Any]], tolerance: float
) -> None:
    """Measure parity on the written files; store it and the golden rows' scores."""
    predictor = Predictor.open(folder, verify=False)
    (variant,) = manifest["graphs"][0]["variants"]
    variant["parity"] = {
        "given": check_parity(trained, predictor, trained.rows[:MOST_ROWS], tolerance=tolerance),
        "golden": check_parity(trained, predictor, golden, tolerance=tolerance),
    }
    _write_expected(folder, predictor.scores(golden).tolist())


def _write_expected(folder: Path, scores: list[list[float]]) -> None:
    (folder / GOLDEN / "expected.json").write_text(json.dumps({"scores": scores}) + "\n", encoding="utf-8")


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    manifest["files"] = {
        path.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
