"""Standard metrics against scikit-learn's, and what they are where scikit-learn's are undefined."""

import numpy as np
import pytest
import sklearn.metrics as sk

from automm.metrics.named import load

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 5, 60)
SCORES = RNG.dirichlet(np.ones(5), 60).astype(np.float32)
SCORES[np.arange(0, 60, 2), LABELS[::2]] += 1
SCORES /= SCORES.sum(1, keepdims=True)
TWO, OF_TWO = LABELS % 2, np.stack([1 - SCORES[:, 1], SCORES[:, 1]], 1)
WANTED = RNG.random((60, 4)) < 0.4
OF_LABELS = RNG.random((60, 4)).astype(np.float32)
VALUES = RNG.normal(100, 20, 60)
OF_NUMBERS = (VALUES + RNG.normal(0, 10, 60)).astype(np.float32)[:, None]


def ranks_of_two(score):
    return lambda targets, scores: score(targets, scores[:, 1])


def answered(score, **how):
    return lambda targets, scores: score(targets, scores.argmax(1), **how)


def halves(score, **how):
    return lambda targets, scores: score(targets, scores >= 0.5, **how)


def places(values):
    return np.argsort(np.argsort(values))


def top(k):
    return lambda targets, scores: sk.top_k_accuracy_score(targets, scores, k=k)


def each_against_the_rest(score):
    return lambda targets, scores: np.mean([score(targets == c, scores[:, c]) for c in range(scores.shape[1])])


MANY = {
    "accuracy": answered(sk.accuracy_score),
    "balanced_accuracy": answered(sk.balanced_accuracy_score),
    "f1": answered(sk.f1_score, average="macro"),
    "f1_macro": answered(sk.f1_score, average="macro"),
    "precision": answered(sk.precision_score, average="macro"),
    "recall": answered(sk.recall_score, average="macro"),
    "auroc": each_against_the_rest(sk.roc_auc_score),
    "average_precision": each_against_the_rest(sk.average_precision_score),
    "cohen_kappa": answered(sk.cohen_kappa_score),
    "matthews_corrcoef": answered(sk.matthews_corrcoef),
    "jaccard": answered(sk.jaccard_score, average="macro"),
    "specificity": lambda targets, scores: np.mean(
        [sk.recall_score(targets != c, scores.argmax(1) != c) for c in range(scores.shape[1])]
    ),
    "log_loss": sk.log_loss,
    "top_3": top(3),
}
BINARY = {
    "balanced_accuracy": answered(sk.balanced_accuracy_score),
    "f1": answered(sk.f1_score),
    "f1_macro": answered(sk.f1_score, average="macro"),
    "precision": answered(sk.precision_score),
    "recall": answered(sk.recall_score),
    "auroc": ranks_of_two(sk.roc_auc_score),
    "average_precision": ranks_of_two(sk.average_precision_score),
    "cohen_kappa": answered(sk.cohen_kappa_score),
    "matthews_corrcoef": answered(sk.matthews_corrcoef),
    "jaccard": answered(sk.jaccard_score),
    "specificity": answered(sk.recall_score, pos_label=0),
}
OF_MANY_LABELS = {
    "f1": halves(sk.f1_score, average="micro"),
    "f1_micro": halves(sk.f1_score, average="micro"),
    "f1_macro": halves(sk.f1_score, average="macro"),
    "precision": halves(sk.precision_score, average="micro"),
    "recall": halves(sk.recall_score, average="micro"),
    "auroc": lambda targets, scores: sk.roc_auc_score(targets, scores, average="macro"),
    "average_precision": lambda targets, scores: sk.average_precision_score(targets, scores, average="macro"),
    "hamming": halves(sk.hamming_loss),
    "jaccard": halves(sk.jaccard_score, average="micro"),
    "specificity": lambda targets, scores: sk.recall_score(targets.ravel(), scores.ravel() >= 0.5, pos_label=False),
}
NUMBERS = {
    "mae": sk.mean_absolute_error,
    "mse": sk.mean_squared_error,
    "rmse": sk.root_mean_squared_error,
    "r2": sk.r2_score,
    "pearson": lambda targets, scores: np.corrcoef(targets, scores[:, 0])[0, 1],
    "spearman": lambda targets, scores: np.corrcoef(places(targets), places(scores[:, 0]))[0, 1],
    "mape": lambda targets, scores: sk.mean_absolute_percentage_error(targets, scores[:, 0]),
}
CASES = [
    *((name, reference, SCORES, LABELS) for name, reference in MANY.items()),
    *((name, reference, OF_TWO, TWO) for name, reference in BINARY.items()),
    *((name, reference, OF_LABELS, WANTED) for name, reference in OF_MANY_LABELS.items()),
    *((name, reference, OF_NUMBERS, VALUES) for name, reference in NUMBERS.items()),
]


