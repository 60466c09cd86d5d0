"""Longer texts of which a word or two is another, in pairs.

A text is the set of its words and of its pairs of words that stand side by side (A. Broder, "On the resemblance and
containment of documents", 1997), and two are alike by the cosine of these sets. Pairs are found without comparing all
with all: what is as alike as that shares one of the rarest shingles of either (prefix filtering; R. Bayardo et al.,
"Scaling up all pairs similarity search", WWW 2007).

Of the 15 shingles that 8 words have, one word in the middle takes 3 with it, and 12 of 15 is .80; where words come
twice it is a little less, and two words take it to .67 or below. The threshold lies between: a word in seven or so.

Shape legend: N texts, P pairs, S shingles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from automm.data.likeness import words

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_WORDS = 8  # that one of two has at least: in fewer, another word is another thing
_ALIKE = 0.75
_TEXTS = 100_000  # that are compared,
_SHINGLES = 10_000_000  # or fewer, so that theirs are held at 8 bytes each
_COMMON = 200  # texts; a shingle of more is how the column is written, and finds no candidates
_FEATURES = 2**20
_BLOCK = 1024  # texts whose candidates are held at a time
_PAIRS = 8192


def similar_texts(texts: Sequence[str]) -> tuple[np.ndarray, int]:
    """Pairs of texts that say nearly the same, int64 [P, 2], the lower number first; and how many were not compared.

    Args:
        texts: distinct. Case, spaces and punctuation do not count; one of a pair has 8 words or more.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    plain = {at: words(text) for at, text in enumerate(texts)}
    words_N = np.array([text.count(" ") + 1 for text in plain.values()], np.int64)
    long = np.flatnonzero(words_N >= _WORDS - 1)  # of 8 words one may be missing
    looked = _sample(long, 2 * words_N[long] - 1)
    if len(looked) < 2:
        return np.zeros((0, 2), np.int64), 0
    counter = HashingVectorizer(
        n_features=_FEATURES, lowercase=False, token_pattern=r"\S+", ngram_range=(1, 2), binary=True, norm=None,
        alternate_sign=False, dtype=np.float32,
    )  # fmt: skip
    pairs = looked[_similar(counter.transform(plain[at] for at in looked.tolist()))]
    return pairs[words_N[pairs].max(axis=1) >= _WORDS], len(long) - len(looked)


def _sample(long: np.ndarray, shingles: np.ndarray, seed: int = 0) -> np.ndarray:
    """As many of the texts as memory and time allow, ascending."""
    if len(long) <= _TEXTS and shingles.sum() <= _SHINGLES:
        return long
    order = np.random.default_rng(seed).permutation(len(long))[:_TEXTS]
    return np.sort(long[order[np.cumsum(shingles[order]) <= _SHINGLES]])


def _similar(shingles_NS: csr_matrix) -> np.ndarray:
    """Pairs of rows whose cosine is high, int64 [P, 2]."""
    size_N = np.diff(shingles_NS.indptr)
    rare_NS = _rarest(shingles_NS, size_N)
    others_SN = rare_NS.T.tocsr()
    found = [np.zeros((0, 2), np.int64)]
    for first in range(0, shingles_NS.shape[0], _BLOCK):
        shared = (rare_NS[first : first + _BLOCK] @ others_SN).tocoo()
        pairs = np.stack([shared.row + first, shared.col], axis=1).astype(np.int64)
        pairs = pairs[pairs[:, 0] < pairs[:, 1]]
        for at in range(0, len(pairs), _PAIRS):
            one, other = pairs[at : at + _PAIRS].T
            both_P = np.asarray(shingles_NS[one].multiply(shingles_NS[other]).sum(axis=1)).reshape(-1)
            alike = both_P >= _ALIKE * np.sqrt(size_N[one] * size_N[other].astype(float))
            found.append(np.stack([one, other], axis=1)[alike])
    return np.concatenate(found)


def _rarest(shingles_NS: csr_matrix, size_N: np.ndarray) -> csr_matrix:
    """Of each row the rarest shingles, as many as make sure that two rows that are alike share one of them."""
    from scipy.sparse import csr_matrix

    texts_S = np.bincount(shingles_NS.indices, minlength=_FEATURES)
    rank_S = np.empty(_FEATURES, np.int64)
    rank_S[np.argsort(texts_S, kind="stable")] = np.arange(_FEATURES)
    row = np.repeat(np.arange(len(size_N)), size_N)
    order = np.lexsort((rank_S[shingles_NS.indices], row))
    place = np.arange(len(row)) - shingles_NS.indptr[:-1][row]
    least_N = np.ceil(_ALIKE**2 * size_N - 1e-9)  # that a text shares with one that is alike to it
    shingle = shingles_NS.indices[order]
    kept = (place <= (size_N - least_N)[row]) & (texts_S[shingle] <= _COMMON) & (texts_S[shingle] > 1)
    ones = np.ones(int(kept.sum()), np.float32)
    return csr_matrix((ones, (row[kept], shingle[kept])), shape=shingles_NS.shape)
