"""What the answers of the comparison come to: right or wrong by row, and an interval for a difference."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

TESTS = ("same_vendors", "other_vendors")
_RESAMPLES = 10_000


def rows(data: Path, split: str) -> list[dict[str, str]]:
    """A table of the set, a dictionary a row."""
    with (data / f"{split}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def right(data: Path, answers: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """1.0 where an answer is the row's subcategory, else 0.0; [rows] by test.

    Raises ValueError where a test has more or fewer rows than answers.
    """
    return {
        test: np.array([a == row["subcategory"] for a, row in zip(answers[test], rows(data, test), strict=True)], float)
        for test in TESTS
    }


def interval(better: np.ndarray, emoji: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % of the mean of a difference a row, rows of one emoji drawn together (both arrays are [rows])."""
    names, at = np.unique(emoji, return_inverse=True)
    sums, counts = np.bincount(at, better), np.bincount(at)
    drawn = np.random.default_rng(seed).integers(0, len(names), (_RESAMPLES, len(names)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def mean(each: Sequence[np.ndarray]) -> str:
    """The mean accuracy over seeds, with its standard deviation where there are several."""
    accuracies = [float(one.mean()) for one in each]
    spread = f" ± {np.std(accuracies, ddof=1):.3f}" if len(accuracies) > 1 else ""
    return f"{np.mean(accuracies):.3f}{spread}"
