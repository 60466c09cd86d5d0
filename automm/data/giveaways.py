"""Columns that give the target away: one alone predicts it too well to be true.

Shape legend: R rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from automm.data.leaks import Finding
from automm.data.likeness import words

_ROWS = 20_000  # that are looked at
_FEWEST = 20
_FOLDS = 5
_SKILL = 0.98  # of what the commonest class leaves to be known
_EXPLAINED = 0.99  # of the variance of a number
_LEAVES = 256
_LABELS = 10  # of a target that lists some, which are tried one by one
_SHOWN = 3
_SAID = 0.9  # of rows whose text holds the class's name,
_BY_CHANCE = 0.5  # where as many of them hold another row's are no giveaway

Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]  # rows to learn from, rows to answer -> answers


@dataclass(frozen=True)
class Judged:
    """The rows that columns are tried on, and what they should predict.

    `target_R` is a class number, int64, or a number, float64; `fold_R` says in which part a row is left out.
    """

    target_R: np.ndarray
    fold_R: np.ndarray

    @property
    def classes(self) -> bool:
        """Whether targets are classes."""
        return self.target_R.dtype == np.int64


def sample(known_R: np.ndarray, seed: int = 0) -> np.ndarray:
    """Numbers of the rows that are tried, ascending: those with a target, or as many of them as time allows."""
    rows = np.flatnonzero(known_R)
    return np.sort(np.random.default_rng(seed).permutation(rows)[:_ROWS])


def folds(group_R: np.ndarray, seed: int = 0) -> np.ndarray:
    """A part for each row, int64 [R]; rows of one group are in the same."""
    _, group = np.unique(group_R, return_inverse=True)
    return np.asarray(np.random.default_rng(seed).permutation(int(group.max(initial=0)) + 1)[group] % _FOLDS, np.int64)


def giveaways(judged: Judged, keys: Mapping[str, np.ndarray], numbers: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Columns that predict the target nearly perfectly on rows they were not looked up from.

    Args:
        judged: the rows.
        keys: by column, int64 [R], equal for cells that are alike.
        numbers: by numeric column, float64 [R], NaN where it is missing.
    """
    if len(judged.target_R) < _FEWEST or len(np.unique(judged.target_R)) < 2:
        return
    for name, key_R in keys.items():
        if how := _how_well(judged, key_R, numbers.get(name)):
            yield _found(name, f"the target on rows left out, with {how}")


def label_giveaways(
    lists: Sequence[Sequence[str]],
    fold_R: np.ndarray,
    keys: Mapping[str, np.ndarray],
    numbers: Mapping[str, np.ndarray],
) -> Iterator[Finding]:
    """Columns that predict nearly perfectly which rows have a label, of those that stand in most rows.

    Args:
        lists: the labels of each row.
        fold_R: the part in which it is left out, int64 [R].
        keys: as `giveaways` takes them.
        numbers: likewise.
    """
    counts = Counter(label for labels in lists for label in set(labels))
    often = [label for label, count in counts.most_common() if _FEWEST <= count <= len(lists) - _FEWEST][:_LABELS]
    has = {label: Judged(np.array([label in labels for labels in lists], np.int64), fold_R) for label in often}
    for name, key_R in keys.items():
        known = [label for label in often if _how_well(has[label], key_R, numbers.get(name))]
        if known:
            shown = ", ".join(f"{label:.40}" for label in known[:_SHOWN]) + (" ..." if len(known) > _SHOWN else "")
            yield _found(name, f"on rows left out which of them have {len(known)} label(s) of the target ({shown})")


