"""URLs among the values that could be names of files."""

from __future__ import annotations

import re

from automm.errors import DataError

_URL = re.compile(r"\s*(?:(?P<known>https?|ftp|s3|gs|file):/|(?P<other>[a-z][a-z0-9+.-]+)://)", re.IGNORECASE)
_QUERY = re.compile(r"[?#]")
_DOWNLOADED = ("http", "https")


def scheme(value: object) -> str:
    """How the file of a URL is to be got, such as `https`, in small letters; empty where the value is no URL."""
    found = _URL.match(value) if isinstance(value, str) else None
    return "" if found is None else (found["known"] or found["other"]).lower()


def may_download(value: object) -> bool:
    """Whether a value is a URL of the kind that is downloaded where that is allowed: http or https."""
    return scheme(value) in _DOWNLOADED


def without_query(value: str) -> str:
    """A URL up to its `?` or `#`, whose end names the file; what is no URL as it is."""
    return _QUERY.split(value, maxsplit=1)[0] if scheme(value) else value


def missing_file(value: object, name: str) -> DataError:
    """The error of a file that is not there, which messages call `name`: one that is a URL is not downloaded either."""
    if scheme(value):
        return DataError(f"{name} is a URL, and nothing is downloaded here. Next: download the file yourself.")
    return DataError(f"{name} does not exist. Next: check the path, and what it is relative to.")
