"""A search space as plain frozen data, and its points.

A `Space` maps configuration paths to parameters; a choice of a `OneOf` may bring a subspace of its own, active only
while it is chosen. A `Candidate` is flat and plain JSON: every active path and its value, so that
`[f"{path}={value}" for ...]` is the command line that reproduces it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from automm.errors import ConfigError, OutOfRange, UnknownKey, near_miss
from automm.types import Scalar

Candidate = dict[str, Scalar]

_BARE = re.compile(r"[A-Za-z_][\w./:@-]*")  # strings that need no quotes on the command line,
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "nan", "inf"}  # unless they mean something else there


@dataclass(frozen=True)
class Float:
    """A real number in [low, high]; `log` searches its logarithm (low > 0)."""

    low: float
    high: float
    log: bool = False
    default: float | None = None

    def __post_init__(self) -> None:
        _check_range(self)

    @property
    def start(self) -> float:
        """The default, or the middle of the range on its own scale."""
        if self.default is not None:
            return self.default
        return math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2

    def holds(self, value: Any) -> bool:
        """Whether `value` is a legal value of this parameter."""
        return _is_number(value) and self.low <= value <= self.high


@dataclass(frozen=True)
class Int:
    """An integer in [low, high], both included; `log` searches its logarithm (low > 0)."""

    low: int
    high: int
    log: bool = False
    default: int | None = None

    def __post_init__(self) -> None:
        _check_range(self)

    @property
    def start(self) -> int:
        """The default, or the middle of the range on its own scale."""
        if self.default is not None:
            return self.default
        return round(math.sqrt(self.low * self.high)) if self.log else (self.low + self.high) // 2

    def holds(self, value: Any) -> bool:
        """Whether `value` is a legal value of this parameter."""
        return _is_number(value) and float(value).is_integer() and self.low <= value <= self.high


@dataclass(frozen=True)
class OneOf:
    """One of a few values; `ordered` says that neighbours are alike. `children` holds the subspace a choice brings.

    Every further choice of a `ladder` costs far more than the one before: a search may keep to the first and go further
    with its best candidates alone.
    """

    choices: tuple[Scalar, ...]
    ordered: bool = False
    default: Scalar = None
    children: Mapping[Scalar, Space] = field(default_factory=dict)
    ladder: bool = False

    def __post_init__(self) -> None:
        if not self.choices:
            raise ConfigError("a choice needs at least one value")
        if len(set(map(repr, self.choices))) != len(self.choices):
            raise ConfigError(f"a choice lists a value twice: {list(self.choices)}")

    @property
    def start(self) -> Scalar:
        """The default where it is among the choices, else the first."""
        return self.default if self.holds(self.default) else self.choices[0]

    def holds(self, value: Any) -> bool:
        """Whether `value` is a legal value of this parameter."""
        return any(_same(value, choice) for choice in self.choices)

    def place(self, value: Any) -> int:
        """Where a legal value stands among the choices, from 0."""
        return next(at for at, choice in enumerate(self.choices) if _same(value, choice))


Param = Float | Int | OneOf


@dataclass(frozen=True)
class Space:
    """Configuration paths and their parameters, in order."""

    params: Mapping[str, Param] = field(default_factory=dict)

    def prefixed(self, prefix: str) -> Space:
        """The same space with `prefix.` before every path, children included."""
        return Space({f"{prefix}.{path}": _prefix_children(param, prefix) for path, param in self.params.items()})

    def merged(self, other: Space) -> Space:
        """Both spaces side by side; `other` wins where they share a path."""
        return Space({**self.params, **other.params})

    def paths(self) -> Iterator[tuple[str, Param]]:
        """Every path of the tree and its parameter, active or not. A path may occur under several choices."""
        for path, param in self.params.items():
            yield path, param
            if isinstance(param, OneOf):
                for child in param.children.values():
                    yield from child.paths()

    def active(self, candidate: Mapping[str, Any]) -> Iterator[tuple[str, Param]]:
        """The paths that `candidate`'s own choices make active, parents before children."""
        for path, param in self.params.items():
            yield path, param
            if isinstance(param, OneOf) and path in candidate:
                child = param.children.get(candidate[path])
                if child is not None:
                    yield from child.active(candidate)

    def build(self, pick: Callable[[str, Param], Scalar]) -> Candidate:
        """A candidate made by asking `pick` for the value of each active path."""
        out: Candidate = {}
        for path, param in self.params.items():
            out[path] = pick(path, param)
            if isinstance(param, OneOf):
                child = param.children.get(out[path])
                if child is not None:
                    out.update(child.build(pick))
        return out

    def defaults(self) -> Candidate:
        """The candidate of every parameter's start value."""
        return self.build(lambda _path, param: param.start)

    def grounded(self) -> Space:
        """A copy in which every ladder is pinned at its foot."""
        return self._with_ladders(lambda ladder: replace(ladder, choices=ladder.choices[:1]))

    def without_ladders(self) -> Space:
        """A copy in which every ladder is a choice like any other."""
        return self._with_ladders(lambda ladder: replace(ladder, ladder=False))

    def _with_ladders(self, change: Callable[[OneOf], OneOf]) -> Space:
        params: dict[str, Param] = {}
        for path, param in self.params.items():
            if isinstance(param, OneOf):
                param = change(param) if param.ladder else param
                children = {c: s._with_ladders(change) for c, s in param.children.items() if c in param.choices}
                param = replace(param, children=children)
            params[path] = param
        return Space(params)

    def raised(self, candidate: Candidate) -> Candidate | None:
        """The candidate one step up every ladder of its own that goes on; None when none does."""
        higher: Candidate = {}
        for path, param in self.active(candidate):
            if isinstance(param, OneOf) and param.ladder:
                above = param.choices[param.choices.index(candidate[path]) + 1 :]
                if above:
                    higher[path] = above[0]
        known = {**candidate, **higher}

        def pick(path: str, param: Param) -> Scalar:
            return known[path] if path in known and param.holds(known[path]) else param.start

        return self.build(pick) if higher else None

    def check(self, candidate: Mapping[str, Any]) -> None:
        """Raise unless `candidate` holds exactly the active paths, each with a legal value.

        Raises:
            UnknownKey: a path is missing, or is not active in this candidate.
            OutOfRange: a value is not legal.
        """
        active = dict(self.active(candidate))
        for path in candidate:
            if path not in active:
                raise UnknownKey(f"{path!r} is not a parameter here. {near_miss(path, active)}")
        for path, param in active.items():
            if path not in candidate:
                raise UnknownKey(f"the candidate has no value for {path!r}")
            if not param.holds(candidate[path]):
                raise OutOfRange(f"{path}={candidate[path]} is not allowed: {describe(param)}")

    def narrow(self, path: str, value: Any) -> Space:
        """A copy in which `path` is pinned (a scalar) or narrowed (a list: a numeric pair is a range, names a subset).

        Raises:
            UnknownKey: no parameter has that path.
            OutOfRange: the value or the list leaves what the parameter allows.
        """
        if not any(known == path for known, _ in self.paths()):
            raise UnknownKey(f"no parameter {path!r} to pin or narrow. {near_miss(path, (p for p, _ in self.paths()))}")
        return self._narrowed(path, value)

    def _narrowed(self, path: str, value: Any) -> Space:
        params: dict[str, Param] = {}
        for known, param in self.params.items():
            new = narrow_param(known, param, value) if known == path else param
            if isinstance(new, OneOf) and new.children:
                new = replace(new, children={c: s._narrowed(path, value) for c, s in new.children.items()})
            params[known] = new
        return Space(params)

    def cardinality(self) -> float:
        """The number of distinct candidates; infinite with a real parameter that is not pinned."""
        total = 1.0
        for param in self.params.values():
            total *= _param_cardinality(param)
        return total