def spoken(name: str, texts: Sequence[str], labels: Sequence[Sequence[str]]) -> Iterator[Finding]:
    """Whether a text column says the names of the row's classes, more than it says those of other rows'.

    Args:
        name: the column.
        texts: one a row.
        labels: the classes of each: one, or any number of labels.
    """
    padded = [f" {words(text)} " for text in texts]
    sought = [{f" {words(label)} " for label in each} for each in labels]
    said = [label in text for text, each in zip(padded, sought, strict=True) for label in each]
    own = np.mean(said) if said else 0.0
    if len(padded) < _FEWEST or own < _SAID:
        return
    others = [label in text for at, text in enumerate(padded) for label in sought[at - 1] - sought[at]]
    if others and np.mean(others) < _BY_CHANCE * own:
        yield _found(name, f"the target, for its text holds the name of the class in {100 * own:.0f} % of the rows")


def _how_well(judged: Judged, key_R: np.ndarray, number_R: np.ndarray | None) -> str:
    """How well a column predicts the target, in a phrase, where that is too well to be true; else empty."""
    scores = [_score(judged, _by_value(judged, key_R))]
    if number_R is not None:
        scores.append(_score(judged, _by_tree(judged, number_R)))
    least, best = _guess(judged), max(scores)
    if judged.classes and (best - least) / (1 - least) >= _SKILL:
        return f"an accuracy of {best:.3f}, where the commonest class has {least:.3f}"
    return "" if judged.classes or best < _EXPLAINED else f"{100 * best:.1f} % of its variance explained"


def _found(name: str, what: str) -> Finding:
    return Finding(
        "gives the target away",
        1,
        f"{name!r} alone predicts {what}: it may be the target in other words, or be "
        f"known only afterwards. Next: data.drop=[{name}], unless it is known when predictions are made; "
        f"data.group={name} if rows that share it belong together.",
    )


def _score(judged: Judged, predict: Predict) -> float:
    """Accuracy, or the share of variance explained, over rows that were left out in turn."""
    answer_R = np.empty_like(judged.target_R)
    for fold in np.unique(judged.fold_R):
        out_R = judged.fold_R == fold
        if out_R.all():
            return 0.0
        answer_R[out_R] = predict(np.flatnonzero(~out_R), np.flatnonzero(out_R))
    if judged.classes:
        return float((answer_R == judged.target_R).mean())
    return 1 - float(((answer_R - judged.target_R) ** 2).mean() / judged.target_R.var())


def _guess(judged: Judged) -> float:
    if not judged.classes:
        return 0.0
    return float(np.bincount(judged.target_R).max() / len(judged.target_R))


def _by_value(judged: Judged, key_R: np.ndarray) -> Predict:
    """Look the cell up: the commonest class, or the mean, of rows that have it; of all rows where none has."""

    def predict(learn: np.ndarray, answer: np.ndarray) -> np.ndarray:
        target = judged.target_R[learn]
        if judged.classes:
            pairs, counts = np.unique(np.stack([key_R[learn], target]), axis=1, return_counts=True)
            order = np.lexsort([counts, pairs[0]])  # the commonest class of each key comes last
            table = dict(zip(pairs[0][order].tolist(), pairs[1][order].tolist(), strict=True))
            other = np.bincount(target).argmax()
        else:
            key, inverse = np.unique(key_R[learn], return_inverse=True)
            means = np.bincount(inverse, target) / np.bincount(inverse)
            table, other = dict(zip(key.tolist(), means.tolist(), strict=True)), target.mean()
        return np.array([table.get(key, other) for key in key_R[answer].tolist()])

    return predict


def _by_tree(judged: Judged, number_R: np.ndarray) -> Predict:
    """A tree of few leaves over the number; a missing one is less than all."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    least = np.nanmin(number_R) - 1 if np.isfinite(number_R).any() else 0.0
    x_R1 = np.nan_to_num(number_R, nan=least)[:, None]

    def predict(learn: np.ndarray, answer: np.ndarray) -> np.ndarray:
        kind = DecisionTreeClassifier if judged.classes else DecisionTreeRegressor
        tree = kind(max_leaf_nodes=_LEAVES, random_state=0).fit(x_R1[learn], judged.target_R[learn])
        return np.asarray(tree.predict(x_R1[answer]))

    return predict
