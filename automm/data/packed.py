"""Long sequences of plain values in Arrow's layout: a fraction of what as many Python objects take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np

from automm.types import Column

if TYPE_CHECKING:
    import pyarrow as pa

_AT_ONCE = 1024  # values that become Python's when all are gone through
_FEW = 1024  # values that are not worth packing


class Packed(Sequence[Any]):
    """Values of one type (str, bytes, int or float) as Arrow holds them, made Python's when they are asked for.

    Pickled with out-of-band buffers (PEP 574) the values are not copied.

    Args:
        array: without nulls.
    """

    TYPES: ClassVar[dict[type, str]] = {str: "large_string", bytes: "large_binary", int: "int64", float: "float64"}

    def __init__(self, array: pa.Array) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> Packed: ...
    def __getitem__(self, at: int | slice) -> Any:
        return self.take(np.arange(*at.indices(len(self)))) if isinstance(at, slice) else self._array[at].as_py()

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self._array[start : start + _AT_ONCE].to_pylist()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Packed, list, tuple, range)):
            return NotImplemented
        return len(self) == len(other) and all(mine == yours for mine, yours in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Packed({len(self)} of {self._array.type})"

    def take(self, at: np.ndarray) -> Packed:
        """The values at these places, in order."""
        return Packed(self._array.take(at))


def packed(values: Sequence[Any], *, least: int = _FEW) -> Sequence[Any]:
    """The same values in less memory: packed where there are at least so many, and of one type that can be."""
    kinds = set(map(type, values)) if len(values) >= least and isinstance(values, (list, tuple)) else set()
    kind = Packed.TYPES.get(kinds.pop()) if len(kinds) == 1 else None
    if kind is None:
        return values
    try:
        import pyarrow as pa
    except ImportError:  # it comes with the extra that reads tables; some data need none
        return values
    try:
        return Packed(pa.array(values, getattr(pa, kind)(), from_pandas=False))
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):  # half of a surrogate pair, a number beyond 64 bits
        return values


def picked(values: Sequence[Any], at: np.ndarray) -> Sequence[Any]:
    """The values at these places, in order; packed or an array where they were."""
    if isinstance(values, Packed):
        return values.take(at)
    array: Any = values
    return array[at] if isinstance(array, np.ndarray) else [values[i] for i in at]


def column_of(cells: Sequence[Any]) -> Column:
    """A column that keeps every value of its cells once; None is a missing cell."""
    numbers: dict[Any, int] = {}
    index = [-1 if cell is None else numbers.setdefault(cell, len(numbers)) for cell in cells]
    return Column(packed(list(numbers)), np.array(index, np.int64))
