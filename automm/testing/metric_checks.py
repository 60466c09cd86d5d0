"""What every metric must keep: a finite number, the same for the same rows, and better for what is better.

Shape legend: B rows, C outputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from automm.metrics.metric import Metric
from automm.testing.requirement import require
from automm.testing.subject import Subject
from automm.types import Targets

_ROWS = 40
_CLASSES = 8


class _Sample(NamedTuple):
    """Some rows' scores and targets, which nothing may write to."""

    called: str
    scores_BC: np.ndarray
    targets: np.ndarray


def check_gives_a_number(under_test: Subject) -> None:
    """A finite float for whatever rows: one alone, of one class alone, scored alike, never seen; without a warning."""
    for sample in _samples(under_test.factory):
        _measured(under_test.factory, sample)


def check_is_a_function(under_test: Subject) -> None:
    """The same rows give the same number, in whatever order they come."""
    order = np.random.default_rng(1).permutation(_ROWS)
    for sample in _samples(under_test.factory):
        first = _measured(under_test.factory, sample)
        require(_measured(under_test.factory, sample) == first, f"of {sample.called}, twice, two numbers")
        if len(sample.targets) == _ROWS:
            mixed = sample._replace(scores_BC=sample.scores_BC[order], targets=sample.targets[order])
            second = _measured(under_test.factory, mixed)
            close = bool(np.isclose(first, second, rtol=1e-5, atol=1e-6))
            require(close, f"{sample.called} give {first}, in another order {second}")


def check_direction(under_test: Subject) -> None:
    """Perfect scores are better than those of other rows, the way `higher_is_better` says."""
    metric: Metric = under_test.factory
    for reads in metric.reads:
        targets = _targets(reads)
        best = _measured(metric, _frozen("perfect scores", _perfect(reads, targets), targets))
        worse = _measured(metric, _frozen("other rows' scores", np.roll(_perfect(reads, targets), 1, 0), targets))
        way = "higher" if metric.higher_is_better else "lower"
        better = best > worse if metric.higher_is_better else best < worse
        require(better, f"perfect scores of {reads} give {best}, those of other rows {worse}, and {way} is better")


CHECKS: tuple[Callable[[Subject], None], ...] = (check_gives_a_number, check_is_a_function, check_direction)


def _measured(metric: Metric, sample: _Sample) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = metric(sample.scores_BC, sample.targets)
        except Exception as error:
            require(False, f"{sample.called}: {type(error).__name__}: {error}", cause=error)
    require(isinstance(found, float), f"{sample.called} give {found!r}, no float")
    require(bool(np.isfinite(found)), f"{sample.called} give {found}, which is not finite")
    return found


def _samples(metric: Metric) -> Iterator[_Sample]:
    random = np.random.default_rng(0)
    for reads in metric.reads:
        targets = _targets(reads)
        perfect_BC = _perfect(reads, targets)
        noisy_BC = 0.5 * perfect_BC + 0.5 * random.permutation(perfect_BC)
        alike_BC = np.broadcast_to(perfect_BC.mean(0), perfect_BC.shape)
        yield _frozen(f"rows of {reads}", noisy_BC, targets)
        yield _frozen(f"rows of {reads} scored alike", alike_BC, targets)
        yield _frozen(f"one row of {reads}", noisy_BC[:1], targets[:1])
        same = np.repeat(targets[:1], _ROWS, axis=0)
        yield _frozen(f"rows of {reads} with one target", noisy_BC, same)
        yield _frozen(f"rows of {reads} with one target, rightly scored", _perfect(reads, same), same)
        if reads == "classes":
            yield _frozen("rows of two classes", _perfect(reads, targets % 2)[:, :2], targets % 2)
            yield _frozen("rows of classes of which one is missing", noisy_BC, np.minimum(targets, _CLASSES - 2))
            yield _frozen("rows of classes never seen among others", noisy_BC, np.where(targets == 0, -1, targets))
            yield _frozen("rows of classes never seen", noisy_BC, np.full(_ROWS, -1))
        if reads == "labels":
            yield _frozen("rows without labels", noisy_BC, np.zeros_like(targets))
            yield _frozen("rows with all labels", noisy_BC, np.ones_like(targets))


def _targets(reads: Targets) -> np.ndarray:
    """The targets of 40 rows, every class and label among them."""
    random = np.random.default_rng(2)
    label_B = random.permutation(np.arange(_ROWS) % _CLASSES)
    own_BC = label_B[:, None] == np.arange(_CLASSES)
    of: dict[Targets, np.ndarray] = {
        "classes": label_B,
        "numbers": random.normal(50.0, 10.0, _ROWS),
        "labels": own_BC | (random.random(own_BC.shape) < 0.25),
        "shares": np.where(own_BC, 1.0, random.choice([0.0, 0.3], own_BC.shape)).astype(np.float32),
    }
    return of[reads]


def _perfect(reads: Targets, targets: np.ndarray) -> np.ndarray:
    scores_BC: np.ndarray = targets
    if reads == "classes":
        scores_BC = targets[:, None] == np.arange(_CLASSES)
    elif reads == "numbers":
        scores_BC = targets[:, None]
    return scores_BC.astype(np.float32)


def _frozen(called: str, scores_BC: np.ndarray, targets: np.ndarray) -> _Sample:
    scores_BC, targets = scores_BC.astype(np.float32), targets.copy()
    scores_BC.flags.writeable = targets.flags.writeable = False
    return _Sample(called, scores_BC, targets)
