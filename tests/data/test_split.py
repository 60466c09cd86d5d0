import numpy as np
import pytest

from automm.data.apart import check_disjoint
from automm.data.split import joined, linked, same_inputs, split_folds, split_latest, split_rows, take
from automm.errors import DataError
from automm.types import Column, FieldSpec, Schema, Table


def parts_are_exact(parts, rows):
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(rows))
    assert all(np.all(np.diff(part) > 0) for part in parts)


@pytest.mark.parametrize("seed", range(5))
def test_a_plain_split_takes_its_share(seed):
    train, valid = split_rows(1000, fraction=0.15, seed=seed)
    parts_are_exact((train, valid), 1000)
    assert len(valid) == 150


def test_a_split_is_a_function_of_its_seed():
    first, again, other = (split_rows(200, fraction=0.2, seed=s)[1] for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("seed", range(10))
def test_strata_are_shared_out_alike(seed):
    rng = np.random.default_rng(seed)
    strata = rng.choice(["a", "b", "c"], p=[0.8, 0.17, 0.03], size=1000)
    _, valid = split_rows(1000, fraction=0.2, seed=seed, strata=strata)
    for name in "abc":
        assert abs((strata[valid] == name).sum() - 0.2 * (strata == name).sum()) <= 1


def test_strata_of_one_row_are_shared_out_together():
    train, valid = split_rows(100, fraction=0.2, seed=0, strata=np.arange(100))
    parts_are_exact((train, valid), 100)
    assert len(valid) == 20


@pytest.mark.parametrize("seed", range(10))
def test_groups_stay_on_one_side_and_strata_nearly_even(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 150, 1200)
    strata = rng.integers(0, 4, 1200)
    train, valid = split_rows(1200, fraction=0.25, seed=seed, groups=groups, strata=strata)
    parts_are_exact((train, valid), 1200)
    assert not set(groups[train]) & set(groups[valid])
    assert 0.2 < len(valid) / 1200 < 0.3
    shares = np.bincount(strata[valid]) / np.bincount(strata)
    assert np.abs(shares - 0.25).max() < 0.08


def test_big_and_small_groups_are_drawn_alike():
    groups = np.repeat(np.arange(200), np.where(np.arange(200) < 20, 30, 1))
    parts = [split_rows(780, fraction=0.3, seed=seed, groups=groups)[1] for seed in range(20)]
    big = [len({g for g in groups[part] if g < 20}) for part in parts]
    assert 4 < np.mean(big) < 8  # 6 of 20


@pytest.mark.parametrize(("rows", "groups"), [(1, None), (40, np.zeros(40, int))])
def test_what_cannot_be_split_is_an_error(rows, groups):
    with pytest.raises(DataError, match=r"cannot be split.*Next"):
        split_rows(rows, fraction=0.2, seed=0, groups=groups)


def test_rows_are_linked_through_any_key():
    first = np.array([0, 0, 1, 2, 3, -1, -1])
    second = np.array([5, 6, 6, 7, -1, -1, 7])
    label = linked([first, second])
    assert label[0] == label[1] == label[2]
    assert label[3] == label[6]
    assert len(set(label.tolist())) == 4


def test_linking_agrees_with_a_search_over_pairs():
    rng = np.random.default_rng(0)
    for _ in range(30):
        keys = [rng.integers(-1, 25, 40) for _ in range(3)]
        label = linked(keys)
        same = np.logical_or.reduce([(k[:, None] == k) & (k[:, None] >= 0) for k in keys]) | np.eye(40, dtype=bool)
        reach = np.linalg.matrix_power(same.astype(float), 40) > 0
        assert np.array_equal(label[:, None] == label, reach)


def a_table():
    columns = {
        "image": Column(["a.png", "b.png", "c.png"], np.array([0, 2, -1, 2])),
        "text": Column(["x", "y"], np.array([1, 1, 0, 1])),
    }
    schema = Schema((FieldSpec("image", "image"), FieldSpec("text", "text")))
    return Table(schema, columns, ["p", "q", "r", "s"], [10, 11, 12, 13], {"kind": np.array(["k", "l", "k", "l"])})


def test_taken_rows_keep_their_cells_and_only_the_values_they_use():
    table = a_table()
    part = take(table, np.array([3, 2]))
    assert [part.row(i) for i in range(2)] == [table.row(3), table.row(2)]
    assert part.columns["image"].values == ["c.png"]
    assert (part.targets, part.ids, part.groups["kind"].tolist()) == (["s", "r"], [13, 12], ["l", "k"])


def test_taken_rows_of_an_array_column():
    images = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)
    table = Table(Schema(()), {"image": Column(images, np.array([3, 0, 3]))}, [0, 1, 2], [0, 1, 2])
    part = take(table, np.array([0, 2]))
    assert part.columns["image"].values.shape == (1, 2, 2, 3)
    assert np.array_equal(part.row(1)["image"], images[3])


