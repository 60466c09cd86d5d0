"""How much the share of a class counts in what a closed form answers: fitted, and nothing where it is no share."""

from dataclasses import replace

import numpy as np
import pytest

from automm.tasks.classification import Classification
from automm.tasks.multilabel import MultiLabel
from automm.training import closed_form
from automm.types import FieldSpec, Schema, Table


@pytest.mark.parametrize("per_share", [-2.0, -1.0, 0.5])
def test_how_much_the_share_of_a_class_counts_is_fitted(per_share):
    """Labels drawn at known logits of scores and shares: the fit finds both again."""
    share_C = np.array([0.8, 0.2])
    scale, offset_C = calibrated(Classification(), share_C, per_share * share_C)
    assert scale == pytest.approx(3.0, rel=0.1)
    assert offset_C[0] - offset_C[1] == pytest.approx(3.0 * per_share * 0.6, abs=0.3)
    _, same_C = calibrated(Classification(), np.zeros(2), per_share * share_C)
    assert same_C[0] == same_C[1]


def test_shares_count_within_bounds():
    share_C = np.array([0.8, 0.2])
    scale, offset_C = calibrated(Classification(), share_C, -9 * share_C)
    assert (offset_C[0] - offset_C[1]) / scale == pytest.approx(-4 * 0.6, rel=1e-6)
    scale, offset_C = calibrated(
        Classification(), np.array([1e-7, 0.0]), np.array([0.5, 0.0])
    )  # too little to be of use
    assert np.ptp(offset_C) <= 1e-6 * scale


@pytest.mark.parametrize("per_share", [-3.5, -1.5, 2.0])
def test_shares_of_many_classes_count_as_exactly(per_share):
    share_C = 1 / np.arange(1, 41)
    share_C /= share_C.sum()
    scale, offset_C = calibrated(Classification(), share_C, per_share * share_C)
    assert scale == pytest.approx(3.0, rel=0.1)
    assert np.polyfit(share_C, offset_C, 1)[0] / scale == pytest.approx(per_share, abs=0.5)


def calibrated(task, share_C, shift_C):
    """What is fitted to 4,000 rows whose labels are drawn at logits of 3 (score + shift)."""
    rng = np.random.default_rng(0)
    raw_NC = rng.normal(size=(4000, len(share_C)))
    label_N = (3.0 * (raw_NC + shift_C) + rng.gumbel(size=raw_NC.shape)).argmax(1)
    task.labels = tuple(map(str, range(len(share_C))))
    schema = Schema((FieldSpec("words", "text"),))
    table = Table(schema, {}, [str(label) for label in label_N], list(range(4000)))
    return closed_form._calibrated(task, table, raw_NC, share_C)


def test_shares_are_those_of_classes_that_exclude_each_other_and_weigh_what_they_are(bench, candidate, monkeypatch):
    bench.train.targets[:] = ["yes"] * 44 + ["no"] * 4
    told, calibrated = [], closed_form._calibrated
    monkeypatch.setattr(closed_form, "_calibrated", lambda *given: told.append(given[-1]) or calibrated(*given))

    def share(**options):
        bench.fit(candidate(solver="closed_form", **options))
        return sorted(told.pop())

    for method in ("ridge", "kernel_ridge"):
        assert share(method=method) == pytest.approx([4 / 48, 44 / 48])
        assert share(method=method, balanced=True) == [0, 0]
    assert share(method="kernel_ridge", supports=20) == pytest.approx([4 / 48, 44 / 48])
    assert share(method="nearest_class_mean") == [0, 0]
    several = replace(bench.train, targets=["yes,no" if at % 3 else "yes" for at in range(48)])
    bench = type(bench)(several, several, MultiLabel())
    assert share(method="ridge") == [0, 0]
