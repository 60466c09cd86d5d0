"""Categories: a cell -> its number among the training values, 0 for one that was never seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from automm.errors import DataError
from automm.runtime.preprocess import Preprocess
from automm.types import TensorSpec

_FILE = "categories.json"


class CategoryPreprocess(Preprocess):
    """Number 1 to `len(names)`; whatever is not among `names` is 0."""

    kind: ClassVar[str] = "categorical"

    def __init__(self, *, names: Sequence[str]) -> None:
        self.names = list(names)
        self._numbers = {name: at for at, name in enumerate(self.names, start=1)}

    @classmethod
    def fit(cls, values: Sequence[Any]) -> Self:
        """From distinct training values, in alphabetical order.

        Raises:
            DataError: one is no plain value.
        """
        return cls(names=sorted({category(value) for value in values}))

    @property
    def signature(self) -> dict[str, TensorSpec]:
        """`index` int64 []."""
        return {"index": TensorSpec("int64", ())}

    def __call__(self, values: Sequence[Any]) -> dict[str, np.ndarray]:
        """Categories -> `index`, [len(values)].

        Raises:
            DataError: a value is no plain value.
        """
        numbers = [0 if value is None else self._numbers.get(category(value), 0) for value in values]
        return {"index": np.array(numbers, np.int64)}

    def save(self, folder: Path) -> dict[str, Any]:
        """Write `categories.json` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE).write_text(json.dumps(self.names, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
        return {"names": _FILE}

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        """The inverse of `save`."""
        return cls(names=json.loads((folder / config["names"]).read_text(encoding="utf-8")))


def category(value: Any) -> str:
    """The name of a cell's category; 1, 1.0 and "1" are the same.

    Raises:
        DataError: it is no plain value.
    """
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    if not isinstance(plain, (str, int, float, bool)):
        raise DataError(f"a category is a plain value, not {type(value).__name__} ({value!r:.60}).")
    return str(plain)
