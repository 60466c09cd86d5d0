"""A bundle's `manifest.json`: its shape, and how it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automm.errors import BundleError

SCHEMA = 1
MANIFEST = "manifest.json"
AGAIN = "Next: copy the bundle again from its source, or export the run again."

# What the runtime relies on: a mapping of keys (`...`: every key), a list of one thing (at least one of it), or a type.
_SHAPE: dict[str, Any] = {
    "task": {"name": str, "decode": str, "labels": [str]},
    "fields": [{"name": str, "modality": str, "preprocess": {"kind": str, "config": dict, "folder": str}}],
    "graphs": [
        {
            "name": str,
            "inputs": [{"name": str, "dtype": str, "shape": [object], "optional": bool}],
            "outputs": [{"name": str, "dtype": str, "shape": [object]}],
            "variants": [{"name": str, "file": str, "requires": list}],
        }
    ],
    "golden": {"tolerance": float},
    "files": {...: {"sha256": str}},
    "versions": dict,
}


@dataclass(frozen=True)
class GraphInput:
    """One input of a graph: entry `key` of what the preprocessing of `field` returns.

    The mask of present fields, bool [B, fields in the manifest's order], has neither field nor key.
    """

    name: str
    field: str | None
    key: str | None
    dtype: str  # numpy's name
    shape: tuple[int | str, ...]  # with the batch axis; a named dimension is dynamic
    optional: bool  # whether a row may leave the field out


def read_manifest(root: Path) -> dict[str, Any]:
    """The manifest of the bundle in `root`, checked for all that the runtime reads of it.

    Raises:
        BundleError: no bundle is there, it is of another schema, or its manifest is damaged.
    """
    path = root / MANIFEST
    if not path.is_file():
        found = "it is a file" if root.is_file() else f"it holds no {MANIFEST}" if root.is_dir() else "nothing is there"
        raise BundleError(f"{root} is not a bundle: {found}. Next: give the folder that an export wrote.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}. {AGAIN}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("versions", {}), dict):
        raise BundleError(f"{path} is no manifest. {AGAIN}")
    if manifest.get("schema") != SCHEMA:
        raise BundleError(
            f"{root} has bundle schema {manifest.get('schema')!r} (written by automm "
            f"{manifest.get('versions', {}).get('automm', 'unknown')}); this automm reads schema {SCHEMA}. "
            "Next: upgrade automm, or export the run again with this one."
        )
    complaint = _complaint(manifest, _SHAPE, "the manifest")
    if complaint:
        raise BundleError(f"{path} is damaged: {complaint}. {AGAIN}")
    return manifest


def graph_inputs_of(graph: Mapping[str, Any]) -> tuple[GraphInput, ...]:
    """The signature of one entry of a manifest's `graphs`."""
    return tuple(
        GraphInput(
            each["name"], each.get("field"), each.get("key"), each["dtype"], tuple(each["shape"]), each["optional"]
        )
        for each in graph["inputs"]
    )


def _complaint(found: Any, wanted: Any, where: str) -> str | None:
    """What is not as `wanted` says, in a phrase; None when all is."""
    if isinstance(wanted, type):
        return None if isinstance(found, wanted) else f"{where} is not a {wanted.__name__}"
    if isinstance(wanted, list):
        if not isinstance(found, list) or not found:
            return f"{where} is not a list of at least one"
        return next(filter(None, (_complaint(each, wanted[0], f"an entry of {where}") for each in found)), None)
    if not isinstance(found, dict):
        return f"{where} is not a mapping"
    asked = dict.fromkeys(found, wanted[...]) if ... in wanted else wanted
    complaints = (_complaint(found.get(key), kind, f"{key!r} of {where}") for key, kind in asked.items())
    return next(filter(None, complaints), None)
