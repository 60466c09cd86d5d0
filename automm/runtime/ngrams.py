"""Texts as hashed n-grams of words and of characters, weighted by inverse document frequency.

Shape legend: L distinct buckets of a text, padded to the most of a call; D buckets.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
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
_HASH = (1 << 31) - 1


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
            counts[list({(each >> 1) % buckets for each in _raw(as_text(text), characters)})] += 1
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
        hashed = [np.fromiter(_raw(as_text(value), self.characters), np.int64) for value in values]
        ids_B, weights_B = self._weighed(hashed)
        shape = len(values), max(map(len, ids_B), default=1)
        out = {name: np.zeros(shape, spec.dtype) for name, spec in self.signature.items()}
        for at, (ids_L, weights_L) in enumerate(zip(ids_B, weights_B, strict=True)):
            out["ids"][at, : len(ids_L)], out["weights"][at, : len(ids_L)] = ids_L, weights_L
            out["mask"][at, : len(ids_L)] = True
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

    def _weighed(self, hashed: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Hashed n-grams of texts -> by text: its buckets in ascending order, and their weights."""
        texts, buckets = len(hashed), len(self.idf)
        text = np.repeat(np.arange(texts, dtype=np.int64), [len(each) for each in hashed])
        found, counts = np.unique(text << 32 | np.concatenate([*hashed, np.empty(0, np.int64)]), return_counts=True)
        bucket = (found >> 1 & _HASH) % buckets
        signed = np.where(found & 1, 1.0, -1.0) * (1 + np.log(counts)) * self.idf[bucket]
        places, of = np.unique((found >> 32) * buckets + bucket, return_inverse=True)
        weights, text = np.bincount(of, signed, len(places)), places // buckets
        length = np.sqrt(np.bincount(text, weights**2, texts))[text]
        weights = np.divide(weights, length, out=np.zeros(len(weights)), where=length > 0)
        ends = np.cumsum(np.bincount(text, minlength=texts))[:-1]
        nothing = np.zeros(1, np.int64), np.zeros(1)
        pairs = [
            (ids, of_ids) if len(ids) else nothing
            for ids, of_ids in zip(np.split(places % buckets, ends), np.split(weights, ends), strict=True)
        ][:texts]
        return [ids for ids, _ in pairs], [of_ids for _, of_ids in pairs]


def _raw(text: str, characters: int) -> Iterator[int]:
    """For every n-gram of a text 31 bits of its hash, and below them one bit that is its sign."""
    for ngram in _ngrams(text, characters):
        found = zlib.crc32(ngram.encode())
        yield (found & _HASH) << 1 | found >> 31


def _ngrams(text: str, characters: int) -> Iterator[str]:
    words = _WORD.findall(unicodedata.normalize("NFKC", text).lower())
    yield from words
    yield from (f"{one} {two}" for one, two in pairwise(words))
    for word in words:
        marked = f"<{word}>"
        for size in range(3, characters + 1):
            yield from (f"{size}:{marked[at : at + size]}" for at in range(len(marked) - size + 1))
