"""Whether a value suits an option, whose type is its annotation as written in the component's signature."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from automm.errors import OutOfRange
from automm.registry import Option

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,), "Path": (str,), "bool": (bool,), "int": (int,), "float": (int, float), "None": (type(None),),
    "Mapping": (Mapping,), "dict": (Mapping,), "Sequence": (list, tuple), "list": (list,), "tuple": (list, tuple),
}  # fmt: skip


def check_type(path: str, option: Option, value: Any) -> None:
    """Raise OutOfRange unless the option may hold `value`, as far as its annotation tells."""
    if not _fits(option.annotation, value):
        raise OutOfRange(f"{path}={value} is not allowed: it takes {option.annotation}, not {type(value).__name__}")


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
