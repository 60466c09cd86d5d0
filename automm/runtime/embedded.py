"""Images that are written into a string as base64, as tables and web pages carry them."""

from __future__ import annotations

import base64
import binascii
import re

_URI = re.compile(r"\s*data:image/[\w.+-]+(?:;[\w.=+-]+)*?;base64,", re.IGNORECASE)
_STARTS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "SUkqA", "TU0AK")  # PNG, JPEG, GIF, WebP, TIFF
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
_LEAST = 64  # characters: no image is shorter, and a path that looks like base64 hardly longer


def embedded(text: str) -> bytes | None:
    """The file that a string holds as base64, with a data URI's head or without; None where it is something else.

    Of a data URI that is damaged it is empty, so that whoever reads the image says so.
    """
    head = _URI.match(text)
    if head is None and not (len(text) >= _LEAST and text.startswith(_STARTS) and _BASE64.fullmatch(text)):
        return None
    written = "".join(text[head.end() if head else 0 :].split()).rstrip("=")
    try:
        return base64.b64decode(written + "=" * (-len(written) % 4), validate=True)
    except binascii.Error:
        return b""
