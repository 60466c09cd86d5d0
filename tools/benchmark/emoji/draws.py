"""What one comparison set may hide: automm on several draws of the emoji set, and how far validation is from the test.

    python tools/benchmark/emoji/draws.py --out /tmp/draws --write docs/benchmarks.md

Chance alone moves the accuracy on fewer than six hundred emoji by nearly two points (one standard deviation), and other
training emoji move it too. Draws overlap, for all are of the same emoji. Each is made (make_set.py) where it is
missing, searched once with the frozen weights and the command of compare.py, and judged on both of its tests. What is
finished under `--out` is kept: the same command goes on where one was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import compare
import marked
import numpy as np
import prepare
from figures import TESTS, right, rows
from section import filled, line, machine, when

NAME = "draws"  # of the markers


@dataclass(frozen=True)
class Judged:
    """What a search on a draw came to; shares of right answers."""

    draw: int
    train: int  # rows
    validation: float
    same_vendors: float
    other_vendors: float
    result: Mapping[str, Any]

    @classmethod
    def read(cls, run: Path, data: Path, draw: int) -> Judged:
        """Of a finished run on a set."""
        result = json.loads((run / "result.json").read_text(encoding="utf-8"))
        found = right(data, json.loads((run / "answers.json").read_text(encoding="utf-8")))
        same, other = (float(found[test].mean()) for test in TESTS)
        valid = float(result["best"]["valid"]["accuracy"])
        return cls(draw, len(rows(data, "train")), valid, same, other, result)


def section(found: Sequence[Judged], sessions: Mapping[str, Sequence[Sequence[str]]], command: str) -> str:
    """A line a draw and their mean, in Markdown."""
    steps = [f"draw-{each.draw}" for each in found]
    said = f"`{command}`, {when(sessions, steps)}. {machine(each.result for each in found)}."
    figures = np.array([(e.validation, e.same_vendors, e.other_vendors, e.validation - e.same_vendors) for e in found])
    lines = [
        line("draw", "training rows", "validation", "same vendors", "other vendors", "validation less same vendors"),
        "|---" * 6 + "|",
        *(line(e.draw, f"{e.train:,}", *_shown(each)) for e, each in zip(found, figures, strict=True)),
        line("mean", "", *_shown(figures.mean(0))),
    ]
    if len(found) > 1:
        lines.append(line("standard deviation", "", *(f"{each:.3f}" for each in figures.std(0, ddof=1))))
    return "\n\n".join(["### Several draws", filled(said), "\n".join(lines)]) + "\n"


def _shown(figures: np.ndarray) -> list[str]:
    *shares, difference = figures
    return [*(f"{share:.3f}" for share in shares), f"{difference:+.3f}"]


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder of all that is made and measured")
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="their seeds")
    parser.add_argument("--weights", type=Path, help="made where they are missing (default: weights, under --out)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the section between its markers in this page")
    parser.add_argument("overrides", nargs="*", help="further overrides for automm")
    return parser.parse_args(argv)


def main() -> None:
    """Make, measure, print and write."""
    asked = parsed()
    out = asked.out.resolve()
    if asked.write:
        marked.check(asked.write, NAME)
    out.mkdir(parents=True, exist_ok=True)
    weights = prepare.frozen_weights((asked.weights or out / "weights").resolve())
    found = []
    for draw in asked.draws:
        data, step = prepare.emoji_set(out / f"set-{draw}", None, draw), f"draw-{draw}"
        compare.session(out, step, done=(out / step / "answers.json").exists())
        compare.automm(data, weights, out / step, 0, asked.overrides)
        found.append(Judged.read(out / step, data, draw))
    sessions = json.loads((out / "measured.json").read_text(encoding="utf-8"))
    command = shlex.join(["python", os.path.relpath(__file__, Path(__file__).resolve().parents[3]), *sys.argv[1:]])
    text = section(found, sessions, command)
    print(text)
    if asked.write:
        marked.write(asked.write, NAME, text)


if __name__ == "__main__":
    main()
