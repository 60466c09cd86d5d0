"""What a configuration says about components, as a `Space`, and what of it there is to decide for some data.

How a section pins and narrows is said in `narrowing.py`. Knows no Hydra. Only the components that are named are
imported.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, get_args

from automm import paths, registry
from automm.errors import BrokenPlugin, ConfigError, UnknownKey, near_miss
from automm.narrowing import Layer, Section, candidates, check_shared, nested, of_shared, one_of, usable, without
from automm.option_types import check_type
from automm.registry import REQUIRED, Component
from automm.settings import ComponentSettings
from automm.space import OneOf, Param, Space
from automm.types import Modality, Scalar

log = logging.getLogger(__name__)

AUTO = ("pretrained", "scratch")  # the lists that `name: auto` of an encoder chooses between
_NAMES_WEIGHTS = ("weights", "model")


def build_space(encoder: Section, fusion: Section, training: Section) -> Space:
    """The Space of `encoder.<modality>.*`, `fusion.*` and `training.*`.

    Args:
        encoder: by modality: `name` (a name, a list of names or `all`), `options` by name, and any option to give to
            whichever candidates take it.
        fusion: `name` and `options` by name.
        training: `solver` (as a name) and options for whichever candidate solvers take them.

    Raises:
        ConfigError: an unknown modality, name or option, or a value that is not allowed.
        PluginError: a component that is named cannot be used.
    """
    params: dict[str, Param] = {}
    for modality, layer in modality_layers(encoder):
        try:
            params[f"{layer.where}.name"] = encoder_choice([layer], modality)
        except BrokenPlugin as error:  # named by a preset, for data that may have no such column
            if layer.section.get("name") != "auto":
                raise
            log.warning("columns of %s cannot be read: %s", modality, error)
    fused = nested("fusion", [Layer("fusion", fusion)])
    fitting = Layer("training", without(training, ["solver"]))
    components = candidates("solver", "training.solver", training.get("solver"))
    odd = [option for option in fitting.shared if not any(option in each.options for each in components)]
    if odd:  # a preset may serve several solvers
        check_shared(fitting.where, odd, [*components, *usable("solver")])
    solver = one_of((each, fitting.where, of_shared(fitting, each)) for each in components)
    for each in components:
        _try_values(each, solver.children.get(each.name, Space()))
    return Space({**params, **_fitted(components, solver, fused)})


def _try_values(solver: Component, space: Space) -> None:
    """Build a solver with each value of an option that its own space does not judge, so that it does so itself."""
    declared = {option for option, _ in solver.space.paths()}
    for path, param in space.params.items():
        option = path.removeprefix("training.")
        if option not in declared and isinstance(param, OneOf):
            for value in param.choices:
                solver.factory(**{option: value})


def modality_layers(encoder: Section) -> Iterator[tuple[str, Layer]]:
    """The sections of modalities, one by one.

    Raises:
        UnknownKey: there is no such modality.
    """
    known = get_args(Modality)
    for modality, section in encoder.items():
        if modality in known and section is not None:
            yield modality, Layer(f"encoder.{modality}", section)
        elif modality not in (*known, paths.BY_COLUMN):
            raise UnknownKey(
                f"no modality {modality!r} for encoder.{modality}. {near_miss(modality, (*known, paths.BY_COLUMN))}"
            )


def encoder_choice(layers: Sequence[Layer], modality: str) -> OneOf:
    """The choice among encoders that the layers make for a modality.

    Raises:
        ConfigError: a name, an option or a value that cannot be.
        WrongModality: an encoder that is named does not read the modality.
    """
    return nested("encoder", _resolved(layers), modality)


def _resolved(layers: Sequence[Layer]) -> list[Layer]:
    """The layers with `name: auto` replaced by one of its two lists: that of pretrained encoders where weights or a
    model are named, else that of encoders that need no download.

    What such a preset says of a candidate's options gives way to what the same section says to all candidates, for only
    a user does.
    """
    said = _said_last(layers, ("name", *AUTO))
    plain = [replace(each, section=without(each.section, AUTO)) for each in layers]
    if said.get("name") != "auto" or said.keys() == {"name"}:
        return plain
    parts = [{key: value for each in plain for key, value in each.section.items() if key in _NAMES_WEIGHTS}]
    parts += [part or {} for each in plain for part in (each.section.get("options") or {}).values()]
    named = any(part.get(key) is not None for part in parts for key in _NAMES_WEIGHTS)
    if not named:  # a null that says so is not for encoders without weights
        plain = [replace(each, section=without(each.section, _NAMES_WEIGHTS)) for each in plain]
    which, last = AUTO[0] if named else AUTO[1], plain[-1]
    if which not in said:
        raise ConfigError(f"{last.where}.name=auto has no list to choose from. Next: add {last.where}.{which}=[...]")
    plain = [replace(each, section=_shared_first(each)) if each.preset else each for each in plain]
    return [*plain[:-1], replace(plain[-1], section={**plain[-1].section, "name": said[which]})]


def _shared_first(layer: Layer) -> Section:
    """A layer's section, in which no candidate's own options repeat what is said to all of them."""
    own = layer.section.get("options") or {}
    return {**layer.section, "options": {name: without(options or {}, layer.shared) for name, options in own.items()}}


def _said_last(layers: Sequence[Layer], keys: Iterable[str]) -> dict[str, Any]:
    """By key, what the last layer that says anything says."""
    return {k: each.section[k] for each in layers for k in keys if each.section.get(k) is not None}


def _fitted(components: Sequence[Component], solver: OneOf, fused: OneOf) -> dict[str, Param]:
    """The fusion and the solver. Where a solver goes with some fusions alone, the fusion is chosen after the solver."""
    limits = {each.name: getattr(each.factory, "FUSIONS", None) for each in components}
    if not any(limits.values()):
        return {"fusion.name": fused, "training.solver": solver}
    children: dict[Scalar, Space] = {}
    for name, limit in limits.items():
        allowed = fused if limit is None else _only(fused, limit)
        if allowed is not None:
            own = solver.children.get(name, Space())
            children[name] = Space({"fusion.name": allowed, **own.params})
    if not children:
        asked, goes = ", ".join(map(str, fused.choices)), ", ".join(limits[components[0].name] or ())
        raise ConfigError(
            f"training.solver={components[0].name} does not go with fusion.name={asked}. Next: one of {goes}, or "
            "training.solver=gradient."
        )
    return {"training.solver": OneOf(tuple(children), children=children)}


def _only(fused: OneOf, names: Sequence[str]) -> OneOf | None:
    """The choice among these names alone, without what they would search; None where none is left."""
    left = tuple(name for name in fused.choices if name in names)
    return OneOf(left) if left else None


def encoder_names(section: Section) -> Iterable[Any]:
    """What an encoder's section names: a name or a list, or the two lists of `auto`."""
    if section.get("name") == "auto" and any(key in section for key in AUTO):
        return [section[key] for key in AUTO if key in section]
    return [section.get("name")]


