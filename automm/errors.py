"""Every error automm raises on purpose.

AutommError                  root; the command line prints it as one paragraph and exits with status 2
├── ConfigError              a key, a name or a value that settings cannot take
│   ├── UnknownKey           no such key or option
│   ├── UnknownComponent     no component of that kind and name
│   └── OutOfRange           a value outside what a space allows
├── PluginError              a component that is installed but cannot be used
│   ├── BrokenPlugin         importing it raised
│   ├── MissingExtra         it needs a package that an extra of automm brings
│   └── PluginConflict       two distributions ship one name
├── DataError                a file or record that cannot be read, or a table that cannot be learnt from
├── StudyError               a run directory or a ledger that cannot be opened or resumed
├── ExportError              a model that cannot be exported, or whose export is not the same function
└── BundleError              a bundle that is damaged, incomplete or from a newer version

TrialFailed is no AutommError: it is how a trial ends that cannot go on (NaN, out of memory, a component that raises);
the search records its reason and goes on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AutommError(Exception):
    """Root of the errors a user can mend: the message says what was asked, what was found and the next step."""


class ConfigError(AutommError):
    """A key, a name or a value that settings cannot take."""


class UnknownKey(ConfigError):
    """No such key or option."""


class UnknownComponent(ConfigError):
    """No component of that kind and name."""


class OutOfRange(ConfigError):
    """A value outside what a space allows."""


class PluginError(AutommError):
    """A component that is installed but cannot be used."""


class BrokenPlugin(PluginError):
    """Importing the component raised; the cause is chained."""


class MissingExtra(PluginError):
    """The component needs a package that an extra of automm brings."""


class PluginConflict(PluginError):
    """Two distributions ship one name for one kind."""


class DataError(AutommError):
    """A file or record that cannot be read, or a table that cannot be learnt from."""


class StudyError(AutommError):
    """A run directory or a ledger that cannot be opened or resumed."""


class ExportError(AutommError):
    """A model that cannot be exported, or whose export is not the same function."""


class BundleError(AutommError):
    """A bundle that is damaged, incomplete or from a newer version."""


class TrialFailed(Exception):
    """A trial that cannot go on; `reason` is recorded in the study."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def near_miss(asked: str, known: Iterable[str]) -> str:
    """The tail of a "not found" message: the closest known name, then all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(asked, names, n=1, cutoff=0.5)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    return f"{guess}Known: {', '.join(names) or 'none'}."
