"""Rows that belong together are left out together where training rows scale the scores of a closed form."""

from dataclasses import replace

import numpy as np
import pytest

from automm.data.split import joined, take
from automm.training import closed_form, ridge
from automm.training.calibration_sample import Sample
from automm.types import Schema, Table

GROUPS = [np.array([3, 8]), np.array([0, 5, 11])]


@pytest.fixture
def regression():
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 3)), rng.normal(size=(12, 2)), rng.uniform(1, 2, 12)


def test_groups_are_left_out_of_a_ridge(regression):
    x_ND, y_NC, weight_N = regression
    solved = ridge.solve(np.asarray, [regression], 0.3)
    error_NC, z_NP = solved.errors(x_ND, y_NC)
    for at in GROUPS:
        rest = np.setdiff1d(np.arange(12), at)
        l2 = 0.3 * weight_N.sum() / weight_N[rest].sum()
        without = ridge.solve(np.asarray, [(x_ND[rest], y_NC[rest], weight_N[rest])], l2)
        left_out = solved.group_left_out(y_NC[at], weight_N[at], error_NC[at], z_NP[at])
        np.testing.assert_allclose(left_out, x_ND[at] @ without.weight_PC + without.bias_C, rtol=1e-6)
    one = solved.group_left_out(y_NC[:1], weight_N[:1], error_NC[:1], z_NP[:1])
    np.testing.assert_allclose(one, solved.left_out(y_NC, weight_N, error_NC, z_NP)[:1])


@pytest.mark.parametrize("l2", [0.05, 1e-6])
def test_groups_are_left_out_of_a_kernel_ridge(regression, l2):
    x_ND, y_NC, weight_N = regression
    kernel_NN = ridge.gaussian(x_ND, x_ND, 0.3)
    solved = ridge.solve_kernel(kernel_NN.copy(), y_NC, weight_N, l2, groups=GROUPS)
    alone = ridge.solve_kernel(kernel_NN.copy(), y_NC, weight_N, l2)
    for at in GROUPS:
        rest = np.setdiff1d(np.arange(12), at)
        same = l2 * weight_N.sum() / weight_N[rest].sum()
        without = ridge.solve_kernel(kernel_NN[np.ix_(rest, rest)], y_NC[rest], weight_N[rest], same)
        expected = kernel_NN[np.ix_(at, rest)] @ without.weight_NC + without.bias_C
        np.testing.assert_allclose(solved.left_out_NC[at], expected, rtol=1e-4)
    others = np.setdiff1d(np.arange(12), np.concatenate(GROUPS))
    np.testing.assert_array_equal(solved.left_out_NC[others], alone.left_out_NC[others])


@pytest.mark.parametrize("options", [
    {"method": "ridge"},
    {"method": "ridge", "balanced": True},
    {"method": "kernel_ridge"},
    {"method": "nearest_class_mean"},
], ids=lambda options: "-".join(map(str, options.values())))  # fmt: skip
def test_rows_that_are_there_twice_tell_no_more_than_once(bench, candidate, monkeypatch, options):
    """A twin that stayed would say what its row is: without both it is as if neither had been there."""
    calibrated, scores = closed_form._calibrated, {}

    def watched(task, table, raw_SC, share_C):
        scores.update(zip(table.ids, raw_SC, strict=True))
        return calibrated(task, table, raw_SC, share_C)

    monkeypatch.setattr(closed_form, "_calibrated", watched)
    chosen = candidate(solver="closed_form", **options)
    bench.fit(chosen)
    once = dict(scores)
    twins = replace(joined(bench.train, bench.train), together=np.tile(np.arange(len(bench.train)), 2))
    twice = type(bench)(twins, bench.valid)
    scores.clear()
    twice.fit(chosen)
    assert scores.keys() == once.keys()
    for name, of_row in once.items():
        np.testing.assert_allclose(scores[name], of_row, atol=1e-5)
    scores.clear()
    type(bench)(replace(twins, together=None), bench.valid).fit(chosen)
    assert any(np.abs(scores[name] - of_row).max() > 1e-3 for name, of_row in once.items())


def test_whole_groups_are_drawn(bench):
    table = take(bench.train, np.arange(12))
    alone = Sample.drawn(table, 12, 5, 0)
    assert (len(set(alone.rows)), alone.groups) == (5, ())
    table = replace(table, together=np.array([0, 0, 0, 1, 1, 2, 3, 4, 4, 5, 6, 7]))
    found = Sample.drawn(table, 10, 6, 0)
    assert 4 <= len(found.rows) <= 6
    assert max(found.rows) < 10
    for number in set(table.together[found.rows]):
        assert set(np.flatnonzero(table.together[:10] == number)) <= set(found.rows)
    groups = {tuple(sorted(rows)) for rows in found.groups_of_rows}
    assert groups == {
        tuple(np.flatnonzero(table.together == number))
        for number in set(table.together[found.rows])
        if (table.together == number).sum() > 1
    }
    assert len(found.alone) + sum(map(len, found.groups)) == len(found.rows)
    one = Sample.drawn(replace(table, together=np.zeros(12, np.int64)), 12, 5, 0)
    assert (len(one.rows), one.groups) == (5, ())


@pytest.mark.parametrize("share", [0.02, 0.3, 0.95])
def test_a_large_group_leaves_room_for_the_others(share):
    together = np.arange(50_000)
    together[: int(share * 50_000)] = 0
    table = Table(Schema(()), {}, [0] * 50_000, range(50_000), together=together)
    found = Sample.drawn(table, 50_000, 5_000, 0)
    assert (together[found.rows] == 0).sum() == 256
    assert len(found.rows) == min(5_000, int(50_000 * (1 - share)) + 256)
    assert [len(places) for places in found.groups] == [256]
    equal = Sample.drawn(replace(table, together=np.arange(50_000) // 3_000), 50_000, 5_000, 0)
    assert [len(places) for places in equal.groups] == [256] * 17


@pytest.mark.parametrize("others", [1, 2, 5])
def test_what_leaves_hardly_a_row_stays_within_reason(others):
    rng = np.random.default_rng(0)
    for _ in range(20):
        x_ND, y_NC = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
        kernel_NN = ridge.gaussian(x_ND, x_ND, 0.3)
        solved = ridge.solve_kernel(kernel_NN, y_NC, np.ones(40), 1e-5, groups=[np.arange(40 - others)])
        assert np.abs(solved.left_out_NC).max() < 1e4
        whole = ridge.solve_kernel(ridge.gaussian(x_ND, x_ND, 0.3), y_NC, np.ones(40), 1e-5, groups=[np.arange(40)])
        assert np.isfinite(whole.left_out_NC).all()


def test_what_is_joined_does_not_belong_together(bench):
    first = replace(take(bench.train, np.arange(3)), together=np.array([4, 4, 1]))
    second = take(bench.valid, np.arange(2))
    assert joined(second, second).together is None
    assert list(joined(first, second).together) == [4, 4, 1, 5, 6]
    assert list(take(joined(first, first), np.array([0, 1, 3, 5])).together) == [4, 4, 9, 6]
