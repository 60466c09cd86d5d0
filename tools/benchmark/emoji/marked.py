"""A part of a page that a script writes: what stands between `<!-- measured: NAME -->` and `<!-- end -->`."""

from __future__ import annotations

from pathlib import Path

from automm.run_dir import write_text

END = "<!-- end -->"


def begin(name: str) -> str:
    """The comment that a part begins with."""
    return f"<!-- measured: {name} -->"


def replaced(page: str, name: str, text: str, source: object = "the page") -> str:
    """The page with `text` between the markers of `name`, all else as it was.

    Raises SystemExit where the page has not exactly one such part, or one without an end of its own.
    """
    marker = begin(name)
    if page.count(marker) != 1:
        raise SystemExit(
            f"{source} has {page.count(marker)} lines {marker}, where one is needed. Next: put that line and, below, "
            f"{END} where the figures belong, once; --section NAME names other markers."
        )
    before, _, after = page.partition(marker)
    old, end, rest = after.partition(END)
    if not end or "<!-- measured:" in old:
        raise SystemExit(f"{source} has no {END} for {marker}. Next: put it below what the script may replace.")
    return f"{before}{marker}\n{text.strip()}\n{end}{rest}"


def check(path: Path, name: str) -> None:
    """Raise SystemExit where `write` would, before hours are spent on what to write."""
    if not path.is_file():
        raise SystemExit(f"--write {path} is no file. Next: name a page that has {begin(name)} and {END}.")
    replaced(path.read_text(encoding="utf-8"), name, "", path)


def write(path: Path, name: str, text: str) -> None:
    """Put `text` between the markers of `name`."""
    write_text(path, replaced(path.read_text(encoding="utf-8"), name, text, path))
