"""What every component must keep, and where the checks of each kind are."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any

from automm.registry import API, REQUIRED
from automm.space import Space
from automm.testing.requirement import ContractBroken, require
from automm.testing.subject import Subject, subject

Check = Callable[[Subject], None]

# Imported when asked for: a strategy's author need not have torch.
_CHECKS_OF = {
    "encoder": "automm.testing.encoder_checks",
    "fusion": "automm.testing.fusion_checks",
    "task": "automm.testing.task_checks",
    "data": "automm.testing.data_checks",
    "strategy": "automm.testing.strategy_checks",
    "executor": "automm.testing.executor_checks",
    "solver": "automm.testing.solver_checks",
    "metric": "automm.testing.metric_checks",
}
_POSITIONAL = {
    "encoder": ("field", "preprocess"),
    "fusion": ("specs",),
    "strategy": ("space", "seed", "budget"),
}


def checks_for(kind: str) -> tuple[Check, ...]:
    """Every check a component of this kind must pass: those of all kinds, then its own.

    A metric is a plain function, without options.
    """
    own: tuple[Check, ...] = importlib.import_module(_CHECKS_OF[kind]).CHECKS
    if kind == "metric":
        return (check_documented, *own)
    return (check_documented, check_signature, check_options_documented, check_space, *own)


def check_component(kind: str, name: str, **options: Any) -> None:
    """Run every check on an installed component.

    Raises:
        ContractBroken: the first check that fails; the message names the component and the check.
    """
    under_test = subject(kind, name, **options)
    for check in checks_for(kind):
        try:
            check(under_test)
        except ContractBroken as broken:
            raise ContractBroken(f"{kind} {name!r}, {check.__name__}: {broken}") from broken


def check_documented(under_test: Subject) -> None:
    """A docstring whose first line is a sentence: `automm plugins` shows it."""
    first = under_test.component.doc.partition("\n\n")[0].strip()
    require(bool(first), "there is no docstring")
    require(first.endswith((".", ":", "!", "?")), f"the docstring does not begin with a sentence: {first!r}")


def check_signature(under_test: Subject) -> None:
    """The positional parameters of its kind; all else keyword-only and typed, for it is the configuration schema."""
    factory = under_test.factory
    require(getattr(factory, "API", None) == API, f"API is {getattr(factory, 'API', None)}, not {API}")
    positional = []
    for parameter in inspect.signature(factory).parameters.values():
        where = f"the parameter {parameter.name!r}"
        require(parameter.kind is not parameter.VAR_POSITIONAL, f"{where} takes any number of arguments")
        require(
            parameter.kind is not parameter.VAR_KEYWORD, f"{where} takes any option: unknown ones could not be told"
        )
        if parameter.kind is parameter.KEYWORD_ONLY:
            require(parameter.annotation is not REQUIRED, f"the option {parameter.name!r} has no type")
        else:
            positional.append(parameter.name)
    expected = _POSITIONAL.get(under_test.component.kind, ())
    require(tuple(positional) == expected, f"the positional parameters are {positional}, not {list(expected)}")


def check_options_documented(under_test: Subject) -> None:
    """Every option is named in the class's docstring."""
    doc = f"{under_test.component.doc}\n{inspect.getdoc(under_test.factory.__init__) or ''}"
    for name in under_test.component.options:
        require(re.search(rf"\b{re.escape(name)}\b", doc) is not None, f"the docstring does not say what {name!r} is")


def check_space(under_test: Subject) -> None:
    """SPACE is a Space of options; its start values are legal, and are what the options default to."""
    space, options = under_test.component.space, under_test.component.options
    require(isinstance(space, Space), f"SPACE is {type(space).__name__}, not a Space")
    space.check(space.defaults())
    for path, param in space.paths():
        require(path in options, f"SPACE holds {path!r}, which is no option")
        require(param.holds(param.start), f"{path}={param.start}, where a search starts, is not legal")
        default = options[path].default
        if default is REQUIRED or default is None:
            continue  # None: decided when it is built
        require(param.holds(default), f"{path}={default}, the option's default, is not in SPACE")
        require(
            default == param.start,
            f"the option {path!r} defaults to {default}, but a search starts at {param.start}",
        )
