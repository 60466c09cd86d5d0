import numpy as np
import pytest
import torch
from rows import table

from automm.errors import DataError
from automm.tasks.regression import Regression
from automm.types import Goal


def fitted(targets):
    task = Regression()
    task.fit(table(targets))
    return task


def test_metrics_are_in_the_targets_own_unit():
    task = fitted([0.0, 100.0])
    rows = table([10, 20, "30", 40.0], kind=["a", "a", "b", "b"])
    values = task.metrics(np.array([[13.0], [16.0], [30.0], [40.0]], np.float32), rows)
    assert task.goal == Goal("rmse", "minimize")
    assert values["loss"] == pytest.approx((9 + 16) / 4)
    assert values["rmse"] == pytest.approx(2.5)
    assert values["rmse/a"] == pytest.approx(12.5**0.5)
    assert values["rmse/b"] == 0
    assert values["mae"] == pytest.approx(7 / 4)
    assert values["r2"] == pytest.approx(1 - 6.25 / 125)


def test_a_logit_is_a_standardised_target():
    task = fitted([1000.0, 3000.0])
    targets = {name: torch.from_numpy(a) for name, a in task.targets(table([1000.0, 2000.0])).items()}
    logits_BC = torch.tensor([[-1.0], [0.0]])
    assert task.loss(logits_BC, targets, label_smoothing=0.3).item() == pytest.approx(0)
    assert task.probabilities(logits_BC).tolist() == [[1000.0], [2000.0]]
    np.testing.assert_allclose(task.wanted_logits(table([1000.0, 2000.0])), [[-1.0], [0.0]])
    assert task.decode(np.array([2000.0])) == 2000.0
    assert task.right(2000.0, 2000.0) is None


@pytest.mark.parametrize(
    ("targets", "said"),
    [([1, 1, 1], "do not differ"), ([1, "many"], "'many'"), ([1, None], "has no target"), ([1, float("inf")], "inf")],
)
def test_targets_that_cannot_be_learnt(targets, said):
    with pytest.raises(DataError, match=said):
        fitted(targets)
