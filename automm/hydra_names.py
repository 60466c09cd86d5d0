"""Names in quotes within the keys of overrides (`encoder.fields."unit price".name`), spelt as Hydra's grammar allows.

A key of Hydra's is words and dots. So a quoted name travels as one word, `quoted__unit_20_price`: letters and digits as
they are, the code of any other character between underscores. In the composed configuration it is put back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from automm.errors import ConfigError
from automm.paths import QUOTED, segment, unquoted

_MARK = "quoted__"
_NAME = re.compile(rf"{QUOTED.pattern}|\b{_MARK}[\w-]*")  # a plain name that looks spelt is spelt too
_KEY = re.compile(rf"(?:{QUOTED.pattern}|[^=\"])*")
_SPELT = re.compile(rf"\b{_MARK}\w*", re.ASCII)


def spelt(word: str) -> str:
    """An override as Hydra can read it.

    Raises:
        ConfigError: what stands in quotes is no string.
    """
    key = _KEY.match(word)
    assert key is not None  # it matches nothing at least
    return _NAME.sub(lambda found: _spelt(found[0], word), key[0]) + word[key.end() :]


def respelt(word: str) -> str:
    """The inverse of `spelt`."""
    key, equals, value = word.partition("=")
    return _SPELT.sub(lambda found: segment(_name(found[0])), key) + equals + value


def with_names(tree: Any) -> Any:
    """A composed configuration with every name as it was meant."""
    if isinstance(tree, Mapping):
        return {_name(key): with_names(value) for key, value in tree.items()}
    return [with_names(each) for each in tree] if isinstance(tree, list) else tree


def _spelt(part: str, word: str) -> str:
    try:
        name = unquoted(part)
    except ValueError as error:
        raise ConfigError(
            f"the override {word!r} cannot be read: {part} is no string: {error}. "
            'Next: write a quote in a name as \\" and a backslash as \\\\.'
        ) from error
    if segment(name) == name and not name.startswith(_MARK):
        return name
    return _MARK + re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):x}_", name)


def _name(key: Any) -> Any:
    if not isinstance(key, str) or not key.startswith(_MARK):
        return key
    return re.sub(r"_([0-9a-f]+)_", lambda found: chr(int(found[1], 16)), key.removeprefix(_MARK))
