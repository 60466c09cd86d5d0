"""Trained models combined into one that can be exported, and the file that says which."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import nn

from automm.building import encoder_of
from automm.encoders.encoder import Encoder
from automm.ensemble import Ensemble
from automm.errors import StudyError
from automm.export.checkpoint import Trained, load_model
from automm.model import Model
from automm.training import checkpoint, soup

# beside the members' folders: `valid`, the metrics of the whole, and of an ensemble `weights` by name; of a soup the
# names, `soup`, and its `temperature`
MEMBERS = "ensemble.json"


def stirred(members: Sequence[Trained], valid: Mapping[str, float], temperature: float) -> Trained:
    """The first of several with the mean of their weights.

    Args:
        members: the same network, from the same initial weights.
        valid: validation metrics of the whole.
        temperature: what calibrates it.
    """
    model = copy.deepcopy(cast(Model, members[0].model))
    checkpoint.load_weights(model, soup.mean([checkpoint.weights(each.model) for each in members]))
    model.temperature.fill_(temperature)
    return replace(members[0], model=model.eval(), metrics={"valid": valid}, soup=len(members))


def combined(members: Mapping[str, Trained], weights: Mapping[str, float], valid: Mapping[str, float]) -> Trained:
    """One trained model of several, the first of which lends its preprocessing and its rows.

    Args:
        members: by name; their preprocessing is the same.
        weights: by name.
        valid: validation metrics of the whole.
    """
    chosen = [members[name] for name in weights]
    model = Ensemble([cast(Model, each.model) for each in chosen], list(weights.values()), _shared(chosen))
    return replace(chosen[0], model=model.eval(), metrics={"valid": valid}, members=tuple(chosen))


def load_members(folder: Path) -> Trained | None:
    """The combination that `folder` describes; None where it describes none.

    Raises:
        StudyError: it, or a member, is damaged.
    """
    file = folder / MEMBERS
    if not file.is_file():
        return None
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        valid, names = dict(said["valid"]), list(said.get("soup") or said["weights"])
        found = {name: load_model(folder / name) for name in names}
        if "soup" in said:
            return stirred(list(found.values()), valid, float(said["temperature"]))
        return combined(found, dict(said["weights"]), valid)
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{file} cannot be read: {error!r}. Next: run again.") from error


def _shared(members: Sequence[Trained]) -> dict[str, Encoder]:
    """By field, the first member's encoder, where every member's has the same options and the same weights."""
    out = {}
    for at, field in enumerate(members[0].schema.inputs):
        encoders = [each.model.encoders[at] for each in members]
        built = [encoder_of(each.candidate, field) for each in members]
        if all(b == built[0] for b in built) and all(_same(encoders[0], other) for other in encoders[1:]):
            out[field.name] = cast(Encoder, encoders[0])
    return out


def _same(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
