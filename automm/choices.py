"""What a configuration says about components, as a `Space`: a scalar pins, a list narrows, null leaves as declared.

Where None is itself a legal value of an option (`weights`, say), null pins that. What repeats a declared default says
nothing. Knows no Hydra. Only the components that are named are imported.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from automm import registry
from automm.errors import ConfigError, OutOfRange, PluginError, UnknownComponent, UnknownKey, near_miss
from automm.registry import REQUIRED, Component, Option
from automm.settings import ComponentSettings
from automm.space import OneOf, Param, Space, pinned
from automm.types import Modality, Scalar

Section = Mapping[str, Any]
AUTO = ("pretrained", "scratch")  # the lists that `name: auto` of an encoder chooses between
_NAMES_WEIGHTS = ("weights", "model")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Given:
    """What the configuration says about one option of one component."""

    path: str  # where the user said it, for messages
    value: Any


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
    for modality, section in encoder.items():
        if modality not in get_args(Modality):
            raise UnknownKey(
                f"no modality {modality!r} for encoder.{modality}. {near_miss(modality, get_args(Modality))}"
            )
        if section is not None:
            where = f"encoder.{modality}"
            params[f"{where}.name"] = _nested("encoder", where, _resolved(section), modality)
    fused = _nested("fusion", "fusion", fusion)
    shared = {option: value for option, value in training.items() if option != "solver"}
    components = _candidates("solver", "training.solver", training.get("solver"))
    odd = {o: v for o, v in shared.items() if not any(o in each.options for each in components)}
    if odd:  # a preset may serve several solvers
        _check_shared("training", odd, [*components, *_usable("solver")])
    solver = _one_of((c, "training", _of_shared("training", shared, c)) for c in components)
    return Space({**params, **_fitted(components, solver, fused)})


def _resolved(section: Section) -> Section:
    """An encoder's section in which `name: auto` is one of its two lists: that of pretrained encoders where weights or
    a model are named, else that of encoders that need no download."""
    lists = {key: section[key] for key in AUTO if key in section}
    section = {key: value for key, value in section.items() if key not in AUTO}
    if section.get("name") != "auto" or not lists:
        return section
    section = {key: value for key, value in section.items() if value is not None or key not in _NAMES_WEIGHTS}
    own = [section, *((section.get("options") or {}).values())]
    named = any((part or {}).get(key) is not None for part in own for key in _NAMES_WEIGHTS)
    return {**section, "name": lists[AUTO[0] if named else AUTO[1]]}


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


def for_modalities(space: Space, modalities: Iterable[str]) -> Space:
    """The space without what concerns other modalities than these: what there is to decide for some data."""
    wanted = set(modalities)
    kept: dict[str, Param] = {}
    for path, param in space.params.items():
        if _concerns(path, wanted):
            if isinstance(param, OneOf) and param.children:
                children = {choice: for_modalities(child, wanted) for choice, child in param.children.items()}
                param = replace(param, children={choice: child for choice, child in children.items() if child.params})
            kept[path] = param
    return Space(kept)


def _concerns(path: str, modalities: set[str]) -> bool:
    """Whether there is something to decide at a path: an encoder is for a modality, a weight for one of several."""
    weighed = path.removeprefix("training.").removesuffix("_weight")
    if path == f"training.{weighed}_weight" and weighed in get_args(Modality):
        return weighed in modalities and len(modalities) > 1
    return encoded(path) in (None, *modalities)


def encoded(path: str) -> str | None:
    """The modality whose encoder a configuration path is about; None for a path of something else."""
    return path.split(".")[1] if path.startswith("encoder.") else None


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
        _check_type(f"{where}.{option}", found.options[option], value)
        if option in found.space.params and not found.space.params[option].holds(value):
            found.space.narrow(option, value)  # raises and says what is allowed
    return ComponentSettings(name, options)


def check_name(kind: str, where: str, wanted: Any) -> None:
    """Raise unless every name in `wanted` (a name, a list or `all`) is installed; imports nothing."""
    known = registry.names(kind)
    for name in _names(kind, where, wanted):
        if name not in known:
            raise UnknownComponent(
                f"{where}={name}: no {kind} of that name is installed. {near_miss(str(name), known)} "
                "Next: `automm plugins` lists what is installed and whether it works."
            )


def _nested(kind: str, where: str, section: Section, modality: str | None = None) -> OneOf:
    """The choice of a section that keeps options by name."""
    components = _candidates(kind, f"{where}.name", section.get("name"))
    options = section.get("options") or {}
    for name in options:
        if name not in registry.names(kind):
            raise UnknownKey(f"{where}.options.{name}: {near_miss(name, registry.names(kind))}")
    shared = {key: value for key, value in section.items() if key not in ("name", "options")}
    _check_shared(where, shared, components)
    parts = []
    for each in components:
        if modality is not None and modality not in each.factory.MODALITIES:
            reads = ", ".join(each.factory.MODALITIES)
            raise ConfigError(f"{where}.name={each.name}: that encoder reads {reads}, not {modality}.")
        prefix = f"{where}.options.{each.name}"
        own = {key: _Given(f"{prefix}.{key}", value) for key, value in (options.get(each.name) or {}).items()}
        said = {key: given for key, given in own.items() if _says_something(each, key, given.value)}
        parts.append((each, prefix, {**_of_shared(where, shared, each), **said}))
    return _one_of(parts)


def _one_of(parts: Iterable[tuple[Component, str, Mapping[str, _Given]]]) -> OneOf:
    names: list[Scalar] = []
    children: dict[Scalar, Space] = {}
    for found, prefix, given in parts:
        names.append(found.name)
        child = _subspace(found, prefix, given)
        if child.params:
            children[found.name] = child
    return OneOf(tuple(names), children=children)


def _subspace(found: Component, prefix: str, given: Mapping[str, _Given]) -> Space:
    """The component's space under `prefix`, pinned and narrowed as given."""
    space = found.space.prefixed(prefix)
    searchable = {path for path, _ in space.paths()}
    for option, said in given.items():
        path = f"{prefix}.{option}"
        if path in searchable:
            try:
                space = space.narrow(path, said.value)
            except OutOfRange as error:
                raise OutOfRange(f"{error} (set by {said.path})" if said.path != path else str(error)) from error
        elif option in found.options:
            space = space.merged(Space({path: _fixed(said, found.options[option])}))
        else:
            raise UnknownKey(
                f"{found.kind} {found.name!r} has no option {option!r}, asked for by {said.path}. "
                f"{near_miss(option, found.options)}"
            )
    return space


