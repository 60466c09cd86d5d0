"""Raw values -> arrays, written once: training and serving run this same code. numpy, Pillow and tokenizers only.

A preprocessing is saved as plain JSON plus asset files, and read back by its `kind`; nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from automm.types import TensorSpec


class Preprocess:
    """Base of every preprocessing."""

    kind: ClassVar[str]

    @property
    def signature(self) -> dict[str, TensorSpec]:
        """The arrays `__call__` returns, by name, without their leading item axis."""
        raise NotImplementedError

    def __call__(self, values: Sequence[Any]) -> dict[str, np.ndarray]:
        """Raw values (None = missing, gets a placeholder) -> one array per signature entry, leading axis len(values).

        Raises:
            DataError: a value cannot be read; the message names it.
        """
        raise NotImplementedError

    def save(self, folder: Path) -> dict[str, Any]:
        """Write asset files into `folder` and return the JSON that `load` needs."""
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        """The inverse of `save`."""
        raise NotImplementedError