def test_rows_alike_in_all_inputs_get_one_number():
    number = same_inputs(list(a_table().columns.values()))
    assert number[1] == number[3]
    assert len(set(number.tolist())) == 3


def test_leakage_is_counted_and_shown():
    check_disjoint([1, 2], [3], names=("train", "test"), what="image")
    with pytest.raises(DataError, match=r"train and test sets share 2 image\(s\), such as 2, 3"):
        check_disjoint([1, 2, 3], [2, 3, 4], names=("train", "test"), what="image")


def test_joined_tables_hold_the_rows_of_both_in_order():
    schema = Schema((FieldSpec("word", "text"),))

    def part(words, index, targets, ids):
        columns = {"word": Column(words, np.array(index))}
        return Table(schema, columns, targets, list(ids), {"g": np.array([ids[0]] * 3)})

    both = joined(part(["a", "b"], [1, -1, 0], [1, 2, 3], "xyz"), part(["b", "c"], [0, 1, -1], [4, 5, 6], "uvw"))
    assert [both.row(at)["word"] for at in range(6)] == ["b", None, "a", "b", "c", None]
    assert (list(both.targets), list(both.ids)) == ([1, 2, 3, 4, 5, 6], list("xyzuvw"))
    assert both.groups["g"].tolist() == ["x"] * 3 + ["u"] * 3


def test_the_latest_rows_are_split_off_and_ties_stay_together():
    times = np.array([3.0, 1.0, 2.0, 3.0, 5.0, 4.0, 5.0, 0.0, 2.0, 1.0])
    earlier, later = split_latest(times, fraction=0.2)
    parts_are_exact((earlier, later), 10)
    assert later.tolist() == [4, 6]
    assert split_latest(times, fraction=0.3)[1].tolist() == [4, 5, 6]
    assert split_latest(times, fraction=0.25)[1].tolist() == [4, 6]  # of two cuts as near, the later
    assert split_latest(times, fraction=0.4)[1].tolist() == [4, 5, 6]  # 3 is nearer to 4 than 5


@pytest.mark.parametrize("seed", range(5))
def test_time_parts_groups_where_it_can(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 200, 1000)
    times = groups + rng.normal(size=1000) * 0.2  # each group within its own stretch of time, more or less
    earlier, later = split_latest(times, fraction=0.15, groups=groups)
    parts_are_exact((earlier, later), 1000)
    assert times[earlier].max() < times[later].min()
    assert not set(groups[earlier]) & set(groups[later])
    assert 0.1 < len(later) / 1000 < 0.2


@pytest.mark.parametrize(
    ("times", "groups", "why"),
    [
        ([7.0] * 10, None, "there are 1 different times. Next"),
        ([1.0, 2.0, 3.0, 4.0], [0, 1, 1, 0], "4 different times, and rows that belong together .* on both sides"),
    ],
)
def test_what_no_time_parts_is_an_error(times, groups, why):
    with pytest.raises(DataError, match=why):
        split_latest(np.array(times), fraction=0.2, groups=None if groups is None else np.array(groups))


def test_folds_share_rows_out_evenly_and_groups_stay_together():
    groups, strata = np.arange(60) // 2, np.arange(60) // 2 % 3
    fold = split_folds(60, folds=5, seed=3, groups=groups, strata=strata)
    assert np.bincount(fold).tolist() == [12] * 5
    assert all(len(set(fold[groups == g])) == 1 for g in range(30))
    assert all(np.bincount(fold[strata == s], minlength=5).tolist() == [4] * 5 for s in range(3))
    assert (fold == split_folds(60, folds=5, seed=3, groups=groups, strata=strata)).all()
    assert (fold != split_folds(60, folds=5, seed=4, groups=groups, strata=strata)).any()


def test_more_folds_than_groups_are_too_many():
    with pytest.raises(DataError, match="cannot be split"):
        split_folds(6, folds=4, seed=0, groups=np.array([0, 0, 1, 1, 2, 2]))
