"""What sections of a configuration say about components of one kind, as a choice among them: a scalar pins, a list
narrows, null leaves as declared.

Where None is itself a legal value of an option (`weights`, say), null pins that, and what repeats the declared default
says nothing where presets write, for they have to spell it out. Only the components that are named are imported.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from automm import registry
from automm.errors import ConfigError, OutOfRange, PluginError, UnknownComponent, UnknownKey, near_miss
from automm.option_types import check_type
from automm.registry import Component, Option
from automm.space import OneOf, Space, pinned
from automm.types import Scalar

Section = Mapping[str, Any]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layer:
    """A section for components of one kind: `name`, `options` by name, and options for whichever candidate takes them.

    Where there are several layers, the last that says anything of an option has its way.
    """

    where: str  # its path in the configuration
    section: Section
    preset: bool = True  # whether presets write into it

    @property
    def shared(self) -> Section:
        """The options for whichever candidate takes them."""
        return without(self.section, ("name", "options"))


class WrongModality(ConfigError):
    """An encoder is named for what it does not read."""


@dataclass(frozen=True)
class _Given:
    """What the configuration says about one option of one component."""

    path: str  # where the user said it, for messages
    value: Any
    inherited: bool = False  # said by another layer than the last
    of_preset: bool = False  # said of this component alone, where presets write


def nested(kind: str, layers: Sequence[Layer], modality: str | None = None) -> OneOf:
    """The choice that layers make. What is searched stands under the path of the last, whose keys are checked.

    Raises:
        ConfigError: a name, an option or a value that cannot be.
        WrongModality: a component that is named does not read `modality`.
        PluginError: a component that is named cannot be used.
    """
    last = layers[-1]
    naming = next((each for each in reversed(layers) if each.section.get("name") is not None), last)
    components = candidates(kind, f"{naming.where}.name", naming.section.get("name"))
    for name in last.section.get("options") or {}:
        if name not in registry.names(kind):
            raise UnknownKey(f"{last.where}.options.{name}: {near_miss(name, registry.names(kind))}")
    for each in components:
        if modality is not None:
            check_reads(each, modality, f"{naming.where}.name={each.name}")
    check_shared(last.where, last.shared, components)
    return one_of((each, f"{last.where}.options.{each.name}", _given(each, layers)) for each in components)


def one_of(parts: Iterable[tuple[Component, str, Mapping[str, _Given]]]) -> OneOf:
    """The choice among components, each with its options' path and what is said of them."""
    names: list[Scalar] = []
    children: dict[Scalar, Space] = {}
    for found, prefix, given in parts:
        names.append(found.name)
        child = _subspace(found, prefix, given)
        if child.params:
            children[found.name] = child
    return OneOf(tuple(names), children=children)


def candidates(kind: str, where: str, wanted: Any) -> list[Component]:
    """The components that a name, a list of names or `all` names.

    Raises:
        ConfigError: it names none, or one that is not installed.
        PluginError: a component that is named cannot be used.
    """
    check_name(kind, where, wanted)
    if wanted != "all":
        return [registry.get(kind, name) for name in _names(kind, where, wanted)]
    found: list[Component] = []
    for each in usable(kind):
        if all(each.factory is not other.factory for other in found):  # an alias is no second candidate
            found.append(each)
    return found


def usable(kind: str) -> Iterator[Component]:
    """Every component of a kind; one that cannot be used is named in a warning and left out."""
    for name in registry.names(kind):
        try:
            yield registry.get(kind, name)
        except PluginError as error:
            log.warning("%s", error)


def check_name(kind: str, where: str, wanted: Any) -> None:
    """Raise unless every name in `wanted` (a name, a list or `all`) is installed; imports nothing."""
    known = registry.names(kind)
    for name in _names(kind, where, wanted):
        if name not in known:
            raise UnknownComponent(
                f"{where}={name}: no {kind} of that name is installed. {near_miss(str(name), known)} "
                "Next: `automm plugins` lists what is installed and whether it works."
            )


def check_reads(encoder: Component, modality: str, said: str) -> None:
    """Raise WrongModality unless the encoder reads a modality; `said` is what named it."""
    if modality not in encoder.factory.MODALITIES:
        raise WrongModality(f"{said}: that encoder reads {', '.join(encoder.factory.MODALITIES)}, not {modality}.")


