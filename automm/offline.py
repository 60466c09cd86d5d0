"""Whether the user forbade downloads, as huggingface_hub reads it."""

from __future__ import annotations

import os

_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def offline() -> str:
    """The environment variable that forbids downloads, `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`; empty where none."""
    forbid = (name for name in _VARIABLES if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"))
    return next(forbid, "")
