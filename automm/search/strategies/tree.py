"""A conditional space laid out flat: every parameter of the tree under an address of its own.

A path may occur under several choices (`training.lr` under two solvers); its address also names the choices that lead
to it, so that what is learnt of one is not mixed with the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from automm.space import Candidate, Float, Int, OneOf, Param, Space, is_pinned
from automm.types import Scalar


def addresses(space: Space, under: str = "") -> Iterator[tuple[str, Param]]:
    """Every parameter that leaves a choice, active or not."""
    for path, param in space.params.items():
        if not is_pinned(param):
            yield under + path, param
        if isinstance(param, OneOf):
            for choice, child in param.children.items():
                yield from addresses(child, f"{under}{path}={choice}/")


def values_of(space: Space, candidate: Candidate, under: str = "") -> Iterator[tuple[str, Param, Scalar]]:
    """The active parameters of a candidate that leave a choice, by address."""
    for path, param in space.params.items():
        value = candidate[path]
        if not is_pinned(param):
            yield under + path, param, value
        if isinstance(param, OneOf) and value in param.children:
            yield from values_of(param.children[value], candidate, f"{under}{path}={value}/")


def build(space: Space, pick: Callable[[str, Param], Scalar], under: str = "") -> Candidate:
    """A candidate made by asking `pick` for the value at each active address."""
    out: Candidate = {}
    for path, param in space.params.items():
        value = param.start if is_pinned(param) else tidy(param, pick(under + path, param))
        out[path] = value
        if isinstance(param, OneOf) and value in param.children:
            out.update(build(param.children[value], pick, f"{under}{path}={value}/"))
    return out


def widest_choice(space: Space) -> str | None:
    """The path of the unordered choice with the most values (the first of equals): they are families of candidates."""
    sizes = {path: len(p.choices) for path, p in space.params.items() if isinstance(p, OneOf) and not p.ordered}
    path = max(sizes, key=lambda at: sizes[at], default=None)
    return path if path is not None and sizes[path] > 1 else None


def to_unit(param: Param, value: Scalar) -> float:
    """Where a value lies in [0, 1] of its parameter's scale; the inverse of `from_unit`."""
    if isinstance(param, OneOf):
        return (param.place(value) + 0.5) / len(param.choices)
    assert isinstance(value, (int, float)), "the space has checked it"
    low, high = _ends(param)
    number = math.log(value) if param.log else float(value)
    return (number - low) / (high - low) if high > low else 0.5


def from_unit(param: Param, unit: float) -> Scalar:
    """The value at `unit` in [0, 1] of a parameter's scale; choices and integers have equal shares."""
    if isinstance(param, OneOf):
        return param.choices[min(int(unit * len(param.choices)), len(param.choices) - 1)]
    low, high = _ends(param)
    number = low + unit * (high - low)
    number = math.exp(number) if param.log else number
    if isinstance(param, Int):
        return min(max(round(number), param.low), param.high)
    return min(max(number, param.low), param.high)


def tidy(param: Param, value: Scalar) -> Scalar:
    """A legal value as it is written down: real numbers with six significant digits, choices exactly as listed."""
    if isinstance(param, OneOf):
        return param.choices[param.place(value)]
    assert isinstance(value, (int, float)), "the space has checked it"
    return int(value) if isinstance(param, Int) else min(max(float(f"{value:.6g}"), param.low), param.high)


def _ends(param: Float | Int) -> tuple[float, float]:
    half = 0.5 if isinstance(param, Int) else 0.0
    low, high = param.low - half, param.high + half
    return (math.log(low), math.log(high)) if param.log else (low, high)
