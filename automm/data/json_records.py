"""JSON files of records, with errors that name file and record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from automm.errors import DataError

_KIND = {str: "a string", int: "an integer", list: "a list", dict: "an object"}


def need_path(given: Any, key: str, *, folder: bool = False) -> Path:
    """The path an option gives, absolute; relative ones start where the user stands.

    Raises:
        DataError: it is not given, or nothing of the right sort is there.
    """
    if not given:
        raise DataError(f"{key} is not set. Next: give it a {'folder' if folder else 'file'}, {key}=PATH.")
    path = Path(str(given)).expanduser().absolute()
    if not (path.is_dir() if folder else path.is_file()):
        found = "a folder" if path.is_dir() else "a file" if path.is_file() else "nothing"
        raise DataError(
            f"{key}={given} should be a {'folder' if folder else 'file'}; there is {found} at {path}. "
            "Next: check the path; relative ones start at the directory you run automm in."
        )
    return path


def read_json(path: Path) -> Any:
    """What the file holds.

    Raises:
        DataError: it is no JSON (line and column are named), or no UTF-8.
    """
    try:
        return json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}. "
            "Next: see whether the download was cut short."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}. Next: see that it is the unpacked JSON file.") from error


def records(content: Any, key: str, path: Path) -> list[Any]:
    """The list under `key`.

    Raises:
        DataError: there is none, or it is empty.
    """
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list) or not found:
        has = (
            f"an object with {', '.join(content) or 'no keys'}" if isinstance(content, dict) else type(content).__name__
        )
        raise DataError(f'{path} should hold {{"{key}": [...]}} with at least one record; found {has}.')
    return found


def lack(record: Any, wanted: dict[str, type]) -> str | None:
    """What a record misses of the keys and types it should have, in a phrase; None when nothing."""
    if not isinstance(record, dict):
        return f"it is {type(record).__name__}, not an object"
    for key, kind in wanted.items():
        if key not in record:
            return f"it has no {key!r}"
        if not isinstance(record[key], kind) or isinstance(record[key], bool):
            return f"its {key!r} is {record[key]!r:.40}, not {_KIND[kind]}"
    return None


def read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """Line number and content of every line that is not blank.

    Raises:
        DataError: a line is no JSON, or the file no UTF-8.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")  # other ends of lines may stand within a text
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}. Next: save it as UTF-8.") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, json.loads(line, object_pairs_hook=_once)
            except _Twice as twice:
                raise DataError(
                    f"{path}, line {number} has {twice.key!r} twice. Next: rename one of the two."
                ) from None
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{path}, line {number} is not valid JSON: {error.msg} at column {error.colno}."
                ) from error


class _Twice(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, of which `json` would keep the last of two values under one key and say nothing."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return found
