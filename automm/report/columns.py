"""What a run read: its columns, what each was taken for and why, and rows that no model can get right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automm.report.data import ReportData
from automm.report.markup import Markup, element, section, table
from automm.report.metrics import split_name

_ROLES = {"target": ", the target", "id": ", names rows, no input"}
_GIVEN = "as said, or of the data set"


def columns(data: ReportData) -> Markup:
    """Every column of the data, or a sentence where a run of an earlier version did not keep them."""
    given = data.result.get("data") or {}
    rows = given.get("rows") or {}
    if not given.get("columns"):
        return section("columns", "Columns", element("p", "The run did not keep what it read.", class_="soft"))
    found = [
        [
            element("code", str(each["name"])),
            each["modality"] + _ROLES.get(each["role"], ""),
            _missing(each.get("missing") or {}, rows),
            each.get("reason") or _GIVEN,
        ]
        for each in given["columns"]
    ]
    return section(
        "columns",
        "Columns",
        table(["column", "read as", "missing", "why"], found, numeric_from=9),
        *(_unseen(split_name(split), each) for split, each in (given.get("unseen") or {}).items()),
    )


def _missing(missing: Mapping[str, int], rows: Mapping[str, int]) -> str:
    """In how many rows of each split a column is missing; a dash where nobody looked."""
    if not missing:
        return "\N{EN DASH}"
    return ", ".join(f"{n:,} of {rows[split]:,} {split_name(split)}" for split, n in missing.items() if n) or "none"


def _unseen(split: str, found: Mapping[str, Any]) -> Markup:
    named = ", ".join(f"{label} ({count:,})" for label, count in found["commonest"].items())
    more = found["classes"] - len(found["commonest"])
    return element(
        "p",
        f"{found['rows']:,} {split} rows count as wrong whatever is answered, for no training row has their class: ",
        f"{named} and {more:,} classes more." if more else f"{named}.",
    )
