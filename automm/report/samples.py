"""Rows with what the model said of them, as cards with pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from typing import Any

from automm.report.data import ReportData, Sample
from automm.report.markup import Markup, element, image, section
from automm.report.metrics import words
from automm.report.sounds import player
from automm.runtime.images import decode

MOST_SAMPLES = 24
_MOST_CELLS = 10
_MOST_LETTERS = 300  # of a text
_PIXELS = 360  # of a picture's longer side
_VERDICTS = {True: ("✓ ", "sample right"), False: ("✗ ", "sample wrong"), None: ("", "sample")}  # mark and class


def samples(data: ReportData) -> Markup:
    """A few rows with what the model said of them."""
    if not data.samples:
        return section("samples", "Sample predictions", element("p", "No samples were kept.", class_="soft"))
    cards = [_card(sample) for sample in data.samples[:MOST_SAMPLES]]
    said = f"Rows of the {data.sampled} set, chosen to be read: their mix says nothing about how good the model is."
    grid = element("div", *cards, class_="samples")
    return section("samples", "Sample predictions", element("p", said, class_="soft"), grid)


def _card(sample: Sample) -> Markup:
    sure = "" if sample.score is None else f" ({100 * sample.score:.0f} %)"
    mark, look = _VERDICTS[sample.right]
    verdict = [element("p", f"{mark}{_answer(sample.prediction)}{sure}", class_="verdict")]
    if not sample.right:
        verdict.append(element("p", f"answer: {_answer(sample.answer)}", class_="soft"))
    media = [*_pictures(sample.images), *_clips(sample.sounds)]
    return element("div", *media, *_cells(sample.texts), *verdict, class_=look)


def _pictures(images: Mapping[str, Any]) -> Iterator[Markup]:
    """The pictures of a row, with the names of their fields where it has several."""
    for name, value in images.items():
        if value is None:
            yield _missing(name)
            continue
        yield image(data_uri(value), name)
        if len(images) > 1:
            yield element("p", name, class_="soft")


def _clips(sounds: Mapping[str, Any]) -> Iterator[Markup]:
    """The clips of a row, to be played."""
    for name, value in sounds.items():
        yield _missing(name) if value is None else player(value, name)


def _missing(name: str) -> Markup:
    return element("p", f"{name}: missing", class_="soft")


def _cells(values: Mapping[str, Any]) -> Iterator[Markup]:
    """The other cells of a row, with the names of their fields where it has several."""
    for name, value in list(values.items())[:_MOST_CELLS]:
        text = "–" if value is None else str(value)
        text = text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]} …"
        yield element("p", element("span", f"{name}: ", class_="soft") if len(values) > 1 else "", text)
    if len(values) > _MOST_CELLS:
        yield element("p", f"and {len(values) - _MOST_CELLS} more", class_="soft")


def _answer(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, Mapping):
        return "; ".join(f"{words(str(key))}: {_answer(each)}" for key, each in value.items()) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def data_uri(value: Any) -> str:
    """A raw image as a PNG data URI, made smaller where it is large.

    Raises:
        DataError: it cannot be read.
    """
    picture, buffer = decode(value), io.BytesIO()
    picture.thumbnail((_PIXELS, _PIXELS))
    picture.save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