def check_shared(where: str, shared: Iterable[str], components: Sequence[Component]) -> None:
    """Raise UnknownKey for an option that no component takes."""
    takes = {option for each in components for option in each.options}
    for option in shared:
        if option not in takes:
            asked = ", ".join(dict.fromkeys(each.name for each in components))
            raise UnknownKey(f"{where}.{option}: none of the candidates ({asked}) takes it. {near_miss(option, takes)}")


def of_shared(layer: Layer, found: Component) -> dict[str, _Given]:
    """What a layer says of a component by what it says to all."""
    return {
        option: _Given(f"{layer.where}.{option}", value)
        for option, value in layer.shared.items()
        if option in found.options and _says_something(layer, found, option, value)
    }


def without(section: Section, keys: Iterable[str]) -> Section:
    """A section less some keys."""
    return {key: value for key, value in section.items() if key not in keys}


def _given(found: Component, layers: Sequence[Layer]) -> dict[str, _Given]:
    """What layers say of a component's options: each to all candidates first, then to that one alone."""
    out: dict[str, _Given] = {}
    for layer in layers:
        options = (layer.section.get("options") or {}).get(found.name) or {}
        prefix = f"{layer.where}.options.{found.name}"
        own = {
            option: _Given(f"{prefix}.{option}", value, of_preset=layer.preset)
            for option, value in options.items()
            if _says_something(layer, found, option, value)
        }
        said = {**of_shared(layer, found), **own}
        out |= {option: replace(given, inherited=layer is not layers[-1]) for option, given in said.items()}
    return out


def _subspace(found: Component, prefix: str, given: Mapping[str, _Given]) -> Space:
    """The component's space under `prefix`, pinned and narrowed as given."""
    space = found.space.prefixed(prefix)
    if "weights" in given and given["weights"].value is None:
        given = _learning(found, given)
        space = space.without_ladders()
    searchable = {path for path, _ in space.paths()}
    for option, said in given.items():
        path = f"{prefix}.{option}"
        if path in searchable:
            if said.inherited and all(path != left for left, _ in space.paths()):
                continue  # of a choice that has been pinned away since
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


def _learning(found: Component, given: Mapping[str, _Given]) -> Mapping[str, _Given]:
    """What is said of a component that begins with random weights. All of it is trained unless something is said of
    that: a part that is kept as it is would know nothing. A preset that leaves it frozen means other weights."""
    out = dict(given)
    for option, param in found.space.params.items():
        if not isinstance(param, OneOf) or not param.ladder:
            continue
        parts = {path for child in param.children.values() for path, _ in child.paths()}
        said = given.get(option)
        unsaid = said is None or (said.of_preset and said.value == param.choices[0])
        if unsaid and not parts & given.keys():
            out[option] = _Given(option if said is None else said.path, param.choices[-1])
        elif unsaid:
            out.pop(option, None)
    return out


def _fixed(said: _Given, option: Option) -> OneOf:
    """An option outside the component's space: pinned, or one of the values listed."""
    values = said.value if isinstance(said.value, Sequence) and not isinstance(said.value, str) else [said.value]
    for value in values:
        if isinstance(value, (Mapping, list)):
            raise OutOfRange(f"{said.path}={said.value} is not allowed: a scalar pins it, a list of scalars narrows it")
        check_type(said.path, option, value)
    return OneOf(tuple(values)) if len(values) > 1 else pinned(values[0])


def _says_something(layer: Layer, found: Component, option: str, value: Any) -> bool:
    """Whether a value says more than the component's declaration: a null that can be no value does not.

    Nor does the default of an option that may be None, where presets write; where none does, it was meant.
    """
    searched = dict(found.space.paths())
    if option in searched:
        return value is not None or searched[option].holds(None)
    if option not in found.options:
        return True
    declared = found.options[option]
    if not re.search(r"\bNone\b", declared.annotation):
        return value is not None
    same = value == declared.default and isinstance(value, bool) == isinstance(declared.default, bool)
    return not (layer.preset and same)


def _names(kind: str, where: str, wanted: Any) -> list[Any]:
    if wanted == "all":
        return registry.names(kind)
    names = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    if not names or any(not isinstance(name, str) for name in names):
        raise ConfigError(
            f"{where}={wanted} names no {kind}: a name pins it, a list of names narrows it, `all` is all."
        )
    return list(dict.fromkeys(names))