def for_modalities(space: Space, modalities: Iterable[str], *, shared: Iterable[str] | None = None) -> Space:
    """The space without what concerns other modalities than these: what there is to decide for some data.

    Args:
        space: of a configuration.
        modalities: of the input fields of the data, one each.
        shared: those of them with a column that goes by its modality's encoder; None = all.
    """
    fields = tuple(modalities)
    return _concerning(space, fields, set(fields if shared is None else shared))


def _concerning(space: Space, fields: Sequence[str], shared: set[str]) -> Space:
    kept: dict[str, Param] = {}
    for path, param in space.params.items():
        if _concerns(path, fields, shared):
            if isinstance(param, OneOf) and param.children:
                children = {choice: _concerning(each, fields, shared) for choice, each in param.children.items()}
                param = replace(param, children={choice: child for choice, child in children.items() if child.params})
            kept[path] = param
    return Space(kept)


def _concerns(path: str, fields: Sequence[str], shared: set[str]) -> bool:
    """Whether there is something to decide at a path: an encoder is for a modality, a weight for one of several, what
    happens to images for images, and only where there are several fields can a row lose one."""
    modalities = set(fields)
    if path == "training.modality_dropout":
        return len(fields) > 1
    if path in ("training.augment", "training.views"):
        return "image" in modalities
    weighed = path.removeprefix("training.").removesuffix("_weight")
    if path == f"training.{weighed}_weight" and weighed in get_args(Modality):
        return weighed in modalities and len(modalities) > 1
    if not path.startswith("encoder.") or paths.field_of(path) is not None:
        return True
    return path.split(".")[1] in shared


def component(kind: str, where: str, section: Section) -> ComponentSettings:
    """A single component with its options, checked against its signature. Nothing here is searched: null is None.

    Args:
        kind: the component's kind.
        where: the section's path in the configuration.
        section: `name` and the options beside it.
    """
    name = section.get("name")
    if not isinstance(name, str):
        raise ConfigError(f"{where}.name={name} names no {kind}. {near_miss(str(name), registry.names(kind))}")
    found = registry.get(kind, name)
    options = {option: value for option, value in section.items() if option != "name"}
    missing = [o.name for o in found.options.values() if o.default is REQUIRED and options.get(o.name) is None]
    if missing:
        asked = " ".join(f"{where}.{option}=..." for option in missing)
        raise ConfigError(f"{kind} {name!r} needs {', '.join(missing)}, which nothing gives. Next: add {asked}")
    for option, value in options.items():
        if option not in found.options:
            raise UnknownKey(f"{kind} {name!r} has no option {where}.{option}. {near_miss(option, found.options)}")
        check_type(f"{where}.{option}", found.options[option], value)
        if option in found.space.params and not found.space.params[option].holds(value):
            found.space.narrow(option, value)  # raises and says what is allowed
    return ComponentSettings(name, options)
