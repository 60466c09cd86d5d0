"""What the columns of a plain table hold, inferred from their cells, with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, NamedTuple, cast, get_args

from automm import registry
from automm.data.identifiers import identifier
from automm.errors import DataError, MissingExtra, OutOfRange, UnknownKey, near_miss
from automm.runtime.audio import duration
from automm.runtime.dates import Order, are_dates, has_order, moment, order_of
from automm.runtime.distinct import is_missing
from automm.runtime.embedded import embedded
from automm.runtime.images import image_size
from automm.runtime.number_styles import PLAIN, Style, like_number, style_of, told
from automm.runtime.numbers import written
from automm.runtime.urls import may_download, without_query
from automm.types import FieldSpec, Modality, Role

ENCODABLE: tuple[Modality, ...] = ("image", "text", "numeric", "categorical")  # what encoders are built in for

_IMAGE_FILE = re.compile(r".+\.(?:png|jpe?g|gif|bmp|webp|tiff?)", re.IGNORECASE)
_AUDIO_FILE = re.compile(r".+\.(?:wav|flac|ogg|mp3)", re.IGNORECASE)
_CODE = re.compile(r"\s*0\d")
_REPEATS = 5  # a word that stands in this many rows on average is a category
_SENTENCE = 3  # words; what is as long is text however often it is repeated
_NEARLY = 0.9  # of the cells: a column of which as many are numbers was meant to hold numbers
_PROBED = 10  # cells of bytes that are looked at
_SAMPLE = 1000  # cells that are looked at for that
_ORDERS: dict[Order, str] = {"dmy": "the day before the month", "mdy": "the month before the day"}


class _Verdict(NamedTuple):
    modality: Modality
    reason: str
    may_name: bool = False  # whether such cells could be identifiers
    style: str = ""  # of numbers written as text
    remark: str = ""  # what else they could be read as


def infer(name: str, cells: Sequence[Any], role: Role = "input", *, urls: bool = False) -> FieldSpec:
    """One column's field; an input that only names its rows gets the role `id`. Missing cells are None, NaN or blank.

    Args:
        name: of the column.
        cells: of the training table.
        role: of the column.
        urls: whether the files of URLs are downloaded.

    Raises:
        DataError: the cells are missing altogether, or of a kind that is no modality.
    """
    known = [cell for cell in cells if not is_missing(cell)]
    if not known:
        raise DataError(f"column {name!r} is empty. Next: leave it out, data.drop=[{name}].")
    verdict = _of_texts(name, known, role, urls) if {type(c) for c in known} == {str} else _of_values(known, role)
    if verdict is None:
        found = ", ".join(sorted({type(cell).__name__ for cell in known}))
        raise DataError(
            f"column {name!r} holds {found}, which is no modality. Next: leave it out, data.drop=[{name}], or say how "
            f"to read it, data.columns.{name}=text or categorical."
        )
    if role == "input" and verdict.may_name and (named := identifier(name, cells)):
        return FieldSpec(name, verdict.modality, "id", named + verdict.remark)
    return FieldSpec(name, verdict.modality, role, verdict.reason + verdict.remark, verdict.style)


def _of_values(known: Sequence[Any], role: Role) -> _Verdict | None:
    """What cells are that are not all texts; None where that is no modality."""
    kinds = {type(cell) for cell in known}
    if kinds <= {int, float}:
        return _Verdict("numeric", f"{len(known)} numbers", may_name=True)
    if kinds == {bool}:
        return _Verdict("categorical", "true or false")
    if kinds == {list} and role == "target":
        return _Verdict("categorical", "lists of labels")
    if all(isinstance(cell, date) for cell in known):
        return _Verdict("numeric", f"{len(known)} dates")
    if kinds == {bytes}:
        return _of_bytes(known[:_PROBED])
    return None


def _of_bytes(first: Sequence[bytes]) -> _Verdict | None:
    """Images or clips where one of the first few can be read; a damaged one is a bad row, no reason to doubt that."""
    for modality, looks in _LOOKS.items():
        for data in first:
            try:
                return _Verdict(modality, f"every value is bytes, such as {looks(data)}")
            except DataError:
                continue
    return None


def _as_image(data: bytes) -> str:
    height, width = image_size(data)
    return f"an image of {width} x {height}"


def _as_clip(data: bytes) -> str:
    try:
        seconds = duration(data)
    except MissingExtra:  # whoever reads the clip says what to install
        return "a clip that is no plain WAV"
    return f"a clip of {seconds:.{1 if seconds >= 1 else 3}f} s"


_LOOKS: dict[Modality, Callable[[bytes], str]] = {"image": _as_image, "audio": _as_clip}  # each raises DataError


def _of_texts(name: str, known: Sequence[str], role: Role, urls: bool) -> _Verdict:
    files = [without_query(cell) for cell in known] if urls else known
    if all(map(_IMAGE_FILE.fullmatch, files)):
        return _Verdict("image", f"every value is the name of an image file, such as {known[0]!r:.60}")
    if all(map(_AUDIO_FILE.fullmatch, files)):
        return _Verdict("audio", f"every value is the name of an audio file, such as {known[0]!r:.60}")
    if all(embedded(cell, "image") is not None for cell in known):
        return _Verdict("image", f"every value is an image written as base64, such as {known[0]!r:.30}...")
    if all(embedded(cell, "audio") is not None for cell in known):
        return _Verdict("audio", f"every value is a clip written as base64, such as {known[0]!r:.30}...")
    if role != "input":
        return _of_words(known)
    distinct = list(dict.fromkeys(known))
    if (style := _numbers_style(distinct)) is not None:
        reason = f"{len(known)} numbers written as text, such as {known[0]!r:.60}{in_style(style)}"
        return _Verdict("numeric", reason, style=style)
    if (how := _dated(distinct)) is not None:
        return _Verdict("numeric", f"{len(known)} dates, such as {known[0]!r:.60}{how}")
    words = _of_words(known)
    if nearly := _nearly(name, known):  # numbers and dates name no rows
        return words._replace(may_name=False, remark=nearly)
    return words._replace(remark=_linked(name, known, urls))


def _of_words(known: Sequence[str]) -> _Verdict:
    """A category where few short texts are repeated often, else a text."""
    distinct, words = len(set(known)), sum(len(cell.split()) for cell in known) / len(known)
    found = f"{distinct} distinct strings in {len(known)} rows, {words:.1f} words on average"
    if words >= _SENTENCE:
        return _Verdict("text", f"{found}: as long as sentences", may_name=True)
    if distinct * _REPEATS > len(known):
        return _Verdict("text", f"{found}: too varied for categories", may_name=True)
    return _Verdict("categorical", f"{found}: short, and repeated often")


def _numbers_style(cells: Sequence[str]) -> Style | None:
    """How these are written, where all are numbers, in one unit or none; with leading zeros they are codes."""
    if not all(map(like_number, cells)) or any(map(_CODE.match, cells)):
        return None  # told at once of most texts, whose styles need not be weighed
    style = style_of(cells)
    try:
        return style if len({written(cell, style)[1] for cell in cells}) == 1 else None
    except DataError:
        return None


def in_style(style: str) -> str:
    """The style of a field in a phrase, where it has one that is not the common one."""
    return "" if style in ("", PLAIN) else f", with {told(cast(Style, style))}"


def _dated(cells: Sequence[str]) -> str | None:
    """How these are written, in a phrase, where all of them are dates in one order of day and month; else None."""
    if not are_dates(cells[:1]):
        return None
    order = order_of(cells)
    own, other = (partial(moment, order=each) for each in sorted(_ORDERS, key=lambda each: each != order))
    if not all(_reads(own, cell) for cell in cells):
        return None
    doubtful = [cell for cell in cells if has_order(cell)]
    if not doubtful:
        return ""
    settled = not all(_reads(other, cell) for cell in doubtful)
    return f", {_ORDERS[order]}" + ("" if settled else ", though no value settles that: 2020-01-31 would")


def _nearly(name: str, known: Sequence[str]) -> str:
    """What to do about a few cells that alone keep a column from being numbers or dates; empty where it is neither."""
    sample = known[:: -(-len(known) // _SAMPLE)]
    kinds: dict[str, Callable[[str], object]] = {
        "numbers": partial(written, style=style_of(sample)),
        "dates": partial(moment, order=order_of(sample)),
    }
    for kind, read in kinds.items():
        if sum(_reads(read, cell) for cell in sample) < _NEARLY * len(sample):
            continue
        odd = next((cell for cell in known if not _reads(read, cell)), None)
        if odd is not None:
            return (
                f"; nearly all are {kind}, but not {odd!r:.60}: data.columns.{name}=numeric reads them so, and with "
                "data.on_error=skip leaves out the rows that are none"
            )
        return "" if any(map(_CODE.match, known)) else f"; all are {kind}, but not in one unit"
    return ""


def _linked(name: str, known: Sequence[str], urls: bool) -> str:
    """How URLs would be read as the files they stand for; empty where not all of these are such."""
    if not all(map(may_download, known)):
        return ""
    return f"; all are URLs: data.columns.{name}=image reads the files" + ("" if urls else ", with data.urls=true")


def _reads(read: Callable[[str], object], cell: str) -> bool:
    try:
        read(cell)
    except DataError:
        return False
    return True


def infer_columns(
    columns: Mapping[str, Sequence[Any]], given: Mapping[str, str], *, urls: bool = False
) -> tuple[FieldSpec, ...]:
    """The fields of a table's columns, inputs and identifiers, in order; `given` says what a column's modality is.

    What is given is an input, whatever it looks like. With `urls` the files of URLs are downloaded.

    Raises:
        UnknownKey: `given` names a column that is not there.
        OutOfRange: `given` names no modality.
        DataError: there is no input, or one that no encoder reads.
    """
    check_given(list(columns), given, "data.columns.")
    fields = tuple(
        as_given(name, cast(Modality, given[name]), cells) if name in given else infer(name, cells, urls=urls)
        for name, cells in columns.items()
    )
    if not any(field.role == "input" for field in fields):
        names = [field.name for field in fields]
        left = (
            f" {', '.join(names)} only name their rows; data.columns.{names[0]}=text says otherwise." if names else ""
        )
        raise DataError(f"the table has no input column. Next: see data.drop, data.target and data.group.{left}")
    _check_encodable([field for field in fields if field.role == "input"])
    return fields


def kept_as_written(fields: Iterable[FieldSpec]) -> list[str]:
    """The columns of numbers whose texts would be others in the eyes of who reads a CSV: "1.234" may be a thousand."""
    return [field.name for field in fields if field.style not in ("", PLAIN)]


def as_given(name: str, modality: Modality, cells: Sequence[Any]) -> FieldSpec:
    """A field of the modality that the user says."""
    if modality != "numeric" or not any(isinstance(cell, str) for cell in cells):
        return FieldSpec(name, modality)
    style = style_of(cells)
    reason = "" if style == PLAIN else f"as data.columns says{in_style(style)}"
    return FieldSpec(name, modality, reason=reason, style=style)


def check_given(columns: Sequence[str], given: Mapping[str, str], key: str) -> None:
    """See that `given` says of columns that are there what modality they are; messages call it `key`.

    Raises:
        UnknownKey: it names a column that is not there.
        OutOfRange: it names no modality.
    """
    for name, modality in given.items():
        if name not in columns:
            raise UnknownKey(f"{key}{name}: the table has no such input column. {near_miss(name, columns)}")
        if modality not in get_args(Modality):
            raise OutOfRange(f"{key}{name}={modality} is no modality. {near_miss(str(modality), get_args(Modality))}")


def _check_encodable(fields: Sequence[FieldSpec]) -> None:
    useless = [f for f in fields if f.modality not in ENCODABLE and not registry.encoders_of(f.modality)]
    if useless:
        brought = registry.BROUGHT_BY.get(useless[0].modality)
        install = f"pip install {brought} (`automm plugins` says whether it works), or " if brought else ""
        found = "; ".join(f"{f.name!r} is {f.modality} ({f.reason or 'as data.columns says'})" for f in useless)
        raise DataError(
            f"the encoders installed read {' and '.join(ENCODABLE)} columns, and the table has others: {found}. Next: "
            f"{install}leave them out with data.drop=[{','.join(f.name for f in useless)}], or read one of them as "
            f"text with data.columns.{useless[0].name}=text."
        )