@pytest.mark.parametrize(("name", "reference", "scores", "targets"), CASES)
def test_it_is_what_scikit_learn_says(name, reference, scores, targets):
    assert load(name)(scores, targets) == pytest.approx(reference(targets, scores), abs=1e-5)


def test_averages_are_over_the_classes_that_occur():
    label = np.array([0, 0, 2, 2])
    scores = np.eye(4, dtype=np.float32)[[0, 1, 2, 2]]  # class 1 is answered once, class 3 never
    assert load("balanced_accuracy")(scores, label) == pytest.approx(0.75)
    assert load("f1_macro")(scores, label) == pytest.approx((2 / 3 + 1) / 2)
    assert load("auroc")(scores, label) == pytest.approx((0.75 + 1) / 2)


def test_a_class_that_training_never_saw_is_never_found():
    label = np.array([0, 1, -1, 2])
    scores = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    assert load("accuracy")(scores, label) == 0.75
    assert load("balanced_accuracy")(scores, label) == 0.75
    assert load("top_3")(scores, label) == 0.75
    assert load("precision")(scores, label) == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    two = scores[:, :2]
    assert load("precision")(np.eye(2, dtype=np.float32)[[0, 1, 1]], np.array([0, 1, -1])) == 0.5
    assert load("auroc")(two[:3], np.array([0, 1, -1])) == 1.0


@pytest.mark.parametrize(("name", "value"), [("auroc", 0.5), ("average_precision", 0.0), ("f1", 0.0), ("recall", 0.0)])
def test_the_second_class_may_be_missing(name, value):
    assert load(name)(OF_TWO[:9], np.zeros(9, np.int64)) == value


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_a_small_spread_beside_a_large_mean_still_correlates(name):
    values = 1e6 + np.arange(8.0)
    assert load(name)(values.astype(np.float32)[:, None], values) == pytest.approx(1.0)


def test_ties_share_their_rank():
    scores = np.array([1, 1, 2, 3], np.float32)[:, None]
    assert load("spearman")(scores, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.9486833)


@pytest.mark.parametrize("scale", [1e-12, 1e-7, 1e-3, 1.0, 1e9])
def test_mape_does_not_depend_on_the_unit(scale):
    values = np.array([1, -2, 4, 1e-8]) * scale
    assert load("mape")((values * [1.1, 0.8, 1.3, 1.2]).astype(np.float32)[:, None], values) == pytest.approx(0.2)


def test_mape_is_finite_where_targets_are_none():
    scores, values = np.array([0, 1, 3e38], np.float32)[:, None], np.array([0, 0, 1e-320])
    assert load("mape")(scores[:1], values[:1]) == 0.0
    assert load("mape")(scores[:2], values[:2]) == pytest.approx(0.5 / 1.17e-6)
    assert np.isfinite(load("mape")(scores, values))


def test_r2_of_small_numbers():
    assert load("r2")(np.full((4, 1), 2.5e-4, np.float32), np.array([1e-4, 2e-4, 3e-4, 4e-4])) == pytest.approx(
        0, abs=1e-6
    )
