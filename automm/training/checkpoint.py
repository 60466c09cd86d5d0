"""Where a fit stands, in one file: safetensors, and as JSON in its header whatever is no tensor. Nothing is pickled.

Random streams are functions of (seed, epoch), so no generator's state is saved.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from automm.errors import StudyError

FORMAT = 1
_HEADER = "automm"


@runtime_checkable
class Resizable(Protocol):
    """A module whose shapes depend on what it is fitted to."""

    def resize_like(self, saved: Mapping[str, Sequence[int]]) -> None:
        """Take the shapes that its tensors have in `saved`, by name; another module's has none of them."""


@dataclass
class Snapshot:
    """Groups of tensors (`model`, `average`, `best`, `optimizer`) and the plain JSON beside them."""

    epoch: int
    meta: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)


def write(path: Path, snapshot: Snapshot) -> None:
    """Write the file as a whole: it is there in its new state or in its old one, whenever the process dies."""
    header = {"format": FORMAT, "epoch": snapshot.epoch, "meta": snapshot.meta}
    flat = {f"{group}/{name}": t.contiguous() for group, named in snapshot.tensors.items() for name, t in named.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(flat, partial, metadata={_HEADER: json.dumps(header)})
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def read(path: Path) -> Snapshot:
    """The inverse of `write`, on the CPU.

    Raises:
        StudyError: the file is missing, damaged or of another format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(path, file.metadata())
            tensors: dict[str, dict[str, Tensor]] = {}
            for key in file.keys():  # noqa: SIM118 - not a mapping
                group, _, name = key.partition("/")
                tensors.setdefault(group, {})[name] = file.get_tensor(key)
    except (OSError, SafetensorError, ValueError) as error:
        raise StudyError(f"the checkpoint {path} cannot be read: {error}. Next: start this trial again.") from error
    return Snapshot(header["epoch"], header["meta"], tensors)


def epochs_in(path: Path) -> int | None:
    """How many epochs a checkpoint has done; None where there is no file.

    Raises:
        StudyError: the file is damaged or of another format.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return int(_header(path, file.metadata())["epoch"])
    except (OSError, SafetensorError, ValueError) as error:
        raise StudyError(f"the checkpoint {path} cannot be read: {error}. Next: start this trial again.") from error


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters and buffers by name, tied ones once; they share memory with the module."""
    seen: set[int] = set()
    out = {}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if id(tensor) not in seen:
            seen.add(id(tensor))
            out[name] = tensor.detach()
    return out


def resize_like(module: nn.Module, saved: Mapping[str, Sequence[int]]) -> None:
    """Let every part that is `Resizable` take the shapes of what was saved of it, before that is loaded."""
    for name, part in module.named_modules():
        if isinstance(part, Resizable):
            prefix = f"{name}." if name else ""
            part.resize_like({key.removeprefix(prefix): s for key, s in saved.items() if key.startswith(prefix)})


def shapes_in(path: Path) -> dict[str, Sequence[int]]:
    """The shapes of the tensors in a safetensors file, by name."""
    with safe_open(path, framework="pt") as file:
        return {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118 - not a mapping


@torch.no_grad()
def load_weights(module: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """The inverse of `weights`, in place: memory layouts stay as the module made them.

    Raises:
        StudyError: the tensors are not this module's.
    """
    resize_like(module, {name: tensor.shape for name, tensor in saved.items()})
    mine = weights(module)
    if mine.keys() != saved.keys() or any(mine[name].shape != saved[name].shape for name in mine):
        odd = sorted(mine.keys() ^ saved.keys()) or [name for name in mine if mine[name].shape != saved[name].shape]
        raise StudyError(
            f"the checkpoint was made by a different model: {', '.join(odd[:3])} do not match. "
            "Next: start this trial again."
        )
    for name, tensor in mine.items():
        tensor.copy_(saved[name])


def _header(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    header: dict[str, Any] = json.loads((metadata or {}).get(_HEADER, "{}"))
    if header.get("format") != FORMAT:
        raise StudyError(
            f"{path} is no checkpoint that this automm reads (format {header.get('format')}, not {FORMAT}). "
            "Next: start this trial again."
        )
    return header
