"""Texts as hashed n-grams of words and of characters, weighted by inverse document frequency.

Shape legend: L distinct buckets of a text, padded to the most of a call; D buckets.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from automm.errors import ConfigError
from automm.runtime.preprocess import Preprocess
from automm.runtime.texts import as_text
from automm.types import TensorSpec

_FILE = "idf.npy"
_WORD = re.compile(r"\w+")
_SIGN = 1 << 31


class NgramPreprocess(Preprocess):
    """The buckets a text's n-grams fall into, with the weight of each; the weights of a text have length 1.

    N-grams are hashed (Weinberger et al. 2009, arXiv:0902.2206) with a sign, so that collisions cancel on average:
    words, pairs of neighbouring words, and 3 to `characters` characters of a word with its ends marked. A weight is
    (1 + log of the count) times the inverse document frequency among the training texts. A text without words, and a
    missing one, is one bucket of weight zero.

    Args:
        idf: float32 [D], by bucket.
        characters: the longest n-gram of characters; 0 = words alone.
    """

    kind: ClassVar[str] = "ngrams"

    def __init__(self, *, idf: np.ndarray, characters: int) -> None:
        if idf.ndim != 1 or not len(idf):
            raise ConfigError(f"idf is one number a bucket, not an array of {idf.shape}")
        self.idf, self.characters = idf.astype(np.float32), characters

    @classmethod
    def fit(cls, texts: Sequence[Any], *, buckets: int, characters: int) -> Self:
        """From the distinct training texts."""
        counts = np.zeros(buckets, np.int64)
        for text in texts:
            counts[sorted({h % buckets for h, _ in _hashed(as_text(text), characters)})] += 1
        return cls(idf=np.log((1 + len(texts)) / (1 + counts)) + 1, characters=characters)

    @property
    def signature(self) -> dict[str, TensorSpec]:
        """`ids` int64 [L], `weights` float32 [L] and `mask` bool [L] (True = a bucket, False = padding)."""
        dtypes = {"ids": "int64", "weights": "float32", "mask": "bool"}
        return {name: TensorSpec(dtype, ("length",)) for name, dtype in dtypes.items()}

    def __call__(self, values: Sequence[Any]) -> dict[str, np.ndarray]:
        """Texts -> `ids`, `weights` and `mask`, each [len(values), L].

        Raises:
            DataError: a value is no text.
        """
        rows = [self._weighed(as_text(value)) for value in values]
        shape = len(rows), max((len(ids) for ids, _ in rows), default=1)
        out = {name: np.zeros(shape, spec.dtype) for name, spec in self.signature.items()}
        for at, (ids, weights) in enumerate(rows):
            out["ids"][at, : len(ids)], out["weights"][at, : len(ids)] = ids, weights
            out["mask"][at, : len(ids)] = True
        return out

    def save(self, folder: Path) -> dict[str, Any]:
        """Write `idf.npy` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / _FILE, self.idf, allow_pickle=False)
        return {"idf": _FILE, "characters": self.characters}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        """The inverse of `save`."""
        return cls(idf=np.load(folder / config["idf"], allow_pickle=False), characters=config["characters"])

    def _weighed(self, text: str) -> tuple[list[int], np.ndarray]:
        """The buckets of a text in ascending order, and their weights."""
        sums: dict[int, float] = {}
        for (hashed, sign), count in sorted(Counter(_hashed(text, self.characters)).items()):
            bucket = hashed % len(self.idf)
            sums[bucket] = sums.get(bucket, 0.0) + sign * (1 + np.log(count)) * float(self.idf[bucket])
        weights = np.array([sums[bucket] for bucket in sorted(sums)])
        length = float(np.linalg.norm(weights))
        return sorted(sums) or [0], weights / length if length else np.zeros(max(1, len(sums)))


def _hashed(text: str, characters: int) -> Iterator[tuple[int, int]]:
    """A hash and a sign for every n-gram of a text."""
    for ngram in _ngrams(text, characters):
        found = zlib.crc32(ngram.encode())
        yield found & (_SIGN - 1), 1 if found & _SIGN else -1


def _ngrams(text: str, characters: int) -> Iterator[str]:
    words = _WORD.findall(unicodedata.normalize("NFKC", text).lower())
    yield from words
    yield from (f"{one} {two}" for one, two in pairwise(words))
    for word in words:
        marked = f"<{word}>"
        for size in range(3, characters + 1):
            yield from (f"{size}:{marked[at : at + size]}" for at in range(len(marked) - size + 1))
