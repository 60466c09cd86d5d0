"""What all of our pages are: one HTML file that needs no network, written whole or not at all."""

from __future__ import annotations

import html
from importlib.resources import files
from pathlib import Path
from string import Template

from automm.report.markup import Markup


def sheet(title: str, body: Markup, *, head: str = "", tail: str = "") -> str:
    """A page's HTML; `head` and `tail` are HTML that goes into the head and after the body."""
    template = Template(part("sheet.html"))
    return template.substitute(title=html.escape(title), style=part("page.css"), head=head, body=body, tail=tail)


def part(name: str) -> str:
    """A file of this package."""
    return (files("automm.report") / name).read_text(encoding="utf-8")


def write_sheet(path: Path, text: str) -> None:
    """Write a page; what was there stays until the new one is whole."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
