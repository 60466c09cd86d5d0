"""`encoder.fields.<column>`: what encodes one column, where that is not left to its modality's section.

A section here says what a modality's may, and inherits what it leaves unsaid from that of the column's modality. Which
that is, only the data tells: the choice is made for every modality beforehand, and the column's taken from these once
the schema is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from automm import choices, registry
from automm.errors import ConfigError, UnknownKey, near_miss
from automm.narrowing import Layer, Section, WrongModality, check_name, check_reads
from automm.paths import BY_COLUMN, FIELDS, of_field
from automm.settings import FieldEncoder
from automm.space import OneOf, Param, Space
from automm.types import Modality, Schema


def check_names(encoder: Section) -> None:
    """Raise ConfigError unless `encoder.fields` holds sections that name installed encoders; imports nothing."""
    for _, layer in _layers(encoder):
        for key in ("name", *choices.AUTO):
            wanted = layer.section.get(key)
            if wanted is not None and (key, wanted) != ("name", "auto"):
                check_name("encoder", f"{layer.where}.{key}", wanted)


def field_encoders(encoder: Section) -> dict[str, FieldEncoder]:
    """What `encoder.fields` leaves to be searched, by column.

    Raises:
        ConfigError: a name, an option or a value that suits a column of no modality.
        PluginError: an encoder that is named cannot be used.
    """
    of_modality = dict(choices.modality_layers(encoder))
    found = {}
    for name, layer in _layers(encoder):
        spaces: dict[str, Space] = {}
        refused: dict[str, ConfigError] = {}
        for modality in get_args(Modality):
            inherited = [of_modality[modality]] if modality in of_modality else []
            try:
                spaces[modality] = Space({f"{layer.where}.name": _choice([*inherited, layer], modality)})
            except ConfigError as error:
                refused[modality] = error
        if not spaces:
            raise next((e for e in refused.values() if not isinstance(e, WrongModality)), next(iter(refused.values())))
        found[name] = FieldEncoder(spaces, {modality: str(error) for modality, error in refused.items()})
    return found


def for_schema(space: Space, own: Mapping[str, FieldEncoder], schema: Schema) -> Space:
    """What there is to decide for a table: the space without encoders of modalities that none of its columns goes by,
    and with those of columns that have a section of their own.

    Args:
        space: of the configuration.
        own: of columns with a section of their own, by name.
        schema: the table's.

    Raises:
        UnknownKey: a section is of no input column.
        ConfigError: a section does not suit its column's modality.
    """
    inputs = {field.name: field.modality for field in schema.inputs}
    params: dict[str, Param] = {}
    for name, found in own.items():
        if name not in inputs:
            raise UnknownKey(f"{of_field(name)}: the data has no such input column. {near_miss(name, inputs)}")
        if inputs[name] not in found.spaces:
            raise ConfigError(f"the column {name!r} is {inputs[name]}. {found.refused[inputs[name]]}")
        params.update(found.spaces[inputs[name]].params)
    shared = {modality for name, modality in inputs.items() if name not in own}
    kept = choices.for_modalities(space, inputs.values(), shared=shared).params
    encoders = {path: param for path, param in kept.items() if path.startswith("encoder.")}
    return Space({**encoders, **params, **kept})


def _layers(encoder: Section) -> Iterator[tuple[str, Layer]]:
    """The sections of columns; null says nothing."""
    fields = encoder.get(BY_COLUMN)
    if fields is not None and not isinstance(fields, Mapping):
        raise ConfigError(f"{FIELDS}={fields} is no map of columns. Next: {FIELDS}.COLUMN.name={fields}")
    for name, section in (fields or {}).items():
        if section is not None:
            yield str(name), Layer(of_field(str(name)), _checked(str(name), section), preset=False)


def _checked(name: str, section: Any) -> Section:
    """A column's section, where it has the form of one."""
    where = of_field(name)
    if not isinstance(section, Mapping):
        raise ConfigError(f"{where}={section} is not allowed: {where} is a section. Next: {where}.name={section}")
    for key, value in section.items():
        if isinstance(value, Mapping) and key != "options":  # a dot in a name that is not quoted
            whole = f"{name}.{key}"
            raise ConfigError(f"{where}.{key} is no section. Next: {of_field(whole)}, where {whole} is the column.")
    _check_options(f"{where}.options", section.get("options"))
    for encoder, options in (section.get("options") or {}).items():
        _check_options(f"{where}.options.{encoder}", options)
    return section


def _check_options(where: str, options: Any) -> None:
    if options is not None and not isinstance(options, Mapping):
        raise ConfigError(f"{where}={options} is not allowed: {where} is a section. Next: {where}.KEY=VALUE")


def _choice(layers: list[Layer], modality: str) -> OneOf:
    """The choice for a column of this modality; what is said of encoders that are not among it was said in vain."""
    found = choices.encoder_choice(layers, modality)
    last = layers[-1]
    for name in last.section.get("options") or {}:
        if name not in found.choices:
            check_reads(registry.get("encoder", name), modality, f"{last.where}.options.{name}")
            raise ConfigError(
                f"{last.where}.options.{name}: that is no candidate here, only {', '.join(map(str, found.choices))}. "
                f"Next: {last.where}.name={name}, or leave the option out."
            )
    return found
