"""From a candidate to its components: preprocessing, encoders, fusion, solver, and the model of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from automm import paths, registry
from automm.blame import blamed
from automm.data.packed import Packed
from automm.encoders.encoder import Encoder
from automm.errors import ConfigError, OutOfRange, UnknownKey, near_miss
from automm.model import Model
from automm.registry import Component
from automm.runtime.preprocess import Preprocess
from automm.space import Candidate
from automm.tasks.task import Task
from automm.types import FeatureSpec, FieldSpec, Schema, Table

if TYPE_CHECKING:
    from automm.training.solver import Solver


def fit_preprocess(candidate: Candidate, spec: FieldSpec, train: Table) -> Preprocess:
    """The preprocessing of an input field, fitted on the training table's distinct values.

    Raises:
        ConfigError: the candidate names no encoder for its modality, or one that cannot read it.
        DataError: the values cannot be learnt from.
    """
    component, options = encoder_of(candidate, spec)
    column = train.columns[spec.name]
    used = np.unique(column.index[column.index >= 0])
    values = column.values.take(used) if isinstance(column.values, Packed) else [column.values[at] for at in used]
    fitted: Preprocess = component.factory.fit_preprocess(spec, values, **options)
    return fitted


def fit_preprocessors(candidate: Candidate, schema: Schema, train: Table) -> dict[str, Preprocess]:
    """That of every input field; raises as `fit_preprocess`."""
    return {spec.name: fit_preprocess(candidate, spec, train) for spec in schema.inputs}


def build_model(
    candidate: Candidate,
    schema: Schema,
    task: Task,
    *,
    preprocessors: Mapping[str, Preprocess],
    stand_ins: Mapping[str, Encoder] | None = None,
    seed: int = 0,
) -> Model:
    """The untrained model of a candidate. The same seed gives the same weights; torch's own generator is left alone.

    Args:
        candidate: says what to build.
        schema: its inputs are read.
        task: fitted.
        preprocessors: by field; of those that no stand-in reads.
        stand_ins: encoders to take as they are, by field, instead of what the candidate names.
        seed: of the initial weights.

    Raises:
        ConfigError: a component that does not fit, an unknown option, or fields that cannot be fused.
        TrialFailed: a component raised while it was built.
    """
    solver = build_solver(candidate)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoders = {
            field.name: (stand_ins or {}).get(field.name) or build_encoder(candidate, field, preprocessors[field.name])
            for field in schema.inputs
        }
        specs = [encoder.spec for encoder in encoders.values()]
        component, options = _component("fusion", str(candidate["fusion.name"]), "fusion.options", candidate)
        reason = component.factory.accepts(specs)
        if reason is not None:
            raise ConfigError(
                f"fusion {component.name!r} cannot fuse these fields: {reason}. Next: choose another fusion."
            )
        with blamed(f"the fusion {component.name!r}"):
            fusion = solver.fusion(component.factory(specs, **options), specs)
        return Model(encoders, fusion, [solver.head(task, width) for width in fusion.widths])


def build_solver(candidate: Candidate) -> Solver:
    """The solver of a candidate.

    Raises:
        ConfigError: no such solver, or an option it does not take.
    """
    given = {path.removeprefix("training."): value for path, value in candidate.items() if path.startswith("training.")}
    component = registry.get("solver", str(given.pop("solver", "gradient")))
    component.check_options(given)
    solver: Solver = component.factory(**given)
    return solver


def incompatible(candidate: Candidate, specs: Sequence[FeatureSpec]) -> str | None:
    """Why encoders that return these, the fusion and the solver do not go together; None when they do.

    Raises:
        TrialFailed: the fusion raised while it was built.
    """
    component, options = _component("fusion", str(candidate["fusion.name"]), "fusion.options", candidate)
    reason = build_solver(candidate).refuses(candidate) or component.factory.accepts(specs)
    if reason is None:
        try:
            with torch.random.fork_rng(devices=[]), blamed(f"the fusion {component.name!r}"):
                component.factory(specs, **options)
        except OutOfRange as error:  # heads that do not divide a width, say
            reason = str(error)
    return reason if reason is None or component.name in reason else f"fusion {component.name!r}: {reason}"


def build_encoder(candidate: Candidate, spec: FieldSpec, preprocess: Preprocess) -> Encoder:
    """The candidate's encoder of a field, with its weights.

    Raises:
        ConfigError: the candidate names none that reads it, an unknown option, or weights that are not there.
        TrialFailed: it raised while it was built.
    """
    component, options = encoder_of(candidate, spec)
    with blamed(f"the encoder {component.name!r} of {spec.name!r}"):
        encoder: Encoder = component.factory(spec, preprocess, **options)
    if "weights" in component.options:
        encoder.pretrained = options.get("weights", component.options["weights"].default) is not None
    return encoder


def encoder_of(candidate: Candidate, spec: FieldSpec) -> tuple[Component, dict[str, Any]]:
    """The encoder component of a field and its options.

    Raises:
        ConfigError: the candidate names no encoder for its modality, or one that cannot read it.
    """
    section = paths.section_of(spec, candidate)
    path = f"{section}.name"
    if path not in candidate:
        raise UnknownKey(
            f"the field {spec.name!r} is {spec.modality}, and no {path} says what encodes it. "
            f"{near_miss(path, (p for p in candidate if p.endswith('.name')))} Next: add encoder/{spec.modality}=NAME."
        )
    component, options = _component("encoder", str(candidate[path]), f"{section}.options", candidate)
    if spec.modality not in component.factory.MODALITIES:
        raise ConfigError(
            f"{path}={component.name}: that encoder reads {', '.join(component.factory.MODALITIES)}, and the field "
            f"{spec.name!r} is {spec.modality}. Next: choose another encoder, or set the field's modality."
        )
    return component, options


def _component(kind: str, name: str, prefix: str, candidate: Candidate) -> tuple[Component, dict[str, Any]]:
    """A component and what the candidate says about it under `<prefix>.<name>.`; unknown options raise UnknownKey."""
    component = registry.get(kind, name)
    start = f"{prefix}.{name}."
    options = {path.removeprefix(start): value for path, value in candidate.items() if path.startswith(start)}
    component.check_options(options)
    return component, options
