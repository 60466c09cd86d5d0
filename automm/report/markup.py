"""HTML in which text is escaped unless it was built here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any


class Markup(str):
    """HTML that is safe to insert as it is; any other string is text."""

    __slots__ = ()


def element(name: str, *children: Any, **attributes: Any) -> Markup:
    """`<name attributes>children</name>`; text and attribute values are escaped. `class_` writes `class`."""
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(v))}"' for key, v in attributes.items())
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[Any]) -> Markup:
    """The children one after another, text escaped."""
    return Markup("".join(c if isinstance(c, Markup) else html.escape(str(c)) for c in children))


def image(source: str, alt: str) -> Markup:
    """An `img`; it has no closing tag."""
    return Markup(f'<img src="{html.escape(source)}" alt="{html.escape(alt)}">')


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], *, numeric_from: int = 1, class_: str = "") -> Markup:
    """A table; columns from `numeric_from` on are right-aligned."""

    def cells(name: str, row: Sequence[Any]) -> Markup:
        return join(element(name, c, class_="number" if at >= numeric_from else "label") for at, c in enumerate(row))

    body = join(element("tr", cells("td", row)) for row in rows)
    whole = element("table", element("thead", element("tr", cells("th", head))), element("tbody", body), class_=class_)
    return element("div", whole, class_="scroll")


def section(identity: str, title: str, *children: Any) -> Markup:
    """One titled part of the page."""
    return element("section", element("h2", title), *children, id=identity)
