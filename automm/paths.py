"""Columns in configuration paths: `encoder.fields.<column>.name`, `data.columns.<column>`. Knows no Hydra.

A column may be called anything, and a path has to say one thing: a name that is no plain word (letters, digits, `_` and
`-`, no digit first) stands in double quotes, as in `encoder.fields."unit price".name`, written as JSON writes strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container

from automm.types import FieldSpec

BY_COLUMN = "fields"  # in `encoder`, beside the modalities
FIELDS = f"encoder.{BY_COLUMN}"  # by column, what a modality's section says for all of its columns
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_SEGMENT = re.compile(rf"(?:{QUOTED.pattern}|[^.])+")


def segment(name: str) -> str:
    """A column's name as one segment of a path."""
    return name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def unquoted(part: str) -> str:
    """The name that a segment stands for; the inverse of `segment`.

    Raises:
        ValueError: it begins like a quoted name and is none.
    """
    return str(json.loads(part)) if part.startswith('"') else part


def segments(path: str) -> list[str]:
    """A path's segments as they stand; a dot within quotes does not end one."""
    return _SEGMENT.findall(path)


def of_field(name: str) -> str:
    """Where the configuration says what encodes this column alone."""
    return f"{FIELDS}.{segment(name)}"


def field_of(path: str) -> str | None:
    """The column that a path below `encoder.fields` is about; None for any other path."""
    return unquoted(segments(path)[2]) if path.startswith(f"{FIELDS}.") else None


def section_of(field: FieldSpec, candidate: Container[str]) -> str:
    """Where a candidate says what encodes a field: in a section of its own, or in that of its modality."""
    own = of_field(field.name)
    return own if f"{own}.name" in candidate else f"encoder.{field.modality}"