def narrow_param(path: str, param: Param, value: Any) -> Param:
    """`param` pinned to a scalar, or narrowed to a list's range or subset.

    Raises:
        OutOfRange: the value or the list leaves what the parameter allows.
    """
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else None
    for each in [value] if values is None else values:
        if not param.holds(each):
            raise OutOfRange(f"{path}={each} is not allowed: {describe(param)}")
    if values is not None and not values:
        raise OutOfRange(f"{path}=[] leaves nothing to choose: {describe(param)}")
    if isinstance(param, OneOf):
        chosen = tuple(param.choices[param.place(v)] for v in (values or [value]))
        if param.ladder:  # up or down is not for a list to say
            chosen = tuple(c for c in param.choices if c in chosen)
        children = {c: s for c, s in param.children.items() if c in chosen}
        default = param.default if param.default in chosen else chosen[0]
        return OneOf(chosen, param.ordered, default, children, param.ladder)
    cast = int if isinstance(param, Int) else float
    if values is None or len(values) == 1:
        return OneOf((cast(values[0] if values else value),))
    if len(values) > 2:
        return OneOf(tuple(cast(v) for v in values), ordered=True, default=param.default)
    low, high = sorted(cast(v) for v in values)
    if low == high:
        return OneOf((low,))
    default = param.default if param.default is not None and low <= param.default <= high else None
    if isinstance(param, Int):
        return Int(int(low), int(high), param.log, None if default is None else int(default))
    return Float(low, high, param.log, default)


