"""Write each built-in component's options and their meaning into its preset: `python tools/list_options.py [--check]`.

A preset keeps its head (what it is, which component) and gets its options from the component: its signature says which
there are, its docstring what they mean, its space which are searched. `--check` writes nothing, and fails if it would.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import yaml

from automm.registry import REQUIRED, Component, Option, get

CONF = Path(__file__).resolve().parents[1] / "conf"
WIDTH = 118


def main() -> int:
    """Bring the presets up to date, or say which are not."""
    check = "--check" in sys.argv[1:]
    stale = [path for path in sorted(CONF.rglob("*.yaml")) if path.read_text(encoding="utf-8") != fresh(path)]
    for path in stale:
        print(f"{path.relative_to(CONF.parent)} {'is out of date: run tools/list_options.py' if check else 'written'}")
        if not check:
            path.write_text(fresh(path), encoding="utf-8")
    return 1 if check and stale else 0


def fresh(path: Path) -> str:
    """What a preset should hold."""
    text = path.read_text(encoding="utf-8")
    group = path.parent.relative_to(CONF).as_posix()
    given = yaml.safe_load(text)
    if group in ("data", "strategy", "executor"):
        return _head(text, f"name: {given['name']}\n") + _listed(get(group, given["name"]), "")
    if group == "task":
        return _head(text, f"  name: {given['task']['name']}\n") + _listed(get("task", given["task"]["name"]), "  ")
    if group == "training" and isinstance(given["solver"], str):
        return _head(text, _SOLVERS) + _searched(get("solver", given["solver"]), "")
    kind = group.partition("/")[0]
    if kind in ("fusion", "encoder") and isinstance(given["name"], str) and given["name"] not in ("all", "auto"):
        return _head(text, f"  {given['name']}:\n") + _searched(get(kind, given["name"]), "    ")
    return text


_SOLVERS = "# null leaves an option as its solver declares it, a scalar pins it, a list narrows it.\n"


def _head(text: str, last: str) -> str:
    head, found, _ = text.partition(f"\n{last}")
    if not found:
        raise SystemExit(f"no line {last.strip()!r} to list options after, in:\n{text}")
    return head + found


def _listed(component: Component, indent: str) -> str:
    """Options of a component that nobody searches, at their defaults."""
    return "".join(_entry(component, option, indent, "", option.default) for option in component.options.values())


def _searched(component: Component, indent: str) -> str:
    """Options of a candidate: null wherever null leaves them as they are."""
    out = ""
    space = dict(component.space.paths())
    for option in component.options.values():
        if option.name in space:
            out += _entry(component, option, indent, " Searched.", None)
        elif re.search(r"\bNone\b", option.annotation):
            out += _entry(component, option, indent, "", option.default)
        else:
            out += _entry(component, option, indent, f" null: {json.dumps(option.default)}.", None)
    return out


def _entry(component: Component, option: Option, indent: str, note: str, value: object) -> str:
    meaning = _meanings(component.doc).get(option.name)
    if meaning is None:
        raise SystemExit(f"{component.kind} {component.name}: its docstring says nothing of {option.name!r}")
    start = f"{indent}# "
    comment = textwrap.fill(
        meaning + note,
        WIDTH,
        initial_indent=start,
        subsequent_indent=start,
        break_long_words=False,
        break_on_hyphens=False,
    )
    plain = None if value is REQUIRED else list(value) if isinstance(value, tuple) else value
    return f"{comment}\n{indent}{option.name}: {_scalar(plain)}\n"


def _scalar(value: object) -> str:
    """A value as YAML reads it back: a word as it is, anything else as JSON, which YAML contains."""
    word = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w-]*", value) and yaml.safe_load(value) == value
    return str(value) if word else json.dumps(value)


def _meanings(doc: str) -> dict[str, str]:
    """The entries of a docstring's `Args:`, as sentences."""
    section = re.search(r"^(?:Args|Options):\n((?:    .*\n?)+)", doc, re.MULTILINE)
    entries = dict(_entries(section[1]) if section else ())
    return {name: _sentence(text) for name, text in entries.items()}


def _entries(section: str) -> Iterator[tuple[str, str]]:
    for entry in re.split(r"\n(?=    \w)", section.rstrip()):
        name, _, text = entry.strip().partition(":")
        yield name, " ".join(text.split())


def _sentence(text: str) -> str:
    text = re.sub(r"\bNone\b", "null", text).rstrip(".;")
    is_word = re.match(r"[a-z-]+,? ?", text) and " | " not in text
    return f"{text[0].upper() if is_word else text[0]}{text[1:]}."


if __name__ == "__main__":
    sys.exit(main())
