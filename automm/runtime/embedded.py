"""Images and clips that are written into a string as base64, as tables and web pages carry them."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Literal

Held = Literal["image", "audio"]

_URI: dict[Held, re.Pattern[str]] = {
    held: re.compile(rf"\s*data:{held}/[\w.+-]+(?:;[\w.=+-]+)*?;base64,", re.IGNORECASE) for held in ("image", "audio")
}
# How files of these kinds begin. Of RIFF, which WebP and WAV share, the third word tells: it is WEBP or WAVE.
_STARTS: dict[Held, re.Pattern[str]] = {
    "image": re.compile(r"iVBORw0KGgo|/9j/|R0lGOD|UklGR.{7}RUJQ|SUkqA|TU0AK"),  # PNG, JPEG, GIF, WebP, TIFF
    "audio": re.compile(r"UklGR.{7}QVZF|ZkxhQ|T2dnU|SUQz|/(?:/[I-Po-v]|\+[I-P])"),  # WAV, FLAC, Ogg, MP3 with tags, MP3
}
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
_LEAST = 60  # characters: a WAV file without samples has as many, and a path that looks like base64 hardly more


def embedded(text: str, held: Held) -> bytes | None:
    """The image or the clip that a string holds as base64, with a data URI's head or without; None where it holds none.

    Of a data URI that is damaged it is empty, so that whoever reads the file says so.

    Args:
        text: any.
        held: what is looked for.
    """
    head = _URI[held].match(text)
    if head is None and not (len(text) >= _LEAST and _STARTS[held].match(text) and _BASE64.fullmatch(text)):
        return None
    written = "".join(text[head.end() if head else 0 :].split()).rstrip("=")
    try:
        return base64.b64decode(written + "=" * (-len(written) % 4), validate=True)
    except binascii.Error:
        return b""
