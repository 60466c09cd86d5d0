"""What `automm data describe` found, as one HTML file that needs no network."""

from __future__ import annotations

from pathlib import Path

from automm.data.column_facts import ColumnFacts
from automm.data.describe import Description, TargetFacts
from automm.data.leaks import Cell, Example
from automm.errors import DataError
from automm.report import description as words
from automm.report.markup import Markup, element, image, join, section, table
from automm.report.samples import data_uri
from automm.report.sheet import sheet, write_sheet


def write_description(path: Path, description: Description, hint: str = "") -> None:
    """Write the page, whole or not at all; `hint` is its last line.

    Raises:
        DataError: it cannot be written there.
    """
    try:
        write_sheet(path, render(description, hint))
    except OSError as error:
        raise DataError(f"the page cannot be written to {path}: {error}. Next: name a file in a folder.") from error


def render(description: Description, hint: str = "") -> str:
    """The page's HTML."""
    body = [
        _headline(description),
        _findings(description),
        _columns(description),
        *_values(description),
        *_target(description.target),
        element("p", hint, class_="soft"),
    ]
    return sheet(f"automm: {Path(description.files['train']).name}", join(body))


def _headline(description: Description) -> Markup:
    inputs = [column for column in description.columns if column.role == "input"]
    figures = {
        "rows to train on": description.rows["train"],
        "inputs": len(inputs),
        "other columns": len(description.columns) - len(inputs),
        "findings": len(description.findings),
    }
    tiles = [
        element("div", element("div", what, class_="what"), element("div", f"{much:,}", class_="much"), class_="tile")
        for what, much in figures.items()
    ]
    said = element("p", words.files(description), class_="soft")
    title = element("h1", f"automm: {Path(description.files['train']).name}")
    return element("header", title, said, element("div", *tiles, class_="tiles"))


def _findings(description: Description) -> Markup:
    if not description.findings:
        first, *_ = words.finding_lines(description)
        return section("findings", "Likely leaks", element("p", first, class_="soft"))
    rows = [
        [finding.kind, join([element("div", finding.sentence), *(_example(e, description) for e in finding.examples)])]
        for finding in description.findings
    ]
    return section("findings", "Likely leaks", table(["what", "found, and the next step"], rows, numeric_from=9))


def _example(example: Example, description: Description) -> Markup:
    """Two cells that are alike, pictures side by side where they lie in files."""
    said = element("div", words.example_line(example), class_="soft")
    if example.modality != "image":
        return said
    pictures = [_picture(cell, description.files[cell.split]) for cell in (example.one, example.other)]
    return join([said, element("div", *pictures, class_="pair") if all(pictures) else ""])


def _picture(cell: Cell, table: str) -> Markup:
    """A picture whose path stands in a table, small; nothing where it is not there any more or in the table itself."""
    path = (Path(table) if Path(table).is_dir() else Path(table).parent) / cell.shows
    try:
        return image(data_uri(str(path)), cell.shows) if cell.shows else Markup()
    except DataError:
        return Markup()


def _columns(description: Description) -> Markup:
    rows = [list(words.column_row(column).values()) for column in description.columns]
    said = [element("li", note) for note in words.notes(description)]
    listed = element("ul", *said) if said else ""
    return section("columns", "Columns", table(words.HEAD, rows, numeric_from=len(words.HEAD)), listed)


def _values(description: Description) -> list[Markup]:
    rows = [
        [column.name, words.values_sentence(column, description.rows["train"]), _stack(column, description)]
        for column in words.balanced(description)
    ]
    head = ["column", "its commonest values, of the rows that have one", ""]
    return [section("values", "Values", table(head, rows, numeric_from=9, class_="shares"))] if rows else []


def _stack(column: ColumnFacts, description: Description) -> Markup:
    """A bar as long as all rows that have a value, and in it how many have each."""
    known = description.rows["train"] * (1 - column.missing)
    parts = [
        element("div", title=value, style=f"width: {100 * count / known:.1f}%; opacity: {1 - 0.17 * at:.2f}")
        for at, (value, count) in enumerate(column.commonest)
    ]
    return element("div", *parts, class_="stack")


def _target(target: TargetFacts | None) -> list[Markup]:
    if target is None:
        return []
    rows = [
        [label, f"{count:,}", f"{100 * share:.1f} %", element("div", class_="bar", style=f"width: {100 * share:.1f}%")]
        for label, count, share in words.shares(target)
    ]
    rest = words.left_out(target)
    return [
        section(
            "target",
            "Target",
            element("p", words.target_sentence(target)),
            table(["class", "rows", "share", ""], rows, class_="shares") if rows else "",
            element("p", rest, class_="soft") if rest else "",
        )
    ]