def _fixed(said: _Given, option: Option) -> OneOf:
    """An option outside the component's space: pinned, or one of the values listed."""
    values = said.value if isinstance(said.value, Sequence) and not isinstance(said.value, str) else [said.value]
    for value in values:
        if isinstance(value, (Mapping, list)):
            raise OutOfRange(f"{said.path}={said.value} is not allowed: a scalar pins it, a list of scalars narrows it")
        _check_type(said.path, option, value)
    return OneOf(tuple(values)) if len(values) > 1 else pinned(values[0])


def _check_shared(where: str, shared: Section, components: Sequence[Component]) -> None:
    takes = {option for each in components for option in each.options}
    for option in shared:
        if option not in takes:
            asked = ", ".join(dict.fromkeys(each.name for each in components))
            raise UnknownKey(f"{where}.{option}: none of the candidates ({asked}) takes it. {near_miss(option, takes)}")


def _of_shared(where: str, shared: Section, found: Component) -> dict[str, _Given]:
    return {
        option: _Given(f"{where}.{option}", value)
        for option, value in shared.items()
        if option in found.options and _says_something(found, option, value)
    }


def _says_something(found: Component, option: str, value: Any) -> bool:
    """Whether a value is more than what the component declares anyway: its default, or a null that can't be one."""
    searched = dict(found.space.paths())
    if option in searched:
        return value is not None or searched[option].holds(None)
    if option not in found.options:
        return True
    declared = found.options[option]
    if value is None and not re.search(r"\bNone\b", declared.annotation):
        return False
    return bool(value != declared.default) or isinstance(value, bool) != isinstance(declared.default, bool)


def _candidates(kind: str, where: str, wanted: Any) -> list[Component]:
    check_name(kind, where, wanted)
    if wanted != "all":
        return [registry.get(kind, name) for name in _names(kind, where, wanted)]
    found: list[Component] = []
    for each in _usable(kind):
        if all(each.factory is not other.factory for other in found):  # an alias is no second candidate
            found.append(each)
    return found


def _usable(kind: str) -> Iterator[Component]:
    """Every component of a kind; one that cannot be used is named in a warning and left out."""
    for name in registry.names(kind):
        try:
            yield registry.get(kind, name)
        except PluginError as error:
            log.warning("%s", error)


def _names(kind: str, where: str, wanted: Any) -> list[Any]:
    if wanted == "all":
        return registry.names(kind)
    names = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    if not names or any(not isinstance(name, str) for name in names):
        raise ConfigError(
            f"{where}={wanted} names no {kind}: a name pins it, a list of names narrows it, `all` is all."
        )
    return list(dict.fromkeys(names))


def _check_type(path: str, option: Option, value: Any) -> None:
    if not _fits(option.annotation, value):
        raise OutOfRange(f"{path}={value} is not allowed: it takes {option.annotation}, not {type(value).__name__}")


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,), "Path": (str,), "bool": (bool,), "int": (int,), "float": (int, float), "None": (type(None),),
    "Mapping": (Mapping,), "dict": (Mapping,), "Sequence": (list, tuple), "list": (list,), "tuple": (list, tuple),
}  # fmt: skip


def _fits(annotation: str, value: Any) -> bool:
    """Whether a value suits an annotation as written; whatever this does not know, the component itself judges."""
    parts = re.split(r"\s*\|\s*(?![^\[]*\])", annotation.removeprefix("<class '").removesuffix("'>"))
    return any(_fits_one(part, value) for part in parts)


def _fits_one(part: str, value: Any) -> bool:
    name = part.partition("[")[0].rpartition(".")[2]
    if name == "Literal":
        return value in ast.literal_eval(f"({part[part.index('[') + 1 : -1]},)")
    if name not in _TYPES:
        return True
    return isinstance(value, _TYPES[name]) and (name == "bool" or not isinstance(value, bool))
