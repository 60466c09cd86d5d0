"""What classifying tasks share: heads, label sets, metrics of a subset of rows.

Shape legend: B rows, C classes, D width.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from automm.errors import DataError
from automm.metrics.classes import UNSEEN

_LEAST = 1e-7  # a score of 0 has no logarithm


def mlp_head(width: int, outputs: int, *, hidden: int, dropout: float) -> nn.Module:
    """[B, width] -> [B, outputs]; `hidden` 0 is a linear layer."""
    if hidden == 0:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, outputs)) if dropout else nn.Linear(width, outputs)
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, outputs))


def as_label(value: Any) -> str:
    """A raw target as a class is called: 3.0 is "3", for a column with holes is read as real numbers."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def is_missing(value: Any) -> bool:
    """Whether a raw target is no target."""
    return value is None or (isinstance(value, (float, np.floating)) and math.isnan(value))


def checked(targets: Sequence[Any], ids: Sequence[Any]) -> Sequence[Any]:
    """The targets, none of them missing.

    Raises:
        DataError: a row has none; the message names it.
    """
    for at, value in enumerate(targets):
        if is_missing(value):
            raise DataError(
                f"row {ids[at]!r} has no target, and training needs one in every row. "
                "Next: drop the rows without a target, or name another target column."
            )
    return targets


def label_set(names: Sequence[str]) -> tuple[str, ...]:
    """The classes, in the order people read them: numbers by value, words by alphabet.

    Raises:
        DataError: there is nothing to tell apart.
    """
    found = set(names)
    if len(found) < 2:
        what = f"all of them are {found.pop()!r}" if found else "there are none"
        raise DataError(f"the training targets do not differ: {what}. Next: name another target, or more data.")
    return in_reading_order(found)


def in_reading_order(names: Iterable[str]) -> tuple[str, ...]:
    """Numbers by value, then words by alphabet."""
    return tuple(sorted(names, key=_reading_order))


def label_numbers(names: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """int64 [rows]: each name's place among `labels`, UNSEEN where it has none."""
    at = {label: number for number, label in enumerate(labels)}
    return np.fromiter((at.get(name, UNSEEN) for name in names), np.int64, len(names))


def one_hot(label_B: np.ndarray, classes: int) -> np.ndarray:
    """float32 [B, C]; a row of zeros where the label is UNSEEN."""
    out_BC = np.zeros((len(label_B), classes), np.float32)
    seen = np.flatnonzero(label_B != UNSEEN)
    out_BC[seen, label_B[seen]] = 1.0
    return out_BC


def binary_log_loss(scores_BC: np.ndarray, answer_BK: np.ndarray, score_BK: np.ndarray) -> np.ndarray:
    """float64 [B]: the cross-entropies of all outputs, each a yes or no of its own, summed.

    The wanted outputs `answer_BK` and how much each is wanted, `score_BK`; every other one is not.
    """
    p_BC = np.clip(scores_BC, _LEAST, 1 - _LEAST, dtype=np.float32)
    p_BK = np.take_along_axis(p_BC, answer_BK, axis=1).astype(np.float64)
    none_B: np.ndarray = -np.log1p(-p_BC).sum(axis=1, dtype=np.float64)
    loss_B: np.ndarray = none_B + (score_BK * (np.log1p(-p_BK) - np.log(p_BK))).sum(axis=1)
    return loss_B


def by_group(name: str, value_B: np.ndarray, groups: Mapping[str, np.ndarray]) -> Iterator[tuple[str, float]]:
    """The mean of a per-row value under `name`, then of every group's rows under `<name>/<group>`."""
    yield name, float(value_B.mean())
    for of in groups.values():
        for group, count in sorted(Counter(of.tolist()).items()):
            yield f"{name}/{group}", float(value_B[of == group].sum() / count)


def _reading_order(label: str) -> tuple[int, float, str]:
    try:
        number = float(label)
    except ValueError:
        return 1, 0.0, label
    return (0, number, label) if math.isfinite(number) else (1, 0.0, label)