def describe(param: Param) -> str:
    """One phrase for messages and for `automm plugins`."""
    if isinstance(param, OneOf):
        return f"one of {', '.join(map(str, param.choices))}"
    kind = "an integer" if isinstance(param, Int) else "a number"
    low, high = (f"{end:g}" if isinstance(param, Float) else str(end) for end in (param.low, param.high))
    return f"{kind} from {low} to {high}{' (log scale)' if param.log else ''}"


def pinned(value: Scalar) -> OneOf:
    """A parameter with one legal value."""
    return OneOf((value,))


def is_pinned(param: Param) -> bool:
    """Whether a parameter leaves nothing to choose (its own value; children may still vary)."""
    return isinstance(param, OneOf) and len(param.choices) == 1


def overrides(candidate: Candidate) -> list[str]:
    """The command-line overrides that reproduce a candidate."""
    return [f"{path}={literal(value)}" for path, value in candidate.items()]


def literal(value: Scalar | Sequence[Any]) -> str:
    """A value in override syntax."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(literal, value))}]"
    if isinstance(value, str):
        escaped = re.sub(r"(\\*)\"", r"\1\1\"", re.sub(r"(\\+)$", r"\1\1", value))
        return value if _BARE.fullmatch(value) and value.lower() not in _WORDS else f'"{escaped}"'
    return repr(value)


def _check_range(param: Float | Int) -> None:
    if param.low > param.high:
        raise ConfigError(f"a range ends before it starts: {param.low} > {param.high}")
    if param.log and param.low <= 0:
        raise ConfigError(f"a log range must start above 0, not at {param.low}")
    if param.default is not None and not param.low <= param.default <= param.high:
        raise ConfigError(f"the default {param.default} lies outside {param.low}..{param.high}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _same(left: Any, right: Any) -> bool:
    """Equal, with numbers and booleans kept apart (1 is not True)."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _prefix_children(param: Param, prefix: str) -> Param:
    if isinstance(param, OneOf) and param.children:
        return replace(param, children={c: s.prefixed(prefix) for c, s in param.children.items()})
    return param


def _param_cardinality(param: Param) -> float:
    if isinstance(param, Float):
        return 1.0 if param.low == param.high else math.inf
    if isinstance(param, Int):
        return float(param.high - param.low + 1)
    return sum(param.children[c].cardinality() if c in param.children else 1.0 for c in param.choices)
