"""The component under test, and the options without which it cannot be built here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from automm import registry
from automm.registry import Component
from automm.space import Candidate, Int, OneOf, Param
from automm.types import Scalar


@dataclass(frozen=True)
class Subject:
    """A component, the options it needs (a file, a local model), and raw values to try it on."""

    component: Component
    options: Mapping[str, Any] = field(default_factory=dict)
    values: Sequence[Any] | None = None  # encoders: distinct raw values of the field; None takes samples

    @property
    def factory(self) -> Any:
        """The component's class."""
        return self.component.factory

    def build(self, *args: Any, **options: Any) -> Any:
        """An instance with the options it needs and the given ones."""
        return self.factory(*args, **{**self.options, **options})

    def smallest(self) -> Candidate:
        """The cheapest options of its SPACE: the least of every number, the default of every choice of names."""
        return self.component.space.build(lambda _path, param: _least(param))

    def variants(self) -> Iterator[Candidate]:
        """The defaults of its SPACE, then each other choice among names in turn."""
        space = self.component.space
        defaults = space.defaults()
        yield defaults
        for path, param in space.params.items():
            if isinstance(param, OneOf) and all(isinstance(choice, str) for choice in param.choices):
                others = [choice for choice in param.choices if choice != defaults[path]]
                yield from (space.narrow(path, choice).defaults() for choice in others)


def subject(kind: str, name: str, *, values: Sequence[Any] | None = None, **options: Any) -> Subject:
    """The installed component of that kind and name.

    Args:
        kind: `fusion`, `encoder`, ...
        name: as registered.
        values: for encoders, distinct raw values to use instead of samples.
        **options: what it cannot be built without.

    Raises:
        UnknownComponent: nothing of that name is installed.
        PluginError: it cannot be imported, or is not what its kind demands.
    """
    component = registry.get(kind, name)
    component.check_options(options)
    return Subject(component, options, values)


def _least(param: Param) -> Scalar:
    if isinstance(param, Int):
        return param.low
    if isinstance(param, OneOf):
        numbers = [c for c in param.choices if isinstance(c, (int, float)) and not isinstance(c, bool)]
        return min(numbers) if len(numbers) == len(param.choices) else param.start
    return param.start
