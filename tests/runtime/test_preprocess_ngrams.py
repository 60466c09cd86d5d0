import numpy as np
import pytest

from automm.errors import DataError
from automm.runtime.kinds import load_preprocess, save_preprocess
from automm.runtime.ngrams import NgramPreprocess

TEXTS = ["a red cat", "a blue cat", "a dog", "a red dog and a cat"]


def dense(preprocess, texts):
    found = preprocess(texts)
    out = np.zeros((len(texts), len(preprocess.idf)))
    for row in range(len(texts)):
        np.add.at(out[row], found["ids"][row], found["weights"][row] * found["mask"][row])
    return out


@pytest.fixture
def ngrams():
    return NgramPreprocess.fit(TEXTS, buckets=4096, characters=5)


def test_texts_that_share_words_or_parts_of_words_are_alike(ngrams):
    red, blue, cats, other = dense(ngrams, ["red cat", "blue cat", "CATS!", "engine"])
    for vector in (red, blue, cats, other):
        np.testing.assert_allclose(np.linalg.norm(vector), 1.0, rtol=1e-6)
    assert red @ blue > 0.2
    assert red @ cats > 0.1
    assert abs(red @ other) < 0.05


def test_words_that_every_text_has_weigh_least(ngrams):
    words = NgramPreprocess.fit(TEXTS, buckets=4096, characters=0)
    found = {word: int(words([word])["ids"][0, 0]) for word in ("a", "cat", "blue")}
    assert words.idf[found["a"]] < words.idf[found["cat"]] < words.idf[found["blue"]]


def test_nothing_said_is_nothing(ngrams):
    found = ngrams(["", None, "!!"])
    assert not found["weights"].any()
    assert found["mask"].all()
    with pytest.raises(DataError, match="a text is a string"):
        ngrams([3])


def test_no_text_is_no_row(ngrams):
    assert {name: array.shape[0] for name, array in ngrams([]).items()} == {"ids": 0, "weights": 0, "mask": 0}


def test_texts_are_weighed_together_as_each_alone(ngrams):
    texts = [*TEXTS, "", "cat " * 40, None, "a dog", "!"]
    together = dense(ngrams, texts)
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(together[row], dense(ngrams, [text])[0])


def test_saved_and_read_back_it_is_the_same(ngrams, tmp_path):
    again = load_preprocess(tmp_path, **save_preprocess(ngrams, tmp_path))
    np.testing.assert_array_equal(dense(again, TEXTS), dense(ngrams, TEXTS))
    assert again.signature == ngrams.signature
