"""What `automm data describe` found, in words: one wording for the terminal and for the page."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from automm.data.column_facts import ColumnFacts
from automm.data.describe import Description, TargetFacts
from automm.data.leaks import Example
from automm.data.targets import likely_target

HEAD = ("column", "read as", "role", "missing", "distinct", "shows", "why")
CLASSES = 30  # that are listed one by one
_BAR = 40  # characters of the longest
_TARGETS = ("categorical", "numeric", "text")  # modalities of what may be a target


def files(description: Description) -> str:
    """The files and how long they are."""
    return "; ".join(f"{split}: {path}, {description.rows[split]:,} rows" for split, path in description.files.items())


def column_row(column: ColumnFacts) -> dict[str, str]:
    """A column's line, by `HEAD`."""
    return dict(
        zip(
            HEAD,
            (
                column.name,
                column.modality or "-",
                column.role,
                f"{100 * column.missing:.1f} %",
                f"{column.distinct:,}",
                column.shows,
                column.reason,
            ),
            strict=True,
        )
    )


def notes(description: Description) -> list[str]:
    """What else there is to say of columns."""
    said = [f"{column.name}: {note}." for column in description.columns for note in column.notes]
    return said + [f"{remark}." for remark in description.remarks]


def balanced(description: Description) -> list[ColumnFacts]:
    """The columns whose commonest values are listed; of a target all are."""
    return [column for column in description.columns if column.commonest and column.role != "target"]


def values_sentence(column: ColumnFacts, rows: int) -> str:
    """The commonest values with their share of the rows that have one."""
    known = round(rows * (1 - column.missing))
    said = [f"{value} {100 * count / known:.1f} %" for value, count in column.commonest]
    rest = known - sum(count for _, count in column.commonest)
    return ", ".join(said) + (f", others {100 * rest / known:.1f} %" if rest else "")


def value_lines(description: Description) -> Iterator[str]:
    """The commonest values of each column that has few or repeats them."""
    columns = balanced(description)
    width = max((len(column.name) for column in columns), default=0)
    if columns:
        yield "the commonest values, of the rows that have one:"
    for column in columns:
        yield f"  {column.name:<{width}}  {values_sentence(column, description.rows['train'])}"


def target_hint(description: Description, typed: Sequence[str]) -> str:
    """What naming a target would add, and how; empty where one is named, or none could be.

    Args:
        description: what was found.
        typed: the words of the command.
    """
    could_be = [column.name for column in description.columns if column.modality in _TARGETS and column.role == "input"]
    if description.target is not None or not could_be:
        return ""
    command = shlex.join(["automm", *typed, "--target", likely_target(could_be)[0]])
    return (
        "--target COLUMN adds the task that suits, all classes, rows that contradict each other and columns that give "
        f"the target away, such as: {command}"
    )


def target_sentence(target: TargetFacts) -> str:
    """What is to be predicted."""
    without = f" {target.missing:,} rows have none." if target.missing else ""
    if target.quartiles:
        least, low, median, high, most = (f"{value:g}" for value in target.quartiles)
        return (
            f"{target.name!r} suits {target.task} ({target.reason}): {least} to {most}, the median is {median}, "
            f"half of all lie from {low} to {high}.{without}"
        )
    counts = [count for _, count in target.counts]
    alone = sum(count == 1 for count in counts)
    once = f" {alone:,} of them in one row alone." if alone else ""
    spread = f", {counts[0]:,} rows in the largest and {counts[-1]:,} in the smallest" if counts else ""
    return f"{target.name!r} suits {target.task} ({target.reason}): {len(counts):,} classes{spread}.{once}{without}"


def shares(target: TargetFacts) -> Iterator[tuple[str, int, float]]:
    """Class, rows and their share of all, of the `CLASSES` largest."""
    total = sum(count for _, count in target.counts)
    for label, count in target.counts[:CLASSES]:
        yield label, count, count / total


def left_out(target: TargetFacts) -> str:
    """What `shares` does not list; empty where it lists all."""
    rest = target.counts[CLASSES:]
    return f"and {len(rest):,} smaller classes with {sum(count for _, count in rest):,} rows" if rest else ""


def target_lines(target: TargetFacts) -> Iterator[str]:
    """The target's sentence and, of classes, a line each with a bar."""
    yield f"target {target_sentence(target)}"
    listed = list(shares(target))
    width = max((len(label) for label, *_ in listed), default=0)
    most = max((count for _, count, _ in listed), default=1)
    for label, count, share in listed:
        yield f"  {label:<{width}}  {count:>9,}  {100 * share:5.1f} %  {'#' * max(1, round(_BAR * count / most))}"
    if rest := left_out(target):
        yield f"  {rest}"


def finding_lines(description: Description) -> Iterator[str]:
    """What looks like a leak, numbered."""
    if not description.findings:
        yield "nothing looks like a leak"
        return
    yield "look at this before a figure is believed:"
    for number, finding in enumerate(description.findings, 1):
        yield f"  {number}. {finding.kind}: {finding.sentence}"
        yield from (f"     {line}" for line in map(example_line, finding.examples))


def example_line(example: Example) -> str:
    """Two cells that are alike, by row and by what stands there."""
    one, other = (
        f"row {cell.row} of {cell.split}" + (f" ({cell.shows})" if cell.shows else "")
        for cell in (example.one, example.other)
    )
    return f"{one} is like {other}"
