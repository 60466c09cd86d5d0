"""Raw rows as files: images as PNG and audio as WAV beside a `rows.json` that holds everything else.

A bundle keeps some as its golden rows, a checkpoint keeps some so that it can be exported without its data set.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from automm.errors import DataError
from automm.runtime import audio
from automm.runtime.distinct import is_missing
from automm.runtime.images import decode
from automm.runtime.wav import wav_bytes
from automm.types import Modality

ROWS = "rows.json"
SECONDS = 30.0  # of a clip that are stored


def write_rows(folder: Path, rows: Sequence[Mapping[str, Any]], modalities: Mapping[str, Modality]) -> None:
    """Write raw rows into `folder`, which is made. A missing cell is left out of its row.

    Raises:
        DataError: a cell cannot be stored, or an image or a clip cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = []
    for number, row in enumerate(rows):
        cells = {name: row.get(name) for name in modalities}
        stored.append({n: _stored(folder, v, modalities[n], n, number) for n, v in cells.items() if not is_missing(v)})
    text = json.dumps({"rows": stored}, indent=1, ensure_ascii=False)
    (folder / ROWS).write_text(text + "\n", encoding="utf-8")


def read_rows(text: str, resolve: Callable[[str], Path]) -> list[dict[str, Any]]:
    """The rows that `write_rows` wrote, from the text of their `rows.json`; `resolve` turns a file's name into a path.

    Raises:
        DataError: the text is not what `write_rows` writes.
    """
    try:
        rows = json.loads(text)["rows"]
        return [{name: _cell(value, resolve) for name, value in row.items()} for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{ROWS} is damaged: {error!r}. Next: export the run again.") from error


def png(value: Any) -> bytes:
    """A raw image (path, encoded bytes, PIL image, uint8 array) as an RGB PNG: what preprocessing makes of it first.

    Raises:
        DataError: it cannot be read.
    """
    buffer = io.BytesIO()
    decode(value).save(buffer, format="PNG")
    return buffer.getvalue()


def wav(value: Any) -> bytes:
    """Raw audio as a WAV file of one channel: the floats that preprocessing makes of it first, SECONDS of them at most.

    Raises:
        DataError: it cannot be read.
    """
    return wav_bytes(*audio.decode(value, seconds=SECONDS))


# How cells of some modalities are encoded, and the suffix of their files.
_FILES: dict[Modality, tuple[Callable[[Any], bytes], str]] = {"image": (png, "png"), "audio": (wav, "wav")}


def _stored(folder: Path, value: Any, modality: Modality, name: str, number: int) -> Any:
    if modality in _FILES:
        encode, suffix = _FILES[modality]
        encoded = encode(value)
        file = f"{hashlib.sha256(encoded).hexdigest()[:16]}.{suffix}"
        (folder / file).write_bytes(encoded)
        return {"file": file}
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, (str, int, float, bool)):
        raise DataError(
            f"row {number}: the {modality} field {name!r} holds a {type(value).__name__}, not a plain value."
        )
    return plain


def _cell(value: Any, resolve: Callable[[str], Path]) -> Any:
    return resolve(str(value["file"])) if isinstance(value, dict) else value
