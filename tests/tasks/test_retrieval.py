"""Loss and metrics against figures worked out by hand, by brute force and by scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from automm.errors import DataError
from automm.tasks.ranking import Pairs, Ranking
from automm.tasks.retrieval import Retrieval
from automm.types import PAIR, Column, FieldSpec, Schema, Table

SCHEMA = Schema((FieldSpec("image", "image"), FieldSpec("caption", "text")))


def table(images, captions, **groups):
    """Rows of these images and captions, by name; None is missing."""
    columns = {}
    for name, cells in (("image", images), ("caption", captions)):
        values = sorted({cell for cell in cells if cell is not None})
        index = [-1 if cell is None else values.index(cell) for cell in cells]
        columns[name] = Column(values, np.array(index, np.int64))
    named = {name: np.array(of) for name, of in groups.items()}
    return Table(SCHEMA, columns, [PAIR] * len(images), [f"r{at}" for at in range(len(images))], named)


def fitted(rows):
    task = Retrieval()
    task.fit(rows)
    return task


def loss_of(task, rows, logits):
    targets = {name: torch.from_numpy(array) for name, array in task.targets(rows).items()}
    return task.loss(torch.as_tensor(logits, dtype=torch.float32), targets, label_smoothing=0.0)


def test_one_caption_an_image_is_clips_loss():
    rows = table("abc", "xyz")
    logits = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    product = logits[:, :4] @ logits[:, 4:].T
    own = torch.arange(3)
    expected = (torch.nn.functional.cross_entropy(product, own) + torch.nn.functional.cross_entropy(product.T, own)) / 2
    torch.testing.assert_close(loss_of(fitted(rows), rows, logits), expected)


def test_whatever_belongs_together_is_right_and_counts_as_wrong_nowhere():
    # a has x and y, b has x and z: that b goes with x is only told by the last row, that a does by the first
    rows = table("aabb", "xyzx")
    first, second = {"a": [1.0, 0.0], "b": [0.0, 2.0]}, {"x": [1.0, 1.0], "y": [3.0, 0.0], "z": [0.5, 0.5]}
    logits = [first[i] + second[c] for i, c in zip("aabb", "xyzx", strict=True)]
    e = math.exp
    # products: a with x, y, z = 1, 3, 0.5; b with x, y, z = 2, 0, 1; wrong are a-z and b-y alone
    a = np.mean([-math.log(e(s) / (e(s) + e(0.5))) for s in (1, 3)])
    b = np.mean([-math.log(e(s) / (e(s) + e(0))) for s in (2, 1)])
    x = 0.0  # both images are right
    y = -math.log(e(3) / (e(3) + e(0)))
    z = -math.log(e(1) / (e(1) + e(0.5)))
    expected = (np.mean([a, b]) + np.mean([x, y, z])) / 2
    assert loss_of(fitted(rows), rows, logits).item() == pytest.approx(expected, rel=1e-5)


def test_equal_values_are_one_item_even_where_a_joined_column_holds_them_twice():
    whole = table("ab", "xy")
    joined = Table(
        SCHEMA,
        {
            "image": Column(["a", "b"], np.array([0, 1])),
            "caption": Column(["x", "x"], np.array([0, 1])),
        },
        [PAIR] * 2,
        ["r0", "r1"],
    )
    assert fitted(whole).targets(joined)["second_item"].tolist() == [0, 0]


def test_rows_that_lack_a_field_teach_nothing_and_a_batch_of_one_pair_costs_nothing():
    rows = table(["a", "b", None, "c"], ["x", "y", "z", None])
    task = fitted(rows)
    assert task.targets(rows)["first_item"].tolist() == [0, 1, -1, -1]
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    whole = loss_of(task, rows, logits)
    complete = table("ab", "xy")
    torch.testing.assert_close(whole, loss_of(task, complete, logits[:2]))
    for alone in (table("a", "x"), table(["a"], [None])):
        loss = loss_of(task, alone, logits[:1])
        loss.backward()
        assert loss.item() == 0.0
        assert bool(torch.isfinite(logits.grad).all())


def random_case(seed=0):
    """40 rows of 12 images and 20 captions, some of them several times, with random unit vectors."""
    random = np.random.default_rng(seed)
    rows = table([f"i{n}" for n in random.integers(0, 12, 40)], [f"c{n:02d}" for n in random.integers(0, 20, 40)])
    vectors = [random.normal(size=(len(c.values), 5)).astype(np.float32) for c in rows.columns.values()]
    vectors = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    halves = [v[c.index] for v, c in zip(vectors, rows.columns.values(), strict=True)]
    belongs = np.zeros((len(vectors[0]), len(vectors[1])), bool)
    belongs[rows.columns["image"].index, rows.columns["caption"].index] = True
    return rows, np.concatenate(halves, axis=1), vectors[0] @ vectors[1].T, belongs


def test_metrics_are_those_of_scikit_learn_and_of_brute_force():
    rows, scores, cosine, belongs = random_case()
    values = fitted(rows).metrics(scores, rows)
    for name, sims, right in (("image_to_caption", cosine, belongs), ("caption_to_image", cosine.T, belongs.T)):
        order = np.argsort(-sims, axis=1)
        listed = np.take_along_axis(right, order, axis=1)
        for k in (1, 5, 10):
            assert values[f"recall@{k}/{name}"] == pytest.approx(listed[:, :k].any(axis=1).mean())
            assert values[f"precision@{k}/{name}"] == pytest.approx((listed[:, :k].sum(axis=1) / k).mean())
        assert values[f"ndcg@10/{name}"] == pytest.approx(ndcg_score(right, sims, k=10))
        assert values[f"mrr/{name}"] == pytest.approx((1 / (listed.argmax(axis=1) + 1)).mean())
    assert values["recall@1"] == pytest.approx(
        (values["recall@1/image_to_caption"] + values["recall@1/caption_to_image"]) / 2
    )
    assert values["loss"] > 0


def test_with_one_right_candidate_the_reciprocal_rank_is_the_average_precision():
    random = np.random.default_rng(1)
    names = [f"{n:02d}" for n in range(30)]
    rows = table(names, names)
    x, y = (random.normal(size=(30, 4)).astype(np.float32) for _ in range(2))
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    values = fitted(rows).metrics(np.concatenate([x, y], axis=1), rows)
    assert values["mrr/image_to_caption"] == pytest.approx(label_ranking_average_precision_score(np.eye(30), x @ y.T))


def test_blocks_change_nothing():
    rows, scores, cosine, belongs = random_case(3)
    images, captions = np.nonzero(belongs)
    vectors = [half[np.unique(rows.columns[f].index, return_index=True)[1]]
               for half, f in zip(np.split(scores, 2, axis=1), ("image", "caption"), strict=True)]  # fmt: skip
    pairs = Pairs.of(images, captions)
    whole, pieces = (Ranking.of(*vectors, pairs, block_bytes=b) for b in (1 << 20, 1))
    assert whole.rank_P.tolist() == pieces.rank_P.tolist()
    np.testing.assert_allclose(whole.loss_Q, pieces.loss_Q, rtol=1e-5)
    assert whole.best_Q.tolist() == cosine.argmax(axis=1).tolist()


def test_a_model_that_says_the_same_of_everything_finds_nothing():
    names = [f"{n:02d}" for n in range(30)]
    rows = table(names, names)
    task = fitted(rows)
    values = task.metrics(np.ones((30, 8), np.float32) / 2, rows)
    assert values["recall@10"] == 0.0
    assert values["mrr"] == pytest.approx(1 / 30)
    chance = task.metrics(task.majority(rows, 30), rows)
    assert 0 <= chance["recall@1"] < 0.2
    assert chance == task.metrics(task.majority(rows, 30), rows)


def test_groups_hold_the_items_of_their_rows():
    rows = table("abc", "xyz", kind=["one", "one", "two"])
    task = fitted(rows)
    wrong = task.perfect(rows)
    wrong[2, :3] *= -1  # the pair of the second group points apart
    values = task.metrics(wrong, rows)
    assert (values["recall@1/one"], values["recall@1/two"]) == (1.0, 0.0)
    assert values["recall@1"] == pytest.approx(2 / 3)


def test_perfect_scores_are_perfect_where_everything_is_shared():
    rows, *_ = random_case(5)
    task = fitted(rows)
    values = task.metrics(task.perfect(rows), rows)
    assert values["recall@1"] == values["mrr"] == values["ndcg@10"] == 1.0


def test_predictions_name_what_comes_first_and_the_rank_of_what_is_right():
    rows = table(["a", "b", "c", None], ["x", "y", "z", "w"])
    task = fitted(rows)
    scores = np.zeros((4, 6), np.float32)
    scores[:3, :3] = np.eye(3)
    scores[:3, 3:] = [[0.9, 0.1, 0.0], [1.0, 0.2, 0.0], [0.0, 0.0, 1.0]]
    said = task.predictions(scores, rows)
    assert said[0] == {"image_to_caption": {"best": "y", "rank": 2}, "caption_to_image": {"best": "a", "rank": 1}}
    assert said[3] == {}
    assert [task.right(each, PAIR) for each in said] == [False, False, True, None]


def test_scores_are_unit_vectors_and_missing_fields_zeros():
    rows = table("ab", "xy")
    task = fitted(rows)
    scores = task.probabilities(torch.tensor([[3.0, 4.0, 0.0, 0.0]]))
    torch.testing.assert_close(scores, torch.tensor([[0.6, 0.8, 0.0, 0.0]]))
    assert task.decode(scores[0].numpy()) == {"image": pytest.approx([0.6, 0.8])}


def test_the_scale_begins_where_clips_does_and_comes_down_from_its_bound():
    head = fitted(table("ab", "xy")).head(2, hidden=0, dropout=0.0)
    x = torch.ones(1, 2)
    assert float(head(x).prod().detach()) == pytest.approx(1 / 0.07, rel=1e-5)
    with torch.no_grad():
        head.log_scale.fill_(9.0)
    product = head(x).prod()
    assert float(product.detach()) == pytest.approx(100.0, rel=1e-5)
    product.backward()
    assert float(head.log_scale.grad) == pytest.approx(100.0, rel=1e-5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (Table(Schema(SCHEMA.fields[:1]), {}, [PAIR], [0]), r"pairs two input columns, and there are 1: image\. Next"),
        (table(["a", None], [None, "x"]), "none of 2 rows has both 'image' and 'caption'"),
        (table("aa", "xy"), "1 different values of 'image', and retrieval tells items apart"),
    ],
)
def test_what_cannot_be_learnt_from_is_named(rows, message):
    with pytest.raises(DataError, match=message):
        fitted(rows)


def test_targets_are_refused():
    rows = table("ab", "xy")
    with pytest.raises(DataError, match=r"learns from pairs alone, and rows have targets, such as 'yes'.*data\.drop"):
        fitted(Table(rows.schema, rows.columns, ["yes", "no"], rows.ids))
