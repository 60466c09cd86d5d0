"""Texts: a string -> token ids by a `tokenizers` tokenizer.json.

Shape legend: L tokens, padded to the longest text of a call (or to `max_length`, where a model needs that).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from tokenizers import Tokenizer

from automm.errors import ConfigError, DataError
from automm.runtime.preprocess import Preprocess
from automm.types import TensorSpec

_FILE, _SHARES = "tokenizer.json", "shares.npy"


class TextPreprocess(Preprocess):
    """Tokenise, truncate to `max_length` tokens (special ones included) and pad with `pad_id`.

    `fixed` pads every text to `max_length`, for models whose result depends on the padding. A missing text is an empty
    one. A text without any token (empty, and a tokenizer without special tokens) is one padding token that counts as
    valid, because a softmax over nothing is NaN.

    `shares` [vocabulary] says which share of the training texts holds each token, where that was counted: an encoder
    may weigh words by it.
    """

    kind: ClassVar[str] = "text"

    def __init__(
        self,
        *,
        tokenizer: Tokenizer,
        max_length: int,
        pad_id: int = 0,
        fixed: bool = False,
        shares: np.ndarray | None = None,
    ) -> None:
        if max_length < 1:
            raise ConfigError(f"max_length is at least 1, not {max_length}")
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())  # a copy: what follows must not reach the caller's
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length)
        self.max_length, self.pad_id, self.fixed, self.shares = max_length, pad_id, fixed, shares

    @property
    def signature(self) -> dict[str, TensorSpec]:
        """`ids` int64 [L] and `mask` bool [L] (True = a token, False = padding)."""
        length: int | str = self.max_length if self.fixed else "length"
        return {"ids": TensorSpec("int64", (length,)), "mask": TensorSpec("bool", (length,))}

    def __call__(self, values: Sequence[Any]) -> dict[str, np.ndarray]:
        """Texts -> `ids` and `mask`, both [len(values), L].

        Raises:
            DataError: a value is no text.
        """
        encoded = [each.ids or [self.pad_id] for each in self.tokenizer.encode_batch(list(map(as_text, values)))]
        length = self.max_length if self.fixed else max(map(len, encoded), default=1)
        ids = np.full((len(encoded), length), self.pad_id, np.int64)
        mask = np.zeros((len(encoded), length), np.bool_)
        for at, tokens in enumerate(encoded):
            ids[at, : len(tokens)] = tokens
            mask[at, : len(tokens)] = True
        return {"ids": ids, "mask": mask}

    def save(self, folder: Path) -> dict[str, Any]:
        """Write `tokenizer.json`, and the shares where there are any, into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(str(folder / _FILE))
        if self.shares is not None:
            np.save(folder / _SHARES, self.shares, allow_pickle=False)
        shares = None if self.shares is None else _SHARES
        options = {"max_length": self.max_length, "pad_id": self.pad_id, "fixed": self.fixed}
        return {"tokenizer": _FILE, "shares": shares, **options}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        """The inverse of `save`."""
        options = dict(config)
        tokenizer = Tokenizer.from_file(str(folder / options.pop("tokenizer")))
        shares = options.pop("shares")
        counted = None if shares is None else np.load(folder / shares, allow_pickle=False)
        return cls(tokenizer=tokenizer, shares=counted, **options)


def as_text(value: Any) -> str:
    """A raw value as the text it is; a missing one is empty.

    Raises:
        DataError: it is no text.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise DataError(
        f"a text is a string, not {type(value).__name__} ({value!r:.60}). Next: check the column's modality."
    )
